"""The row as it is written: the schema's columns with the document's id, metadata and provenance around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from kimi_beam import jsontext
from kimi_beam.schema import OutputSchema, Violation
from kimi_beam.schema.cells import JSON
from kimi_beam.types import Arrival, Provenance

PROVENANCE = pa.struct(
    [
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
    ]
)
_NO_ARRIVAL = Arrival()


def file_schema(schema: OutputSchema) -> pa.Schema:
    """The Arrow schema of a Parquet file. Its metadata, which is the footer's, carries the JSON Schema and its hash."""
    return pa.schema(
        [
            pa.field("_document_id", pa.string(), nullable=False),
            *schema.arrow_schema,
            pa.field("_metadata", JSON),
            pa.field("_provenance", PROVENANCE, nullable=False),
        ],
        metadata={
            "kimi_beam.json_schema": jsontext.dumps_any(schema.json_schema),
            "kimi_beam.schema_hash": schema.hash.encode(),
        },
    )


def convert(
    schema: OutputSchema,
    ids: Sequence[str],
    fields: Sequence[Any],
    metadata: Sequence[Mapping[str, Any]],
    provenance: Sequence[Provenance],
) -> tuple[pa.RecordBatch, list[tuple[int, Violation]]]:
    """Converts extractions, given column by column.

    Returns:
        A record batch of `file_schema` with a row for each extraction that could be converted, in order; and the index
        and reason of each that could not.
    """
    typed, bad = schema.to_arrow(fields)
    skip = {index for index, _ in bad}
    keep = [index for index in range(len(ids)) if index not in skip]
    arrays = [
        pa.array([ids[i] for i in keep], pa.string()),
        *typed.columns,
        pa.array([jsontext.dumps_any(metadata[i]).decode() if metadata[i] else None for i in keep]).cast(JSON)
        if keep
        else pa.array([], pa.string()).cast(JSON),
        _provenance([provenance[i] for i in keep]),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=file_schema(schema)), bad


def _provenance(rows: Sequence[Provenance]) -> pa.StructArray:
    usages = [row.usage for row in rows]
    arrivals = [row.arrival or _NO_ARRIVAL for row in rows]
    columns: list[list[Any]] = [
        [row.source for row in rows],
        [row.model_asked for row in rows],
        [row.model_answered for row in rows],
        [row.request_id for row in rows],
        [row.attempts for row in rows],
        [usage.prompt_tokens for usage in usages],
        [usage.cached_tokens for usage in usages],
        [usage.completion_tokens for usage in usages],
        [row.schema_hash for row in rows],
        [None if row.extracted_at is None else row.extracted_at * 1_000_000 for row in rows],
        [arrival.event_time for arrival in arrivals],
        [arrival.window and arrival.window[0] for arrival in arrivals],
        [arrival.window and arrival.window[1] for arrival in arrivals],
        [arrival.delivery or None for arrival in arrivals],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, PROVENANCE, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=list(PROVENANCE))
