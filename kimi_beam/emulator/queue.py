"""The batch queue without I/O, clock or model: accepts jobs and reports their status.

Time is an argument in Unix seconds, so that a test can let a day pass in one line. A job is accepted, waits, runs, is
done at a time that is known from the start, and is forgotten after its retention. The queue only stores the items of a
job; the caller answers them.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Generic, Literal, TypeVar
from uuid import uuid4

Item = TypeVar("Item")
Status = Literal["queued", "running", "done", "failed"]
Fate = Literal["runs", "never_ends", "expired", "fails"]


@dataclass
class Job(Generic[Item]):
    """One accepted job.

    Attributes:
        id: The request id the client polls with.
        owner: Account and model, for which alone the request id is valid [assumed: ids are resolved per model queue].
        items: The items that were submitted; emptied once ``reply`` holds the answer.
        accepted_at: When it was accepted, in Unix seconds.
        done_at: When it will be done, in Unix seconds; infinity for a job that will never be done.
        fate: How it will end.
        failure: Code and message of a job that fails.
        reply: The finished job as it was first read, compressed, so that reading it again gives the same bytes
            [observed: works].
        key: The key of its documents, which does not depend on the id.
    """

    id: str
    owner: tuple[str, str]
    items: Sequence[Item]
    accepted_at: float
    done_at: float
    fate: Fate = "runs"
    failure: tuple[int, str] | None = None
    reply: bytes | None = field(default=None, repr=False)
    key: str = ""


class Queue(Generic[Item]):
    """Accepts jobs and reports their status.

    Args:
        latency: Seconds from acceptance until a job is done. The first half it is ``queued``, then ``running``.
        retention: Seconds from acceptance until a job is forgotten.
        new_id: Makes a request id. It is random by default even with a seed, because a restarted service must not know
            the ids of the one before it.
    """

    def __init__(
        self,
        *,
        latency: float = 0.0,
        retention: float = math.inf,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._latency = latency
        self._retention = retention
        self._new_id = new_id
        self._jobs: OrderedDict[str, Job[Item]] = OrderedDict()  # in order of acceptance, which is that of forgetting
        self._unfinished: list[tuple[float, str]] = []  # a heap of (end, id)
        self.most_in_flight = 0

    def submit(
        self,
        owner: tuple[str, str],
        items: Sequence[Item],
        now: float,
        *,
        fate: Fate = "runs",
        failure: tuple[int, str] | None = None,
    ) -> Job[Item]:
        """Accept a job.

        Args:
            owner: Account and model.
            items: The items of the job.
            now: The time in Unix seconds.
            fate: How the job will end.
            failure: Code and message, for the fate ``fails``.
        """
        self._forget(now)
        done_at = math.inf if fate == "never_ends" else now + self._latency
        job = Job(self._new_id(), owner, items, now, done_at, fate, failure)
        self._jobs[job.id] = job
        heapq.heappush(self._unfinished, (min(done_at, now + self._retention), job.id))
        self.most_in_flight = max(self.most_in_flight, len(self._unfinished))
        return job

    def poll(self, owner: tuple[str, str], request_id: str, now: float) -> tuple[Status, Job[Item]] | None:
        """Return a job and its status; None if this owner has no such job, or no longer."""
        self._forget(now)
        job = self._jobs.get(request_id)
        if job is None or job.owner != owner or job.fate == "expired":
            return None
        if now >= job.done_at:
            return ("failed" if job.fate == "fails" else "done"), job
        if job.fate != "never_ends" and now >= job.accepted_at + self._latency / 2:
            return "running", job
        return "queued", job

    def in_flight(self, now: float) -> int:
        """Return how many accepted jobs are queued or running."""
        self._forget(now)
        return len(self._unfinished)

    def reset_statistics(self) -> None:
        """Start counting the most jobs in flight anew."""
        self.most_in_flight = len(self._unfinished)

    def _forget(self, now: float) -> None:
        while self._unfinished and self._unfinished[0][0] <= now:
            heapq.heappop(self._unfinished)
        while self._jobs and next(iter(self._jobs.values())).accepted_at + self._retention <= now:
            self._jobs.popitem(last=False)


def shuffled(count: int, *, seed: int, key: str) -> list[int]:
    """Return the positions 0…count-1 in an order that only the seed and the key decide."""
    return sorted(range(count), key=lambda n: blake2b(f"{seed}\0{key}\0{n}".encode(), digest_size=8).digest())
