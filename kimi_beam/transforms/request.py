"""`Request`: the synchronous APIs. A worker has many documents of its bundle in flight, and a bundle ends when all are.

What was answered in a bundle that fails is in the journal, and the bundle's next attempt recalls it. Without a journal
it is asked for again: bundles are a handful of batches on runners that make them small.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.columnar import Replies
from kimi_beam.errors import AccountError, UnmetSchemaError
from kimi_beam.input.file_references import READ_AT_ONCE, read_again, split_unreadable
from kimi_beam.input.redrive import with_open_request
from kimi_beam.journal.recorder import Recorder
from kimi_beam.network.client import connect, disconnect
from kimi_beam.queue.earlier import Recalled
from kimi_beam.report import metrics
from kimi_beam.report.outcomes import Watch
from kimi_beam.request import batches
from kimi_beam.request.batches import Item
from kimi_beam.request.checks import separate
from kimi_beam.synchronous.runs import Runs
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.types import Document, Failure, Reply


@beam.typehints.with_output_types(bytes)
class Values(beam.PTransform):
    """``(shard, batch as bytes) -> batch as bytes``: Beam's own, whose inner step has no declared type.

    It has that one's names and as many steps, by which a running job's state is found.
    """

    def expand(self, keyed: beam.PCollection) -> beam.PCollection:
        return keyed | "Values" >> beam.Map(_second).with_output_types(bytes)


def _second(pair: tuple[str, bytes]) -> bytes:
    return pair[1]


class Separate(beam.DoFn):
    """``(shard, batches as bytes) -> batch as bytes``: documents that share an id have failed from here on."""

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[bytes]:
        good, failed = separate(list(element[1]))
        yield from good
        if failed:
            yield batches.encode(Item(_with_failure(reply), 0) for reply in failed)


class Request(beam.DoFn):
    """``batch as bytes -> Sequence[Reply]``, through a synchronous API.

    Args:
        settings: How documents are extracted.
        watch: Names the outcomes that this `Extract` counts.
        parts: Parts that the job's requests a minute are shared out in.
        bounded: Whether the input ends: trouble with the account then ends the job.
    """

    def __init__(self, settings: ExtractSettings, watch: Watch, parts: int, *, bounded: bool) -> None:
        self._settings, self._watch, self._parts, self._bounded = settings, watch, parts, bounded
        self._counters = {name: Metrics.counter(metrics.NAMESPACE, name) for name in metrics.ALL}

    def setup(self) -> None:
        settings = self._settings
        self._recorder = Recorder(settings.journaling, settings.prompt, settings.service)  # which may refuse a journal
        self._client = connect(settings.service, settings.prompt.prefix, settings.max_concurrency)

    def start_bundle(self) -> None:
        self._cancel()
        self._recorder.refresh()
        # A bundle is worked on in one place at a time, and no more of them at once than there are workers.
        self._client.allowance.claim_share(self._client, id(self), self._parts)
        self._runs = Runs(
            self._client,
            self._settings.prompt,
            self._settings.polling,
            self._settings.tools,
            halts=self._bounded,
            may_repeat=self._settings.may_repeat,
            outcomes=self._watch.outcomes,
        )

    def process(self, element: bytes) -> Iterator[Any]:
        good, failed = separate([element], compare=False)
        if failed:
            yield self._stamped(failed)
        for blob in good:
            self._counters[metrics.BATCHES].inc()
            recalled = self._recorder.recall(blob)
            if recalled.answered:
                self._counters[metrics.RECALLED].inc(len(recalled.answered))
                yield self._stamped(recalled.answered)
            unanswered = list(_unanswered(recalled))
            for at in range(0, len(unanswered), READ_AT_ONCE):
                whole, lost = split_unreadable(read_again(unanswered[at : at + READ_AT_ONCE]))
                if lost:
                    yield self._stamped(self._given_up(lost))
                with self._kept():
                    for replies in self._runs.put(whole):
                        self._recorder.record_replies(replies)
                        yield self._stamped(replies)
        self._count()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        with self._kept():
            for replies in self._runs.drain():
                self._recorder.record_replies(replies)
                moment = window.max_timestamp() if self._bounded else Timestamp.of(time.time())
                yield WindowedValue(Replies.of(replies), moment, [window])
        self._client.allowance.release_share(self._client, id(self))
        self._count()

    def teardown(self) -> None:
        self._cancel()
        if hasattr(self, "_client"):  # not where set-up failed
            self._client.allowance.release_share(self._client, id(self))
            disconnect(self._client)

    def _given_up(self, lost: list[Reply]) -> list[Reply]:
        """What cannot be read now may be read later: the filesystem broke, so the bundle is repeated."""
        for reply in lost:
            if isinstance(reply.result, Failure) and reply.result.code == "unreadable":
                for replies in self._runs.drain():
                    self._recorder.record_replies(replies)
                raise OSError(reply.result.message)
        return lost

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """What was answered before a run is stopped has been paid for: the journal keeps it."""
        try:
            yield
        except (AccountError, UnmetSchemaError):
            self._recorder.record_replies(self._runs.take_ready())
            raise

    def _cancel(self) -> None:
        """Ends what a failed bundle has left in flight; what has been answered meanwhile is kept."""
        if hasattr(self, "_runs"):
            self._runs.cancel()
            if replies := self._runs.take_ready():
                self._recorder.record_replies(replies)

    def _stamped(self, replies: Sequence[Reply]) -> Any:
        """With the present for a stream: with its document's own time an answer would be late and silently dropped."""
        columns = Replies.of(replies)
        return columns if self._bounded else TimestampedValue[Replies](columns, Timestamp.of(time.time()))

    def _count(self) -> None:
        for name, number in self._runs.counts().items():
            self._counters[name].inc(number)


def _with_failure(reply: Reply) -> Document:
    document, failure = reply.document, reply.result
    assert isinstance(failure, Failure)
    failing = replace(document, failure=failure)
    return failing if document.file is None else failing.with_file(document.file)


def _unanswered(recalled: Recalled) -> Iterator[Document]:
    """The documents that have no answer yet. A ticket of the queue is no use to who does not poll."""
    for earlier in (*recalled.in_flight, *recalled.doubtful):
        yield from (with_open_request(item.document) for item in earlier.items)
    if recalled.fresh is not None:
        yield from batches.decode(recalled.fresh)
