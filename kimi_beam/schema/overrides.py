"""``x-arrow-type``: the column type that the user has chosen. A value that it would alter fails its row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from kimi_beam.errors import SchemaError
from kimi_beam.schema import jsontext
from kimi_beam.schema.additional import Additional, Place
from kimi_beam.schema.cells import JSON, UNFIT, Array, Boolean, Bytes, Category, Cells, Column, Json, Text
from kimi_beam.schema.numeric import Digits, Float, Integer
from kimi_beam.schema.shapes import Shape
from kimi_beam.schema.temporal import Date, DateTime

_DECIMAL = re.compile(r"decimal(128|256)?\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)")
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(\s*,\s*(?:tz=)?UTC)?\]")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d+))?", re.ASCII)
_INTEGERS = {str(kind): kind for kind in (
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()
)}  # fmt: skip
_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


class _Strict(Column):
    """A column that refuses a value that it cannot hold, which other columns would set aside."""

    def __init__(self, column: Column, name: str) -> None:
        self._column, self._name, self.type = column, name, column.type

    def build(self, values: Sequence[Any], place: Place, additional: Additional) -> Array:
        mine = Additional()
        array = self._column.build(values, lambda index: (index, ""), mine)
        for index in mine.rest:
            additional.refuse(place(index), "x-arrow-type", f"is not held by {self._name}")
        for index, (_, keyword, reason) in mine.refused.items():
            additional.refuse(place(index), keyword, reason)
        return array

    def read(self, array: Array) -> list[Any]:
        return self._column.read(array)


class _Instants(DateTime):
    """Date-times of another precision than microseconds, or without a time zone, which are then in UTC."""

    raw = None

    def __init__(self, unit: Any, zone: str | None) -> None:
        self.type = pa.timestamp(unit, zone)
        self._unit = _NANOSECONDS[unit]

    def cell(self, value: Any) -> Any:
        microseconds = super().cell(value)
        if microseconds is UNFIT or microseconds * 1_000 % self._unit:
            return UNFIT
        count = microseconds * 1_000 // self._unit
        return count if -(1 << 63) <= count < 1 << 63 else UNFIT


class _LocalTimes(_Instants):
    """``YYYY-MM-DDTHH:MM:SS`` without an offset. Only this spelling is accepted, as values are read back in it."""

    def cell(self, value: Any) -> Any:
        trimmed = type(value) is str and not value.endswith(("Z", "z")) and not ("." in value and value[-1] in "0.")
        return super().cell(f"{value}Z") if trimmed and value[10:11] == "T" else UNFIT

    def read(self, array: Array) -> list[Any]:
        return [None if text is None else text.removesuffix("Z") for text in super().read(array)]


class _Numerals(Integer):
    """Strings of digits as integers; a plus sign or leading zeros would be lost and are refused."""

    raw = None

    def cell(self, value: Any) -> Any:
        digits = value if type(value) is str and len(value) < 22 and value.lstrip("-").isdecimal() else "x"
        number = int(digits) if digits != "x" else None
        return super().cell(number) if number is not None and str(number) == value else UNFIT

    def read(self, array: Array) -> list[Any]:
        return [None if number is None else str(number) for number in array.to_pylist()]


class _Spelt(Text):
    """Numbers as text with all their digits."""

    raw = None

    def cell(self, value: Any) -> Any:
        return jsontext.dumps(value).decode() if type(value) in (int, float, Decimal) else UNFIT

    def read(self, array: Array) -> list[Any]:
        return [None if text is None else jsontext.loads(text) for text in array.to_pylist()]


class _Single(Float):
    """Numbers of which a 32-bit float keeps all digits."""

    type = pa.float32()

    raw = None

    def cell(self, value: Any) -> Any:
        number = super().cell(value)
        return number if number is UNFIT or self._back(number) == number else UNFIT

    def read(self, array: Array) -> list[Any]:
        return [None if text is None else float(text) for text in array.cast(pa.string()).to_pylist()]

    @staticmethod
    def _back(number: float) -> float:
        return float(pa.scalar(number, pa.float32()).cast(pa.string()).as_py())


class _Clock(Cells):
    """``HH:MM:SS`` with as many digits of a second as the unit has."""

    def __init__(self, kind: Any) -> None:
        self.type, self._unit = kind, _NANOSECONDS[kind.unit]

    def cell(self, value: Any) -> Any:
        found = _TIME.fullmatch(value) if type(value) is str else None
        if found is None:
            return UNFIT
        hours, minutes, seconds, fraction = int(found[1]), int(found[2]), int(found[3]), f"{found[4] or '':0<9}"
        nanoseconds = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + int(fraction[:9])
        return UNFIT if fraction[9:] or nanoseconds % self._unit else nanoseconds // self._unit

    def read(self, array: Array) -> list[Any]:
        texts = array.cast(pa.string()).to_pylist()
        return [text.rstrip("0").rstrip(".") if text is not None and "." in text else text for text in texts]


def chosen_column(name: str, shape: Shape, path: str, *, local: bool = False) -> Column:
    """The column of a place whose type the user has chosen.

    Args:
        name: The value of ``x-arrow-type``.
        shape: The shape of the place.
        path: The place's JSON Pointer, for the error.
        local: Whether date-times may lack an offset.

    Raises:
        SchemaError: There is no such type, or it cannot hold the JSON types of this place.
    """
    column = _column(name.strip(), shape, local=local)
    if column is None:
        kinds = " or ".join(sorted(shape.likely)) or "any value"
        raise SchemaError(f"x-arrow-type at '{path or '/'}': {name!r} is no Arrow type that {kinds} can have")
    return column if isinstance(column, Json) else _Strict(column, name)


def _column(name: str, shape: Shape, *, local: bool) -> Column | None:
    if name in ("json", "arrow.json", str(JSON)):
        return Json()
    kinds = shape.likely
    numeric, textual = kinds <= {"integer", "number"}, kinds == {"string"}
    if found := _DECIMAL.fullmatch(name):
        precision, scale = int(found[2]), int(found[3])
        try:
            kind = pa.decimal256(precision, scale) if found[1] == "256" else pa.decimal128(precision, scale)
        except ValueError:
            return None
        fits = scale <= precision and kinds and kinds <= {"integer", "number", "string"}
        return Digits(kind, text="string" in kinds, as_text=textual) if fits else None
    if found := _TIMESTAMP.fullmatch(name):
        if not textual:
            return None
        with_offset = found[2] or (shape.format == "date-time" and not local)
        return _Instants(found[1], "UTC" if found[2] else None) if with_offset else _LocalTimes(found[1], None)
    if numeric and kinds:
        if name in ("string", "utf8"):
            return _Spelt()
        if name in _INTEGERS:
            return Integer(_INTEGERS[name])
        return {"float": _Single(), "float32": _Single(), "double": Float(), "float64": Float()}.get(name)
    if textual:
        return _text(name, shape)
    return Boolean() if kinds == {"boolean"} and name in ("bool", "boolean") else None


def _text(name: str, shape: Shape) -> Column | None:
    clocks = {f"time32[{u}]": pa.time32(u) for u in ("s", "ms")} | {f"time64[{u}]": pa.time64(u) for u in ("us", "ns")}
    if name in clocks:
        return _Clock(clocks[name])
    if name in _INTEGERS:
        return _Numerals(_INTEGERS[name])
    if name == "dictionary" and shape.values is not None:
        return Category([value for value in shape.values if isinstance(value, str)])
    return {"string": Text(), "utf8": Text(), "date32": Date(), "date32[day]": Date(), "binary": Bytes()}.get(name)
