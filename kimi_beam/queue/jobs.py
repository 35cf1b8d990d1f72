"""What a shard knows of its batches: `Job` and `Shard`, when which is due, and how they wait in a runner's state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

import orjson

from kimi_beam.errors import StateError
from kimi_beam.types import Ticket


@dataclass(frozen=True, slots=True)
class Job:
    """A batch that is to be submitted, or is in flight. Times are Unix seconds.

    Attributes:
        batch_id: Which batch.
        count: Its documents.
        due: When to act on it next.
        since: When it was admitted; once accepted, when that was. The deadline counts from it.
        request_id: The service's id; None while it is to be submitted.
        polls: Polls since it was accepted.
        delays: Times it was told to come back later, or could not connect, in a row.
        refusals: Submits refused for trouble of the service.
        unknown: Submits that ended without a word.
        attempts: Submits that the service saw, "come back later" not counted.
        gone: Polls in a row that said "no such job".
        resubmitted: Whether it was submitted again because the service lost it, or was not done in time.
        turned_away: Polls in a row that met account trouble.
        trouble: What went wrong last, for the dead letter.
        replaces: The request id whose place it then takes.
        event_seen: Whether its event has come, or may have gone to a worker that was lost. It is polled at the usual
            pace then.
        rereads: Times that it was read again because a finished reply lacked some of its items.
        empty: Polls in a row that called it done and sent no list of results.
        empty_since: When the first of those was made.
        grace_until: To when the deadline was put off, as nobody had looked at the job for long when it was found past
            it; 0 where it was not.
        submitted_as: For a job that an earlier run submitted: the name in its references, the number of its requests,
            and which of them are this batch's documents. None: the batch is the job's own, whole.
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
    turned_away: int = 0
    trouble: str = ""
    submitted_as: tuple[str, int, Sequence[int]] | None = None
    event_seen: bool = False
    replaces: str | None = None
    rereads: int = 0
    empty: int = 0
    empty_since: float = 0.0
    grace_until: float = 0.0

    @property
    def requests(self) -> tuple[str, int, Sequence[int]]:
        """What the references of its requests begin with, how many they are, and which of them its documents are."""
        return self.submitted_as or (self.batch_id, self.count, range(self.count))

    @property
    def ticket(self) -> Ticket:
        """The job as a dead letter or a row names it."""
        return Ticket(self.request_id, self.attempts)


@dataclass(frozen=True, slots=True)
class Shard:
    """All that one key's state says about its jobs.

    Attributes:
        jobs: What is to be submitted or in flight, oldest first.
        submits_from: No submit before this time.
        polls_from: No poll before this time.
        parked_until: The quota is spent: until then every batch is given up unsent. 0 where it is not.
        vain_refusals: Submits refused for good since one was accepted.
    """

    jobs: tuple[Job, ...] = ()
    submits_from: float = 0.0
    polls_from: float = 0.0
    parked_until: float = 0.0
    vain_refusals: int = 0


def admit(shard: Shard, batches: Iterable[tuple[str, int]], now: float) -> Shard:
    """Takes batches (id, documents) in as jobs to be submitted from the next slice on."""
    return replace(shard, jobs=(*shard.jobs, *(Job(batch_id, count, now, now) for batch_id, count in batches)))


def adopt(shard: Shard, job: Job) -> Shard:
    """Takes a job in that an earlier run submitted, or may have."""
    return replace(shard, jobs=(*shard.jobs, job))


def mark_event_seen(shard: Shard, ended: Set[str], now: float) -> Shard:
    """Has the jobs polled now whose event has come (by request id). What was told before changes nothing."""
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
    """The jobs to act on now, longest due first: without a request id to be submitted, else to be polled.

    Args:
        shard: Of the jobs.
        now: Unix seconds.
        patience: Seconds that polls of jobs are put off for while no event has told of them.
        deadline: Seconds from a job's submit past which its poll is put off no further.
    """
    ready = (job for job in shard.jobs if _when(shard, job, patience, deadline) <= now)
    return sorted(ready, key=lambda job: job.due)


def wake(shard: Shard, patience: float = 0.0, deadline: float = math.inf) -> float | None:
    """When the next job is due, None where there is none. The arguments are those of `due`."""
    return min((_when(shard, job, patience, deadline) for job in shard.jobs), default=None)


def _when(shard: Shard, job: Job, patience: float, deadline: float) -> float:
    if job.request_id is None:
        return max(job.due, shard.submits_from)
    late = job.due if job.event_seen else max(job.due, min(job.due + patience, job.since + deadline))
    return max(late, shard.polls_from)


_LONGEST_WAIT = 600.0
"""Seconds from now beyond which no batch is due that waits for nothing else: longer waits stand at the shard."""

_LONGEST_DELAY = 86_400.0
"""Seconds that a ``Retry-After`` or a spent quota may hold a shard back."""


def rebased(shard: Shard, now: float, ceiling: float) -> Shard:
    """The shard after its clock was set back, as another worker's may be: nothing waits for a time that is past.

    Args:
        shard: As its state has it.
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
    """No submit and no poll before these times, in Unix seconds: this process may not send any yet."""
    return replace(shard, submits_from=max(shard.submits_from, submits), polls_from=max(shard.polls_from, polls))


def put(shard: Shard, job: Job) -> Shard:
    """The shard with this job in the place of its earlier self."""
    return replace(shard, jobs=tuple(job if j.batch_id == job.batch_id else j for j in shard.jobs))


def without(shard: Shard, jobs: Sequence[Job]) -> Shard:
    """The shard without some jobs."""
    gone = {job.batch_id for job in jobs}
    return replace(shard, jobs=tuple(j for j in shard.jobs if j.batch_id not in gone))


# ------------------------------------------------------------------------------------------------ in state

_VERSION = 3
"""Of the bytes below: another number for each change that an earlier kimi_beam would misread. Others are refused."""


def encode(shard: Shard) -> bytes:
    """The shard as it waits in state: fields go by their names, so that one with a default can be added later."""
    own = {name: getattr(shard, name) for name in Shard.__slots__ if name != "jobs"}
    jobs = [[getattr(job, name) for name in Job.__slots__] for job in shard.jobs]
    return orjson.dumps((_VERSION, own, Job.__slots__, jobs))


def decode(state: bytes | None) -> Shard:
    """The shard from state; None is a key that has none yet.

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
    except TypeError as e:  # a field that is not known here
        raise StateError.of("jobs", f"{version} with another's fields ({e})", (_VERSION,)) from None
