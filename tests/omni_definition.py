"""The definition of omni-extract-bench 1.0.0's score, written again from its specification, as slowly as it reads.

A value has the keys that lead to it as its address; null has none. Of a list each of the pairings of its rows is tried:
the best has the most equal values, and of these the most addresses on both sides; rows without an equal value in common
are no pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Common(NamedTuple):
    """What two values have in common."""

    right: int
    shared: int


def size(value: Any) -> int:
    """How many addresses a value has."""
    if isinstance(value, dict):
        return sum(map(size, value.values()))
    if isinstance(value, list):
        return sum(map(size, value))
    return 0 if value is None else 1


def common(gold: Any, answer: Any) -> Common:
    """What two values have in common, by the best pairing."""
    if isinstance(gold, dict) and isinstance(answer, dict):
        found = [common(gold[key], answer[key]) for key in gold.keys() & answer.keys()]
        return Common(sum(one.right for one in found), sum(one.shared for one in found))
    if isinstance(gold, list) and isinstance(answer, list):
        table = [[common(one, other) for other in answer] for one in gold]
        return max(_sums(table, 0, frozenset()), default=Common(0, 0))
    if isinstance(gold, dict | list) or isinstance(answer, dict | list) or gold is None or answer is None:
        return Common(0, 0)
    return Common(int(type(gold) is type(answer) and gold == answer), 1)


def _sums(table: Sequence[Sequence[Common]], row: int, taken: frozenset[int]) -> Iterator[Common]:
    """What each pairing of the rows from this one on has in common."""
    if row == len(table):
        yield Common(0, 0)
        return
    yield from _sums(table, row + 1, taken)
    for column, here in enumerate(table[row]):
        if here.right and column not in taken:
            for rest in _sums(table, row + 1, taken | {column}):
                yield Common(here.right + rest.right, here.shared + rest.shared)


class Score(NamedTuple):
    """The score of one document."""

    accuracy: float
    precision: float
    recall: float
    f1: float


def omni_score(gold: Any, answer: Any) -> Score:
    """The score of one document; what cannot be divided is 0."""
    right, shared = common(gold, answer)
    golds, answered = size(gold), size(answer)
    precision = right / answered if answered else 0.0
    recall = right / golds if golds else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    places = golds + answered - shared
    return Score(right / places if places else 0.0, precision, recall, f1)
