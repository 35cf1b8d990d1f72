"""The pace: no 60 seconds ever see more requests than the service takes, and nothing goes out while it is held."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.pacing import MINUTE, Pace

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
    pace, sent, held = Pace(limit), [], 0.0
    for passed, hold in steps:
        now += passed
        if hold is not None:
            pace.hold(now + hold)
            held = max(held, now + hold)
        wait = pace.take(now)
        assert wait >= 0
        if wait == 0:
            assert now >= held
            sent.append(now)
    for first, later in zip(sent, sent[limit:], strict=False):
        assert later - first >= MINUTE - 1e-6, "more than the limit within 60 seconds"


@settings(derandomize=True, max_examples=300)
@given(st.integers(1, 20), st.integers(1, 200), st.floats(0, 1e6))
def test_who_comes_back_when_told_gets_a_place_and_the_limit_is_used_up(limit: int, count: int, now: float) -> None:
    pace, began, asked = Pace(limit), now, 0
    for _ in range(count):
        while wait := pace.take(now):
            now += wait
            asked += 1
    assert asked <= 3 * count, "told to come back for ever"
    assert now - began <= (count - 1) // limit * MINUTE + 1e-3, "slower than the service allows"


def test_without_a_limit_nothing_waits_and_a_hold_counts_all_the_same() -> None:
    for pace in (Pace(), Pace(None), Pace(0)):
        assert {pace.take(5.0) for _ in range(1_000)} == {0.0}
        pace.hold(35.0)
        assert pace.take(5.0) == 30.0
        assert pace.take(35.0) == 0.0


def test_a_shorter_hold_does_not_lift_a_longer_one() -> None:
    pace = Pace(3)
    pace.hold(100.0)
    pace.hold(10.0)
    assert pace.take(50.0) == 50.0


def test_who_was_turned_away_has_taken_no_place() -> None:
    pace = Pace(2)
    assert [pace.take(0.0), pace.take(1.0)] == [0.0, 0.0]
    assert [pace.take(2.0) for _ in range(5)] == [58.0] * 5
    assert [pace.take(60.0), pace.take(61.0)] == [0.0, 0.0]


@pytest.mark.parametrize("limit", [1, 20])
def test_the_longer_of_hold_and_limit_is_waited_for(limit: int) -> None:
    pace = Pace(limit)
    for _ in range(limit):
        assert pace.take(0.0) == 0.0
    pace.hold(30.0)
    assert pace.take(0.0) == 60.0
    pace.hold(90.0)
    assert pace.take(0.0) == 90.0
