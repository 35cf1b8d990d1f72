"""Columns of numbers: whole ones, doubles and decimals, none of which may lose a digit."""

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
"""Beyond it a double is not the integer that its digits spell."""


class Integer(Cells):
    """Whole numbers, 1.0 among them."""

    def __init__(self, kind: Any) -> None:
        self.type = self.raw = kind
        signed = pa.types.is_signed_integer(kind)
        self._low = -(1 << (kind.bit_width - 1)) if signed else 0
        self._high = (1 << (kind.bit_width - signed)) - 1

    def finish(self, raw: Array, values: Values) -> Array:
        items = values()
        try:
            # Integers alone have a sum that is one (so have booleans, which Arrow refuses): faster than to ask each.
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
    """Numbers that a double gives back."""

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
        # By its digits: 2**63 is a double too, but one that is written 9.223372036854776e+18. And an integer exactly:
        # the double that is written like 1192092895507812500000000000000000 is another number.
        return number if Decimal(repr(number)) == value and (type(value) is Decimal or number == value) else UNFIT


class Digits(Cells):
    """Decimal numbers, from their digits.

    Args:
        kind: decimal128 or decimal256.
        text: Whether strings of digits are numbers too. They come back as numbers unless `as_text`.
        as_text: Whether the numbers come back as strings.
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
        # A double of up to 15 digits is the nearest one to them: its digits are those that, divided, give it again.
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
            value = Decimal(repr(value))  # the digits that were written: `jsontext` reads longer ones as Decimal
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
            None if d is None else int(d) if d == d.to_integral_value() else jsontext.number(d)
            for d in array.to_pylist()
        ]


def beyond(numbers: Array, low: float, high: float) -> bool:
    """Whether a number is less than `low` or greater than `high`."""
    found: Any = pc.min_max(numbers).as_py()
    return found["min"] is not None and not low <= found["min"] <= found["max"] <= high


def _no_booleans(numbers: Array, values: Values) -> None:
    """Refuses booleans, of which Arrow has made 0.0 and 1.0: only where there are such numbers are values looked at."""
    if pc.any(pc.or_(pc.equal(numbers, _FALSE), pc.equal(numbers, _TRUE))).as_py() and bool in set(map(type, values())):
        raise TypeError("a boolean among the numbers")
