"""Rows of tables whose cells are wrapped, or set at another height, as one line.

A name that goes on below its first line belongs to the amounts beside it. Lines are one row if they stand close
together without a drawn line between them, none has a number where another has something, and a text goes on in the
same font at the same edge. Two rows both have amounts in one column, so they stay apart. Where it cannot be told to
which of two rows a line belongs, it stays a line.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise

from kimi_beam.input.readers.pdf.layout.page_lines import Cell, Line, cell_of
from kimi_beam.input.readers.pdf.layout.page_words import Rule

_CLOSE = 1.85
"""The most font sizes between the base lines of two lines of one row."""
_CLOSE_IN_A_BOX = 3.0
"""The same, for lines between the same two drawn lines."""
_OFFSET = 0.8
"""Lines nearer than this many font sizes overlap: cells of one row at another height, not lines of a text."""
_NEARER = 0.92
"""The lines of one row are nearer than this share of the distance between two rows."""
_WIDER = 1.12
"""A gap that is this much wider than one beside it sets rows apart."""
_ALIGNED = 1.0
"""Lines of one cell begin or end within this many font sizes, or have their middle there."""
_UNIT = 4
"""The most characters of a currency or a unit that stands above or below its number."""
_OVERHANG = 0.35
"""The share of a text that may stand below the number beside it."""
_COVERED = 0.6
"""The share of a line's width that a drawn line covers to part it from the next."""


class _Group:
    """Neighbouring lines that are one row, or a line alone.

    Attributes:
        lines: The lines, from above.
        cells: Their cells, those of one column as one.
        numbers: How many of the cells are numbers.
        is_row: Whether they look like a row of a table: a text and two numbers at least, one of them an amount.
    """

    __slots__ = ("cells", "is_row", "lines", "numbers")

    def __init__(self, lines: list[Line], cells: list[Cell]) -> None:
        self.lines, self.cells = lines, cells
        self.numbers = sum([cell.is_number for cell in cells])
        self.is_row = len(cells) >= 3 and self.numbers >= 2 and any(cell.is_amount for cell in cells)

    def line(self) -> Line:
        if len(self.lines) == 1:
            return self.lines[0]
        first = self.lines[0]
        return Line(first.base, first.size, sorted(self.cells, key=lambda cell: cell.x0), self.lines[-1].base)


def join_wrapped_rows(region: list[Line], rules: list[Rule]) -> list[Line]:
    """The lines of a region, in which the lines of one row are one.

    Args:
        region: The lines, from above.
        rules: The lines that are drawn on the page, from above.

    Returns:
        The lines, from above; those that were put together are replaced by a new one.
    """
    if not any(cell.is_amount for line in region for cell in line.cells):
        return region
    groups = [_Group([line], line.cells) for line in region]
    heights = [rule.y for rule in rules]
    walls = [bool(rules) and _is_wall(rules, heights, upper, lower) for upper, lower in pairwise(region)]
    joined: list[_Group] = []
    start = 0
    for index in range(len(groups)):
        if index + 1 == len(groups) or walls[index]:
            is_box = start > 0 and index + 1 < len(groups)
            part = _with_cells_at_other_heights(groups[start : index + 1])
            joined += _one_row(part) if is_box else _with_texts(part)
            start = index + 1
    return [group.line() for group in joined]


def _is_wall(rules: list[Rule], heights: list[float], upper: Line, lower: Line) -> bool:
    """Whether a line, of which the heights are known, is drawn between two lines of text, along most of the wider."""
    top, bottom = upper.base - 0.15 * upper.size, lower.base - 0.35 * lower.size
    between = rules[bisect_right(heights, top) : bisect_left(heights, bottom)]
    if not between:
        return False
    wider = max((upper, lower), key=lambda line: line.cells[-1].x1 - line.cells[0].x0)
    left, right = wider.cells[0].x0, wider.cells[-1].x1
    covered, end = 0.0, left
    for rule in sorted(between):
        covered += max(min(rule.x1, right) - max(rule.x0, end), 0)
        end = max(end, rule.x1)
    return covered >= _COVERED * (right - left)


def _gap(upper: _Group, lower: _Group) -> float:
    return lower.lines[0].base - upper.lines[-1].base


def _size(upper: _Group, lower: _Group) -> float:
    return min(upper.lines[-1].size, lower.lines[0].size)


# ------------------------------------------------------------------------------------------------ which lines


def _with_cells_at_other_heights(groups: list[_Group]) -> list[_Group]:
    """Lines that overlap, and lines that both have numbers, as one row; the nearest first."""
    apart: set[tuple[_Group, _Group]] = set()
    changed = True
    while changed:
        changed = False
        for _, index in sorted(_near(groups)):
            pair = groups[index], groups[index + 1]
            if pair in apart:
                continue
            if (row := _row_of(*pair)) is not None:
                groups = [*groups[:index], row, *groups[index + 2 :]]
                changed = True
                break
            apart.add(pair)
    return groups


def _near(groups: list[_Group]) -> Iterator[tuple[float, int]]:
    """The gaps of lines that may be one row at two heights, and the index of the upper one."""
    for index, (upper, lower) in enumerate(pairwise(groups)):
        if not (upper.numbers or lower.numbers) or (upper.is_row and lower.is_row):
            continue
        gap = _gap(upper, lower)
        if gap <= (_CLOSE if upper.numbers and lower.numbers else _OFFSET) * _size(upper, lower):
            yield round(gap, 1), index


def _one_row(groups: list[_Group]) -> list[_Group]:
    """Lines between two drawn lines: one row, if one of them has its amounts and the others go with it."""
    rows = [index for index, group in enumerate(groups) if group.is_row]
    return _around(groups, rows[0], _CLOSE_IN_A_BOX) if len(rows) == 1 else _with_texts(groups)


def _with_texts(groups: list[_Group]) -> list[_Group]:
    """Rows with the lines of text that belong to them, where no drawn line says it: wide gaps part the rows."""
    gaps = [_gap(*pair) for pair in pairwise(groups)]
    blocks: list[list[_Group]] = []
    start = 0
    for index in range(len(groups)):
        if index + 1 == len(groups) or _is_wide(gaps, index, groups[index : index + 2]):
            blocks.append(groups[start : index + 1])
            start = index + 1
    ends = [_place_of_only_row(block) for block in blocks]
    below_amounts = sum(place is not None and place < len(block) - 1 for place, block in zip(ends, blocks, strict=True))
    above_amounts = sum(
        place is not None and 0 < place == len(block) - 1 for place, block in zip(ends, blocks, strict=True)
    )
    # Amounts stand beside the last line of a text only where more than one row shows it, and none another thing.
    at_the_end = above_amounts > 1 and not below_amounts
    return [row for block in blocks for row in _with_texts_of_block(block, at_the_end=at_the_end)]


def _place_of_only_row(block: list[_Group]) -> int | None:
    """The index of a block's row; None if it has none or several."""
    rows = [index for index, group in enumerate(block) if group.is_row]
    return rows[0] if len(rows) == 1 else None


def _is_wide(gaps: list[float], index: int, pair: list[_Group]) -> bool:
    """Whether a gap is wider than one beside it, or too wide for lines of one row."""
    beside = [gaps[other] for other in (index - 1, index + 1) if 0 <= other < len(gaps)]
    size = _size(*pair)
    return gaps[index] > _CLOSE * size or any(gaps[index] > _WIDER * gap for gap in beside if gap > _OFFSET * size)


def _with_texts_of_block(block: list[_Group], *, at_the_end: bool) -> list[_Group]:
    """The same for lines without a wide gap between them."""
    rows = [index for index, group in enumerate(block) if group.is_row]
    if not rows:
        return block
    first = rows[0]
    above = first > 0 and not block[first - 1].numbers and _row_of(block[first - 1], block[first]) is not None
    if len(rows) == 1:
        below = len(block) - 1 - first
        # A text that stands beside its middle has about as many lines above the amounts as below.
        if above and ((first <= below + 1 and below) or at_the_end):
            return _around(block, first, _CLOSE)
        return [*block[:first], *_going_on(block[first:], float("inf"))]
    if above:
        return block  # rows may begin above their amounts, so a text between two rows may belong to either
    pitch = min((block[b].lines[0].base - block[a].lines[0].base for a, b in pairwise(rows) if b == a + 1), default=1e9)
    joined = block[:first]
    for start, end in pairwise([*rows, len(block)]):
        joined += _going_on(block[start:end], pitch)
    return joined


def _going_on(groups: list[_Group], pitch: float) -> list[_Group]:
    """A row and the lines below it, those that go on in its cells as part of it.

    Args:
        groups: The row and the lines of text below it.
        pitch: The distance of two rows without a text between them.
    """
    row = groups[0]
    for index, group in enumerate(groups[1:], 1):
        if _gap(row, group) >= _NEARER * pitch and not _goes_on_inside(row, group):
            return [row, *groups[index:]]
        if _gap(row, group) > _CLOSE * _size(row, group) or (joined := _row_of(row, group)) is None:
            return [row, *groups[index:]]
        row = joined
    return [row]


def _around(groups: list[_Group], place: int, close: float) -> list[_Group]:
    """A row with the lines above and below it that go with it."""
    row, first, last = groups[place], place, place
    while last + 1 < len(groups) and _gap(row, groups[last + 1]) <= close * _size(row, groups[last + 1]):
        if (joined := _row_of(row, groups[last + 1])) is None:
            break
        row, last = joined, last + 1
    while first > 0 and _gap(groups[first - 1], row) <= close * _size(groups[first - 1], row):
        if (joined := _row_of(groups[first - 1], row)) is None:
            break
        row, first = joined, first - 1
    return [*groups[:first], row, *groups[last + 1 :]]


def _goes_on_inside(upper: _Group, lower: _Group) -> bool:
    """Whether the lower line is text right of the row's first cell, where no row and no heading begins."""
    return not lower.numbers and lower.cells[0].x0 > min(upper.cells, key=lambda cell: cell.x0).x1


# ------------------------------------------------------------------------------------------------ which cells


def _row_of(upper: _Group, lower: _Group) -> _Group | None:
    """Two groups as one row; None if they are none."""
    if upper.is_row and lower.is_row:
        return None
    cells = _joined_cells(upper, lower)
    if cells is None:
        return None
    row = _Group([*upper.lines, *lower.lines], cells)
    return row if row.is_row else None


def _joined_cells(upper: _Group, lower: _Group) -> list[Cell] | None:
    """The cells of two groups, one below the other as one; None if they do not go together."""
    left, right = min(cell.x0 for cell in upper.cells), max(cell.x1 for cell in upper.cells)
    partners: dict[int, Cell] = {}
    alone: list[Cell] = []
    overhanging: list[Cell] = []
    upper_cells, lower_cells = _split_at(upper.cells, lower.cells), _split_at(lower.cells, upper.cells)
    for cell in lower_cells:
        above = [other for other in upper_cells if other.overlaps(cell)]
        if not above:
            if not cell.is_number and not left <= cell.x0 <= right and not upper.is_row and not lower.is_row:
                return None
            alone.append(cell)
        elif len(above) == 1 and _overhangs(cell, above[0]):
            overhanging.append(cell)
        elif len(above) > 1 or id(above[0]) in partners or not _goes_on(above[0], cell):
            return None
        else:
            partners[id(above[0])] = cell
    if overhanging and not partners:
        return None
    return [
        cell_of([*cell.words, *partners[id(cell)].words]) if id(cell) in partners else cell for cell in upper_cells
    ] + [*alone, *overhanging]


def _overhangs(below: Cell, above: Cell) -> bool:
    """Whether a text that begins left of a number reaches below it only with its end."""
    if below.is_number or not above.is_number or below.x0 > above.x0 - below.words[0].size:
        return False
    return below.x1 - above.x0 <= _OVERHANG * (below.x1 - below.x0)


def _split_at(cells: list[Cell], others: list[Cell]) -> list[Cell]:
    """Cells, split where a word begins right below or above another cell: columns may be a single space apart."""
    # The left edge of numbers is at no fixed place.
    edges = sorted([cell.x0 for cell in others if not cell.is_number])
    if not edges:
        return cells
    edges.append(float("inf"))
    result: list[Cell] = []
    for cell in cells:
        start = 0
        for index in range(1, len(cell.words)):
            word = cell.words[index]
            near = 0.3 * word.size
            is_at_an_edge = edges[bisect_right(edges, word.x0 - near)] < word.x0 + near
            if is_at_an_edge and word.base == cell.words[index - 1].base:
                result.append(cell_of(cell.words[start:index]))
                start = index
        result.append(cell_of(cell.words[start:]) if start else cell)
    return result


def _goes_on(above: Cell, below: Cell) -> bool:
    """Whether one text goes on in another: in the same font, at the same edge or around the same middle."""
    before, after = above.words[-1], below.words[0]
    if above.is_number != below.is_number:  # a sum of money and its currency
        short = below if above.is_number else above
        return len(short.text) <= _UNIT and cell_of([*above.words, *below.words]).is_number
    if above.is_number or before.font != after.font or abs(before.size - after.size) > 0.5:
        return False
    reach = _ALIGNED * after.size
    middles = (above.x0 + above.x1) / 2, (below.x0 + below.x1) / 2
    return abs(above.x0 - below.x0) < reach or abs(above.x1 - below.x1) < reach or abs(middles[0] - middles[1]) < reach
