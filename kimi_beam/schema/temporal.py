"""Columns of dates and date-times, which JSON spells as strings."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kimi_beam.schema.cells import UNFIT, Array, Cells, Values
from kimi_beam.schema.numeric import beyond

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATE_TIME_PATTERN = r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"
_DATE_TIME = re.compile(_DATE_TIME_PATTERN, re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_YEAR_1, _YEAR_9999 = -719_162, 2_932_896  # days since 1970 of the first day and the last that Python has a date for
_DAY = 86_400_000_000


class Date(Cells):
    """``YYYY-MM-DD``."""

    type = pa.date32()
    raw: Any = pa.string()

    def finish(self, raw: Array, values: Values) -> Array:
        days = raw.cast(self.type)
        if not days.cast(pa.string()).equals(raw) or beyond(days.cast(pa.int32()), _YEAR_1, _YEAR_9999):
            raise ValueError("a date of another spelling, or of the year 0")
        return days

    def cell(self, value: Any) -> Any:
        # Python 3.11 reads more spellings than ISO 8601's plain one, which would then come back altered.
        if type(value) is str and _DATE.fullmatch(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass
        return UNFIT

    def read(self, array: Array) -> list[Any]:
        values: list[Any] = array.cast(pa.string()).to_pylist()
        return values


class DateTime(Cells):
    """RFC 3339 date-times: equal as instants, which is what they are."""

    type: Any = pa.timestamp("us", "UTC")
    raw: Any = pa.string()

    def finish(self, raw: Array, values: Values) -> Array:
        if pc.all(pc.match_substring_regex(raw, f"^{_DATE_TIME_PATTERN}$")).as_py() is False:
            raise ValueError("a date-time of another spelling")
        instants = raw.cast(self.type)
        if beyond(instants.cast(pa.int64()), _YEAR_1 * _DAY, (_YEAR_9999 + 1) * _DAY - 1):
            raise ValueError("an instant that no calendar year holds")
        return instants

    def cell(self, value: Any) -> Any:
        """Microseconds since 1970."""
        if type(value) is not str or not _DATE_TIME.fullmatch(value):
            return UNFIT
        text = value.upper().replace("Z", "+00:00")
        head, _, tail = text.partition(".")
        if tail:
            digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
            if digits[6:].strip("0"):
                return UNFIT  # finer than a microsecond
            text = f"{head}.{digits[:6]:0<6}{tail[len(digits) :]}"
        try:
            # An instant that no calendar year holds overflows.
            delta = datetime.fromisoformat(text).astimezone(timezone.utc) - _EPOCH
        except (ValueError, OverflowError):
            return UNFIT
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    def read(self, array: Array) -> list[Any]:
        return [None if text is None else _rfc3339(text) for text in array.cast(pa.string()).to_pylist()]


def _rfc3339(text: str) -> str:
    """Arrow's ``2026-03-01 12:00:00.500000Z`` as ``2026-03-01T12:00:00.5Z``."""
    day, _, clock = text.removesuffix("Z").partition(" ")
    return f"{day}T{clock.rstrip('0').rstrip('.') if '.' in clock else clock}Z"
