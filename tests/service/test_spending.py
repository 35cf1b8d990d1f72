"""What is spent never exceeds the budget, whatever becomes of requests, workers and runs, and nearly all of it is used.

The laws are held by random histories of shards, whose workers are lost and begin anew with what is on record alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from kimi_beam.service.budget import Budget
from kimi_beam.service.prices import Price
from kimi_beam.service.spending import NANODOLLARS, Account, Reservation, Settlement, nanodollars
from kimi_beam.types.answer import Usage

HISTORIES = 10_000


class Disk:
    """Where all runs and processes keep their records."""

    def __init__(self) -> None:
        self.records: list[Reservation | Settlement] = []

    def view(self) -> View:
        return View(self)


class View:
    """One process's view of it."""

    def __init__(self, disk: Disk) -> None:
        self._disk, self._known = disk, set[int]()

    def write(self, records: Sequence[Reservation | Settlement]) -> None:
        self._known.update(range(len(self._disk.records), len(self._disk.records) + len(records)))
        self._disk.records += records

    def read_new(self) -> list[Reservation | Settlement]:
        new = [number for number in range(len(self._disk.records)) if number not in self._known]
        self._known.update(new)
        return [self._disk.records[number] for number in new]


@dataclass
class Request:
    """A submit: what it may cost by document, what it does, and which documents are still not settled."""

    label: str
    most: list[int]
    costs: list[int]
    open: set[int] = field(default_factory=set)
    name: str = ""

    def __post_init__(self) -> None:
        self.open = set(range(len(self.most)))


class World:
    """A service that bills, and a command that is killed and started again, over the same work."""

    def __init__(self, seed: int) -> None:
        self.draw = draw = random.Random(seed)
        self.shards = draw.choice([1, 1, 2, 3])
        self.shares = draw.choice([1, self.shards])
        self.work = {str(shard): [self._request(f"{shard}.{n}") for n in range(6)] for shard in range(self.shards)}
        total = sum(sum(one.most) for line in self.work.values() for one in line)
        self.most = draw.randrange(1, total)
        self.disk = Disk()
        self.in_flight: dict[str, list[Request]] = {shard: [] for shard in self.work}
        self.billed = self.never_learnt = 0
        self.refused: list[tuple[str, int]] = []
        self.runs = 0
        self.happened: Counter[str] = Counter()
        self.start_run()

    def _request(self, label: str) -> Request:
        most = [self.draw.randrange(1, 100) for _ in range(self.draw.randrange(1, 4))]
        return Request(label, most, [self.draw.randrange(1, amount + 1) for amount in most])

    def start_run(self) -> None:
        self.runs += 1
        # What was in flight in the last run is in line once more, and known to have been sent.
        self.budgets: dict[str, Budget] = {}
        for shard in self.work:
            self.start_process(shard)

    def start_process(self, shard: str) -> None:
        name = "all" if self.shares == 1 else shard
        self.budgets[name] = Budget(self.most, f"run {self.runs}", self.shares, self.disk.view())

    def budget(self, shard: str) -> Budget:
        return self.budgets["all" if self.shares == 1 else shard]

    def step(self) -> None:
        shard = self.draw.choice(sorted(self.work))
        event = self.draw.choices(("send", "settle", "kill process", "kill run"), (8, 8, 1, 0.5))[0]
        if event == "send" and self.work[shard]:
            self._send(shard)
        elif event == "settle" and self.in_flight[shard]:
            self._settle(shard, self.draw.choice(self.in_flight[shard]))
        elif event == "kill process":
            self.start_process(shard)
            self.happened[event] += 1
        elif event == "kill run":
            self.start_run()
            for key, requests in self.in_flight.items():
                budget = self.budget(key)
                for one in requests:
                    one.name = budget.take_over(key, one.label, len(one.most), dict(enumerate(one.most)))
            self.happened[event] += 1
        self.check()

    def _send(self, shard: str) -> None:
        request = self.work[shard][0]
        (name,) = self.budget(shard).reserve(shard, [(request.label, request.most)])
        if name is None:
            self.happened["refused"] += 1
            if self.draw.random() < 0.5:
                self.work[shard].append(self.work[shard].pop(0))
            return
        request.name = name
        fate = self.draw.choices(("accepted", "refused by the service", "unknown"), (8, 1, 1))[0]
        self.happened[fate] += 1
        if fate == "refused by the service":
            self.budget(shard).settle(shard, {name: dict.fromkeys(range(len(request.most)), 0)})
            return
        self.billed += sum(request.costs)
        if fate == "unknown":
            self.never_learnt += sum(request.most) - sum(request.costs)
        if fate == "accepted":
            self.in_flight[shard].append(self.work[shard].pop(0))

    def _settle(self, shard: str, request: Request) -> None:
        some = [index for index in sorted(request.open) if self.draw.random() < 0.7]
        costs = {index: request.costs[index] for index in some}
        self.budget(shard).settle(shard, {request.name: costs})
        if self.draw.random() < 0.1:  # the worker was lost before it knew, and learns it again
            self.budget(shard).settle(shard, {request.name: costs})
        request.open.difference_update(some)
        if not request.open:
            self.in_flight[shard].remove(request)

    def check(self) -> None:
        assert self.billed <= self.most, "more was spent than the budget allows"

    def end(self) -> None:
        """All that is in flight is answered, and each shard sends what it still can."""
        while any(self.in_flight.values()):
            for shard, requests in self.in_flight.items():
                for one in list(requests):
                    self._settle(shard, one)
        goes_on = True
        while goes_on:
            goes_on = False
            for shard, line in self.work.items():
                for request in list(line):
                    (name,) = self.budget(shard).reserve(shard, [(request.label, request.most)])
                    if name is not None:
                        self.billed += sum(request.costs)
                        self.budget(shard).settle(shard, {name: dict(enumerate(request.costs))})
                        line.remove(request)
                        goes_on = True
        self.refused = [(shard, sum(request.most)) for shard, line in self.work.items() for request in line]
        self.check()


def test_no_history_spends_more_than_the_budget_and_none_leaves_more_than_a_request_a_share() -> None:
    happened: Counter[str] = Counter()
    for seed in range(HISTORIES):
        world = World(seed)
        for _ in range(30):
            world.step()
        world.end()
        happened += world.happened
        if world.shares == 1 and world.refused:
            left = world.most - world.billed - world.never_learnt
            assert left < min(amount for _, amount in world.refused), f"{seed}: it had money for a refused request"
        for shard, amount in world.refused:
            assert world.budget(shard).room(shard) < amount, f"{seed}: its share had money left"
    assert min(happened.values()) > HISTORIES / 4, happened
    assert len(happened) == 6, happened


def test_each_process_of_a_run_has_the_same_shares_whatever_the_others_have_spent_since() -> None:
    disk = Disk()
    earlier = Budget(100, "earlier", 1, disk.view())
    (name,) = earlier.reserve("0", [("a", [30, 20])])
    assert name
    earlier.settle("0", {name: {0: 10}})
    first = Budget(100, "run", 2, disk.view())
    assert (first.room("0"), first.room("1")) == (35, 35)
    assert first.reserve("0", [("b", [35])]) != [None]
    second = Budget(100, "run", 2, disk.view())
    assert (second.room("0"), second.room("1")) == (0, 35)
    assert second.take_over("1", "a", 2, {1: 20}) == name
    second.settle("1", {name: {1: 5}})
    assert second.room("1") == 50, "what an earlier run had reserved comes back to the shard that learnt the cost"
    assert Budget(100, "run", 2, disk.view()).room("1") == 50
    assert Budget(100, "next", 2, disk.view()).room("1") == (100 - 15 - 35) // 2


def test_a_process_that_takes_a_shard_over_knows_what_the_lost_one_has_spent_of_its_share() -> None:
    disk = Disk()
    lost, other = (Budget(100, "run", 2, disk.view()) for _ in range(2))
    assert lost.reserve("0", [("a", [40])]) != [None]
    assert other.reserve("0", [("b", [40])]) == [None], "the share was spent twice"
    assert other.reserve("1", [("b", [40])]) != [None]


def test_a_submission_of_a_run_without_a_budget_is_reserved_when_it_is_gone_on_with() -> None:
    budget = Budget(100, "run", 1, Disk().view())
    name = budget.take_over("0", "a", 3, {1: 500})
    assert budget.room("0") == -400, "it may have been spent already, so that nothing else may be sent"
    budget.settle("0", {name: {1: 60}})
    assert budget.room("0") == 40


def test_records_may_come_in_any_order_and_twice() -> None:
    records: list[Reservation | Settlement] = [
        Reservation("a-1", "run", "0", (10, 20)),
        Settlement("a-1", "run", "0", {0: 4}),
        Settlement("a-1", "run", "0", {1: 5}),
        Reservation("b-1", "earlier", "0", (7, 7)),
        Settlement("b-1", "run", "1", {0: 3}),
    ]
    for seed in range(100):
        account = Account("run")
        for record in random.Random(seed).sample([*records, *records], 10):
            account.add(record)
        assert (account.before, dict(account.own), account.unsettled) == (14, {"0": 9, "1": -4}, 7)


def test_of_two_bills_for_one_request_the_higher_one_is_believed() -> None:
    account = Account("run")
    for record in (
        Reservation("a-1", "run", "0", (10, 20)),
        Settlement("a-1", "run", "0", {0: 4}),
        Settlement("a-1", "run", "0", {0: 12}),
        Settlement("a-1", "run", "0", {0: 4}),
    ):
        account.add(record)
    assert account.bound == 32, "a bill may also be higher than what was reserved"


def test_a_cost_is_rounded_up_and_a_budget_down() -> None:
    price = Price(0.95, 0.16, 4.0)
    assert nanodollars(price.cost(Usage(1, 0, 0))) == 950
    assert nanodollars(1e-12) == 0 or nanodollars(1e-12) == 1
    assert nanodollars(0.1000000001) == 100_000_001
    assert -nanodollars(-0.1000000009) == 100_000_000
    assert nanodollars(5.0) == 5 * NANODOLLARS


def test_money_comes_back_from_others_only_where_all_share_one_budget() -> None:
    for shares, may in ((1, True), (2, False)):
        budget = Budget(100, "run", shares, Disk().view())
        budget.set_live("0", is_live=True)
        assert budget.may_get_back("1") is may
        assert not budget.may_get_back("0"), "its own is not others'"
        budget.set_live("0", is_live=False)
        assert not budget.may_get_back("1")


@pytest.mark.parametrize("shares", [1, 2])
def test_what_a_budget_has_come_to_adds_up(shares: int) -> None:
    budget = Budget(10 * NANODOLLARS, "run", shares, Disk().view(), unrecorded=NANODOLLARS)
    (name,) = budget.reserve("0", [("a", [NANODOLLARS, 2 * NANODOLLARS])])
    assert name
    budget.settle("0", {name: {1: NANODOLLARS // 2}})
    assert budget.spending == (10.0, 1.5, 1.0)
