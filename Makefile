# make demo | make test | make check | make bench: each creates what it needs, is safe to repeat, and is quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test check bench clean

$(READY): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("kimi_beam needs Python 3.10 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12") if sys.version_info < (3, 10) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/kimi-beam extract 'pipelines/samples/*' --schema schemas.business_document:BusinessDocument \
	  --instructions 'Extract the fields of this business document.' \
	  --emulator --output demo-out --overwrite --preview 8

test: $(READY)
	$(BIN)/python -m pytest

bench: $(READY)
	$(BIN)/python -m pytest -s -q tests/benchmarks/bench_*.py

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo-out build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
