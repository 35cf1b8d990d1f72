"""The examples in docstrings run and show what they say, and each public name has one."""

from __future__ import annotations

import doctest
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import kimi_beam as kb

ROOT = Path(__file__).parents[2]
SHOWN = [name for name in kb.__all__ if not name.endswith("Error")]
"""The public names that need an example: all but the exceptions."""
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "kimi_beam").rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """The emulator that the examples talk to."""
    from kimi_beam.emulator import Emulator

    with Emulator() as emulator:
        yield emulator.base_url


@pytest.fixture
def names(base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What every example may use, in a working directory with two inputs, a schema and a dead letter."""
    import apache_beam as beam
    import pyarrow.parquet as pq

    from kimi_beam.results import dead_letter_lines

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "0" * 32)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "a-token")
    Path("in").mkdir()
    Path("in/receipt-1.txt").write_text("Total: 24.80")
    Path("in/more.jsonl").write_text('{"id": "receipt-2", "text": "Total: 3.10", "shop": 7}\n')
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    Path("receipt.json").write_text(json.dumps(schema))
    failure = kb.Failure("validate", "schema_violation", "/total: is missing", raw="{}")
    letter = kb.DeadLetter(kb.Document("receipt-2", "Total: 3.10"), failure, 1, "r", kb.Usage(1), "kimi", "0" * 64, 1e9)
    Path("out").mkdir()
    Path("out/dead-letters-00000-of-00001.jsonl").write_bytes(dead_letter_lines.encode(letter))
    service = kb.WorkersAI.from_env(base_url=base_url)
    return {"kb": kb, "beam": beam, "pq": pq, "Path": Path, "service": service, "__name__": "__main__"}


class _InAnyOrder(doctest.OutputChecker):
    """A pipeline's elements have no order, so the lines that it prints are compared sorted."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        want, got = ("\n".join(sorted(text.splitlines())) for text in (want, got))
        return super().check_output(want, got, optionflags)


@pytest.mark.parametrize("name", SHOWN)
def test_each_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (getattr(kb, name).__doc__ or ""), f"the docstring of kb.{name} shows no example"


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_show_what_they_say(module: str, names: dict[str, Any]) -> None:
    names = {**vars(import_module(module)), **names}
    tests = [test for test in doctest.DocTestFinder().find(import_module(module), module, globs=names) if test.examples]
    assert tests
    report: list[str] = []
    runner = doctest.DocTestRunner(_InAnyOrder(), verbose=False)
    for test in tests:
        for example in test.examples:  # on the runner in this process, and not with pytest's arguments
            example.source = re.sub(r"beam\.Pipeline\(\)", 'beam.Pipeline("FnApiRunner", argv=[])', example.source)
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)
