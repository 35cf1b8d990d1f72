"""The numbers in a text, by value: 1.234,50 and 1,234.50 and 1234.5 are one number.

A number is written here as its shortest decimal spelling (``-1234.5``), which is quicker than `Decimal` and as exact.
A spelling that can be read in two ways has both readings: 1.234 is one thousand and some, or one and some.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Any, NamedTuple

_TOKEN = re.compile(r"\d+(?:[.,'\u2019\u00a0\u2009\u202f]\d+)*")
_SEPARATORS = re.compile(r"[.,'\u2019\u00a0\u2009\u202f]")
_SPACES = "\u00a0\u2009\u202f"
_MOST_DIGITS = 40
"""What is longer is no number that a schema asks for, and readings of it would take long."""
_AFTER = re.compile(r"\s?(?:(?P<percent>%)|(?P<thousand>k\b|thousand\b|tausend\b|mille\b)|"
                    r"(?P<million>million(?:s|en)?\b|mio\b|mln\b)|(?P<billion>billions?\b|milliarden?\b|mrd\b|bn\b))",
                    re.IGNORECASE)  # fmt: skip
_POWERS = {"percent": -2, "thousand": 3, "million": 6, "billion": 9}
_CURRENCY = re.compile(r"\s?(?:[€$£¥]|EUR\b|CHF\b|PLN\b|SEK\b|NOK\b|DKK\b|CZK\b|HUF\b|USD\b|GBP\b|zł|kr\b|Kč)")
_DIRECT_PREFIX = 3
"""Letters that may stand directly before a number, as in RM9.00; behind more of them it is a part of a name."""


class Span(NamedTuple):
    """A stretch of a text."""

    start: int
    """The index of its first character."""
    end: int
    """The index after its last one."""


def numbers_in(text: str) -> dict[str, list[Span]]:
    """Where each number stands in a text, by its shortest spelling."""
    found: dict[str, list[Span]] = {}

    def add(number: str, span: Span) -> None:
        found.setdefault(number, []).append(span)

    before: list[Span] = []
    for match in _TOKEN.finditer(text):
        span, token = Span(match.start(), match.end()), match[0]
        if len(token) > _MOST_DIGITS or not _stands_alone(text, span) or _is_a_piece(text, span):
            before = []
            continue
        values = readings(token)
        for value in values:
            _add_signed(add, text, value, span)
        for part in () if values else _parts(token, span.start):
            if len(part_readings := readings(text[part.start : part.end])) == 1:
                add(part_readings[0], part)
        before = _grouped_by_spaces(add, text, before, span)
    return {number: sorted(set(spans)) if len(spans) > 1 else spans for number, spans in found.items()}


def readings(token: str) -> tuple[str, ...]:
    """The numbers that digits with separators may stand for, each in its shortest spelling; empty if for none.

    Args:
        token: Digits with points, commas, apostrophes or narrow spaces between them.
    """
    separators = _SEPARATORS.findall(token)
    if not separators:
        # Leading zeros make a name of it: 007 is not seven.
        return () if len(token) > 1 and token[0] == "0" else (_shortest(token),)
    groups = _SEPARATORS.split(token)
    last, others = separators[-1], set(separators[:-1])
    if len(separators) == 1:
        decimal = _shortest(f"{groups[0]}.{groups[1]}") if last in ".," else None
        # A number of thousands begins with no zero: 0.123 is read in one way.
        grouped = _shortest("".join(groups)) if _are_thousands(groups) and groups[0][0] != "0" else None
        return tuple(one for one in (grouped, decimal) if one is not None)
    if others == {last}:
        return (_shortest("".join(groups)),) if _are_thousands(groups, last) else ()
    if len(others) == 1 and last in ".," and _are_thousands(groups[:-1], separators[0]):
        return (_shortest(f"{''.join(groups[:-1])}.{groups[-1]}"),)
    return ()


def shortest_of(value: Any) -> str | None:
    """The shortest spelling of a number of an answer; None if it has more digits than any that is looked for."""
    number = Decimal(repr(value) if isinstance(value, float) else value)
    # An answer is not to be trusted: 1E+999999999 has a billion digits.
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS or len(number.as_tuple().digits) > _MOST_DIGITS:
        return None
    return _shortest(format(number, "f"))


def has_unit(text: str, span: Span) -> bool:
    """Whether a unit, a percent sign or a currency stands beside a number on its line."""
    start, end = span
    return _UNIT_AFTER.match(text, end) is not None or _UNIT_BEFORE.search(text, max(0, start - 8), start) is not None


_UNIT_AFTER = re.compile(r"[^\S\n]*(?:[^\W\d_]{1,4}(?![^\W\d_])|[%€$£¥°²³\u00d7])")
_UNIT_BEFORE = re.compile(r"(?:[€$£¥]|\b[A-Z]{2,3})\s?$")


def number_of_text(text: str) -> str | None:
    """The number that a text of an answer stands for, in its shortest spelling; None if it is none, or not surely.

    A text with leading zeros is a name and not a number, and 1.234 counts as a JSON number would: with a decimal point.
    """
    match = _NUMBER_TEXT.fullmatch(text)
    if match is None or len(text) > _MOST_DIGITS:
        return None
    sign, digits = "-" if match[1] else "", match[2]
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdecimal():
        return None
    if _PLAIN.fullmatch(digits):
        return _shortest(sign + digits)
    values = readings(digits)
    return _signed(values[0], negative=bool(sign)) if len(values) == 1 else None


_NUMBER_TEXT = re.compile(r"\s*([-\u2212]?)\+?(\d+(?:[.,'\u2019\u00a0\u2009\u202f]\d+)*)\s*")
_PLAIN = re.compile(r"\d+(\.\d+)?")


def _shortest(spelling: str) -> str:
    """The shortest spelling of one with digits, perhaps a minus, and perhaps a decimal point."""
    if not spelling.isascii():
        spelling = "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in spelling)
    sign, digits = ("-", spelling[1:]) if spelling[0] == "-" else ("", spelling)
    whole, _, fraction = digits.partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    number = f"{whole}.{fraction}" if fraction else whole
    return number if number == "0" else sign + number


def _signed(number: str, *, negative: bool) -> str:
    return f"-{number}" if negative and number != "0" else number


def _are_thousands(groups: list[str], mark: str = "") -> bool:
    """Whether groups of digits are those of thousands, or, as in India, of hundreds up to the last three digits."""
    if not 1 <= len(groups[0]) <= 3:
        return False
    if all(len(group) == 3 for group in groups[1:]):
        return True
    return mark == "," and len(groups[-1]) == 3 and all(len(group) == 2 for group in groups[1:-1])


def _stands_alone(text: str, span: Span) -> bool:
    """Whether digits are a number, perhaps with a currency before them or a unit behind them, and no part of a name."""
    first = span.start
    while first > 0 and text[first - 1].isalpha() and span.start - first <= _DIRECT_PREFIX:
        first -= 1
    prefix = span.start - first
    if prefix > _DIRECT_PREFIX or (prefix and first > 0 and (text[first - 1].isalnum() or text[first - 1] == "_")):
        return False
    if first > 0 and text[first - 1] == "_":
        return False
    end = span.end
    while end < len(text) and text[end].isalpha():
        end += 1
    return not (end < len(text) and (text[end] == "_" or (end > span.end and text[end].isdecimal())))


def _is_a_piece(text: str, span: Span) -> bool:
    """Whether digits are a piece of a date, of a time or of a number with slashes. A year counts as a number."""
    start, end = span
    is_piece = (start > 1 and text[start - 1] in "/:" and text[start - 2].isdecimal()) or (
        text[end : end + 1] in _PIECED and text[end + 1 : end + 2].isdecimal()
    )
    return is_piece and not (end - start == 4 and text[start:end][:2] in ("19", "20"))


_PIECED = ("/", ":")


def _parts(token: str, start: int) -> list[Span]:
    """The runs of digits of a token that is no number as a whole, such as 25.12.2018."""
    return [Span(start + match.start(), start + match.end()) for match in _DIGITS.finditer(token)]


_DIGITS = re.compile(r"\d+")


def _add_signed(add: Any, text: str, number: str, span: Span) -> None:
    """Adds a number with the sign that the text gives it, and what a percent sign or a word behind it makes of it."""
    start, end = span
    sign = text[start - 1] if start else ""
    after = text[end : end + 1]
    if sign and sign in "-\u2212\u2013" and not text[start - 2 : start - 1].isalnum():
        # A discount or a credit note may be printed with a minus that the field's name makes superfluous.
        numbers = dict.fromkeys((_signed(number, negative=True), number), Span(start - 1, end))
    else:
        numbers = {number: span}
        if (sign == "(" and after == ")") or (after and after in "-\u2212" and not text[end + 1 : end + 2].isalnum()):
            numbers[_signed(number, negative=True)] = Span(start - (sign == "("), end + 1)
    for one, place in numbers.items():
        add(one, place)
    if after and (match := _AFTER.match(text, end)) is not None and match.lastgroup is not None:
        power = _POWERS[match.lastgroup]
        for one, place in numbers.items():
            add(_shortest(format(Decimal(one).scaleb(power), "f")), Span(place.start, match.end()))


def _grouped_by_spaces(add: Any, text: str, before: list[Span], span: Span) -> list[Span]:
    """Adds the number that ends with this token, if its thousands are divided by ordinary spaces: 1 234,50.

    Two columns may look alike, so that a decimal comma, a third group or a currency has to show that it is one number.

    Returns:
        The tokens that the next one may go on with.
    """
    token = text[span.start : span.end]
    whole = token[:3]
    goes_on = bool(before) and span.start == before[-1].end + 1 and text[span.start - 1] == " "
    goes_on = goes_on and whole.isdecimal() and len(whole) == 3 and (len(token) == 3 or token[3] in ",.")
    if not goes_on:
        return [span] if len(token) <= 3 and token.isdecimal() and token[0] != "0" else []
    groups = [*before, span]
    has_fraction = len(token) > 3
    fraction = token[4:]
    if has_fraction and not fraction.isdecimal():
        return []
    if len(groups) > 2 or (has_fraction and token[3] == ",") or _CURRENCY.match(text, span.end):
        digits = "".join(text[group.start : group.end] for group in before) + whole
        _add_signed(add, text, _shortest(f"{digits}.{fraction}" if has_fraction else digits),
                    Span(groups[0].start, span.end))  # fmt: skip
    return [] if has_fraction else groups
