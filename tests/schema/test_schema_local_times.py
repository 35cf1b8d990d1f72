"""Times without an offset, as receipts have them: valid and in columns of their own where they are asked for."""

from __future__ import annotations

import io
import json
import pickle
from datetime import datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kimi_beam.errors import SchemaError
from kimi_beam.schema import ADDITIONAL, OutputSchema

WHEN = {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}, "required": ["at"]}
CLOCK = {"type": "object", "properties": {"at": {"type": "string", "format": "time", "description": "Printed."}}}


def _back(schema: OutputSchema, instances: list[Any]) -> tuple[pa.Table, list[Any]]:
    batch, bad = schema.to_arrow(instances)
    assert bad == []
    file = io.BytesIO()
    pq.write_table(pa.Table.from_batches([batch]), file)
    table = pq.read_table(file)
    return table, schema.from_arrow(table)


def test_a_local_date_time_has_a_column_without_a_zone() -> None:
    schema = OutputSchema(WHEN, formats="local")
    for same in (schema, pickle.loads(pickle.dumps(schema))):
        assert same.arrow_schema.field("at").type == pa.timestamp("us")
        texts = ["2026-03-01T12:30:00", "2026-03-01 12:30:00.5", "2026-03-01T12:30", "0001-01-01T00:00:00"]
        table, back = _back(same, [{"at": text} for text in texts])
        assert table.column("at").to_pylist() == [
            datetime(2026, 3, 1, 12, 30),
            datetime(2026, 3, 1, 12, 30, 0, 500_000),
            datetime(2026, 3, 1, 12, 30),
            datetime(1, 1, 1),
        ]
        assert table.column(ADDITIONAL).null_count == 4
        assert [one["at"] for one in back] == [
            "2026-03-01T12:30:00",
            "2026-03-01T12:30:00.5",
            "2026-03-01T12:30:00",
            "0001-01-01T00:00:00",
        ]


@pytest.mark.parametrize("text", ["2026-03-01T12:30:00Z", "2026-03-01T12:30:00+01:00", "2026-03-01T12:30:00.1234567"])
def test_what_a_local_column_cannot_hold_stands_beside_it_unaltered(text: str) -> None:
    schema = OutputSchema(WHEN, formats="local")
    table, back = _back(schema, [{"at": "2026-03-01T12:00:00"}, {"at": text}])
    assert table.column("at").to_pylist() == [datetime(2026, 3, 1, 12), None]
    assert json.loads(table.column(ADDITIONAL).to_pylist()[1]) == {"/at": text}  # type: ignore[arg-type]
    assert back[1] == {"at": text}


@pytest.mark.parametrize("text", ["1 March", "2026-02-30T12:00:00", "2026-03-01", "2026-03-01T24:00:00", "12:00", ""])
def test_what_is_no_date_time_is_a_violation_all_the_same(text: str) -> None:
    assert not OutputSchema(WHEN, formats="local").is_valid({"at": text})


def test_a_time_of_day_has_a_column_of_its_own() -> None:
    schema = OutputSchema(CLOCK, formats="local")
    assert schema.arrow_schema.field("at").type == pa.time64("us")
    texts = ["09:05", "23:59:59.25", "12:00:00", "12:00:00Z"]
    table, back = _back(schema, [{"at": text} for text in texts])
    assert table.column("at").to_pylist() == [time(9, 5), time(23, 59, 59, 250_000), time(12), None]
    assert [one["at"] for one in back] == ["09:05:00", "23:59:59.25", "12:00:00", "12:00:00Z"]
    for text in ("25:00", "12:60", "noon", "12:00:60"):
        assert not schema.is_valid({"at": text}) or text == "12:00:60"


def test_the_formats_of_the_registry_of_openapi_are_local_in_any_schema() -> None:
    at = {"type": "string", "format": "date-time-local"}
    schema = OutputSchema({"type": "object", "properties": {"at": at, "t": {"type": "string", "format": "time-local"}}})
    assert schema.arrow_schema.types[:2] == [pa.timestamp("us"), pa.time64("us")]
    assert schema.is_valid({"at": "2026-03-01T12:30:00", "t": "12:30:00"})
    assert not schema.is_valid({"at": "2026-03-01T12:30:00Z"})
    assert not schema.is_valid({"t": "12:30:00+01:00"})


def test_by_default_an_offset_is_needed_and_the_reason_says_what_takes_it_without() -> None:
    schema = OutputSchema(WHEN)
    assert schema.arrow_schema.field("at").type == pa.timestamp("us", "UTC")
    assert not schema.is_valid({"at": "2026-03-01T12:30:00"})
    assert "--formats local" in schema.explain({"at": "2026-03-01T12:30:00"})
    assert "--formats local" not in schema.explain({"at": 5})
    assert OutputSchema(WHEN, formats="local") != schema


def test_a_format_that_fails_in_a_union_is_named() -> None:
    union = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}
    schema = OutputSchema({"type": "object", "properties": {"at": union}})
    assert "--formats local" in schema.explain({"at": "2026-03-01T12:30"})
    mail = OutputSchema({"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]})
    assert 'is not a "email"' in mail.explain("nobody")
    local = OutputSchema({"type": "object", "properties": {"at": union}}, formats="local")
    assert 'is not a "date-time" (format)' in local.explain({"at": "2026-13-01T12:30"})


def test_the_model_is_told_which_spelling_is_asked_for() -> None:
    def sent(definition: Any, formats: Any) -> Any:
        schema = OutputSchema(definition, formats=formats).response_format["json_schema"]["schema"]
        return schema["properties"]["at"]

    strict, local = sent(WHEN, True), sent(WHEN, "local")
    assert strict["format"] == "date-time"
    assert "with an offset" in strict["description"]
    assert "format" not in local, "it would ask for an offset"
    assert "without an offset" in local["description"]
    assert sent(WHEN, False) == {"type": "string", "format": "date-time"}
    assert sent(CLOCK, "local")["description"].startswith("Printed. (time of day as stated, without an offset")


def test_an_x_arrow_type_without_a_zone_holds_local_times_where_they_are_asked_for() -> None:
    at = {"type": "string", "format": "date-time", "x-arrow-type": "timestamp[ms]"}
    schema = OutputSchema({"type": "object", "properties": {"at": at}}, formats="local")
    batch, bad = schema.to_arrow([{"at": "2026-03-01T12:30:00"}])
    assert bad == []
    assert batch.column("at").to_pylist() == [datetime(2026, 3, 1, 12, 30)]


def test_formats_of_another_word_are_refused() -> None:
    with pytest.raises(SchemaError, match="formats is 'lax'"):
        OutputSchema(WHEN, formats="lax")  # type: ignore[arg-type]
