"""What a shard knows of its batches: `Job` and `Shard`, and how they wait in a runner's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        told: Whether its event has come, or may have gone to a worker that was lost: it is polled at the usual pace.
        asked: Of a job that an earlier run submitted: the name its requests go by, how many they were, and which of
            them these documents are. None: all of the batch's own.
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
    asked: tuple[str, int, Sequence[int]] | None = None
    told: bool = False
    replaces: str | None = None

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


_VERSION = 3
_JOB_2 = (
    *("batch_id", "count", "due", "since", "request_id", "polls", "delays", "refusals", "unknown", "attempts", "gone"),
    *("resubmitted", "turned_away", "trouble", "asked"),
)
"""The fields of a job in version 2, in their order."""


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
    if version == 2:
        *values, jobs = rest
        names: Sequence[str] = _JOB_2
        own = dict(zip(("submits_from", "polls_from", "parked_until", "vain_refusals"), values, strict=True))
    elif version == _VERSION:
        own, names, jobs = rest
    else:
        raise StateError.of("jobs", version, (2, _VERSION))
    try:
        return Shard(tuple(Job(**dict(zip(names, job, strict=True))) for job in jobs), **own)
    except TypeError as e:  # a field that is not known here
        raise StateError.of("jobs", f"{version} with another's fields ({e})", (2, _VERSION)) from None
