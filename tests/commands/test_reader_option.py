"""`--reader`: a function that is named on the command line reads whole files, or Workers AI's own conversion does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness import RECEIPT, read_dataset
from running_cli import mistake, run

MODULE = """
def by_line(content, path):
    if path.endswith(".ledger"):
        return "TOTAL 24.80\\n" + content.decode("cp500")

constant = 7
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.ledger").write_bytes("Größe".encode("cp500"))
    (tmp_path / "in" / "b.html").write_text("<p>ACME LTD</p><p>TOTAL 3.10</p>")
    (tmp_path / "ledgers_of_this_test.py").write_text(MODULE)
    (tmp_path / "schema.json").write_text(json.dumps(RECEIPT))
    return tmp_path


def test_read_shows_what_a_function_in_the_working_directory_makes_of_a_file(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run("read", "in", "--reader", "ledgers_of_this_test:by_line", capsys=capsys)
    assert code == 0, err
    texts = {line["id"]: line["text"] for line in map(json.loads, out.splitlines())}
    assert texts == {"in/a.ledger": "TOTAL 24.80\nGröße", "in/b.html": "ACME LTD\n\nTOTAL 3.10"}


def test_a_run_in_two_processes_reads_by_it(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--schema", "schema.json", "--emulator", "--output", "out", "--reader", "ledgers_of_this_test:by_line")
    processes = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
    code, _, err = run("extract", "in", *words, *processes, capsys=capsys)
    assert code == 0, err
    assert {row["_document_id"]: row["total"] for row in read_dataset(directory / "out").rows} == {
        "in/a.ledger": 24.8,
        "in/b.html": 3.1,
    }


def test_tomarkdown_asks_the_service_that_the_run_asks(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "in" / "a.ledger").unlink()
    (directory / "in" / "c.pdf").write_bytes(b"%PDF-1.4 broken")
    words = ("--schema", "schema.json", "--emulator", "--output", "out", "--reader", "tomarkdown")
    code, _, err = run("extract", "in", *words, capsys=capsys)
    assert code == 0, err
    outcome = read_dataset(directory / "out")
    assert [(row["_document_id"], row["total"]) for row in outcome.rows] == [("in/b.html", 3.1)]
    (letter,) = outcome.letters
    assert (letter["document_id"], letter["code"], letter["stage"]) == ("in/c.pdf", "reader_failed", "read")
    assert "cannot be converted by Workers AI" in letter["message"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ocr", "neither tomarkdown nor a function's name"),
        ("no_such_module_here:f", "cannot import no_such_module_here:f: ModuleNotFoundError"),
        ("ledgers_of_this_test:absent", "has no absent"),
        ("ledgers_of_this_test:constant", "is no function"),
    ],
)
def test_a_reader_that_is_none_is_refused_in_a_line_before_anything_is_read(
    name: str, told: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--schema", "schema.json", "--emulator", "--output", "out", "--reader", name)
    assert told in mistake("extract", "in", *words, capsys=capsys)
    assert not (directory / "out").exists()
