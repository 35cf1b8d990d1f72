"""The arrival of a stream's document: its event time and window, a name for the delivery, and its output directory.

In Beam an answer has the time of the answer, because it would be dropped as late otherwise. So the event time, by which
the output is partitioned, and the name of the delivery, by which a repeated delivery is noticed, travel as fields.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from kimi_beam.schema import jsontext
from kimi_beam.types.document import Arrival, Document

Partition = Literal["hour", "day"]
"""The span of event time for which a stream's output has a directory."""

NO_TIME = "__HIVE_DEFAULT_PARTITION__"
"""The partition key that Hive, Spark, DuckDB and Arrow read as null."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST = (datetime.min.replace(tzinfo=timezone.utc) - _EPOCH) // _MICROSECOND
_LATEST = (datetime.max.replace(tzinfo=timezone.utc) - _EPOCH) // _MICROSECOND


def with_arrival(
    document: Document, event_time: int, window: tuple[int, int] | None, *, anew: bool = False
) -> Document:
    """A copy of a document with its arrival.

    Args:
        document: The document. Fields of its arrival that are set already are kept, unless `anew`.
        event_time: Unix microseconds. Beam's minimum and maximum timestamps, outside of the calendar, mean no time.
        window: Start and end in Unix microseconds, None for the global window.
        anew: Whether to replace the time and window of an earlier arrival, as in the windows of a second `Extract`. The
            name of the delivery stays the same.
    """
    known = document.arrival or Arrival()
    if anew:
        known = Arrival(None, None, known.delivery)
    at = event_time if known.event_time is None else known.event_time
    edges = known.window or window
    return document.with_arrival(
        Arrival(
            at if _is_sayable(at) else None,
            edges if edges and _is_sayable(edges[0]) and _is_sayable(edges[1]) else None,
            known.delivery
            # These values may be of any type, because documents of a user's own are not checked before this.
            or delivery_name(document.id, document.source, at, document.text, document.images, document.metadata),
        ),
    )


def delivery_name(*parts: Any) -> str:
    """32 hexadecimal digits, the same for the same parts, which name one delivery of a document."""
    return hashlib.blake2b(jsontext.dumps_any(list(parts)), digest_size=16).hexdigest()


def to_datetime(micros: int | None) -> datetime | None:
    """Converts Unix microseconds to a time in UTC; None stays None."""
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def micros(at: datetime) -> int:
    """Converts a time to Unix microseconds.

    Raises:
        ValueError: The time has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("a time without a time zone")
    return (at - _EPOCH) // _MICROSECOND


def partition_directory(arrival: Arrival | None, by: Partition) -> str:
    """The directory of a row or dead letter in Hive's form: ``event_date=2026-03-01/event_hour=07``."""
    at = to_datetime(arrival.event_time) if arrival else None
    day = f"event_date={at.date().isoformat() if at else NO_TIME}"
    return day if by == "day" else f"{day}/event_hour={f'{at.hour:02d}' if at else NO_TIME}"


def _is_sayable(micros: int) -> bool:
    return _EARLIEST <= micros <= _LATEST
