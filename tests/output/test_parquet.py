"""`WriteParquet`: every extraction becomes exactly one row of typed columns."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import kimi_beam as kb
from kimi_beam.output import parquet
from kimi_beam.report.summary import Summary
from kimi_beam.results import rows
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import Usage
from kimi_beam.types.extraction import ArrowRow, Extraction, Provenance

JSON_SCHEMA: dict[str, Any] = {
    "title": "Invoice",
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "total": {"type": ["number", "null"]},
        "paid": {"type": "boolean"},
        "day": {"type": "string", "format": "date"},
        "sent": {"type": "string", "format": "date-time"},
        "kind": {"enum": ["a", "b"]},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"what": {"type": "string"}, "count": {"type": "integer"}}},
        },
        "party": {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "object"}}},
        "free": {},
    },
    "required": ["n", "total"],
}
SCHEMA = OutputSchema(JSON_SCHEMA)
HASH = SCHEMA.hash


def extraction(i: int, **changes: Any) -> Extraction:
    fields = {
        "n": i,
        "total": i / 4,
        "paid": i % 2 == 0,
        "day": "2026-02-28",
        "sent": "2026-02-28T12:00:00.5+02:00",
        "kind": "a",
        "lines": [{"what": f"thing {i} é", "count": i}, {"what": "more"}],
        "party": {"name": "ACME", "tags": {"i": i}},
        "free": [i, {"k": None}],
        "unnamed": {"at": i},
    }
    provenance = Provenance("in/a.txt", "asked", "answered", f"job-{i}", 2, Usage(100 + i, 10, i), HASH, 1_767_225_600)
    return replace(Extraction(f"doc-{i}", fields, {"page": i}, provenance), **changes)


def settled(numbers: Sequence[int]) -> list[Extraction]:
    """Extractions as settling makes them: of one job, each with its row of the job's record batch."""
    made = [extraction(i) for i in numbers]
    batch, bad = rows.convert(
        SCHEMA,
        [e.document_id for e in made],
        [e.fields for e in made],
        [e.metadata for e in made],
        rows.provenance_columns([e.provenance for e in made]),
    )
    assert bad == []
    return [e.with_row(ArrowRow(batch, index)) for index, e in enumerate(made)]


def row(i: int) -> dict[str, Any]:
    """The row of `extraction(i)`, written out."""
    return {
        "_document_id": f"doc-{i}",
        "n": i,
        "total": i / 4,
        "paid": i % 2 == 0,
        "day": date(2026, 2, 28),
        "sent": datetime(2026, 2, 28, 10, 0, 0, 500_000, timezone.utc),
        "kind": "a",
        "lines": [{"what": f"thing {i} é", "count": i}, {"what": "more", "count": None}],
        "party": {"name": "ACME", "tags": f'{{"i":{i}}}'},
        "free": f'[{i},{{"k":null}}]',
        "_additional": f'{{"/unnamed":{{"at":{i}}}}}',
        "_metadata": f'{{"page":{i}}}',
        "_provenance": {
            "source": "in/a.txt",
            "model_asked": "asked",
            "model_answered": "answered",
            "request_id": f"job-{i}",
            "attempts": 2,
            "prompt_tokens": 100 + i,
            "cached_tokens": 10,
            "completion_tokens": i,
            "schema_hash": HASH,
            "extracted_at": datetime(2026, 1, 1, tzinfo=timezone.utc),
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


def _jobs(start: int, size: int) -> Iterator[Extraction]:
    yield from settled(range(start, start + size))


def _keep(extraction: Extraction) -> bool:
    return bool(extraction.fields["n"] % 3)


def write(
    prefix: Path,
    *,
    count: int,
    job: int = 1_000,
    files: int | None = 1,
    options: Sequence[str] = (),
    between: beam.PTransform | None = None,
) -> list[Path]:
    """Writes `count` extractions, `job` of them from each job, through whatever stands between."""
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(list(options))) as pipeline:
        made = (
            pipeline
            | beam.Create(list(range(0, count, job)), reshuffle=False)
            | beam.FlatMap(_jobs, min(job, count)).with_output_types(Extraction)
        )
        between_made = made if between is None else made | between
        between_made | kb.WriteParquet(str(prefix), JSON_SCHEMA, files=files)
    return sorted(prefix.parent.rglob("*.parquet"))


def read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    found = [one for path in paths for one in pq.read_table(path).to_pylist()]
    return sorted(found, key=lambda one: one["n"])


def decoded(piece: bytes) -> pa.Table:
    return pa.ipc.open_stream(piece).read_all()


# ------------------------------------------------------------------------------------------------ the file


def test_the_columns_are_typed_by_the_schema(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "rows", count=3)
    json_type = pa.json_(pa.string())
    provenance = [
        ("source", pa.string()),
        ("model_asked", pa.string()),
        ("model_answered", pa.string()),
        ("request_id", pa.string()),
        ("attempts", pa.int32()),
        ("prompt_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("schema_hash", pa.string()),
        ("extracted_at", pa.timestamp("us", "UTC")),
        ("event_time", pa.timestamp("us", "UTC")),
        ("window_start", pa.timestamp("us", "UTC")),
        ("window_end", pa.timestamp("us", "UTC")),
        ("delivery", pa.string()),
        ("parts", pa.int32()),
        ("conflicts", pa.string()),
        ("incomplete", pa.string()),
        ("repairs", pa.list_(pa.struct([("kind", pa.string()), ("path", pa.string()), ("count", pa.int32())]))),
        ("samples", pa.string()),
        ("prompt", pa.string()),
    ]
    expected = pa.schema(
        [  # type: ignore[arg-type]
            pa.field("_document_id", pa.string(), nullable=False),
            ("n", pa.int64()),
            ("total", pa.float64()),
            ("paid", pa.bool_()),
            ("day", pa.date32()),
            ("sent", pa.timestamp("us", "UTC")),
            ("kind", pa.dictionary(pa.int32(), pa.string())),
            ("lines", pa.list_(pa.struct([("what", pa.string()), ("count", pa.int64())]))),
            ("party", pa.struct([("name", pa.string()), ("tags", json_type)])),
            ("free", json_type),
            ("_additional", json_type),
            ("_metadata", json_type),
            pa.field("_provenance", pa.struct(provenance), nullable=False),  # type: ignore[arg-type]
        ]
    )
    found = pq.read_schema(path)
    assert found.remove_metadata().names == expected.names
    for field in expected:
        # Parquet names a list's items by itself.
        assert found.field(field.name).equals(field) or field.name == "lines"
    assert found.field("lines").type.value_type == expected.field("lines").type.value_type


def test_the_footer_carries_the_schema_and_every_column_is_zstd(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "rows", count=3)
    footer = pq.read_metadata(path)
    assert json.loads(footer.metadata[b"kimi_beam.json_schema"]) == JSON_SCHEMA  # type: ignore[index]
    assert footer.metadata[b"kimi_beam.schema_hash"] == HASH.encode()  # type: ignore[index]
    assert OutputSchema(json.loads(footer.metadata[b"kimi_beam.json_schema"])).hash == HASH  # type: ignore[index]
    group = footer.row_group(0)
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}


def test_the_values_are_the_documents_own(tmp_path: Path) -> None:
    assert read(write(tmp_path / "rows", count=5)) == [row(i) for i in range(5)]


def test_no_extraction_gives_one_typed_file_of_no_rows(tmp_path: Path) -> None:
    some = write(tmp_path / "some" / "rows", count=1)
    (none,) = write(tmp_path / "none" / "rows", count=0, files=4)
    assert none.name == "rows-00000-of-00001.parquet"
    assert pq.read_metadata(none).num_rows == 0
    assert pq.read_schema(none).equals(pq.read_schema(some[0]), check_metadata=True)
    assert [path.name for path in (tmp_path / "none").iterdir()] == [none.name]  # nothing staged is left


class Model(BaseModel):
    """A schema as users write it."""

    n: int


def test_a_pydantic_model_a_dict_a_file_and_a_schema_write_the_same_columns(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(Model.model_json_schema()))
    one = extraction(1, fields={"n": 1})
    for name, schema in {
        "model": Model,
        "dict": Model.model_json_schema(),
        "file": str(file),
        "schema": OutputSchema(Model),
    }.items():
        with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
            pipeline | beam.Create([one]) | kb.WriteParquet(str(tmp_path / name), schema)  # type: ignore[arg-type]
    tables = [pq.read_table(path) for path in sorted(tmp_path.glob("*.parquet"))]
    assert len(tables) == 4
    assert all(table.equals(tables[0], check_metadata=True) for table in tables)
    assert tables[0].column("n").to_pylist() == [1]


def test_numbers_beyond_a_columns_type_are_written_beside_it(tmp_path: Path) -> None:
    big, fine = 1 << 80, Decimal("0.123456789012345678901234567891")
    one = extraction(1, fields={"n": big, "total": fine}, metadata={"big": big, "fine": fine, "day": date(2026, 1, 2)})
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        pipeline | beam.Create([one]) | kb.WriteParquet(str(tmp_path / "rows"), JSON_SCHEMA)
    (found,) = read([tmp_path / "rows-00000-of-00001.parquet"])
    assert (found["n"], found["total"]) == (None, None)
    assert found["_additional"] == f'{{"/n":{big},"/total":{fine}}}'
    assert found["_metadata"] == f'{{"big":{big},"fine":{fine},"day":"2026-01-02"}}'


# ------------------------------------------------------------------------------------------------ which rows


def _pickled(extraction: Extraction) -> Extraction:
    copy: Extraction = pickle.loads(pickle.dumps(extraction))
    assert copy.row is None
    assert copy == extraction
    return copy


def _bare(extraction: Extraction) -> Extraction:
    return replace(extraction)


@pytest.mark.parametrize("change", [_pickled, _bare])
def test_extractions_with_and_without_their_arrow_row_are_the_same_rows(
    change: Callable[[Extraction], Extraction],
) -> None:
    with_row = settled(range(20))
    without = [change(one) for one in with_row]
    mixed = [one if i % 3 else other for i, (one, other) in enumerate(zip(with_row, without, strict=True))]
    expected = decoded(parquet.encode(with_row, SCHEMA))
    assert expected.to_pylist() == [row(i) for i in range(20)]
    for some in (without, mixed):
        assert decoded(parquet.encode(some, SCHEMA)).equals(expected, check_metadata=True)


_POOL = [*settled(range(8)), *settled(range(8, 13)), *(extraction(i) for i in range(13, 17))]


@given(st.lists(st.sampled_from(range(len(_POOL))), max_size=30))
def test_any_choice_and_order_of_extractions_keeps_each_with_its_own_row(numbers: list[int]) -> None:
    picked = [_POOL[number] for number in numbers]
    table = decoded(parquet.encode(picked, SCHEMA))
    assert table.schema.equals(rows.file_schema(SCHEMA), check_metadata=True)
    assert table.to_pylist() == [row(number) for number in numbers]


def test_filtered_extractions_keep_their_own_rows_in_a_pipeline(tmp_path: Path) -> None:
    paths = write(tmp_path / "rows", count=300, job=50, between=beam.Filter(_keep))
    assert read(paths) == [row(i) for i in range(300) if i % 3]


def test_shuffled_extractions_keep_their_own_rows_in_a_pipeline(tmp_path: Path) -> None:
    paths = write(tmp_path / "rows", count=150, job=50, between=beam.Reshuffle())
    assert read(paths) == [row(i) for i in range(150)]


def test_rows_of_equal_ids_are_all_written(tmp_path: Path) -> None:
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        pipeline | beam.Create([extraction(7)] * 3) | kb.WriteParquet(str(tmp_path / "rows"), JSON_SCHEMA)
    assert read([tmp_path / "rows-00000-of-00001.parquet"]) == [row(7)] * 3


# ------------------------------------------------------------------------------------------------ how many files


def test_rows_are_spread_over_files_and_each_is_in_one(tmp_path: Path) -> None:
    count = 22_000
    paths = write(tmp_path / "rows", count=count, job=11_000, files=4)
    # A piece goes where its own bytes say, so how many of the files get one is the compression's affair.
    assert 1 <= len(paths) <= 4
    assert [path.name for path in paths] == [f"rows-{i:05d}-of-{len(paths):05d}.parquet" for i in range(len(paths))]
    assert sum(pq.read_metadata(path).num_rows for path in paths) == count
    ids = [key for path in paths for key in pq.read_table(path, columns=["_document_id"]).column(0).to_pylist()]
    assert sorted(ids) == sorted(f"doc-{i}" for i in range(count))  # type: ignore[type-var]


def test_each_of_the_runners_workers_may_have_a_file(tmp_path: Path) -> None:
    def known(*options: str) -> int:
        return parquet._files(beam.Pipeline(options=PipelineOptions(list(options))) | beam.Create([1]))

    assert known("--runner=FnApiRunner") == 1
    assert known("--runner=FnApiRunner", "--direct_num_workers=3") == 3
    assert known("--runner=FnApiRunner", "--direct_num_workers=0") == 1


def test_a_file_has_full_row_groups_and_tells_its_rows_and_tokens() -> None:
    pieces = [parquet.encode(settled(range(start, start + 3_000)), SCHEMA) for start in range(0, 18_000, 3_000)]
    f = io.BytesIO()
    summary = parquet.writer(SCHEMA)(f, iter(pieces * 3))  # 54,000 rows
    numbers = range(18_000)
    assert summary == Summary(
        extractions=54_000,
        usage=Usage(3 * sum(100 + i for i in numbers), 540_000, 3 * sum(numbers)),
        answered_by={"answered": 54_000},
    )
    footer = pq.ParquetFile(f).metadata
    assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == [51_000, 3_000]
    nothing = io.BytesIO()
    assert parquet.writer(SCHEMA)(nothing, []) == Summary()
    assert pq.read_table(nothing).num_rows == 0


def test_writing_again_replaces_what_an_earlier_run_left(tmp_path: Path) -> None:
    for name in ("rows-00000-of-00002.parquet", "rows-00001-of-00002.parquet", "rows-00000-of-00001.parquet"):
        (tmp_path / name).write_bytes(b"earlier")
    (tmp_path / "notes.parquet").write_bytes(b"not ours")
    write(tmp_path / "rows", count=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.parquet", "rows-00000-of-00001.parquet"]
    assert read([tmp_path / "rows-00000-of-00001.parquet"]) == [row(0), row(1)]


def test_the_first_rows_are_found_across_files(tmp_path: Path) -> None:
    paths = []  # type: ignore[var-annotated]
    for numbers in ([0, 1], [], [2]):
        path = tmp_path / f"{len(paths)}.parquet"
        with path.open("wb") as f:
            parquet.writer(SCHEMA)(f, [parquet.encode(settled(numbers), SCHEMA)])
        paths.append(str(path))
    for count, numbers in {0: [], 1: [0], 3: [0, 1, 2], 99: [0, 1, 2]}.items():
        assert parquet.first_rows(paths, count) == [row(i) for i in numbers]


# ------------------------------------------------------------------------------------------------ what does not fit


@pytest.mark.parametrize("fields", [{"n": "many"}, {"n": 1, "lines": 5}, {"n": 1, "kind": {"a": 1}}, None, [1]])
def test_the_error_about_a_changed_extraction_names_its_document(fields: Any) -> None:
    changed = extraction(1, fields=fields)
    with pytest.raises(ValueError, match="the extraction of 'doc-1' does not fit its schema's columns"):
        parquet.encode([extraction(0), changed, extraction(2)], SCHEMA)


def _break(extraction: Extraction) -> Extraction:
    if extraction.fields["n"] != 4:
        return extraction
    return replace(extraction, fields={**extraction.fields, "lines": "none"})


def test_a_changed_extraction_that_does_not_fit_ends_the_run_without_a_file(tmp_path: Path) -> None:
    with pytest.raises((ValueError, RuntimeError), match="the extraction of 'doc-4' does not fit"):
        write(tmp_path / "rows", count=10, between=beam.Map(_break))
    assert list(tmp_path.rglob("*")) == []
