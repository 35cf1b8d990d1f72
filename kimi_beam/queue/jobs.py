"""The jobs of a shard: `Job` and `Shard`, when each job is due, and their bytes in a runner's state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

import orjson

from kimi_beam.errors import StateError
from kimi_beam.types.ticket import Ticket


@dataclass(frozen=True, slots=True)
class Job:
    """A batch that is to be submitted, or is in flight. Times are Unix seconds.

    Attributes:
        batch_id: The id of its batch (`kimi_beam.request.batches.Head.batch_id`).
        count: How many documents it has.
        due: When to submit or poll it next.
        since: When it was admitted or, once the service has accepted it, when that was. The deadline counts from it.
        request_id: The service's id of the job; None while it is not accepted.
        polls: How often it was polled since it was accepted.
        delays: How often in a row the service said to come back later, or could not be reached.
        refusals: Submits that the service refused because of trouble of its own.
        unknown: Submits that ended without a reply.
        attempts: Submits that the service received, without those that it told to come back later.
        gone: Polls in a row that said "no such job".
        resubmitted: Whether it was submitted again, because the service lost it or it had not ended by its deadline.
        account_trouble: Polls in a row that turned the account away.
        trouble: What went wrong last, for the dead letter; empty if nothing did.
        replaces: The request id of the job that it replaces, if it was submitted again; else None.
        event_seen: Whether its event has come, or may have gone to a worker that was lost. Then its polls are not
            delayed any more.
        rereads: How often it was polled again because a finished reply lacked some of its items.
        empty: Polls in a row that called it done without a list of results.
        empty_since: When the first of those was made.
        grace_until: The end of an extension of the deadline, which a job gets that was not polled for long before it; 0
            if it has none.
        submitted_as: For documents of a larger job, as of an earlier run: the name in its references, the number of its
            requests, and the index in it of each document of this batch. None: the job is this batch.
        reservation: The name of what is reserved for its latest submit, if there is a budget; else empty.
    """

    batch_id: str
    count: int
    due: float
    since: float
    request_id: str | None = None
    polls: int = 0
    delays: int = 0
    refusals: int = 0
    unknown: int = 0
    attempts: int = 0
    gone: int = 0
    resubmitted: bool = False
    account_trouble: int = 0
    trouble: str = ""
    submitted_as: tuple[str, int, Sequence[int]] | None = None
    event_seen: bool = False
    replaces: str | None = None
    rereads: int = 0
    empty: int = 0
    empty_since: float = 0.0
    grace_until: float = 0.0
    reservation: str = ""

    @property
    def requests(self) -> tuple[str, int, Sequence[int]]:
        """The name that its references begin with, the number of its requests, and the index of each document in it."""
        return self.submitted_as or (self.batch_id, self.count, range(self.count))

    @property
    def ticket(self) -> Ticket:
        """The request id and attempts, for rows and dead letters."""
        return Ticket(self.request_id, self.attempts)


@dataclass(frozen=True, slots=True)
class Shard:
    """The jobs of one shard. Times are Unix seconds.

    Attributes:
        jobs: The jobs to submit and those in flight, oldest first.
        submits_from: No job is submitted before this time.
        polls_from: No job is polled before this time.
        parked_until: When the quota is renewed. Until then every batch that is not sent is given up. 0 if it is not
            used up.
        vain_refusals: Submits that the service refused for good since it last accepted one.
    """

    jobs: tuple[Job, ...] = ()
    submits_from: float = 0.0
    polls_from: float = 0.0
    parked_until: float = 0.0
    vain_refusals: int = 0


def admit(shard: Shard, batches: Iterable[tuple[str, int]], now: float) -> Shard:
    """Makes jobs of batches, to be submitted from the next turn of the shard on.

    Args:
        shard: The shard.
        batches: The id of each batch and the number of its documents.
        now: Unix seconds.
    """
    return replace(shard, jobs=(*shard.jobs, *(Job(batch_id, count, now, now) for batch_id, count in batches)))


def with_added(shard: Shard, job: Job) -> Shard:
    """Adds a job to the shard."""
    return replace(shard, jobs=(*shard.jobs, job))


def mark_event_seen(shard: Shard, ended: Set[str], now: float) -> Shard:
    """Makes the jobs due whose event has come for the first time.

    Args:
        shard: The shard.
        ended: The request ids of the events.
        now: Unix seconds.
    """
    return replace(
        shard,
        jobs=tuple(
            replace(job, event_seen=True, due=min(job.due, now))
            if job.request_id in ended and not job.event_seen
            else job
            for job in shard.jobs
        ),
    )


def due(shard: Shard, now: float, patience: float = 0.0, deadline: float = math.inf) -> list[Job]:
    """The jobs to submit (without a request id) or to poll (with one) now, longest due first.

    Args:
        shard: The shard.
        now: Unix seconds.
        patience: Seconds by which the poll of a job is delayed while its event has not come.
        deadline: Seconds after a job's submit beyond which its poll is not delayed.
    """
    ready = (job for job in shard.jobs if _due_at(shard, job, patience, deadline) <= now)
    return sorted(ready, key=lambda job: job.due)


def wake(shard: Shard, patience: float = 0.0, deadline: float = math.inf) -> float | None:
    """When the next job is due, in Unix seconds; None if there is no job. The arguments are those of `due`."""
    return min((_due_at(shard, job, patience, deadline) for job in shard.jobs), default=None)


def _due_at(shard: Shard, job: Job, patience: float, deadline: float) -> float:
    if job.request_id is None:
        return max(job.due, shard.submits_from)
    poll = job.due if job.event_seen else max(job.due, min(job.due + patience, job.since + deadline))
    return max(poll, shard.polls_from)


_LONGEST_WAIT = 600.0
"""Seconds from now after which no job is due to be submitted: longer waits are in `Shard.submits_from`."""

_LONGEST_DELAY = 86_400.0
"""Seconds for which a ``Retry-After`` or a used-up quota may delay a shard, at most."""


def rebased(shard: Shard, now: float, ceiling: float) -> Shard:
    """The shard with times that make sense by this worker's clock, which may be behind the clock that they are from.

    Args:
        shard: The shard as it is in state.
        now: Unix seconds.
        ceiling: The longest wait between two polls, in seconds.
    """
    latest_delay = now + _LONGEST_DELAY
    if max(shard.submits_from, shard.polls_from, shard.parked_until) > latest_delay:
        submits, polls = min(shard.submits_from, latest_delay), min(shard.polls_from, latest_delay)
        shard = replace(
            shard, submits_from=submits, polls_from=polls, parked_until=min(shard.parked_until, latest_delay)
        )
    latest = now + max(2 * ceiling, _LONGEST_WAIT)
    if all(job.since <= now and job.due <= (now + ceiling if job.request_id else latest) for job in shard.jobs):
        return shard
    return replace(
        shard, jobs=tuple(_rebased(job, now, now + ceiling if job.request_id else latest) for job in shard.jobs)
    )


def _rebased(job: Job, now: float, latest: float) -> Job:
    return replace(job, since=min(job.since, now), due=now if job.due > latest else job.due)


def delay_until(shard: Shard, *, submits: float = 0.0, polls: float = 0.0) -> Shard:
    """Delays the shard: no submit and no poll before these times, in Unix seconds. 0 delays nothing."""
    return replace(shard, submits_from=max(shard.submits_from, submits), polls_from=max(shard.polls_from, polls))


def with_job(shard: Shard, job: Job) -> Shard:
    """The shard with a new value of the job of the same batch."""
    return replace(shard, jobs=tuple(job if j.batch_id == job.batch_id else j for j in shard.jobs))


def without(shard: Shard, jobs: Sequence[Job]) -> Shard:
    """The shard without some jobs."""
    removed = {job.batch_id for job in jobs}
    return replace(shard, jobs=tuple(j for j in shard.jobs if j.batch_id not in removed))


# ------------------------------------------------------------------------------------------------ in state

_VERSION = 3
"""The version of the bytes. A change that an earlier kimi_beam would misread gets a new one; other versions are
refused."""


def encode(shard: Shard) -> bytes:
    """The shard as bytes for state. They contain the fields' names, so that one with a default can be added later."""
    own = {name: getattr(shard, name) for name in Shard.__slots__ if name != "jobs"}
    jobs = [[getattr(job, name) for name in Job.__slots__] for job in shard.jobs]
    return orjson.dumps((_VERSION, own, Job.__slots__, jobs))


def decode(state: bytes | None) -> Shard:
    """Reads a shard from its state, which is None for a shard that has none yet.

    Raises:
        StateError: Another version of kimi_beam wrote the state.
    """
    if not state:
        return Shard()
    version, *rest = orjson.loads(state)
    if version != _VERSION:
        raise StateError.of("jobs", version, (_VERSION,))
    own, names, jobs = rest
    try:
        return Shard(tuple(Job(**dict(zip(names, job, strict=True))) for job in jobs), **own)
    except TypeError as e:  # bytes with a field that this version does not have
        raise StateError.of("jobs", f"{version} with another's fields ({e})", (_VERSION,)) from None
