"""Earlier submissions of documents, the job that continues one, and how its submit is counted.

`kimi_beam.journal.recall` finds them in the journal, or in the dead letters that the documents were read from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from kimi_beam.queue.jobs import Job
from kimi_beam.request.batches import Item, Spent
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply

DOUBTFUL = Failure(
    "submit",
    "unknown_submit",
    "an earlier worker was lost while it submitted this, so it may have been paid for",
    retryable=True,
)
"""The failure of documents whose submit is unknown and is not repeated."""


@dataclass(frozen=True, slots=True)
class EarlierSubmission:
    """An earlier submission, with those of its documents that are in a batch again.

    Attributes:
        request_id: The id of its job; None if it is not known whether the service accepted it.
        name: The name that the references of its requests begin with.
        form: The form in which it was asked.
        count: The number of its requests.
        at: When it was submitted, in Unix seconds. None: its answer was given up before, and is waited for anew.
        items: The documents that are in the batch again.
        positions: The index of each of them in the earlier submission.
        spent: Tokens and attempts that each of them has used before.
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
    """The documents of a batch, separated by what the journal knows of them.

    Attributes:
        answered: The replies of documents that were paid for already.
        in_flight: The submissions that the service has accepted, with their documents.
        doubtful: The submissions of which it is not known whether the service accepted them.
        fresh: The batch of all other documents; None if there are none. It is the given batch itself if the journal
            knows none of its documents.
    """

    answered: Sequence[Reply]
    in_flight: list[EarlierSubmission]
    doubtful: list[EarlierSubmission]
    fresh: bytes | None


def job_continuing(submission: EarlierSubmission, batch_id: str, now: float, grace: float, assumed_age: float) -> Job:
    """The job that continues an earlier submission.

    Args:
        submission: The submission.
        batch_id: The id of the batch of its documents.
        now: Unix seconds.
        grace: Seconds after an unknown submit before it is repeated.
        assumed_age: The age in seconds that the job is given if its answer was given up before (`submission.at` is
            None).
    """
    count = len(submission.items)
    at = now - assumed_age if submission.at is None else submission.at
    if submission.request_id is None:
        # `min`: if the clock was set back since, the wait is no longer than `grace`.
        return Job(batch_id, count, max(now, min(at, now) + grace), now, unknown=1, attempts=1)
    submitted_as = submission.name, submission.count, tuple(submission.positions)
    # Its event may have gone to the earlier worker, so that none is waited for.
    return Job(batch_id, count, now, at, submission.request_id, attempts=1, submitted_as=submitted_as, event_seen=True)


def with_open_request(document: Document, request_id: str | None = None) -> Document:
    """Settles how the submit of a document's open request is counted. The request itself is taken from the document.

    Args:
        document: A document that may have an open request.
        request_id: The job that the document is now part of. If it is the open request, the job counts the submit.
            None: the document is asked anew. The open request is abandoned then, and the document counts its submit.
    """
    earlier = document.earlier
    if earlier.open is None:
        return document
    is_abandoned = earlier.open.request_id != request_id
    return document.with_earlier(replace(earlier, attempts=earlier.attempts + is_abandoned, open=None, parts=()))
