"""One slice of a shard's work: submit and poll what is due, admit what waits. The timers that call it are elsewhere."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder, StrUtf8Coder, TupleCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec

from kimi_beam import batching as packing
from kimi_beam import dispatch, metrics
from kimi_beam.batching import Batching, Packer
from kimi_beam.client import Client, WorkersAI
from kimi_beam.dispatch import Effect, Finish, GiveUp, Halt, Job, Shard, Split
from kimi_beam.polling import Polling
from kimi_beam.progress import PROGRESS
from kimi_beam.prompting import Prompt
from kimi_beam.protocol import Refused, Unknown, decode_poll, decode_submit, encode_submit
from kimi_beam.types import Reply
from kimi_beam.validation import references, replies

_SUBMITS_AT_ONCE = 8
"""Bodies of up to 8 MB that are in memory together. Also what is sent past the first "come back later"."""
_POLLS_AT_ONCE = 32


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
        if hasattr(self, "_client"):  # not where set-up failed
            self._client.close()

    def _count(self, name: str, by: int = 1) -> None:
        self._counters[name].inc(by)

    def _act(
        self, shard: Shard, held: Held, waiting: Any, now: float
    ) -> Generator[list[Reply], None, tuple[Shard, list[Halt]]]:
        """Submits and polls what is due, and lets go of what has ended."""
        jobs = dispatch.due(shard, now)
        shard, effects = self._submit(shard, [job for job in jobs if job.request_id is None], held)
        to_poll = [job for job in jobs if job.request_id is not None]
        for some in _groups(to_poll, _POLLS_AT_ONCE):
            if shard.polls_from > time.time():
                break  # told to wait: the others are polled then
            self._count(metrics.POLLS, len(some))
            exchanges = self._client.poll([job.request_id or "" for job in some])
            for job, exchange in zip(some, exchanges, strict=True):
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
                for half in packing.halves(held.take(effect.job.batch_id)):
                    if packing.head(half).batch_id in held:
                        waiting.add(half)  # a stream may bring the same documents twice: these wait for the others
                    else:
                        shard = self._admit(shard, held, [half], now)
        return shard, [effect for effect in effects if isinstance(effect, Halt)]

    def _submit(self, shard: Shard, jobs: Sequence[Job], held: Held) -> tuple[Shard, list[Effect]]:
        effects: list[Effect] = []
        for some in _groups(jobs, _SUBMITS_AT_ONCE):
            now = time.time()
            if max(shard.submits_from, shard.parked_until) > now:
                break  # told to wait, or the quota is spent: the others keep their place, or are given up already
            self._count(metrics.SUBMITS, len(some))
            self._count(metrics.RESUBMITS, sum(job.resubmitted for job in some))
            exchanges = self._client.submit([self._body(job, held) for job in some])
            now = time.time()
            results = [(job, decode_submit(exchange, now)) for job, exchange in zip(some, exchanges, strict=True)]
            self._count(metrics.UNKNOWN_SUBMITS, sum(isinstance(result, Unknown) for _, result in results))
            self._count(metrics.DELAYS, sum(isinstance(r, Refused) and r.error.waits for _, r in results))
            shard, more = dispatch.submitted_together(shard, results, now, self._polling)
            effects += more
        return shard, effects

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
            groups.append(packer.add(blob, head.size_bytes, len(head.sizes)))
        groups.append(packer.flush())
        room = self._max_in_flight - len(shard.jobs)
        taken: list[bytes] = []
        left: list[bytes] = []
        for group in filter(None, groups):
            batch = packing.merge(group) if len(taken) < room else None
            # The same documents cannot be in flight twice: a job is named by them. The second waits for the first.
            if batch is None or packing.head(batch).batch_id in held:
                left += group
            else:
                taken.append(batch)
                held[packing.head(batch).batch_id] = batch
        if taken:
            self._count(metrics.BATCHES, len(taken))
            waiting.clear()
            for blob in left:
                waiting.add(blob)
        return self._admit(shard, held, taken, now)

    def _report(self, key: str, shard: Shard) -> None:
        PROGRESS.hold(key, sum(job.request_id is not None for job in shard.jobs))
        PROGRESS.trouble = next((job.trouble for job in shard.jobs if job.trouble), "")


def _groups(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    return (jobs[i : i + size] for i in range(0, len(jobs), size))


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
