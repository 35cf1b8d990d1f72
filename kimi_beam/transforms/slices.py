"""One slice of a shard's work: submit and poll what is due, admit what waits. The timers that call it are elsewhere."""

from __future__ import annotations

import functools
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder, StrUtf8Coder, TupleCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec

from kimi_beam import batching as packing
from kimi_beam import dispatch, metrics
from kimi_beam.batching import Batching, Packer
from kimi_beam.client import connect, disconnect
from kimi_beam.dispatch import AskAgain, Effect, Finish, GiveUp, Halt, RunInstead, Split
from kimi_beam.fallback import given_up, part
from kimi_beam.jobs import Job, Shard
from kimi_beam.journal import Journaling
from kimi_beam.polling import Polling
from kimi_beam.progress import PROGRESS
from kimi_beam.prompting import Prompt
from kimi_beam.recall import Recalled
from kimi_beam.service import WorkersAI
from kimi_beam.synchronous import Runs
from kimi_beam.transforms.record import Recorder
from kimi_beam.types import Failure, Reply, Ticket
from kimi_beam.validation import references, replies
from kimi_beam.wire.envelopes import Refused, Unknown
from kimi_beam.wire.protocol import decode_poll, decode_submit, encode_submit

_SUBMITS_AT_ONCE = 8
"""Bodies of up to 8 MB that are in memory together. Also what is sent past the first "come back later"."""
_POLLS_AT_ONCE = 32
_DOUBTFUL = Failure(
    "submit",
    "unknown_submit",
    "an earlier worker was lost while it submitted this, so it may have been paid for",
    retryable=True,
)


class Slices(beam.DoFn):
    """``(shard, batch as bytes) -> list[Reply]``, a list for each batch that ends. The timers are the subclasses'."""

    WAITING = BagStateSpec("waiting", BytesCoder())
    """Batches not admitted yet, as they came."""
    HELD = BagStateSpec("held", TupleCoder((StrUtf8Coder(), BytesCoder())))
    """(batch id, batch) of each job: touched when a job is submitted or ends."""
    JOBS = ReadModifyWriteStateSpec("jobs", BytesCoder())
    """The `Shard`: small, touched at every firing."""

    def __init__(
        self,
        service: WorkersAI,
        prompt: Prompt,
        batching: Batching,
        polling: Polling,
        max_in_flight: int,
        max_concurrency: int,
        journaling: Journaling | None = None,
    ) -> None:
        self._service, self._prompt = service, prompt
        self._batching, self._polling = batching, polling
        self._max_in_flight, self._max_concurrency = max_in_flight, max_concurrency
        self._journaling = journaling
        self._may_repeat = journaling is None or journaling.may_repeat
        self._counters = {name: Metrics.counter(metrics.NAMESPACE, name) for name in metrics.ALL}

    _bounded = True
    """Whether the input ends: trouble with the account then ends the job."""
    _put_back = False
    """Whether the last slice has put something into WAITING that came from a job."""

    def setup(self) -> None:
        self._client = connect(self._service, self._prompt.prefix, self._max_concurrency)
        self._recorder = Recorder(self._journaling, self._prompt, self._service)
        self._admitted: set[str] = set()
        """Batches that this instance has admitted and not acted on: nobody else has."""

    def teardown(self) -> None:
        if hasattr(self, "_client"):  # not where set-up failed
            disconnect(self._client)

    def _count(self, name: str, by: int = 1) -> None:
        self._counters[name].inc(by)

    def _act(
        self, shard: Shard, held: Held, waiting: Any, now: float
    ) -> Generator[list[Reply], None, tuple[Shard, list[Halt]]]:
        """Submits and polls what is due, and lets go of what has ended."""
        jobs = dispatch.due(shard, now)
        to_submit = [job for job in jobs if job.request_id is None]
        shard, to_submit = self._not_submitted_yet(shard, to_submit, held, waiting)
        shard, effects = self._submit(shard, to_submit, held)
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
                        yield self._finished(effect, held, waiting)
                    else:
                        effects.append(effect)
        for effect in effects:
            if isinstance(effect, GiveUp):
                lost = given_up(held.take(effect.job.batch_id), effect.failure, effect.job.ticket)
                self._recorder.given_up(lost, effect.failure)
                yield lost
            elif isinstance(effect, AskAgain):
                blob, ticket = held.take(effect.job.batch_id), effect.job.ticket
                unmet = [Reply(d, effect.failure, ticket=ticket) for d in packing.decode(blob)]
                yield self._settled(blob, unmet, waiting)
            elif isinstance(effect, RunInstead):
                yield from self._run(held.take(effect.job.batch_id))
            elif isinstance(effect, Split):
                self._count(metrics.SPLITS)
                for half in packing.halves(held.take(effect.job.batch_id)):
                    if packing.head(half).batch_id in held:
                        # A stream may bring the same documents twice: these wait for the others.
                        self._wait(half, waiting)
                    else:
                        shard = self._admit(shard, held, [half], now)
        return shard, [effect for effect in effects if isinstance(effect, Halt)]

    def _not_submitted_yet(
        self, shard: Shard, jobs: Sequence[Job], held: Held, waiting: Any
    ) -> tuple[Shard, list[Job]]:
        """Takes out the batches that a worker has submitted who was lost before its state was kept: they wait again."""
        others = [job for job in jobs if job.batch_id not in self._admitted]
        self._admitted.difference_update(job.batch_id for job in jobs)
        if others:
            self._recorder.refresh()
        known = [job for job in others if self._recorder.is_ahead(job, held[job.batch_id])]
        for job in known:
            self._wait(held.take(job.batch_id), waiting)
        return dispatch.without(shard, known), [job for job in jobs if job not in known]

    def _submit(self, shard: Shard, jobs: Sequence[Job], held: Held) -> tuple[Shard, list[Effect]]:
        effects: list[Effect] = []
        for some in _groups(jobs, _SUBMITS_AT_ONCE):
            now = time.time()
            if max(shard.submits_from, shard.parked_until) > now:
                break  # told to wait, or the quota is spent: the others keep their place, or are given up already
            self._count(metrics.SUBMITS, len(some))
            self._count(metrics.RESUBMITS, sum(job.replaces is not None for job in some))
            pairs = [(job, held[job.batch_id]) for job in some]
            self._recorder.about_to_submit(pairs)
            bodies = [self._body(job, blob) for job, blob in pairs]
            exchanges = self._client.submit(bodies, functools.partial(self._recorder.heard, pairs))
            now = time.time()
            results = [(job, decode_submit(exchange, now)) for job, exchange in zip(some, exchanges, strict=True)]
            may_run = self._service.fallback_api is not None
            self._count(metrics.UNKNOWN_SUBMITS, sum(isinstance(result, Unknown) for _, result in results))
            self._count(metrics.DELAYS, sum(isinstance(r, Refused) and r.error.waits for _, r in results))
            shard, more = dispatch.submitted_together(
                shard, results, now, self._polling, may_run=may_run, may_repeat=self._may_repeat
            )
            effects += more
        return shard, effects

    def _body(self, job: Job, blob: bytes) -> bytes:
        documents, form = packing.decode(blob), packing.head(blob).form
        names = references(job.batch_id, len(documents))
        request = self._prompt.request
        return encode_submit(
            request(document, name, form=form) for document, name in zip(documents, names, strict=True)
        )

    def _finished(self, effect: Finish, held: Held, waiting: Any) -> list[Reply]:
        job = effect.job
        blob = held.take(job.batch_id)
        answered, surplus = replies(
            job.batch_id,
            packing.decode(blob),
            effect.items,
            effect.usage,
            job.ticket,
            answer_tool=self._prompt.answer_tool,
            asked=job.asked,
        )
        self._recorder.replied(answered)
        if surplus:
            self._count(metrics.SURPLUS_ITEMS, surplus)
        return self._settled(blob, answered, waiting)

    def _settled(self, blob: bytes, answered: Sequence[Reply], waiting: Any) -> list[Reply]:
        """The replies that are final; the other documents wait to be asked for again."""
        final, again = part(blob, answered, len(self._prompt.forms))
        if again is not None:
            self._count(metrics.FALLBACKS, len(answered) - len(final))
            self._wait(again, waiting)
        return final

    def _wait(self, blob: bytes, waiting: Any) -> None:
        waiting.add(blob)
        self._put_back = True

    def _run(self, blob: bytes) -> Iterator[list[Reply]]:
        """Asks for the documents of a batch synchronously: their model has no queue."""
        prompt = replace(self._prompt, api="run")  # which may stream
        runs = Runs(self._client, prompt, self._polling, halts=self._bounded, may_repeat=self._may_repeat)
        for document in packing.decode(blob):
            runs.put(document)
        for answered in runs.drain():
            self._recorder.replied(answered)
            yield answered
        for name, number in runs.counts().items():
            self._count(name, number)

    def _admit(self, shard: Shard, held: Held, blobs: Iterable[bytes], now: float) -> Shard:
        """Makes jobs of batches. They are acted on from the next firing on, when they are committed state."""
        admitted = []
        for blob in blobs:
            head = packing.head(blob)
            held[head.batch_id] = blob
            admitted.append((head.batch_id, len(head.sizes)))
            self._admitted.add(head.batch_id)
        return dispatch.admit(shard, admitted, now)

    def _top_up(self, shard: Shard, held: Held, waiting: Any, now: float) -> Generator[list[Reply], None, Shard]:
        """Admits what waits, as far as there is room; gives it up unsent while the quota is spent."""
        blobs = list(waiting.read())
        if shard.parked_until > now:
            waiting.clear()
            failure = dispatch.quota_failure("the day's allocation is spent; it is renewed at 00:00 UTC")
            for blob in blobs:
                yield given_up(blob, failure)
            return shard
        packers: dict[int, Packer[bytes]] = {}
        groups: list[list[bytes]] = []
        for blob in blobs:
            head = packing.head(blob)
            packer = packers.setdefault(head.form, Packer(self._batching))
            groups.append(packer.add(blob, head.size_bytes, len(head.sizes)))
        groups += [packer.flush() for packer in packers.values()]
        taken: list[bytes] = []
        left: list[bytes] = []
        known = False
        fresh: list[bytes] = []
        for group in filter(None, groups):
            batch = packing.merge(group) if len(shard.jobs) + len(taken) < self._max_in_flight else None
            if batch is not None:
                recalled = self._recorder.recall(batch)
                if recalled.answered:
                    self._count(metrics.RECALLED, len(recalled.answered))
                    yield recalled.answered
                shard = yield from self._adopt(shard, held, recalled, now)
                if recalled.fresh is not batch:
                    # What is new in it waits for company: a few new documents among many known ones are one batch.
                    known = True
                    fresh += [recalled.fresh] if recalled.fresh is not None else []
                    continue
            # The same documents cannot be in flight twice: a job is named by them. The second waits for the first.
            if batch is None or packing.head(batch).batch_id in held:
                left += group
            else:
                taken.append(batch)
                held[packing.head(batch).batch_id] = batch
        if taken or known:
            self._count(metrics.BATCHES, len(taken))
            waiting.clear()
            for blob in (*left, *fresh):
                waiting.add(blob)
        shard = self._admit(shard, held, taken, now)
        # Each round sorts out all that is known of what it looks at, so that the next finds less.
        return (yield from self._top_up(shard, held, waiting, now)) if fresh else shard

    def _adopt(self, shard: Shard, held: Held, recalled: Recalled, now: float) -> Generator[list[Reply], None, Shard]:
        """Takes jobs in that an earlier run, or a worker that died, has submitted, or may have."""
        for again in (*recalled.in_flight, *recalled.doubtful):
            earlier = again.submission
            blob = again.batch
            batch_id = packing.head(blob).batch_id
            if earlier.request_id is None:
                self._count(metrics.UNKNOWN_SUBMITS)
                if not self._may_repeat:
                    yield given_up(blob, _DOUBTFUL, Ticket(None, 1))
                    continue
                due = max(now, earlier.at + (self._journaling.grace if self._journaling else 0.0))
                job = Job(batch_id, len(again.documents), due, now, unknown=1, attempts=1)
            else:
                asked = (earlier.name, len(earlier.keys), tuple(again.positions))
                job = Job(batch_id, len(again.documents), now, earlier.at, earlier.request_id, attempts=1, asked=asked)
                self._count(metrics.ADOPTED)
            held[batch_id] = blob
            shard = dispatch.adopt(shard, job)
        return shard

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
