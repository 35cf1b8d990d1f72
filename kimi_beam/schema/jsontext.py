"""JSON text read and written without losing a digit.

orjson is an order of magnitude faster than the standard library, but it reads an integer beyond 64 bits as a float and
a number with more digits than a double holds as the nearest double. Both are altered values, so text that may hold such
a number takes the slower way: integers of any size, and `decimal.Decimal` where a float would not give the digits back.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

# Beyond this exponent a number says nothing about a document, and arithmetic on it can take all memory.
_MAX_EXPONENT = 6144
# Of an integer that Python writes in decimal: it refuses more than 4,300 digits.
_MAX_BITS = 14_000
# orjson writes no deeper than 254 levels, and a value stands inside others when it is written.
_MAX_DEPTH = 200
# Each byte by what it may be part of: "0" a number's digits, "e" and "+" its exponent, ":" a key's end, "," what else
# may stand before a value, " " white space. An order of magnitude faster than a regular expression.
_KINDS = {**dict.fromkeys("0123456789.", "0"), **dict.fromkeys("eE", "e"), **dict.fromkeys("+-", "+"), ":": ":"}
_KINDS |= {**dict.fromkeys(",[", ","), **dict.fromkeys(" \t\n\r", " ")}
_MARKS = bytes(ord(_KINDS.get(chr(byte), "x")) for byte in range(256))
# 16 digits or more in a row (a point among them), or an exponent of three digits: what a double may not give back.
_MAY_EXCEED_DOUBLE = (b"0" * 16, b"0e000", b"0e+000")
_WHITE = b" \t\n\r"
_NO_DIGIT = re.compile(rb"[^0e+]")


def loads(text: str | bytes) -> Any:
    """Reads JSON.

    Raises:
        ValueError: It is not JSON, holds NaN or Infinity, half a surrogate pair, a number beyond 1e6144 or of more than
            4,300 digits, or is nested deeper than 200 levels.
    """
    return _read(text if isinstance(text, bytes) else text.encode(), digits_alone=True)[0]


def _read(text: bytes, *, digits_alone: bool = False) -> tuple[Any, bool]:
    """The value, and whether it is known to hold all that the text says: each digit, and each key.

    Args:
        text: JSON.
        digits_alone: Nobody asks for the keys.
    """
    is_whole = False
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as e:
        # It also refuses a number beyond a double that others take; whatever else is wrong is refused below as well.
        if "number" not in str(e):
            _check_utf8(text)
            raise
        value = _loads_exactly(text.decode())
    else:
        # An object of strings alone, as most lines of documents are, has no digit to lose, and no depth.
        if digits_alone and type(value) is dict and all(type(one) is str for one in value.values()):
            return value, False
        is_whole = _gives_back(value, text)
        if not is_whole and may_exceed_double(text):
            value = _loads_exactly(text.decode())
    # Each level has its bracket: few brackets need no look.
    if text.count(b"[") + text.count(b"{") > _MAX_DEPTH:
        _check_depth(value)
    return value, is_whole


def _check_utf8(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError as e:
        raise ValueError(f"not UTF-8: {e.reason} at byte {e.start}") from None


def _gives_back(value: Any, text: bytes) -> bool:
    """Whether the value, written again, is the text but for white space: the cheapest proof that nothing was lost."""
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:  # too deep
        return False
    return written == text or written.translate(None, _WHITE) == text.translate(None, _WHITE)


def loads_whole(text: str) -> Any:
    """Reads JSON of which it is plain at a glance that all it says is in the value: each digit, and each key.

    Returns:
        The value; None where a closer look is needed, at what is no JSON as well.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    encoded = text.encode()
    # Each level takes two characters, so that a short text needs no look.
    is_shallow = len(encoded) <= 2 * _MAX_DEPTH or encoded.count(b"[") + encoded.count(b"{") <= _MAX_DEPTH
    return value if is_shallow and _gives_back(value, encoded) else None


class NoJsonError(ValueError):
    """A value has no form in JSON."""


class RepeatedKeyError(ValueError):
    """An object has one key twice, of which readers take the first or the last."""


def loads_unambiguously(text: str | bytes) -> Any:
    """As `loads`, for text of which nobody shall read anything else.

    Raises:
        RepeatedKeyError: An object has a key twice.
        ValueError: As `loads`.
    """
    encoded = text if isinstance(text, bytes) else text.encode()
    value, is_whole = _read(encoded)
    if is_whole:
        return value
    # Written again, the text has as many keys unless one was lost. Only where they may be spelt otherwise, or do not
    # add up, is each object looked at.
    spaced = any(end in encoded for end in (b'" ', b'"\n', b'"\t', b'"\r'))
    odd = b"\\u0022" in encoded or (spaced and b" :" in encoded.translate(_MARKS))
    if odd or encoded.count(b'":') != dumps(value).count(b'":'):
        json.loads(encoded, object_pairs_hook=_each_once)
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise RepeatedKeyError(f"the key {key[:100]!r} stands twice in one object")
        seen.add(key)


def may_exceed_double(text: bytes) -> bool:
    """Whether the text may hold a number that a double would alter."""
    marks = text.translate(_MARKS)
    return any(_begins_a_value(marks, mark) for mark in _MAY_EXCEED_DOUBLE)


def _begins_a_value(marks: bytes, mark: bytes) -> bool:
    """Whether digits that hold the mark stand where a value may begin: before those of an id is a quote or a letter."""
    end = 0
    while (found := marks.find(mark, end)) >= 0:
        start = found
        while start > end and marks[start - 1] in b"0e+":
            start -= 1
        if start == 0 or marks[start - 1] in b",: ":
            return True
        after = _NO_DIGIT.search(marks, found)
        end = len(marks) if after is None else after.start()
    return False


def loads_leniently(body: bytes) -> Any:
    """Reads what a service sends, where one odd value must not cost the others: None for what is no JSON at all.

    NaN and infinities become null, halves of surrogate pairs are spelt out, numbers keep their digits.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_float=_any_float, parse_constant=lambda _: None)
        return _spelt_out(value)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _any_float(digits: str) -> float | Decimal | None:
    try:
        return _float_or_decimal(digits)
    except ValueError:
        return None


def _spelt_out(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else legible(value)
    if isinstance(value, dict):
        return {legible(key): _spelt_out(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spelt_out(item) for item in value]
    return value


def _loads_exactly(text: str) -> Any:
    try:
        value = json.loads(text, parse_float=_float_or_decimal, parse_constant=_no_constant)
    except (RecursionError, ArithmeticError) as e:
        raise ValueError(str(e)) from None
    try:
        dumps(value)
    except (TypeError, RecursionError) as e:
        raise ValueError(str(e)) from None
    return value


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal as JSON: 1 is 1.0, but true is not 1; the order of keys does not count."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, list):
        return (
            isinstance(other, list)
            and len(one) == len(other)
            and all(same(value, beside) for value, beside in zip(one, other, strict=True))
        )
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


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
    """Writes whatever a user put into metadata, so that `loads` reads it again and nothing fails.

    What JSON has no form for, or what `loads` would refuse, is written as its ``str()``: other types, NaN, numbers out
    of range, what is nested deeper than 200 levels.
    """
    try:
        written = dumps(value)
        if b"null" not in written:  # which is what orjson makes of NaN
            loads(written)
            return written
    except (TypeError, ValueError, RecursionError):
        pass
    return orjson.dumps(_any(value))


def _float_or_decimal(digits: str) -> float | Decimal:
    number = float(digits)
    exact = Decimal(digits)
    if abs(exact.adjusted()) > _MAX_EXPONENT:
        raise ValueError(f"the number {digits[:20]}… is out of range")
    return number if math.isfinite(number) and Decimal(repr(number)) == exact else exact


def number(exact: Decimal) -> float | Decimal:
    """A float where it gives the digits back, as `loads` would read them."""
    near = float(exact)
    return near if math.isfinite(near) and Decimal(repr(near)) == exact else exact


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _number(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def legible(text: str) -> str:
    """The text with halves of surrogate pairs, which UTF-8 cannot hold, spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _any(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return legible(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float, Decimal)):
        return _any_number(value)
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {_any_key(key): _any(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and depth < _MAX_DEPTH:
        return [_any(item, depth + 1) for item in value]
    try:
        return orjson.Fragment(orjson.dumps(value)) if depth < _MAX_DEPTH else _any_str(value)  # a date, say
    except TypeError:
        return _any_str(value)


def _any_number(value: float | Decimal) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        fits = value.is_finite() and abs(value.adjusted()) <= _MAX_EXPONENT
        return orjson.Fragment(str(value)) if fits else str(value)
    return orjson.Fragment(str(value)) if value.bit_length() < _MAX_BITS else hex(value)


def _any_key(key: Any) -> str:
    return hex(key) if isinstance(key, int) and key.bit_length() >= _MAX_BITS else legible(str(key))


def _any_str(value: Any) -> str:
    try:
        return legible(str(value))
    except (RecursionError, ValueError):
        return f"<{type(value).__name__}>"


def _exact(value: Any) -> Any:
    """The value with the integers that orjson refuses written out."""
    if type(value) is int:
        return value if -(1 << 63) <= value < (1 << 64) else orjson.Fragment(str(value))
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    return value
