"""`Request`: asks for documents by a synchronous API, many of a bundle at the same time.

If a bundle fails, the answers that it has got are in the journal, and the next attempt finds them there. Without a
journal they are asked for again.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.columnar import Replies
from kimi_beam.errors import AccountError, UnmetSchemaError
from kimi_beam.input.file_references import READ_AT_ONCE, split_unreadable
from kimi_beam.journal.recorder import Recorder
from kimi_beam.network.shared_clients import connect, disconnect
from kimi_beam.queue.earlier import Recalled, with_open_request
from kimi_beam.report import metrics
from kimi_beam.report.outcomes import OutcomesHandle
from kimi_beam.request import batches
from kimi_beam.request.batches import Item
from kimi_beam.request.checks import separate
from kimi_beam.request.part_collector import InMemory
from kimi_beam.request.sample_collector import collector_of
from kimi_beam.synchronous.request_budget import put_within_budget
from kimi_beam.synchronous.runs import DocumentsInFlight
from kimi_beam.transforms.counters import Counters
from kimi_beam.transforms.reading_again import read_again
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply


@beam.typehints.with_output_types(bytes)
class Values(beam.PTransform):
    """``(shard, batch as bytes) -> batch as bytes``: Beam's own `Values`, but with a declared type.

    Its steps have the same names and number as those of Beam's, because a running job's state is found by them.
    """

    def expand(self, keyed: beam.PCollection) -> beam.PCollection:
        return keyed | "Values" >> beam.Map(_second).with_output_types(bytes)


def _second(pair: tuple[str, bytes]) -> bytes:
    return pair[1]


class Separate(beam.DoFn):
    """``(shard, batches as bytes) -> batch as bytes``: documents that share an id get a failure."""

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[bytes]:
        sendable, failed = separate(list(element[1]))
        yield from sendable
        if failed:
            yield batches.encode(Item(_with_failure(reply), 0) for reply in failed)


class SeparateWithShard(Separate):
    """The same with ``(shard, batch as bytes)`` as output."""

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[Any]:
        for blob in super().process(element):
            yield element[0], blob


class Request(beam.DoFn):
    """``batch as bytes -> Sequence[Reply]``, through a synchronous API.

    Args:
        settings: The settings of the `Extract`.
        outcomes_handle: Finds the outcomes of the `Extract` on each worker.
        rate_shares: How many shares the job's requests a minute are split into: one for each shard, or 1 if all
            workers are in this process.
        bounded: Whether the input is bounded, so that trouble with the account ends the job.
    """

    def __init__(
        self, settings: ExtractSettings, outcomes_handle: OutcomesHandle, rate_shares: int, *, bounded: bool
    ) -> None:
        self._settings, self._outcomes_handle = settings, outcomes_handle
        self._rate_shares, self._bounded = rate_shares, bounded
        self._counters = Counters()

    def setup(self) -> None:
        settings = self._settings
        # The journal comes first, as it may be refused.
        self._budget = settings.budget_of(self._outcomes_handle.name, self._rate_shares)
        has_budget = self._budget is not None
        self._recorder = Recorder(settings.journaling, settings.prompt, settings.service, has_budget=has_budget)
        self._client = connect(settings.service, settings.prompt.prefix, settings.max_concurrency)
        self._parts = settings.parts

    def start_bundle(self) -> None:
        self._cancel()
        self._recorder.refresh()
        # There are never more bundles at work than workers, so each claims the share of one shard.
        self._client.allowance.claim_share(self._client, id(self), self._rate_shares)
        self._in_flight = DocumentsInFlight(
            self._client,
            self._settings.prompt,
            self._settings.polling,
            self._settings.tools,
            halts=self._bounded,
            may_repeat=self._settings.may_repeat,
            outcomes=self._outcomes_handle.outcomes,
            budget=self._settings.request_budget(self._budget, shard="", waits=True),
        )
        self._waiting = deque[bytes]()
        self._collector = collector_of(
            InMemory(),
            self._parts,
            read_again,
            coerce=self._settings.coerce,
            repairs=self._settings.repairs,
            samples=self._settings.samples,
        )

    def process(self, element: Any) -> Iterator[Any]:
        yield from self._take_in(element)

    def _take_in(self, element: bytes) -> Iterator[Any]:
        sendable, failed = separate([element], compare=False)
        if failed:
            yield self._stamped(failed)
        self._waiting.extend(sendable)
        yield from map(self._stamped, self._leaving(self._ask()))
        self._count()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        is_done = False
        while not is_done:
            for replies in self._leaving(chain(self._ask(), self._drain())):
                moment = window.max_timestamp() if self._bounded else Timestamp.of(time.time())
                yield WindowedValue(Replies.of(replies), moment, [window])
            is_done = not self._waiting
        self._client.allowance.release_share(self._client, id(self))
        self._count()

    def teardown(self) -> None:
        self._cancel()
        if hasattr(self, "_client"):  # it is missing if set-up failed
            self._client.allowance.release_share(self._client, id(self))
            disconnect(self._client)

    def _ask(self) -> Iterator[Sequence[Reply]]:
        """Asks for the batches that wait. Yields replies that are there meanwhile."""
        while self._waiting:
            blob = self._waiting.popleft()
            if batches.head(blob).has_undivided:
                rest, parts, replies, unread = self._parts.divide(blob, read_again)
                self._count_parts(parts)
                self._waiting.extendleft(reversed([*([rest] if rest is not None else []), *parts]))
                if replies or unread:
                    yield self._unread([*replies, *(reply for _, reply in unread)])
                continue
            self._counters.count(metrics.BATCHES)
            self._counters.measure(metrics.BATCH_SIZE, [len(batches.head(blob).sizes)])
            recalled = self._recorder.recall(blob)
            if recalled.answered:
                self._counters.count(metrics.RECALLED, len(recalled.answered))
                yield recalled.answered
            unanswered = list(_unanswered(recalled))
            for start in range(0, len(unanswered), READ_AT_ONCE):
                whole, lost = split_unreadable(read_again(unanswered[start : start + READ_AT_ONCE]))
                if lost:
                    yield self._unread(lost)
                with self._recording_on_error():
                    for answered in put_within_budget(self._in_flight, whole):
                        self._recorder.record_replies(answered)
                        yield answered

    def _drain(self) -> Iterator[Sequence[Reply]]:
        """Waits for all requests in flight. Yields their replies."""
        with self._recording_on_error():
            for replies in self._in_flight.drain():
                self._recorder.record_replies(replies)
                yield replies

    def _leaving(self, replies: Iterable[Sequence[Reply]]) -> Iterator[Sequence[Reply]]:
        """The replies of whole documents: those of parts are kept until their documents are complete."""
        for some in replies:
            whole, again, repairs = self._collector.collect(some)
            self._counters.count(metrics.REPAIRS, repairs)
            self._count_parts(again)
            self._waiting.extendleft(reversed(again))
            if whole:
                yield whole

    def _unread(self, lost: list[Reply]) -> list[Reply]:
        """The replies of documents whose files cannot be read.

        Raises:
            OSError: The filesystem fails, so that the runner repeats the bundle. Answers so far are recorded first.
        """
        for reply in lost:
            if isinstance(reply.result, Failure) and reply.result.code == "unreadable":
                for replies in self._in_flight.drain():
                    self._recorder.record_replies(replies)
                raise OSError(reply.result.message)
        return lost

    @contextlib.contextmanager
    def _recording_on_error(self) -> Iterator[None]:
        """Records the answers that are there when the run is stopped by an error, as they have been paid for."""
        try:
            yield
        except (AccountError, UnmetSchemaError):
            self._recorder.record_replies(self._in_flight.take_ready())
            raise

    def _cancel(self) -> None:
        """Cancels the requests of a failed bundle, and records the answers that have arrived since."""
        if hasattr(self, "_in_flight"):
            self._in_flight.cancel()
            if replies := self._in_flight.take_ready():
                self._recorder.record_replies(replies)

    def _stamped(self, replies: Sequence[Reply]) -> Any:
        """The replies. In a stream they get the present as timestamp; with their documents' they would be dropped."""
        columns = Replies.of(replies)
        return columns if self._bounded else TimestampedValue[Replies](columns, Timestamp.of(time.time()))

    def _count_parts(self, blobs: Iterable[bytes]) -> None:
        self._counters.count(metrics.PARTS, sum(map(batches.count_parts, blobs)))

    def _count(self) -> None:
        for name, number in self._in_flight.counts().items():
            self._counters.count(name, number)


class RequestWithShare(Request):
    """``(shard, batch as bytes) -> Sequence[Reply]``: the same where each shard has its own share of a budget.

    A runner works on a shard in one process at a time, so that no two processes draw on one share.
    """

    def process(self, element: Any) -> Iterator[Any]:
        shard, blob = element
        if self._in_flight.budget is not None:
            self._in_flight.budget.shard = shard
        yield from self._take_in(blob)


def _with_failure(reply: Reply) -> Document:
    document, failure = reply.document, reply.result
    assert isinstance(failure, Failure)
    failing = replace(document, failure=failure)
    return failing if document.file is None else failing.with_file(document.file)


def _unanswered(recalled: Recalled) -> Iterator[Document]:
    """The documents without an answer. Those of a job in the queue are among them, as nobody polls it here."""
    for earlier in (*recalled.in_flight, *recalled.doubtful):
        yield from (with_open_request(item.document) for item in earlier.items)
    if recalled.fresh is not None:
        yield from batches.decode(recalled.fresh)
