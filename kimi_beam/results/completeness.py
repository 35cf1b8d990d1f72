"""Whether an answer has all rows that the text shows, and whether its sums add up.

The text shows a row where a line under the names of columns has at least two numbers. A table counts only if its kind
is asked for: some of its rows, or of a table with the same columns in another part, are in the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kimi_beam.results.grounded_values import GroundedText, leaves
from kimi_beam.results.shown_rows import Table
from kimi_beam.schema.sum_checks import SumCheck

_LEAST_LEAVES = 2
"""An item is known again in a row by at least so many of its texts and numbers."""


class Shortfall(NamedTuple):
    """A part that shows more rows than its answer has."""

    part: int
    """The index of the part."""
    shown: int
    """How many rows the text shows."""
    answered: int
    """How many of them are in the answer."""


def shortfalls(shown: Sequence[Sequence[Table]], answers: Sequence[Any]) -> list[Shortfall]:
    """The parts whose answer lacks rows.

    Args:
        shown: For each part, the tables that its text shows.
        answers: For each part, its answer.
    """
    counted = [
        [_Counted.of(table, list(_items(answer))) for table in tables]
        for tables, answer in zip(shown, answers, strict=True)
    ]
    asked = {table.columns for tables in counted for table in tables if table.answered}
    found = []
    for part, tables in enumerate(counted):
        wanted = [table for table in tables if table.columns in asked]
        rows, answered = sum(table.rows for table in wanted), sum(table.answered for table in wanted)
        if answered < rows:
            found.append(Shortfall(part, rows, answered))
    return found


class _Counted(NamedTuple):
    """A table, and how many of its rows are in the answer."""

    columns: str
    rows: int
    answered: int

    @classmethod
    def of(cls, table: Table, items: Sequence[list[Any]]) -> _Counted:
        return cls(" ".join(table.columns.split()), len(table.rows), _answered(table.rows, items))


def unmet_sums(checks: Sequence[SumCheck], answer: Any) -> list[str]:
    """Why the equations of a schema are not fulfilled, one line for each of those."""
    return [problem for check in checks if (problem := check.problem(answer)) is not None]


def _answered(rows: Sequence[str], items: Sequence[list[Any]]) -> int:
    """How many rows are in the answer. Each item stands for one row, in the order of both."""
    found, waiting = 0, list(items)
    for row in rows:
        text = GroundedText(row)
        place = next((index for index, item in enumerate(waiting) if _stands_in(item, text)), None)
        if place is not None:
            waiting.pop(place)
            found += 1
    return found


def _stands_in(item: Sequence[Any], row: GroundedText) -> bool:
    """Whether a row has most texts and numbers of an item: a name may go on in the line below."""
    known = sum(map(row.has, item))
    return known >= _LEAST_LEAVES and 2 * known >= len(item)


def _items(answer: Any) -> Iterator[list[Any]]:
    """The leaves of each object in an array, of the innermost such objects."""
    if isinstance(answer, Mapping):
        for value in answer.values():
            yield from _items(value)
    elif isinstance(answer, list):
        for item in answer:
            inner = list(_items(item))
            if inner:
                yield from inner
            elif isinstance(item, Mapping):
                yield list(leaves(item))
