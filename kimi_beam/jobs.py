"""What a shard knows of its batches: `Job` and `Shard`, and how they wait in a runner's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

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
        replaces: The request id whose place it takes, as the service lost that job or was not done in time; else None.
        turned_away: Polls in a row that met account trouble.
        trouble: What went wrong last, for the dead letter.
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
    replaces: str | None = None
    turned_away: int = 0
    trouble: str = ""
    asked: tuple[str, int, Sequence[int]] | None = None

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


def encode(shard: Shard) -> bytes:
    """The shard as it waits in state."""
    jobs = [tuple(getattr(job, name) for name in Job.__slots__) for job in shard.jobs]
    return orjson.dumps(
        (_VERSION, shard.submits_from, shard.polls_from, shard.parked_until, shard.vain_refusals, jobs),
    )


def decode(state: bytes | None) -> Shard:
    """The shard from state; None is a key that has none yet.

    Raises:
        ValueError: Another version of kimi_beam wrote the state.
    """
    if not state:
        return Shard()
    version, *rest = orjson.loads(state)
    if version != _VERSION:
        raise ValueError(f"jobs of version {version} in the pipeline's state; this kimi_beam reads {_VERSION}")
    submits_from, polls_from, parked_until, vain_refusals, jobs = rest
    return Shard(tuple(Job(*job) for job in jobs), submits_from, polls_from, parked_until, vain_refusals)
