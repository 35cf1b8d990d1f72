"""Repeated keys: a line or file with the same key or column twice is refused, because readers disagree which counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kimi_beam.input.file_parts import find_parts
from kimi_beam.input.read_parts import read_part
from kimi_beam.stream.read_messages import MessageFormat, from_pubsub
from kimi_beam.types.document import Document


def read(path: Path) -> list[Document]:
    return [document for part in find_parts((str(path),)) for document in read_part(part)]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('{"id": "a", "id": "b", "text": "t"}', "id"),
        ('{"id": "a", "id": "a", "text": "t"}', "id"),
        ('{"id":"a","text":"t","text":"u"}', "text"),
        ('{"id":"a","text":"t","id":"b"}', "id"),
        ('{"id":"a","text":"t","te\\u0078t":"u"}', "text"),
        ('{"id" : "a" , "text" : "t" , "text" : "u"}', "text"),
        ('{"id":"a","text":"t","page":1,"page":2}', "page"),
        ('{"id":"a","text":"t","meta":{"k":1,"k":1}}', "k"),
        ('{"id":"a","text":"t","meta":[1,{"deep":{"k":"x","j":1,"k":"y"}}]}', "k"),
        ('{"id":"a","text":"t","images":null,"images":[]}', "images"),
        ('{"id":"a","text":"say \\"text\\": twice","":1,"":2}', ""),
    ],
)
def test_a_line_with_a_key_twice_is_a_dead_letter_that_names_it(tmp_path: Path, line: str, key: str) -> None:
    path = tmp_path / "a.jsonl"
    good = '{"id": "good", "text": "t"}'
    path.write_text("\n".join([good, line, good]))
    first, second, third = read(path)
    assert (first.failure, third.failure) == (None, None), "its neighbours would be lost"
    assert (second.id, second.text) == (f"{path}#2", "")
    assert second.failure is not None
    assert (second.failure.stage, second.failure.code) == ("read", "repeated_key")
    assert f"the key {key!r} stands twice" in second.failure.message


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "a", "text": "\\"id\\": \\"text\\":", "k": {"id": 1, "text": 2}}',
        '{"id": "\\\\", "text": "\\\\"}',
        '{"id": "a", "text": "x", "l": [{"k": 1}, {"k": 1}], "\\u006b": 1}',
    ],
)
def test_the_same_key_in_different_objects_and_in_texts_is_no_repetition(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line)
    (document,) = read(tmp_path / "a.jsonl")
    assert document.failure is None
    assert document.text == json.loads(line)["text"]


def test_a_message_with_a_key_twice_is_a_dead_letter_too() -> None:
    from apache_beam.io.gcp.pubsub import PubsubMessage

    message = PubsubMessage(b'{"text": "t", "text": "u"}', {}, message_id="7")
    document = from_pubsub(message, MessageFormat("json"))
    assert document.failure is not None
    assert document.failure.code == "repeated_key"


def _struct(*names: str) -> pa.Array[Any]:
    return pa.StructArray.from_arrays([pa.array([n]) for n, _ in enumerate(names)], names=list(names))


@pytest.mark.parametrize(
    ("names", "columns", "told"),
    [
        (["id", "text", "text"], [["a"], ["t"], ["u"]], "column 'text'"),
        (["id", "id", "text"], [["a"], ["a"], ["t"]], "column 'id'"),
        (["id", "text", "n", "n"], [["a"], ["t"], [1], [1]], "column 'n'"),
        (["id", "text", "n", "n"], [["a"], ["t"], [1], ["x"]], "column 'n'"),
        (["id", "text", "m"], [["a"], ["t"], _struct("k", "j", "k")], "member 'm.k'"),
    ],
)
def test_a_table_with_a_column_twice_is_a_dead_letter_that_names_it(
    tmp_path: Path, names: list[str], columns: list[object], told: str
) -> None:
    path = tmp_path / "a.parquet"
    arrays = [column if isinstance(column, pa.Array) else pa.array(column) for column in columns]  # type: ignore[call-overload]
    pq.write_table(pa.Table.from_arrays(arrays, names=names), path)
    (document,) = read(path)
    assert document.id == str(path)
    assert document.failure is not None
    assert document.failure.code == "repeated_key"
    assert f"has the {told} twice" in document.failure.message


def test_a_column_twice_inside_lists_and_maps_is_found_and_columns_in_other_letters_are_others(tmp_path: Path) -> None:
    rows = pa.array([[0]], pa.list_(pa.int64()))
    lists = pa.ListArray.from_arrays(rows.offsets, _struct("k", "k"))  # type: ignore[attr-defined]
    pq.write_table(pa.table({"id": ["a"], "text": ["t"], "l": lists}), tmp_path / "a.parquet")
    (document,) = read(tmp_path / "a.parquet")
    assert document.failure is not None
    assert document.failure.code == "repeated_key"
    pq.write_table(
        pa.table({"id": ["a"], "text": ["t"], "ID": ["b"], "m": _struct("id", "text")}), tmp_path / "b.parquet"
    )
    (other,) = read(tmp_path / "b.parquet")
    assert (other.failure, other.metadata) == (None, {"ID": "b", "m": {"id": 0, "text": 1}})
