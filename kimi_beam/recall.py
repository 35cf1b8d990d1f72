"""What is already known of a batch: which documents have their answer, which are in flight, which are new.

Known from the journal, or from the dead letters that the documents were. Pure but for the journal that it reads.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kimi_beam import batching
from kimi_beam.journal import ANSWER, INTENT, TICKET, Answer, Entry, Submission
from kimi_beam.redrive import taken_over
from kimi_beam.types import Document, OpenRequest, Reply


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
        request_id: The job; None where it is not known whether the service accepted it.
        name: What the references of its requests begin with.
        form: Which way of asking.
        count: Its requests.
        at: Unix seconds of the submit; None where its answer was given up once, so that it is waited for anew.
        documents: With the bytes of their requests.
        positions: Of each in the earlier submission.
    """

    request_id: str | None
    name: str
    form: int
    count: int
    at: float | None
    documents: list[tuple[Document, int]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)


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


def recall(blob: bytes, documents: Sequence[Document], keys: Sequence[bytes], journal: Known | None) -> Recalled:
    """Parts a batch by what is known.

    Args:
        blob: The batch.
        documents: Its documents.
        keys: Of its documents, in their order.
        journal: What the journal knows; None where there is none.
    """
    entries = journal.look_up(keys) if journal is not None else [None] * len(keys)
    known = [entry if entry is not None and entry.state in (ANSWER, TICKET, INTENT) else None for entry in entries]
    if not any(known) and all(document.earlier.open is None for document in documents):
        return Recalled([], [], [], blob)
    answered: list[Reply] = []
    parts: dict[Hashable, Part] = {}
    fresh: list[tuple[Document, int]] = []
    for document, size, key, entry in zip(documents, batching.head(blob).sizes, keys, known, strict=True):
        open_ = document.earlier.open
        if journal is not None and entry is not None and entry.state == ANSWER:
            answer = journal.answer(entry)
            assert answer.result is not None
            same = taken_over(document, answer.ticket.request_id)
            answered.append(Reply(same, answer.result, answer.usage, answer.ticket))
            continue
        if journal is not None and entry is not None:
            place: Hashable = (entry.file, entry.record)
            if place not in parts:
                parts[place] = _submitted(journal.submission(entry), given_up=open_ is not None)
            position = entry.position
        elif open_ is not None and open_.key == key.hex():
            place, position = (open_.request_id, open_.form), open_.position
            parts.setdefault(place, _left_open(open_))
        else:
            fresh.append((taken_over(document), size))
            continue
        part = parts[place]
        if position in part.positions:  # two documents of one content: the second is asked for by itself
            fresh.append((taken_over(document), size))
            continue
        part.documents.append((document, size))
        part.positions.append(position)
    in_flight = [part for part in parts.values() if part.request_id is not None]
    doubtful = [part for part in parts.values() if part.request_id is None]
    return Recalled(answered, in_flight, doubtful, batching.encode(fresh) if fresh else None)


def _submitted(submission: Submission, *, given_up: bool) -> Part:
    request_id = submission.request_id
    at = None if given_up and request_id is not None else submission.at
    return Part(request_id, submission.name, submission.form, len(submission.keys), at)


def _left_open(request: OpenRequest) -> Part:
    return Part(request.request_id, request.name, request.form, request.count, None)
