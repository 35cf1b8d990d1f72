"""The pace and the window: never more than the service takes, never less than one, and no document left behind."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from throttled import Service, simulate

from kimi_beam.network.pacing import DECREASE, MINUTE, Gate, Pace, Window

# ------------------------------------------------------------------------------------------------ requests a minute

_steps = st.lists(
    st.tuples(st.floats(0, 70, allow_nan=False), st.none() | st.floats(0, 130, allow_nan=False)),
    min_size=1,
    max_size=80,
)


@settings(derandomize=True, max_examples=500)
@given(st.integers(1, 7), _steps, st.floats(0, 1e9))
def test_no_minute_ever_sees_more_than_the_limit_and_nothing_is_sent_while_it_is_held(
    limit: int, steps: list[tuple[float, float | None]], now: float
) -> None:
    gate, sent, held = Gate(limit), [], 0.0
    for passed, hold in steps:
        now += passed
        if hold is not None:
            gate.block_until(now + hold)
            held = max(held, now + hold)
        wait = gate.acquire(now)
        assert wait >= 0
        if wait == 0:
            assert now >= held
            sent.append(now)
    for first, later in zip(sent, sent[limit:], strict=False):
        assert later - first >= MINUTE - 1e-6, "more than the limit within 60 seconds"


@settings(derandomize=True, max_examples=300)
@given(st.integers(1, 20), st.integers(1, 200), st.floats(0, 1e6))
def test_a_request_sent_after_the_wait_gets_a_slot_and_the_limit_is_used_up(limit: int, count: int, now: float) -> None:
    gate, began, asked = Gate(limit), now, 0
    for _ in range(count):
        while wait := gate.acquire(now):
            now += wait
            asked += 1
    assert asked <= 3 * count, "told to come back for ever"
    assert now - began <= (count - 1) // limit * MINUTE + 1e-3, "slower than the service allows"


@settings(derandomize=True, max_examples=200)
@given(st.integers(1, 60), st.lists(st.integers(1, 8), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_processes_with_parts_of_a_limit_keep_to_it_together(
    limit: int, held: list[int], chance: random.Random
) -> None:
    """Each asks as fast as it may, beginning when it likes; parts that are smaller than one request come in turn."""
    parts = sum(held)
    paces = [Pace(limit) for _ in held]
    for pace, shards in zip(paces, held, strict=True):
        pace.share = Fraction(shards, parts)
    sent: list[float] = []
    for pace in paces:
        now = chance.uniform(0, 100)
        while now < 1_000:
            if wait := pace.wait(now):
                now += wait
            else:
                pace.sent(now)
                sent.append(now)
    sent.sort()
    if limit >= parts:
        for first, later in zip(sent, sent[limit:], strict=False):
            assert later - first >= MINUTE - 1e-6, "together more than the limit within 60 seconds"
    assert len(sent) <= (1_000 / MINUTE + 1) * limit + len(held), "together more than the limit in the long run"
    assert len(sent) >= limit * 900 / MINUTE / 2 - len(held), "less than half of the limit is used"


def test_a_process_that_holds_several_shards_has_their_sum_and_never_more_than_all() -> None:
    for share, count in ((Fraction(1, 4), 5), (Fraction(3, 4), 15), (Fraction(1), 20), (Fraction(9, 4), 20)):
        pace = Pace(20)
        pace.share = share
        while not pace.wait(0.0):
            pace.sent(0.0)
        assert len(pace._times) == count


def test_a_part_of_less_than_a_request_a_minute_is_one_in_several_minutes() -> None:
    pace = Pace(20)
    pace.share = Fraction(1, 80)
    assert pace.wait(0.0) == 0.0
    pace.sent(0.0)
    assert pace.wait(1.0) == pytest.approx(239.0)


def test_without_a_limit_nothing_waits_and_a_hold_counts_all_the_same() -> None:
    for gate in (Gate(), Gate(None), Gate(0)):
        assert {gate.acquire(5.0) for _ in range(1_000)} == {0.0}
        gate.block_until(35.0)
        assert gate.acquire(5.0) == 30.0
        assert gate.acquire(35.0) == 0.0


def test_a_shorter_hold_does_not_lift_a_longer_one() -> None:
    gate = Gate(3)
    gate.block_until(100.0)
    gate.block_until(10.0)
    assert gate.acquire(50.0) == 50.0


def test_a_request_that_has_to_wait_takes_no_slot() -> None:
    gate = Gate(2)
    assert [gate.acquire(0.0), gate.acquire(1.0)] == [0.0, 0.0]
    assert [gate.acquire(2.0) for _ in range(5)] == [58.0] * 5
    assert [gate.acquire(60.0), gate.acquire(61.0)] == [0.0, 0.0]
    assert gate.in_flight == 4


@pytest.mark.parametrize("limit", [1, 20])
def test_the_longer_of_hold_and_limit_is_waited_for(limit: int) -> None:
    gate = Gate(limit)
    for _ in range(limit):
        assert gate.acquire(0.0) == 0.0
    gate.block_until(30.0)
    assert gate.acquire(0.0) == 60.0
    gate.block_until(90.0)
    assert gate.acquire(0.0) == 90.0


# ------------------------------------------------------------------------------------------------ the window's laws

_happenings = st.lists(st.tuples(st.booleans(), st.floats(0, 5), st.floats(0, 30), st.integers(1, 64)), max_size=200)


@settings(derandomize=True, max_examples=500)
@given(_happenings)
def test_the_window_is_never_below_one_and_never_beyond_what_was_used(
    happenings: list[tuple[bool, float, float, int]],
) -> None:
    window, now, most = Window(), 0.0, 0
    for good, passed, took, in_flight in happenings:
        now += passed
        most = max(most, in_flight)
        before = window
        window = window.answered(now - took, in_flight) if good else window.throttled(now - took, now, in_flight)
        assert window.size >= 1
        assert window.size == math.inf or window.size <= most + 1, "room that nobody has used is widened"
        if good:
            assert before.size <= window.size <= before.size + 1, "an answer makes it smaller, or opens it at once"
        else:
            assert window.size <= max(1.0, before.size), "a refusal makes it larger"


def test_replies_that_tell_of_one_overload_count_once() -> None:
    window = Window().throttled(0.0, 1.0, 64)
    for _ in range(63):
        window = window.throttled(0.5, 1.1, 32)
    assert window.size == pytest.approx(64 * DECREASE)


def test_while_nothing_at_all_gets_through_one_request_at_a_time_finds_out_and_then_it_opens_quickly() -> None:
    window = Window().throttled(0.0, 1.0, 64)
    once = window.size
    for time in range(2, 8):
        window = window.throttled(time, time, 1)
    assert (window.size, window.threshold) == (1.0, once)
    rounds = 0
    while window.size < once:
        rounds += 1
        for _ in range(int(window.size)):
            window = window.answered(10.0, int(window.size))
    assert rounds <= 7, "an outage of some minutes costs an hour of slow growth"


def test_a_window_without_a_429_slows_nothing() -> None:
    window = Window()
    assert window.answered(1.0, 1_000_000) is window


def test_places_are_bounded_by_the_window_and_come_back() -> None:
    gate = Gate()
    assert [gate.acquire(0.0) for _ in range(10)] == [0.0] * 10
    gate.throttled(0.0, 1.0, lambda k: 0.0)
    gate.release()
    for _ in range(3):
        assert gate.acquire(1.0) == math.inf, "more in flight than the window has"
        gate.release()
    assert gate.in_flight == 6
    assert gate.acquire(1.0) == 0.0
    assert gate.acquire(1.0) == math.inf


@pytest.mark.parametrize(
    ("retry_after", "longest", "wait"), [(30.0, 100.0, 30.5), (30.0, 20.0, 20.0), (0.0, 99.0, 0.5)]
)
def test_the_services_own_word_is_law_and_no_leave_to_come_back_at_once(
    retry_after: float, longest: float, wait: float
) -> None:
    gate = Gate()
    gate.acquire(0.0)
    gate.throttled(0.0, 1.0, lambda k: 0.5, retry_after, longest)
    gate.release()
    assert gate.acquire(1.0) == wait


def test_repeated_429s_make_waits_longer_and_longer() -> None:
    gate, now, asked = Gate(), 0.0, []
    for _ in range(6):
        gate.acquire(now)
        gate.throttled(now, now, lambda k: asked.append(k) or 2.0**k)  # type: ignore[func-returns-value]
        gate.release()
        now += gate.acquire(now)
    assert asked == [0, 1, 2, 3, 4, 5]
    gate.answered(now)
    gate.throttled(now, now, lambda k: asked.append(k) or 0.0)  # type: ignore[func-returns-value]
    assert asked[-1] == 0, "an answer does not end the row"


# ------------------------------------------------------------------------------------------------ with a service


def _at_least(done: list[list[float]], ideal: float, part: float) -> bool:
    return ideal / max(max(times) for times in done) >= part


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("service", "processes", "documents", "seconds", "used", "refused"),
    [
        # seconds: what the service would need, never idle. used: which part of it is. refused: 429s an accepted request
        (lambda: Service(capacity=lambda t: 8, latency=10), 1, 1_000, 1_250, 0.75, 0.2),
        (lambda: Service(capacity=lambda t: 40, latency=10), 1, 4_000, 1_000, 0.75, 0.03),
        (lambda: Service(capacity=lambda t: 1, latency=5), 1, 400, 2_000, 0.85, 1.2),
        (lambda: Service(capacity=lambda t: 30, latency=10), 3, 1_000, 1_000, 0.75, 0.2),
        (lambda: Service(per_minute=20, latency=5), 1, 400, 1_200, 0.85, 0.8),
        (lambda: Service(per_minute=20, latency=5, retry_after=True), 1, 400, 1_200, 0.85, 0.4),
        (lambda: Service(per_minute=300, latency=1), 2, 3_000, 1_200, 0.85, 0.3),
    ],
    ids=["8-at-once", "40-at-once", "1-at-once", "30-at-once-by-3", "20-a-minute", "20-told", "300-a-minute-by-2"],
)
def test_it_settles_near_what_the_service_takes(
    service: Callable[[], Service],
    processes: int,
    documents: int,
    seconds: float,
    used: float,
    refused: float,
    seed: int,
) -> None:
    asked = service()
    done = simulate(asked, [Gate() for _ in range(processes)], documents, seed=seed)
    assert all(time < math.inf for times in done for time in times), "a document was left behind"
    assert len(asked.accepted) == processes * documents, "a document was asked for twice"
    assert _at_least(done, seconds, used), "much of what the service takes is left unused"
    assert len(asked.refused) <= refused * len(asked.accepted), "most requests are sent to be refused"


@pytest.mark.parametrize("seed", range(3))
def test_processes_that_share_a_service_get_like_parts_of_it(seed: int) -> None:
    """None starves: each gets at least a third of its fair part while all of them ask."""
    asked = Service(capacity=lambda t: 30, latency=10)
    done = simulate(asked, [Gate() for _ in range(3)], 2_000, seed=seed)
    first = min(max(times) for times in done)
    counts = [sum(time <= first for time in times) for times in done]
    assert min(counts) >= sum(counts) / 3 / 3


@pytest.mark.parametrize("seed", range(3))
def test_documents_are_answered_in_about_the_order_in_which_they_came(seed: int) -> None:
    """No document is refused again and again while others pass."""
    asked = Service(capacity=lambda t: 4, latency=5)
    (times,) = simulate(asked, [Gate()], 1_000, seed=seed)
    order = sorted(range(len(times)), key=times.__getitem__)
    late = max(place - document for place, document in enumerate(order))
    assert late <= 4 * 64, "a document waited while hundreds that came after it were answered"


@pytest.mark.parametrize("seed", range(3))
def test_after_an_outage_it_is_soon_as_fast_as_before(seed: int) -> None:
    asked = Service(capacity=lambda t: 0 if 100 <= t < 700 else 1e9, latency=5)
    (times,) = simulate(asked, [Gate()], 20_000, seed=seed)
    before = sum(50 <= time < 100 for time in times)
    after = sum(850 <= time < 900 for time in times)
    assert after >= 0.6 * before, "minutes after the outage it is still slow"
    assert len(asked.refused) <= 64 + 64 + 30, "it hammers on a service that is not there"


def test_a_service_that_takes_all_is_given_all() -> None:
    asked = Service(latency=5)
    gate = Gate()
    (times,) = simulate(asked, [gate], 6_400)
    (free,) = simulate(Service(latency=5), [Gate()], 6_400)
    assert times == free
    assert max(times) <= 6_400 / 64 * 5 * 1.05
    assert gate.window == Window()


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 100), st.integers(0, 20)), min_size=1, max_size=5),
    st.integers(5, 200),
    st.booleans(),
    st.integers(1, 3),
    st.integers(0, 1_000),
)
def test_whatever_the_service_does_every_document_is_answered_once(
    phases: list[tuple[int, int]], per_minute: int, retry_after: bool, processes: int, seed: int
) -> None:
    """The service takes so many at once for so long, again and again; in between sometimes nothing."""
    phases = [*phases, (100, 5)]
    whole = sum(seconds for seconds, _ in phases)

    def capacity(now: float) -> float:
        now %= whole
        for seconds, most in phases:
            if now < seconds:
                return most
            now -= seconds
        return 0

    asked = Service(capacity=capacity, per_minute=per_minute, retry_after=retry_after, latency=3)
    gates = [Gate() for _ in range(processes)]
    done = simulate(asked, gates, 60, seed=seed)
    assert len(asked.accepted) == 60 * processes
    assert all(time < math.inf for times in done for time in times), "a document was left behind"
    assert {gate.in_flight for gate in gates} == {0}, "a place was lost"
