"""What a run is projected to come to, by its first fifth."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kimi_beam.report import metrics
from kimi_beam.report.pace import Outlook, Pace, projected_usage
from kimi_beam.report.progress import Distribution, Snapshot
from kimi_beam.types.answer import Usage

COUNT = 2_000


def of_jobs(jobs: list[tuple[float, float, int]], now: float, read: int = COUNT) -> Snapshot:
    """The progress at a moment, of jobs that begin and end at given moments and have so many documents."""
    ended = [(begun, end, size) for begun, end, size in jobs if end <= now]
    settled = sum(size for _, _, size in ended)
    open_ = tuple((begun, size) for begun, end, size in jobs if begun <= now < end)
    counters = {metrics.DOCUMENTS: read, metrics.EXTRACTIONS: settled}
    took = {metrics.QUEUE_SECONDS: Distribution.of([end - begun for begun, end, _ in ended])} if ended else {}
    usage = Usage(100 * settled, 50 * settled, 10 * settled)
    flying = sum(size for _, size in open_)
    return Snapshot(counters, took, usage=usage, in_flight=len(open_), documents_in_flight=flying, jobs=open_)


def one_after_the_other() -> list[tuple[float, float, int]]:
    return [(10.0 * number, 10.0 * number + 10.0, 250) for number in range(8)]


def in_waves() -> list[tuple[float, float, int]]:
    return [(10.0 * (number // 4), 10.0 * (number // 4) + 10.0, 50) for number in range(40)]


def as_the_rate_allows() -> list[tuple[float, float, int]]:
    return [(1.0 * number, 1.0 * number + 8.0, 20) for number in range(100)]


@pytest.mark.parametrize("shape", [one_after_the_other, in_waves, as_the_rate_allows])
def test_after_a_fifth_the_end_is_known_within_a_tenth(shape: Callable[[], list[tuple[float, float, int]]]) -> None:
    jobs, pace = shape(), Pace()
    end = max(end for _, end, _ in jobs)
    now, seen = 0.0, 0
    while now < end:
        outlook = pace.observe(now, of_jobs(jobs, now))
        if sum(size for _, end_, size in jobs if end_ <= now) >= COUNT / 5:
            assert outlook.seconds_left is not None
            assert now + outlook.seconds_left == pytest.approx(end, rel=0.1), now
            seen += 1
        now += 0.5
    assert seen > 10


def test_nothing_is_projected_before_the_first_answer() -> None:
    pace = Pace()
    assert pace.observe(0.0, Snapshot({metrics.DOCUMENTS: 9})) == Outlook()
    assert pace.observe(5.0, of_jobs([(1.0, 99.0, 9)], 5.0)) == Outlook()


def test_at_the_end_no_time_is_left() -> None:
    pace, jobs = Pace(), one_after_the_other()
    for now in range(81):
        outlook = pace.observe(float(now), of_jobs(jobs, float(now)))
    assert outlook.seconds_left == 0
    assert outlook.usage == Usage(200_000, 100_000, 20_000)


def test_answers_of_the_journal_do_not_make_a_run_seem_fast() -> None:
    jobs, pace = one_after_the_other(), Pace()
    for now in range(31):
        seen = of_jobs(jobs, float(now), read=2 * COUNT)
        recalled = {
            metrics.RECALLED: COUNT,
            metrics.EXTRACTIONS: seen.extractions + COUNT,
            metrics.DOCUMENTS: 2 * COUNT,
        }
        outlook = pace.observe(
            float(now), Snapshot(recalled, seen.distributions, in_flight=1, documents_in_flight=250, jobs=seen.jobs)
        )
    assert outlook.seconds_left == pytest.approx(50, rel=0.1)


def test_documents_that_could_not_be_read_do_not_make_the_others_seem_cheap() -> None:
    counters = {metrics.DOCUMENTS: 1_000, metrics.EXTRACTIONS: 100, metrics.DEAD_LETTERS: 500}
    progress = Snapshot(counters, dead_letters={"unreadable": 500}, unasked=500, usage=Usage(1_000, 500, 100))
    assert projected_usage(progress) == Usage(5_000, 2_500, 500)


def test_a_long_run_keeps_few_moments() -> None:
    pace, jobs = Pace(), [(float(n), n + 1.0, 1) for n in range(0, 10_000, 5)]
    for now in range(10_000):
        outlook = pace.observe(float(now), of_jobs(jobs[max(0, now // 5 - 3) : now // 5 + 3], float(now)))
    assert len(pace._times) <= 2_000
    assert outlook is not None
