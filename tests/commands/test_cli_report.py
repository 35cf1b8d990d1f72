"""`kimi-beam report` and `extract --report`: what they write, what they say, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from page_data import page_data, texts_by_id
from reported_runs import invoices, write_reported_run
from running_cli import SCHEMA, mistake, run
from written_runs import write_gold

SAMPLES = Path(__file__).parents[2] / "pipelines" / "samples"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_reported_run(tmp_path / "out", invoices(20), failing=0.2)


def test_the_page_and_its_figures_are_written_into_the_output(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, err = run("report", out, capsys=capsys)
    assert (code, err) == (0, "")
    assert printed.splitlines() == [str(out / "report.html"), str(out / "report.json")]
    figures = json.loads((out / "report.json").read_text())
    assert figures["documents"] == 20
    assert page_data(out / "report.html")["figures"] == figures
    assert not list(out.glob(".staging*"))


def test_the_page_is_written_where_the_user_says(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "pages" / "monday.html"
    golds = [{"id": document.id, "gold": answer} for document, answer in invoices(20)]
    gold = write_gold(tmp_path / "gold.jsonl", golds)
    assert run("report", out, "--html", page, "--gold", gold, "--documents", 5, "--no-texts", capsys=capsys)[0] == 0
    data = page_data(page)
    assert len(data["documents"]) == data["figures"]["shown"]["documents"] == 5
    assert data["figures"]["score"]["documents"] == 20
    assert json.loads(page.with_suffix(".json").read_text()) == data["figures"]
    assert not (out / "report.html").exists()


def test_figures_are_printed_alone_where_programs_ask_for_them(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, err = run("report", out, "--json", capsys=capsys)
    assert (code, err) == (0, "")
    assert json.loads(printed)["extractions"] == json.loads((out / "summary.json").read_text())["extractions"]
    assert not (out / "report.html").exists()


def test_what_the_files_lack_is_said(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sorted(out.glob("extractions-*"))[1].unlink()
    code, _, err = run("report", out, capsys=capsys)
    assert code == 0
    assert "extractions, and summary.json says" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name one OUTPUT"),
        (("a", "b"), "name one OUTPUT"),
        (("nowhere",), "is no output of a run"),
        (("OUT", "--html", "page.txt"), "ends in .html"),
        (("OUT", "--gold", "nowhere.jsonl"), "nowhere.jsonl"),
        (("OUT", "--password-from", "env:NOT_SET"), "NOT_SET"),
        (("OUT", "--documents", "-1"), "--documents"),
    ],
)
def test_mistakes_are_refused_in_one_line(
    out: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in mistake("report", *(out if word == "OUT" else word for word in words), capsys=capsys)
    assert not (out / "report.html").exists()


def test_extract_writes_the_report_of_its_run_and_the_next_run_removes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("extract", SAMPLES / "receipt-0*.txt", "--schema", SCHEMA, "--output", out, "--emulator", "--ground")
    code, printed, _ = run(*words, "--journal", tmp_path / "journal", "--report", capsys=capsys)
    assert code == 0
    figures = json.loads((out / "report.json").read_text())
    assert figures["histograms"]["queue_seconds"]["values"] == figures["extractions"] > 0
    assert figures["histograms"]["queue_seconds"]["max"] < 60
    assert str(out / "report.html") in printed
    found = texts_by_id(out / "report.html")
    assert len(found) == len(list(SAMPLES.glob("receipt-0*.txt")))
    for name, (text, _, _) in found.items():
        assert text == Path(name).read_text()
    assert run(*words, "--overwrite", capsys=capsys)[0] == 0
    assert not (out / "report.html").exists()
    assert not (out / "report.json").exists()
