"""One turn of a shard: its jobs, their batches and what waits, and what an effect does to them.

`kimi_beam.queue.state_machine` decides what follows from a reply and changes nothing; `ShardTurn.carry_out` does it.
`kimi_beam.queue.due_jobs` submits and polls within a turn, and `kimi_beam.queue.refill` fills the shard with what
waits. Timers and the runner's state are `kimi_beam.transforms.dispatch`'s: here is no Beam.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from kimi_beam.columnar import Replies
from kimi_beam.queue.effects import AskAgain, Drop, Effect, Finish, FinishSome, GiveUp, Halt, RunInstead, Split, Warn
from kimi_beam.queue.finished import replies_of, split_job
from kimi_beam.queue.jobs import Job, admit, adopt, rebased, without
from kimi_beam.queue.next_form import give_up_all, split_unmet
from kimi_beam.queue.state_layout import BatchStore, KeyedState
from kimi_beam.queue.step import Step
from kimi_beam.report import metrics, trials
from kimi_beam.report.logging_reports import REPORTS
from kimi_beam.report.notices import warn_once
from kimi_beam.report.progress import PROGRESS
from kimi_beam.request import batches
from kimi_beam.service import clock
from kimi_beam.types import Reply
from kimi_beam.wire.completions import FAILURES
from kimi_beam.wire.service_errors import UNMET

_MISMATCH = (
    "the service sent answers with the reference of one document and the number of another (first in job {}): the "
    "reference decides, unless --on-mismatch dead-letter gives them up; mismatched_items counts them"
)
_MAX_BLOCK = 5.0
"""Seconds that one firing of a timer may wait: bundles stay short, so that a runner can commit between them."""


class ShardTurn:
    """What one shard does in one firing of a timer.

    Args:
        step: What all shards of the step share.
        key: Of the shard.
        state: What the shard has in the runner's state.

    Attributes:
        shard: Its jobs, as they are now.
        held: Their batches.
        waiting: The batches that no job is made of yet.
        now: Unix seconds at which it last began to act.
        halts: The refusals met so far that turn everybody away.
        has_put_back: Whether something waits again that was a job's: nothing else would look at it soon.
    """

    def __init__(self, step: Step, key: str, state: KeyedState) -> None:
        self.step, self.key = step, key
        self.shard, self.held, self.waiting = state.shard, state.held, state.waiting
        self.now = clock.now()
        self.halts: list[Halt] = []
        self.has_put_back = False
        self._state = state

    def write(self) -> None:
        """Brings the runner's state to what is known now."""
        self._state.write(self.shard)

    def apply_events(self) -> None:
        """Takes note of the jobs that have ended according to events."""
        self.shard = self.step.listener.apply_events(self.key, self.shard)

    def await_due(self) -> None:
        """Waits, as long as a firing may, until a job is due or the event of one has come."""
        until = clock.now() + _MAX_BLOCK
        self.shard = rebased(self.shard, clock.now(), self.step.polling.ceiling)
        while True:
            self.apply_events()
            wake, now = self.step.listener.wake(self.shard), clock.now()
            if wake is None or now >= until or self.step.listener.due(self.shard, now):
                return
            clock.pause(max(0.01, min(wake, until) - now))

    def report(self) -> None:
        """Shows how far the shard is, and gives back its share of the pace where it has nothing in flight."""
        step, jobs = self.step, self.shard.jobs
        if not jobs:
            step.client.allowance.release_share(step.client, self.key)
        REPORTS.progress()
        PROGRESS.set_in_flight(self.key, sum(job.request_id is not None for job in jobs))
        PROGRESS.trouble = next((job.trouble for job in jobs if job.trouble), step.listener.trouble)

    @property
    def waits_for_a_trial(self) -> bool:
        """Whether nothing is in flight and something waits: another shard tries the form that it would be asked in."""
        return not self.shard.jobs and bool(self.waiting)

    # -------------------------------------------------------------------------------------------- batches

    def wait_again(self, blob: bytes) -> None:
        """Has a batch wait that was a job's."""
        self.waiting.add(blob)
        self.has_put_back = True

    def admit(self, blob: bytes) -> None:
        """Makes a job of a batch. It is acted on from the next firing on, when it is committed state."""
        head = batches.head(blob)
        self.held[head.batch_id] = blob
        self.shard = admit(self.shard, [(head.batch_id, len(head.sizes))], self.now)
        self.step.admitted.add(head.batch_id)

    def form_claims(self, jobs: Iterable[Job]) -> trials.FormClaims:
        """Which forms this shard may go on in, with these jobs in flight."""
        outcomes, counts = self.step.outcomes, functools.partial(by_form, jobs, self.held)
        return trials.FormClaims(outcomes.trials, outcomes.is_on_trial, self.key, counts, self.now)

    # -------------------------------------------------------------------------------------------- effects

    def carry_out(self, effect: Effect) -> Iterator[Sequence[Reply]]:
        """Does what follows from a reply.

        Yields:
            The replies of documents that leave because of it.
        """
        match effect:
            case Finish():
                yield from self.finish([effect])
            case FinishSome():
                yield from self.finish(self.split_off(effect))
            case GiveUp():
                yield self.give_up(effect)
            case AskAgain():
                yield self.ask_again(effect)
            case Drop():
                yield from self.drop(effect)
            case RunInstead():
                assert self.step.run_instead is not None, "the state machine was told that it may"
                yield from self.step.run_instead(self.held.take(effect.job.batch_id))
            case Split():
                self.split(effect)
            case Halt():
                self.halts.append(effect)
            case Warn():
                warn_once(effect.message, effect.message)

    def give_up(self, effect: GiveUp) -> Replies:
        """A failure for each document of a batch."""
        step, job = self.step, effect.job
        blob = self.held.take(job.batch_id)
        if job.attempts:
            step.outcomes.ended_without_verdict(batches.head(blob).form)
        open_requests = step.journal.open_requests(job, blob, effect.failure)
        lost = give_up_all(blob, effect.failure, job.ticket, open_requests)
        step.journal.record_failure(lost, effect.failure, blob)
        return lost

    def ask_again(self, effect: AskAgain) -> Replies:
        """Has a batch wait for its next form; the replies are those of documents that have no other form."""
        blob, ticket = self.held.take(effect.job.batch_id), effect.job.ticket
        unmet = [Reply(document, effect.failure, ticket=ticket) for document in batches.decode(blob)]
        return Replies.of(self._final(blob, Replies.of(unmet)))

    def drop(self, effect: Drop) -> Iterator[Replies]:
        """Gives up what is lost of a batch; the others are a job of their own, acted on from the next firing on."""
        job, blob = effect.job, self.held.take(effect.job.batch_id)
        for position, failure in effect.lost.items():
            yield give_up_all(batches.select(blob, [position]), failure, job.ticket)
        count = job.count - len(effect.lost)
        if not count:
            return
        others = batches.select(blob, (i for i in range(job.count) if i not in effect.lost))
        batch_id = batches.head(others).batch_id
        if batch_id in self.held or self.shard.parked_until > clock.now():
            self.wait_again(others)
            return
        self.held[batch_id] = others
        self.shard = adopt(self.shard, replace(job, batch_id=batch_id, count=count))

    def split(self, effect: Split) -> None:
        """Cuts a batch in two and admits both halves."""
        self.step.count(metrics.SPLITS, 1)
        for half in batches.halves(self.held.take(effect.job.batch_id)):
            if batches.head(half).batch_id in self.held or self.shard.parked_until > self.now:
                self.wait_again(half)  # a stream may bring the same documents twice: these wait for the others
            else:
                self.admit(half)

    def split_off(self, effect: FinishSome) -> list[Finish]:
        """Parts what came of a job, which is to be settled, from the rest, which is a job that is read again.

        Returns:
            The part that came; nothing where the job has to stay whole, and is read again whole.
        """
        batch_id = effect.finish.job.batch_id
        (finish, came), (rest, others) = split_job(effect, self.held[batch_id])
        if finish.job.batch_id in self.held or rest.batch_id in self.held:
            return []  # a stream has brought the same documents again
        self.held.take(batch_id)
        self.held[finish.job.batch_id], self.held[rest.batch_id] = came, others
        job = next(job for job in self.shard.jobs if job.batch_id == batch_id)
        open_ = replace(job, batch_id=rest.batch_id, count=rest.count, submitted_as=rest.submitted_as)
        self.shard = adopt(without(self.shard, [job]), open_)
        return [finish]

    def finish(self, jobs: Sequence[Finish]) -> Iterator[Replies]:
        """The replies of finished jobs, written down together and settled together."""
        step = self.step
        blobs = [self.held.take(effect.job.batch_id) for effect in jobs]
        answered: list[Replies] = []
        for effect, blob in zip(jobs, blobs, strict=True):
            came, surplus, disputed = replies_of(effect, blob, step.prompt.answer_tool, step.polling.on_mismatch)
            if surplus:
                step.count(metrics.SURPLUS_ITEMS, surplus)
            if disputed:
                step.count(metrics.MISMATCHED_ITEMS, disputed)
                warn_once(metrics.MISMATCHED_ITEMS, _MISMATCH.format(effect.job.request_id))
            answered.append(came)
        if answered:
            step.journal.record_replies_of_jobs(list(zip(answered, blobs, strict=True)))
            final = [self._final(blob, came) for blob, came in zip(blobs, answered, strict=True)]
            yield Replies.joined([Replies.of(replies) for replies in final])

    def _final(self, blob: bytes, answered: Replies) -> Sequence[Reply]:
        """The replies that are final; the other documents wait to be asked for again."""
        step, form = self.step, batches.head(blob).form
        unmet = sum(one.code == FAILURES[UNMET] for one in answered.results.failures.values())
        met = sum(text is not None for text in answered.results.texts)
        step.outcomes.count_form(form, met=met, unmet=unmet)
        if not met and not unmet:
            step.outcomes.ended_without_verdict(form)
        final, again = split_unmet(blob, answered, len(step.prompt.forms))
        if again is not None:
            step.count(metrics.FALLBACKS, len(answered) - len(final))
            self.wait_again(again)
        return final


def by_form(jobs: Iterable[Job], held: BatchStore) -> Counter[int]:
    """How many jobs there are of each form."""
    return Counter(batches.head(held[job.batch_id]).form for job in jobs)
