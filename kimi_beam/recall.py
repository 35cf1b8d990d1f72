"""What the journal already knows of a batch: which documents have their answer, which are in flight, which are new.

Pure but for the journal that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kimi_beam import batching
from kimi_beam.journal import ANSWER, INTENT, TICKET, Answer, Entry, Submission
from kimi_beam.types import Document, Reply


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
    """

    submission: Submission
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
    for document, size, entry in zip(batching.decode(blob), head.sizes, entries, strict=True):
        if entry is None or entry.state not in (ANSWER, TICKET, INTENT):
            fresh.append((document, size))
        elif entry.state == ANSWER:
            answer = journal.answer(entry)
            assert answer.result is not None
            answered.append(Reply(document, answer.result, answer.usage, answer.ticket))
        else:
            place = (entry.file, entry.record)
            part = parts.setdefault(place, Part(journal.submission(entry)))
            if entry.position in part.positions:  # two documents of one content: the second is asked for by itself
                fresh.append((document, size))
                continue
            part.documents.append((document, size))
            part.positions.append(entry.position)
    in_flight = [part for part in parts.values() if part.submission.request_id is not None]
    doubtful = [part for part in parts.values() if part.submission.request_id is None]
    return Recalled(answered, in_flight, doubtful, batching.encode(fresh) if fresh else None)
