"""`kimi-beam show`: what a run came to, what to do about its dead letters, and a run that has not ended."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

import pytest
from harness import receipts
from reported_runs import invoices, write_reported_run
from running_cli import SCHEMA, mistake, run

from kimi_beam.commands.letter_advice import ADVICE
from kimi_beam.commands.parsers import redrive_parser
from kimi_beam.commands.reading_options import add_reading_options
from kimi_beam.types.failure import Code


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_reported_run(tmp_path / "out", invoices(20), failing=0.2)


def _summary(out: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = json.loads((out / "summary.json").read_text())
    return found


def test_counts_rows_and_reasons_are_those_of_the_run(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, err = run("show", out, "--rows", 2, capsys=capsys)
    assert (code, err) == (0, "")
    summary = _summary(out)
    assert f"documents           {summary['documents']}" in printed
    for name, count in summary["dead_letters"].items():
        assert f"{name}: {count} dead letters" in printed
        assert f"what to do: {ADVICE[name]}" in printed


def test_programs_get_one_object_with_the_same_numbers(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run("show", out, "--rows", 3, "--json", capsys=capsys)
    assert code == 0
    shown = json.loads(printed)
    assert shown["version"] == 1
    assert shown["summary"] == _summary(out)
    assert {one["code"]: one["documents"] for one in shown["dead_letters"]} == _summary(out)["dead_letters"]
    assert len(shown["rows"]) == 3


def test_pages_of_dead_letters_hold_each_once(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = sum(_summary(out)["dead_letters"].values())
    assert count >= 3
    ids: list[str] = []
    for offset in range(0, count, 2):
        code, printed, err = run("show", out, "--dead-letters", "--limit", 2, "--offset", offset, capsys=capsys)
        assert code == 0
        assert (f"--offset {offset + 2}" in err) is (offset + 2 < count)
        ids += [line.split("\t")[0] for line in printed.splitlines()]
    assert len(ids) == len({*ids}) == count


def test_dead_letters_of_one_code_are_shown_alone(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, count = next(iter(_summary(out)["dead_letters"].items()))
    code, printed, _ = run("show", out, "--dead-letters", "--code", name, "--json", capsys=capsys)
    assert code == 0
    shown = json.loads(printed)
    assert shown["total"] == len(shown["dead_letters"]) == count
    assert {letter["code"] for letter in shown["dead_letters"]} == {name}
    assert run("show", out, "--dead-letters", "--code", "nothing", capsys=capsys)[:2] == (0, "")


def test_a_run_that_has_not_ended_is_shown_by_its_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(7))
    (tmp_path / "in.jsonl").write_text(lines)
    out = tmp_path / "out"
    words = ("extract", tmp_path / "in.jsonl", "--schema", SCHEMA, "--output", out, "--emulator")
    assert run(*words, "--journal", out / "_journal", capsys=capsys)[0] == 0
    for path in out.iterdir():
        if path.is_file():
            path.unlink()
    code, printed, _ = run("show", out, "--json", capsys=capsys)
    assert code == 0
    shown = json.loads(printed)
    assert shown["finished"] is False
    assert shown["journal"]["answered"] == 7
    code, printed, _ = run("show", out, capsys=capsys)
    assert code == 0
    assert "has not ended" in printed
    assert "at its end" in mistake("show", out, "--dead-letters", capsys=capsys)
    shutil.rmtree(out / "_journal")
    assert "neither summary.json nor a journal" in mistake("show", out, capsys=capsys)


def test_mistakes_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no directory" in mistake("show", capsys=capsys)
    assert "no output of a run" in mistake("show", tmp_path / "nowhere", capsys=capsys)


def test_every_code_has_advice_and_no_advice_is_of_a_code_that_is_gone() -> None:
    assert set(Code.__args__) == {*ADVICE}  # type: ignore[attr-defined]


def test_advice_names_options_that_exist() -> None:
    named = set(re.findall(r"--[a-z][a-z-]*", " ".join(ADVICE.values())))
    parser = argparse.ArgumentParser()
    redrive_parser.COMMAND.add_arguments(parser)
    add_reading_options(parser.add_argument_group())
    assert named <= {word for action in parser._actions for word in action.option_strings}
