"""What the journal already knows of a batch: which documents have their answer, which are in flight, which are new.

Pure but for the journal that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from kimi_beam import batching
from kimi_beam.batching import Spent
from kimi_beam.jobs import Job
from kimi_beam.journal import ANSWER, INTENT, TICKET, Answer, Entry, Submission
from kimi_beam.types import Document, Reply, Ticket, Usage


class Known(Protocol):
    """What is read of a journal."""

    def look_up(self, keys: Sequence[bytes]) -> list[Entry | None]:
        """The latest record of each key, None where there is none."""
        ...

    def submission(self, entry: Entry) -> Submission:
        """The submission that an entry stands for."""
        ...

    def answer(self, entry: Entry) -> Answer:
        """The answer that an entry stands for."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Documents of one earlier submission that are asked for again.

    Attributes:
        submission: The earlier one: in flight where it has a request id, doubtful where it has none.
        documents: With the bytes of their requests.
        positions: Of each in the earlier submission.
        spent: What each has come to before, where the batch says so.
    """

    submission: Submission
    documents: list[tuple[Document, int]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)

    @property
    def batch(self) -> bytes:
        """The documents as a batch of their own, asked for as they were then."""
        form = self.submission.form
        return batching.encode(self.documents, form=form, spent=self.spent if form else ())


@dataclass(frozen=True, slots=True)
class Recalled:
    """A batch, parted.

    Attributes:
        answered: Replies that were paid for already.
        in_flight: By submission.
        doubtful: By submission: it is not known whether the service accepted it.
        fresh: The batch of the others as bytes; None where there is none. The batch itself where nothing is known.
    """

    answered: list[Reply]
    in_flight: list[Part]
    doubtful: list[Part]
    fresh: bytes | None


def recall(blob: bytes, keys: Sequence[bytes], journal: Known) -> Recalled:
    """Parts a batch by what the journal knows.

    Args:
        blob: The batch.
        keys: Of its documents, in their order.
        journal: What is known.
    """
    entries = journal.look_up(keys)
    if not any(entry is not None and entry.state in (ANSWER, TICKET, INTENT) for entry in entries):
        return Recalled([], [], [], blob)
    head = batching.head(blob)
    answered: list[Reply] = []
    parts: dict[tuple[int, int], Part] = {}
    fresh: list[tuple[Document, int]] = []
    fresh_spent: list[Spent] = []
    spent = batching.spent(blob) if head.form else [Spent()] * len(entries)
    for document, size, before, entry in zip(batching.decode(blob), head.sizes, spent, entries, strict=True):
        if entry is not None and entry.state == ANSWER:
            answer = journal.answer(entry)
            assert answer.result is not None
            answered.append(Reply(document, answer.result, *_with(answer, before)))
            continue
        if entry is not None and entry.state in (TICKET, INTENT):
            place = (entry.file, entry.record)
            part = parts.setdefault(place, Part(journal.submission(entry)))
            if entry.position not in part.positions:
                part.documents.append((document, size))
                part.positions.append(entry.position)
                part.spent.append(before)
                continue
            # Two documents of one content: the second is asked for by itself.
        fresh.append((document, size))
        fresh_spent.append(before)
    in_flight = [part for part in parts.values() if part.submission.request_id is not None]
    doubtful = [part for part in parts.values() if part.submission.request_id is None]
    left = batching.encode(fresh, form=head.form, spent=fresh_spent if head.form else ()) if fresh else None
    return Recalled(answered, in_flight, doubtful, left)


def _with(answer: Answer, before: Spent) -> tuple[Usage, Ticket]:
    ticket = replace(answer.ticket, attempts=answer.ticket.attempts + before.attempts)
    return answer.usage + before.usage, ticket


def is_ahead(job: Job, keys: Sequence[bytes], journal: Known) -> bool:
    """Whether the journal knows more of a batch that is to be submitted than the runner's state does.

    A runner that lost a worker goes back to an older state; and who was doubted may have been about to write. What a
    state has seen of a batch is older than the time at which it says to act on it next; what is done then is written
    after that time. A ticket or an answer is news at any time, but for a ticket that the state has given up.

    Args:
        job: As the state has it.
        keys: Of its documents.
        journal: What is known.
    """
    for entry in journal.look_up(keys):
        if entry is None:
            continue
        if entry.at >= job.due or entry.state == ANSWER:
            return True
        if entry.state == TICKET and (job.replaces is None or journal.submission(entry).request_id != job.replaces):
            return True
    return False
