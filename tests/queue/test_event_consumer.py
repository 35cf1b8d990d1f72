"""The pull consumer against the emulator's queue on a real port: leases, acknowledgements, and workers that die."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from harness import service
from scripted import Asked, Scripted, reply

from kimi_beam.commands.preflight import check_events
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.errors import ConfigError
from kimi_beam.network.client import Client
from kimi_beam.queue.event_consumer import Consumer, consumer_of
from kimi_beam.queue.event_inbox import HAND_BACKS, Events

QUEUE = "f1" * 16
SETTINGS = Events(QUEUE)
NOBODY: frozenset[str] = frozenset()
REQUEST = {"requests": [{"messages": [{"role": "user", "content": "Total: 1"}]}]}


class World:
    """An emulator, a client and a clock that both sides read."""

    def __init__(self, emulator: Emulator, client: Client, clock: list[float]) -> None:
        self.emulator, self.client, self.clock = emulator, client, clock

    def consumer(self) -> Consumer:
        """A worker that has just come up."""
        return Consumer(SETTINGS, clock=lambda: self.clock[0])

    def submit(self) -> str:
        (exchange,) = self.client.submit([json.dumps(REQUEST).encode()])
        return str(json.loads(exchange.body)["result"]["request_id"])  # type: ignore[union-attr]

    def pass_(self, seconds: float) -> None:
        self.clock[0] += seconds

    @property
    def events(self) -> dict[str, int]:
        found: dict[str, int] = self.emulator.stats()["events"]
        return found


@contextmanager
def world(*, behaviour: Behaviour | None = None, **options: Any) -> Iterator[World]:
    clock = [1_784_180_000.0]
    behaviour = behaviour or Behaviour(event_queues=(QUEUE,))
    with Emulator(behaviour=behaviour, clock=lambda: clock[0], **options) as emulator:
        client = Client(service(emulator.base_url))
        try:
            yield World(emulator, client, clock)
        finally:
            client.close()


@pytest.mark.parametrize("body", ["base64", "plain"])
def test_an_event_comes_when_the_job_is_done_and_is_acknowledged_when_its_answer_was_fetched(body: Any) -> None:
    with world(latency=10, behaviour=Behaviour(event_queues=(QUEUE,), event_body=body)) as w:
        consumer, ticket = w.consumer(), frozenset([w.submit()])
        assert consumer.pull(w.client, "shard", ticket).ended == NOBODY
        assert w.events["acknowledged"] == 1, "the event that it was queued is nobody's business"
        w.pass_(10)
        assert consumer.pull(w.client, "shard", ticket).ended == ticket
        w.pass_(10)
        assert consumer.pull(w.client, "shard", ticket).ended == ticket, "the bundle that fetched it was not committed"
        assert w.events["acknowledged"] == 1
        assert consumer.expect("shard", NOBODY), "somebody has to acknowledge it"
        consumer.pull(w.client, "shard", NOBODY)
        assert (w.events["acknowledged"], w.events["delivered"], w.events["handed_back"]) == (2, 2, 0)
        assert not consumer.expect("shard", NOBODY)


def test_the_event_of_a_worker_that_died_between_pull_and_acknowledgement_comes_again() -> None:
    with world() as w:
        ticket = frozenset([w.submit()])
        assert w.consumer().pull(w.client, "shard", ticket).ended == ticket
        successor = w.consumer()
        w.pass_(SETTINGS.lease - 1)
        assert successor.pull(w.client, "shard", ticket).ended == NOBODY
        w.pass_(10)
        assert successor.pull(w.client, "shard", ticket).ended == ticket
        successor.pull(w.client, "shard", NOBODY)
        w.pass_(10 * SETTINGS.lease)
        third = w.consumer()
        assert third.pull(w.client, "shard", ticket).ended == NOBODY, "it was acknowledged by its second lease"


def test_the_events_of_one_worker_are_handed_back_by_another_until_it_gets_them() -> None:
    with world() as w:
        mine, its = w.consumer(), w.consumer()
        ticket = frozenset([w.submit()])
        mine.pull(w.client, "shard", frozenset(["something else"]))
        assert w.events["handed_back"] == 1
        w.pass_(6)
        assert its.pull(w.client, "shard", ticket).ended == ticket


def test_a_foreign_event_is_handed_back_three_times_and_then_acknowledged() -> None:
    behaviour = Behaviour(event_queues=(QUEUE,), event_retries=100)
    with world(behaviour=behaviour) as w:
        consumer = w.consumer()
        w.submit()
        seen = []
        for _ in range(8):
            consumer.pull(w.client, "shard", frozenset(["something else"]))
            seen.append((w.events["handed_back"], w.events["acknowledged"]))
            w.pass_(10)
    assert seen == [(1, 1), (2, 1), (3, 1), *[(HAND_BACKS, 2)] * 5], "the first acknowledged tells that it is queued"


def test_lost_replies_cost_no_event() -> None:
    faults = "drop_after_accept=0.4,drop_before_accept=0.2,error_502_bare=0.1,rate_limit=0.1"
    with world(faults=faults, seed=3, behaviour=Behaviour(event_queues=(QUEUE,), event_retries=100)) as w:
        consumer, tickets = w.consumer(), set[str]()
        for _ in range(40):
            (exchange,) = w.client.submit([json.dumps(REQUEST).encode()])
            if getattr(exchange, "status", 0) == 200:
                tickets.add(json.loads(exchange.body)["result"]["request_id"])  # type: ignore[union-attr]
        assert len(tickets) > 5
        heard = NOBODY
        for _ in range(60):
            heard = consumer.pull(w.client, "shard", frozenset(tickets)).ended
            w.pass_(61)
        assert heard == tickets
        assert w.events["delivered"] > w.events["sent"], "no reply was lost"
        for _ in range(20):
            consumer.pull(w.client, "shard", NOBODY)
            consumer.pull(w.client, "shard", frozenset(["other"]))
            w.pass_(200)
        assert w.events["acknowledged"] == w.events["sent"]


def test_many_events_are_pulled_at_once() -> None:
    with world() as w:
        tickets = frozenset(w.submit() for _ in range(130))
        assert w.consumer().pull(w.client, "shard", tickets).ended == tickets
        assert (w.events["pulls"], w.events["acks"]) == (3, 2)
        assert w.events["acknowledged"] == 130, "those of jobs that are queued"


def test_one_pull_serves_all_shards_of_a_process() -> None:
    with world() as w:
        consumer = w.consumer()
        tickets = [frozenset([w.submit()]) for _ in range(16)]
        for n in range(16):
            consumer.expect(n, tickets[n])

        def turn(n: int) -> frozenset[str]:
            return consumer.pull(w.client, n, tickets[n]).ended

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(turn, range(16)))
        w.pass_(0.5)
        assert [turn(n) for n in range(16)] == tickets
        assert w.events["pulls"] == 1
        assert w.events["handed_back"] == 0


def test_a_queue_that_cannot_be_pulled_from_any_more_puts_no_poll_off() -> None:
    asked: list[Asked] = []

    def answer(request: Asked) -> bytes:
        asked.append(request)
        return reply({"success": False, "errors": [{"code": 10000, "message": "no"}], "result": None}, 403)

    clock = [0.0]
    with Scripted(answer) as server:
        client = Client(service(server.url))
        consumer = Consumer(SETTINGS, clock=lambda: clock[0])
        patience = []
        for _ in range(5):
            patience.append(consumer.pull(client, "shard", frozenset(["r"])).patience)
            clock[0] += 60
        client.close()
    assert patience == [180.0, 180.0, 0.0, 0.0, 0.0]
    assert "events cannot be pulled, so jobs are polled: the token is not accepted" in consumer.trouble


def test_a_process_has_one_consumer_for_a_queue() -> None:
    here = service("http://127.0.0.1:1")
    assert consumer_of(here, Events(QUEUE)) is consumer_of(service("http://127.0.0.1:1", model="m"), Events(QUEUE))
    assert consumer_of(here, Events(QUEUE)) is not consumer_of(here, Events("ab" * 16))
    assert consumer_of(here, Events(QUEUE)) is not consumer_of(service("http://127.0.0.1:2"), Events(QUEUE))


# ------------------------------------------------------------------------------------------------ preflight


def test_the_preflight_hands_back_what_it_pulled() -> None:
    with world() as w:
        ticket = frozenset([w.submit()])
        assert check_events(w.client.service, SETTINGS) == ""
        assert (w.events["delivered"], w.events["handed_back"], w.events["acknowledged"]) == (1, 1, 0)
        assert w.consumer().pull(w.client, "shard", ticket).ended == ticket


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (404, 10104, "no queue of this id"),
        (400, 11000, "no queue of this id"),
        (405, 7001, "no pull consumer"),
        (403, 10000, "permission Queues, Edit"),
        (400, 10107, "no queue of this id"),
    ],
)
def test_a_queue_that_cannot_be_used_is_refused_in_one_line(status: int, code: int, says: str) -> None:
    error = {"success": False, "errors": [{"code": code, "message": "told so"}], "messages": [], "result": None}
    with Scripted(lambda _: reply(error, status)) as server, pytest.raises(ConfigError) as told:
        check_events(service(server.url), SETTINGS, sleep=lambda _: None)
    assert says in str(told.value)
    assert QUEUE in str(told.value)
    assert "\n" not in str(told.value)


def test_a_token_that_may_pull_and_not_acknowledge_is_refused() -> None:
    def answer(request: Asked) -> bytes:
        if request.path.endswith("/pull"):
            return reply({"success": True, "errors": [], "result": {"messages": []}})
        return reply({"success": False, "errors": [{"code": 10000, "message": "no"}], "result": None}, 403)

    with Scripted(answer) as server, pytest.raises(ConfigError, match="permission Queues, Edit"):
        check_events(service(server.url), SETTINGS, sleep=lambda _: None)


def test_a_queue_that_takes_no_empty_acknowledgement_is_good_all_the_same() -> None:
    def answer(request: Asked) -> bytes:
        if request.path.endswith("/pull"):
            return reply({"success": True, "errors": [], "result": {"messages": []}})
        return reply({"success": False, "errors": [{"code": 10207, "message": "no"}], "result": None}, 400)

    with Scripted(answer) as server:
        assert check_events(service(server.url), SETTINGS, sleep=lambda _: None) == ""


def test_trouble_that_passes_is_tried_again_and_left_to_the_run() -> None:
    slept: list[float] = []
    with Scripted(lambda _: reply({"success": False, "errors": [{"code": 15000}]}, 500)) as server:
        doubt = check_events(service(server.url), SETTINGS, sleep=slept.append)
    assert "could not make sure" in doubt
    assert len(slept) == 3
    with Scripted(lambda r: None if len(server.asked) < 3 else reply({"result": {"messages": []}})) as server:
        assert check_events(service(server.url), SETTINGS, sleep=slept.append) == ""
