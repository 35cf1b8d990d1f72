"""Turns a value into what it is compared by, as its place in the schema says: two values are equal if these are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, TypeAlias

from kimi_beam.schema.compare_rules import CompareRule
from kimi_beam.schema.shapes import Shape

Reading: TypeAlias = Callable[[Any], Hashable]
"""Gives what a value that is neither null, object nor array is compared by."""

_LONGEST_NUMBER = 100
_PLAIN = re.compile(r"[-+]?\d+(?:\.\d+)?", re.ASCII)
_POINT = re.compile(r"[-+]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})", re.ASCII)
_COMMA = re.compile(r"[-+]?(?:\d{1,3}(?:(?:\.\d{3})+,\d+|(?:\.\d{3}){2,})|\d+,(?:\d{1,2}|\d{4,}))", re.ASCII)
_NUMBERS = frozenset({"integer", "number"})


def reading_of(shape: Shape, rule: CompareRule | None) -> Reading:
    """How the values of a place are read.

    Args:
        shape: What the schema says about them.
        rule: The place's ``x-compare``; None if it has none.
    """
    if rule is not None and (named := _BY_RULE.get(rule)) is not None:
        return named
    if shape.format == "date-time":
        return _instant
    if shape.format == "byte":
        return _exact
    is_number = bool(shape.kinds & _NUMBERS) and not shape.kinds - _NUMBERS - {"null"}
    return _number if is_number or shape.format == "decimal" else _space


def _other(value: Any) -> Hashable:
    """What a value that is no string is compared by."""
    if type(value) is bool:
        return (value,)  # since in Python True equals 1
    if type(value) is Decimal:
        return _of_decimal(value)
    key: Hashable = value
    return key


def _of_decimal(value: Decimal) -> Hashable:
    """The float whose shortest spelling is this number, so that the same digits are equal however they were read."""
    near = float(value)
    return near if Decimal(repr(near)) == value else value


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _exact(value: Any) -> Hashable:
    return value if type(value) is str else _other(value)


def _space(value: Any) -> Hashable:
    return " ".join(_composed(value).split()) if type(value) is str else _other(value)


def _case(value: Any) -> Hashable:
    return " ".join(_composed(value).casefold().split()) if type(value) is str else _other(value)


def _alphanumeric(value: Any) -> Hashable:
    if type(value) is not str:
        return _other(value)
    kept = "".join(filter(str.isalnum, _composed(value).casefold()))
    return kept or _space(value)  # or a dash would equal an empty string


def _number(value: Any) -> Hashable:
    """A string that spells a decimal number in exactly one way counts as the number; any other is a string."""
    if type(value) is not str:
        return _other(value)
    text = value.strip()
    if len(text) > _LONGEST_NUMBER:
        return _space(value)
    if _PLAIN.fullmatch(text):
        return _of_decimal(Decimal(text))
    if _POINT.fullmatch(text):
        return _of_decimal(Decimal(text.replace(",", "")))
    if _COMMA.fullmatch(text):
        return _of_decimal(Decimal(text.replace(".", "").replace(",", ".")))
    return _space(value)


def _instant(value: Any) -> Hashable:
    """A date-time with an offset counts as its instant, to the microsecond; any other is a string."""
    if type(value) is not str:
        return _other(value)
    text = value.strip().upper().replace("Z", "+00:00").replace(" ", "T")
    head, point, tail = text.partition(".")
    if point:
        digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
        if digits[6:].strip("0"):
            return text
        text = f"{head}.{digits[:6]:0<6}{tail[len(digits) :]}"
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(timezone.utc) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return _space(value)


_BY_RULE: dict[CompareRule, Reading] = {
    "exact": _exact,
    "space": _space,
    "case": _case,
    "alphanumeric": _alphanumeric,
    "number": _number,
}
