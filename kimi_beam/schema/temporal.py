"""Columns of dates, date-times and times of day, which are strings in JSON."""

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
_YEAR_1, _YEAR_9999 = -719_162, 2_932_896  # the first and last day of Python's calendar, in days since 1970
_DAY = 86_400_000_000


_LOCAL_PATTERN = r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?"
_LOCAL = re.compile(_LOCAL_PATTERN, re.ASCII)
_LOCAL_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d+))?)?", re.ASCII)


def is_local_date_time(text: str) -> bool:
    """Whether a text is a date and a time of day without an offset from UTC; seconds may be left out."""
    if not _LOCAL.fullmatch(text):
        return False
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def is_local_time(text: str) -> bool:
    """Whether a text is a time of day without an offset from UTC; seconds may be left out."""
    return _LOCAL_TIME.fullmatch(text) is not None


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
        # Python 3.11 reads other spellings too, such as 20260301, which would be read back in another spelling.
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
    """RFC 3339 date-times. They are read back as the same instants, in UTC."""

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
            # An instant before the year 1 or after 9999 overflows.
            delta = datetime.fromisoformat(text).astimezone(timezone.utc) - _EPOCH
        except (ValueError, OverflowError):
            return UNFIT
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    def read(self, array: Array) -> list[Any]:
        return [None if text is None else _rfc3339(text) for text in array.cast(pa.string()).to_pylist()]


class LocalDateTime(DateTime):
    """Date-times without an offset, as a clock on the wall shows them. One with an offset has no cell."""

    type: Any = pa.timestamp("us")

    def finish(self, raw: Array, values: Values) -> Array:
        if pc.all(pc.match_substring_regex(raw, f"^{_LOCAL_PATTERN}$")).as_py() is False:
            raise ValueError("a local date-time of another spelling")
        found = raw.cast(self.type)
        if beyond(found.cast(pa.int64()), _YEAR_1 * _DAY, (_YEAR_9999 + 1) * _DAY - 1):
            raise ValueError("a moment that no calendar year holds")
        return found

    def cell(self, value: Any) -> Any:
        if type(value) is not str or not is_local_date_time(value):
            return UNFIT
        return super().cell(f"{value}Z" if len(value) > 16 else f"{value}:00Z")

    def read(self, array: Array) -> list[Any]:
        return [None if text is None else text.removesuffix("Z") for text in super().read(array)]


class LocalTime(Cells):
    """Times of day without an offset, to the microsecond."""

    type: Any = pa.time64("us")

    def cell(self, value: Any) -> Any:
        found = _LOCAL_TIME.fullmatch(value) if type(value) is str else None
        if found is None:
            return UNFIT
        hours, minutes, seconds, fraction = found.groups()
        if fraction and fraction[6:].strip("0"):
            return UNFIT  # finer than a microsecond
        whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds or 0)
        return whole * 1_000_000 + int(f"{fraction or '':0<6}"[:6])

    def read(self, array: Array) -> list[Any]:
        texts = array.cast(pa.string()).to_pylist()
        return [text.rstrip("0").rstrip(".") if text is not None and "." in text else text for text in texts]


def _rfc3339(text: str) -> str:
    """Turns Arrow's spelling ``2026-03-01 12:00:00.500000Z`` into ``2026-03-01T12:00:00.5Z``."""
    day, _, clock = text.removesuffix("Z").partition(" ")
    return f"{day}T{clock.rstrip('0').rstrip('.') if '.' in clock else clock}Z"
