"""`kimi-beam evaluate` and `kimi-beam diff`: what they print, and their exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import HANGS
from running_cli import mistake, run
from written_runs import write_gold, write_run

RECEIPT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "shop": {"type": ["string", "null"]},
        "currency": {"enum": ["EUR", "USD", None]},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "total": {"type": "number"}}},
        },
    },
}
RIGHT: dict[str, Any] = {
    "shop": "A",
    "currency": "EUR",
    "lines": [{"name": "pen", "total": 1.5}, {"name": "ink", "total": 2.0}],
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output with a right row, a row with an error, and a dead letter."""
    wrong = {**RIGHT, "currency": "USD"}
    return write_run(tmp_path / "out", RECEIPT, {"a": RIGHT, "b": wrong, "stray": RIGHT}, {"c": "truncated"})


@pytest.fixture
def golds(tmp_path: Path) -> Path:
    records = [{"id": name, "gold": RIGHT, "language": language} for name, language in ("ax", "bx", "cy", "dy")]
    return write_gold(tmp_path / "gold.jsonl", records)


def test_a_score_is_printed_field_by_field(out: Path, golds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, err = run("evaluate", out, golds, capsys=capsys)
    assert (code, err) == (0, "")
    lines = printed.splitlines()
    assert lines[0] == "4 documents with gold: 2 rows, 1 missing, 1 truncated"
    assert "Without gold, and not scored: 1 (stray)" in lines
    cells = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("/", "overall"))}
    assert list(cells) == ["/shop", "/currency", "/lines/*/name", "/lines/*/total", "overall"]
    assert cells["/currency"] == ["50.0", "25.0", "33.3", "25.0", "4", "1", "2", "0", "0", "0", "0/0"]
    assert cells["/lines/*/name"] == ["100.0", "50.0", "66.7", "50.0", "8", "0", "4", "0", "0", "0", "0/0"]
    assert '  1  /currency  "EUR"  "USD"' in lines
    assert [line.split()[:2] for line in lines[lines.index("worst documents") + 1 :][:3]] == [
        ["c", "truncated"], ["d", "missing"], ["b", "row"],
    ]  # fmt: skip


def test_slices_and_a_second_output_are_printed_with_the_seed(
    out: Path, golds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    better = write_run(tmp_path / "better", RECEIPT, dict.fromkeys("abcd", RIGHT))
    words = ("evaluate", out, golds, "--by", "language", "--compare", better, "--seed", 5)
    code, printed, _ = run(*words, capsys=capsys)
    assert code == 0
    assert "slice x: 2 documents" in printed
    assert "slice y: 2 documents" in printed
    assert "(seed 5, 2000 resamples)" in printed
    assert printed.splitlines()[-1].split()[:4] == ["overall", "61.1", "100.0", "+38.9"]


def test_json_is_one_object_with_the_same_figures(out: Path, golds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run("evaluate", out, golds, "--json", capsys=capsys)
    assert code == 0
    found = json.loads(printed)
    assert found["documents"] == 4
    assert found["fields"]["/currency"]["precision"] == 0.5
    assert found["fields"]["/currency"]["errors"]["misread"] == 1
    assert found["overall"]["support"] == 24
    assert found["without_gold"] == {"documents": 1, "ids": ["stray"]}


def test_each_wrong_value_is_printed_with_what_is_right(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"name": "ink", "total": {"$any": [2.5, 3]}}, {"name": "cap", "total": 1.0}]
    record = {"id": "a", "gold": {"shop": None, "currency": "EUR", "lines": lines, "x": 1}}
    golds = write_gold(tmp_path / "some.jsonl", [record, {"id": "c", "gold": RIGHT}])
    code, printed, _ = run("evaluate", out, golds, "--wrong", capsys=capsys)
    assert code == 0
    assert [line.split("\t") for line in printed.splitlines() if "\t" in line] == [
        ["a", "/shop", "fabricated", "", '"A"'],
        ["a", "/x", "unfound", "1", ""],
        ["a", "/lines/1/total", "misread", '{"$any":[2.5,3]}', "2.0"],
        ["a", "/lines/1/name", "unfound", '"cap"', ""],
        ["a", "/lines/1/total", "unfound", "1.0", ""],
        ["a", "/lines/0/name", "invented_item", "", '"pen"'],
        ["a", "/lines/0/total", "invented_item", "", "1.5"],
        ["c", "", "truncated", "", ""],
    ]
    found = json.loads(run("evaluate", out, golds, "--wrong", "--json", capsys=capsys)[1])
    assert len(found["wrong"]) == 8
    assert found["wrong"][2] == {
        "id": "a", "error": "misread", "field": "/lines/*/total", "pointer": "/lines/1/total",
        "gold": {"$any": [2.5, 3]}, "answer": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["evaluate"], "name an OUTPUT and a GOLD.jsonl"),
        (["evaluate", "{out}"], "name an OUTPUT and a GOLD.jsonl"),
        (["evaluate", "{out}", "{golds}", "--gold-field", "golden"], "no gold at the key 'golden'"),
        (["evaluate", "{golds}", "{golds}"], "is no output of a run"),
        (["evaluate", "{out}", "{golds}", "--compare", "{golds}"], "is no output of a run"),
        (["evaluate", "{out}", "{golds}", "--hungarian"], "unknown option --hungarian"),
        (["diff", "{out}"], "name two outputs"),
        (["diff", "{out}", "{golds}"], "is no output of a run"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    out: Path, golds: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in mistake(*(word.format(out=out, golds=golds) for word in words), capsys=capsys)


def test_two_runs_with_the_same_answers_are_the_same(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {**RIGHT, "currency": "USD", "lines": RIGHT["lines"][::-1]}
    answers = {"stray": RIGHT, "b": wrong, "a": RIGHT}
    other = write_run(tmp_path / "other", RECEIPT, answers, {"c": "truncated"}, files=1)
    code, printed, err = run("diff", out, other, capsys=capsys)
    assert (code, printed, err) == (0, "4 documents: 4 the same, 0 differ\n", "")


def test_what_differs_is_printed_value_by_value(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"name": "cap", "total": 9}, {"name": "ink", "total": 2.5}]
    other = write_run(
        tmp_path / "other", RECEIPT, {"a": {**RIGHT, "lines": lines}, "c": RIGHT, "n": RIGHT}, {"b": "refusal"}
    )
    code, printed, err = run("diff", out, other, capsys=capsys)
    assert (code, err) == (1, "")
    rows = [line.split("\t") for line in printed.splitlines() if "\t" in line]
    assert rows == [
        ["a", "/lines/0/name", "gone", '"pen"', ""],
        ["a", "/lines/0/total", "gone", "1.5", ""],
        ["a", "/lines/1/total", "changed", "2.0", "2.5"],
        ["a", "/lines/0/name", "new", "", '"cap"'],
        ["a", "/lines/0/total", "new", "", "9.0"],
        ["stray", "row", "missing"],
        ["b", "row", "refusal"],
        ["c", "truncated", "row"],
        ["n", "missing", "row"],
    ]
    brief = run("diff", out, other, "--brief", capsys=capsys)
    assert brief[0] == 1
    assert brief[1].splitlines()[:2] == [
        "5 documents: 0 the same, 5 differ",
        "  1: missing in the first, row in the second",
    ]
    assert [line.split() for line in brief[1].splitlines()[-2:]] == [
        ["/lines/*/name", "0", "1", "1"],
        ["/lines/*/total", "1", "1", "1"],
    ]
    *documents, sums = map(json.loads, run("diff", out, other, "--json", capsys=capsys)[1].splitlines())
    assert [one["id"] for one in documents] == ["a", "stray", "b", "c", "n"]
    assert documents[0]["values"][2] == {
        "change": "changed", "field": "/lines/*/total", "pointer": "/lines/1/total", "first": 2.0, "second": 2.5,
    }  # fmt: skip
    assert (sums["documents"], sums["same"], sums["fields"]["/lines/*/name"]["gone"]) == (5, 0, 1)


def test_runs_of_two_schemas_are_compared_by_the_first_and_that_is_told(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = {**RECEIPT, "properties": {**RECEIPT["properties"], "note": {"type": "string"}}}
    other = write_run(tmp_path / "other", schema, {"a": {**RIGHT, "note": "x"}})
    code, printed, err = run("diff", out, other, capsys=capsys)
    assert code == 1
    assert "two schemas" in err
    assert 'a\t/note\tnew\t\t"x"' in printed


def test_no_control_character_of_an_answer_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[31m\u202e"
    first = write_run(tmp_path / "first", RECEIPT, {evil: {"shop": evil}})
    second = write_run(tmp_path / "second", RECEIPT, {evil: {"shop": "A", evil: "x"}})
    golds = write_gold(tmp_path / "gold.jsonl", [{"id": evil, "gold": {"shop": "B", evil: "y"}}])
    commands = (("diff", first, second), ("evaluate", second, golds, "--wrong"))
    for words in (*commands, *((*words, "--json") for words in commands)):
        code, printed, err = run(*words, capsys=capsys)
        assert code == (words[0] == "diff")
        assert evil not in printed
        if words[-1] == "--json":
            first_line = json.loads(printed.splitlines()[0])
            assert first_line.get("id", "") in (evil, "")
        assert "\x1b" not in printed + err
        assert "\u202e" not in printed + err


def test_a_pipe_that_is_closed_early_ends_diff_without_a_word(tmp_path: Path) -> None:
    answers = {f"d{index}": {"shop": "A" * 200} for index in range(2_000)}
    first = write_run(tmp_path / "first", RECEIPT, answers)
    second = write_run(tmp_path / "second", RECEIPT, {name: {"shop": "B"} for name in answers})
    command = f"{sys.executable} -m kimi_beam.cli diff {first} {second} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=HANGS)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
