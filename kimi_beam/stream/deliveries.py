"""The deliveries of a stream: one row of Parquet for each document that came in, for ``kimi-beam audit`` to compare."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from kimi_beam.beam_extensions.arrival import to_datetime
from kimi_beam.output.parquet import SUFFIX, EncodePartitions, as_stream, select
from kimi_beam.output.partitions import FileFormat, Piece, Rolling, WritePartitions
from kimi_beam.output.staging import Target, Window
from kimi_beam.report.summary import Summary
from kimi_beam.stream.keep_arrival import KeepArrival
from kimi_beam.stream.reconciliation import DELIVERIES
from kimi_beam.types.document import Arrival, Document


class _Delivery(NamedTuple):
    """The part of a document that is written down when it comes in."""

    document_id: str
    source: str
    arrival: Arrival


def write_deliveries(documents: beam.PCollection, target: Target, rolling: Rolling) -> beam.PCollection:
    """``PCollection[Document] -> PCollection[WrittenFile]``, for unbounded input."""
    return (
        documents
        | "KeepArrival" >> beam.ParDo(KeepArrival()).with_output_types(Document)
        | "Window" >> Window()
        | "Name" >> beam.Map(_delivery).with_output_types(Any)
        | "Encode" >> beam.ParDo(EncodePartitions(_arrival, _encode, rolling.partition)).with_output_types(Piece)
        | "Parts" >> WritePartitions(target, STREAM_FORMAT, rolling)
    )


def _delivery(document: Document) -> _Delivery:
    return _Delivery(_text(document.id), _text(document.source), document.arrival or Arrival())


def _text(value: Any) -> str:
    """A string that Parquet can hold. Ids and sources are not checked yet here, so they may be of any type."""
    return str(value).encode(errors="replace").decode()


def _arrival(delivery: _Delivery) -> Arrival:
    return delivery.arrival


def _encode(deliveries: list[_Delivery]) -> bytes:
    now = datetime.now(timezone.utc)
    rows = [
        {
            "document_id": delivery.document_id,
            "source": delivery.source,
            "event_time": to_datetime(delivery.arrival.event_time),
            "delivery": delivery.arrival.delivery,
            "read_at": now,
        }
        for delivery in deliveries
    ]
    return as_stream(pa.Table.from_pylist(rows, DELIVERIES))


def _write(f: BinaryIO, pieces: Iterable[bytes]) -> Summary:
    table = pa.concat_tables([DELIVERIES.empty_table(), *(pa.ipc.open_stream(piece).read_all() for piece in pieces)])
    pq.write_table(table, f, compression="zstd")
    return Summary(came_in=table.num_rows)


def _names(piece: bytes) -> list[str | None]:
    names: list[str | None] = pa.ipc.open_stream(piece).read_all()["delivery"].to_pylist()
    return names


def _read(f: BinaryIO) -> tuple[list[str | None], Summary]:
    names = pq.ParquetFile(f).read(columns=["delivery"])["delivery"].to_pylist()
    return names, Summary(came_in=len(names))


STREAM_FORMAT = FileFormat(SUFFIX, _write, _names, select, _read)
"""Parquet with the columns of `DELIVERIES`, as files of a stream."""
