"""Asks for a batch by the synchronous API instead, in the same turn of its shard, if the model has no queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from kimi_beam.columnar import Replies
from kimi_beam.input.file_references import READ_AT_ONCE, split_unreadable
from kimi_beam.journal.recorder import Recorder
from kimi_beam.network.client import Client
from kimi_beam.report.outcomes import Outcomes
from kimi_beam.request import batches
from kimi_beam.request.prompt import Prompt
from kimi_beam.service.polling import Polling
from kimi_beam.synchronous.request_budget import RequestBudget, put_within_budget
from kimi_beam.synchronous.runs import DocumentsInFlight
from kimi_beam.transforms.reading_again import read_again
from kimi_beam.types.reply import Reply

T = TypeVar("T")


def run_instead(
    blob: bytes,
    client: Client,
    prompt: Prompt,
    polling: Polling,
    recorder: Recorder,
    count: Callable[[str, int], None],
    *,
    halts: bool,
    may_repeat: bool,
    outcomes: Outcomes,
    budget: RequestBudget | None = None,
) -> Iterator[Sequence[Reply]]:
    """Yields the replies of a batch's documents, some at a time. They are in the journal before they are yielded.

    Args:
        blob: The batch.
        client: The client of the service.
        prompt: The prompt for the queue, of which the one for the synchronous API is made.
        polling: Bounds the waits, and gives the deadline.
        recorder: Writes to the journal.
        count: Adds a number to a metric, by its name in `kimi_beam.report.metrics`.
        halts: Whether trouble with the account ends the run (`DocumentsInFlight`).
        may_repeat: Whether a request that ended without a reply may be repeated.
        outcomes: The outcomes of the `Extract` so far, which decide whether more documents are sent.
        budget: What may be spent. None: there is no bound.

    Raises:
        AccountError: Token, account or model are turned away.
    """
    # With `api="run"` requests may ask for a stream, which the queue does not have.
    in_flight = DocumentsInFlight(
        client,
        replace(prompt, api="run"),
        polling,
        halts=halts,
        may_repeat=may_repeat,
        outcomes=outcomes,
        budget=budget,
    )
    for documents in _groups(batches.decode(blob), READ_AT_ONCE):
        whole, lost = split_unreadable(read_again(documents))
        if lost:
            yield Replies.of(lost)
        for answered in put_within_budget(in_flight, whole):
            recorder.record_replies(answered)
            yield Replies.of(answered)
    for answered in in_flight.drain():
        recorder.record_replies(answered)
        yield Replies.of(answered)
    for name, number in in_flight.counts().items():
        count(name, number)


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[i : i + size] for i in range(0, len(items), size))
