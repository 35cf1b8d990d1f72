"""What `Dispatch` and `Request` write into the journal and read from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kimi_beam.columnar import Replies
from kimi_beam.files.paths import is_local
from kimi_beam.journal import records
from kimi_beam.journal.files import open_journal
from kimi_beam.journal.index import INTENT, TICKET, Entry
from kimi_beam.journal.recall import is_ahead, is_taken, recall
from kimi_beam.journal.records import Answers, Journaling, Submission
from kimi_beam.queue.earlier import Recalled
from kimi_beam.queue.jobs import Job
from kimi_beam.request import batches
from kimi_beam.request.document_bytes import DocumentBytes
from kimi_beam.request.prompt import Prompt
from kimi_beam.results import answer_codes
from kimi_beam.service import clock
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.types import Document, Failure, OpenRequest, Reply, Ticket
from kimi_beam.wire.envelopes import Exchange, Unknown
from kimi_beam.wire.protocol import Accepted, decode_submit


class Keys:
    """What the journal names documents by."""

    def __init__(self, prompt: Prompt, service: WorkersAI) -> None:
        self._prompt = prompt
        self._identity = records.key(b"", service.identity.encode() + b"\0" + prompt.identity)
        self._first = records.begun(self._identity)

    def of(self, document: Document) -> bytes:
        """The key of a document, also where it is not here but in its file."""
        if document.file is not None and document.is_reference:
            return bytes.fromhex(document.file.key)
        return self.of_shown(self._prompt.shown(document), document.earlier.round)

    def of_shown(self, shown: DocumentBytes, round_: int = 0) -> bytes:
        """The key of a document of which it is known what the model is shown, and in which round."""
        return shown.key(records.begun(self._identity, round_) if round_ else self._first)


class Recorder:
    """The journal as one `Extract` sees it; without a journal it knows nothing and writes nothing.

    Args:
        settings: None: no journal.
        prompt: What is asked: a part of each document's key.
        service: Who is asked: another.
    """

    def __init__(self, settings: Journaling | None, prompt: Prompt, service: WorkersAI) -> None:
        self._journal = None if settings is None else open_journal(settings.directory)
        self._keys = Keys(prompt, service)
        self._room = ""
        """What is held for the tickets of the submits that are being made."""
        self._submitting: list[Submission] = []
        self.refresh()

    @property
    def is_quick(self) -> bool:
        """Whether writing something down takes no longer than a disk does."""
        return self._journal is None or is_local(self._journal.directory)

    def refresh(self) -> None:
        """Reads what others have written meanwhile."""
        if self._journal is not None:
            self._journal.refresh()

    def recall(self, blob: bytes) -> Recalled:
        """What is known of a batch."""
        head = batches.head(blob)
        if self._journal is None and not head.has_open:
            return Recalled([], [], [], blob)
        return recall(blob, head.keys, self._journal)

    def is_ahead(self, job: Job, blob: bytes) -> bool:
        """Whether the journal knows more of a batch that is due than the runner's state does."""
        return self._journal is not None and is_ahead(job, self._of(blob), self._journal)

    def is_taken(self, blob: bytes) -> bool:
        """Whether another step of this process has asked for a document of a batch since it was admitted."""
        return self._journal is not None and is_taken(self._of(blob), self._journal)

    def about_to_submit(self, batches: Iterable[tuple[Job, bytes]]) -> None:
        """Writes down what is about to be submitted; without it a lost worker's submit would be made again."""
        if self._journal is not None:
            now = clock.now()
            self._submitting = [self._submission(job, blob, now) for job, blob in batches]
            self._room = self._journal.reserve_room(self._submitting)
            try:
                self._journal.write_submissions(self._submitting)
            except BaseException:
                self._journal.free_room(self._room)
                raise

    def reply_came(self, index: int, exchange: Exchange) -> None:
        """Writes down what became of one submit, as soon as it is known; one without a word stays as it is.

        Args:
            index: Which of those that were about to be made.
            exchange: What came back.
        """
        if self._journal is None:
            return
        submission, now = self._submitting[index], clock.now()
        result = decode_submit(exchange, now)
        if self._room:
            self._journal.free_room(self._room)
            self._room = ""
        if isinstance(result, Unknown):
            return
        request_id = result.request_id if isinstance(result, Accepted) else None
        known = replace(submission, at=now, request_id=request_id, is_over=request_id is None)
        self._journal.write_submissions([known])

    def replied(self, replies: Iterable[Reply], blob: bytes | None = None) -> None:
        """Writes down answers; what is no answer may be asked for anew.

        Args:
            replies: To documents.
            blob: The batch that these are, in its order; None where they are none.
        """
        self.replied_together([(Replies.of(replies), blob)])

    def replied_together(self, jobs: Sequence[tuple[Replies, bytes | None]]) -> None:
        """Writes down the answers of several jobs in one file."""
        if self._journal is not None:
            self._journal.write_answers(Answers.joined([self._answers(came, blob) for came, blob in jobs]))

    def _answers(self, came: Replies, blob: bytes | None) -> Answers:
        assert self._journal is not None
        keys = list(map(self._keys.of, came.documents)) if blob is None else self._of(blob)
        answers = Answers(keys, records.kept(came.results), came.tokens, came.tickets)
        answered = answers.answered()
        if all(answered):
            return answers
        # A job that is polled once more, from older state, ends nothing that has begun since: the next form, say.
        each = zip(answered, answers.tickets, self._journal.look_up(keys), strict=True)
        ended = [is_answer or self._ends(ticket, entry) for is_answer, ticket, entry in each]
        return answers.select([row for row, is_over in enumerate(ended) if is_over])

    def _ends(self, ticket: Ticket, entry: Entry | None) -> bool:
        if self._journal is None or entry is None or entry.state not in (INTENT, TICKET):
            return True
        return self._journal.submission(entry).request_id == ticket.request_id

    def record_failure(self, replies: Sequence[Reply], failure: Failure, blob: bytes) -> None:
        """Writes down that nothing of a batch is in flight any more, unless something may be."""
        if failure.code not in answer_codes.OPEN:
            self.replied(replies, blob)

    def open_requests(self, job: Job, blob: bytes, failure: Failure) -> list[OpenRequest]:
        """The requests of a job that is given up and may be answered all the same; none where it will not."""
        if job.request_id is None or failure.code not in answer_codes.OPEN:
            return []
        head = batches.head(blob)
        keys, form = head.keys, head.form
        name, count, positions = job.submitted_as or (job.batch_id, len(keys), range(len(keys)))
        return [
            OpenRequest(job.request_id, key.hex(), name, count, position, form)
            for key, position in zip(keys, positions, strict=True)
        ]

    def _submission(self, job: Job, blob: bytes, now: float) -> Submission:
        head = batches.head(blob)
        return Submission(job.batch_id, head.form, tuple(head.keys), now)

    def _of(self, blob: bytes) -> list[bytes]:
        return batches.head(blob).keys
