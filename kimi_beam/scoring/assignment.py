"""Assigns rows to columns so that the sum of their weights is greatest (shortest augmenting paths, in NumPy).

SciPy's `linear_sum_assignment` does the same; it alone would add more to each worker than all else that is installed.
The method is that of Crouse, "On implementing 2D rectangular assignment algorithms" (2016).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Weights: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
"""Rows by columns. The sum of a row's and a column's greatest weight has to fit into 60 bits."""
_FAR = np.iinfo(np.int64).max // 4


def best_assignment(weights: Weights) -> list[int]:
    """The column of each row, -1 for a row that has none: as many pairs as there are rows or columns.

    Of several best assignments it is always the same one for the same weights.
    """
    rows, columns = weights.shape
    if rows <= columns:
        return [int(column) for column in _assign(-weights)]
    found = [-1] * rows
    for column, row in enumerate(_assign(-weights.T).tolist()):
        found[row] = column
    return found


def _assign(cost: Weights) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The column of each row, for no more rows than columns, so that the sum of the costs is least."""
    rows, columns = cost.shape
    column_of, row_of = np.full(rows, -1), np.full(columns, -1)
    if not rows:
        return column_of
    # A row's potential is at first its least cost, so that a row whose cheapest column is free takes it at once.
    row_potential, column_potential = cost.min(axis=1), np.zeros(columns, np.int64)
    for row, column in enumerate(cost.argmin(axis=1).tolist()):
        if row_of[column] < 0:
            column_of[row], row_of[column] = column, row
    for row in np.flatnonzero(column_of < 0).tolist():
        _augment(row, cost, column_of, row_of, row_potential, column_potential)
    return column_of


def _augment(
    start: int, cost: Weights, column_of: Any, row_of: Any, row_potential: Weights, column_potential: Weights
) -> None:
    """Finds a free column along the cheapest path of exchanges, and makes the exchanges."""
    columns = cost.shape[1]
    distance = np.full(columns, _FAR)
    before = np.full(columns, -1)
    is_done = np.zeros(columns, bool)
    visited: list[int] = []
    row, least = start, 0
    while True:
        visited.append(row)
        through = least + cost[row] - row_potential[row] - column_potential
        is_nearer = (through < distance) & ~is_done
        distance[is_nearer] = through[is_nearer]
        before[is_nearer] = row
        # Of equally near columns a free one is taken, where the way ends.
        column = int(np.where(is_done, _FAR, 2 * distance + (row_of >= 0)).argmin())
        least = int(distance[column])
        is_done[column] = True
        if row_of[column] < 0:
            break
        row = int(row_of[column])
    row_potential[start] += least
    others = visited[1:]
    row_potential[others] += least - distance[column_of[others]]
    column_potential[is_done] -= least - distance[is_done]
    while True:
        row = int(before[column])
        row_of[column] = row
        column, column_of[row] = int(column_of[row]), column
        if row == start:
            return
