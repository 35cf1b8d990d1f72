"""Sums up what is expected of a sample to the whole input, and says how far that may be off."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kimi_beam.commands.estimate.expected_requests import Expected
from kimi_beam.commands.estimate.read_sample import Stratum

_LEAST_SPREAD = 0.15
"""Files differ at least so much from each other, as a share, however few of a sort were read."""
_NUMBERS = ("requests", "size", "constant", "words", "pictures", "most_for_pictures", "answer")


@dataclass
class SampleTotals:
    """What the whole input comes to, as far as strata were added.

    Attributes:
        states: How many documents there are of each `Expected.state`.
        kinds: How many documents there are of each `Expected.kind`.
        numbers: The sums of what is asked for the new documents, by the attributes of `Expected`.
        variances: How uncertain these sums are because not all was read, as variances.
        read: How many documents were read.
        is_whole: Whether all documents were read.
        known: What was expected of documents that the journal has answers for.
    """

    states: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_NUMBERS, 0.0))
    variances: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_NUMBERS, 0.0))
    read: int = 0
    is_whole: bool = True
    known: list[Expected] = field(default_factory=list)
    _fractions: dict[tuple[str, str], float] = field(default_factory=dict)

    def add_whole(self, documents: Iterable[Expected]) -> None:
        """Adds documents that stand for themselves alone."""
        for one in documents:
            self._seen(one)
            self._count(one, 1)
            if one.state == "new":
                for name in _NUMBERS:
                    self.numbers[name] += getattr(one, name)
        self._round()

    def add(self, stratum: Stratum, units: Sequence[Sequence[Expected]]) -> None:
        """Adds a stratum.

        Args:
            stratum: The stratum.
            units: The documents of each of its chosen units.
        """
        if stratum.is_whole:
            self.add_whole(one for unit in units for one in unit)
            return
        self.is_whole = False
        sizes = [float(unit.size) if stratum.by_bytes else 1.0 for unit in stratum.chosen]
        factor = (stratum.size if stratum.by_bytes else stratum.count) / max(1.0, sum(sizes))
        for unit in units:
            for one in unit:
                self._seen(one)
                self._count(one, factor)
        for name in _NUMBERS:
            values = [sum(float(getattr(one, name)) for one in unit if one.state == "new") for unit in units]
            self.numbers[name] += factor * sum(values)
            self.variances[name] += _variance(values, sizes, stratum)
        self._round()

    def scale(self, most: int) -> None:
        """Scales all down to so many documents, if there are more."""
        count = sum(self._fractions.values())
        if count > most:
            share = most / count
            self._fractions = {key: share * number for key, number in self._fractions.items()}
            self.numbers = {name: share * number for name, number in self.numbers.items()}
            self.variances = {name: share**2 * number for name, number in self.variances.items()}
            self._round()

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return sum(self.states.values())

    @property
    def mean(self) -> Expected:
        """What is asked for a new document, on average."""
        count, numbers = max(1, self.states["new"]), self.numbers
        return Expected(
            "new",
            1,
            constant=numbers["constant"] / count,
            words=numbers["words"] / count,
            pictures=numbers["pictures"] / count,
            answer=numbers["answer"] / count,
        )

    def error(self, *names: str) -> float:
        """The standard error of a sum of numbers that comes of the sample, as a share of it.

        Args:
            names: The numbers, by the attributes of `Expected`. Their errors add up, as a longer text has more of all.
        """
        total = sum(self.numbers[name] for name in names)
        return sum(math.sqrt(self.variances[name]) for name in names) / total if total else 0.0

    def _seen(self, one: Expected) -> None:
        self.read += 1
        if one.usage is not None:
            self.known.append(one)

    def _count(self, one: Expected, documents: float) -> None:
        key = (one.state, one.kind)
        self._fractions[key] = self._fractions.get(key, 0.0) + documents

    def _round(self) -> None:
        self.states, self.kinds = (
            Counter({name: round(count) for name, count in _summed(self._fractions, place).items() if round(count)})
            for place in (0, 1)
        )


def _summed(counts: Mapping[tuple[str, str], float], place: int) -> dict[str, float]:
    """The counts by one of the two names of each."""
    found: dict[str, float] = {}
    for names, count in counts.items():
        found[names[place]] = found.get(names[place], 0.0) + count
    return found


def _variance(values: Sequence[float], sizes: Sequence[float], stratum: Stratum) -> float:
    """The variance of the sum of a stratum that is estimated by the ratio of its values to the sizes of its units."""
    n, whole = len(values), stratum.count
    ratio = sum(values) / max(1.0, sum(sizes))
    squares = sum((value - ratio * size) ** 2 for value, size in zip(values, sizes, strict=True))
    spread = max(squares / max(1, n - 1), (_LEAST_SPREAD * sum(values) / n) ** 2)
    return whole**2 * (1 - n / whole) / n * spread
