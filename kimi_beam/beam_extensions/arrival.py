"""How a document came in by a stream: its event time, a name for this one delivery, the partition that it belongs to.

Pure. An answer leaves with the time of the answer, as Beam would drop it as late otherwise; what it is partitioned by,
and what tells a repetition from a second document, are fields.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from kimi_beam.schema import jsontext
from kimi_beam.types import Arrival, Document

Partition = Literal["hour", "day"]
"""What a directory of a stream's output holds."""

NO_TIME = "__HIVE_DEFAULT_PARTITION__"
"""What Hive, Spark, DuckDB and Arrow read as a partition key of null."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST = (datetime.min.replace(tzinfo=timezone.utc) - _EPOCH) // _MICROSECOND
_LATEST = (datetime.max.replace(tzinfo=timezone.utc) - _EPOCH) // _MICROSECOND


def keep(document: Document, event_time: int, window: tuple[int, int] | None, *, anew: bool = False) -> Document:
    """The document with its arrival.

    Args:
        document: What it knows of its arrival already is left as it is, unless it is `anew`.
        event_time: Unix microseconds. Beam's "no time" is far out of what a calendar can say.
        window: Start and end, None for the global window.
        anew: Whether time and window take the place of those of an earlier arrival, as in the windows of another
            `Extract`. The delivery stays the same.
    """
    known = document.arrival or Arrival()
    if anew:
        known = Arrival(None, None, known.delivery)
    at = event_time if known.event_time is None else known.event_time
    edges = known.window or window
    return document.arrived(
        Arrival(
            at if _is_sayable(at) else None,
            edges if edges and _is_sayable(edges[0]) and _is_sayable(edges[1]) else None,
            known.delivery
            # As values that may be of any type: a document made of a database's row is not looked at yet.
            or delivery_name(document.id, document.source, at, document.text, document.images, document.metadata),
        ),
    )


def delivery_name(*parts: Any) -> str:
    """32 hexadecimal digits for what tells one delivery from all others."""
    return hashlib.blake2b(jsontext.dumps_any(list(parts)), digest_size=16).hexdigest()


def moment(micros: int | None) -> datetime | None:
    """Unix microseconds as a time in UTC."""
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def micros(at: datetime) -> int:
    """A time as Unix microseconds.

    Raises:
        ValueError: It has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("a time without a time zone")
    return (at - _EPOCH) // _MICROSECOND


def partition(arrival: Arrival | None, by: Partition) -> str:
    """The directory that an outcome belongs to, as Hive names it: ``event_date=2026-03-01/event_hour=07``."""
    at = moment(arrival.event_time) if arrival else None
    day = f"event_date={at.date().isoformat() if at else NO_TIME}"
    return day if by == "day" else f"{day}/event_hour={f'{at.hour:02d}' if at else NO_TIME}"


def _is_sayable(micros: int) -> bool:
    return _EARLIEST <= micros <= _LATEST
