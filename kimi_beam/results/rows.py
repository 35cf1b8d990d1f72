"""Builds the rows that are written: the schema's columns with the document's id, metadata and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any

import pyarrow as pa

from kimi_beam.columnar import arrow_column
from kimi_beam.schema import OutputSchema, Violation, jsontext
from kimi_beam.schema.cells import JSON
from kimi_beam.types.answer import AnswerReport
from kimi_beam.types.document import Arrival
from kimi_beam.types.extraction import Provenance
from kimi_beam.types.grounding import Grounding

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
        ("parts", pa.int32()),
        ("conflicts", pa.string()),
        ("incomplete", pa.string()),
        ("repairs", pa.list_(pa.struct([("kind", pa.string()), ("path", pa.string()), ("count", pa.int32())]))),
        ("samples", pa.string()),
        ("prompt", pa.string()),
    ]
)
_NO_ARRIVAL = Arrival()
GROUNDING = "_grounding"
"""The column that says where the values of a row stand in the document."""
_GROUNDING = pa.struct(
    [
        ("path", pa.string()),
        ("match", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("page", pa.int32()),
        ("box", pa.list_(pa.float32())),
        ("candidates", pa.int32()),
    ]
)


def file_schema(schema: OutputSchema, *, ground: bool = False) -> pa.Schema:
    """The Arrow schema of a Parquet file. Its metadata, written to the footer, holds the JSON Schema and its hash.

    Args:
        schema: The schema of the answers.
        ground: Whether there is a column that says where the values stand in the document.
    """
    return pa.schema(
        [
            pa.field("_document_id", pa.string(), nullable=False),
            *schema.arrow_schema,
            pa.field("_metadata", JSON),
            pa.field("_provenance", PROVENANCE, nullable=False),
            *([pa.field(GROUNDING, pa.list_(_GROUNDING))] if ground else ()),
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
    provenance: Sequence[Sequence[Any]],
    groundings: Sequence[Sequence[Grounding] | None] | None = None,
) -> tuple[pa.RecordBatch, list[tuple[int, Violation]]]:
    """Converts extractions, which are given column by column, to a record batch.

    Args:
        schema: The schema of the answers.
        ids: The ids of the documents.
        fields: The answers, one for each document.
        metadata: The metadata of the documents.
        provenance: A column for each field of `PROVENANCE`; times are in microseconds since 1970.
        groundings: Where the values of each answer stand in its document; None if there is no such column.

    Returns:
        A record batch of `file_schema` with a row for each extraction that could be converted, in order; and the index
        and reason of each that could not.
    """
    typed, bad = schema.to_arrow(fields)
    if bad:
        skip = {index for index, _ in bad}
        keep = [index for index in range(len(ids)) if index not in skip]
        ids, metadata = [ids[i] for i in keep], [metadata[i] for i in keep]
        provenance = [[column[i] for i in keep] for column in provenance]
        groundings = None if groundings is None else [groundings[i] for i in keep]
    origins = [arrow_column(column, field.type) for column, field in zip(provenance, PROVENANCE, strict=True)]
    arrays = [
        pa.array(ids, pa.string()),
        *typed.columns,
        arrow_column([jsontext.dumps_any(one).decode() if one else None for one in metadata], pa.string()).cast(JSON),
        pa.StructArray.from_arrays(origins, fields=list(PROVENANCE)),
        *([] if groundings is None else [_grounding_column(groundings)]),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=file_schema(schema, ground=groundings is not None)), bad


def _grounding_column(groundings: Sequence[Sequence[Grounding] | None]) -> Any:
    """The column `GROUNDING`, made from columns of its own, as one value after the other would take several times."""
    each = [one for some in groundings for one in some or ()]
    ends = list(accumulate((len(some or ()) for some in groundings), initial=0))
    offsets = [None if some is None else start for some, start in zip(groundings, ends, strict=False)]
    columns = [pa.array([getattr(one, field.name) for one in each], field.type) for field in _GROUNDING]
    return pa.ListArray.from_arrays(
        pa.array([*offsets, ends[-1]], pa.int32()), pa.StructArray.from_arrays(columns, fields=list(_GROUNDING))
    )


def with_grounding(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with the column `GROUNDING`, which is null if the batch has none."""
    if GROUNDING in batch.schema.names:
        return batch
    data_type = pa.list_(_GROUNDING)
    nulls: Any = pa.nulls
    return batch.append_column(pa.field(GROUNDING, data_type), nulls(batch.num_rows, data_type))


def provenance_columns(rows: Sequence[Provenance]) -> list[list[Any]]:
    """The values of `Provenance` as the columns of `PROVENANCE`."""
    usages = [row.usage for row in rows]
    return [
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
        *arrival_columns([row.arrival for row in rows]),
        *report_columns([row.report for row in rows]),
        [row.prompt for row in rows],
    ]


def arrival_columns(optional_arrivals: Sequence[Arrival | None]) -> list[list[Any]]:
    """The four columns of `PROVENANCE` that are null except for a stream's documents."""
    if not any(optional_arrivals):
        return [[None] * len(optional_arrivals)] * 4
    arrivals = [arrival or _NO_ARRIVAL for arrival in optional_arrivals]
    return [
        [arrival.event_time for arrival in arrivals],
        [arrival.window and arrival.window[0] for arrival in arrivals],
        [arrival.window and arrival.window[1] for arrival in arrivals],
        [arrival.delivery or None for arrival in arrivals],
    ]


def report_columns(optional_reports: Sequence[AnswerReport | None]) -> list[list[Any]]:
    """The five columns of `PROVENANCE` that are null for most documents."""
    if not any(optional_reports):
        return [[None] * len(optional_reports)] * 5
    return [
        [report and report.parts for report in optional_reports],
        [
            jsontext.dumps_any(report.conflicts).decode() if report and report.conflicts else None
            for report in optional_reports
        ],
        ["; ".join(report.incomplete) if report and report.incomplete else None for report in optional_reports],
        [list(map(asdict, report.repairs)) if report and report.repairs else None for report in optional_reports],
        [
            jsontext.dumps_any(asdict(report.samples)).decode() if report and report.samples else None
            for report in optional_reports
        ],
    ]
