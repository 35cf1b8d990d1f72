"""What a process knows of events, under a clock of the test's own: each lease is answered, and none too early."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kimi_beam as kb
from kimi_beam.emulator.messages import Messages
from kimi_beam.errors import ConfigError
from kimi_beam.queue.event_inbox import HAND_BACK_PAUSE, HAND_BACKS, Events, Inbox
from kimi_beam.wire.queues import MOST_MESSAGES, Message
from kimi_beam.wire.service_errors import ServiceError

ACCOUNT = "0123456789abcdef0123456789abcdef"
SETTINGS = Events("f1" * 16)
NOBODY: frozenset[str] = frozenset()


def tickets(*names: str) -> frozenset[str]:
    return frozenset(names)


def ended(ticket: str | None, lease: str = "", attempts: int = 1) -> Message:
    return Message(lease or f"lease of {ticket}", attempts, ticket, has_ended=ticket is not None)


def answered(inbox: Inbox) -> tuple[set[str], set[str]]:
    acks, retries = inbox.take_answers()
    return set(acks), set(retries)


def watching(*names: str) -> Inbox:
    inbox = Inbox(SETTINGS)
    inbox.watch("shard", tickets(*names), 0.0)
    return inbox


# ------------------------------------------------------------------------------------------------ single steps


def test_an_event_is_acknowledged_when_the_committed_state_has_let_go_of_its_ticket_and_not_before() -> None:
    inbox = watching("a", "b")
    inbox.record_messages([ended("a")], 1.0)
    assert inbox.ended(tickets("a", "b")) == {"a"}
    assert not inbox.awaits_commit("shard", tickets("a", "b"))
    assert inbox.awaits_commit("shard", tickets("b")), "its answer is taken in state that is not committed yet"
    inbox.watch("shard", tickets("a", "b"), 2.0)  # that bundle failed
    assert answered(inbox) == (set(), set())
    assert inbox.ended(tickets("a", "b")) == {"a"}, "the bundle that is repeated must see it too"
    inbox.watch("shard", tickets("b"), 3.0)
    assert answered(inbox) == ({"lease of a"}, set())
    assert not inbox.awaits_commit("shard", tickets("b"))


def test_events_that_come_twice_are_acknowledged_with_the_first_or_at_once() -> None:
    inbox = watching("a")
    inbox.record_messages([ended("a", "first"), ended("a", "second")], 1.0)
    inbox.watch("shard", NOBODY, 2.0)
    assert answered(inbox) == ({"first", "second"}, set())
    inbox.watch("shard", tickets("b"), 3.0)
    inbox.record_messages([ended("a", "third")], 4.0)
    assert inbox.ended(tickets("a", "b")) == NOBODY
    assert answered(inbox) == ({"third"}, set())


def test_a_job_that_is_only_queued_has_not_ended() -> None:
    inbox = watching("a")
    inbox.record_messages([Message("l", 1, "a", has_ended=False), Message("m", 1, "another's", has_ended=False)], 1.0)
    assert inbox.ended(tickets("a")) == NOBODY
    assert answered(inbox) == ({"l", "m"}, set())


@pytest.mark.parametrize("ticket", ["another worker's", None])
def test_what_is_for_somebody_else_is_handed_back_three_times_and_then_acknowledged(ticket: str | None) -> None:
    inbox = watching("a")
    for attempts in range(1, HAND_BACKS + 1):
        inbox.record_messages([ended(ticket, "l", attempts)], 1.0)
        assert answered(inbox) == (set(), {"l"}), attempts
    inbox.record_messages([ended(ticket, "l", HAND_BACKS + 1)], 1.0)
    assert answered(inbox) == ({"l"}, set())


def test_a_ticket_is_known_before_the_state_that_has_it_is_committed() -> None:
    inbox = watching("a")
    inbox.expect("shard", tickets("a", "new"), 1.0)
    inbox.record_messages([ended("new")], 2.0)
    assert answered(inbox) == (set(), set())
    inbox.watch("shard", tickets("a", "new"), 3.0)
    assert inbox.ended(tickets("a", "new")) == {"new"}


def test_shards_do_not_answer_each_others_events() -> None:
    inbox = watching("a")
    inbox.watch("other shard", tickets("b"), 0.0)
    inbox.record_messages([ended("a"), ended("b")], 1.0)
    inbox.watch("shard", NOBODY, 2.0)
    assert answered(inbox) == ({"lease of a"}, set())


def test_the_tickets_of_a_shard_that_went_to_another_process_are_known_no_longer() -> None:
    inbox = watching("gone")
    inbox.record_messages([ended("gone", "first")], 1.0)
    inbox.watch("other shard", tickets("b"), SETTINGS.safety_net + 1)
    assert inbox.ended(tickets("gone")) == NOBODY
    assert answered(inbox) == (set(), set()), "its lease runs out by itself"
    inbox.record_messages([ended("gone", "second", 2)], SETTINGS.safety_net + 1)
    assert answered(inbox) == (set(), {"second"})


# ------------------------------------------------------------------------------------------------ when to pull


def test_nothing_is_pulled_while_nothing_is_in_flight() -> None:
    inbox = Inbox(SETTINGS)
    assert not inbox.is_pull_due(1e9)
    inbox.watch("shard", tickets("a"), 0.0)
    assert inbox.is_pull_due(0.0)
    inbox.watch("shard", NOBODY, 1.0)
    assert not inbox.is_pull_due(1e9)


def test_a_process_that_handed_an_event_back_pauses_so_that_others_can_pull_it() -> None:
    inbox = watching("a")
    inbox.record_messages([ended("a"), ended("another worker's")], 0.0)
    assert inbox.next_pull == HAND_BACK_PAUSE
    foreign = [ended(f"{n}") for n in range(MOST_MESSAGES)]
    inbox.record_messages(foreign, HAND_BACK_PAUSE)
    assert inbox.next_pull == 2 * HAND_BACK_PAUSE, "a full pull would only bring the same again"


def test_pulls_that_bring_nothing_come_further_apart_up_to_four_seconds() -> None:
    inbox, now, pauses = watching("a"), 0.0, []
    for _ in range(12):
        inbox.record_messages([], now)
        pauses.append(inbox.next_pull - now)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (1.5, 4.0)
    assert pauses[-1] < HAND_BACK_PAUSE, "who has handed something back would be the first to get it again"
    inbox.record_messages([ended("a")], now)
    assert inbox.next_pull - now == 1.0
    inbox.record_messages([ended("a")] * MOST_MESSAGES, now)
    assert inbox.next_pull == now, "a full pull leaves more behind"


def test_leases_are_answered_after_a_pull_or_when_there_will_be_none() -> None:
    inbox = watching("a", "b")
    inbox.record_messages([ended("a"), ended("b")], 1.0)
    inbox.watch("shard", tickets("b"), 2.0)
    assert not inbox.is_answer_due(pulled=False), "one request for all of them"
    assert inbox.is_answer_due(pulled=True)
    inbox.watch("shard", NOBODY, 3.0)
    assert inbox.is_answer_due(pulled=False), "nobody would pull any more"
    inbox.take_answers()
    assert not inbox.is_answer_due(pulled=True)


def test_failed_pulls_are_spaced_out_and_obey_retry_after() -> None:
    inbox, waits = watching("a"), []
    for _ in range(10):
        inbox.record_failure("x", None, 0.0)
        waits.append(inbox.next_pull)
    assert waits == sorted(waits)
    assert waits[-1] == 60.0
    inbox.record_failure("x", ServiceError(429, 10250, "", 300.0), 0.0)
    assert inbox.next_pull == 300.0
    assert "x" in inbox.trouble
    inbox.record_messages([], 0.0)
    assert inbox.trouble == ""


# ------------------------------------------------------------------------------------------------ patience


def test_polls_are_put_off_until_pulls_have_failed_three_times() -> None:
    inbox = watching("a")
    for _ in range(2):
        inbox.record_failure("x", None, 0.0)
    assert inbox.patience == SETTINGS.safety_net
    inbox.record_failure("x", None, 0.0)
    assert inbox.patience == 0.0
    inbox.record_messages([], 1.0)
    assert inbox.patience == SETTINGS.safety_net


def test_polls_are_not_put_off_where_most_jobs_end_without_an_event_and_again_once_events_come() -> None:
    inbox = watching(*(str(n) for n in range(20)))
    left = [str(n) for n in range(20)]
    seen = []
    for _ in range(6):  # found by the safety net
        left.pop()
        inbox.watch("shard", tickets(*left), 1.0)
        seen.append(inbox.patience > 0)
    assert seen == [True, True, True, True, False, False]
    for _ in range(4):
        inbox.record_messages([ended(left.pop())], 2.0)
        inbox.watch("shard", tickets(*left), 2.0)
    assert inbox.patience == SETTINGS.safety_net


def test_an_event_that_comes_late_says_that_events_come() -> None:
    inbox = watching(*"abcdef")
    inbox.watch("shard", tickets("f"), 1.0)
    assert inbox.patience == 0.0
    inbox.record_messages([ended(name) for name in "abcd"], 2.0)
    assert inbox.patience == SETTINGS.safety_net


# ------------------------------------------------------------------------------------------------ whatever comes


@settings(derandomize=True, max_examples=300)
@given(st.data())
def test_every_lease_is_answered_once_and_none_of_a_ticket_in_flight(data: st.DataObject) -> None:
    inbox = Inbox(SETTINGS)
    shards: dict[str, frozenset[str]] = {"s": NOBODY, "t": NOBODY}
    let_go: set[str] = set()
    given_out: dict[str, tuple[str, int]] = {}
    told: Counter[str] = Counter()
    started = 0
    for now in range(data.draw(st.integers(1, 25))):
        shard = data.draw(st.sampled_from(sorted(shards)))
        gone = data.draw(st.sets(st.sampled_from(sorted(shards[shard])))) if shards[shard] else set()
        inbox.watch(shard, shards[shard], float(now))
        new = {f"ticket-{started + n}" for n in range(data.draw(st.integers(0, 3)))}
        started += len(new)
        inbox.expect(shard, frozenset(new), float(now))
        shards[shard] = shards[shard] - gone | new
        let_go |= gone
        names = sorted({f"ticket-{n}" for n in range(started)} | {"foreign"})
        messages: list[Any] = []
        for name in data.draw(st.lists(st.sampled_from(names), max_size=5)):
            lease, attempts = f"{name}#{len(given_out) + len(messages)}", data.draw(st.integers(1, 6))
            messages.append(ended(name, lease, attempts))
        given_out |= {m.lease_id: (str(m.request_id), m.attempts) for m in messages}
        inbox.record_messages(messages, float(now))
        acks, retries = inbox.take_answers()
        told.update([*acks, *retries])
        in_flight = frozenset[str]().union(*shards.values())
        for lease in acks:
            name, attempts = given_out[lease]
            assert name not in in_flight, "an event was acknowledged before its answer was taken"
            assert name in let_go or attempts > HAND_BACKS
        for lease in retries:
            assert given_out[lease][0] == "foreign"
            assert given_out[lease][1] <= HAND_BACKS
    for shard in shards:
        inbox.watch(shard, shards[shard], 25.0)
        inbox.watch(shard, NOBODY, 26.0)
    acks, retries = inbox.take_answers()
    told.update([*acks, *retries])
    assert told == Counter(dict.fromkeys(given_out, 1))


@pytest.mark.parametrize("workers", [1, 2, 3, HAND_BACKS + 1])
def test_so_many_workers_of_one_job_each_get_their_own_events(workers: int) -> None:
    draw, queue, ends = random.Random(workers), Messages(seed=workers), {}
    inboxes, own = [Inbox(SETTINGS) for _ in range(workers)], [set[str]() for _ in range(workers)]
    for n in range(100):
        ends[f"ticket-{n}"] = draw.uniform(5, 300)
        own[draw.randrange(workers)].add(f"ticket-{n}")
        queue.send(f"ticket-{n}".encode(), ends[f"ticket-{n}"])
    waited = []
    for now in (step / 4 for step in range(4 * 350)):
        for worker in draw.sample(range(workers), workers):
            inbox, open_tickets = inboxes[worker], frozenset(own[worker])
            inbox.watch("shard", open_tickets, now)
            if inbox.is_pull_due(now):
                pulled = queue.pull(MOST_MESSAGES, SETTINGS.lease, now)
                inbox.record_messages([ended(d.message.body.decode(), d.lease, d.attempts) for d in pulled], now)
                acks, retries = inbox.take_answers()
                queue.acknowledge(acks)
                queue.hand_back([(lease, 0.0) for lease in retries], now)
            waited += [now - ends[ticket] for ticket in inbox.ended(open_tickets)]
            own[worker] -= inbox.ended(open_tickets)
    assert own == [set()] * workers, "an event was acknowledged by a worker that did not know its ticket"
    assert sum(waited) / len(waited) < HAND_BACK_PAUSE


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    "settings",
    [
        {"queue": ""},
        {"queue": "a/b"},
        {"queue": 7},
        {"queue": "q", "safety_net": -1},
        {"queue": "q", "safety_net": float("nan")},
        {"queue": "q", "interval": 0},
        {"queue": "q", "interval": 5},
        {"queue": "q", "lease": 0.5},
        {"queue": "q", "lease": 86_400},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as told:
        Events(**settings)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "how", [{"api": "run"}, {"api": "chat"}, {"gateway": kb.Gateway("g", in_url=True)}, {"openai_url": "http://x/v1"}]
)
def test_events_are_refused_where_nothing_sends_or_reaches_them(how: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="events: "):
        kb.Extract({}, service=kb.WorkersAI(ACCOUNT, **how), events="f1" * 16)
