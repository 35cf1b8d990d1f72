"""Columns of integers, floats and decimals. A number that its column would alter by a digit gets no cell."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kimi_beam.schema import jsontext
from kimi_beam.schema.cells import UNFIT, Array, Cells, Values

_FALSE, _TRUE = pa.scalar(0.0), pa.scalar(1.0)
_EXACT = 1 << 53
"""2**53: above it a double cannot hold every integer."""


class Integer(Cells):
    """Integers; 1.0 is one in JSON Schema."""

    def __init__(self, kind: Any) -> None:
        self.type = self.raw = kind
        signed = pa.types.is_signed_integer(kind)
        self._low = -(1 << (kind.bit_width - 1)) if signed else 0
        self._high = (1 << (kind.bit_width - signed)) - 1

    def finish(self, raw: Array, values: Values) -> Array:
        items = values()
        try:
            # The sum is an int only if all are (or booleans, which Arrow refuses): faster than to look at each.
            whole = type(sum(items)) is int
        except (TypeError, ArithmeticError):
            whole = set(map(type, items)) <= {int, NoneType}
        if not whole:
            raise TypeError("not only integers: Arrow cuts 1.5 down to 1")
        return raw

    def cell(self, value: Any) -> Any:
        if type(value) not in (int, float, Decimal) or not self._low <= value <= self._high:
            return UNFIT
        if type(value) is float and abs(value) > _EXACT:
            return UNFIT
        return int(value) if value == int(value) else UNFIT


class Float(Cells):
    """Numbers of which a double keeps all digits."""

    type: Any = pa.float64()
    raw: Any = pa.float64()

    def finish(self, raw: Array, values: Values) -> Array:
        _no_booleans(raw, values)
        return raw

    def cell(self, value: Any) -> Any:
        if type(value) is float:
            return value
        if type(value) not in (int, Decimal):
            return UNFIT
        try:
            number = float(value)
        except OverflowError:
            return UNFIT
        # The digits are compared, because 2**63 is a double that is written 9.223372036854776e+18. An integer has to be
        # equal as well, because 1192092895507812500000000000000000 are the digits of a double with another value.
        return number if Decimal(repr(number)) == value and (type(value) is Decimal or number == value) else UNFIT


class Digits(Cells):
    """Decimal numbers, made from the digits as they are written.

    Args:
        kind: decimal128 or decimal256.
        text: Whether strings of digits are accepted too. They are read back as numbers unless `as_text`.
        as_text: Whether all numbers are read back as strings.
    """

    def __init__(self, kind: Any, *, text: bool = False, as_text: bool = False) -> None:
        self.type, self._text, self._as_text = kind, text, as_text
        self.raw = None if pa.types.is_decimal256(kind) else pa.float64()
        self._unit = Decimal(1).scaleb(-kind.scale)
        self._limit = Decimal(1).scaleb(kind.precision - kind.scale)
        self._shift = float(10**kind.scale)
        self._digits = min(15, kind.precision)

    def finish(self, raw: Array, values: Values) -> Array:
        _no_booleans(raw, values)
        # A double that was written with up to 15 digits is found again by dividing the rounded digits.
        digits = pc.round(pc.multiply(raw, self._shift))
        same = pc.equal(pc.divide(digits, self._shift), raw)
        if beyond(digits, -(10**self._digits) + 1, 10**self._digits - 1) or pc.all(same).as_py() is False:
            raise ValueError("a number of more digits")
        unscaled: Any = digits.cast(pa.int64()).cast(pa.decimal128(38, 0))
        return pa.Array.from_buffers(self.type, len(unscaled), unscaled.buffers(), unscaled.null_count)

    def cell(self, value: Any) -> Any:
        if type(value) is float:
            if abs(value) > _EXACT:
                return UNFIT
            value = Decimal(repr(value))  # the digits as written, because `jsontext` reads longer ones as Decimal
        elif type(value) is str and self._text:
            try:
                value = Decimal(value)
            except InvalidOperation:
                return UNFIT
        elif type(value) not in (int, Decimal):
            return UNFIT
        if type(value) is int:
            return value if -self._limit < value < self._limit else UNFIT
        if not value.is_finite() or not -self._limit < value < self._limit:
            return UNFIT
        exponent = value.as_tuple().exponent
        if exponent >= -self.type.scale:
            return value
        return value if value == value.quantize(self._unit) else UNFIT

    def read(self, array: Array) -> list[Any]:
        if self._as_text:
            return [None if d is None else str(d) for d in array.to_pylist()]
        return [
            None if d is None else int(d) if d == d.to_integral_value() else jsontext.float_or_decimal(d)
            for d in array.to_pylist()
        ]


def beyond(numbers: Array, low: float, high: float) -> bool:
    """Whether a number is less than `low` or greater than `high`."""
    found: Any = pc.min_max(numbers).as_py()
    return found["min"] is not None and not low <= found["min"] <= found["max"] <= high


def _no_booleans(numbers: Array, values: Values) -> None:
    """Refuses booleans, which Arrow converts to 0.0 and 1.0. Only if there are such numbers are values looked at."""
    if pc.any(pc.or_(pc.equal(numbers, _FALSE), pc.equal(numbers, _TRUE))).as_py() and bool in set(map(type, values())):
        raise TypeError("a boolean among the numbers")
