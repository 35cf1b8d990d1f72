"""How often the values of an answer stand in a text: whether an item was read in a part, or in the context of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

from kimi_beam.results.shown_rows import is_row
from kimi_beam.schema import jsontext

_NUMBER = re.compile(r"(?<![\w.,])\d(?:[\d.,'\u2019\u00a0]*\d)?(?![\w])")
_SPACES = re.compile(r"\s+")
_WRAPPED = 3
"""Lines that a row with a wrapped cell takes at most."""
_NO_DIGITS = re.compile(r"[^\d.,]")


class GroundedText:
    """A text in which values are looked for.

    Args:
        text: The text, with a row of a table on one line, or on few if a cell is wrapped.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _lines(self) -> list[_Line]:
        return [_Line(line) for line in self._text.splitlines() if line.strip()]

    @cached_property
    def _whole(self) -> _Line:
        return _Line(self._text)

    def count(self, value: Any) -> int:
        """At how many places a value stands: lines that have all of its texts and numbers, or a few lines together.

        A value without any text or number, such as true or null, stands nowhere.
        """
        wanted = list(leaves(value))
        # Most values stand nowhere, which is quickly seen.
        if not wanted or not self._whole.may_have(wanted):
            return 0
        found, first = 0, 0
        while first < len(self._lines):
            taken = 1 if self._lines[first].has(wanted) else self._lines_together(first, wanted)
            found += taken > 0
            first += taken or 1
        return found

    def _lines_together(self, first: int, wanted: list[Any]) -> int:
        """How many lines from one on have all of some values together; 0 if no few lines have."""
        for count in range(2, _WRAPPED + 1):
            together = self._lines[first : first + count]
            # Of two rows together, one may have the name and the other one the amount.
            if len(together) < count or sum(line.is_row for line in together) > 1:
                return 0
            if _have_together(together, wanted):
                return count
        return 0

    def has(self, leaf: Any) -> bool:
        """Whether a text or a number stands anywhere."""
        return any(line.has([leaf]) for line in self._lines)


class _Line:
    """A line, or some that belong together."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def is_row(self) -> bool:
        """Whether it is a row of a table."""
        return is_row(self.text)

    def may_have(self, wanted: list[Any]) -> bool:
        """Whether `has` may be true."""
        words = (word for leaf in wanted if isinstance(leaf, str) for word in leaf.casefold().split())
        numbers = (leaf for leaf in wanted if not isinstance(leaf, str))
        return all(word in self._plain for word in words) and all(map(self._has_number, numbers))

    @cached_property
    def _plain(self) -> str:
        return _SPACES.sub(" ", self.text).casefold()

    @cached_property
    def _numbers(self) -> frozenset[Decimal]:
        return frozenset(value for match in _NUMBER.finditer(self.text) for value in readings(match[0]))

    def has(self, wanted: list[Any]) -> bool:
        """Whether all these texts and numbers stand in it."""
        return all(self._has_text(leaf) if isinstance(leaf, str) else self._has_number(leaf) for leaf in wanted)

    def first_words(self, words: Sequence[str]) -> int:
        """How many of some words, from the first on, stand in it one after the other."""
        return next((count for count in range(len(words), 0, -1) if self._has_text(" ".join(words[:count]))), 0)

    def _has_number(self, number: Any) -> bool:
        return abs(Decimal(repr(number) if isinstance(number, float) else number)) in self._numbers

    def _has_text(self, text: str) -> bool:
        """Whether a text stands in it that is no piece of a longer word: "Bolt 1" does not stand in "Bolt 10"."""
        plain = _SPACES.sub(" ", text).strip().casefold()
        if not plain:
            return True
        begin = self._plain.find(plain)
        while begin >= 0:
            end = begin + len(plain)
            before, after = self._plain[max(begin - 1, 0) : begin], self._plain[end : end + 1]
            if not (before.isalnum() and plain[0].isalnum()) and not (after.isalnum() and plain[-1].isalnum()):
                return True
            begin = self._plain.find(plain, begin + 1)
        return False


def _have_together(lines: Sequence[_Line], wanted: list[Any]) -> bool:
    """Whether lines have all these values together: a text may begin in one of them and go on in the next one."""
    return all(
        _have_text(lines, leaf.split()) if isinstance(leaf, str) else any(line.has([leaf]) for line in lines)
        for leaf in wanted
    )


def _have_text(lines: Sequence[_Line], words: Sequence[str]) -> bool:
    for line in lines:
        words = words[line.first_words(words) :]
    return not words


def leaves(value: Any) -> Iterator[Any]:
    """The texts and numbers in a JSON value."""
    if isinstance(value, dict):
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    elif isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool):
        yield value


def readings(digits: str) -> set[Decimal]:
    """The numbers that a spelling with digits may stand for: 1.234 is one thousand and some, or one and some."""
    plain = _NO_DIGITS.sub("", digits)
    found = {plain.replace(".", "").replace(",", "")}
    for point in ".,":
        whole, mark, fraction = plain.rpartition(point)
        if mark and point not in whole and fraction.isdigit():
            found.add(f"{whole.replace(',', '').replace('.', '') or '0'}.{fraction}")
            if len(fraction) != 3:
                found.discard(plain.replace(".", "").replace(",", ""))
    return {Decimal(one) for one in found if one}


def from_context(items: list[Any], own: GroundedText, context: GroundedText) -> set[int]:
    """The indices of items of an answer that were read in the context, and belong to another part.

    Equal items are counted: of two of them, both stay if they stand in the part's own text twice. An item that stands
    nowhere as it is written stays, because nothing shows that it came from the context.

    Args:
        items: The items of one array.
        own: The text of the part.
        context: The text beside it.
    """
    places: dict[bytes, list[int]] = {}
    for index, item in enumerate(items):
        places.setdefault(jsontext.canonical(item), []).append(index)
    dropped: set[int] = set()
    for indices in places.values():
        item = items[indices[0]]
        if (beside := context.count(item)) and (surplus := len(indices) - own.count(item)) > 0:
            dropped.update(indices[: min(surplus, beside)])
    return dropped
