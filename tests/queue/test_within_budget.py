"""What the budget lets a shard submit: as much as there is money for, with what jobs in flight may give back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from budgets import PRICE
from turns import PROMPT, Shop, accepted, batch, done, json_reply, refused

from kimi_beam.queue.earlier import EarlierSubmission, Recalled
from kimi_beam.queue.within_budget import SubmitBudget
from kimi_beam.request import batches
from kimi_beam.request.highest_cost import HighestCost
from kimi_beam.request.packing import Batching
from kimi_beam.service.budget import Budget
from kimi_beam.service.spending import Reservation, Settlement
from kimi_beam.types.failure import Failure
from kimi_beam.wire.envelopes import NoReply

HIGHEST = HighestCost(PROMPT, PRICE)
ONE = HIGHEST.of_batch(batches.decode(batch("a")), [100])[0]
"""What is reserved for a document of these tests."""


class Nowhere:
    """Keeps the records of one process."""

    def __init__(self) -> None:
        self.written: list[Reservation | Settlement] = []

    def write(self, records: Any) -> None:
        self.written += records

    def read_new(self) -> list[Reservation | Settlement]:
        return []


def shop_with(monkeypatch: pytest.MonkeyPatch, documents: float, **changes: Any) -> tuple[Shop, Budget]:
    """A shop with money for so many documents."""
    budget = Budget(int(documents * ONE), "run", 1, Nowhere())
    return Shop(monkeypatch, budget=SubmitBudget(budget, HIGHEST), **changes), budget


def codes(replies: Any) -> list[str]:
    return [reply.result.code if isinstance(reply.result, Failure) else "answer" for reply in replies]


def answer(shop: Shop, tokens: dict[str, int] | None = None) -> Callable[[str], Any]:
    """Answers each poll with all items of its job, and the tokens of the whole job."""

    def on_poll(request_id: str) -> Any:
        (job,) = (job for job in shop.jobs if job.request_id == request_id)
        reply = done(job, range(job.count))
        if tokens is None:
            return reply
        content = orjson.loads(reply.body)
        content["result"]["usage"] = {name: count * job.count for name, count in tokens.items()}
        return json_reply(200, content)

    return on_poll


USED = {"prompt_tokens": 100, "completion_tokens": 10}


def test_a_batch_that_there_is_money_for_is_submitted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, budget = shop_with(monkeypatch, 4)
    shop.put(batch("a", "b", "c", "d"))
    assert shop.refill() == []
    assert budget.room("0") == 4 * ONE, "money is reserved when it is submitted"
    shop.act()
    assert shop.held == [["a", "b", "c", "d"]]
    assert budget.room("0") == 0
    assert shop.jobs[0].reservation


def test_jobs_in_flight_are_waited_for_as_their_money_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, budget = shop_with(monkeypatch, 6)
    shop.put(batch("a", "b", "c", "d"), batch("e", "f", "g", "h"))
    assert shop.refill() == []
    assert (shop.held, shop.waiting) == ([["a", "b", "c", "d"]], [["e", "f", "g", "h"]])
    shop.act()
    assert shop.refill() == []
    assert shop.waiting == [["e", "f", "g", "h"]], "it was cut though the first job may leave money for all of it"
    shop.client.on_poll = answer(shop, USED)
    shop.now += 60
    assert codes(shop.act()) == ["answer"] * 4
    assert shop.refill() == []
    assert (shop.held, shop.waiting) == ([["e", "f", "g", "h"]], [])
    assert 5 * ONE < budget.room("0") < 6 * ONE


def test_where_nothing_is_in_flight_less_is_sent_and_then_what_is_left_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, budget = shop_with(monkeypatch, 2.5)
    shop.put(batch("a", "b", "c", "d"))
    assert shop.refill() == []
    assert (shop.held, shop.waiting) == ([["a", "b"]], [["c", "d"]])
    shop.act()
    shop.client.on_poll = answer(shop)  # it states no tokens
    shop.now += 60
    shop.act()
    assert budget.room("0") == int(2.5 * ONE) - 2 * ONE, "what is not said counts as it was reserved"
    assert codes(shop.refill()) == ["budget", "budget"]
    assert (shop.jobs, shop.waiting) == ((), [])


def test_what_is_known_leaves_and_what_is_in_flight_is_gone_on_with_though_there_is_no_money(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, budget = shop_with(monkeypatch, 0.5)
    in_flight = EarlierSubmission("old", "old batch", 0, 9, 0.0, batches.items(batch("b")), [3], [])
    shop.put(batch("a", "x", "y", "z"), batch("b"))
    shop.journal.known = {"b": Recalled([], [in_flight], [], None)}
    assert shop.refill() == [], "a job was found that may leave money"
    assert [job.request_id for job in shop.jobs] == ["old"]
    assert shop.waiting == [["a", "x", "y", "z"]]
    assert budget.room("0") < 0, "it may be spent already"
    shop.client.on_poll = lambda _: done(shop.jobs[0], [0])
    shop.now += 60
    shop.act()
    assert codes(shop.refill()) == ["budget"] * 4


@pytest.mark.parametrize(
    ("exchange", "is_reserved"),
    [
        (refused(400, 5006), False),
        (refused(429, 3040), False),
        (NoReply(sent=True, message="no reply"), True),
        (refused(408, 3046), True),
        (refused(500, 3007), True),
        (accepted("r"), True),
    ],
)
def test_money_comes_back_only_if_the_service_has_certainly_not_accepted(
    exchange: Any, is_reserved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, budget = shop_with(monkeypatch, 4)
    shop.client.on_submit = lambda _: exchange
    shop.put(batch("a"))
    shop.refill()
    shop.act()
    assert budget.room("0") == (3 if is_reserved else 4) * ONE


def test_a_submit_that_is_repeated_is_reserved_once_more_or_given_up_as_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, budget = shop_with(monkeypatch, 1.5)
    shop.client.on_submit = lambda _: NoReply(sent=True, message="no reply")
    shop.put(batch("a"))
    shop.refill()
    shop.act()
    shop.now += 3_600
    assert codes(shop.act()) == ["unknown_submit"]
    assert len(shop.client.submitted) == 1, "it was sent again without money for it"
    assert budget.room("0") == int(1.5 * ONE) - ONE


def test_what_another_shard_has_taken_meanwhile_is_not_spent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, budget = shop_with(monkeypatch, 4)
    shop.put(batch("a", "b"), batch("c", "d"), batch("e", "f"))
    shop.refill()
    assert budget.reserve("1", [("other", [3 * ONE])]) != [None]
    assert shop.act() == []
    assert shop.client.submitted == [], "it was submitted though the money was gone"
    assert (shop.jobs, shop.last.has_waiting_again) == ((), True)
    budget.set_live("1", is_live=True)
    assert shop.refill() == []
    assert shop.jobs == (), "the other shard may give money back"
    budget.set_live("1", is_live=False)
    assert codes(shop.refill()) == []
    assert [len(names) for names in shop.held] == [1]


def test_a_document_that_is_too_dear_does_not_keep_back_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, _ = shop_with(monkeypatch, 2, batching=Batching(max_items=4))
    shop.put(batches.merge([batch("dear", size=1_000_000), batch("a", "b")]))
    shop.refill()
    assert (shop.held, shop.waiting) == ([["a", "b"]], [["dear"]])
