"""The rows that are written: declared types whatever the values, with id, metadata and provenance of the document."""

from __future__ import annotations

import io
import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.results import rows
from kimi_beam.schema import ADDITIONAL, RESERVED, OutputSchema, jsontext
from kimi_beam.types.answer import Usage
from kimi_beam.types.extraction import Provenance

SCHEMA = OutputSchema(
    {
        "title": "Receipt",
        "type": "object",
        "properties": {"total": {"type": "number"}, "lines": {"type": "array", "items": {"type": "string"}}, "any": {}},
    }
)
FULL = Provenance(
    source="in/a.txt",
    model_asked="@cf/moonshotai/kimi-k2.6",
    model_answered="@cf/moonshotai/kimi-k2.5",
    request_id="6283595c-babb-4dd6-b8a7-f796876f490f",
    attempts=2,
    usage=Usage(100, 40, 7),
    schema_hash="0123456789abcdef",
    extracted_at=1_784_180_523,
)
BARE = Provenance("", "m", None, None, 0, Usage(), "h", None)


def convert(*given: tuple[str, Any, dict[str, Any], Provenance]) -> tuple[pa.RecordBatch, list[Any]]:
    columns = [list(column) for column in zip(*given, strict=True)] or [[], [], [], []]
    *others, provenance = columns
    return rows.convert(SCHEMA, *others, rows.provenance_columns(provenance))  # type: ignore[call-arg]


def test_a_row_holds_all_that_belongs_to_a_document() -> None:
    batch, bad = convert(("a", {"total": 1.5, "lines": ["x"], "any": [1]}, {"k": {"v": 1}}, FULL), ("b", {}, {}, BARE))
    assert bad == []
    full, bare = batch.to_pylist()
    assert full == {
        "_document_id": "a",
        "total": 1.5,
        "lines": ["x"],
        "any": "[1]",
        ADDITIONAL: None,
        "_metadata": '{"k":{"v":1}}',
        "_provenance": {
            "source": "in/a.txt",
            "model_asked": "@cf/moonshotai/kimi-k2.6",
            "model_answered": "@cf/moonshotai/kimi-k2.5",
            "request_id": "6283595c-babb-4dd6-b8a7-f796876f490f",
            "attempts": 2,
            "prompt_tokens": 100,
            "cached_tokens": 40,
            "completion_tokens": 7,
            "schema_hash": "0123456789abcdef",
            "extracted_at": datetime(2026, 7, 16, 5, 42, 3, tzinfo=timezone.utc),
            "event_time": None,
            "window_start": None,
            "window_end": None,
            "delivery": None,
            "parts": None,
            "conflicts": None,
            "incomplete": None,
            "repairs": None,
            "samples": None,
            "prompt": None,
        },
    }
    assert bare["_metadata"] is None
    assert [key for key, value in bare["_provenance"].items() if value is None] == [
        "model_answered",
        "request_id",
        "extracted_at",
        "event_time",
        "window_start",
        "window_end",
        "delivery",
        "parts",
        "conflicts",
        "incomplete",
        "repairs",
        "samples",
        "prompt",
    ]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_batch_without_any_value_has_the_declared_types(count: int) -> None:
    batch, bad = convert(*[(str(n), {}, {}, BARE) for n in range(count)])
    assert bad == []
    assert batch.num_rows == count
    assert batch.schema.equals(rows.file_schema(SCHEMA), check_metadata=True)
    assert [str(field.type) for field in batch.schema][:4] == [
        "string",
        "double",
        "list<item: string>",
        "extension<arrow.json>",
    ]
    batch.validate(full=True)


def test_the_columns_of_our_own_are_always_there_and_that_of_grounding_where_it_is_wanted() -> None:
    for definition in (True, {"type": "object"}, SCHEMA):
        names = rows.file_schema(OutputSchema(definition)).names
        assert set(names) >= RESERVED - {rows.GROUNDING}
        assert rows.file_schema(OutputSchema(definition), ground=True).names == [*names, rows.GROUNDING]
        assert len(set(names)) == len(names)
    assert not rows.file_schema(SCHEMA).field("_document_id").nullable
    assert not rows.file_schema(SCHEMA).field("_provenance").nullable


def test_a_file_carries_the_schema_that_it_was_made_by() -> None:
    batch, _ = convert(("a", {"total": 1}, {}, FULL))
    file = io.BytesIO()
    pq.write_table(pa.Table.from_batches([batch]), file)
    metadata = pq.read_schema(file).metadata
    assert json.loads(metadata[b"kimi_beam.json_schema"]) == SCHEMA.json_schema
    assert metadata[b"kimi_beam.schema_hash"] == SCHEMA.hash.encode()
    assert OutputSchema(json.loads(metadata[b"kimi_beam.json_schema"])).hash == SCHEMA.hash
    assert pq.read_table(file).to_pylist() == batch.to_pylist()


def test_an_instance_that_fits_no_column_takes_nothing_of_its_neighbours_along() -> None:
    batch, bad = convert(
        ("a", {"total": 1}, {"n": 1}, FULL),
        ("b", {"lines": [5]}, {"n": 2}, FULL),
        ("c", {"total": 3}, {"n": 3}, BARE),
        ("d", "no object", {"n": 4}, FULL),
    )
    assert [index for index, _ in bad] == [1, 3]
    left = [
        (row["_document_id"], row["total"], row["_metadata"], row["_provenance"]["attempts"])
        for row in batch.to_pylist()
    ]
    assert left == [("a", 1.0, '{"n":1}', 2), ("c", 3.0, '{"n":3}', 0)]


def test_a_batch_of_misfits_alone_is_empty_and_typed() -> None:
    batch, bad = convert(("a", {"lines": [5]}, {"n": 1}, FULL))
    assert (batch.num_rows, len(bad)) == (0, 1)
    assert batch.schema.equals(rows.file_schema(SCHEMA))


@settings(derandomize=True, max_examples=200)
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.none()
        | st.booleans()
        | st.integers(-(10**40), 10**40)
        | st.text(max_size=5)
        | st.lists(st.integers(), max_size=2),
        max_size=4,
    )
)
def test_metadata_comes_out_of_a_row_as_it_went_in(metadata: dict[str, Any]) -> None:
    batch, _ = convert(("a", {}, metadata, BARE))
    text = batch.column("_metadata").to_pylist()[0]
    assert repr({} if text is None else jsontext.loads(text)) == repr(metadata)


def test_metadata_that_json_has_no_form_for_never_stops_a_row() -> None:
    batch, bad = convert(("a", {}, {"set": {1}, "exact": Decimal("0.10000000000000000001"), "bytes": b"x"}, BARE))
    assert bad == []
    assert batch.column("_metadata").to_pylist() == ['{"set":"{1}","exact":0.10000000000000000001,"bytes":"b\'x\'"}']


def test_the_largest_counts_that_the_wire_lets_in_fit() -> None:
    most = (1 << 40) - 1
    provenance = Provenance("s", "m", "m", "r", 2**31 - 1, Usage(most, most, most), "h", 253_402_300_799)
    batch, bad = convert(("a", {}, {}, provenance))
    assert bad == []
    (row,) = batch.to_pylist()
    assert row["_provenance"]["prompt_tokens"] == most
    assert row["_provenance"]["extracted_at"].year == 9999
