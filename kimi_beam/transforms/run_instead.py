"""A batch whose model has no queue: asked for through the synchronous API, within the firing that learnt of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from kimi_beam.columnar import Replies
from kimi_beam.input.file_references import READ_AT_ONCE, read_again, split_unreadable
from kimi_beam.journal.recorder import Recorder
from kimi_beam.network.client import Client
from kimi_beam.report.outcomes import Outcomes
from kimi_beam.request import batches
from kimi_beam.request.prompt import Prompt
from kimi_beam.service.polling import Polling
from kimi_beam.synchronous.runs import Runs
from kimi_beam.types import Reply

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
) -> Iterator[Sequence[Reply]]:
    """The replies to a batch's documents, some at a time; what was answered is in the journal before it is given.

    Args:
        blob: The batch.
        client: Of the service.
        prompt: As for the queue.
        polling: How long waits are, and the deadline.
        recorder: Of the journal.
        count: Told what has been counted: the name of a metric, and how many.
        halts: Whether trouble with the account ends the run (`Runs`).
        outcomes: How documents have fared before, and whether more are to be sent.
        may_repeat: Whether a request that ended without a word may be repeated.

    Raises:
        AccountError: Token, account or model are turned away.
    """
    # `api="run"` may stream, which the queue does not.
    runs = Runs(client, replace(prompt, api="run"), polling, halts=halts, may_repeat=may_repeat, outcomes=outcomes)
    for documents in _groups(batches.decode(blob), READ_AT_ONCE):
        whole, lost = split_unreadable(read_again(documents))
        if lost:
            yield Replies.of(lost)
        for answered in runs.put(whole):
            recorder.record_replies(answered)
            yield Replies.of(answered)
    for answered in runs.drain():
        recorder.record_replies(answered)
        yield Replies.of(answered)
    for name, number in runs.counts().items():
        count(name, number)


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[i : i + size] for i in range(0, len(items), size))
