"""JSON text read and written without losing a digit.

orjson is an order of magnitude faster than the standard library, but it reads an integer beyond 64 bits as a float and
a number with more digits than a double holds as the nearest double. Both are altered values, so text that may hold such
a number takes the slower way: integers of any size, and `decimal.Decimal` where a float would not give the digits back.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

import orjson

# Beyond this exponent a number says nothing about a document, and arithmetic on it can take all memory.
_MAX_EXPONENT = 6144
# 16 digits or more in a row (a point among them), or an exponent of three digits: what a double may not give back.
_MAY_EXCEED_DOUBLE = re.compile(r"\d[\d.]{15}|\d[eE][+-]?\d{3}")


def loads(text: str | bytes) -> Any:
    """Reads JSON.

    Raises:
        ValueError: It is not JSON, holds NaN or Infinity or a number beyond 1e6144, or is nested too deep.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as e:
            raise ValueError(f"not UTF-8: {e.reason} at byte {e.start}") from None
    value = orjson.loads(text)
    if not _MAY_EXCEED_DOUBLE.search(text):
        return value
    try:
        return json.loads(text, parse_float=_float_or_decimal, parse_constant=_no_constant)
    except (RecursionError, ArithmeticError) as e:
        raise ValueError(str(e)) from None


def dumps(value: Any) -> bytes:
    """Writes JSON as compact UTF-8, the keys in their own order.

    Raises:
        TypeError: The value holds something that JSON has no form for.
    """
    try:
        return orjson.dumps(value, default=_number)
    except TypeError:
        return orjson.dumps(_exact(value), default=_number)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys: equal values give equal bytes, in every process."""
    try:
        return orjson.dumps(value, default=_number, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return orjson.dumps(_exact(value), default=_number, option=orjson.OPT_SORT_KEYS)


def dumps_any(value: Any) -> bytes:
    """Writes whatever a user put into metadata: what JSON has no form for is written as its ``str()``."""
    try:
        return dumps(value)
    except TypeError:
        return orjson.dumps(_exact(value), default=_number_or_str, option=orjson.OPT_NON_STR_KEYS)


def _float_or_decimal(digits: str) -> float | Decimal:
    number = float(digits)
    exact = Decimal(digits)
    if abs(exact.adjusted()) > _MAX_EXPONENT:
        raise ValueError(f"the number {digits[:20]}… is out of range")
    return number if math.isfinite(number) and Decimal(repr(number)) == exact else exact


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _number(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _number_or_str(value: Any) -> Any:
    return orjson.Fragment(str(value)) if isinstance(value, Decimal) and value.is_finite() else str(value)


def _exact(value: Any) -> Any:
    """The value with the integers that orjson refuses written out."""
    if type(value) is int:
        return value if -(1 << 63) <= value < (1 << 64) else orjson.Fragment(str(value))
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    return value
