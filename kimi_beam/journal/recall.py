"""Recall: divides a batch into documents that are answered, in flight, doubtful, and new.

A document's past is in the journal, or in the dead letter that it was made of. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Protocol

from kimi_beam.columnar import Replies
from kimi_beam.journal.index import ANSWER, INTENT, TICKET, Entry
from kimi_beam.journal.records import Answer, Answers, Submission
from kimi_beam.queue.earlier import EarlierSubmission, Recalled, with_open_request
from kimi_beam.queue.jobs import Job
from kimi_beam.request import batches
from kimi_beam.request.batches import Item, Spent
from kimi_beam.types.answer import Usage
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest, Ticket


class JournalReader(Protocol):
    """The part of `kimi_beam.journal.files.Journal` that is read here."""

    def look_up(self, keys: Sequence[bytes]) -> list[Entry | None]:
        """The latest record of each key, None where there is none."""
        ...

    def submission(self, entry: Entry) -> Submission:
        """The submission that an entry points to."""
        ...

    def answer(self, entry: Entry) -> Answer:
        """The answer that an entry points to."""
        ...

    def answers(self, entries: Sequence[Entry]) -> Answers:
        """The answers that entries point to, in their order."""
        ...


def recall(blob: bytes, keys: Sequence[bytes], journal: JournalReader | None) -> Recalled:
    """Divides a batch by what is known of its documents.

    Args:
        blob: The batch, as bytes.
        keys: The journal keys of its documents, in their order.
        journal: The journal to look in. None: the run has no journal, so only open requests are known.
    """
    entries = journal.look_up(keys) if journal is not None else [None] * len(keys)
    usable = [entry if entry is not None and entry.state in (ANSWER, TICKET, INTENT) else None for entry in entries]
    head = batches.head(blob)
    if not any(usable) and not head.has_open:
        return Recalled([], [], [], blob)
    if journal is not None and not head.form and not head.has_open:
        all_answered = [entry for entry in usable if entry is not None and entry.state == ANSWER]
        # The usual case when a finished run is repeated. The answers stay columns: no object is made for each of them.
        if len(all_answered) == len(keys):
            answers = journal.answers(all_answered)
            replies = Replies(batches.decode(blob), answers.results, answers.tokens, answers.tickets)
            return Recalled(replies, [], [], None)
    items = batches.items(blob)
    if not any(usable) and all(item.document.earlier.open is None for item in items):
        return Recalled([], [], [], blob)
    answered: list[Reply] = []
    submissions: dict[Hashable, EarlierSubmission] = {}
    fresh: list[Item] = []
    fresh_spent: list[Spent] = []
    spent = batches.spent(blob) if head.form else [_NOTHING] * len(items)
    for item, before, key, entry in zip(items, spent, keys, usable, strict=True):
        document = item.document
        open_ = document.earlier.open
        if journal is not None and entry is not None and entry.state == ANSWER:
            answer = journal.answer(entry)
            assert answer.result is not None
            counted = with_open_request(document, answer.ticket.request_id)
            answered.append(Reply(counted, answer.result, *_with_spent(answer, before)))
            continue
        if journal is not None and entry is not None:
            submitted: Hashable = (entry.file, entry.record)
            if submitted not in submissions:
                submissions[submitted] = _from_journal(journal.submission(entry), given_up=open_ is not None)
            position = entry.position
        elif open_ is not None and open_.key == key.hex():
            submitted, position = (open_.request_id, open_.form), open_.position
            submissions.setdefault(submitted, _from_open_request(open_))
        else:
            fresh.append(item._replace(document=with_open_request(document), key=key))
            fresh_spent.append(before)
            continue
        submission = submissions[submitted]
        if position in submission.positions:  # two documents of one content share a key: the second is asked for anew
            fresh.append(item._replace(document=with_open_request(document), key=key))
            fresh_spent.append(before)
            continue
        submission.items.append(item._replace(key=key))
        submission.positions.append(position)
        submission.spent.append(before)
    in_flight = [submission for submission in submissions.values() if submission.request_id is not None]
    doubtful = [submission for submission in submissions.values() if submission.request_id is None]
    fresh_batch = batches.encode(fresh, form=head.form, spent=fresh_spent if head.form else ()) if fresh else None
    return Recalled(answered, in_flight, doubtful, fresh_batch)


_NOTHING = Spent()


def _with_spent(answer: Answer, before: Spent) -> tuple[Usage, Ticket]:
    """The tokens and attempts of an answer, and those that the document's earlier forms of asking have cost."""
    if before is _NOTHING:
        return answer.usage, answer.ticket
    ticket = replace(answer.ticket, attempts=answer.ticket.attempts + before.attempts)
    return answer.usage + before.usage, ticket


def _from_journal(submission: Submission, *, given_up: bool) -> EarlierSubmission:
    request_id = submission.request_id
    at = None if given_up and request_id is not None else submission.at
    return EarlierSubmission(request_id, submission.name, submission.form, len(submission.keys), at)


def _from_open_request(request: OpenRequest) -> EarlierSubmission:
    return EarlierSubmission(request.request_id, request.name, request.form, request.count, None)


def is_ahead(job: Job, keys: Sequence[bytes], journal: JournalReader) -> bool:
    """Whether the journal holds news of a batch that is to be submitted: records that the runner's state does not know.

    After a rollback to a checkpoint the journal may be newer than the state. So may it be of a doubtful submit, because
    the worker that made it can still write down how it ended. A record is news if it was written at or after `job.due`,
    because the state acts on a batch no earlier than that. An answer is always news. So is a ticket, unless it is the
    one that the state itself replaces by submitting again.

    Args:
        job: The job of the batch, as the state holds it.
        keys: The journal keys of its documents.
        journal: The journal to look in.
    """
    for entry in journal.look_up(keys):
        if entry is None:
            continue
        if entry.at >= job.due or entry.state == ANSWER:
            return True
        if entry.state == TICKET and not (job.resubmitted and journal.submission(entry).request_id == job.replaces):
            return True
    return False


def is_asked_elsewhere(keys: Sequence[bytes], journal: JournalReader) -> bool:
    """Whether another step has asked for one of these documents since they were taken in as new.

    Another `Extract` of the pipeline may share the journal. Only its accepted or answered submits count. A submit that
    it is about to make does not, because waiting to see how that ends would take minutes.

    Args:
        keys: The journal keys of the documents.
        journal: The journal to look in.
    """
    return any(entry is not None and entry.state in (ANSWER, TICKET) for entry in journal.look_up(keys))
