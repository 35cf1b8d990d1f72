"""The budget of a run: nothing is sent that might cost more than what is left of it.

Each shard has an equal share of what earlier runs have left, as with the requests a minute, because workers of
different machines cannot ask each other. If all workers are threads of one process, they share all of it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol

from kimi_beam.service.spending import NANODOLLARS, Account, Reservation, Settlement, label_of
from kimi_beam.types.failure import Failure

OVER_BUDGET = Failure(
    "submit",
    "budget",
    "not sent: it might cost more than what is left of the budget (--max-cost)",
    retryable=True,
)
"""The failure of documents that are not sent because the budget does not suffice."""


class Store(Protocol):
    """Where the records are kept. `kimi_beam.journal.spending_files.SpendingFiles` is one."""

    def write(self, records: Sequence[Reservation | Settlement]) -> None:
        """Keeps records, which are safe when this returns."""
        ...

    def read_new(self) -> Sequence[Reservation | Settlement]:
        """The records that were not returned before, and that were not written here."""
        ...


class Spending(NamedTuple):
    """What a budget has come to, in dollars."""

    max_cost: float
    """The budget."""
    spent: float
    """What is settled, and what earlier runs without a budget have spent."""
    reserved: float
    """What is reserved and not settled: requests in flight, and requests of which it was never learnt what they
    cost."""


class Budget:
    """What one run may still spend. Safe to use from several threads.

    Args:
        most: The most that all runs together may spend, in billionths of a dollar.
        run: The run.
        shares: The number of shares: one for each shard, or 1 if all workers are in this process.
        store: Where all runs keep their records.
        unrecorded: What earlier runs have spent that is in no record.
    """

    def __init__(self, most: int, run: str, shares: int, store: Store, unrecorded: int = 0) -> None:
        self._most, self._run, self._shares, self._store = most, run, shares, store
        self._unrecorded = unrecorded
        self._account = Account(run)
        self._lock = threading.RLock()
        self._live: set[Hashable] = set()
        self.refresh()

    def refresh(self) -> None:
        """Reads the records that other processes have written since."""
        with self._lock:
            for record in self._store.read_new():
                self._account.add(record)

    def count_in(self, earlier: Sequence[Reservation]) -> None:
        """Counts what runs without a budget have in flight, unless it is counted already.

        Args:
            earlier: Reservations that are the same in each process, as each of them counts them in.
        """
        with self._lock:
            self._add([one for one in earlier if not self._account.knows(label_of(one.name))])

    def room(self, shard: str) -> int:
        """What a shard may still reserve, in billionths of a dollar; below 0 if a bill was higher than expected."""
        with self._lock:
            left = self._most - self._unrecorded - self._account.before
            if self._shares == 1:
                return left - self._account.own.total()
            return left // self._shares - self._account.own[shard]

    def reserve(self, shard: str, wanted: Sequence[tuple[str, Sequence[int]]]) -> list[str | None]:
        """Reserves the most that some requests may cost, before they are sent.

        Args:
            shard: The shard that sends them.
            wanted: For what is sent together, its label and the most that each of its documents may cost.

        Returns:
            For each of them the name of its reservation. None where the money does not suffice: it must not be sent.
        """
        with self._lock:
            if self._shares > 1:  # another process may have worked for this shard
                self.refresh()
            names: list[str | None] = []
            made: list[Reservation] = []
            room = self.room(shard)
            for label, amounts in wanted:
                if sum(amounts) > room:
                    names.append(None)
                    continue
                room -= sum(amounts)
                made.append(self._made(label, shard, amounts))
                names.append(made[-1].name)
            self._add(made)
            return names

    def take_over(self, shard: str, label: str, count: int, amounts: Mapping[int, int]) -> str:
        """The reservation of something that an earlier worker has sent, which is not settled.

        If there is none, because that run had no budget, one is made: the money may be spent already.

        Args:
            shard: The shard that goes on with it.
            label: Its label.
            count: How many documents it has.
            amounts: By index, the most that each document may cost that is gone on with.

        Returns:
            The reservation's name.
        """
        with self._lock:
            self.refresh()
            found = self._account.latest(label, count)
            if found is None:
                found = self._made(label, shard, [amounts.get(index, 0) for index in range(count)])
                self._add([found])
            return found.name

    def settle(self, shard: str, costs: Mapping[str, Mapping[int, int]]) -> None:
        """Records what documents have cost.

        Args:
            shard: The shard that learnt it.
            costs: By the name of a reservation and the index of a document, its cost in billionths of a dollar.
        """
        settled = [Settlement(name, self._run, shard, each) for name, each in costs.items() if name and each]
        with self._lock:
            self._add(settled)

    def set_live(self, owner: Hashable, *, is_live: bool) -> None:
        """Says whether a shard or a bundle of this process has requests in flight, which may give money back."""
        with self._lock:
            (self._live.add if is_live else self._live.discard)(owner)

    def may_get_back(self, owner: Hashable) -> bool:
        """Whether money may come back from others: only where all share one budget."""
        with self._lock:
            return self._shares == 1 and bool(self._live - {owner})

    @property
    def spending(self) -> Spending:
        """What it has come to, by what this process knows."""
        with self._lock:
            account = self._account
            settled = self._unrecorded + account.bound - account.unsettled
            return Spending(*(amount / NANODOLLARS for amount in (self._most, settled, account.unsettled)))

    def _made(self, label: str, shard: str, amounts: Sequence[int]) -> Reservation:
        return Reservation(f"{label}-{uuid.uuid4().hex[:16]}", self._run, shard, tuple(amounts))

    def _add(self, records: Sequence[Reservation | Settlement]) -> None:
        if records:
            for record in records:
                self._account.add(record)
            self._store.write(records)
