"""How often the values of an answer stand in a text: whether an item was read in a part, or in the context of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import cached_property
from typing import Any

from kimi_beam.schema import jsontext

_NUMBER = re.compile(r"(?<![\w.,])\d(?:[\d.,'\u2019\u00a0]*\d)?(?![\w])")
_SPACES = re.compile(r"\s+")
_NO_DIGITS = re.compile(r"[^\d.,]")


class GroundedText:
    """A text in which values are looked for.

    Args:
        text: The text.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _plain(self) -> str:
        return _SPACES.sub(" ", self._text).casefold()

    @cached_property
    def _numbers(self) -> Counter[Decimal]:
        return Counter(value for match in _NUMBER.finditer(self._text) for value in readings(match[0]))

    def count(self, value: Any) -> int:
        """How often a value could have been read here: as often as the rarest of its texts and numbers stands here.

        A value without any text or number, such as true or null, stands nowhere.
        """
        return min(map(self._count_leaf, leaves(value)), default=0)

    def _count_leaf(self, leaf: Any) -> int:
        if isinstance(leaf, str):
            plain = _SPACES.sub(" ", leaf).strip().casefold()
            return self._plain.count(plain) if plain else 0
        return self._numbers[abs(Decimal(repr(leaf) if isinstance(leaf, float) else leaf))]


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
