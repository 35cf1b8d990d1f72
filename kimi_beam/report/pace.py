"""How fast a run gets on, and what it will come to: figures that are projected from what it has done so far."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from kimi_beam.report import metrics
from kimi_beam.report.progress import Snapshot
from kimi_beam.types.answer import Usage

_MAX_MOMENTS = 2_000
"""So many moments are kept. Then each second one is forgotten."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run is projected to come to, if all documents that it will read have been read by now.

    Attributes:
        documents_per_second: How fast documents were settled in the later half of the time so far; None if none was.
        seconds_left: Seconds until the last document is settled; None if it cannot be told yet.
        usage: The tokens of all documents; None if no answer has come yet.
    """

    documents_per_second: float | None = None
    seconds_left: float | None = None
    usage: Usage | None = None


class Pace:
    """Projects the end of a run from its progress at several moments.

    What is done of a job in flight counts as well, by its age beside what jobs have taken so far: the documents of a
    job are all settled at once, so that these alone would go by jumps. Answers that the journal has cost no time, and
    what could not be read no money.
    """

    def __init__(self) -> None:
        self._times: list[float] = []
        self._done: list[float] = []

    def observe(self, now: float, progress: Snapshot) -> Outlook:
        """Takes in the progress at a moment.

        Args:
            now: The moment, in Unix seconds of `kimi_beam.service.clock`.
            progress: The progress at that moment.
        """
        free = progress.counters.get(metrics.RECALLED, 0) + progress.unasked
        settled = max(0, progress.settled - free)
        if not self._times and not settled and not progress.in_flight:
            return Outlook(usage=projected_usage(progress))  # nothing is sent yet
        done = settled + self._done_in_flight(now, progress)
        if done or not self._times:
            self._keep(now, done)
        # A bundle that is repeated is counted again, and a document is in flight again while it is repaired.
        left = max(0.0, progress.documents - free - done) if progress.settled < progress.documents else 0.0
        speed = self._speed()
        if not settled or not speed:
            return Outlook(None, 0.0 if not left and progress.settled else None, projected_usage(progress))
        return Outlook(speed, left / speed, projected_usage(progress))

    def _done_in_flight(self, now: float, progress: Snapshot) -> float:
        """How many documents the work would be that is done for those in flight; 0 while no job has ended."""
        if not progress.jobs:
            return progress.answered + progress.documents_in_flight / 2 if progress.settled else 0.0
        took = progress.distributions.get(metrics.QUEUE_SECONDS)
        if took is None or not took.sum:
            return 0.0
        mean = took.sum / took.count
        return sum(count * min(1.0, max(0.0, now - since) / mean) for since, count in progress.jobs)

    def _keep(self, now: float, done: float) -> None:
        if len(self._times) >= _MAX_MOMENTS:
            del self._times[1:-1:2], self._done[1:-1:2]
        self._times.append(now)
        self._done.append(done)

    def _speed(self) -> float:
        """Documents a second in the later half of the time since something was in flight."""
        begun, now = self._times[0], self._times[-1]
        start = max(0, bisect_left(self._times, (begun + now) / 2) - 1)
        seconds = now - self._times[start]
        return (self._done[-1] - self._done[start]) / seconds if seconds > 0 else 0.0


def projected_usage(progress: Snapshot) -> Usage | None:
    """The tokens of all documents that were read, if the others take as many as those that are settled.

    Returns:
        The tokens; None if no document is settled that the model was asked about.
    """
    asked = progress.settled - progress.unasked
    if asked <= 0:
        return None
    share = max(1.0, (progress.documents - progress.unasked) / asked)
    usage = progress.usage
    return Usage(
        round(usage.prompt_tokens * share), round(usage.cached_tokens * share), round(usage.completion_tokens * share)
    )
