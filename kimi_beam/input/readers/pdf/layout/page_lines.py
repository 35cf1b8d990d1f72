"""Words into lines, and lines into cells: what stands on one base line, and what a wide gap sets apart on it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from kimi_beam.input.readers.pdf.layout.page_words import Word

_SAME_LINE = 0.3
"""Base lines that differ by less than this many font sizes are one line."""
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
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


_left, _height, _base = attrgetter("x0"), attrgetter("size"), attrgetter("base")


class Cell:
    """Words of a line without a wide gap between them.

    Attributes:
        words: Its words, in reading order.
        x0: Left edge.
        x1: Right edge.
        text: Its words with single spaces.
    """

    __slots__ = ("_number", "text", "words", "x0", "x1")

    def __init__(self, words: list[Word]) -> None:
        self.words = words
        if len(words) == 1:
            self.x0, self.x1, self.text = words[0].x0, words[0].x1, words[0].text
        else:
            self.x0, self.x1 = min([word.x0 for word in words]), max([word.x1 for word in words])
            self.text = " ".join([word.text for word in words])
        self._number: bool | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is a quantity, a price, a rate or the like; not a date, and no long number that identifies."""
        if self._number is None:
            text = self.text
            self._number = (
                len(text) < 40
                and _NUMBER.fullmatch(text) is not None
                and not _DATE.fullmatch(text)
                and not (text.endswith("-") and not _AMOUNT.search(text))  # a word that is divided: "4-"
                and (not _IDENTIFIER.search(text) or bool(_AMOUNT.search(text)))
            )
        return self._number

    @property
    def is_amount(self) -> bool:
        """Whether it is a number with decimals, as sums of money have them."""
        return self.is_number and _AMOUNT.search(self.text) is not None

    def overlaps(self, other: Cell) -> bool:
        """Whether it stands above or below another, at least in part."""
        return self.x0 < other.x1 and other.x0 < self.x1


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
    for word in sorted(words, key=_base):
        if rows and word.base - base <= _SAME_LINE * min(size, word.size):
            rows[-1].append(word)
            if word.size > size:
                base, size = word.base, word.size
        elif rows and _is_raised(word, rows[-1]):
            rows[-1].append(word)
        else:
            rows.append([word])
            base, size = word.base, word.size
    return [_line(row) for row in _with_raised(rows)]


def _is_raised(word: Word, row: list[Word]) -> bool:
    """Whether a word is a small index below the words of a line: the 2 of CO₂."""
    largest = max(other.size for other in row)
    return word.size < 0.8 * largest and any(
        word.size < 0.8 * other.size
        and word.base - other.base < 0.5 * other.size
        and -0.1 * other.size < word.x0 - other.x1 < 0.15 * other.size
        for other in row
    )


def _with_raised(rows: list[list[Word]]) -> list[list[Word]]:
    """The rows, in which a small word that is raised behind another (the 2 of m²) is in the row of that one."""
    kept: list[list[Word]] = []
    for index, row in enumerate(rows):
        following = rows[index + 1] if index + 1 < len(rows) else []
        large = 0.8 * max((other.size for other in following), default=0.0)
        if all(word.size >= large for word in row):
            kept.append(row)
            continue
        stays: list[Word] = []
        for word in row:
            carrier = following and any(
                word.size < 0.8 * other.size
                and other.base - word.base < 0.6 * other.size
                and -0.1 * other.size < word.x0 - other.x1 < 0.15 * other.size
                for other in following
            )
            (following if carrier else stays).append(word)
        if stays:
            kept.append(stays)
    return kept


def _line(words: list[Word]) -> Line:
    words.sort(key=_left)
    largest = max(words, key=_height)
    size, base = largest.size, largest.base
    cells, start = [], 0
    for index in range(1, len(words)):
        before, after = words[index - 1], words[index]
        is_between_numbers = before.text[-1] in _ENDS_NUMBER and after.text[0] in _BEGINS_NUMBER
        if after.x0 - before.x1 > (_NUMBER_GAP if is_between_numbers else _CELL_GAP) * min(before.size, after.size):
            cells.append(Cell(words[start:index]))
            start = index
    cells.append(Cell(words[start:]))
    for index, cell in enumerate(cells):
        if not cell.text.isascii() and _RIGHT_TO_LEFT.search(cell.text) and _runs_leftward(cell.text):
            cells[index] = Cell(cell.words[::-1])
    return Line(base, size, cells, base)


def _runs_leftward(text: str) -> bool:
    """Whether most letters of a text are of a script that is read from right to left."""
    letters = sum(map(str.isalpha, text))
    return len(_RIGHT_TO_LEFT.findall(text)) * 2 > letters
