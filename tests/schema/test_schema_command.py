"""The command `kimi-beam schema`, and the comparison of two schemas' columns behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kimi_beam.cli import main
from kimi_beam.errors import OutputError
from kimi_beam.output import dataset
from kimi_beam.results.rows import file_schema
from kimi_beam.schema import OutputSchema
from kimi_beam.schema.diff import Verdict, diff, verdict


def _changes(old: Any, new: Any) -> tuple[Verdict, list[str]]:
    schemas = [OutputSchema({"type": "object", "properties": p}).arrow_schema for p in (old, new)]
    changes = diff(*schemas)
    return verdict(changes), [change.path for change in changes]


TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
SMALL = {"type": "integer", "minimum": 0, "maximum": 9}
CENTS = {"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 99}
LISTED = {"enum": ["x", "y"]}


def _object(**properties: Any) -> Any:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("old", "new", "expected", "paths"),
    [
        ({"a": TEXT}, {"a": TEXT}, Verdict.COMPATIBLE, []),
        ({"a": TEXT, "b": WHOLE}, {"b": WHOLE, "a": TEXT}, Verdict.COMPATIBLE, []),
        ({"a": TEXT}, {"a": {**TEXT, "maxLength": 5, "description": "d"}}, Verdict.COMPATIBLE, []),
        ({"a": LISTED}, {"a": {"enum": ["x", "y", "z"]}}, Verdict.COMPATIBLE, []),
        ({"a": TEXT}, {"a": TEXT, "b": TEXT}, Verdict.WIDENING, ["b"]),
        ({"a": SMALL}, {"a": WHOLE}, Verdict.WIDENING, ["a"]),
        ({"a": SMALL}, {"a": NUMBER}, Verdict.WIDENING, ["a"]),
        ({"a": LISTED}, {"a": TEXT}, Verdict.WIDENING, ["a"]),
        ({"a": CENTS}, {"a": {**CENTS, "maximum": 9999}}, Verdict.WIDENING, ["a"]),
        ({"a": _object(x=SMALL)}, {"a": _object(x=WHOLE, y=TEXT)}, Verdict.WIDENING, ["a.x", "a.y"]),
        ({"a": {"items": SMALL}}, {"a": {"items": WHOLE}}, Verdict.WIDENING, ["a[]"]),
        ({"a": {"additionalProperties": SMALL}}, {"a": {"additionalProperties": WHOLE}}, Verdict.WIDENING, ["a[]"]),
        ({"a": TEXT, "b": TEXT}, {"a": TEXT}, Verdict.BREAKING, ["b"]),
        ({"a": WHOLE}, {"a": SMALL}, Verdict.BREAKING, ["a"]),
        ({"a": WHOLE}, {"a": NUMBER}, Verdict.BREAKING, ["a"]),
        ({"a": TEXT}, {"a": LISTED}, Verdict.BREAKING, ["a"]),
        ({"a": TEXT}, {"a": {}}, Verdict.BREAKING, ["a"]),
        ({"a": TEXT}, {"a": {**TEXT, "format": "date"}}, Verdict.BREAKING, ["a"]),
        ({"a": {"items": _object(x=TEXT)}}, {"a": {"items": _object(y=TEXT)}}, Verdict.BREAKING, ["a[].x", "a[].y"]),
        ({"a": CENTS}, {"a": NUMBER}, Verdict.BREAKING, ["a"]),
    ],
)
def test_a_change_is_judged_by_what_it_does_to_readers(old: Any, new: Any, expected: Verdict, paths: list[str]) -> None:
    assert _changes(old, new) == (expected, paths)


def test_a_column_that_may_now_be_null_is_wider() -> None:
    old = OutputSchema({"type": "object", "properties": {"a": TEXT}, "required": ["a"]})
    new = OutputSchema({"type": "object", "properties": {"a": TEXT}})
    assert verdict(diff(old.arrow_schema, new.arrow_schema)) is Verdict.WIDENING
    assert verdict(diff(new.arrow_schema, old.arrow_schema)) is Verdict.COMPATIBLE


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    definitions = {
        "old": {"title": "Bill", "type": "object", "properties": {"total": NUMBER, "_metadata": TEXT, "x": {}}},
        "wider": {"type": "object", "properties": {"total": NUMBER, "_metadata": TEXT, "x": {}, "new": TEXT}},
        "broken": {"type": "object", "properties": {"total": TEXT, "_metadata": TEXT, "x": {}}},
    }
    for name, definition in definitions.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(definition))
    return {name: str(tmp_path / f"{name}.json") for name in definitions}


def test_show_says_what_each_property_became_and_why(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "show", files["old"]]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["/total", "double", "number"] in lines
    assert ["/x", "json", "anything"] in lines
    assert ["_metadata_", "yes", "string"] in lines
    assert "1 of 3 leaves are JSON text." in out
    assert "'_metadata' is the column '_metadata_'" in out


def test_show_sent_prints_what_the_service_gets(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "show", files["old"], "--sent"]) == 0
    assert json.loads(capsys.readouterr().out) == OutputSchema(files["old"]).response_format


@pytest.mark.parametrize(
    ("new", "code", "first"), [("old", 0, "compatible"), ("wider", 0, "widening"), ("broken", 1, "breaking")]
)
def test_diff_says_what_the_change_is_and_ends_with_1_when_it_breaks(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], new: str, code: int, first: str
) -> None:
    assert main(["schema", "diff", files["old"], files[new]]) == code
    assert capsys.readouterr().out.splitlines()[0] == first


def test_a_file_that_was_written_can_be_compared_too(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "e.parquet"
    pq.write_table(file_schema(OutputSchema(files["old"])).empty_table(), written)
    assert main(["schema", "diff", str(written), files["old"]]) == 0
    assert capsys.readouterr().out.splitlines() == ["compatible"]
    assert main(["schema", "diff", str(written), files["broken"]]) == 1


@pytest.mark.parametrize(
    "argv", [["show", "gone.json"], ["diff", "gone.json", "gone.json"], ["diff", "gone.parquet", "gone.parquet"]]
)
def test_a_mistake_is_one_line_and_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", *argv]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "gone" in said.err


def test_the_command_needs_no_beam() -> None:
    code = (
        "import sys; from kimi_beam.cli import main; main(['schema', 'show', 'schemas/receipt.json']);"
        "assert 'apache_beam' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# ------------------------------------------------------------------------------------------------ a dataset


def _finished(directory: Path, schema: OutputSchema) -> None:
    directory.mkdir()
    pq.write_table(file_schema(schema).empty_table(), directory / "extractions-00000-of-00001.parquet")
    (directory / "summary.json").write_text("{}")


def test_a_run_that_would_break_a_datasets_columns_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    _finished(out, OutputSchema(files["old"]))
    for name in ("old", "wider"):
        dataset.WriteDataset(str(out), files[name], model="m", overwrite=True)
    with pytest.raises(OutputError, match="total: double becomes string") as e:
        dataset.WriteDataset(str(out), files["broken"], model="m", overwrite=True)
    assert "name another directory" in str(e.value)
    assert "\n" not in str(e.value)
    (out / "summary.json").unlink()
    dataset.WriteDataset(str(out), files["broken"], model="m", overwrite=True)


def test_a_dataset_that_cannot_be_read_can_be_replaced(files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    _finished(out, OutputSchema(files["old"]))
    (out / "extractions-00000-of-00001.parquet").write_bytes(b"PAR1")
    dataset.WriteDataset(str(out), files["broken"], model="m", overwrite=True)


def test_what_looks_misspelt_is_shown_beside_the_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.json"
    file.write_text(json.dumps({"type": "object", "properties": {"a": {"type": "string"}}, "requierd": ["a"]}))
    assert main(["schema", "show", str(file)]) == 0
    captured = capsys.readouterr()
    assert "'requierd' at '/' is no keyword and is not heeded: 'required'?" in captured.err
    assert "string" in captured.out
