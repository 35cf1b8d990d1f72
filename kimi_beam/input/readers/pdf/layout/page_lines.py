"""Words into lines, and lines into cells: what stands on one base line, and what a wide gap sets apart on it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

import msgspec

from kimi_beam.input.readers.pdf.layout.both_directions import has_leftward_letters, in_both_directions
from kimi_beam.input.readers.pdf.layout.page_words import Word

_SAME_LINE = 0.3
"""Base lines that differ by less than this many font sizes are one line."""
_SMALL = 0.8
"""An index is smaller than this share of the word that it stands at."""
_CELL_GAP = 1.0
"""A gap of this many font sizes begins another cell."""
_NUMBER_GAP = 0.7
"""The same, between two numbers."""
_ENDS_NUMBER, _BEGINS_NUMBER = frozenset("0123456789%€$£¥₹)"), frozenset("0123456789€$£¥₹(+-")
_UNIT = r"[^\W\d_][\w²³./]{0,7}"
_MONEY = r"[€$£¥₹]|[A-Z]{3}"
_NUMBER = re.compile(
    rf"(?:[€$£¥₹] ?|[A-Z]{{3}} )?[-+(\u2013\u2212]?\d[\d.,'\u2019 ]*\)?(?:-| ?(?:%|{_MONEY}|{_UNIT}))?"
)
_AMOUNT = re.compile(r"\d[.,]\d{2,4}(?!\d)")
_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./-]\d{1,2}[./-]\d{1,2}")
_IDENTIFIER = re.compile(r"\d{7,}")
_SHORTEST_DATE, _SHORTEST_IDENTIFIER = 6, 7
_LONGEST_INDEX = 3
"""The most characters of an index (the 2 of m²)."""

_left, _height, _base, _text = attrgetter("x0"), attrgetter("size"), attrgetter("base"), attrgetter("text")


class Cell(msgspec.Struct, eq=False, gc=False):
    """Words of a line without a wide gap between them. It is made by `cell_of`.

    Attributes:
        words: Its words, in reading order.
        x0: Left edge.
        x1: Right edge.
        text: Its words with single spaces.
    """

    words: list[Word]
    x0: float
    x1: float
    text: str
    _number: bool | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is a quantity, a price, a rate or the like; not a date, and no long number that identifies."""
        if self._number is None:
            text = self.text
            self._number = (
                len(text) < 40
                and _NUMBER.fullmatch(text) is not None
                and (len(text) < _SHORTEST_DATE or not _DATE.fullmatch(text))
                and (text[-1] != "-" or bool(_AMOUNT.search(text)))  # a word that is divided: "4-"
                and (len(text) < _SHORTEST_IDENTIFIER or not _IDENTIFIER.search(text) or bool(_AMOUNT.search(text)))
            )
        return self._number

    @property
    def is_amount(self) -> bool:
        """Whether it is a number with decimals, as sums of money have them."""
        return self.is_number and _AMOUNT.search(self.text) is not None

    def overlaps(self, other: Cell) -> bool:
        """Whether it stands above or below another, at least in part."""
        return self.x0 < other.x1 and other.x0 < self.x1


def cell_of(words: list[Word]) -> Cell:
    """Words as a cell.

    Args:
        words: The words, in reading order; one at least.
    """
    if len(words) == 1:
        word = words[0]
        return Cell(words, word.x0, word.x1, word.text)
    left, right = min([word.x0 for word in words]), max([word.x1 for word in words])
    return Cell(words, left, right, " ".join([word.text for word in words]))


@dataclass(slots=True)
class Line:
    """What stands on one base line.

    Attributes:
        base: The base line, in points from above.
        size: The size of the largest font on it.
        cells: Its cells, from left to right.
        last: The base line of the last of the lines that were put together in it.
    """

    base: float
    size: float
    cells: list[Cell]
    last: float


def lines(words: Iterable[Word]) -> list[Line]:
    """The lines of some words, from above.

    Args:
        words: The words, in any order.
    """
    rows: list[list[Word]] = []
    base = size = 0.0
    from_above = sorted(words, key=_base)
    sizes = {word.size for word in from_above}
    has_small = bool(sizes) and min(sizes) < _SMALL * max(sizes)
    for word in from_above:
        if rows and (word.base == base or word.base - base <= _SAME_LINE * min(size, word.size)):
            rows[-1].append(word)
            if word.size > size:
                base, size = word.base, word.size
        elif has_small and rows and _is_raised(word, rows[-1]):
            rows[-1].append(word)
        else:
            rows.append([word])
            base, size = word.base, word.size
    if has_small:
        rows = _with_raised(rows)
    return [_line(row, is_of_one_size=len(sizes) == 1) for row in rows]


def _is_raised(word: Word, row: list[Word]) -> bool:
    """Whether a word is a small index below the words of a line: the 2 of CO₂."""
    largest = max(other.size for other in row)
    return word.size < _SMALL * largest and any(
        word.size < _SMALL * other.size
        and word.base - other.base < 0.5 * other.size
        and -0.1 * other.size < word.x0 - other.x1 < 0.15 * other.size
        for other in row
    )


def _with_raised(rows: list[list[Word]]) -> list[list[Word]]:
    """The rows, in which a small word that is raised behind another (the 2 of m²) is in the row of that one."""
    kept: list[list[Word]] = []
    for index, row in enumerate(rows):
        following = rows[index + 1] if index + 1 < len(rows) else []
        large = _SMALL * max((other.size for other in following), default=0.0)
        if all(word.size >= large for word in row):
            kept.append(row)
            continue
        stays: list[Word] = []
        for word in row:
            carrier = following and any(
                word.size < _SMALL * other.size
                and other.base - word.base < 0.6 * other.size
                and -0.1 * other.size < word.x0 - other.x1 < 0.15 * other.size
                for other in following
            )
            (following if carrier else stays).append(word)
        if stays:
            kept.append(stays)
    return kept


def _line(words: list[Word], *, is_of_one_size: bool) -> Line:
    words.sort(key=_left)
    largest = words[0]
    if not is_of_one_size and len({word.size for word in words}) > 1:
        words = _with_indices(words)
        largest = max(words, key=_height)
    size, base = largest.size, largest.base
    cells, start = [], 0
    for index, (before, after) in enumerate(pairwise(words), 1):
        gap, smaller = after.x0 - before.x1, before.size if before.size < after.size else after.size
        if gap > _NUMBER_GAP * smaller and (
            gap > _CELL_GAP * smaller or (before.text[-1] in _ENDS_NUMBER and after.text[0] in _BEGINS_NUMBER)
        ):
            cells.append(cell_of(words[start:index]))
            start = index
    cells.append(cell_of(words[start:]))
    if not all(map(str.isascii, map(_text, cells))):
        cells = [cell_of(in_both_directions(cell.words)) if has_leftward_letters(cell.text) else cell for cell in cells]
    return Line(base, size, cells, base)


def _with_indices(words: list[Word]) -> list[Word]:
    """The words of a line, in which letters, the index that is set behind them and what follows are one: H₂O, m².

    An index behind a number stays apart, for it would make another number of it.
    """
    joined: list[Word] = []
    ends_with_index = False
    for word in words:
        before = joined[-1] if joined else None
        is_index = before is not None and _is_index(word, before)
        follows = before is not None and ends_with_index and word.size == before.size and _touches(word, before)
        if before is not None and (is_index or follows):
            joined[-1] = Word(
                before.text + word.text,
                before.x0,
                max(before.x1, word.x1),
                before.base,
                before.size,
                before.font,
                [*before.sources, *word.sources],
            )
        else:
            joined.append(word)
        ends_with_index = is_index
    return joined


def _is_index(word: Word, before: Word) -> bool:
    return (
        word.size < 0.8 * before.size
        and abs(word.base - before.base) > 0.08 * before.size
        and len(word.text) <= _LONGEST_INDEX
        and before.text[-1].isalpha()
        and _touches(word, before)
    )


def _touches(word: Word, before: Word) -> bool:
    return -0.1 * before.size < word.x0 - before.x1 < 0.15 * before.size
