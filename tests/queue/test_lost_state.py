"""A worker is lost and the runner goes back to older state: another finds in the journal what was done since."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness import QUICK, extract_settings, packed, receipts, service

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.journal import files
from kimi_beam.journal.index import ANSWER, INTENT, NOTHING, TICKET, Entry
from kimi_beam.journal.recall import is_ahead
from kimi_beam.journal.records import Journaling, Submission
from kimi_beam.queue.earlier import EarlierSubmission, job_continuing
from kimi_beam.queue.jobs import Job
from kimi_beam.queue.state_layout import KeyedState
from kimi_beam.report.outcomes import OutcomesHandle
from kimi_beam.transforms.dispatch import DispatchBounded
from kimi_beam.transforms.state import _HELD, _QUEUE, _Bag, _Value

COUNT = 24
Cells = tuple[_Value, _Value, _Bag, list[_Bag], list[_Bag]]


class Worker:
    """One that holds a shard, slice by slice, as on a runner that commits after each."""

    def __init__(self, url: str, journal: Journaling, polling: kb.Polling) -> None:
        files._journals.forget_all()  # another process has an index of its own
        asked = extract_settings(
            service(url), batching=kb.Batching(max_items=4), polling=polling, max_in_flight=4, journaling=journal
        )
        self._step = DispatchBounded(asked, OutcomesHandle(), 1)
        self._step.setup()

    def slices(self, cells: Cells) -> Iterator[list[str]]:
        """Does slice after slice; the ids of the documents that leave in each."""
        while True:
            replies: list[Any] = []
            more = None
            going = self._step._take_turn("0", KeyedState(*cells))
            while more is None:
                try:
                    replies += next(going)
                except StopIteration as end:
                    more = end.value
            yield [reply.document.id for reply in replies]
            if not more:
                return

    def leave(self) -> None:
        self._step.teardown()


def fresh() -> Cells:
    asked = extract_settings(service("http://127.0.0.1:1"))
    inbox = _Bag(packed([document], asked) for document in receipts(COUNT))
    return _Value(), _Value(), inbox, [_Bag() for _ in _QUEUE], [_Bag() for _ in _HELD]


@pytest.mark.parametrize("faults", ["", "json_mode=0.4", "expired=0.3", "never_ends=0.3"])
@pytest.mark.parametrize(("died", "kept"), [(2, 0), (2, 1), (3, 1), (4, 1), (5, 2), (7, 1), (9, 4)])
def test_what_was_done_since_the_state_was_kept_is_not_done_again(
    died: int, kept: int, faults: str, tmp_path: Path
) -> None:
    polling = kb.Polling(QUICK.first, QUICK.factor, QUICK.ceiling, 0.5, "resubmit")
    journal = Journaling(str(tmp_path), grace=0.1)
    with Emulator(latency=0.1, seed=died, faults=faults) as emulator:
        state, left, kept_state = fresh(), Counter[str](), fresh()
        first = Worker(emulator.base_url, journal, polling)
        for number, ids in enumerate(first.slices(state), 1):
            if number <= kept:
                left.update(ids)
                kept_state = copy.deepcopy(state)
            if number == died:
                break
        first.leave()
        second = Worker(emulator.base_url, journal, polling)
        for ids in second.slices(kept_state):
            left.update(ids)
        second.leave()
        stats = emulator.stats()
    assert left == Counter(d.id for d in receipts(COUNT)), "a document was lost or doubled"
    assert stats["paid_twice"] == 0


def test_a_clock_that_was_set_back_makes_nobody_wait_for_a_submit_of_the_future() -> None:
    doubtful = EarlierSubmission(None, "b", 0, 1, at=5_000.0)
    assert job_continuing(doubtful, "b", 1_000.0, 60.0, 0.0).due == 1_060.0
    assert job_continuing(replace(doubtful, at=990.0), "b", 1_000.0, 60.0, 0.0).due == 1_050.0
    assert job_continuing(replace(doubtful, at=10.0), "b", 1_000.0, 60.0, 0.0).due == 1_000.0


def ahead(state: int, at: float, **job: Any) -> bool:
    class Known:
        def look_up(self, keys: Any) -> list[Entry | None]:
            return [None, Entry(state, at, 0, 0, 0)]

        def submission(self, _: Entry) -> Submission:
            return Submission("b", 0, (), at, "r")

    return is_ahead(Job("b", 2, due=100.0, since=50.0, **job), [b"", b""], Known())  # type: ignore[arg-type]


@pytest.mark.parametrize("state", [NOTHING, INTENT, TICKET, ANSWER])
def test_whatever_was_written_after_a_batch_was_due_is_news(state: int) -> None:
    assert ahead(state, 100.0)
    assert ahead(state, 100.0, resubmitted=True, replaces="lost")


def test_a_ticket_that_came_while_a_doubtful_submit_was_waited_for_is_news() -> None:
    assert ahead(TICKET, 99.0, unknown=1)
    assert ahead(ANSWER, 99.0, unknown=1)


def test_what_the_state_has_seen_is_none() -> None:
    assert not ahead(INTENT, 99.0, unknown=1)
    assert not ahead(NOTHING, 99.0)
    assert not ahead(TICKET, 99.0, resubmitted=True, replaces="r"), (
        "a job that the service lost would be polled for ever"
    )


def test_a_job_was_submitted_again_already_before_the_state_says_so() -> None:
    assert ahead(TICKET, 99.0, resubmitted=True, replaces="lost")
    assert ahead(ANSWER, 99.0, resubmitted=True, replaces="lost")
