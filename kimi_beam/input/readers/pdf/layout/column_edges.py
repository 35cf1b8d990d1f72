"""Narrow gaps between columns of text, which are told by the edges at which the lines behind them begin.

A gap of less than a font's size is no wider than one between two words of a justified line. But where many lines below
each other begin at one place, and no word crosses the strip before it, a column begins there: the gaps of words come
together so by chance in two or three lines, not in six.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import attrgetter

from kimi_beam.input.readers.pdf.layout.page_lines import Cell, Line, cell_of
from kimi_beam.input.readers.pdf.layout.page_words import Word

_left = attrgetter("x0")

_FEWEST_LINES = 6
"""Lines that begin at an edge, and lines that stand before it, at least."""
_GAP = 0.45
"""The font sizes before an edge in which nothing stands, at least: more than a usual space."""
_AT_THE_EDGE = 0.75
"""The share of the lines behind an edge that begin at it; the others are indented."""
_NEAR = 0.8
"""Points by which the places of one edge differ."""
_BEFORE_WORDS = frozenset("(\"'\u201e\u201c\u201a\u2018«»[")
_NEXT_LINE = 3.0
"""The most font sizes from one line of a column to the next."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A place at which the lines of a column begin.

    Attributes:
        x: An x in the gap before it.
        first: The index of the first line of the page along which nothing crosses the gap.
        last: The index of the last one.
    """

    x: float
    first: int
    last: int


def column_edges(whole: Sequence[Line], fewest_words: int) -> list[Edge]:
    """The edges of columns on a page, those of wide gaps included; none if none of them may part two texts.

    Args:
        whole: The lines of the page, from above.
        fewest_words: How many words the lines of a text have at least, on average.
    """
    words = [sorted([word for cell in line.cells for word in cell.words], key=_left) for line in whole]
    places = _places(words)
    if not any(_may_part_texts(words, place, fewest_words) for place in places):
        return []
    rows = list(map(_Row, words))
    return [edge for pair in pairwise([*places, float("inf")]) for edge in _edges_at(*pair, whole, rows)]


def _may_part_texts(rows: list[list[Word]], x: float, fewest_words: int) -> bool:
    """Whether any line has as many words as that before a place, and any behind it: most tables have not."""
    long = [row for row in rows if len(row) >= fewest_words]
    return any(row[fewest_words - 1].x0 < x for row in long) and any(row[-fewest_words].x0 >= x - _NEAR for row in long)


def words_between(row: Line, left: float, right: float) -> Cell | None:
    """The words of a line between two places, as one cell; None if there are none.

    Args:
        row: The line.
        left: Where they begin at the earliest.
        right: Before which they begin.
    """
    words = [word for cell in row.cells for word in cell.words if left <= word.x0 < right]
    return cell_of(words) if words else None


def _places(rows: list[list[Word]]) -> list[float]:
    """The places at which many lines, or words behind a gap, begin; without the one at which the page begins."""
    counts: defaultdict[int, list[float]] = defaultdict(list)
    for row in rows:
        end = float("-inf")
        for word in row:
            if word.x0 - end >= _GAP * word.size and (word.text[0].isalpha() or word.text[0] in _BEFORE_WORDS):
                counts[round(word.x0 / _NEAR)].append(word.x0)
            end = word.x1
    left = min((row[0].x0 for row in rows if row), default=0.0)
    found: list[float] = []
    for key in sorted(counts):
        beginning = [*counts[key], *counts.get(key + 1, ())]
        place = min(beginning)
        if len(beginning) >= _FEWEST_LINES and place > left + 20 and not (found and place - found[-1] < 2 * _NEAR):
            found.append(place)
    return found


class _Row:
    """A line's words from left to right.

    Attributes:
        starts: Where each begins.
        ends: How far each, or one before it, reaches.
        gaps: The same, with the gap in which nothing may stand before an edge.
    """

    __slots__ = ("ends", "gaps", "starts")

    def __init__(self, words: list[Word]) -> None:
        self.starts = [word.x0 for word in words]
        self.ends = _largest_so_far([word.x1 for word in words])
        self.gaps = _largest_so_far([word.x1 + _GAP * word.size for word in words])


def _largest_so_far(numbers: list[float]) -> list[float]:
    """Of each number the largest one up to it."""
    return numbers if numbers == sorted(numbers) else list(accumulate(numbers, max))


def _edges_at(x: float, following: float, whole: Sequence[Line], rows: list[_Row]) -> list[Edge]:
    """The stretches of a page along which an edge stands at a place, before the place that follows."""
    edges: list[Edge] = []
    start = 0
    counts = [bisect_left(row.starts, x - _NEAR / 2) for row in rows]  # of the words that begin before the place
    for index, (row, count) in enumerate(zip(rows, counts, strict=True)):
        crosses = count > 0 and row.gaps[count - 1] > x
        if crosses or (index and whole[index].base - whole[index - 1].base > _NEXT_LINE * whole[index].size):
            edges += _edge(x, following, start, rows[start:index], counts[start:index])
            start = index + 1 if crosses else index
    return edges + _edge(x, following, start, rows[start:], counts[start:])


def _edge(x: float, following: float, first: int, rows: list[_Row], counts: list[int]) -> list[Edge]:
    """The edge along some lines that follow each other, of which the index of the first is given; none if it is none.

    For each line it is known how many of its words begin before the edge.
    """
    if len(rows) < _FEWEST_LINES:
        return []
    before = behind = at_edge = 0
    ends = float("-inf")
    for row, count in zip(rows, counts, strict=True):
        if count:
            before += 1
            ends = max(ends, row.ends[count - 1])
        if count < len(row.starts) and (after := row.starts[count]) < following - _NEAR / 2:
            behind += 1
            at_edge += after - x < 2 * _NEAR
    if min(before, at_edge) < _FEWEST_LINES or at_edge < _AT_THE_EDGE * behind:
        return []
    return [Edge((max(ends, x - 20) + x) / 2, first, first + len(rows) - 1)]
