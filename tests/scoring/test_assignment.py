"""The assignment of rows is a best one: no other has a greater sum."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from kimi_beam.scoring.assignment import best_assignment


def _sum(weights: np.ndarray, columns: list[int]) -> int:
    return sum(int(weights[row, column]) for row, column in enumerate(columns) if column >= 0)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (5, 1), (3, 3), (4, 6), (6, 4), (6, 6)])
@pytest.mark.parametrize("greatest", [2, 10, 10**15])
def test_no_other_assignment_of_a_small_table_has_a_greater_sum(rows: int, columns: int, greatest: int) -> None:
    chance = np.random.default_rng([rows, columns, greatest])
    for _ in range(25):
        weights = chance.integers(0, greatest, (rows, columns))
        found = best_assignment(weights)
        taken = [column for column in found if column >= 0]
        assert len(set(taken)) == len(taken) == min(rows, columns)
        table = weights if rows <= columns else weights.T
        tried = permutations(range(table.shape[1]), table.shape[0])
        assert _sum(weights, found) == max(_sum(table, list(one)) for one in tried)


def test_no_exchange_of_columns_improves_a_large_table() -> None:
    """By a cycle of exchanges any assignment turns into any other: Bellman and Ford find none that gains."""
    chance = np.random.default_rng(7)
    for greatest in (3, 50, 10**9):
        weights = chance.integers(0, greatest, (120, 120))
        found = best_assignment(weights)
        loss = weights[np.arange(120), found][:, None] - weights[:, found]  # of giving a row the column of another
        distance = np.zeros(120, np.int64)
        for _ in range(120):
            nearer = (distance[:, None] + loss).min(axis=0)
            if (nearer >= distance).all():
                break
            distance = np.minimum(nearer, distance)
        else:
            raise AssertionError("a cycle of exchanges has a greater sum")


def test_a_table_without_rows_or_columns_has_no_pair() -> None:
    assert best_assignment(np.zeros((0, 3), np.int64)) == []
    assert best_assignment(np.zeros((3, 0), np.int64)) == [-1, -1, -1]
