"""`Extract`: documents in, extractions and dead letters out. Beam's side of the flow; the deciding is done elsewhere.

::

    Document ─▶ MakeBatches ─▶ Dispatch ─▶ Settle ─▶ Extraction │ DeadLetter

`Dispatch` submits and polls in one stateful DoFn a shard. Why it looks as it does (each point measured on the runners):

* It is keyed by shard, not by job, so that everything due is polled at once, and it works in the global window: keyed
  state is dropped when its window expires.
* Bounded input sets only a WATERMARK timer, which re-arms itself until nothing is open. A REAL_TIME timer would be
  dropped by the default DirectRunner, which then ends with success and no output, and hangs Flink streaming.
* Unbounded input sets REAL_TIME timers, which never block, and a WATERMARK timer that drains what is left at the end.
* State is bytes in three cells by how often each is touched: a bag is read and rewritten whole.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.coders import BooleanCoder, BytesCoder, StrUtf8Coder, TupleCoder
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.error_handling import ErrorHandler
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow, GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam import batching as packing
from kimi_beam import dispatch, metrics
from kimi_beam.batching import Batching, Packer
from kimi_beam.client import Client, WorkersAI
from kimi_beam.dispatch import Finish, GiveUp, Halt, Job, Shard, Split
from kimi_beam.errors import AccountError, ConfigError
from kimi_beam.polling import Polling
from kimi_beam.progress import PROGRESS
from kimi_beam.prompting import DEFAULT_INSTRUCTIONS, Prompt
from kimi_beam.protocol import ServiceError, Unknown, decode_poll, decode_submit, encode_submit
from kimi_beam.schema import OutputSchema, SchemaSource
from kimi_beam.types import DeadLetter, Document, Extraction, Failure, Reply, Usage
from kimi_beam.validation import Asked, references, replies, settle

T = TypeVar("T")

DEAD_LETTERS = "dead_letters"
EXTRACTIONS = "extractions"

_MAX_BLOCK = 5.0
"""Seconds that one firing of a timer may wait: bundles stay short, so that a runner can commit between them."""


class Extract(beam.PTransform):
    """Extracts one instance of a schema from each document, through the model's batch queue.

    ``PCollection[Document] -> extractions: PCollection[Extraction], dead_letters: PCollection[DeadLetter]``

    Every document leaves exactly once, by one of the two outputs. Use them as ``result.extractions`` and
    ``result.dead_letters``, or hand the dead letters to a Beam error handler::

        with ErrorHandler(kb.WriteDeadLetters("out/dead")) as dead:
            extractions = documents | kb.Extract(Invoice, service=service).with_error_handler(dead)

    Bounded input has its duplicate ids found before anything is submitted: every holder is a ``duplicate_id`` dead
    letter. In unbounded input ids are not compared, and outputs carry the time of the answer.

    Args:
        schema: What each document shall become: a JSON Schema (dict or file), a pydantic model, or an `OutputSchema`.
        service: Where the service is and which model is asked.
        instructions: The user's own words to the model.
        prompt_metadata: Keys of the documents' metadata that the model may see; none by default.
        batching: How documents are packed.
        polling: When finished jobs are looked for, and for how long.
        max_in_flight: Jobs that one shard has submitted and not finished.
        max_completion_tokens: Bound of each answer.
        shards: Keys that the work is spread over. None: by the runner's number of workers.

    Raises:
        SchemaError: The schema cannot be read or compiled.
        ConfigError: A number is not positive.
        AccountError: In a running bounded pipeline: token, account or model are turned away.
    """

    def __init__(
        self,
        schema: SchemaSource,
        *,
        service: WorkersAI,
        instructions: str = DEFAULT_INSTRUCTIONS,
        prompt_metadata: Sequence[str] = (),
        batching: Batching | None = None,
        polling: Polling | None = None,
        max_in_flight: int = 64,
        max_completion_tokens: int = 4096,
        shards: int | None = None,
    ) -> None:
        super().__init__()
        if max_in_flight < 1 or max_completion_tokens < 1 or (shards is not None and shards < 1):
            raise ConfigError("Extract: max_in_flight, max_completion_tokens and shards must be at least 1")
        self._prompt = Prompt(OutputSchema(schema), instructions, tuple(prompt_metadata), max_completion_tokens)
        self._service = service
        self._batching = batching or Batching()
        self._polling = polling or Polling()
        self._max_in_flight = max_in_flight
        self._shards = shards
        self._handler: ErrorHandler | None = None

    def with_error_handler(self, handler: ErrorHandler | None) -> Extract:
        """Sends the dead letters to a Beam error handler; the output is then the extractions alone."""
        self._handler = handler
        return self

    def expand(self, documents: beam.PCollection) -> Any:
        shards = self._shards or default_shards(documents.pipeline.options)
        dispatch_fn = _DispatchBounded if documents.is_bounded else _DispatchUnbounded
        if not documents.windowing.is_default():
            documents = documents | "GlobalWindow" >> beam.WindowInto(GlobalWindows())
        asked = Asked(self._prompt.schema, self._service.model)
        results = (
            documents
            | "MakeBatches"
            >> beam.ParDo(_MakeBatches(self._prompt, self._batching, shards)).with_output_types(tuple[str, bytes])
            | "Dispatch"
            >> beam.ParDo(dispatch_fn(self._service, self._prompt, self._batching, self._polling, self._max_in_flight))
            | "Settle" >> beam.ParDo(_Settle(asked)).with_outputs(DEAD_LETTERS, main=EXTRACTIONS)
        )
        results[EXTRACTIONS].element_type = Extraction
        results[DEAD_LETTERS].element_type = DeadLetter
        if self._handler is None:
            return results
        self._handler.add_error_pcollection(results[DEAD_LETTERS])
        return results[EXTRACTIONS]


def default_shards(options: PipelineOptions) -> int:
    """As many keys as there are workers to hold one: more would only make batches smaller.

    Flink's batch mode runs one key at a time on each slot, so that keys beyond its parallelism wait for each other.
    """
    known = options.get_all_options()
    if "dataflow" in str(known.get("runner") or "").lower():
        return 4 * max(int(known.get("num_workers") or 1), int(known.get("max_num_workers") or 1))
    return max(1, int(known.get("direct_num_workers") or 1), int(known.get("parallelism") or 1))


# ------------------------------------------------------------------------------------------------ make batches


def prepare(document: Document, prompt: Prompt) -> tuple[Document, int]:
    """Checks a document before anything is paid for.

    Returns:
        The document, with a failure where it cannot be sent; and the bytes of its request, 0 where it fails.
    """
    failure = document.failure
    size = 0
    if failure is None:
        try:
            size = prompt.size(document)
            document.id.encode()
        except (TypeError, UnicodeEncodeError):
            failure = Failure("prompt", "not_utf8", "the id or text holds lone surrogates, which are not Unicode")
        else:
            failure = _unsendable(document, size, prompt)
    if failure is None:
        return document, size
    legible = (_legible(document.id), _legible(document.text))
    return Document(*legible, document.images, document.metadata, document.source, failure), 0


def _unsendable(document: Document, size: int, prompt: Prompt) -> Failure | None:
    if not document.text.strip() and not document.images:
        return Failure("prompt", "empty_document", "the document has no text")
    if size > packing.HARD_MAX_BYTES:
        told = f"its request of {size} bytes exceeds {packing.HARD_MAX_BYTES}, the most that a job may hold"
        return Failure("prompt", "too_large", told)
    missing = prompt.missing_metadata(document)
    if missing:
        return Failure("prompt", "missing_metadata", f"metadata lacks {', '.join(missing)}, which the prompt names")
    return None


def _legible(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


class _MakeBatches(beam.DoFn):
    """``Document -> (shard, batch as bytes)``: packs within a bundle; `Dispatch` packs what is left over again.

    Documents of one id meet in one shard. Documents that failed travel in batches of their own.
    """

    def __init__(self, prompt: Prompt, batching: Batching, shards: int) -> None:
        self._prompt, self._batching, self._shards = prompt, batching, shards

    def start_bundle(self) -> None:
        self._packers: dict[tuple[str, bool], Packer[tuple[Document, int]]] = {}

    def process(self, document: Document) -> Iterator[tuple[str, bytes]]:
        document, size = prepare(document, self._prompt)
        shard = str(packing.digest(document.id) % self._shards)
        key = shard, document.failure is None
        packer = self._packers.get(key)
        if packer is None:
            packer = self._packers[key] = Packer(self._batching)
        if closed := packer.add((document, size), size or len(document.text)):
            yield self._batch(shard, closed)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for (shard, _), packer in self._packers.items():
            if left := packer.flush():
                yield WindowedValue(self._batch(shard, left), GlobalWindow().max_timestamp(), [GlobalWindow()])

    def _batch(self, shard: str, documents: Sequence[tuple[Document, int]]) -> tuple[str, bytes]:
        PROGRESS.read(len(documents))
        return shard, packing.encode(documents)


# ------------------------------------------------------------------------------------------------ dispatch


class _Dispatch(beam.DoFn):
    """``(shard, batch as bytes) -> list[Reply]``, a list for each batch that ends. The timers are the subclasses'."""

    WAITING = BagStateSpec("waiting", BytesCoder())
    """Batches not admitted yet, as they came."""
    HELD = BagStateSpec("held", TupleCoder((StrUtf8Coder(), BytesCoder())))
    """(batch id, batch) of each job: touched when a job is submitted or ends."""
    JOBS = ReadModifyWriteStateSpec("jobs", BytesCoder())
    """The `Shard`: small, touched at every firing."""

    def __init__(
        self, service: WorkersAI, prompt: Prompt, batching: Batching, polling: Polling, max_in_flight: int
    ) -> None:
        self._service, self._prompt = service, prompt
        self._batching, self._polling, self._max_in_flight = batching, polling, max_in_flight
        self._counters = {name: Metrics.counter(metrics.NAMESPACE, name) for name in metrics.ALL}

    def setup(self) -> None:
        self._client = Client(self._service)

    def teardown(self) -> None:
        self._client.close()

    def _count(self, name: str, by: int = 1) -> None:
        self._counters[name].inc(by)

    def _act(self, shard: Shard, held: _Held, now: float) -> Generator[list[Reply], None, tuple[Shard, list[Halt]]]:
        """Submits and polls what is due, all at once, and lets go of what has ended."""
        jobs = dispatch.due(shard, now)
        to_submit = [job for job in jobs if job.request_id is None]
        bodies = [self._body(job, held) for job in to_submit]
        self._count(metrics.SUBMITS, len(bodies))
        exchanges = self._client.submit(bodies)
        now = time.time()
        submits = [(job, decode_submit(x, now)) for job, x in zip(to_submit, exchanges, strict=True)]
        self._count(metrics.UNKNOWN_SUBMITS, sum(isinstance(result, Unknown) for _, result in submits))
        shard, effects = dispatch.submitted_together(shard, submits, now, self._polling)
        to_poll = [job for job in jobs if job.request_id is not None]
        self._count(metrics.POLLS, len(to_poll))
        exchanges = self._client.poll([job.request_id for job in to_poll if job.request_id])
        for job, exchange in zip(to_poll, exchanges, strict=True):
            now = time.time()
            shard, more = dispatch.polled(shard, job, decode_poll(exchange, now), now, self._polling)
            # One finished job at a time: its documents and answers are the bulk of what is in memory.
            for effect in more:
                if isinstance(effect, Finish):
                    yield self._finished(effect, held)
                else:
                    effects.append(effect)
        for effect in effects:
            if isinstance(effect, GiveUp):
                documents = packing.decode(held.take(effect.job.batch_id))
                yield [Reply(d, effect.failure, Usage(), effect.job.ticket) for d in documents]
            elif isinstance(effect, Split):
                self._count(metrics.SPLITS)
                halves = packing.halves(held.take(effect.job.batch_id))
                shard = self._admit(shard, held, halves, now)
        return shard, [effect for effect in effects if isinstance(effect, Halt)]

    def _body(self, job: Job, held: _Held) -> bytes:
        documents = packing.decode(held[job.batch_id])
        names = references(job.batch_id, len(documents))
        return encode_submit(map(self._prompt.request, documents, names))

    def _finished(self, effect: Finish, held: _Held) -> list[Reply]:
        job = effect.job
        documents = packing.decode(held.take(job.batch_id))
        answered, surplus = replies(job.batch_id, documents, effect.items, effect.usage, job.ticket)
        if surplus:
            self._count(metrics.SURPLUS_ITEMS, surplus)
        return answered

    def _admit(self, shard: Shard, held: _Held, blobs: Iterable[bytes], now: float) -> Shard:
        """Makes jobs of batches. They are acted on from the next firing on, when they are committed state."""
        admitted = []
        for blob in blobs:
            head = packing.head(blob)
            held[head.batch_id] = blob
            admitted.append((head.batch_id, len(head.sizes)))
        return dispatch.admit(shard, admitted, now)

    def _top_up(self, shard: Shard, held: _Held, waiting: Any, now: float) -> Generator[list[Reply], None, Shard]:
        """Admits what waits, as far as there is room; gives it up unsent while the quota is spent."""
        blobs = list(waiting.read())
        if shard.parked_until > now:
            waiting.clear()
            failure = dispatch.quota_failure("the day's allocation is spent; it is renewed at 00:00 UTC")
            for blob in blobs:
                yield [Reply(d, failure, Usage(), None) for d in packing.decode(blob)]
            return shard
        packer: Packer[bytes] = Packer(self._batching)
        groups: list[list[bytes]] = []
        for blob in blobs:
            head = packing.head(blob)
            if closed := packer.add(blob, head.size_bytes, len(head.sizes)):
                groups.append(closed)
        groups.append(packer.flush())
        room = self._max_in_flight - len(shard.jobs)
        taken: list[bytes] = []
        left: list[bytes] = []
        for group in filter(None, groups):
            # The same documents cannot be in flight twice: a job is named by them. The second waits for the first.
            blob = packing.merge(group)
            if len(taken) < room and packing.head(blob).batch_id not in held:
                taken.append(blob)
                held[packing.head(blob).batch_id] = blob
            else:
                left.append(blob)
        if taken:
            self._count(metrics.BATCHES, len(taken))
            waiting.clear()
            for blob in left:
                waiting.add(blob)
        return self._admit(shard, held, taken, now)

    def _report(self, shard: Shard) -> None:
        PROGRESS.hold(id(self), sum(job.request_id is not None for job in shard.jobs))


class _Held:
    """The batches of the jobs: a bag that is read when first needed and written back when it changed."""

    def __init__(self, bag: Any) -> None:
        self._bag = bag
        self._batches: dict[str, bytes] | None = None
        self._added: list[str] = []
        self._rewrite = False

    def _read(self) -> dict[str, bytes]:
        if self._batches is None:
            self._batches = dict(self._bag.read())
        return self._batches

    def __contains__(self, batch_id: str) -> bool:
        return batch_id in self._read()

    def __getitem__(self, batch_id: str) -> bytes:
        return self._read()[batch_id]

    def __setitem__(self, batch_id: str, blob: bytes) -> None:
        if batch_id not in self._read():
            self._added.append(batch_id)
        self._read()[batch_id] = blob

    def take(self, batch_id: str) -> bytes:
        """Removes a batch."""
        self._rewrite = True
        return self._read().pop(batch_id)

    def write(self) -> None:
        """Brings the bag to what is held now."""
        if self._batches is None:
            return
        if self._rewrite:
            self._bag.clear()
            for pair in self._batches.items():
                self._bag.add(pair)
        else:
            for batch_id in self._added:
                self._bag.add((batch_id, self._batches[batch_id]))


class _DispatchBounded(_Dispatch):
    """For input that ends: nothing is submitted before all of a shard's documents are there."""

    DRAIN = TimerSpec("drain", TimeDomain.WATERMARK)
    CHECKED = ReadModifyWriteStateSpec("checked", BooleanCoder())
    """Set once the ids have been compared."""

    def process(
        self,
        element: tuple[str, bytes],
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(_Dispatch.WAITING),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> None:
        waiting.add(element[1])
        drain.set(window.max_timestamp())

    @on_timer(DRAIN)
    def on_drain(
        self,
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(_Dispatch.WAITING),
        bag: Any = beam.DoFn.StateParam(_Dispatch.HELD),
        jobs: Any = beam.DoFn.StateParam(_Dispatch.JOBS),
        checked: Any = beam.DoFn.StateParam(CHECKED),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> Iterator[list[Reply]]:
        """One slice: wait for the earliest due, act on all that is due, top up, re-arm until nothing is open."""
        if not checked.read():
            checked.write(True)
            blobs = list(waiting.read())
            good, failed = separate(blobs)
            if failed or len(good) != len(blobs):
                waiting.clear()
                for blob in good:
                    waiting.add(blob)
                yield failed
        shard, held = dispatch.decode(jobs.read()), _Held(bag)
        wake = dispatch.wake(shard)
        if wake is not None:
            time.sleep(min(max(0.0, wake - time.time()), _MAX_BLOCK))
        shard, halts = yield from self._act(shard, held, time.time())
        for halt in halts:
            raise account_error(halt.error, self._service)
        # By the quarter: a bag is read and rewritten whole.
        if len(shard.jobs) <= self._max_in_flight * 3 // 4:
            shard = yield from self._top_up(shard, held, waiting, time.time())
        held.write()
        jobs.write(dispatch.encode(shard))
        self._report(shard)
        if shard.jobs:
            drain.set(window.max_timestamp())


class _DispatchUnbounded(_Dispatch):
    """For input that does not end: real-time timers that never block, and a drain at the end of the watermark."""

    LINGER = TimerSpec("linger", TimeDomain.REAL_TIME)
    TICK = TimerSpec("tick", TimeDomain.REAL_TIME)
    DRAIN = TimerSpec("drain", TimeDomain.WATERMARK)
    LINGERING = ReadModifyWriteStateSpec("lingering", BooleanCoder())
    """Whether the linger timer is set. Setting it again for each element would postpone it for ever under load."""

    def process(
        self,
        element: tuple[str, bytes],
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(_Dispatch.WAITING),
        lingering: Any = beam.DoFn.StateParam(LINGERING),
        linger: Any = beam.DoFn.TimerParam(LINGER),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> Iterator[Any]:
        good, failed = separate([element[1]], compare=False)
        for blob in good:
            waiting.add(blob)
        if failed:
            yield _now(failed)
        if good and not lingering.read():
            lingering.write(True)
            linger.set(Timestamp.of(time.time() + self._batching.max_wait))
            drain.set(window.max_timestamp())

    @on_timer(LINGER)
    def on_linger(
        self,
        waiting: Any = beam.DoFn.StateParam(_Dispatch.WAITING),
        bag: Any = beam.DoFn.StateParam(_Dispatch.HELD),
        jobs: Any = beam.DoFn.StateParam(_Dispatch.JOBS),
        lingering: Any = beam.DoFn.StateParam(LINGERING),
        linger: Any = beam.DoFn.TimerParam(LINGER),
        tick: Any = beam.DoFn.TimerParam(TICK),
    ) -> Iterator[Any]:
        """Admits what waited long enough."""
        shard, held, now = dispatch.decode(jobs.read()), _Held(bag), time.time()
        shard = yield from _all_now(self._top_up(shard, held, waiting, now))
        held.write()
        jobs.write(dispatch.encode(shard))
        if any(True for _ in waiting.read()):
            linger.set(Timestamp.of(now + max(1.0, self._batching.max_wait)))
        else:
            lingering.clear()
        if shard.jobs:
            tick.set(Timestamp.of(now))

    @on_timer(TICK)
    def on_tick(
        self,
        bag: Any = beam.DoFn.StateParam(_Dispatch.HELD),
        jobs: Any = beam.DoFn.StateParam(_Dispatch.JOBS),
        tick: Any = beam.DoFn.TimerParam(TICK),
    ) -> Iterator[Any]:
        """Acts on what is due, and never waits."""
        shard = yield from self._slice(bag, jobs)
        wake = dispatch.wake(shard)
        if wake is not None:
            tick.set(Timestamp.of(max(wake, time.time() + 0.05)))

    @on_timer(DRAIN)
    def on_drain(
        self,
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(_Dispatch.WAITING),
        bag: Any = beam.DoFn.StateParam(_Dispatch.HELD),
        jobs: Any = beam.DoFn.StateParam(_Dispatch.JOBS),
        linger: Any = beam.DoFn.TimerParam(LINGER),
        tick: Any = beam.DoFn.TimerParam(TICK),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> Iterator[Any]:
        """The input has ended after all: waits, as bounded input does, until nothing is open."""
        # A real-time timer that is still set makes Flink spin for ever once the source has ended.
        linger.clear()
        tick.clear()
        wake = dispatch.wake(dispatch.decode(jobs.read()))
        if wake is not None:
            time.sleep(min(max(0.0, wake - time.time()), _MAX_BLOCK))
        shard = yield from self._slice(bag, jobs)
        held = _Held(bag)
        shard = yield from _all_now(self._top_up(shard, held, waiting, time.time()))
        held.write()
        jobs.write(dispatch.encode(shard))
        if shard.jobs:
            drain.set(window.max_timestamp())

    def _slice(self, bag: Any, jobs: Any) -> Generator[Any, None, Shard]:
        held = _Held(bag)
        shard, halts = yield from _all_now(self._act(dispatch.decode(jobs.read()), held, time.time()))
        # The state is kept and tried again, slowly: a stream outlives a revoked token.
        self._count(metrics.ACCOUNT_TROUBLE, len(halts))
        held.write()
        jobs.write(dispatch.encode(shard))
        self._report(shard)
        return shard


def _now(value: Any) -> TimestampedValue:
    """Stamps an output with the present: with its document's own timestamp it would be late and silently dropped."""
    return TimestampedValue(value, Timestamp.of(time.time()))


def _all_now(outputs: Generator[list[Reply], None, T]) -> Generator[Any, None, T]:
    while True:
        try:
            output = next(outputs)
        except StopIteration as end:
            result: T = end.value
            return result
        yield _now(output)


def separate(blobs: Sequence[bytes], *, compare: bool = True) -> tuple[list[bytes], list[Reply]]:
    """Parts the batches that can be sent from the documents that cannot.

    Args:
        blobs: All batches of a shard.
        compare: Whether documents of one id are refused: every holder of it.

    Returns:
        The batches to send, and a reply for each document that failed before it could be sent.
    """
    twice = _repeated(blobs) if compare else frozenset()
    good: list[bytes] = []
    failed: list[Reply] = []
    for blob in blobs:
        head = packing.head(blob)
        if not head.failed and twice.isdisjoint(head.digests):
            good.append(blob)
            continue
        keep = []
        for document, size, digest in zip(packing.decode(blob), head.sizes, head.digests, strict=True):
            failure = document.failure
            if digest in twice:
                told = f"{failure.message}; and " if failure else ""
                failure = Failure("prompt", "duplicate_id", f"{told}more than one document has the id {document.id!r}")
            if failure is None:
                keep.append((document, size))
            else:
                failed.append(Reply(document, failure, Usage(), None))
        if keep:
            good.append(packing.encode(keep))
    return good, failed


def _repeated(blobs: Sequence[bytes]) -> frozenset[int]:
    """Digests of the ids that more than one document has."""
    counts: Counter[int] = Counter()
    for blob in blobs:
        counts.update(packing.head(blob).digests)
    return frozenset(digest for digest, count in counts.items() if count > 1)


def account_error(error: ServiceError, service: WorkersAI) -> AccountError:
    """The error that ends a job: one line that names what was turned away."""
    return AccountError(
        f"Workers AI turned {service.model} for account {service.account_id} away: {error}",
        code=error.code,
        status=error.status,
    )


# ------------------------------------------------------------------------------------------------ settle


class _Settle(beam.DoFn):
    """``list[Reply] -> Extraction``, and ``DeadLetter`` by its own tag."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def process(self, element: list[Reply]) -> Iterator[Any]:
        for outcome in settle(element, self._asked, time.time()):
            if isinstance(outcome, DeadLetter):
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, outcome)
            else:
                yield outcome
        PROGRESS.settle(len(element))
