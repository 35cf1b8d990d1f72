"""Rows of tables whose cells are wrapped, or set at another height, as one line.

A name that goes on below its first line belongs to the amounts beside it. Two lines are one row if they stand close
together, neither has a number where the other has something, and what goes on is in the same font. Two rows both have
amounts in one column, so they stay apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from kimi_beam.input.readers.page_lines import Cell, Line

_CLOSE = 1.85
"""The most font sizes between the base lines of two lines of one row."""
_OFFSET = 0.8
"""Lines nearer than this many font sizes overlap: cells of one row at another height, not lines of a text."""
_NEARER = 0.92
"""The lines of one row are nearer than this share of the distance between two rows."""
_WIDER = 1.15
"""A gap that is this much wider than the one beside it sets rows apart."""
_ALIGNED = 1.0
"""Lines of one cell begin or end within this many font sizes, or have their middle there."""


@dataclass(slots=True)
class _Group:
    """Neighbouring lines that are one row, or a line alone.

    Attributes:
        lines: The lines, from above.
        cells: Their cells, those of one column as one.
        amounts: The index in `lines` of the line that has the row's amounts.
    """

    lines: list[Line]
    cells: list[Cell]
    amounts: int = 0

    @property
    def numbers(self) -> int:
        return sum(cell.is_number for cell in self.cells)

    @property
    def is_row(self) -> bool:
        return _is_row(self.cells)

    def line(self) -> Line:
        if len(self.lines) == 1:
            return self.lines[0]
        first = self.lines[0]
        return Line(first.base, first.size, sorted(self.cells, key=lambda cell: cell.x0), self.lines[-1].base)


def join_wrapped_rows(region: list[Line]) -> list[Line]:
    """The lines of a region, in which the lines of one row are one.

    The nearest lines are put together first, of equally near ones the upper: the text of a cell goes on below it.

    Args:
        region: The lines, from above.

    Returns:
        The lines, from above; those that were put together are replaced by a new one.
    """
    if not any(cell.is_amount for line in region for cell in line.cells):
        return region
    pitch = _distance_of_rows(region)
    groups = [_Group([line], line.cells) for line in region]
    changed = True
    while changed:
        changed = False
        gaps = sorted((round(_gap(upper, lower), 1), index) for index, (upper, lower) in _neighbours(groups))
        merged: dict[int, _Group] = {}
        for _, index in gaps:
            upper = _last_form(groups[index], merged)
            lower = _last_form(groups[index + 1], merged)
            if (row := _row_of(upper, lower, pitch)) is not None:
                merged[id(upper)] = merged[id(lower)] = row
                changed = True
        groups = _without_repeats([_last_form(group, merged) for group in groups])
    return [group.line() for group in _with_centred(groups)]


def _neighbours(groups: list[_Group]) -> list[tuple[int, tuple[_Group, _Group]]]:
    return list(enumerate(pairwise(groups)))


def _last_form(group: _Group, merged: dict[int, _Group]) -> _Group:
    while id(group) in merged:
        group = merged[id(group)]
    return group


def _without_repeats(groups: list[_Group]) -> list[_Group]:
    return [group for index, group in enumerate(groups) if not index or group is not groups[index - 1]]


def _gap(upper: _Group, lower: _Group) -> float:
    return lower.lines[0].base - upper.lines[-1].base


def _is_row(cells: list[Cell]) -> bool:
    """Whether cells look like a row of a table: a text and two numbers at least, one of them an amount."""
    return len(cells) >= 3 and sum(cell.is_number for cell in cells) >= 2 and any(cell.is_amount for cell in cells)


def _distance_of_rows(region: list[Line]) -> float:
    """The distance of two complete rows without anything between them, the smallest of the region."""
    complete = [_is_row(line.cells) for line in region]
    apart = (
        region[index + 1].base - region[index].base
        for index in range(len(region) - 1)
        if complete[index] and complete[index + 1]
    )
    return min(apart, default=float("inf"))


def _row_of(upper: _Group, lower: _Group, pitch: float) -> _Group | None:
    """Two groups as one row; None if they are none."""
    size = min(upper.lines[-1].size, lower.lines[0].size)
    gap = _gap(upper, lower)
    if gap > _CLOSE * size or (upper.is_row and lower.is_row):
        return None
    if not upper.numbers and gap > _OFFSET * size:
        return None  # what stands above is a heading or the end of the row before
    if gap >= _NEARER * pitch and not _goes_on_inside(upper, lower):
        return None
    cells = _joined_cells(upper, lower)
    if cells is None or not _is_row(cells):
        return None
    amounts = upper.amounts if upper.numbers >= lower.numbers else len(upper.lines) + lower.amounts
    return _Group([*upper.lines, *lower.lines], cells, amounts)


def _goes_on_inside(upper: _Group, lower: _Group) -> bool:
    """Whether the lower lines are texts right of the row's first cell, where no row and no heading begins."""
    return not lower.numbers and lower.cells[0].x0 > min(upper.cells, key=lambda cell: cell.x0).x1


def _joined_cells(upper: _Group, lower: _Group) -> list[Cell] | None:
    """The cells of two groups, one below the other as one; None if they do not go together."""
    left, right = min(cell.x0 for cell in upper.cells), max(cell.x1 for cell in upper.cells)
    partners: dict[int, Cell] = {}
    alone: list[Cell] = []
    upper_cells, lower_cells = _split_at(upper.cells, lower.cells), _split_at(lower.cells, upper.cells)
    for cell in lower_cells:
        above = [other for other in upper_cells if other.overlaps(cell)]
        if not above:
            if not cell.is_number and not left <= cell.x0 <= right:
                return None
            alone.append(cell)
        elif len(above) > 1 or id(above[0]) in partners or not _goes_on(above[0], cell):
            return None
        else:
            partners[id(above[0])] = cell
    return [
        Cell([*cell.words, *partners[id(cell)].words]) if id(cell) in partners else cell for cell in upper_cells
    ] + alone


def _split_at(cells: list[Cell], others: list[Cell]) -> list[Cell]:
    """Cells, split where a word begins right below or above another cell: columns may be a single space apart."""
    edges = [cell.x0 for cell in others]
    result: list[Cell] = []
    for cell in cells:
        start = 0
        for index in range(1, len(cell.words)):
            word = cell.words[index]
            if word.base == cell.words[index - 1].base and any(abs(word.x0 - x) < 0.3 * word.size for x in edges):
                result.append(Cell(cell.words[start:index]))
                start = index
        result.append(Cell(cell.words[start:]) if start else cell)
    return result


def _goes_on(above: Cell, below: Cell) -> bool:
    """Whether one text goes on in another: in the same font, at the same edge or around the same middle."""
    before, after = above.words[-1], below.words[0]
    if above.is_number or below.is_number or before.font != after.font or abs(before.size - after.size) > 0.5:
        return False
    reach = _ALIGNED * after.size
    middles = (above.x0 + above.x1) / 2, (below.x0 + below.x1) / 2
    return abs(above.x0 - below.x0) < reach or abs(above.x1 - below.x1) < reach or abs(middles[0] - middles[1]) < reach


def _with_centred(groups: list[_Group]) -> list[_Group]:
    """Rows whose amounts stand beside the middle of a wrapped text, with the lines of the text above the amounts too.

    As many lines above belong to the row as below, if they are as near to each other and further from the row before.
    """
    result: list[_Group] = []
    for group in groups:
        below = len(group.lines) - 1 - group.amounts
        wanted = below - group.amounts
        if not group.is_row or wanted < 1 or len(result) < wanted:
            result.append(group)
            continue
        above = result[-wanted:]
        before = result[-wanted - 1] if len(result) > wanted else None
        gap = _gap(above[-1], group)
        near = _CLOSE * group.lines[0].size
        outside = _gap(before, above[0]) if before else float("inf")
        if gap > near or outside < _WIDER * gap or any(len(other.lines) > 1 or other.numbers for other in above):
            result.append(group)
            continue
        row: _Group | None = group
        for other in reversed(above):
            if row is None or abs(_gap(other, row) - gap) > 0.1 * gap or (cells := _joined_cells(other, row)) is None:
                row = None
                break
            row = _Group([*other.lines, *row.lines], cells, row.amounts + len(other.lines))
        if row is None:
            result.append(group)
        else:
            result[-wanted:] = [row]
    return result
