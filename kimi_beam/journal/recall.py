"""What is already known of a batch: which documents have their answer, which are in flight, which are new.

Known from the journal, or from the dead letters that the documents were. Pure but for the journal that it reads.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Protocol

from kimi_beam.columnar import Replies
from kimi_beam.input.redrive import with_open_request
from kimi_beam.journal.index import ANSWER, INTENT, TICKET, Entry
from kimi_beam.journal.records import Answer, Answers, Submission
from kimi_beam.queue.earlier import EarlierSubmission, Recalled
from kimi_beam.queue.jobs import Job
from kimi_beam.request import batches
from kimi_beam.request.batches import Item, Spent
from kimi_beam.types import OpenRequest, Reply, Ticket, Usage


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

    def answers(self, entries: Sequence[Entry]) -> Answers:
        """The answers that some entries stand for."""
        ...


def recall(blob: bytes, keys: Sequence[bytes], journal: Known | None) -> Recalled:
    """Parts a batch by what is known.

    Args:
        blob: The batch.
        keys: Of its documents, in their order.
        journal: What the journal knows; None where there is none.
    """
    entries = journal.look_up(keys) if journal is not None else [None] * len(keys)
    known = [entry if entry is not None and entry.state in (ANSWER, TICKET, INTENT) else None for entry in entries]
    head = batches.head(blob)
    if not any(known) and not head.has_open:
        return Recalled([], [], [], blob)
    if journal is not None and not head.form and not head.has_open:
        all_answered = [entry for entry in known if entry is not None and entry.state == ANSWER]
        if len(all_answered) == len(keys):  # a run that is made again: no value has to be made of any of them
            answers = journal.answers(all_answered)
            replies = Replies(batches.decode(blob), answers.results, answers.tokens, answers.tickets)
            return Recalled(replies, [], [], None)
    items = batches.items(blob)
    if not any(known) and all(item.document.earlier.open is None for item in items):
        return Recalled([], [], [], blob)
    answered: list[Reply] = []
    parts: dict[Hashable, EarlierSubmission] = {}
    fresh: list[Item] = []
    fresh_spent: list[Spent] = []
    spent = batches.spent(blob) if head.form else [_NOTHING] * len(items)
    for item, before, key, entry in zip(items, spent, keys, known, strict=True):
        document = item.document
        open_ = document.earlier.open
        if journal is not None and entry is not None and entry.state == ANSWER:
            answer = journal.answer(entry)
            assert answer.result is not None
            same = with_open_request(document, answer.ticket.request_id)
            answered.append(Reply(same, answer.result, *_with(answer, before)))
            continue
        if journal is not None and entry is not None:
            place: Hashable = (entry.file, entry.record)
            if place not in parts:
                parts[place] = _submitted(journal.submission(entry), given_up=open_ is not None)
            position = entry.position
        elif open_ is not None and open_.key == key.hex():
            place, position = (open_.request_id, open_.form), open_.position
            parts.setdefault(place, _open_request(open_))
        else:
            fresh.append(item._replace(document=with_open_request(document), key=key))
            fresh_spent.append(before)
            continue
        part = parts[place]
        if position in part.positions:  # two documents of one content: the second is asked for by itself
            fresh.append(item._replace(document=with_open_request(document), key=key))
            fresh_spent.append(before)
            continue
        part.items.append(item._replace(key=key))
        part.positions.append(position)
        part.spent.append(before)
    in_flight = [part for part in parts.values() if part.request_id is not None]
    doubtful = [part for part in parts.values() if part.request_id is None]
    left = batches.encode(fresh, form=head.form, spent=fresh_spent if head.form else ()) if fresh else None
    return Recalled(answered, in_flight, doubtful, left)


_NOTHING = Spent()


def _with(answer: Answer, before: Spent) -> tuple[Usage, Ticket]:
    if before is _NOTHING:
        return answer.usage, answer.ticket
    ticket = replace(answer.ticket, attempts=answer.ticket.attempts + before.attempts)
    return answer.usage + before.usage, ticket


def _submitted(submission: Submission, *, given_up: bool) -> EarlierSubmission:
    request_id = submission.request_id
    at = None if given_up and request_id is not None else submission.at
    return EarlierSubmission(request_id, submission.name, submission.form, len(submission.keys), at)


def _open_request(request: OpenRequest) -> EarlierSubmission:
    return EarlierSubmission(request.request_id, request.name, request.form, request.count, None)


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
        if entry.state == TICKET and not (job.resubmitted and journal.submission(entry).request_id == job.replaces):
            return True
    return False


def is_taken(keys: Sequence[bytes], journal: Known) -> bool:
    """Whether the service has accepted or answered one of some documents that nobody had asked for when they came in.

    Another `Extract` of the pipeline with the same journal may have. What it is only about to submit does not count:
    whether that is accepted is written down a moment later, and waiting for it would take minutes.

    Args:
        keys: Of the documents.
        journal: What is known.
    """
    return any(entry is not None and entry.state in (ANSWER, TICKET) for entry in journal.look_up(keys))
