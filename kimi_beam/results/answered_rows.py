"""Which rows of tables stand in an answer: each item stands for one row, in the order of both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

_LEAST_KNOWN = 2
"""An item is known again in a row by at least so many of its texts and numbers."""
_MOST_COMPARED = 50
"""An item is looked for among so many at most that have a number of the row: a table may have thousands of rows."""
_NUMBER = re.compile(r"(?<![\w.,])\d[\d.,'\u2019\u00a0]*(?![\w])")
_MARKS = re.compile(r"['\u2019\u00a0]")
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class AnsweredRows:
    """Finds items in rows.

    Args:
        items: The texts and numbers of each item of the answer, in the order of the items.
    """

    def __init__(self, items: Sequence[Sequence[Any]]) -> None:
        self._items = list(map(_Known.of, items))
        self._having: dict[float, list[int]] = {}
        for index, item in enumerate(self._items):
            for number in item.numbers:
                self._having.setdefault(number, []).append(index)

    def find(self, rows: Sequence[str], taken: set[int]) -> list[bool]:
        """For each row, whether an item stands in it that stands in no other one.

        Args:
            rows: Rows of a table.
            taken: The indices of items that were found before; those that are found now are added.
        """
        begins: dict[float, int] = {}
        return [self._take(row, taken, begins) for row in rows]

    def _take(self, row: str, taken: set[int], begins: dict[float, int]) -> bool:
        numbers = {value for digits in _NUMBER.findall(row) for value in _readings(digits)}
        plain = " ".join(row.split()).casefold()
        for index in self._candidates(numbers, taken, begins):
            if self._items[index].stands_in(plain, numbers):
                taken.add(index)
                return True
        return False

    def _candidates(self, numbers: set[float], taken: set[int], begins: dict[float, int]) -> Iterator[int]:
        """Items that have a number of the row, those with the rarest number first."""
        having = [(len(found), number, found) for number in numbers if (found := self._having.get(number))]
        for _, number, found in sorted(having):
            begin = begins.get(number, 0)
            while begin < len(found) and found[begin] in taken:
                begin += 1
            begins[number] = begin
            yield from (index for index in found[begin : begin + _MOST_COMPARED] if index not in taken)


class _Known(NamedTuple):
    """What an item is known again by."""

    texts: tuple[str, ...]
    numbers: frozenset[float]
    total: int
    """How many texts and numbers it has; dates are not counted, which are seldom written as they stand."""

    @classmethod
    def of(cls, leaves: Sequence[Any]) -> _Known:
        texts, numbers = list[str](), set[float]()
        for leaf in leaves:
            if not isinstance(leaf, str) or _PLAIN_NUMBER.fullmatch(leaf):
                numbers.add(abs(float(leaf)))
            elif not _DATE.fullmatch(leaf) and (plain := " ".join(leaf.split()).casefold()):
                texts.append(plain)
        return cls(tuple(texts), frozenset(numbers), len(texts) + len(numbers))

    def stands_in(self, row: str, numbers: set[float]) -> bool:
        """Whether a row has most texts and numbers of the item: a name may go on in the line below."""
        known = len(self.numbers & numbers) + sum(text in row for text in self.texts)
        return known >= _LEAST_KNOWN and 2 * known >= self.total


def _readings(digits: str) -> Iterator[float]:
    """The numbers that a spelling may stand for: 1.234 is one thousand and some, or one and some."""
    if digits.isdecimal():
        yield float(digits)
        return
    plain = _MARKS.sub("", digits).rstrip(".,")
    if not plain.isascii():
        return
    point, comma = plain.rfind("."), plain.rfind(",")
    last = max(point, comma)
    whole = plain.replace(".", "").replace(",", "")
    if last < 0:
        yield float(whole)
        return
    fraction = plain[last + 1 :]
    if min(point, comma) >= 0 or plain.count(plain[last]) == 1:
        yield float(f"{whole[: len(whole) - len(fraction)]}.{fraction}")
    if min(point, comma) < 0 and len(fraction) == 3:
        yield float(whole)
