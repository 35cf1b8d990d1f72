"""What the turns of all shards of one step share on a worker: settings, the client, the journal, what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kimi_beam.columnar import Replies
from kimi_beam.network.client import Client
from kimi_beam.queue.earlier import Recalled
from kimi_beam.queue.event_listener import Listener
from kimi_beam.queue.jobs import Job
from kimi_beam.report.outcomes import NO_FORM_FAILURE, Outcomes
from kimi_beam.request.packing import Batching
from kimi_beam.request.prompt import Prompt
from kimi_beam.service.polling import Polling
from kimi_beam.types import Document, Failure, OpenRequest, Reply
from kimi_beam.wire.envelopes import Exchange


class Journal(Protocol):
    """What a turn asks of the journal, and tells it: see `kimi_beam.journal.recorder.Recorder`."""

    @property
    def is_quick(self) -> bool:
        """Whether writing something down takes no longer than a disk does."""
        ...

    def refresh(self) -> None:
        """Reads what others have written meanwhile."""

    def recall(self, blob: bytes) -> Recalled:
        """What is known of a batch."""
        ...

    def is_ahead(self, job: Job, blob: bytes) -> bool:
        """Whether the journal knows more of a batch that is due than the runner's state does."""
        ...

    def is_asked_elsewhere(self, blob: bytes) -> bool:
        """Whether another step has asked for a document of a batch since it was admitted."""
        ...

    def record_intents(self, batches: Iterable[tuple[Job, bytes]]) -> None:
        """Writes down what is about to be submitted."""

    def record_submit_reply(self, index: int, exchange: Exchange) -> None:
        """Writes down what became of one of the submits that were about to be made."""

    def record_replies_of_jobs(self, jobs: Sequence[tuple[Replies, bytes | None]]) -> None:
        """Writes down the answers of several jobs."""

    def record_failure(self, replies: Sequence[Reply], failure: Failure, blob: bytes) -> None:
        """Writes down that nothing of a batch is in flight any more, unless something may be."""

    def open_requests(self, job: Job, blob: bytes, failure: Failure) -> list[OpenRequest]:
        """The requests of a job that is given up and may be answered all the same."""
        ...


@dataclass(frozen=True)
class Step:
    """What the turns of all shards of one step share on a worker.

    Attributes:
        prompt: What each request says.
        batching: How batches that wait are packed together.
        polling: When jobs are looked for, and when they are given up.
        client: Sends the requests.
        journal: What earlier runs have asked for and got, and where this one writes it down.
        listener: Hears of jobs that have ended.
        outcomes: How the documents of this `Extract` have fared so far.
        count: Adds a number to a metric, by its name in `kimi_beam.report.metrics`.
        read_again: Reads the files of documents that travel as references.
        run_instead: Asks for a batch synchronously, where the model has no queue. None: that ends the run.
        max_in_flight: Jobs that a shard has submitted and not finished, at most.
        submits_at_once: Submits that are sent together, at most.
        parts: Parts that the job's requests a minute are shared out in.
        may_repeat: Whether a submit whose fate is unknown may be sent again.
        grace: Seconds after such a submit of an earlier worker before it is sent again.
        is_bounded: Whether the input ends: trouble with the account then ends the run.
        admitted: Ids of the batches that this worker has admitted and not acted on: nobody else has submitted them.
    """

    prompt: Prompt
    batching: Batching
    polling: Polling
    client: Client
    journal: Journal
    listener: Listener
    outcomes: Outcomes
    count: Callable[[str, int], None]
    read_again: Callable[[Sequence[Document]], list[Document]]
    run_instead: Callable[[bytes], Iterator[Sequence[Reply]]] | None
    max_in_flight: int
    submits_at_once: int
    parts: int
    may_repeat: bool
    grace: float
    is_bounded: bool
    admitted: set[str] = field(default_factory=set)

    @property
    def not_worth_sending(self) -> Failure | None:
        """What is given up with that is not sent yet; None while it is worth while to send it."""
        if self.outcomes.stopped is not None:
            return self.outcomes.stopped
        # Where the input ends, the run ends in one line instead (`Outcomes.check_forms`).
        forms = len(self.prompt.forms)
        return NO_FORM_FAILURE if not self.is_bounded and self.outcomes.first_form(forms) == forms else None
