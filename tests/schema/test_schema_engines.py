"""DuckDB, Polars and pandas read every column of the written files, with its name and type."""

from __future__ import annotations

import warnings
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kimi_beam.results import rows
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import Usage
from kimi_beam.types.extraction import Provenance

duckdb = pytest.importorskip("duckdb")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what they say while they are imported is not ours
    polars = pytest.importorskip("polars")
    pandas = pytest.importorskip("pandas")

SCHEMA = OutputSchema(
    {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "kind": {"enum": ["invoice", "receipt", None]},
            "small": {"type": "integer", "minimum": 0, "maximum": 10},
            "whole": {"type": "integer"},
            "large": {"type": "integer", "minimum": 0, "maximum": 2**64 - 1},
            "number": {"type": "number"},
            "price": {"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 99999},
            "paid": {"type": "boolean"},
            "day": {"type": "string", "format": "date"},
            "sent": {"type": "string", "format": "date-time"},
            "blob": {"type": "string", "format": "byte"},
            "any": {},
            "party": {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array"}}},
            "lines": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"sku": {"enum": ["a", "b"]}, "free": {}, "net": {"type": "number"}},
                },
            },
            "rates": {"type": "object", "additionalProperties": {"type": "number"}},
            "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
            "one or many": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        },
        "required": ["text"],
    }
)
FULL = {
    "text": "é",
    "kind": "receipt",
    "small": 7,
    "whole": -(2**63),
    "large": 2**64 - 1,
    "number": 0.1,
    "price": 19.99,
    "paid": True,
    "day": "2026-03-01",
    "sent": "2026-03-01T12:00:00.5+01:00",
    "blob": "AAH/",
    "any": {"a": [1, None]},
    "party": {"name": "ACME", "tags": ["x", 1]},
    "lines": [{"sku": "b", "free": [1], "net": 1.5}, {"sku": "a"}],
    "rates": {"EUR": 1.0, "a.b": 2.5},
    "pair": ["x", 1],
    "one or many": ["x", "y"],
}
TYPES = {
    "text": "VARCHAR",
    "kind": "VARCHAR",
    "small": "INTEGER",
    "whole": "BIGINT",
    "large": "UBIGINT",
    "number": "DOUBLE",
    "price": "DECIMAL(7,2)",
    "paid": "BOOLEAN",
    "day": "DATE",
    "sent": "TIMESTAMP WITH TIME ZONE",
    "blob": "BLOB",
    "any": "JSON",
    "party": "STRUCT(name VARCHAR, tags JSON[])",
    "lines": "STRUCT(sku VARCHAR, free JSON, net DOUBLE)[]",
    "rates": "MAP(VARCHAR, DOUBLE)",
    "pair": "STRUCT(_0 VARCHAR, _1 BIGINT)",
    "one or many": "STRUCT(string VARCHAR, array VARCHAR[])",
}


def _write(schema: OutputSchema, instances: list[Any], path: Path) -> pa.RecordBatch:
    """A file as `WriteParquet` writes it."""
    ids = [str(n) for n in range(len(instances))]
    provenance = Provenance("s", "m", None, None, 1, Usage(), schema.hash, None)
    batch, bad = rows.convert(schema, ids, instances, [{}] * len(ids), rows.provenance_columns([provenance] * len(ids)))
    assert bad == []
    pq.write_table(pa.Table.from_batches([batch]), path, compression="zstd")
    return batch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "extractions.parquet"
    _write(SCHEMA, [FULL, {"text": ""}], path)
    return path


def test_duckdb_finds_each_column_with_its_type(file: Path) -> None:
    described = duckdb.sql(f"describe select * from '{file}'").fetchall()
    # Which words it quotes differs between its versions.
    found = {name: kind.replace('"', "") for name, kind, *_ in described}
    assert {name: found[name] for name in TYPES} == TYPES
    got = duckdb.sql(
        'select kind, price, day, lines[1].sku, rates[\'a.b\'], party.name, pair._1, "one or many"."array"[2], large,'
        f" \"any\"->'$.a[0]', blob from '{file}' order by text desc"
    ).fetchall()[0]
    expected = (
        "receipt",
        Decimal("19.99"),
        date(2026, 3, 1),
        "b",
        2.5,
        "ACME",
        1,
        "y",
        2**64 - 1,
        "1",
        b"\x00\x01\xff",
    )
    assert got == expected
    assert duckdb.sql(f"select sum(price) from '{file}'").fetchall() == [(Decimal("19.99"),)]


def test_polars_finds_each_column_with_its_type(file: Path) -> None:
    frame = polars.read_parquet(file)
    schema = frame.schema
    assert schema["day"] == polars.Date
    assert schema["sent"] == polars.Datetime("us", "UTC")
    assert schema["price"] == polars.Decimal(7, 2)
    assert schema["large"] == polars.UInt64
    assert schema["small"] == polars.Int32
    assert schema["whole"] == polars.Int64
    assert schema["number"] == polars.Float64
    row = frame.row(0, named=True)
    assert row["kind"] == "receipt"
    assert row["day"] == date(2026, 3, 1)
    assert row["sent"] == datetime(2026, 3, 1, 11, 0, 0, 500_000, tzinfo=timezone.utc)
    assert row["price"] == Decimal("19.99")
    assert [line["sku"] for line in row["lines"]] == ["b", "a"]
    assert row["party"]["name"] == "ACME"
    assert row["blob"] == b"\x00\x01\xff"


def test_pandas_finds_each_column_with_its_type(file: Path) -> None:
    frame = pandas.read_parquet(file)
    assert str(frame["kind"].dtype) == "category"
    assert str(frame["sent"].dtype) == "datetime64[us, UTC]"
    assert str(frame["number"].dtype) == "float64"
    row = frame.iloc[0]
    assert row["day"] == date(2026, 3, 1)
    assert row["price"] == Decimal("19.99")
    assert row["lines"][0]["sku"] == "b"
    assert row["_provenance"]["schema_hash"] == SCHEMA.hash
    typed = pandas.read_parquet(file, dtype_backend="pyarrow")
    assert {name: str(typed[name].dtype) for name in ("small", "large", "price")} == {
        "small": "int32[pyarrow]",
        "large": "uint64[pyarrow]",
        "price": "decimal128(7, 2)[pyarrow]",
    }


def test_what_plain_pyarrow_reads_becomes_the_instances_again(file: Path) -> None:
    full, bare = SCHEMA.from_arrow(pq.read_table(file))
    assert full == {**FULL, "sent": "2026-03-01T11:00:00.5Z"}
    assert bare == {"text": ""}


ODD = [
    "a.b",
    "a b",
    "Id",
    "id",
    "ID",
    "",
    "ünï",
    "发票",
    'quo"te',
    "new\nline",
    "a/b~c",
    "_provenance",
    "select",
    "x" * 200,
]


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_name_that_engines_dislike_is_found_by_all_of_them(tmp_path: Path, depth: int) -> None:
    properties = {name: {"type": "integer"} for name in ODD}
    definition: Any = {"type": "object", "properties": properties, "required": ODD}
    instance: Any = {name: 1_000 + index for index, name in enumerate(ODD)}
    for _ in range(depth):
        definition = {"type": "object", "properties": {"o": {"type": "array", "items": definition}}}
        instance = {"o": [instance]}
    schema, path = OutputSchema(definition), tmp_path / "odd.parquet"
    batch = _write(schema, [instance], path)
    assert schema.from_arrow(pq.read_table(path)) == [instance]
    assert batch.column("_additional").to_pylist() == [None]
    assert _numbers(duckdb.sql(f"select * from '{path}'").fetchall()[0]) == len(ODD)
    assert _numbers(polars.read_parquet(path).rows()[0]) == len(ODD)
    assert _numbers(tuple(pandas.read_parquet(path).iloc[0].to_list())) == len(ODD)
    if not depth:
        verbatim = [name for name in ODD if name not in ("", "_provenance")]
        assert [name for name in batch.schema.names if name in verbatim] == verbatim
        assert set(verbatim) <= set(polars.read_parquet(path).columns)
        # It tells names apart by their letters alone: the second gets a number.
        found = {name.casefold() for name, *_ in duckdb.sql(f"describe select * from '{path}'").fetchall()}
        assert {name.casefold() for name in verbatim} <= found


def _numbers(row: Any) -> int:
    """How many of the instance's numbers stand in a row, however it is nested."""
    found = set()
    waiting = [row]
    while waiting:
        value = waiting.pop()
        value = value.tolist() if hasattr(value, "tolist") else value
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, int) and 1_000 <= value < 1_000 + len(ODD):
            found.add(value)
    return len(found)
