"""`kimi-beam review`: what it writes, what it says, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness import RECEIPT, receipts, run_extract
from running_cli import mistake, run
from written_runs import write_gold, write_run

from kimi_beam.emulator import Emulator

ANSWERS = {"a": {"company": "A", "total": 1.0}, "b": {"company": None, "total": 2.0}}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_run(tmp_path / "out", RECEIPT, ANSWERS, {"c": "truncated"})


def test_the_queue_of_a_run_is_written_with_its_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(messages: Any, _: Any) -> str:
        number = str(messages[-1]["content"]).partition("Shop ")[2].partition(" ")[0]
        return json.dumps({"company": f"Shop {number} Ltd", "total": 999.25 if number == "3" else float(f"{number}.5")})

    with Emulator(answer=answer) as emulator:
        run_extract(receipts(5), emulator.base_url, tmp_path / "out", ground=True)
    path = tmp_path / "queue.jsonl"
    code, printed, err = run("review", tmp_path / "out", "--top", 3, "--output", path, capsys=capsys)
    assert (code, printed) == (0, "")
    assert err.startswith("kimi-beam: 3 of 10 values to review; about ")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 3
    first = lines[0]
    assert (first["id"], first["pointer"], first["value"]) == ("doc-3", "/total", 999.25)
    assert first["signals"] == {"none": 0.9}
    assert first["expected_errors"] == 0.9
    assert {one["place"]["match"] for one in lines[1:]} == {"number"}


def test_what_is_not_in_the_queue_is_said(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, err = run("review", out, capsys=capsys)
    assert code == 0
    pointers = [json.loads(line)["pointer"] for line in printed.splitlines()]
    assert pointers == ["/company", "/total", "/total", "/company"]
    assert "2 rows do not say where their values stand" in err
    assert "not in the queue: 1 dead letters (1 truncated)" in err


def test_decided_lines_become_gold_that_evaluate_reads(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decided: list[dict[str, Any]] = [
        {"id": "b", "pointer": "/company", "correct": "B"},
        {"id": "b", "pointer": "/total", "correct": None},
        {"id": "a", "pointer": "/total", "value": 1.0},
    ]
    queue, gold = write_gold(tmp_path / "queue.jsonl", decided), tmp_path / "gold.jsonl"
    code, printed, err = run("review", out, "--corrections", queue, "--output", gold, capsys=capsys)
    assert (code, printed) == (0, "")
    assert err == "kimi-beam: gold of 1 documents with 2 values: 2 decided, the others as in the rows\n"
    (line,) = map(json.loads, gold.read_text().splitlines())
    assert line == {"id": "b", "gold": {"company": "B", "total": None}, "reviewed": 2, "values": 2}
    found = json.loads(run("evaluate", out, gold, "--json", capsys=capsys)[1])
    assert found["documents"] == 1
    assert {name: field["errors"]["unfound"] + field["errors"]["fabricated"]
            for name, field in found["fields"].items()} == {"/company": 1, "/total": 1}  # fmt: skip


def test_an_item_is_added_and_an_answer_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = {"type": "object", "properties": {"tags": {"type": ["array", "null"], "items": {"type": "string"}}}}
    out = write_run(tmp_path / "out", schema, {"a": {"tags": ["x"]}, "b": {"tags": None}, "c": {"tags": []}})
    decided: list[dict[str, Any]] = [
        {"id": "a", "pointer": "/tags/-", "correct": "y"},
        {"id": "a", "pointer": "/tags/-", "correct": "z"},
        {"id": "a", "pointer": "/tags/0", "correct": "w"},
        {"id": "b", "pointer": "/tags/-", "correct": "y"},
        {"id": "c", "pointer": "", "correct": {"tags": ["q"]}},
    ]
    queue = write_gold(tmp_path / "queue.jsonl", decided)
    printed = run("review", out, "--corrections", queue, capsys=capsys)[1]
    found = {line["id"]: line["gold"] for line in map(json.loads, printed.splitlines())}
    assert found == {"a": {"tags": ["w", "y", "z"]}, "b": {"tags": ["y"]}, "c": {"tags": ["q"]}}


@pytest.mark.parametrize(
    ("decided", "told"),
    [
        ([{"id": "a", "pointer": "/total"}], "no line has the key 'correct'"),
        ([{"id": "z", "pointer": "/total", "correct": 1}], "the output has no row of 'z'"),
        ([{"id": "c", "pointer": "/total", "correct": 1}], "the output has no row of 'c'"),
        ([{"id": "a", "pointer": "/total/3", "correct": 1}], "the row has no place '/total/3'"),
        ([{"id": "a", "pointer": "total", "correct": 1}], "needs an 'id' and a 'pointer'"),
        ([{"pointer": "/total", "correct": 1}], "needs an 'id' and a 'pointer'"),
        ([{"id": "a", "pointer": "/total", "correct": 1}] * 2, "corrected twice"),
    ],
)
def test_corrections_that_fit_no_row_are_refused_in_one_line(
    out: Path, tmp_path: Path, decided: list[Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    queue, gold = write_gold(tmp_path / "queue.jsonl", decided), tmp_path / "gold.jsonl"
    assert told in mistake("review", out, "--corrections", queue, "--output", gold, capsys=capsys)
    assert not gold.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["review"], "name an OUTPUT"),
        (["review", "{out}", "--top", "0"], "--top"),
        (["review", "{out}/nothing"], "nothing"),
        (["review", "{out}", "--hungarian"], "unknown option --hungarian"),
        (["review", "{out}", "--corrections", "{out}/none.jsonl"], "there is no correction at"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: list[str], told: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in mistake(*(word.format(out=out) for word in words), capsys=capsys)


def test_evaluate_writes_what_review_takes_as_probabilities(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold, fitted = tmp_path / "gold.jsonl", tmp_path / "calibration.json"
    write_gold(gold, [{"id": "a", "gold": {"company": "A", "total": 9.0}}, {"id": "b", "gold": ANSWERS["b"]}])
    code, printed, err = run("evaluate", out, gold, "--calibrate", fitted, capsys=capsys)
    assert code == 0
    assert printed.startswith("2 documents with gold")
    assert err == "kimi-beam: calibrated by 4 values of 2 documents: too few documents to say how good it is\n"
    printed = run("review", out, "--calibration", fitted, capsys=capsys)[1]
    found = {(one["id"], one["pointer"]): one["expected_errors"] for one in map(json.loads, printed.splitlines())}
    assert found["b", "/company"] == 0.125, "none of one, and a quarter for the mean"
    assert found["a", "/total"] == found["b", "/total"] == 0.3125, "one of three, and a quarter for the mean"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "not JSON",
        '{"risks": [], "probabilities": []}',
        '{"risks": [0.1], "probabilities": []}',
        '{"risks": [0.2, 0.1], "probabilities": [0.1, 0.2]}',
        '{"risks": [0.1, 0.2], "probabilities": [0.2, 0.1]}',
    ],
)
def test_a_file_that_is_no_calibration_is_refused(
    text: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "calibration.json").write_text(text)
    told = mistake("review", out, "--calibration", tmp_path / "calibration.json", capsys=capsys)
    assert "calibration.json is no calibration" in told
