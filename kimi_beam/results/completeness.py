"""Whether an answer has all rows that the text shows, and whether its sums add up.

The text shows a row where a line under the names of columns has at least two numbers. The items of the answer tell
which of these lines are rows of the list that is asked for: a line counts if it has the same kinds of numbers
(`shown_rows.pattern`), under the same names of columns, as one that has been answered. Sums, discounts and notes
between the rows are no rows, and where items are written otherwise than the text shows them, nothing is known to be
missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kimi_beam.results.answered_rows import AnsweredRows
from kimi_beam.results.grounded_values import leaves
from kimi_beam.results.shown_rows import Table, may_be_sum, pattern
from kimi_beam.schema.merge_rules import MergeRules
from kimi_beam.schema.shapes import Term
from kimi_beam.schema.sum_checks import SumCheck

_LEAST_NUMBERS = 2
"""A pattern of so many amounts, percentages or dates tells a row by itself; another one has to be answered twice."""


class Shortfall(NamedTuple):
    """A part, or a whole document, that shows more rows than its answer has."""

    part: int
    """The index of the part."""
    shown: int
    """How many rows the text shows."""
    answered: int
    """How many of them are in the answer."""
    is_clear: bool = True
    """Whether it is worth asking once more. It is not if each missing row repeats one that is answered, as in a copy of
    the document, or if little tells them from other lines."""

    @property
    def figures(self) -> str:
        """What is missing, in one line."""
        return f"the text shows {self.shown} rows, and {self.answered} of them are in the answer"


class _Read(NamedTuple):
    """A table of which some rows are in the answer, or none."""

    columns: str
    answered: list[str]
    missing: list[str]

    @classmethod
    def of(cls, table: Table, flags: Sequence[bool]) -> _Read:
        answered = [row for row, flag in zip(table.rows, flags, strict=True) if flag]
        missing = [row for row, flag in zip(table.rows, flags, strict=True) if not flag]
        return cls(" ".join(table.columns.split()), answered, missing)


def shortfalls(
    shown: Sequence[Sequence[Table]], answers: Sequence[Any], rules: MergeRules | None = None
) -> list[Shortfall]:
    """The parts whose answer lacks rows.

    Args:
        shown: For each part, the tables that its text shows.
        answers: For each part, its answer.
        rules: The rules of the schema, which tell the lists that need not have all rows. None: all lists do.
    """
    items = [list(_items(answer, rules)) for answer in answers]
    if all(sum(len(table.rows) for table in tables) <= len(some) for tables, some in zip(shown, items, strict=True)):
        return []
    read = list(map(_read, shown, items))
    kinds = Counter((table.columns, pattern(row)) for tables, _ in read for table in tables for row in table.answered)
    asked = {columns for columns, _ in kinds}
    found = []
    for part, (tables, unknown) in enumerate(read):
        missing = [(table.columns, row) for table in tables if table.columns in asked for row in table.missing]
        missing = [one for one in missing if (one[0], pattern(one[1])) in kinds and not may_be_sum(one[1])]
        if len(missing) <= unknown:  # an item that no line is known to show may be any of them
            continue
        answered = sum(len(table.answered) for table in tables if table.answered)
        repeated = {row for table in tables for row in table.answered}
        is_clear = any(
            row not in repeated and (len(_telling(pattern(row))) >= _LEAST_NUMBERS or kinds[columns, pattern(row)] > 1)
            for columns, row in missing
        )
        found.append(Shortfall(part, answered + len(missing), answered + unknown, is_clear))
    return found


def unmet_sums(checks: Sequence[SumCheck], answer: Any) -> list[str]:
    """Why the equations of a schema are not fulfilled, one line for each of those."""
    return [problem for check in checks if (problem := check.problem(answer)) is not None]


def _read(tables: Sequence[Table], items: list[list[Any]]) -> tuple[list[_Read], int]:
    """Each table with its rows that are answered and those that are not, and how many items stand in none."""
    known, found, taken = AnsweredRows(items), list[list[bool]](), list[set[int]]()
    for table in tables:
        taken.append(set())
        found.append(known.find(table.rows, taken[-1]))
    with_items = sorted((index for index in range(len(tables)) if taken[index]), key=lambda index: -len(taken[index]))
    if len(with_items) > 1:
        # A table of taxes may have the numbers of an item: the table with most of the items comes first.
        for index in with_items[1:]:
            found[index] = known.find(tables[index].rows, taken[with_items[0]])
    answered = len(taken[with_items[0]]) if with_items else 0
    return list(map(_Read.of, tables, found)), len(items) - answered


def _telling(kinds: str) -> str:
    return kinds.replace("i", "")


def _items(
    answer: Any, rules: MergeRules | None, place: Term | None = None, *, is_root: bool = True
) -> Iterator[list[Any]]:
    """The leaves of each object in an array that has to have all rows, of the innermost such objects."""
    if is_root and rules is not None:
        place = rules.root
    if isinstance(answer, Mapping):
        for name, value in answer.items():
            yield from _items(value, rules, rules.member(place, name) if rules else None, is_root=False)
    elif isinstance(answer, list):
        if rules is not None and not rules.has_all_rows(place, len(answer)):
            return
        inside = rules.item(place) if rules else None
        for item in answer:
            inner = list(_items(item, rules, inside, is_root=False))
            if inner:
                yield from inner
            elif isinstance(item, Mapping) and (values := list(leaves(item))):
                yield values
