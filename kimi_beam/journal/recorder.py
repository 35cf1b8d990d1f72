"""`Recorder`: the journal as `Dispatch` and `Request` use it, in terms of jobs, batches and replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

from kimi_beam.columnar import Replies
from kimi_beam.files.paths import is_local
from kimi_beam.journal import records
from kimi_beam.journal.files import open_journal
from kimi_beam.journal.index import INTENT, TICKET, Entry
from kimi_beam.journal.recall import is_ahead, is_asked_elsewhere, recall
from kimi_beam.journal.records import Answers, Journaling, Submission
from kimi_beam.queue.earlier import Recalled
from kimi_beam.queue.jobs import Job
from kimi_beam.request import batches
from kimi_beam.request.document_bytes import DocumentBytes
from kimi_beam.request.prompt import Prompt
from kimi_beam.results import answer_codes
from kimi_beam.service import clock
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest, Ticket
from kimi_beam.wire.envelopes import Exchange, Unknown
from kimi_beam.wire.protocol import Accepted, decode_submit


class Keys:
    """Makes the keys by which the journal knows documents, for one prompt and one service."""

    def __init__(self, prompt: Prompt, service: WorkersAI) -> None:
        self._prompt = prompt
        self._identity = records.key(b"", service.identity.encode() + b"\0" + prompt.identity)
        self._first = records.key_hasher(self._identity)
        self._service = service

    @cached_property
    def for_parts(self) -> Keys:
        """The keys of parts of documents, which are asked for by another prompt."""
        return Keys(self._prompt.for_parts, self._service)

    def of(self, document: Document) -> bytes:
        """The key of a document. A document that is held by reference carries its key, so its file is not read."""
        if document.part is not None and not self._prompt.is_for_parts:
            return self.for_parts.of(document)
        if document.file is not None and document.is_reference:
            return bytes.fromhex(document.file.key)
        return self.of_shown(self._prompt.shown(document), document.earlier.question)

    def of_shown(self, shown: DocumentBytes, round_: int = 0) -> bytes:
        """The key of a document, from the bytes that the model is shown of it, and its round."""
        return shown.key(records.key_hasher(self._identity, round_) if round_ else self._first)


class Recorder:
    """The journal as one `Extract` sees it. Without a journal nothing is known and nothing is written.

    Args:
        settings: Where the journal is. None: there is none.
        prompt: The prompt, which is a part of each document's key.
        service: The service that is asked, which is another part of it.
        has_budget: Whether the cost of answers is recorded elsewhere, because the run has a budget.
    """

    def __init__(
        self, settings: Journaling | None, prompt: Prompt, service: WorkersAI, *, has_budget: bool = False
    ) -> None:
        self._has_budget = has_budget
        self._journal = None if settings is None else open_journal(settings.directory)
        self._keys = Keys(prompt, service)
        self._room = ""
        """The file that reserves disk space for the tickets of the submits that are being made; empty if none does."""
        self._submitting: list[Submission] = []
        self.refresh()

    @property
    def is_quick(self) -> bool:
        """Whether a write is fast, because the journal is on a local disk or there is none."""
        return self._journal is None or is_local(self._journal.directory)

    def refresh(self) -> None:
        """Reads the records that other processes have written since the last time."""
        if self._journal is not None:
            self._journal.refresh()

    def recall(self, blob: bytes) -> Recalled:
        """Divides a batch by what is known of its documents; see `kimi_beam.journal.recall`."""
        head = batches.head(blob)
        if self._journal is None and not head.has_open:
            return Recalled([], [], [], blob)
        return recall(blob, head.keys, self._journal)

    def is_ahead(self, job: Job, blob: bytes) -> bool:
        """Whether the journal holds records of a due batch that the runner's state does not know."""
        return self._journal is not None and is_ahead(job, self._keys_of(blob), self._journal)

    def is_asked_elsewhere(self, blob: bytes) -> bool:
        """Whether another step has asked for a document of a batch since the batch was admitted."""
        return self._journal is not None and is_asked_elsewhere(self._keys_of(blob), self._journal)

    def record_intents(self, batches: Iterable[tuple[Job, bytes]]) -> None:
        """Writes down which batches are about to be submitted.

        If this worker is lost before it writes how a submit ended, the record tells the next one that the submit may
        have been accepted.
        """
        if self._journal is not None:
            now = clock.now()
            self._submitting = [self._submission(job, blob, now) for job, blob in batches]
            self._room = self._journal.reserve_room(self._submitting)
            try:
                self._journal.write_submissions(self._submitting)
            except BaseException:
                self._journal.free_room(self._room)
                raise

    def record_submit_reply(self, index: int, exchange: Exchange) -> None:
        """Writes down how one submit ended, as soon as its reply is there. A submit without a reply stays an intent.

        Args:
            index: The position of the submit among those of the last `record_intents`.
            exchange: The reply, or the failure to get one.
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
        ended = replace(submission, at=now, request_id=request_id, is_over=request_id is None)
        self._journal.write_submissions([ended])

    def record_replies(self, replies: Iterable[Reply], blob: bytes | None = None) -> None:
        """Writes down the answers among replies. For the other replies it writes that the document may be asked again.

        Args:
            replies: One for each document.
            blob: The batch of these documents, in the same order, from which their keys are read. None: the documents
                are not of one batch, and their keys are computed.
        """
        self.record_replies_of_jobs([(Replies.of(replies), blob)])

    def record_replies_of_jobs(self, jobs: Sequence[tuple[Replies, bytes | None]]) -> None:
        """Writes down the answers of several jobs in one file."""
        if self._journal is not None:
            answers = Answers.joined([self._answers(replies, blob) for replies, blob in jobs])
            self._journal.write_answers(answers, is_recorded=self._has_budget)

    def _answers(self, replies: Replies, blob: bytes | None) -> Answers:
        assert self._journal is not None
        keys = list(map(self._keys.of, replies.documents)) if blob is None else self._keys_of(blob)
        answers = Answers(keys, records.answers_only(replies.results), replies.tokens, replies.tickets)
        answered = answers.answered()
        if all(answered):
            return answers
        # A runner that went back to older state may poll an old job again. Its failure must not end a newer request
        # for the same document, such as one in the next form.
        each = zip(answered, answers.tickets, self._journal.look_up(keys), strict=True)
        ended = [is_answer or self._is_latest_submission(ticket, entry) for is_answer, ticket, entry in each]
        return answers.select([row for row, is_over in enumerate(ended) if is_over])

    def _is_latest_submission(self, ticket: Ticket, entry: Entry | None) -> bool:
        """Whether a failed job is the latest submission of a document, so that nothing is in flight after it."""
        if self._journal is None or entry is None or entry.state not in (INTENT, TICKET):
            return True
        return self._journal.submission(entry).request_id == ticket.request_id

    def record_failure(self, replies: Sequence[Reply], failure: Failure, blob: bytes) -> None:
        """Writes down that no request of a failed batch is in flight, unless the failure leaves that open."""
        if failure.code not in answer_codes.OPEN:
            self.record_replies(replies, blob)

    def open_requests(self, job: Job, blob: bytes, failure: Failure) -> list[OpenRequest]:
        """The open requests of a job that is given up, one for each document; none if no answer can come any more."""
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
        sizes = () if self._has_budget else tuple(head.sizes)
        return Submission(job.batch_id, head.form, tuple(head.keys), now, sizes=sizes)

    def _keys_of(self, blob: bytes) -> list[bytes]:
        return batches.head(blob).keys
