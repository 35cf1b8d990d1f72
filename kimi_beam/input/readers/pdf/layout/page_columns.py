"""Columns of running text, which are read one after the other, while the rows of tables stay on their line.

Two blocks of running text that stand side by side are columns, as far up and down as nothing crosses the gap between
them. What is not running text (addresses, amounts, labels and their values) is read by its lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from kimi_beam.input.readers.pdf.layout.column_edges import Edge, column_edges, words_between
from kimi_beam.input.readers.pdf.layout.page_lines import Cell, Line, lines
from kimi_beam.input.readers.pdf.layout.page_words import Rule, Word
from kimi_beam.input.readers.pdf.layout.text_rows import row_starts

_FEWEST_LINES = 3
"""Lines that a block of running text has at least."""
_FEWEST_WORDS, _FEWEST_CHARACTERS = 3, 15
"""What a line of running text has at least, on average."""
_MANY_WORDS = 4
"""Lines of this many words are no labels or values, also where no sentence is seen to run on from line to line."""
_FULL = 0.6
"""The share of its column's width that the middle one of its lines has at least."""
_RUNNING_ON = 0.25
"""The share of lines that begin with a small letter, where sentences run on."""
_LETTERS = 0.6
"""The share of letters among the characters of running text."""
_NEXT_LINE = 2.6
"""The most font sizes from one line of a block to the next, an empty line between paragraphs included."""
_INDENT = 2.5
"""The most font sizes by which a first line is indented."""
_APART, _FAR_APART = 3.2, 8.0
"""A gap of this many font sizes over the whole width ends the columns; the second number, where what follows
begins at their edges."""
_EDGE = 3.0
"""What begins within this many points of a block's edge begins there."""
_SAME_GUTTER = 20.0
"""Gaps between columns that differ by less than this many points are one."""


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
        words = sum(len(cell.words) for cell in self.cells)
        if words < _FEWEST_WORDS * count:
            return False
        joined = "".join(texts).replace(" ", "")
        if sum(map(str.isalpha, joined)) < _LETTERS * len(joined):
            return False
        runs_on = sum(text[0].islower() for text in texts) >= _RUNNING_ON * count
        if not runs_on and words < _MANY_WORDS * count:
            return False
        return sorted(cell.x1 - cell.x0 for cell in self.cells)[count // 2] >= _FULL * (self.x1 - self.x0)


@dataclass(slots=True)
class _Band:
    """A stretch of a page that is set in columns.

    Attributes:
        first: The index of its first line.
        last: The index of its last line.
        gutters: An x inside each gap between two columns.
    """

    first: int
    last: int
    gutters: list[float]


def regions(words: list[Word], rules: list[Rule]) -> list[list[Line]]:
    """The lines of a page, apart for each part of it that is read by itself, in reading order.

    Args:
        words: The words of the page.
        rules: The lines that are drawn on the page, from above.
    """
    whole = lines(words)
    whole, bands = _bands(whole)
    if not bands:
        return [whole] if whole else []
    found: list[list[Line]] = []
    start = 0
    for band in bands:
        found.append(whole[start : band.first])
        inside = whole[band.first : band.last + 1]
        edges = [float("-inf"), *band.gutters, float("inf")]
        for begin, end in pairwise([0, *row_starts(inside, band.gutters, rules), len(inside)]):
            of_row = [word for line in inside[begin:end] for cell in line.cells for word in cell.words]
            found += [lines(word for word in of_row if left <= word.x0 < right) for left, right in pairwise(edges)]
        start = band.last + 1
    found.append(whole[start:])
    return [region for region in found if region]


def _bands(whole: list[Line]) -> tuple[list[Line], list[_Band]]:
    """The stretches of a page that are set in columns, from above, and its lines, which end at narrow gaps too."""
    texts = [cell for line in whole for cell in line.cells if len(cell.words) >= _FEWEST_WORDS]
    if len(texts) < 2 * _FEWEST_LINES:
        return whole, []
    bands = _bands_of_edges(whole)
    if bands:
        whole = _split(whole, bands)
    elif min([cell.x1 for cell in texts]) >= max([cell.x0 for cell in texts]):
        return whole, []  # each block has one of these texts, and none stands beside another
    blocks = [block for block in _blocks(whole) if block.is_running_text()]
    edges = [block.x0 for block in blocks]
    for left in blocks:
        for right in blocks:
            top, bottom = max(left.bases[0], right.bases[0]), min(left.bases[-1], right.bases[-1])
            if left.x1 >= right.x0 or bottom < top:
                continue
            gutter = (left.x1 + right.x0) / 2
            between = [block for block in blocks if block.bases[0] <= bottom and block.bases[-1] >= top]
            if any(block.x0 < gutter < block.x1 for block in between):
                continue
            inside = [index for index, line in enumerate(whole) if top <= line.base <= bottom]
            band = _reaching(whole, _Band(inside[0], inside[-1], [gutter]), edges)
            if band is not None:
                bands.append(band)
    return whole, _together(whole, bands, edges)


def _bands_of_edges(whole: list[Line]) -> list[_Band]:
    """Columns that are told by the edges at which their lines begin, one gap each."""
    edges = column_edges(whole, _FEWEST_WORDS)
    bands: list[_Band] = []
    for edge in edges:
        beside = [other.x for other in edges if other.first <= edge.last and other.last >= edge.first]
        left = max((x for x in beside if x < edge.x), default=float("-inf"))
        right = min((x for x in beside if x > edge.x), default=float("inf"))
        if _is_running(whole, edge, left, edge.x) and _is_running(whole, edge, edge.x, right):
            bands.append(_Band(edge.first, edge.last, [edge.x]))
    return bands


def _is_running(whole: list[Line], edge: Edge, left: float, right: float) -> bool:
    """Whether what stands between two places along an edge is running text."""
    found = [
        (cell, line.base) for line in whole[edge.first : edge.last + 1] if (cell := words_between(line, left, right))
    ]
    return bool(found) and _Block([cell for cell, _ in found], [base for _, base in found]).is_running_text()


def _split(whole: list[Line], bands: list[_Band]) -> list[Line]:
    """The lines of a page, in which no cell reaches over the gaps of columns."""
    result = list(whole)
    for band in bands:
        for index in range(band.first, band.last + 1):
            line = result[index]
            if _crosses(line, band.gutters):
                edges = [float("-inf"), *band.gutters, float("inf")]
                cells = [words_between(Line(0, 0, [cell], 0), *pair) for cell in line.cells for pair in pairwise(edges)]
                result[index] = Line(line.base, line.size, [cell for cell in cells if cell], line.last)
    return result


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


def _reaching(whole: list[Line], core: _Band, edges: list[float]) -> _Band | None:
    """A band as far up and down as nothing crosses its gaps; None if something does within it."""
    first, last = core.first, core.last
    if any(_crosses(line, core.gutters) for line in whole[first : last + 1]):
        return None
    while first > 0 and _continues(whole[first - 1], whole[first], core.gutters, edges):
        first -= 1
    while last + 1 < len(whole) and _continues(whole[last + 1], whole[last], core.gutters, edges):
        last += 1
    return _Band(first, last, core.gutters)


def _continues(line: Line, neighbour: Line, gutters: list[float], edges: list[float]) -> bool:
    begins = all(any(abs(cell.x0 - edge) < _EDGE for edge in edges) for cell in line.cells)
    reach = _FAR_APART if begins else _APART
    near = abs(line.base - neighbour.base) <= reach * min(line.size, neighbour.size)
    return near and not _crosses(line, gutters)


def _crosses(line: Line, gutters: list[float]) -> bool:
    return any(cell.x0 < gutter < cell.x1 for cell in line.cells for gutter in gutters)


def _together(whole: list[Line], bands: list[_Band], edges: list[float]) -> list[_Band]:
    """Bands that overlap as one with several columns, as far as nothing crosses any of their gaps."""
    result: list[_Band] = []
    for band in sorted(bands, key=lambda band: (band.first, band.last)):
        last = result[-1] if result else None
        if last is None or band.first > last.last:
            result.append(band)
        elif all(abs(band.gutters[0] - gutter) >= _SAME_GUTTER for gutter in last.gutters):
            gutters = sorted([*last.gutters, *band.gutters])
            core = _Band(max(last.first, band.first), min(last.last, band.last), gutters)
            result[-1] = _reaching(whole, core, edges) or last
        elif not _crosses_any(whole[last.last + 1 : band.last + 1], last.gutters):
            last.last = max(last.last, band.last)
    return result


def _crosses_any(some: list[Line], gutters: list[float]) -> bool:
    return any(_crosses(line, gutters) for line in some)
