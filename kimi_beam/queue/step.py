"""A step of the pipeline on one worker: what the turns of all its shards share, such as settings and the client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kimi_beam.columnar import Replies
from kimi_beam.network.client import Client
from kimi_beam.queue.earlier import Recalled
from kimi_beam.queue.event_listener import Listener
from kimi_beam.queue.jobs import Job
from kimi_beam.queue.within_budget import SubmitBudget
from kimi_beam.report.outcomes import NO_FORM_FAILURE, Outcomes
from kimi_beam.request.document_parts import DocumentParts
from kimi_beam.request.packing import Batching
from kimi_beam.request.part_references import ReadAgain
from kimi_beam.request.prompt import Prompt
from kimi_beam.service.polling import Polling
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest
from kimi_beam.wire.envelopes import Exchange


class Journal(Protocol):
    """The journal as a turn uses it. `kimi_beam.journal.recorder.Recorder` is one."""

    @property
    def is_quick(self) -> bool:
        """Whether a write takes no longer than a write to a local disk."""
        ...

    def refresh(self) -> None:
        """Reads what other workers and runs have written since."""

    def recall(self, blob: bytes) -> Recalled:
        """Looks up the documents of a batch."""
        ...

    def is_ahead(self, job: Job, blob: bytes) -> bool:
        """Whether the journal has newer records of a batch that is due than the runner's state."""
        ...

    def is_asked_elsewhere(self, blob: bytes) -> bool:
        """Whether another step has submitted a document of a batch since the batch was admitted."""
        ...

    def record_intents(self, batches: Iterable[tuple[Job, bytes]]) -> None:
        """Records the batches that are about to be submitted."""

    def record_submit_reply(self, index: int, exchange: Exchange) -> None:
        """Records the reply to one of the submits that `record_intents` announced, by its index."""

    def record_replies_of_jobs(self, jobs: Sequence[tuple[Replies, bytes | None]]) -> None:
        """Records the answers of several jobs."""

    def record_failure(self, replies: Sequence[Reply], failure: Failure, blob: bytes) -> None:
        """Records that no request of a batch is in flight any more, unless the failure says that one may be."""

    def open_requests(self, job: Job, blob: bytes, failure: Failure) -> list[OpenRequest]:
        """The open requests of a job that is given up and may still be answered."""
        ...


@dataclass(frozen=True)
class Step:
    """What the turns of all shards of one step share on a worker.

    Attributes:
        prompt: Makes requests from documents.
        parts: Divides the documents that are asked for in parts.
        batching: How batches that wait are packed together.
        polling: When jobs are polled, and when they are given up.
        client: Sends the requests.
        journal: The records of earlier runs, to which this run adds its own.
        listener: Receives events of jobs that have ended.
        outcomes: The outcomes of this `Extract` so far.
        count: Adds a number to a counter, by its name in `kimi_beam.report.metrics`.
        measure: Adds values to a distribution, by its name in `kimi_beam.report.metrics`.
        read_again: Reads the files of documents and parts that travel as references.
        run_instead: Asks for a batch of a shard synchronously if the model has no queue, or its queue refuses pictures.
            None: a missing queue ends the run.
        max_in_flight: The most jobs of a shard at the same time.
        coerce: Whether values of answers are changed to what the schema wants (`kimi_beam.results.judging.judge`).
        repairs: How often a document or a part is asked for again, at most, because its answer is refused.
        samples: How many answers are asked for, for each document.
        submits_at_once: The most submits that are sent together.
        rate_shares: How many shares the job's requests a minute are split into: one for each shard, or 1 if all
            workers are in this process.
        may_repeat: Whether a submit whose fate is unknown may be sent again.
        grace: Seconds after such a submit of an earlier worker before it is sent again.
        is_bounded: Whether the input is bounded, so that trouble with the account ends the run.
        budget: What may be spent. None: there is no bound.
        admitted: The ids of batches that this worker has admitted and not submitted, so that no other worker has
            submitted them either.
    """

    prompt: Prompt
    parts: DocumentParts
    batching: Batching
    polling: Polling
    client: Client
    journal: Journal
    listener: Listener
    outcomes: Outcomes
    count: Callable[[str, int], None]
    measure: Callable[[str, Sequence[float]], None]
    read_again: ReadAgain
    run_instead: Callable[[bytes, str], Iterator[Sequence[Reply]]] | None
    max_in_flight: int
    submits_at_once: int
    rate_shares: int
    may_repeat: bool
    grace: float
    is_bounded: bool
    coerce: bool = False
    repairs: int = 1
    budget: SubmitBudget | None = None
    samples: int = 1
    admitted: set[str] = field(default_factory=set)

    @property
    def not_worth_sending(self) -> Failure | None:
        """The failure of documents that are not sent yet, if sending them is not worthwhile; else None."""
        if self.outcomes.stopped is not None:
            return self.outcomes.stopped
        # With bounded input the run ends with an error instead (`Outcomes.check_forms`).
        forms = len(self.prompt.forms)
        return NO_FORM_FAILURE if not self.is_bounded and self.outcomes.first_form(forms) == forms else None
