"""When to look again: never at once, never too late, and the same in every replay."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from statistics import mean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.errors import ConfigError
from kimi_beam.service.polling import Polling, chance

_pollings = st.builds(
    lambda first, more, factor: Polling(first=first, factor=factor, ceiling=first + more),
    first=st.floats(1e-3, 600),
    more=st.floats(0, 3_600),
    factor=st.floats(1, 10),
)


@settings(derandomize=True, max_examples=300)
@given(_pollings, st.text(max_size=12), st.integers(0, 10**9))
def test_a_wait_is_positive_and_at_most_the_ceiling_however_often_a_job_was_polled(
    polling: Polling, job: str, polls: int
) -> None:
    assert 0.8 * polling.first <= polling.wait(job, polls) <= polling.ceiling


@settings(derandomize=True, max_examples=300)
@given(_pollings, st.text(max_size=12), st.integers(1, 40))
def test_waiting_grows_from_poll_to_poll_but_for_a_fifth_of_jitter(polling: Polling, job: str, polls: int) -> None:
    assert polling.wait(job, polls + 1) >= 0.8 * polling.wait(job, polls)
    full = min(polling.ceiling, polling.first * polling.factor**polls)
    assert 0.8 * full <= polling.wait(job, polls) <= full


def test_the_first_poll_comes_after_exactly_the_first_wait() -> None:
    assert {Polling(first=7.0).wait(f"job {n}", 0) for n in range(50)} == {7.0}


def test_a_day_at_the_defaults_is_some_thousand_polls_and_not_more() -> None:
    elapsed, polls = 0.0, 0
    while elapsed < Polling().deadline:
        elapsed += Polling().wait("job", polls)
        polls += 1
    assert 1_440 <= polls <= 1_440 / 0.8 + 20


def test_jobs_that_were_submitted_together_drift_apart() -> None:
    waits = [Polling().wait(f"job {n}", 20) for n in range(200)]
    assert len(set(waits)) == 200
    assert max(waits) - min(waits) > 0.15 * Polling().ceiling


@settings(derandomize=True, max_examples=300)
@given(_pollings, st.text(max_size=12), st.integers(0, 10**9))
def test_a_refused_submit_is_never_tried_again_at_once_nor_later_than_the_ceiling(
    polling: Polling, job: str, tries: int
) -> None:
    full = min(polling.ceiling, polling.first * 2.0 ** min(tries, 64))
    assert 0.1 * full <= polling.backoff(job, tries) <= full


@settings(derandomize=True)
@given(st.lists(st.text() | st.integers(), max_size=3))
def test_chance_is_a_fraction_that_depends_on_its_key_alone(key: list[Any]) -> None:
    assert 0 <= chance(*key) < 1
    assert chance(*key) == chance(*key)


def test_chance_is_spread_evenly() -> None:
    draws = [chance("job", n) for n in range(4_000)]
    assert abs(mean(draws) - 0.5) < 0.02
    tenths = Counter(int(draw * 10) for draw in draws)
    assert all(320 < tenths[n] < 480 for n in range(10))
    assert chance("a", 1) != chance("a1"), "two keys must not run together"


def test_a_replay_in_another_process_waits_as_the_first_run_did() -> None:
    code = "from kimi_beam.service.polling import Polling; print([Polling().wait('é', n) for n in range(9)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([Polling().wait("é", n) for n in range(9)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 0},
        {"first": -1},
        {"first": float("nan")},
        {"first": 61},
        {"ceiling": 0.5},
        {"ceiling": float("nan")},
        {"factor": 0.99},
        {"deadline": 0},
        {"deadline": -1},
    ],
)
def test_waits_that_would_spin_shrink_or_never_begin_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Polling(**wrong)  # type: ignore[arg-type]


def test_a_constant_wait_is_allowed() -> None:
    polling = Polling(first=5, factor=1, ceiling=5, deadline=0.1)
    assert all(4 <= polling.wait("job", n) <= 5 for n in range(100))
