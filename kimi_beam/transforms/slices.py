"""One slice of a shard's work: submit and poll what is due, admit what waits. The timers that call it are elsewhere."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder, StrUtf8Coder, TupleCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec

from kimi_beam import batching as packing
from kimi_beam import dispatch, metrics
from kimi_beam.batching import Batching, Packer
from kimi_beam.client import Client, WorkersAI
from kimi_beam.dispatch import Finish, GiveUp, Halt, Job, Shard, Split
from kimi_beam.polling import Polling
from kimi_beam.progress import PROGRESS
from kimi_beam.prompting import Prompt
from kimi_beam.protocol import Unknown, decode_poll, decode_submit, encode_submit
from kimi_beam.types import Reply
from kimi_beam.validation import references, replies


class Slices(beam.DoFn):
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

    def _act(self, shard: Shard, held: Held, now: float) -> Generator[list[Reply], None, tuple[Shard, list[Halt]]]:
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
                yield [Reply(d, effect.failure, ticket=effect.job.ticket) for d in documents]
            elif isinstance(effect, Split):
                self._count(metrics.SPLITS)
                halves = packing.halves(held.take(effect.job.batch_id))
                shard = self._admit(shard, held, halves, now)
        return shard, [effect for effect in effects if isinstance(effect, Halt)]

    def _body(self, job: Job, held: Held) -> bytes:
        documents = packing.decode(held[job.batch_id])
        names = references(job.batch_id, len(documents))
        return encode_submit(map(self._prompt.request, documents, names))

    def _finished(self, effect: Finish, held: Held) -> list[Reply]:
        job = effect.job
        documents = packing.decode(held.take(job.batch_id))
        answered, surplus = replies(job.batch_id, documents, effect.items, effect.usage, job.ticket)
        if surplus:
            self._count(metrics.SURPLUS_ITEMS, surplus)
        return answered

    def _admit(self, shard: Shard, held: Held, blobs: Iterable[bytes], now: float) -> Shard:
        """Makes jobs of batches. They are acted on from the next firing on, when they are committed state."""
        admitted = []
        for blob in blobs:
            head = packing.head(blob)
            held[head.batch_id] = blob
            admitted.append((head.batch_id, len(head.sizes)))
        return dispatch.admit(shard, admitted, now)

    def _top_up(self, shard: Shard, held: Held, waiting: Any, now: float) -> Generator[list[Reply], None, Shard]:
        """Admits what waits, as far as there is room; gives it up unsent while the quota is spent."""
        blobs = list(waiting.read())
        if shard.parked_until > now:
            waiting.clear()
            failure = dispatch.quota_failure("the day's allocation is spent; it is renewed at 00:00 UTC")
            for blob in blobs:
                yield [Reply(d, failure) for d in packing.decode(blob)]
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


class Held:
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
