"""`Calibration`: turns the shares of the review queue into probabilities, by values known to be right or wrong."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_BINS = 10
"""The bins of the expected calibration error, of equal width."""
_PARTS = 5
"""The documents are divided into so many parts, each of which is predicted by the others."""


class JudgedLeaf(NamedTuple):
    """A value of which it is known whether it is wrong."""

    document_id: str
    risk: float
    """How likely it was held to be wrong."""
    is_wrong: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """How likely values are wrong that were held to be wrong with some share. It never turns their order around.

    Attributes:
        risks: The shares from which on the probabilities hold, ascending.
        probabilities: The probabilities, ascending.
    """

    risks: tuple[float, ...]
    probabilities: tuple[float, ...]

    def probability(self, risk: float) -> float:
        """How likely a value is wrong that was held to be wrong with a share."""
        return self.probabilities[max(0, bisect_right(self.risks, risk) - 1)]


class _Block(NamedTuple):
    first: float
    wrong: float
    leaves: float

    @property
    def share(self) -> float:
        return self.wrong / self.leaves


def fit(leaves: Sequence[JudgedLeaf]) -> Calibration:
    """The isotonic regression of what was wrong on the shares, by pooling adjacent violators.

    Each share counts as one value more with the errors of the mean, so that none becomes certain by a few values.

    Args:
        leaves: At least one value.
    """
    mean = sum(one.is_wrong for one in leaves) / len(leaves)
    by_risk: defaultdict[float, list[bool]] = defaultdict(list)
    for one in leaves:
        by_risk[one.risk].append(one.is_wrong)
    blocks: list[_Block] = []
    for risk in sorted(by_risk):
        found = by_risk[risk]
        block = _Block(risk, sum(found) + mean, len(found) + 1)
        while blocks and blocks[-1].share >= block.share:
            before = blocks.pop()
            block = _Block(before.first, before.wrong + block.wrong, before.leaves + block.leaves)
        blocks.append(block)
    return Calibration(tuple(one.first for one in blocks), tuple(round(one.share, 6) for one in blocks))


def calibration_error(predicted: Iterable[tuple[float, bool]]) -> float:
    """The expected calibration error: how far the probabilities are from the shares of what was wrong, in the mean.

    Args:
        predicted: Of each value how likely it was wrong, and whether it was.
    """
    bins: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
    for probability, is_wrong in predicted:
        bins[min(_BINS - 1, int(probability * _BINS))].append((probability, is_wrong))
    count = sum(map(len, bins.values()))
    apart = (abs(sum(one[0] for one in found) - sum(one[1] for one in found)) for found in bins.values())
    return sum(apart) / count if count else 0.0


def held_out_error(leaves: Sequence[JudgedLeaf]) -> float | None:
    """The calibration error on documents that were not fitted: each fifth is predicted by the other four.

    Args:
        leaves: The values.

    Returns:
        None for fewer than five documents.
    """
    ids = sorted({one.document_id for one in leaves})
    if len(ids) < _PARTS:
        return None
    part = {name: index % _PARTS for index, name in enumerate(ids)}
    predicted: list[tuple[float, bool]] = []
    for index in range(_PARTS):
        known = fit([one for one in leaves if part[one.document_id] != index])
        predicted += [(known.probability(one.risk), one.is_wrong) for one in leaves if part[one.document_id] == index]
    return calibration_error(predicted)
