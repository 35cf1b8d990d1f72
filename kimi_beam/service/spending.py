"""What a run has spent and may still have to pay: reservations, and what became of each of them. No I/O.

Amounts are whole billionths of a dollar, so that sums are exact. A request is *reserved* at the most that it may cost
before it is sent, and *settled* at what it has cost once its bill is known. What is never settled counts in full: the
sum of all amounts is never below what was paid.

The records may come in any order, and twice: a runner repeats work, and several workers write them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

NANODOLLARS = 1_000_000_000
"""Billionths in a dollar."""


def nanodollars(dollars: float) -> int:
    """Dollars in whole billionths, rounded up: what is paid is never understated."""
    return math.ceil(round(dollars * NANODOLLARS, 3))


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money that is put aside before requests are sent together.

    Attributes:
        name: Unique. It begins with the label of what is sent, such as the id of a batch, and a hyphen.
        run: The run that sends it.
        shard: The shard of the run whose share of the budget it takes.
        amounts: For each document, the most that its request may cost.
    """

    name: str
    run: str
    shard: str
    amounts: Sequence[int]


def label_of(name: str) -> str:
    """The label with which the name of a reservation begins."""
    return name.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What some documents of a reservation have cost.

    Attributes:
        name: The reservation's name.
        run: The run that learnt it, which may be a later one.
        shard: The shard of that run, which gets back what is left over of an earlier run's reservation.
        costs: For documents by their index in the reservation, what they have cost.
    """

    name: str
    run: str
    shard: str
    costs: Mapping[int, int]


@dataclass(slots=True)
class _Open:
    """A reservation of which some documents are not settled."""

    reservation: Reservation
    by_others: dict[int, int] = field(default_factory=dict)
    """What other runs have learnt of documents of a reservation that is not this run's."""
    by_this_run: dict[int, int] = field(default_factory=dict)

    def amount(self, index: int, *, only_others: bool = False) -> int:
        """What a document counts as; by what other runs have learnt alone, if `only_others`."""
        learnt = [costs[index] for costs in self._learnt(only_others) if index in costs]
        return max(learnt) if learnt else self.reservation.amounts[index]

    def is_settled(self, index: int) -> bool:
        return index in self.by_this_run or index in self.by_others

    def _learnt(self, only_others: bool) -> Iterable[dict[int, int]]:
        return (self.by_others,) if only_others else (self.by_others, self.by_this_run)


class Account:
    """All that was reserved and settled, as one run sees it.

    Args:
        run: The run.

    Attributes:
        before: What earlier runs have spent, or may have, by what they themselves have learnt. It stays the same while
            this run goes on, so that shares of what is left are the same in each of its processes.
        own: By shard, what this run has spent or may have. What it learns of earlier runs' reservations is subtracted.
        unsettled: How much of all this is reserved and not settled.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._open: dict[str, _Open] = {}
        self._closed: set[str] = set()
        self._early: dict[str, list[Settlement]] = {}
        self._labels: dict[str, list[str]] = {}
        self.before = 0
        self.own: Counter[str] = Counter()
        self.unsettled = 0

    @property
    def bound(self) -> int:
        """The most that may have been spent."""
        return self.before + self.own.total()

    def add(self, record: Reservation | Settlement) -> None:
        """Adds a record. One that was added before changes nothing."""
        if isinstance(record, Settlement):
            self._settle(record)
        elif record.name not in self._open and record.name not in self._closed:
            self._reserve(record)

    def knows(self, label: str) -> bool:
        """Whether anything was reserved under a label."""
        return label in self._labels

    def latest(self, label: str, count: int) -> Reservation | None:
        """The latest reservation with a label and so many documents that is not settled; None if there is none."""
        for name in reversed(self._labels.get(label, [])):
            found = self._open.get(name)
            if found is not None and len(found.reservation.amounts) == count:
                return found.reservation
        return None

    def _reserve(self, reservation: Reservation) -> None:
        total = sum(reservation.amounts)
        self._open[reservation.name] = _Open(reservation)
        self._labels.setdefault(label_of(reservation.name), []).append(reservation.name)
        self.unsettled += total
        if reservation.run == self._run:
            self.own[reservation.shard] += total
        else:
            self.before += total
        for settlement in self._early.pop(reservation.name, ()):
            self._settle(settlement)

    def _settle(self, settlement: Settlement) -> None:
        if settlement.name in self._closed:
            return
        found = self._open.get(settlement.name)
        if found is None:  # it was listed before its reservation, as the clocks of two machines may differ
            self._early.setdefault(settlement.name, []).append(settlement)
            return
        is_own, is_by_this_run = found.reservation.run == self._run, settlement.run == self._run
        for index, cost in settlement.costs.items():
            self._settle_one(found, index, cost, settlement.shard, is_own=is_own, is_by_this_run=is_by_this_run)
        if all(map(found.is_settled, range(len(found.reservation.amounts)))):
            del self._open[settlement.name]
            self._closed.add(settlement.name)

    def _settle_one(
        self, found: _Open, index: int, cost: int, shard: str, *, is_own: bool, is_by_this_run: bool
    ) -> None:
        before, left_before = found.amount(index), found.amount(index, only_others=True)
        if not found.is_settled(index):
            self.unsettled -= found.reservation.amounts[index]
        learnt = found.by_this_run if is_own or is_by_this_run else found.by_others
        # Two bills for one request are a contradiction, of which the higher one is believed.
        learnt[index] = max(cost, learnt.get(index, 0))
        change = found.amount(index) - before
        if is_own:
            self.own[found.reservation.shard] += change
            return
        left = found.amount(index, only_others=True) - left_before
        self.before += left
        self.own[shard] += change - left
