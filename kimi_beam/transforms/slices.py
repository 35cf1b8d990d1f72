"""One slice of a shard's work: submit and poll what is due, admit what waits. The timers that call it are elsewhere."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from kimi_beam.columnar import Documents, Replies
from kimi_beam.input.file_references import read_again
from kimi_beam.network.allowance import Places
from kimi_beam.queue import state_machine
from kimi_beam.queue.effects import AskAgain, Drop, Effect, Finish, FinishSome, GiveUp, Halt, RunInstead, Split, Warn
from kimi_beam.queue.finished import closed, fit_together, split_job
from kimi_beam.queue.jobs import Job, Shard, adopt, delay_until, rebased, without
from kimi_beam.queue.next_form import give_up_all, in_form_from, split_unmet
from kimi_beam.queue.state_layout import BatchStore, Waiting
from kimi_beam.report import metrics
from kimi_beam.report.logging_reports import REPORTS
from kimi_beam.report.notices import warn_once
from kimi_beam.report.progress import PROGRESS
from kimi_beam.request import batches
from kimi_beam.service import clock
from kimi_beam.transforms.refill import Refill, by_form
from kimi_beam.transforms.run_instead import run_instead
from kimi_beam.types import Reply
from kimi_beam.wire.completions import FAILURES
from kimi_beam.wire.envelopes import Refused
from kimi_beam.wire.matching import references
from kimi_beam.wire.protocol import decode_poll, decode_submit, encode_submit
from kimi_beam.wire.service_errors import UNMET, Remedy

_POLLS_AT_ONCE = 32
_MISMATCH = (
    "the service sent answers with the reference of one document and the number of another (first in job {}): the "
    "reference decides, unless --on-mismatch dead-letter gives them up; mismatched_items counts them"
)
_MAX_BLOCK = 5.0
"""Seconds that one firing of a timer may wait: bundles stay short, so that a runner can commit between them."""


class Slices(Refill):
    """``(shard, batch as bytes) -> Sequence[Reply]``, for each batch that ends. The timers are the subclasses'."""

    def _await_due(self, key: str, shard: Shard) -> Shard:
        """Waits, as long as a firing may, until a job is due or the event of one has come."""
        until = clock.now() + _MAX_BLOCK
        shard = rebased(shard, clock.now(), self._polling.ceiling)
        while True:
            shard = self._listener.apply_events(key, shard)
            wake, now = self._listener.wake(shard), clock.now()
            if wake is None or now >= until or self._listener.due(shard, now):
                return shard
            clock.pause(max(0.01, min(wake, until) - now))

    def _act(
        self, key: str, shard: Shard, held: BatchStore, waiting: Waiting, now: float
    ) -> Generator[Sequence[Reply], None, tuple[Shard, list[Halt]]]:
        """Submits and polls what is due, and lets go of what has ended."""
        self._client.flow.claim_share(self._client, key, self._parts)
        shard = rebased(shard, now, self._polling.ceiling)
        shard, effects = self._parked(shard, now)
        if (unsent := self._unsent) is not None:
            shard, more = state_machine.leave_unsent(shard, unsent)
            effects += more
        shard = self._held_back(key, shard, held, waiting, now)
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
                if effect.job.attempts:
                    self._outcomes.ended_without_verdict(batches.head(blob).form)
                open_requests = self._recorder.open_requests(effect.job, blob, effect.failure)
                lost = give_up_all(blob, effect.failure, effect.job.ticket, open_requests)
                self._recorder.record_failure(lost, effect.failure, blob)
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
                    outcomes=self._outcomes,
                )
            elif isinstance(effect, Split):
                self._count(metrics.SPLITS)
                for half in batches.halves(held.take(effect.job.batch_id)):
                    if batches.head(half).batch_id in held or shard.parked_until > now:
                        # A stream may bring the same documents twice: these wait for the others.
                        self._wait(half, waiting)
                    else:
                        shard = self._admit(shard, held, [half], now)
        self._say_what_is_tried(key, shard, held)
        return shard, [effect for effect in effects if isinstance(effect, Halt)]

    def _not_submitted_yet(
        self, shard: Shard, jobs: Sequence[Job], held: BatchStore, waiting: Waiting
    ) -> tuple[Shard, list[Job]]:
        """Takes out the batches that have been submitted already, which wait again to be recalled.

        A worker has that was lost before its state was kept, or another `Extract` that shares the journal.
        """
        own = [job for job in jobs if job.batch_id in self._admitted]
        others = [job for job in jobs if job.batch_id not in self._admitted]
        self._admitted.difference_update(job.batch_id for job in own)
        if others:
            self._recorder.refresh()
        known = [job for job in own if self._recorder.is_taken(held[job.batch_id])]
        known += [job for job in others if self._recorder.is_ahead(job, held[job.batch_id])]
        for job in known:
            self._wait(held.take(job.batch_id), waiting)
        return without(shard, known), [job for job in jobs if job not in known]

    def _held_back(self, key: str, shard: Shard, held: BatchStore, waiting: Waiting, now: float) -> Shard:
        """Has batches wait again that are about to be asked for in a form that has failed, or that others try already.

        The former wait for the next form, the latter for the outcome.
        """
        if not self._outcomes.has_unmet:
            return shard
        forms = len(self._prompt.forms)
        first = min(self._outcomes.first_form(forms), forms - 1)
        unsent = [job for job in shard.jobs if job.request_id is None and not job.unknown]
        if not unsent:
            return shard
        turn = self._turn(key, without(shard, unsent), held, now)
        back = []
        for job in unsent:
            form = batches.head(held[job.batch_id]).form
            if form < first or not turn.take(form):
                self._wait(in_form_from(held.take(job.batch_id), first), waiting)
                back.append(job)
        return without(shard, back)

    def _say_what_is_tried(self, key: str, shard: Shard, held: BatchStore) -> None:
        """Lets the other shards of this process know which forms this one still tries."""
        if self._outcomes.trials.has_claims(key):
            self._outcomes.trials.renew(key, by_form(shard.jobs, held), clock.now())

    def _submit(self, shard: Shard, jobs: Sequence[Job], held: BatchStore) -> tuple[Shard, list[Effect]]:
        effects: list[Effect] = []
        while jobs:
            if max(shard.submits_from, shard.parked_until) > clock.now():
                break  # told to wait, or the quota is spent: the others keep their place, or are given up already
            wanted, name = min(len(jobs), self._submits_at_once), jobs[0].batch_id
            with Places(self._client.flow.submits, wanted, self._polling, name) as places:
                shard = delay_until(shard, submits=places.next(clock.now()))
                some, jobs = jobs[: places.count], jobs[places.count :]
                shard, whole, lost = self._read_again(shard, [(job, held[job.batch_id]) for job in some], clock.now())
                effects += lost
                some = [job for job in some if job.batch_id in whole]
                self._count(metrics.SUBMITS, len(some))
                pairs = [(job, held[job.batch_id]) for job in some]
                self._recorder.about_to_submit(pairs)
                bodies = [self._body(job, blob, whole.pop(job.batch_id)) for job, blob in pairs]
                exchanges = self._client.submit(bodies, self._recorder.reply_came, at_once=self._recorder.is_quick)
                now, today = clock.now(), time.time()  # a date in a reply is one of the wall clock's
                for exchange in exchanges:
                    places.observe(exchange, today)
            decoded = [REPORTS.log_trouble("submit", decode_submit(exchange, today)) for exchange in exchanges]
            results = list(zip(some, decoded, strict=True))
            may_run = self._service.fallback_api is not None
            for name, count in state_machine.counted(results).items():
                self._count(name, count)
            shard, more = state_machine.submitted_together(
                shard, results, now, self._polling, may_run=may_run, may_repeat=self._may_repeat
            )
            effects += more
            for _, result in results:
                if isinstance(result, Refused) and result.error.remedy is Remedy.TOMORROW:
                    self._client.quota.spend(result.error, shard.parked_until)
        return shard, effects

    def _poll(
        self, shard: Shard, jobs: Sequence[Job], held: BatchStore, waiting: Waiting
    ) -> Generator[Sequence[Reply], None, tuple[Shard, list[Effect]]]:
        """Polls jobs and lets those go that have finished, some while the others' replies are still coming."""
        effects: list[Effect] = []
        while jobs and shard.polls_from <= clock.now():  # told to wait: the others are polled then
            wanted, name = min(len(jobs), _POLLS_AT_ONCE), jobs[0].batch_id
            with Places(self._client.flow.polls, wanted, self._polling, name) as places:
                shard = delay_until(shard, polls=places.next(clock.now()))
                some, jobs = jobs[: places.count], jobs[places.count :]
                self._count(metrics.POLLS, len(some))
                finished: list[Finish] = []
                for index, exchange in self._client.poll([job.request_id or "" for job in some]):
                    now, today = clock.now(), time.time()
                    places.observe(exchange, today)
                    # Not all at once: documents and answers of finished jobs are the bulk of what is in memory.
                    if finished and not fit_together(finished, exchange):
                        yield from self._finished(finished, held, waiting)
                        finished = []
                    job = some[index]
                    result = REPORTS.log_trouble("poll", decode_poll(exchange, today, job.request_id))
                    shard, more = state_machine.polled(shard, job, result, now, self._polling)
                    shard, more = self._finish_some(shard, more, held)
                    finished += [effect for effect in more if isinstance(effect, Finish)]
                    effects += [effect for effect in more if not isinstance(effect, Finish)]
                yield from self._finished(finished, held, waiting)
        return shard, effects

    def _finish_some(self, shard: Shard, effects: list[Effect], held: BatchStore) -> tuple[Shard, list[Effect]]:
        """Has what came of a job settled, and makes a job of the rest, which is read again."""
        left: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Warn):
                warn_once(effect.message, effect.message)
                continue
            if not isinstance(effect, FinishSome):
                left.append(effect)
                continue
            batch_id = effect.finish.job.batch_id
            (finish, came), (rest, others) = split_job(effect, held[batch_id])
            if finish.job.batch_id in held or rest.batch_id in held:
                continue  # a stream has brought the same documents again: the job stays whole, and is read again whole
            held.take(batch_id)
            held[finish.job.batch_id], held[rest.batch_id] = came, others
            job = next(job for job in shard.jobs if job.batch_id == batch_id)
            open_ = replace(job, batch_id=rest.batch_id, count=rest.count, submitted_as=rest.submitted_as)
            shard = adopt(without(shard, [job]), open_)
            left.append(finish)
        return shard, left

    def _parked(self, shard: Shard, now: float) -> tuple[Shard, list[Effect]]:
        """Gives up what is unsent where another shard of this process has met a spent quota."""
        spent = self._client.quota.is_spent(now)
        if spent is None or shard.parked_until > now:
            return shard, []
        return state_machine.park(shard, spent, self._client.quota.until)

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
                shard, more = state_machine.unread(shard, job, lost, now, self._polling)
                effects += more
        return shard, whole, effects

    def _drop(
        self, shard: Shard, effect: Drop, held: BatchStore, waiting: Waiting
    ) -> Generator[Sequence[Reply], None, Shard]:
        """Gives up what is lost of a batch; the others are a job of their own, acted on from the next firing on."""
        job, blob = effect.job, held.take(effect.job.batch_id)
        for position, failure in effect.lost.items():
            yield give_up_all(batches.select(blob, [position]), failure, job.ticket)
        others = batches.select(blob, (i for i in range(job.count) if i not in effect.lost))
        batch_id, count = batches.head(others).batch_id, job.count - len(effect.lost)
        if not count:
            return shard
        if batch_id in held or shard.parked_until > clock.now():
            self._wait(others, waiting)
            return shard
        held[batch_id] = others
        return adopt(shard, replace(job, batch_id=batch_id, count=count))

    def _body(self, job: Job, blob: bytes, documents: Documents) -> bytes:
        names = references(job.batch_id, len(documents))
        return encode_submit(self._prompt.requests(documents, names, batches.head(blob).form))

    def _finished(self, jobs: Sequence[Finish], held: BatchStore, waiting: Waiting) -> Iterator[Sequence[Reply]]:
        """The replies of finished jobs, written down together and settled together."""
        blobs = [held.take(effect.job.batch_id) for effect in jobs]
        answered: list[Replies] = []
        for effect, blob in zip(jobs, blobs, strict=True):
            came, surplus, disputed = closed(effect, blob, self._prompt.answer_tool, self._polling.on_mismatch)
            if surplus:
                self._count(metrics.SURPLUS_ITEMS, surplus)
            if disputed:
                self._count(metrics.MISMATCHED_ITEMS, disputed)
                warn_once(metrics.MISMATCHED_ITEMS, _MISMATCH.format(effect.job.request_id))
            answered.append(came)
        if answered:
            self._recorder.replied_together(list(zip(answered, blobs, strict=True)))
            final = [self._settled(blob, came, waiting) for blob, came in zip(blobs, answered, strict=True)]
            yield Replies.joined([Replies.of(replies) for replies in final])

    def _settled(self, blob: bytes, answered: Replies, waiting: Waiting) -> Sequence[Reply]:
        """The replies that are final; the other documents wait to be asked for again."""
        unmet = sum(one.code == FAILURES[UNMET] for one in answered.results.failures.values())
        met = sum(text is not None for text in answered.results.texts)
        form = batches.head(blob).form
        self._outcomes.count_form(form, met=met, unmet=unmet)
        if not met and not unmet:
            self._outcomes.ended_without_verdict(form)
        final, again = split_unmet(blob, answered, len(self._prompt.forms))
        if again is not None:
            self._count(metrics.FALLBACKS, len(answered) - len(final))
            self._wait(again, waiting)
        return final

    def _report(self, key: str, shard: Shard) -> None:
        if not shard.jobs:
            self._client.flow.release_share(self._client, key)
        REPORTS.progress()
        PROGRESS.set_in_flight(key, sum(job.request_id is not None for job in shard.jobs))
        PROGRESS.trouble = next((job.trouble for job in shard.jobs if job.trouble), self._listener.trouble)
