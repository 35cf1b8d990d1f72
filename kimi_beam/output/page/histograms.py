"""`Histogram`: how numbers are distributed, in memory that does not grow with their count."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from typing import Any

_DIGITS = 4
"""Numbers count as equal if their first so many digits are: there are at most 9,000 of them in a power of ten."""
_BARS = 20
_OUTSIDE = 0.005
"""The share of the smallest numbers, and of the greatest, that may stand outside of the bars."""
_STEPS = (Decimal(1), Decimal(2), Decimal(5), Decimal(10))


class Histogram:
    """Counts numbers.

    Attributes:
        values: How many there are.
        smallest: The smallest one; None if there is none.
        greatest: The greatest one; None if there is none.
    """

    def __init__(self) -> None:
        self.values = 0
        self.smallest: float | None = None
        self.greatest: float | None = None
        self._sum = 0.0
        self._counts: Counter[float] = Counter()

    def add(self, number: float, times: int = 1) -> None:
        """Counts a finite number, perhaps several times."""
        self.values += times
        self._sum += number * times
        self.smallest = number if self.smallest is None or number < self.smallest else self.smallest
        self.greatest = number if self.greatest is None or number > self.greatest else self.greatest
        self._counts[_rounded(number)] += times

    def to_json(self) -> dict[str, Any] | None:
        """The distribution as a JSON object; None if there is no number.

        ``bars`` are ``counts`` of numbers from ``from`` on, each ``width`` wide. ``below`` and ``above`` count the few
        that are smaller or greater than all bars.
        """
        if not self.values:
            return None
        numbers = sorted(self._counts)
        low, high = self._quantile(numbers, _OUTSIDE), self._quantile(numbers, 1 - _OUTSIDE)
        start, width, count = _edges(low, high, whole=all(map(float.is_integer, numbers)))
        bars, below, above = [0] * count, 0, 0
        for number in numbers:
            index = math.floor((Decimal(repr(number)) - start) / width)
            if index < 0:
                below += self._counts[number]
            elif index >= count:
                above += self._counts[number]
            else:
                bars[index] += self._counts[number]
        return {
            "values": self.values,
            "min": self.smallest,
            "median": self._quantile(numbers, 0.5),
            "mean": float(f"{self._sum / self.values:.6g}"),
            "max": self.greatest,
            "bars": {"from": float(start), "width": float(width), "counts": bars},
            "below": below,
            "above": above,
        }

    def _quantile(self, numbers: list[float], share: float) -> float:
        """The number below which a share of all stands.

        Args:
            numbers: The numbers that were counted, in ascending order.
            share: From 0 to 1.
        """
        wanted, seen = share * self.values, 0
        for number in numbers:
            seen += self._counts[number]
            if seen >= wanted:
                return number
        return numbers[-1]


def _rounded(number: float) -> float:
    if number == 0:
        return 0.0
    return round(float(number), _DIGITS - 1 - math.floor(math.log10(abs(number)))) + 0.0


def _edges(low: float, high: float, *, whole: bool) -> tuple[Decimal, Decimal, int]:
    """Where the first bar begins, how wide each is, and how many there are: all at round numbers."""
    first, last = Decimal(repr(low)), Decimal(repr(high))
    span = last - first
    if not span:
        return first, Decimal(1), 1
    power = Decimal(10) ** ((span / _BARS).adjusted())
    power = max(power, Decimal(1)) if whole else power
    width = next(step * power for step in _STEPS if step * power * _BARS >= span)
    start = (first / width).to_integral_value("ROUND_FLOOR") * width
    return start, width, int((last - start) // width) + 1
