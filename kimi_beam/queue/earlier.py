"""What is already known of a batch when a shard takes it in, and the job that goes on with an earlier submission.

`kimi_beam.journal.recall` finds it out, from the journal or from the dead letters that the documents were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kimi_beam.queue.jobs import Job
from kimi_beam.request.batches import Item, Spent
from kimi_beam.types import Failure, Reply

DOUBTFUL = Failure(
    "submit",
    "unknown_submit",
    "an earlier worker was lost while it submitted this, so it may have been paid for",
    retryable=True,
)
"""What a document is given up with where such a submit is not made again."""


@dataclass(frozen=True, slots=True)
class EarlierSubmission:
    """Documents of one earlier submission that are asked for again.

    Attributes:
        request_id: The job; None where it is not known whether the service accepted it.
        name: What the references of its requests begin with.
        form: Which way of asking.
        count: Its requests.
        at: Unix seconds of the submit; None where its answer was given up once, so that it is waited for anew.
        items: Its documents.
        positions: Of each in the earlier submission.
        spent: What each has come to before, where the batch says so.
    """

    request_id: str | None
    name: str
    form: int
    count: int
    at: float | None
    items: list[Item] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recalled:
    """A batch, parted.

    Attributes:
        answered: Replies that were paid for already.
        in_flight: By submission.
        doubtful: By submission: it is not known whether the service accepted it.
        fresh: The batch of the others as bytes; None where there is none. The batch itself where nothing is known.
    """

    answered: Sequence[Reply]
    in_flight: list[EarlierSubmission]
    doubtful: list[EarlierSubmission]
    fresh: bytes | None


def resumed(part: EarlierSubmission, batch_id: str, now: float, grace: float, believed: float) -> Job:
    """The job that goes on with an earlier submission.

    Args:
        part: What is asked for again.
        batch_id: Of its documents.
        now: Unix seconds.
        grace: Seconds after a submit that may have been accepted before it is made again.
        believed: Seconds that the job of an answer that was given up once has been waited for by now.
    """
    count = len(part.items)
    at = now - believed if part.at is None else part.at
    if part.request_id is None:
        # A clock that was set back since makes nobody wait for longer.
        return Job(batch_id, count, max(now, min(at, now) + grace), now, unknown=1, attempts=1)
    submitted_as = part.name, part.count, tuple(part.positions)
    # Told by an event that went to another worker, for all that is known.
    return Job(batch_id, count, now, at, part.request_id, attempts=1, submitted_as=submitted_as, event_seen=True)
