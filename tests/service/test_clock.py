"""Clocks that jump: what is in flight is neither given up nor forgotten because somebody set the time."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import TimestampCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.timestamp import Timestamp
from harness import QUICK, receipts, run_extract, service

import kimi_beam as kb
from kimi_beam.commands.preflight import check_events, check_service
from kimi_beam.emulator import Emulator
from kimi_beam.errors import ConfigError
from kimi_beam.queue import jobs, state_machine
from kimi_beam.queue.effects import GiveUp
from kimi_beam.queue.jobs import Job, Shard, rebased, wake
from kimi_beam.service import clock, retry_limits
from kimi_beam.service.polling import Polling
from kimi_beam.wire.protocol import Pending

DAY = 86_400.0
POLLING = Polling()


@contextmanager
def jumping(monkeypatch: pytest.MonkeyPatch, seconds: float, after: float = 0.5) -> Iterator[None]:
    """The wall clock of this process is set by so many seconds, a moment from now."""
    real = time.time
    jump = threading.Event()
    timer = threading.Timer(after, jump.set)
    timer.start()
    with monkeypatch.context() as m:
        m.setattr(time, "time", lambda: real() + (seconds if jump.is_set() else 0.0))
        try:
            yield
        finally:
            timer.cancel()
    assert jump.is_set(), "the run was over before the clock was set"


@pytest.mark.parametrize("seconds", [2 * DAY, -2 * DAY, 40 * 365 * DAY], ids=["ahead", "back", "far ahead"])
@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_wall_clock_that_is_set_during_a_run_changes_nothing(
    seconds: float, api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(latency=2.0) as emulator, jumping(monkeypatch, seconds):
        where = service(emulator.base_url, api=api)
        outcome = run_extract(receipts(20), "", tmp_path / "out", where=where, polling=QUICK)
        assert emulator.stats()["submits" if api == "batch" else "runs"] in (1, 20)
    assert outcome.codes == {}
    assert len(outcome.rows) == 20


def test_the_time_goes_on_from_the_wall_clocks_whatever_that_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(clock.now() - time.time()) < 60
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + DAY)
    assert abs(clock.now() - real()) < 60


def test_a_sleep_that_the_system_refuses_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(seconds: float) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(time, "sleep", refuse)
    clock.pause(0.01)
    clock.pause(-1.0)


@pytest.mark.parametrize("now", [-60 * 365 * DAY, 0.0, 2e9, 300 * 365 * DAY], ids=["before 1970", "0", "2033", "2270"])
@pytest.mark.parametrize("seconds", [-1e9, 0.0, 5.0, 1e13, 1e300, math.inf])
def test_a_timer_of_a_runners_is_at_a_time_that_beam_has(
    now: float, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: now)
    at = Timestamp.of(clock.wall_in(seconds))
    assert 0 <= at - now <= min(max(0.0, seconds), 366 * DAY)
    assert TimestampCoder().decode(TimestampCoder().encode(at)) == at


def test_waits_of_any_length_are_kept_or_refused_at_once() -> None:
    assert kb.Rolling(max_seconds=math.inf).max_seconds == kb.Batching(max_wait=math.inf).max_wait == math.inf
    refused: list[Callable[[], Any]] = [
        lambda: kb.Rolling(max_seconds=math.nan),
        lambda: kb.Batching(max_wait=math.nan),
        lambda: kb.ReadContinuously("*.txt", interval=math.nan),
        lambda: kb.ReadContinuously("*.txt", interval=math.inf),
        lambda: kb.ReadContinuously("*.txt", quiet=math.nan),
        lambda: kb.ReadContinuously("*.txt", until=math.nan),
    ]
    for make in refused:
        with pytest.raises(ConfigError):
            make()


@pytest.mark.parametrize("until", [1e13, 1e300, math.inf])
@pytest.mark.parametrize("runner", ["FnApiRunner", "FlinkRunner"])
def test_a_stream_that_is_to_end_after_all_times_has_no_end(until: float, runner: str) -> None:
    pipeline = beam.Pipeline(runner, options=PipelineOptions([]))
    pipeline | kb.ReadContinuously("*.txt", until=until)
    pipeline.to_runner_api()


@pytest.mark.parametrize("check", [check_service, check_events])
def test_a_check_of_the_service_sleeps_as_all_do(check: Callable[..., Any]) -> None:
    """A system whose clock is set may refuse to sleep: `clock.pause` survives it."""
    assert inspect.signature(check).parameters["sleep"].default is clock.pause


# ------------------------------------------------------------------------------------------------ between two workers


def in_flight(since: float, due: float, polls: int) -> Shard:
    return Shard((Job("b", 3, due, since, request_id="r", polls=polls),))


def looked_at(shard: Shard, now: float) -> tuple[float, float]:
    """When it is first polled after a change of clocks, and when it is given up."""
    shard = rebased(shard, now, POLLING.ceiling)
    first = max(now, wake(shard) or 0.0)
    at = first
    while True:
        shard, effects = state_machine.polled(shard, shard.jobs[0], Pending(), at, POLLING)
        if effects:
            assert isinstance(effects[0], GiveUp)
            assert effects[0].failure.code == "deadline"
            return first, at
        at = wake(shard) or 0.0


@pytest.mark.parametrize("polls", [0, 1, 30])
def test_a_clock_that_is_ahead_of_the_one_before_gives_nothing_up_at_once(polls: int) -> None:
    """The job may be a minute old: whoever took it over cannot know."""
    first, end = looked_at(in_flight(1_000.0, 1_060.0, polls), 1_060.0 + 3 * DAY)
    assert first == 1_060.0 + 3 * DAY
    assert end - first >= retry_limits.OUTAGE


def test_a_job_that_was_polled_up_to_its_deadline_is_given_up_there() -> None:
    _, end = looked_at(in_flight(1_000.0, 1_000.0 + DAY, 1_500), 1_000.0 + DAY)
    assert end == 1_000.0 + DAY


def test_a_job_that_nobody_looked_at_is_waited_for_once_more_and_not_for_ever() -> None:
    first, end = looked_at(in_flight(1_000.0, 1_060.0, 5), 1_000.0 + 9 * DAY)
    assert retry_limits.OUTAGE <= end - first <= retry_limits.OUTAGE + 2 * POLLING.ceiling


def test_a_clock_that_is_behind_the_one_before_puts_nothing_off() -> None:
    now = 1_000_000.0
    ahead = in_flight(now + DAY, now + DAY + 60, 3)
    waiting = Job("c", 3, now + DAY, now + DAY)
    shard = replace(ahead, jobs=(*ahead.jobs, waiting), submits_from=now + 3 * DAY, polls_from=0.0)
    after = rebased(shard, now, POLLING.ceiling)
    assert [job.since for job in after.jobs] == [now, now]
    assert [job.due for job in after.jobs] == [now, now]
    assert after.submits_from == now + DAY, "no Retry-After is longer than a day"
    assert jobs.due(after, now) == [after.jobs[0]]
    _, end = looked_at(ahead, now)
    assert end == now + POLLING.deadline


def test_waits_as_the_service_asks_for_them_are_kept() -> None:
    now = 1_000_000.0
    shard = Shard((Job("b", 3, now + 3_000, now - 5),), submits_from=now + 3_000)
    assert rebased(shard, now, POLLING.ceiling).submits_from == now + 3_000
    assert wake(rebased(shard, now, POLLING.ceiling)) == now + 3_000
    ordinary = Shard((Job("b", 3, now + 60, now - 5, request_id="r"), Job("c", 3, now + 120, now)))
    assert rebased(ordinary, now, POLLING.ceiling) is ordinary
