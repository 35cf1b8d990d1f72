"""Fields: keys with other names for id and text, ids that are no strings, and the messages about missing ones."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import read_dataset

from kimi_beam.cli import main
from kimi_beam.errors import ConfigError
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import find_parts
from kimi_beam.input.read_parts import read_part
from kimi_beam.request.checks import prepare
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document

ONE = uuid.UUID("0f0e0d0c-0b0a-0908-0706-050403020100")
OTHER = uuid.UUID(int=(1 << 127) + 200)
NAMED = Reading("doc_id", "body")


def read(path: Path, reading: Reading | None = None) -> list[Document]:
    return [document for part in find_parts((str(path),)) for document in read_part(part, reading or Reading())]


@pytest.mark.parametrize("more", [{}, {"n": 1, "id": "of old", "text": "kept"}])
def test_other_keys_may_hold_id_and_text(tmp_path: Path, more: dict[str, Any]) -> None:
    rows = [{"doc_id": f"d{n}", "body": "text", **more} for n in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        found = read(tmp_path / name, NAMED)
        assert [(one.id, one.text, one.metadata, one.failure) for one in found] == [
            (f"d{n}", "text", more, None) for n in range(3)
        ]


def test_a_line_without_an_id_or_a_text_names_the_keys_that_are_there(tmp_path: Path) -> None:
    lines = [{"doc_id": "a", "body": "t"}, {"id": "b", "content": "t"}, {f"k{n}": n for n in range(40)}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    no_id, no_text, many = (one.failure for one in read(tmp_path / "a.jsonl"))
    assert no_id is not None
    assert no_text is not None
    assert many is not None
    assert (no_id.code, no_text.code, many.code) == ("missing_id", "missing_text", "missing_id")
    assert no_id.message.startswith("the document has no 'id'; it has 'doc_id', 'body' (--id-field")
    assert no_text.message.startswith("the document has no 'text'; it has 'id', 'content' (--text-field")
    assert "and 28 more" in many.message


def test_a_table_without_the_columns_names_those_that_are_there(tmp_path: Path) -> None:
    pq.write_table(pa.table({"doc_id": ["a"], "body": ["t"]}), tmp_path / "a.parquet")
    (document,) = read(tmp_path / "a.parquet")
    assert document.failure is not None
    assert "it has 'doc_id', 'body' (--id-field, --text-field" in document.failure.message


@pytest.mark.parametrize("names", [("", "text"), ("id", ""), ("a", "a"), ("images", "text"), ("id", "images")])
def test_names_that_cannot_be_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="two different keys"):
        Reading(*names)
    with pytest.raises(ConfigError, match="at least 1"):
        Reading(max_document_bytes=0)


def test_the_command_line_reads_other_keys(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"doc_id": "d", "body": "COMPANY: A Ltd\\nTOTAL: 1.50"}\n')
    (tmp_path / "s.json").write_text('{"type": "object", "properties": {"company": {"type": "string"}}}')
    arguments = ["extract", str(tmp_path / "a.jsonl"), "--schema", str(tmp_path / "s.json"), "--emulator"]
    assert main([*arguments, "--output", str(tmp_path / "out"), "--id-field", "doc_id", "--text-field", "body"]) == 0
    outcome = read_dataset(tmp_path / "out")
    assert outcome.ids == {"d": 1}
    assert not outcome.letters
    assert main([*arguments, "--output", str(tmp_path / "o"), "--id-field", "body", "--text-field", "body"]) == 2


# ------------------------------------------------------------------------------------------------ ids


@pytest.mark.parametrize(
    "column",
    [
        pa.array([ONE.bytes, OTHER.bytes], pa.binary(16)),
        pa.array([ONE.bytes, OTHER.bytes], pa.binary()),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([ONE.bytes, OTHER.bytes], pa.binary(16))),
        pa.array([str(ONE), str(OTHER)]),
    ],
)
def test_uuids_of_a_table_are_ids_in_their_canonical_text(tmp_path: Path, column: pa.Array[Any]) -> None:
    pq.write_table(pa.table({"id": column, "text": ["a", "b"], "other": column}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert [(one.id, one.failure) for one in found] == [(str(ONE), None), (str(OTHER), None)]
    json.dumps([one.metadata for one in found])


def test_binary_ids_that_are_text_stay_text(tmp_path: Path) -> None:
    ids = [b"receipt-00000001", b"receipt-00000002"]
    pq.write_table(pa.table({"id": pa.array(ids, pa.binary(16)), "text": ["a", "b"]}), tmp_path / "a.parquet")
    assert [one.id for one in read(tmp_path / "a.parquet")] == [i.decode() for i in ids]


@pytest.mark.parametrize(
    ("given", "text"),
    [(ONE, str(ONE)), (ONE.bytes, str(ONE)), (7, "7"), (-1, "-1"), (1 << 70, str(1 << 70)), (np.int64(7), "7")],
)
def test_ids_of_code_may_be_what_has_one_text(given: Any, text: str) -> None:
    prepared = prepare(Document(given, "text"), Prompt(OutputSchema({"type": "object"}))).document
    assert (prepared.id, prepared.failure) == (text, None)


@pytest.mark.parametrize("given", [None, "", 1.5, True, b"abc", b"", ["a"], {"a": 1}])
def test_anything_else_is_no_id(given: Any) -> None:
    prepared = prepare(Document(given, "text"), Prompt(OutputSchema({"type": "object"}))).document
    assert prepared.failure is not None
    assert prepared.failure.code == "missing_id"


# ------------------------------------------------------------------------------------------------ all keys, and places


def test_the_text_of_a_line_or_row_may_be_all_of_it(tmp_path: Path) -> None:
    row = {"id": "a", "name": "Shop", "total": 3.1, "paid": True, "note": None, "items": [{"n": 1}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "b.parquet")
    expected = 'name: Shop\ntotal: 3.1\npaid: true\nnote:\nitems: [{"n":1}]'
    for name in ("a.jsonl", "b.parquet"):
        (found,) = read(tmp_path / name, Reading(text_field="*"))
        assert (found.id, found.text) == ("a", expected)
        assert found.metadata == {key: value for key, value in row.items() if key != "id"}


def test_the_id_of_a_line_or_row_may_be_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_beam.input.file_parts._PART_BYTES", 100)  # so that parts after the first are counted too
    rows = [{"id": "same", "text": f"t{number}"} for number in range(20)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet", row_group_size=7)
    for name in ("a.jsonl", "b.parquet"):
        found = read(tmp_path / name, Reading(id_field="#"))
        assert {one.id: one.text for one in found} == {f"{tmp_path / name}#{n}": f"t{n - 1}" for n in range(1, 21)}
        assert {tuple(one.metadata.items()) for one in found} == {(("id", "same"),)}, "a key of the line is lost"


def test_the_two_fields_may_be_all_and_the_place_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"b": 1}\n')
    (found,) = read(tmp_path / "a.jsonl", Reading(id_field="#", text_field="*"))
    assert (found.id, found.text, found.metadata) == (f"{tmp_path}/a.jsonl#1", "b: 1", {"b": 1})
