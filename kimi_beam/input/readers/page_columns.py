"""Columns of running text, which are read one after the other, while the rows of tables stay on their line.

Two blocks of running text that stand side by side are columns, as far up and down as nothing crosses the gap between
them. What is not running text (addresses, amounts, labels and their values) is read by its lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from kimi_beam.input.readers.page_lines import Cell, Line, lines
from kimi_beam.input.readers.page_words import Word

_FEWEST_LINES = 4
"""Lines that a block of running text has at least."""
_FEWEST_WORDS, _FEWEST_CHARACTERS = 3, 16
"""What a line of running text has at least, on average."""
_FULL, _FULLER = 0.75, 0.93
"""The share of its column's width that the middle one of its lines has at least: where sentences run on from line to
line, and where none is seen to."""
_RUNNING_ON = 0.25
"""The share of lines that begin with a small letter, where sentences run on."""
_LETTERS = 0.6
"""The share of letters among the characters of running text."""
_NEXT_LINE = 2.6
"""The most font sizes from one line of a block to the next, an empty line between paragraphs included."""
_INDENT = 2.5
"""The most font sizes by which a first line is indented."""
_APART = 2.6
"""A gap of this many font sizes over the whole width ends the columns."""


@dataclass(slots=True)
class _Block:
    """Cells below each other that begin at one edge.

    Attributes:
        cells: Its cells, from above.
        bases: The base line of each.
    """

    cells: list[Cell]
    bases: list[float]

    @property
    def x0(self) -> float:
        return min(cell.x0 for cell in self.cells)

    @property
    def x1(self) -> float:
        return max(cell.x1 for cell in self.cells)

    def is_running_text(self) -> bool:
        count = len(self.cells)
        texts = [cell.text for cell in self.cells]
        if count < _FEWEST_LINES or sum(map(len, texts)) < _FEWEST_CHARACTERS * count:
            return False
        if sum(len(cell.words) for cell in self.cells) < _FEWEST_WORDS * count:
            return False
        joined = "".join(texts).replace(" ", "")
        if sum(map(str.isalpha, joined)) < _LETTERS * len(joined):
            return False
        fill = sorted(cell.x1 - cell.x0 for cell in self.cells)[count // 2] / max(self.x1 - self.x0, 0.1)
        running = sum(text[0].islower() for text in texts) >= _RUNNING_ON * count
        return fill >= (_FULL if running else _FULLER)


@dataclass(slots=True)
class _Band:
    """A stretch of a page that is set in columns.

    Attributes:
        top: The base line of its first line.
        bottom: The base line of its last line.
        gutters: An x inside each gap between two columns.
    """

    top: float
    bottom: float
    gutters: list[float] = field(default_factory=list)


def regions(words: list[Word]) -> list[list[Line]]:
    """The lines of a page, apart for each part of it that is read by itself, in reading order.

    Args:
        words: The words of the page.
    """
    whole = lines(words)
    bands = _bands(whole)
    if not bands:
        return [whole] if whole else []
    found: list[list[Line]] = []
    rest = words
    for band in bands:
        above = [word for word in rest if word.base < band.top - 0.01]
        inside = [word for word in rest if band.top - 0.01 <= word.base <= band.bottom + 0.01]
        rest = [word for word in rest if word.base > band.bottom + 0.01]
        edges = [float("-inf"), *band.gutters, float("inf")]
        found.append(lines(above))
        found += [lines(word for word in inside if left <= word.x0 < right) for left, right in pairwise(edges)]
    found.append(lines(rest))
    return [region for region in found if region]


def _bands(whole: list[Line]) -> list[_Band]:
    """The stretches of a page that are set in columns, from above."""
    blocks = [block for block in _blocks(whole) if block.is_running_text()]
    bands: list[_Band] = []
    for left in blocks:
        for right in blocks:
            top, bottom = max(left.bases[0], right.bases[0]), min(left.bases[-1], right.bases[-1])
            if left.x1 >= right.x0 or bottom - top < 2 * left.cells[0].words[0].size:
                continue
            gutter = (left.x1 + right.x0) / 2
            if any(block.x0 < gutter < block.x1 and block.bases[0] <= bottom for block in blocks):
                continue
            first, last = _reach(whole, gutter, top, bottom)
            if first <= last:
                bands.append(_Band(whole[first].base, whole[last].base, [gutter]))
    return _together(bands)


def _blocks(whole: list[Line]) -> list[_Block]:
    """The cells of a page, those below each other as one block."""
    blocks: list[_Block] = []
    ending: list[_Block] = []
    for line in whole:
        ending = [block for block in ending if line.base - block.bases[-1] <= _NEXT_LINE * line.size]
        for cell in line.cells:
            size = cell.words[0].size
            for block in ending:
                last = block.cells[-1]
                indent = min(abs(cell.x0 - last.x0), abs(cell.x0 - block.cells[0].x0))
                if (
                    indent <= _INDENT * size
                    and cell.overlaps(last)
                    and abs(last.words[0].size - size) < 0.1 * size
                    and block.bases[-1] < line.base - 0.5 * size
                ):
                    block.cells.append(cell)
                    block.bases.append(line.base)
                    break
            else:
                ending.append(_Block([cell], [line.base]))
                blocks.append(ending[-1])
    return blocks


def _reach(whole: list[Line], gutter: float, top: float, bottom: float) -> tuple[int, int]:
    """The first and the last line of the columns on both sides of a gap: as far as no cell crosses it."""
    inside = [index for index, line in enumerate(whole) if top <= line.base <= bottom]
    first = last = inside[0]
    while first > 0 and _continues(whole[first - 1], whole[first], gutter):
        first -= 1
    while last + 1 < len(whole) and _continues(whole[last + 1], whole[last], gutter):
        last += 1
    return (first, last) if not _crosses(whole[first], gutter) else (1, 0)


def _continues(line: Line, neighbour: Line, gutter: float) -> bool:
    return not _crosses(line, gutter) and abs(line.base - neighbour.base) <= _APART * min(line.size, neighbour.size)


def _crosses(line: Line, gutter: float) -> bool:
    return any(cell.x0 < gutter < cell.x1 for cell in line.cells)


def _together(bands: list[_Band]) -> list[_Band]:
    """Bands that overlap as one with several columns, as far as all of them reach."""
    result: list[_Band] = []
    for band in sorted(bands, key=lambda band: (band.top, band.bottom)):
        last = result[-1] if result else None
        if last is None or band.top > last.bottom:
            result.append(band)
            continue
        last.top, last.bottom = max(last.top, band.top), min(last.bottom, band.bottom)
        new = band.gutters[0]
        if all(abs(new - gutter) > 5 for gutter in last.gutters):
            last.gutters = sorted([*last.gutters, new])
    return result
