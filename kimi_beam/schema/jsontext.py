"""Reads and writes JSON without altering numbers: `loads`, `dumps`, and variants for other demands.

orjson is an order of magnitude faster than the standard library, but it reads an integer beyond 64 bits as a float and
a number with more digits than a double holds as the nearest double. A text that may hold such a number is therefore
read by the standard library, with integers of any size and `decimal.Decimal` where a float would lose digits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

# A number with a larger exponent comes from no real document, and arithmetic on it can take all memory.
_MAX_EXPONENT = 6144
# Python refuses to write integers of more than 4,300 decimal digits, which have at least this many bits.
_MAX_BITS = 14_000
# orjson writes at most 254 levels; the rest is room for the objects around a value when it is written.
_MAX_DEPTH = 200
# A class for each byte: "0" digits and point of a number, "e" and "+" its exponent, ":" the end of a key, "," what else
# may precede a value, " " white space. Searching the translated text is ten times as fast as a regular expression.
_KINDS = {**dict.fromkeys("0123456789.", "0"), **dict.fromkeys("eE", "e"), **dict.fromkeys("+-", "+"), ":": ":"}
_KINDS |= {**dict.fromkeys(",[", ","), **dict.fromkeys(" \t\n\r", " ")}
_MARKS = bytes(ord(_KINDS.get(chr(byte), "x")) for byte in range(256))
# A double may lose digits of a number with 16 digits or more (the point counts) or with an exponent of three digits.
_MAY_EXCEED_DOUBLE = (b"0" * 16, b"0e000", b"0e+000")
_WHITE = b" \t\n\r"
_NO_DIGIT = re.compile(rb"[^0e+]")


def loads(text: str | bytes) -> Any:
    """Reads JSON.

    Raises:
        ValueError: It is not JSON, holds NaN or Infinity, half a surrogate pair, a number beyond 1e6144 or of more than
            4,300 digits, or is nested deeper than 200 levels.
    """
    return _read(text if isinstance(text, bytes) else text.encode(), digits_only=True)[0]


def _read(text: bytes, *, digits_only: bool = False) -> tuple[Any, bool]:
    """Reads JSON, and finds out whether the value provably holds every digit and every key of the text.

    Args:
        text: JSON.
        digits_only: Whether repeated keys are of no interest, so that an object of strings needs no check.

    Returns:
        The value, and whether it is proved to lack nothing; if not, a key may be repeated.
    """
    is_lossless = False
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as e:
        # orjson also refuses numbers that are too large for a double. The standard library reads those, and refuses
        # the text if anything else is wrong with it.
        if "number" not in str(e):
            _check_utf8(text)
            raise
        value = _loads_exactly(text.decode())
    else:
        # An object of strings, which most lines of documents are, has no digits to lose and no depth.
        if digits_only and type(value) is dict and all(type(one) is str for one in value.values()):
            return value, False
        is_lossless = _is_lossless(value, text)
        if not is_lossless and may_exceed_double(text):
            value = _loads_exactly(text.decode())
    # Each level needs a bracket, so that a text with few of them cannot be too deep.
    if text.count(b"[") + text.count(b"{") > _MAX_DEPTH:
        _check_depth(value)
    return value, is_lossless


def _check_utf8(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError as e:
        raise ValueError(f"not UTF-8: {e.reason} at byte {e.start}") from None


def _is_lossless(value: Any, text: bytes) -> bool:
    """Whether writing the value gives the text again, except for white space: a fast proof that nothing was lost."""
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:  # too deep
        return False
    return written == text or written.translate(None, _WHITE) == text.translate(None, _WHITE)


def loads_fast(text: str) -> Any:
    """Reads JSON on the fast path: only if it is cheap to prove that the value lacks no digit and no key of the text.

    Returns:
        The value; None if there is no such proof or the text is no JSON, so that `loads_unique` has to read
        it.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    encoded = text.encode()
    # Each level takes two characters, so that a short text cannot be too deep.
    is_shallow = len(encoded) <= 2 * _MAX_DEPTH or encoded.count(b"[") + encoded.count(b"{") <= _MAX_DEPTH
    return value if is_shallow and _is_lossless(value, encoded) else None


class NoJsonError(ValueError):
    """A value cannot be written as JSON."""


class RepeatedKeyError(ValueError):
    """An object has a key twice. Some readers of JSON would take the first value and others the last."""


def loads_unique(text: str | bytes) -> Any:
    """Reads JSON as `loads` does, but refuses objects with repeated keys, which other readers would read differently.

    Raises:
        RepeatedKeyError: An object has a key twice.
        ValueError: As `loads`.
    """
    encoded = text if isinstance(text, bytes) else text.encode()
    value, is_lossless = _read(encoded)
    if is_lossless:
        return value
    # If no key was lost, the written value has as many keys as the text. The objects are looked at one by one only if
    # the counts differ, or if the text may spell the end of a key in a way that is not counted.
    spaced = any(end in encoded for end in (b'" ', b'"\n', b'"\t', b'"\r'))
    odd = b"\\u0022" in encoded or (spaced and b" :" in encoded.translate(_MARKS))
    if odd or encoded.count(b'":') != dumps(value).count(b'":'):
        json.loads(encoded, object_pairs_hook=_refuse_repeated_keys)
    return value


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise RepeatedKeyError(f"the key {key[:100]!r} stands twice in one object")
        seen.add(key)


def may_exceed_double(text: bytes) -> bool:
    """Whether the text may hold a number that a double would alter; it may also say so of digits inside a string."""
    marks = text.translate(_MARKS)
    return any(_begins_a_value(marks, mark) for mark in _MAY_EXCEED_DOUBLE)


def _begins_a_value(marks: bytes, mark: bytes) -> bool:
    """Whether such digits stand where a value may begin. Before the digits of an id stands a quote or a letter."""
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
    r"""Reads a reply of the service, in which one odd value must not spoil the others; None if it is no JSON at all.

    NaN and infinities become null, halves of surrogate pairs become escapes (``\ud83d``), numbers keep their digits.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_float=_any_float, parse_constant=lambda _: None)
        return _with_escapes(value)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _any_float(digits: str) -> float | Decimal | None:
    try:
        return _float_or_decimal(digits)
    except ValueError:
        return None


def _with_escapes(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else escape_surrogates(value)
    if isinstance(value, dict):
        return {escape_surrogates(key): _with_escapes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_escapes(item) for item in value]
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
    """Whether two values are equal as JSON: 1 equals 1.0, true does not equal 1, and the order of keys is no matter."""
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
    """Writes JSON as compact UTF-8 with the keys in their own order.

    Raises:
        TypeError: The value holds something that cannot be written as JSON.
    """
    try:
        return orjson.dumps(value, default=_number_fragment)
    except TypeError:
        return orjson.dumps(_exact(value), default=_number_fragment)


def canonical(value: Any) -> bytes:
    """Writes JSON with sorted keys, so that equal values give equal bytes in every process."""
    try:
        return orjson.dumps(value, default=_number_fragment, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return orjson.dumps(_exact(value), default=_number_fragment, option=orjson.OPT_SORT_KEYS)


def dumps_any(value: Any) -> bytes:
    """Writes any value that a user may put into metadata, so that `loads` can read it; never fails.

    Values of other types, NaN, numbers out of range and values nested deeper than 200 levels are written as their
    ``str()``.
    """
    try:
        written = dumps(value)
        if b"null" not in written:  # orjson writes NaN as null
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


def float_or_decimal(exact: Decimal) -> float | Decimal:
    """The number as `loads` would read it: a float if that keeps all digits, else the decimal."""
    near = float(exact)
    return near if math.isfinite(near) and Decimal(repr(near)) == exact else exact


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _number_fragment(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold a string: no half of a surrogate pair is in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escape_surrogates(text: str) -> str:
    """The text with halves of surrogate pairs, which UTF-8 cannot hold, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _any(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return escape_surrogates(value)
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
    return hex(key) if isinstance(key, int) and key.bit_length() >= _MAX_BITS else escape_surrogates(str(key))


def _any_str(value: Any) -> str:
    try:
        return escape_surrogates(str(value))
    except (RecursionError, ValueError):
        return f"<{type(value).__name__}>"


def _exact(value: Any) -> Any:
    """The value with integers beyond 64 bits, which orjson refuses, as fragments of JSON."""
    if type(value) is int:
        return value if -(1 << 63) <= value < (1 << 64) else orjson.Fragment(str(value))
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    return value
