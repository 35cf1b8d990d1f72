"""One slice of a shard's work: submit and poll what is due, admit what waits. The timers that call it are elsewhere."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace

import apache_beam as beam
from apache_beam.metrics import Metrics

from kimi_beam import batches, dispatch, metrics
from kimi_beam.batching import Batching, Packer
from kimi_beam.client import connect, disconnect
from kimi_beam.columnar import Documents, Replies
from kimi_beam.dispatch import AskAgain, Drop, Effect, Finish, GiveUp, Halt, RunInstead, Split
from kimi_beam.events import Events
from kimi_beam.fallback import given_up, part
from kimi_beam.flow import Places
from kimi_beam.io.contents import read_again
from kimi_beam.jobs import Job, Shard, admit, adopt, hold, without
from kimi_beam.journal import Journaling
from kimi_beam.keyed_state import Held, Waiting
from kimi_beam.polling import Polling
from kimi_beam.progress import PROGRESS
from kimi_beam.prompting import Prompt
from kimi_beam.recall import DOUBTFUL, Recalled, resumed
from kimi_beam.redrive import taken_over
from kimi_beam.reports import REPORTS
from kimi_beam.service import WorkersAI
from kimi_beam.transforms.finished import TOGETHER, closed, fit_together
from kimi_beam.transforms.listener import Listener
from kimi_beam.transforms.record import Recorder
from kimi_beam.transforms.run_instead import run_instead
from kimi_beam.types import Reply, Ticket
from kimi_beam.validation import references
from kimi_beam.wire.envelopes import Refused
from kimi_beam.wire.protocol import decode_poll, decode_submit, encode_submit
from kimi_beam.wire.service_errors import Remedy

_SUBMITS_AT_ONCE = 8
"""Bodies of up to 8 MB that are in memory together. Also what is sent past the first "come back later"."""
_POLLS_AT_ONCE = 32
_MAX_BLOCK = 5.0
"""Seconds that one firing of a timer may wait: bundles stay short, so that a runner can commit between them."""


class Slices(beam.DoFn):
    """``(shard, batch as bytes) -> Sequence[Reply]``, for each batch that ends. The timers are the subclasses'."""

    def __init__(
        self,
        service: WorkersAI,
        prompt: Prompt,
        batching: Batching,
        polling: Polling,
        max_in_flight: int,
        max_concurrency: int,
        journaling: Journaling | None = None,
        parts: int = 1,
        events: Events | None = None,
    ) -> None:
        self._service, self._prompt, self._parts = service, prompt, parts
        self._batching, self._polling = batching, polling
        self._max_in_flight, self._max_concurrency = max_in_flight, max_concurrency
        self._journaling = journaling
        self._may_repeat = journaling is None or journaling.may_repeat
        self._events = events
        self._identity = uuid.uuid4().hex  # travels with it: the same on each worker
        self._counters = {name: Metrics.counter(metrics.NAMESPACE, name) for name in metrics.ALL}

    _bounded = True
    """Whether the input ends: trouble with the account then ends the job."""
    _put_back = False
    """Whether the last slice has put something into WAITING that came from a job."""

    def setup(self) -> None:
        self._recorder = Recorder(self._journaling, self._prompt, self._service)  # which may refuse a journal
        self._client = connect(self._service, self._prompt.prefix, self._max_concurrency)
        self._admitted: set[str] = set()
        """Batches that this instance has admitted and not acted on: nobody else has."""
        pulled = functools.partial(self._count, metrics.EVENT_PULLS)
        self._listener = Listener(self._events, self._client, self._identity, self._polling.deadline, pulled)

    def teardown(self) -> None:
        if hasattr(self, "_client"):  # not where set-up failed
            disconnect(self._client)

    def _count(self, name: str, by: int = 1) -> None:
        self._counters[name].inc(by)

    def _await_due(self, key: str, shard: Shard) -> Shard:
        """Waits, as long as a firing may, until a job is due or the event of one has come."""
        until = time.time() + _MAX_BLOCK
        while True:
            shard = self._listener.hear(key, shard)
            wake, now = self._listener.wake(shard), time.time()
            if wake is None or now >= until or self._listener.due(shard, now):
                return shard
            time.sleep(max(0.01, min(wake, until) - now))

    def _act(
        self, key: str, shard: Shard, held: Held, waiting: Waiting, now: float
    ) -> Generator[Sequence[Reply], None, tuple[Shard, list[Halt]]]:
        """Submits and polls what is due, and lets go of what has ended."""
        self._client.flow.hold(self._client, key, self._parts)
        shard, effects = self._parked(shard, now)
        jobs = self._listener.due(shard, now)
        to_submit = [job for job in jobs if job.request_id is None]
        shard, to_submit = self._not_submitted_yet(shard, to_submit, held, waiting)
        shard, more = self._submit(shard, to_submit, held)
        effects += more
        self._listener.expect(key, shard)  # another shard may pull for this one before it is done here
        shard, more = yield from self._poll(shard, [job for job in jobs if job.request_id is not None], held, waiting)
        effects += more
        for effect in effects:
            if isinstance(effect, GiveUp):
                blob = held.take(effect.job.batch_id)
                left_open = self._recorder.left_open(effect.job, blob, effect.failure)
                lost = given_up(blob, effect.failure, effect.job.ticket, left_open)
                self._recorder.given_up(lost, effect.failure, blob)
                yield lost
            elif isinstance(effect, AskAgain):
                blob, ticket = held.take(effect.job.batch_id), effect.job.ticket
                unmet = [Reply(d, effect.failure, ticket=ticket) for d in batches.decode(blob)]
                yield Replies.of(self._settled(blob, Replies.of(unmet), waiting))
            elif isinstance(effect, Drop):
                shard = yield from self._drop(shard, effect, held, waiting)
            elif isinstance(effect, RunInstead):
                yield from run_instead(
                    held.take(effect.job.batch_id),
                    self._client,
                    self._prompt,
                    self._polling,
                    self._recorder,
                    self._count,
                    halts=self._bounded,
                    may_repeat=self._may_repeat,
                )
            elif isinstance(effect, Split):
                self._count(metrics.SPLITS)
                for half in batches.halves(held.take(effect.job.batch_id)):
                    if batches.head(half).batch_id in held or shard.parked_until > now:
                        # A stream may bring the same documents twice: these wait for the others.
                        self._wait(half, waiting)
                    else:
                        shard = self._admit(shard, held, [half], now)
        return shard, [effect for effect in effects if isinstance(effect, Halt)]

    def _not_submitted_yet(
        self, shard: Shard, jobs: Sequence[Job], held: Held, waiting: Waiting
    ) -> tuple[Shard, list[Job]]:
        """Takes out the batches that a worker has submitted who was lost before its state was kept: they wait again."""
        others = [job for job in jobs if job.batch_id not in self._admitted]
        self._admitted.difference_update(job.batch_id for job in jobs)
        if others:
            self._recorder.refresh()
        known = [job for job in others if self._recorder.is_ahead(job, held[job.batch_id])]
        for job in known:
            self._wait(held.take(job.batch_id), waiting)
        return without(shard, known), [job for job in jobs if job not in known]

    def _submit(self, shard: Shard, jobs: Sequence[Job], held: Held) -> tuple[Shard, list[Effect]]:
        effects: list[Effect] = []
        while jobs:
            if max(shard.submits_from, shard.parked_until) > time.time():
                break  # told to wait, or the quota is spent: the others keep their place, or are given up already
            wanted, name = min(len(jobs), _SUBMITS_AT_ONCE), jobs[0].batch_id
            with Places(self._client.flow.submits, wanted, self._polling, name) as places:
                shard = hold(shard, submits=places.next(time.time()))
                some, jobs = jobs[: places.count], jobs[places.count :]
                shard, whole, lost = self._read_again(shard, [(job, held[job.batch_id]) for job in some], time.time())
                effects += lost
                some = [job for job in some if job.batch_id in whole]
                self._count(metrics.SUBMITS, len(some))
                pairs = [(job, held[job.batch_id]) for job in some]
                self._recorder.about_to_submit(pairs)
                bodies = [self._body(job, blob, whole.pop(job.batch_id)) for job, blob in pairs]
                exchanges = self._client.submit(bodies, self._recorder.heard, at_once=self._recorder.is_quick)
                now = time.time()
                for exchange in exchanges:
                    places.heard(exchange, now)
            heard = [REPORTS.heard("submit", decode_submit(exchange, now)) for exchange in exchanges]
            results = list(zip(some, heard, strict=True))
            may_run = self._service.fallback_api is not None
            for name, count in dispatch.counted(results).items():
                self._count(name, count)
            shard, more = dispatch.submitted_together(
                shard, results, now, self._polling, may_run=may_run, may_repeat=self._may_repeat
            )
            effects += more
            for _, result in results:
                if isinstance(result, Refused) and result.error.remedy is Remedy.TOMORROW:
                    self._client.quota.spend(result.error, shard.parked_until)
        return shard, effects

    def _poll(
        self, shard: Shard, jobs: Sequence[Job], held: Held, waiting: Waiting
    ) -> Generator[Sequence[Reply], None, tuple[Shard, list[Effect]]]:
        """Polls jobs and lets those go that have finished, some while the others' replies are still coming."""
        effects: list[Effect] = []
        while jobs and shard.polls_from <= time.time():  # told to wait: the others are polled then
            wanted, name = min(len(jobs), _POLLS_AT_ONCE), jobs[0].batch_id
            with Places(self._client.flow.polls, wanted, self._polling, name) as places:
                shard = hold(shard, polls=places.next(time.time()))
                some, jobs = jobs[: places.count], jobs[places.count :]
                self._count(metrics.POLLS, len(some))
                finished: list[Finish] = []
                for index, exchange in self._client.poll([job.request_id or "" for job in some]):
                    now = time.time()
                    places.heard(exchange, now)
                    # Not all at once: documents and answers of finished jobs are the bulk of what is in memory.
                    if finished and not fit_together(finished, exchange):
                        yield from self._finished(finished, held, waiting)
                        finished = []
                    result = REPORTS.heard("poll", decode_poll(exchange, now))
                    shard, more = dispatch.polled(shard, some[index], result, now, self._polling)
                    finished += [effect for effect in more if isinstance(effect, Finish)]
                    effects += [effect for effect in more if not isinstance(effect, Finish)]
                yield from self._finished(finished, held, waiting)
        return shard, effects

    def _parked(self, shard: Shard, now: float) -> tuple[Shard, list[Effect]]:
        """Gives up what is unsent where another shard of this process has met a spent quota."""
        spent = self._client.quota.is_spent(now)
        if spent is None or shard.parked_until > now:
            return shard, []
        return dispatch.park(shard, spent, self._client.quota.until)

    def _read_again(
        self, shard: Shard, pairs: Sequence[tuple[Job, bytes]], now: float
    ) -> tuple[Shard, dict[str, Documents], list[Effect]]:
        """The documents of batches, all of their files read at once; batches that cannot be sent whole are left out."""
        whole = {job.batch_id: batches.decode(blob) for job, blob in pairs}
        # Who is a reference is one of the others.
        read = iter(read_again([other for batch in whole.values() for other in batch.others.values()]))
        effects: list[Effect] = []
        for job, _ in pairs:
            documents = whole[job.batch_id]
            others = dict(zip(documents.others, read, strict=False))
            whole[job.batch_id] = documents.with_others(others)
            lost = {index: document.failure for index, document in others.items() if document.failure}
            if lost:
                del whole[job.batch_id]
                shard, more = dispatch.unread(shard, job, lost, now, self._polling)
                effects += more
        return shard, whole, effects

    def _drop(
        self, shard: Shard, effect: Drop, held: Held, waiting: Waiting
    ) -> Generator[Sequence[Reply], None, Shard]:
        """Gives up what is lost of a batch; the others are a job of their own, acted on from the next firing on."""
        job, blob = effect.job, held.take(effect.job.batch_id)
        for position, failure in effect.lost.items():
            yield given_up(batches.select(blob, [position]), failure, job.ticket)
        others = batches.select(blob, (i for i in range(job.count) if i not in effect.lost))
        batch_id, count = batches.head(others).batch_id, job.count - len(effect.lost)
        if not count:
            return shard
        if batch_id in held or shard.parked_until > time.time():
            self._wait(others, waiting)
            return shard
        held[batch_id] = others
        return adopt(shard, replace(job, batch_id=batch_id, count=count))

    def _body(self, job: Job, blob: bytes, documents: Documents) -> bytes:
        names = references(job.batch_id, len(documents))
        return encode_submit(self._prompt.requests(documents, names, batches.head(blob).form))

    def _finished(self, jobs: Sequence[Finish], held: Held, waiting: Waiting) -> Iterator[Sequence[Reply]]:
        """The replies of finished jobs, written down together and settled together."""
        blobs = [held.take(effect.job.batch_id) for effect in jobs]
        answered: list[Replies] = []
        for effect, blob in zip(jobs, blobs, strict=True):
            came, surplus = closed(effect, blob, self._prompt.answer_tool)
            if surplus:
                self._count(metrics.SURPLUS_ITEMS, surplus)
            answered.append(came)
        if answered:
            self._recorder.replied_together(list(zip(answered, blobs, strict=True)))
            final = [self._settled(blob, came, waiting) for blob, came in zip(blobs, answered, strict=True)]
            yield Replies.joined([Replies.of(replies) for replies in final])

    def _settled(self, blob: bytes, answered: Replies, waiting: Waiting) -> Sequence[Reply]:
        """The replies that are final; the other documents wait to be asked for again."""
        final, again = part(blob, answered, len(self._prompt.forms))
        if again is not None:
            self._count(metrics.FALLBACKS, len(answered) - len(final))
            self._wait(again, waiting)
        return final

    def _wait(self, blob: bytes, waiting: Waiting) -> None:
        waiting.add(blob)
        self._put_back = True

    def _admit(self, shard: Shard, held: Held, blobs: Iterable[bytes], now: float) -> Shard:
        """Makes jobs of batches. They are acted on from the next firing on, when they are committed state."""
        admitted = []
        for blob in blobs:
            head = batches.head(blob)
            held[head.batch_id] = blob
            admitted.append((head.batch_id, len(head.sizes)))
            self._admitted.add(head.batch_id)
        return admit(shard, admitted, now)

    def _top_up(
        self, shard: Shard, held: Held, waiting: Waiting, now: float
    ) -> Generator[Sequence[Reply], None, Shard]:
        """Admits what waits, as far as there is room; gives it up unsent while the quota is spent."""
        if shard.parked_until > now:
            failure = dispatch.quota_failure("the day's allocation is spent; it is renewed at 00:00 UTC")
            for blob in waiting.take():
                yield given_up(blob, failure)
            return shard
        packers: dict[int, Packer[bytes]] = {}
        answered: list[Replies] = []
        taken: list[bytes] = []
        left: list[bytes] = []
        fresh: list[bytes] = []
        blobs = waiting.take()
        while len(shard.jobs) + len(taken) < self._max_in_flight:
            if (came := next(blobs, None)) is not None:
                head = batches.head(came)
                packer = packers.setdefault(head.form, Packer(self._batching))
                group = packer.add(came, head.size_bytes, len(head.sizes))
            elif packers:
                group = packers.popitem()[1].flush()
            else:
                break
            if not group:
                continue
            batch = batches.merge(group)
            recalled = self._recorder.recall(batch)
            if recalled.answered:
                self._count(metrics.RECALLED, len(recalled.answered))
                answered.append(Replies.of(recalled.answered))
            if sum(map(len, answered)) >= TOGETHER:
                yield Replies.joined(answered)
                answered = []
            shard, more = yield from self._adopt(shard, held, recalled, batches.head(batch).form, now)
            left += more
            if recalled.fresh is not batch:
                # What is new in it waits for company: a few new documents among many known ones are one batch.
                fresh += [recalled.fresh] if recalled.fresh is not None else []
            # The same documents cannot be in flight twice: a job is named by them. The second waits for the first.
            elif batches.head(batch).batch_id in held:
                left += group
            else:
                taken.append(batch)
                held[batches.head(batch).batch_id] = batch
        if answered:
            yield Replies.joined(answered)
        self._count(metrics.BATCHES, len(taken))
        waiting.put_back([blob for packer in packers.values() for blob in packer.flush()])
        for blob in fresh:
            waiting.add(blob)
        shard = self._admit(shard, held, taken, now)
        if fresh:
            # Each round sorts out all that is known of what it looks at, so that the next finds less.
            shard = yield from self._top_up(shard, held, waiting, now)
        for blob in left:
            waiting.add(blob)
        return shard

    def _adopt(
        self, shard: Shard, held: Held, recalled: Recalled, form: int, now: float
    ) -> Generator[Sequence[Reply], None, tuple[Shard, list[bytes]]]:
        """Takes jobs in that an earlier run, or a worker that died, has submitted, or may have.

        Returns:
            The shard, and batches that have to wait: a stream has brought their ids before, and those are in flight.
        """
        left: list[bytes] = []
        for again in (*recalled.in_flight, *recalled.doubtful):
            items = [item._replace(document=taken_over(item.document, again.request_id)) for item in again.items]
            blob = batches.encode(items, form=again.form, spent=again.spent if again.form else ())
            batch_id = batches.head(blob).batch_id
            if batch_id in held:
                left.append(batches.encode(again.items, form=form, spent=again.spent if form else ()))
                continue
            if again.request_id is not None:
                self._count(metrics.ADOPTED)
            else:
                self._count(metrics.UNKNOWN_SUBMITS)
                if not self._may_repeat:
                    yield given_up(blob, DOUBTFUL, Ticket(None, 1))
                    continue
            # Who asks again for what was given up waits anew, but need not wait to believe that the job is gone.
            believed = min(dispatch.GONE_AFTER, self._polling.ceiling, self._polling.deadline / 2)
            grace = self._journaling.grace if self._journaling else 0.0
            held[batch_id] = blob
            shard = adopt(shard, resumed(again, batch_id, now, grace, believed))
        return shard, left

    def _report(self, key: str, shard: Shard) -> None:
        if not shard.jobs:
            self._client.flow.release(self._client, key)
        REPORTS.progress()
        PROGRESS.hold(key, sum(job.request_id is not None for job in shard.jobs))
        PROGRESS.trouble = next((job.trouble for job in shard.jobs if job.trouble), self._listener.trouble)
