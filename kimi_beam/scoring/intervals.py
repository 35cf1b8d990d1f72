"""How sure a score is: Wilson's interval of a share, and the paired bootstrap of the difference of two runs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np

_Z = 1.959963984540054
"""The normal quantile of 97.5 %."""
_AT_ONCE = 4_000_000
"""So many weights of documents are drawn at once, 32 MB."""

Counts: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
"""For each document (first axis) and each field (second axis): right values, predicted values, values of the gold."""


def wilson(successes: int, trials: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share; None without trials."""
    if not trials:
        return None
    share, square = successes / trials, _Z * _Z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = _Z / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    return (max(0.0, middle - half) if successes else 0.0, min(1.0, middle + half) if successes < trials else 1.0)


class Difference(NamedTuple):
    """By how much the F1 of a second run differs from that of a first."""

    difference: float
    """The second's F1 less the first's."""
    low: float
    """The lower end of the bootstrap's 95 % interval of the difference."""
    high: float
    """The upper end."""
    p_value: float
    """Twice the share of resamples in which the difference has the other sign or is 0; at most 1."""


def paired_bootstrap(first: Counts, second: Counts, *, seed: int, resamples: int) -> list[Difference]:
    """Draws the documents again and again, with replacement and the same ones for both runs.

    Args:
        first: The counts of the first run.
        second: Those of the second, of the same documents in the same order.
        seed: The seed of the draws; the same seed gives the same result.
        resamples: How many times all documents are drawn.

    Returns:
        The difference of each field.
    """
    documents, fields = first.shape[:2]
    whole = np.ones((1, documents), np.int64)
    observed = (_f1(whole, second) - _f1(whole, first))[0]
    chance = np.random.default_rng(seed)
    drawn = np.empty((resamples, fields))
    step = max(1, _AT_ONCE // max(1, documents))
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        weights = chance.multinomial(documents, np.full(documents, 1 / documents), size=count)
        drawn[start : start + count] = _f1(weights, second) - _f1(weights, first)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    up, down = (drawn >= 0).mean(axis=0), (drawn <= 0).mean(axis=0)
    p_values = np.minimum(1.0, 2 * np.minimum(up, down))
    columns = (observed, low, high, p_values)
    return [Difference(*map(float, one)) for one in zip(*columns, strict=True)]


def _f1(weights: Counts, counts: Counts) -> Any:
    """The F1 of each field for each row of weights of documents; 0 where neither side has a value."""
    documents, fields, _ = counts.shape
    # As floats, which hold these integers exactly, because NumPy multiplies matrices of integers without BLAS.
    sums = (weights.astype(float) @ counts.reshape(documents, -1).astype(float)).reshape(-1, fields, 3)
    size = sums[:, :, 1] + sums[:, :, 2]
    return np.divide(2 * sums[:, :, 0], size, out=np.zeros_like(size), where=size > 0)
