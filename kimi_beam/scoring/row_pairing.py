"""Pairs the rows of an answer's list with those of the gold's list, so that as many values as possible are right.

The number of values that two rows have in common makes a metric (the values of both without those in common, twice).
So a pair of equal rows belongs to some best pairing (pair each of their other partners with one another: by the
triangle inequality that is no worse), and only the rest has to be assigned. A gold row that accepts several values is
no point of such a space, and is left to the rest.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from kimi_beam.scoring.assignment import best_assignment
from kimi_beam.scoring.flat_rows import Accepted, Address, Row, shown_address

MOST_COMPARED = 1_000_000
"""So many pairs of a list's differing rows, those in their own lists included, are compared to find the best pairing.
They take some seconds."""


class Common(NamedTuple):
    """What two rows have in common, their lists' best pairings included."""

    right: int
    """How many values are right."""
    shared: int
    """How many places have a value in both."""


class Pair(NamedTuple):
    """Two rows that belong together."""

    gold: int
    """The index of the gold's row."""
    answered: int
    """The index of the answer's row."""
    common: Common


class Pairing(NamedTuple):
    """Which rows belong together."""

    pairs: list[Pair]
    """In the order of the gold."""
    is_exact: bool
    """Whether no pairing has more right values; False if too many rows differ for `MOST_COMPARED`."""


def is_right(gold: Hashable, answered: Hashable) -> bool:
    """Whether an answer's value is that of the gold, or one that the gold accepts."""
    return gold == answered or (type(gold) is Accepted and answered in gold.keys)


def common(gold: Row, answered: Row) -> Common:
    """What two rows have in common."""
    shared = len(gold.named.keys() & answered.named.keys())
    if not gold.has_choice:
        right = len(gold.pairs & answered.pairs)
    else:
        others = answered.named
        right = sum(1 for at, key in gold.named.items() if at in others and is_right(key, others[at]))
    if gold.lists and answered.lists:
        for at in gold.lists.keys() & answered.lists.keys():
            for one in pair(gold.lists[at], answered.lists[at]).pairs:
                right += one.common.right
                shared += one.common.shared
    return Common(right, shared)


def pair(golds: Sequence[Row], answered: Sequence[Row]) -> Pairing:
    """The pairing of two lists' rows with the most right values.

    Equal rows are paired first; of the pairings of the rest, those with the most right values count, and of these one
    with the most places that have a value on both sides. Rows without a right value in common are never paired.
    """
    if not golds or not answered:
        return Pairing([], is_exact=True)
    pairs, left_golds, left_answered = _equal_rows(golds, answered)
    left_golds, left_answered = _related(golds, left_golds, answered, left_answered)
    compared = sum(golds[index].rows for index in left_golds) * sum(answered[index].rows for index in left_answered)
    is_exact = compared <= MOST_COMPARED
    if left_golds and left_answered:
        # Sorted by their values, so that the order in which they came decides nothing.
        left_golds.sort(key=lambda index: golds[index].order)
        left_answered.sort(key=lambda index: answered[index].order)
        pairs += (_assigned if is_exact else _nearly)(golds, left_golds, answered, left_answered)
    return Pairing(sorted(pairs), is_exact)


def _equal_rows(golds: Sequence[Row], answered: Sequence[Row]) -> tuple[list[Pair], list[int], list[int]]:
    """The pairs of equal rows, and the indices of the other rows."""
    waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index in range(len(golds) - 1, -1, -1):
        if not golds[index].has_choice:
            waiting[golds[index].content].append(index)
    pairs, left_answered = list[Pair](), list[int]()
    for index, row in enumerate(answered):
        if found := waiting.get(row.content):
            pairs.append(Pair(found.pop(), index, Common(row.size, row.size)))
        else:
            left_answered.append(index)
    taken = {one.gold for one in pairs}
    return pairs, [index for index in range(len(golds)) if index not in taken], left_answered


def _related(
    golds: Sequence[Row], left_golds: list[int], answered: Sequence[Row], left_answered: list[int]
) -> tuple[list[int], list[int]]:
    """The rows that have a value in common with some row of the other side: no other can be paired."""
    if not left_golds or not left_answered:
        return [], []
    if any(golds[index].has_choice or golds[index].lists for index in left_golds):
        return left_golds, left_answered
    known = {one for index in left_answered for one in answered[index].named.items()}
    left_golds = [index for index in left_golds if not known.isdisjoint(golds[index].named.items())]
    known = {one for index in left_golds for one in golds[index].named.items()}
    left_answered = [index for index in left_answered if not known.isdisjoint(answered[index].named.items())]
    return left_golds, left_answered


def _assigned(
    golds: Sequence[Row], left_golds: Sequence[int], answered: Sequence[Row], left_answered: Sequence[int]
) -> list[Pair]:
    """The best pairs of some rows."""
    scale = 1 + sum(answered[index].size for index in left_answered)
    weights = np.zeros((len(left_golds), len(left_answered)), np.int64)
    for i, gold in enumerate(left_golds):
        for j, other in enumerate(left_answered):
            right, shared = common(golds[gold], answered[other])
            if right:
                weights[i, j] = right * scale + shared
    pairs: list[Pair] = []
    for i, j in enumerate(best_assignment(weights)):
        if j >= 0 and weights[i, j]:
            pairs.append(Pair(left_golds[i], left_answered[j], Common(*divmod(int(weights[i, j]), scale))))
    return pairs


def _nearly(
    golds: Sequence[Row], left_golds: Sequence[int], answered: Sequence[Row], left_answered: Sequence[int]
) -> list[Pair]:
    """Good pairs of very many rows: first those that differ in one value alone, then the best of stretches."""
    pairs: list[Pair] = []
    open_golds, open_answered = dict.fromkeys(left_golds), dict.fromkeys(left_answered)
    for address in sorted({at for index in left_golds for at in golds[index].named}, key=shown_address):
        waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index in reversed(open_golds):
            waiting[_without(golds[index], address)].append(index)
        for index in list(open_answered):
            found = waiting.get(rest) if (rest := _without(answered[index], address)) else None
            if found:
                gold = found.pop()
                pairs.append(Pair(gold, index, common(golds[gold], answered[index])))
                del open_golds[gold], open_answered[index]
    for some_golds, some_answered in _stretches(golds, list(open_golds), answered, list(open_answered)):
        pairs += _assigned(golds, some_golds, answered, some_answered)
    return pairs


def _stretches(
    golds: Sequence[Row], left_golds: list[int], answered: Sequence[Row], left_answered: list[int]
) -> Iterator[tuple[list[int], list[int]]]:
    """Parts of both lists, in their order, each of which can be compared; at least one row of both is in each."""
    while left_golds and left_answered:
        each = (_beginning(golds, left_golds), _beginning(answered, left_answered))
        yield left_golds[: each[0]], left_answered[: each[1]]
        left_golds, left_answered = left_golds[each[0] :], left_answered[each[1] :]


def _beginning(rows: Sequence[Row], indices: Sequence[int]) -> int:
    """How many rows of the beginning, with those of their lists, may be compared with as many others."""
    most, total = math.isqrt(MOST_COMPARED) // 2, 0
    for count, index in enumerate(indices):
        total += rows[index].rows
        if total > most and count:
            return count
    return len(indices)


def _without(row: Row, address: Address) -> frozenset[tuple[Address, Hashable]]:
    return frozenset((at, key) for at, key in row.named.items() if at != address)
