"""Rows of tables whose cells are running text: a comparison, a list of clauses and what they mean.

Their cells look like columns of text, but a person reads them row by row. A drawn line over the gap between two columns
says where a row ends. Where none is drawn, rows are told by their gaps: both columns go on at one height after each.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from kimi_beam.input.readers.pdf.layout.page_lines import Line
from kimi_beam.input.readers.pdf.layout.page_words import Rule

_JOINED = 3.0
"""The points between two drawn lines that are seen as one."""
_FEWEST_ROWS = 3
_WIDER = 1.15
"""A gap that is this much wider than the usual one ends a row."""
_SAME_BASE = 0.3
"""Font sizes by which two base lines differ at most that are one."""


def row_starts(lines: Sequence[Line], gutters: Sequence[float], rules: Sequence[Rule]) -> list[int]:
    """The indices of the lines at which rows begin, without the first; none if the columns are not those of a table.

    Args:
        lines: The lines of a stretch that is set in columns, from above.
        gutters: An x inside each gap between two columns.
        rules: The lines that are drawn on the page, from above.
    """
    drawn = [index for index in range(1, len(lines)) if _is_drawn(rules, lines[index - 1], lines[index], gutters)]
    return drawn or _by_gaps(lines, gutters)


def _is_drawn(rules: Sequence[Rule], upper: Line, lower: Line, gutters: Sequence[float]) -> bool:
    """Whether a line is drawn over a gap between two columns, between two lines of text."""
    top, bottom = upper.base - 0.15 * upper.size, lower.base - 0.35 * lower.size
    between = [rule for rule in rules if top < rule.y < bottom]
    for gutter in gutters if between else ():
        left = max((rule.x1 for rule in between if rule.x0 < gutter), default=None)
        right = min((rule.x0 for rule in between if rule.x1 > gutter), default=None)
        if left is not None and right is not None and right - left <= _JOINED:
            return True
    return False


def _by_gaps(lines: Sequence[Line], gutters: Sequence[float]) -> list[int]:
    """The same where no line is drawn: wide gaps end in lines that all columns have, and no column has others."""
    if len(lines) < 2 * _FEWEST_ROWS:
        return []
    usual = median(lower.base - upper.base for upper, lower in pairwise(lines))
    starts = [
        index
        for index in range(1, len(lines))
        if lines[index].base - lines[index - 1].base > _WIDER * usual
        and len(_columns_of(lines[index], gutters)) > len(gutters)
    ]
    if len(starts) < _FEWEST_ROWS - 1:
        return []
    begun = [lines[index].base for index in starts]
    edges = [float("-inf"), *gutters, float("inf")]
    for column in range(len(edges) - 1):
        bases = [line.base for line in lines if column in _columns_of(line, gutters)]
        for upper, lower in pairwise(bases):
            is_start = any(abs(lower - base) <= _SAME_BASE * lines[0].size for base in begun)
            if lower - upper > _WIDER * usual and not is_start:
                return []
    return starts


def _columns_of(line: Line, gutters: Sequence[float]) -> set[int]:
    """The columns in which a line has something."""
    return {sum(cell.x0 >= gutter for gutter in gutters) for cell in line.cells}
