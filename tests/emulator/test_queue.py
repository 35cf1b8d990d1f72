from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from kimi_beam.emulator.queue import Queue, shuffled

OWNER = ("account", "model")


def queue(**options: float) -> Queue[str]:
    numbers = count(1)
    return Queue(new_id=lambda: f"job-{next(numbers)}", **options)


def status(q: Queue[str], request_id: str, now: float) -> str | None:
    found = q.poll(OWNER, request_id, now)
    return found and found[0]


def test_a_job_is_queued_then_running_then_done_and_stays_done() -> None:
    q = queue(latency=10)
    job = q.submit(OWNER, ["a"], 100.0)
    assert job.id == "job-1"
    assert [status(q, job.id, t) for t in (100, 104.9, 105, 109.9, 110, 1e6)] == [
        "queued",
        "queued",
        "running",
        "running",
        "done",
        "done",
    ]
    assert job.done_at == 110.0


def test_without_latency_the_first_poll_finds_it_done() -> None:
    q = queue()
    job = q.submit(OWNER, ["a"], 5.0)
    assert status(q, job.id, 5.0) == "done"


def test_a_job_is_forgotten_when_its_retention_is_over() -> None:
    q = queue(retention=60)
    job = q.submit(OWNER, ["a"], 0.0)
    assert status(q, job.id, 59.9) == "done"
    assert status(q, job.id, 60.0) is None


@pytest.mark.parametrize("owner", [("other", "model"), ("account", "other")])
def test_a_job_is_known_only_to_its_account_and_model(owner: Any) -> None:
    q = queue()
    job = q.submit(OWNER, ["a"], 0.0)
    assert q.poll(owner, job.id, 1.0) is None
    assert q.poll(OWNER, "unknown", 1.0) is None


@pytest.mark.parametrize(
    ("fate", "expected"), [("never_ends", "queued"), ("expired", None), ("fails", "failed"), ("runs", "done")]
)
def test_fates(fate: Any, expected: Any) -> None:
    q = queue(latency=1, retention=1000)
    job = q.submit(OWNER, ["a"], 0.0, fate=fate)
    assert status(q, job.id, 999) == expected


def test_jobs_in_flight_are_those_that_are_queued_or_running() -> None:
    q = queue(latency=10, retention=100)
    for now in (0.0, 1.0, 2.0):
        q.submit(OWNER, [], now)
    q.submit(OWNER, [], 3.0, fate="never_ends")
    assert [q.in_flight(t) for t in (3, 10, 11, 12, 102.9, 103)] == [4, 3, 2, 1, 1, 0]
    assert q.most_in_flight == 4
    q.reset_statistics()
    assert q.most_in_flight == 0


def test_order_is_a_permutation_that_seed_and_key_decide() -> None:
    order = shuffled(50, seed=7, key="k")
    assert sorted(order) == list(range(50)) != order
    assert order == shuffled(50, seed=7, key="k")
    assert order != shuffled(50, seed=8, key="k")
    assert order != shuffled(50, seed=7, key="l")
