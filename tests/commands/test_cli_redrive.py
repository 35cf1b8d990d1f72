"""`kimi-beam redrive` as a user sees it: which dead letters it runs again, and which journal it uses."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from harness import RECEIPT, read_dataset, receipts
from patience import HANGS

import kimi_beam as kb
from kimi_beam import cli
from kimi_beam.emulator import Emulator
from kimi_beam.journal.files import contents
from kimi_beam.results.dead_letter_lines import encode
from kimi_beam.types.dead_letter import DeadLetter


class Answers:
    """Each document is answered badly as often as was said, then well."""

    def __init__(self) -> None:
        self.bad = 1
        self._asked: Counter[str] = Counter()

    def __call__(self, messages: Any, schema: Any) -> str:
        text = messages[-1]["content"]
        self._asked[text] += 1
        return '{"company": 1}' if self._asked[text] <= self.bad else '{"company": "a", "total": 2}'


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def emulator(answers: Answers) -> Iterator[Emulator]:
    with Emulator(answer=answers) as running:
        yield running


@pytest.fixture
def first(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of 10 documents with bad answers, and an empty one."""
    for name in ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "schema.json").write_text(json.dumps(RECEIPT))
    documents = [*receipts(10), kb.Document("empty", "")]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in documents))
    assert cli.main(["extract", str(tmp_path / "docs.jsonl"), *options(emulator, tmp_path, "first")]) == 0
    assert read_dataset(tmp_path / "first").codes == {"schema_violation": 10, "empty_document": 1}
    return tmp_path / "first"


def options(emulator: Emulator, tmp_path: Path, name: str) -> list[str]:
    return [
        *("--schema", str(tmp_path / "schema.json"), "--output", str(tmp_path / name)),
        *("--base-url", emulator.base_url, "--poll-interval", "0.05:0.2", "--repairs", "0"),
    ]


def run(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_retryable_are_run_again_and_the_others_are_counted(
    first: Path, emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(["redrive", str(first), *options(emulator, tmp_path, "second")], capsys)
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert ["documents", "10"] in lines
    assert ["not", "run", "again", "1"] in lines
    assert ["empty_document", "1"] in lines
    second = read_dataset(tmp_path / "second")
    assert (len(second.rows), second.letters) == (10, [])
    assert second.summary["left"] == {"empty_document": 1}
    assert {row["_provenance"]["attempts"] for row in second.rows} == {2}


def test_the_journal_of_the_first_run_goes_on_also_from_one_redrive_to_the_next(
    first: Path, answers: Answers, emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers.bad = 2
    for source, name, paid in ((first, "second", 20), (tmp_path / "second", "third", 30)):
        for directory in (name, f"{name}-again"):
            code, _, err = run(["redrive", str(source), *options(emulator, tmp_path, directory)], capsys)
            assert code == 0, err
            assert emulator.stats()["items"] == paid
            assert not (tmp_path / directory / "_journal").exists()
            assert read_dataset(tmp_path / directory).summary["journal"] == str(first / "_journal")
    assert len(read_dataset(tmp_path / "third-again").rows) == 10
    assert contents(str(first / "_journal"))["  answered"] == 30


def test_another_journal_or_none_is_the_users_to_name(
    first: Path, answers: Answers, emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers.bad = 99
    known = contents(str(first / "_journal"))
    for name, more, paid in (("a", ["--no-journal"], 20), ("b", ["--journal", str(tmp_path / "j")], 30)):
        code, _, err = run(["redrive", str(first), *options(emulator, tmp_path, name), *more], capsys)
        assert (code, emulator.stats()["items"]) == (0, paid), err
    assert contents(str(first / "_journal")) == known
    assert contents(str(tmp_path / "j"))["documents"] == 10
    # Letters of two runs have no journal in common.
    both = [str(tmp_path / name / "dead-letters-*.jsonl") for name in "ab"]
    code, _, err = run(["redrive", *both, *options(emulator, tmp_path, "c")], capsys)
    assert code == 0, err
    assert read_dataset(tmp_path / "c").codes == {"duplicate_id": 20}
    assert read_dataset(tmp_path / "c").summary["journal"] == str(tmp_path / "c" / "_journal")


def test_codes_stages_and_a_limit_choose(
    first: Path, emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--code", "empty_document", "--code", "schema_violation", "--limit", "4"]
    code, _, err = run(["redrive", str(first), *options(emulator, tmp_path, "second"), *chosen], capsys)
    assert code == 0, err
    summary = read_dataset(tmp_path / "second").summary
    assert summary["documents"] == 4
    assert sum(summary["left"].values()) == 7
    none = ["--stage", "poll"]
    code, _, err = run(["redrive", str(first), *options(emulator, tmp_path, "third"), *none], capsys)
    assert code == 0, err
    assert read_dataset(tmp_path / "third").summary["left"] == {"empty_document": 1, "schema_violation": 10}


def test_standard_input_is_read_to_its_end_and_too_many_dead_letters_are_told(
    first: Path, answers: Answers, emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    answers.bad = 99
    (path,) = first.glob("dead-letters-*.jsonl")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes() + b"damaged\n")))
    arguments = ["redrive", "-", *options(emulator, tmp_path, "second"), "--max-dead-letters", "3"]
    code, _, err = run(arguments, capsys)
    assert code == 3
    assert "11 of 11 documents are dead letters" in err
    second = read_dataset(tmp_path / "second")
    assert second.codes == {"schema_violation": 10, "not_json": 1}
    (damaged,) = [one for one in second.letters if one["stage"] == "read"]
    assert damaged["document_id"].endswith("stdin.jsonl#12")
    assert not Path(damaged["source"]).exists(), "what was read is left behind"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "kimi-beam redrive --help"),
        (["gone"], "no dead letters at gone"),
        (["docs.jsonl"], "its first line has no document_id"),
        (["newer.jsonl"], "version 9; this kimi_beam reads 2"),
        (["first", "--code", "truncatd"], "'truncatd' is none of"),
        (["first", "--stage", "validation"], "'validation' is none of"),
        (["first", "--unknown"], "unknown option --unknown (kimi-beam redrive --help)"),
        (["first", "--output", "first", "--overwrite"], "the dead letters are in first itself"),
        (["first/dead-letters-*", "--output", "./first/", "--overwrite"], "are in ./first/ itself"),
        (["-", "--runner", "DataflowRunner"], "standard input is this machine's"),
    ],
)
def test_mistakes_are_told_in_one_line_before_anything_is_sent(
    arguments: list[str], told: str, first: Path, emulator: Emulator, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    failure = kb.Failure("infer", "truncated", "m")
    line = encode(DeadLetter(kb.Document("a", "t"), failure, 1, None, kb.Usage(), "m", "h", 0.0))
    (tmp_path / "newer.jsonl").write_bytes(line.replace(b'"version":2', b'"version":9'))
    monkeypatch.chdir(tmp_path)
    before = emulator.stats()
    code, out, err = run(["redrive", *options(emulator, tmp_path, "second"), *arguments], capsys)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1, err
    assert emulator.stats() == before
    assert (first / "summary.json").exists()


def test_the_program_that_is_launched_does_the_same(
    first: Path, emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, ROOT / "pipelines" / "redrive.py", "--dead-letters", first),
            *("--schema", tmp_path / "schema.json", "--output", tmp_path / "second"),
            *("--base-url", emulator.base_url, "--journal", first / "_journal", "--runner", "FnApiRunner"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr
    assert len(read_dataset(tmp_path / "second").rows) == 10
    assert (emulator.stats()["items"], contents(str(first / "_journal"))["  answered"]) == (20, 20)
