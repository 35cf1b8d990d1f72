"""Lists of an answer that are empty although the text shows a table with their columns.

No item shows what a row of the list is. So a table counts only if the names of its columns are those of at least two
members of the items, and nothing is asked again because of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kimi_beam.results.shown_rows import Table, pattern
from kimi_beam.schema.additional import pointer
from kimi_beam.schema.merge_rules import MergeRules
from kimi_beam.schema.shapes import Term

_LEAST_NAMES = 2
_LEAST_ROWS = 2
_WORD = re.compile(r"[^\W\d_]{3,}")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LEAST_PREFIX = 4
"""Letters of an abbreviation, such as Descr., by which a word is known again."""
_DEPTH = 8


class _List(NamedTuple):
    place: str
    """Where it stands in the answer, as a JSON pointer."""
    words: frozenset[str]
    """The words in the names of its items' members."""


def unanswered_lists(shown: Sequence[Table], answer: Any, rules: MergeRules) -> list[str]:
    """The lists that are empty although the text shows rows for them, in one line each.

    Args:
        shown: The tables that the text shows.
        answer: The answer.
        rules: The rules of the schema.
    """
    found = []
    for empty in _empty_lists(answer, rules, rules.root, "", _DEPTH):
        rows = max((_rows(table) for table in shown if _has_columns_of(table, empty)), default=0)
        if rows >= _LEAST_ROWS:
            found.append(f"{empty.place}: the text shows {rows} rows with these columns, and the answer has none")
    return found


def _rows(table: Table) -> int:
    """How many rows of a table are alike."""
    patterns = list(map(pattern, table.rows))
    return max(map(patterns.count, set(patterns)))


def _has_columns_of(table: Table, empty: _List) -> bool:
    columns = {word.casefold() for word in _WORD.findall(table.columns)}
    return sum(any(_is_same(one, name) for one in columns) for name in empty.words) >= _LEAST_NAMES


def _is_same(column: str, name: str) -> bool:
    """Whether a word of a header is one of a name: Price, Prices and Descr. are price and description."""
    shorter, longer = sorted((column, name), key=len)
    return shorter == longer or (len(shorter) >= _LEAST_PREFIX and longer.startswith(shorter))


def _empty_lists(answer: Any, rules: MergeRules, place: Term | None, path: str, depth: int) -> Iterator[_List]:
    if depth == 0 or not isinstance(answer, Mapping):
        return
    for name, member in rules.members(place).items():
        value, inner = answer.get(name), pointer(path, name)
        if value:
            yield from _empty_lists(value, rules, member, inner, depth - 1)
        elif rules.has_all_rows(member, 0) and (names := rules.members(rules.item(member))):
            words = (word for one in names for word in _WORD.findall(_CAMEL.sub(" ", one).replace("_", " ")))
            yield _List(inner, frozenset(map(str.casefold, words)))
