"""`--json` on every command: stdout parses whatever happens, and messages are on stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness import receipts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reported_runs import invoices, write_reported_run
from running_cli import SCHEMA, run

from kimi_beam.cli import COMMANDS

Capture = pytest.CaptureFixture[str]
WORDS = {
    "extract": ["{in}", "--schema", "{schema}", "--output", "{new}", "--emulator", "--preview", "2"],
    "read": ["{in}"],
    "redrive": ["{out}", "--schema", "{schema}", "--output", "{new}", "--emulator", "--code", "none"],
    "show": ["{out}"],
    "evaluate": ["{out}", "{gold}"],
    "review": ["{out}"],
    "report": ["{out}"],
    "diff": ["{out}", "{out}"],
    "emulate": ["--faults", "nonsense"],
    "journal": ["ls", "{out}"],
    "audit": ["{out}"],
    "config": ["show", "--max-cost", "3"],
    "doctor": ["--emulator"],
    "models": [],
    "schema": ["show", "{schema}"],
    "completion": ["bash"],
}
"""For each command words with which it does, or says, something."""
ERRORS = [["--no-such-option"], ["{nowhere}", "{nowhere}", "{nowhere}"], ["--output"], ["--config", "{nowhere}"]]
"""What is added to them, so that something is wrong."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("json")
    out = write_reported_run(directory / "out", invoices(10), failing=0.2)
    lines = "".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(3))
    (directory / "in.jsonl").write_text(lines)
    golds = [{"id": document.id, "gold": answer} for document, answer in invoices(10)]
    (directory / "gold.jsonl").write_text("".join(json.dumps(gold) + "\n" for gold in golds))
    paths = {"in": "in.jsonl", "gold": "gold.jsonl", "nowhere": "nowhere", "new": "new"}
    return {"out": str(out), "schema": str(SCHEMA), **{name: str(directory / path) for name, path in paths.items()}}


def _objects(printed: str) -> list[Any]:
    """The objects of stdout: one object, or one a line."""
    return [json.loads(line) for line in printed.splitlines()]


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_command_has_the_option() -> None:
    assert {*WORDS} == {*COMMANDS}


@pytest.mark.parametrize("command", WORDS)
def test_stdout_parses_where_the_command_does_what_it_is_for(
    command: str, places: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    here = {**places, "new": str(tmp_path / "new")}
    code, out, err = run(command, *(word.format(**here) for word in WORDS[command]), "--json", capsys=capsys)
    objects = _objects(out)
    assert objects
    assert all(isinstance(each, dict) for each in objects)
    assert "unrecognized" not in err
    if code == 2:
        assert objects[-1]["version"] == 1
        assert objects[-1]["error"]["exit_code"] == 2
        assert objects[-1]["error"]["message"]
    else:
        assert not any("error" in each and "version" in each for each in objects)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=st.sampled_from(sorted(WORDS)),
    wrong=st.sampled_from(ERRORS) | st.lists(st.text(min_size=1, max_size=8), max_size=2),
    keeps=st.booleans(),
)
def test_stdout_parses_whatever_is_wrong(
    command: str, wrong: list[str], keeps: bool, places: dict[str, str], capsys: Capture
) -> None:
    slow = command in ("extract", "redrive", "doctor")  # these would start an emulator where nothing is wrong
    keeps = (keeps and not slow) or command == "emulate"  # which would serve for ever
    words = [*(WORDS[command] if keeps else []), *(w for w in wrong if w in str(ERRORS) or "-" not in w)]
    filled = [word.format(**places) if word.startswith("{") and word[1:-1] in places else word for word in words]
    code, out, _ = run(command, *filled, "--json", capsys=capsys)
    objects = _objects(out)
    assert objects, (code, filled)
    if code == 2 and command != "diff":
        assert objects[-1]["error"]["exit_code"] == 2


def test_an_error_has_the_message_of_stderr(capsys: Capture) -> None:
    code, out, err = run("show", "nowhere", "--json", capsys=capsys)
    assert code == 2
    (told,) = _objects(out)
    assert told == {"version": 1, "error": {"exit_code": 2, "message": err.removeprefix("kimi-beam: ").strip()}}


def test_without_the_option_an_error_is_on_stderr_alone(capsys: Capture) -> None:
    code, out, _ = run("show", "nowhere", capsys=capsys)
    assert (code, out) == (2, "")
