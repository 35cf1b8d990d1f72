"""The documents of a stream as they come in, written down beside what becomes of them: a row for each delivery."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from kimi_beam.beam_extensions.arrival import to_datetime
from kimi_beam.output.parquet import SUFFIX, EncodeParts, as_stream, select
from kimi_beam.output.partitions import Format, Piece, Rolling, WriteParts
from kimi_beam.output.staging import Target, Window
from kimi_beam.report.summary import Summary
from kimi_beam.stream.account import CAME_IN
from kimi_beam.stream.keep_arrival import KeepArrival
from kimi_beam.types import Arrival, Document


class _Came(NamedTuple):
    """What is written down of a document."""

    document_id: str
    source: str
    arrival: Arrival


def write_came_in(documents: beam.PCollection, target: Target, rolling: Rolling) -> beam.PCollection:
    """``PCollection[Document] -> PCollection[Part]``, for unbounded input."""
    return (
        documents
        | "KeepArrival" >> beam.ParDo(KeepArrival()).with_output_types(Document)
        | "Window" >> Window()
        | "Name" >> beam.Map(_came).with_output_types(Any)
        | "Encode" >> beam.ParDo(EncodeParts(_arrival, _encode, rolling.partition)).with_output_types(Piece)
        | "Parts" >> WriteParts(target, PARTS, rolling)
    )


def _came(document: Document) -> _Came:
    return _Came(_text(document.id), _text(document.source), document.arrival or Arrival())


def _text(value: Any) -> str:
    """As Parquet can hold it: a document made of a database's row is not looked at yet."""
    return str(value).encode(errors="replace").decode()


def _arrival(came: _Came) -> Arrival:
    return came.arrival


def _encode(came: list[_Came]) -> bytes:
    now = datetime.now(timezone.utc)
    rows = [
        {
            "document_id": one.document_id,
            "source": one.source,
            "event_time": to_datetime(one.arrival.event_time),
            "delivery": one.arrival.delivery,
            "read_at": now,
        }
        for one in came
    ]
    return as_stream(pa.Table.from_pylist(rows, CAME_IN))


def _write(f: BinaryIO, pieces: Iterable[bytes]) -> Summary:
    table = pa.concat_tables([CAME_IN.empty_table(), *(pa.ipc.open_stream(piece).read_all() for piece in pieces)])
    pq.write_table(table, f, compression="zstd")
    return Summary(came_in=table.num_rows)


def _names(piece: bytes) -> list[str | None]:
    names: list[str | None] = pa.ipc.open_stream(piece).read_all()["delivery"].to_pylist()
    return names


def _read(f: BinaryIO) -> tuple[list[str | None], Summary]:
    names = pq.ParquetFile(f).read(columns=["delivery"])["delivery"].to_pylist()
    return names, Summary(came_in=len(names))


PARTS = Format(SUFFIX, _write, _names, select, _read)
"""Parquet of `CAME_IN`, as files of a stream."""
