"""One turn of a shard, from one firing of its timer: its jobs and batches, and how effects change them.

`kimi_beam.queue.state_machine` decides what to do after a reply, and `ShardTurn.carry_out` does it. Within a turn,
`kimi_beam.queue.due_jobs` submits and polls jobs, and `kimi_beam.queue.refill` makes jobs of batches that wait. No
Beam is imported here: timers and the runner's state are in `kimi_beam.transforms.dispatch`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from kimi_beam.columnar import Replies
from kimi_beam.queue import refused_pictures
from kimi_beam.queue.effects import AskAgain, Drop, Effect, Finish, FinishSome, GiveUp, Halt, RunInstead, Split, Warn
from kimi_beam.queue.finished import replies_of, split_job
from kimi_beam.queue.jobs import Job, admit, rebased, with_added, without
from kimi_beam.queue.next_form import give_up_all, split_unmet, with_spent
from kimi_beam.queue.state_layout import BatchStore, KeyedState
from kimi_beam.queue.step import Step
from kimi_beam.report import metrics, trials
from kimi_beam.report.logging_reports import REPORTS
from kimi_beam.report.notices import warn_once
from kimi_beam.report.progress import PROGRESS, EndedBatch, Flight
from kimi_beam.request import batches
from kimi_beam.request.batches import Spent
from kimi_beam.request.sample_collector import collector_of
from kimi_beam.service import clock
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.wire.completions import FAILURES
from kimi_beam.wire.service_errors import UNMET

_MISMATCH = (
    "the service sent answers with the reference of one document and the number of another (first in job {}): the "
    "reference decides, unless --on-mismatch dead-letter gives them up; mismatched_items counts them"
)
_MAX_BLOCK = 5.0
"""Seconds that a turn may wait, at most: bundles stay short, so that a runner can commit between them."""


class ShardTurn:
    """What one shard does in one firing of its timer.

    Args:
        step: What all shards of the step share.
        key: The shard's key.
        state: The shard's state in the runner.

    Attributes:
        shard: The jobs as they are now.
        held: The batches of the jobs.
        waiting: The batches that are no jobs yet.
        now: When submitting, polling or refilling last began, in Unix seconds.
        halts: The refusals in this turn that concern the whole account.
        has_waiting_again: Whether the batch of a job waits again, so that the shard needs another turn soon.
    """

    def __init__(self, step: Step, key: str, state: KeyedState) -> None:
        self.step, self.key = step, key
        self.shard, self.held, self.waiting = state.shard, state.held, state.waiting
        self.now = clock.now()
        self.halts: list[Halt] = []
        self.has_waiting_again = False
        self._state = state
        self._collector = collector_of(
            self.held, step.parts, step.read_again, coerce=step.coerce, repairs=step.repairs, samples=step.samples
        )

    def leaving(self, replies: Iterable[Sequence[Reply]]) -> Iterator[Sequence[Reply]]:
        """The replies that leave the shard: those of parts are kept until their documents are complete.

        Documents and parts that are asked for again come before those that are not sent yet: whether these are worth
        sending shows in the first ones.
        """
        for some in replies:
            whole, again, repairs = self._collector.collect(some)
            if repairs:
                self.step.count(metrics.REPAIRS, repairs)
            if again:
                self.step.count(metrics.PARTS, sum(map(batches.count_parts, again)))
                self.waiting.put_at_front(again)
                self.has_waiting_again = True
            if whole:
                yield whole

    def write(self) -> None:
        """Writes the shard to the runner's state."""
        self._state.write(self.shard)
        if (own := self.step.budget) is not None:
            own.budget.set_live(self.key, is_live=bool(self.shard.jobs))

    def apply_events(self) -> None:
        """Makes the jobs due that have ended according to events."""
        self.shard = self.step.listener.apply_events(self.key, self.shard)

    def await_due(self) -> None:
        """Waits until a job is due or its event has come, but no longer than a turn may wait."""
        until = clock.now() + _MAX_BLOCK
        self.shard = rebased(self.shard, clock.now(), self.step.polling.ceiling)
        while True:
            self.apply_events()
            wake, now = self.step.listener.wake(self.shard), clock.now()
            if wake is None or now >= until or self.step.listener.due(self.shard, now):
                return
            clock.pause(max(0.01, min(wake, until) - now))

    def report(self) -> None:
        """Reports the progress of the shard, and gives back its share of the rate if it has no jobs."""
        step, jobs = self.step, self.shard.jobs
        if not jobs:
            step.client.allowance.release_share(step.client, self.key)
        REPORTS.progress()
        sent = [job for job in jobs if job.request_id is not None]
        each = tuple((job.since, job.count) for job in sent)
        PROGRESS.set_in_flight(self.key, Flight(len(sent), sum(job.count for job in sent), each))
        if step.budget is not None:
            PROGRESS.spending = step.budget.budget.spending
        PROGRESS.trouble = next((job.trouble for job in jobs if job.trouble), step.listener.trouble)

    @property
    def waits_for_a_trial(self) -> bool:
        """Whether batches wait, and no job is there, because another shard tries their form."""
        return not self.shard.jobs and bool(self.waiting)

    # -------------------------------------------------------------------------------------------- batches

    def wait_again(self, blob: bytes) -> None:
        """Puts the batch of a former job back in line."""
        self.waiting.add(blob)
        self.has_waiting_again = True

    def admit(self, blob: bytes) -> None:
        """Makes a job of a batch. It is submitted from the next turn on, when it is in committed state."""
        head = batches.head(blob)
        self.held[head.batch_id] = blob
        self.shard = admit(self.shard, [(head.batch_id, len(head.sizes))], self.now)
        self.step.admitted.add(head.batch_id)

    def form_claims(self, jobs: Iterable[Job]) -> trials.FormClaims:
        """Decides in which forms this shard may send batches, if it has these jobs."""
        outcomes, counts = self.step.outcomes, functools.partial(by_form, jobs, self.held)
        return trials.FormClaims(outcomes.trials, outcomes.is_on_trial, self.key, counts, self.now)

    # -------------------------------------------------------------------------------------------- effects

    def carry_out(self, effect: Effect) -> Iterator[Sequence[Reply]]:
        """Carries out an effect.

        Yields:
            The replies of documents that leave the shard by it.
        """
        match effect:
            case Finish():
                yield from self.finish([effect])
            case FinishSome():
                yield from self.finish(self.split_off(effect))
            case GiveUp():
                yield from self.give_up(effect)
            case AskAgain():
                yield self.ask_again(effect)
            case Drop():
                yield from self.drop(effect)
            case RunInstead():
                assert self.step.run_instead is not None, "only then `may_run` is true"
                yield from self.step.run_instead(self.held.take(effect.job.batch_id), self.key)
            case Split():
                self.split(effect)
            case Halt():
                self.halts.append(effect)
            case Warn():
                warn_once(effect.message, effect.message)

    def give_up(self, effect: GiveUp) -> Iterator[Sequence[Reply]]:
        """Gives up a job: a failure for each of its documents, but those with pictures may be asked synchronously."""
        job, failure = effect.job, effect.failure
        blob: bytes | None = self.held.take(job.batch_id)
        assert blob is not None
        if job.attempts:
            self.step.outcomes.ended_without_verdict(batches.head(blob).form)
        places = refused_pictures.places_of(blob) if refused_pictures.may_be_for_pictures(failure) else []
        if places:
            pictured, blob = refused_pictures.parted(blob, places)
            if self.step.run_instead is not None:
                spent = [Spent(before.usage, before.attempts + job.attempts) for before in batches.spent(pictured)]
                yield from self._run_instead(pictured, spent)
            else:
                yield self._give_up(pictured, job, refused_pictures.with_advice(failure))
        if blob is not None:
            yield self._give_up(blob, job, failure)

    def _give_up(self, blob: bytes, job: Job, failure: Failure) -> Replies:
        step = self.step
        open_requests = step.journal.open_requests(job, blob, failure)
        lost = give_up_all(blob, failure, job.ticket, open_requests)
        step.journal.record_failure(lost, failure, blob)
        return lost

    def _run_instead(self, blob: bytes, spent: Sequence[Spent]) -> Iterator[Sequence[Reply]]:
        """Asks for a batch synchronously. Its documents keep the tokens and attempts that they have used before."""
        assert self.step.run_instead is not None
        earlier = dict(zip(batches.decode(blob).ids, spent, strict=True))
        for replies in self.step.run_instead(blob, self.key):
            yield Replies.of(with_spent(reply, earlier[reply.document.id]) for reply in replies)

    def ask_again(self, effect: AskAgain) -> Replies:
        """Puts a batch in line for its next form. If there is none, returns the failures of its documents."""
        blob, ticket = self.held.take(effect.job.batch_id), effect.job.ticket
        unmet = [Reply(document, effect.failure, ticket=ticket) for document in batches.decode(blob)]
        return Replies.of(self._final(blob, Replies.of(unmet)))

    def drop(self, effect: Drop) -> Iterator[Replies]:
        """Gives up documents whose files cannot be read. The others become a job, to be submitted in a later turn."""
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
        self.shard = with_added(self.shard, replace(job, batch_id=batch_id, count=count))

    def split(self, effect: Split) -> None:
        """Cuts a batch in two and admits both halves."""
        self.step.count(metrics.SPLITS, 1)
        for half in batches.halves(self.held.take(effect.job.batch_id)):
            if batches.head(half).batch_id in self.held or self.shard.parked_until > self.now:
                self.wait_again(half)  # a stream may bring the same documents twice: these wait for the others
            else:
                self.admit(half)

    def split_off(self, effect: FinishSome) -> list[Finish]:
        """Splits a job into the documents with items, which are settled, and the others, which are polled again.

        Returns:
            The part that is settled; empty if the job could not be split, and is polled again as a whole.
        """
        batch_id = effect.finish.job.batch_id
        (finish, answered), (rest, others) = split_job(effect, self.held[batch_id])
        if finish.job.batch_id in self.held or rest.batch_id in self.held:
            return []  # a stream has delivered the same documents again, as another job
        self.held.take(batch_id)
        self.held[finish.job.batch_id], self.held[rest.batch_id] = answered, others
        job = next(job for job in self.shard.jobs if job.batch_id == batch_id)
        open_ = replace(job, batch_id=rest.batch_id, count=rest.count, submitted_as=rest.submitted_as)
        self.shard = with_added(without(self.shard, [job]), open_)
        return [finish]

    def finish(self, jobs: Sequence[Finish]) -> Iterator[Sequence[Reply]]:
        """The replies of finished jobs, which are recorded and settled together."""
        step = self.step
        blobs = [self.held.take(effect.job.batch_id) for effect in jobs]
        answered: list[Replies] = []
        for effect, blob in zip(jobs, blobs, strict=True):
            replies, surplus, disputed = replies_of(effect, blob, step.prompt.answer_tool, step.polling.on_mismatch)
            if surplus:
                step.count(metrics.SURPLUS_ITEMS, surplus)
            if disputed:
                step.count(metrics.MISMATCHED_ITEMS, disputed)
                warn_once(metrics.MISMATCHED_ITEMS, _MISMATCH.format(effect.job.request_id))
            answered.append(replies)
        if answered:
            now = clock.now()
            step.measure(metrics.QUEUE_SECONDS, [max(0.0, now - effect.job.since) for effect in jobs])
            if PROGRESS.keeps_batches:
                ended = [effect.job for effect in jobs]
                PROGRESS.add_ended(EndedBatch(job.since, now, job.count, job.request_id or "") for job in ended)
            if step.budget is not None:
                # Before the journal's record: a worker that is lost between the two learns the cost once more.
                step.budget.settle_finished(self.key, list(zip(jobs, answered, strict=True)))
            step.journal.record_replies_of_jobs(list(zip(answered, blobs, strict=True)))
            final: list[Sequence[Reply]] = []
            for blob, replies in zip(blobs, answered, strict=True):
                if places := refused_pictures.failed_places(replies):
                    yield from self._failed_with_pictures(blob, replies, places)
                    rest = refused_pictures.parted(blob, places)[1]
                    if rest is None:
                        step.outcomes.ended_without_verdict(batches.head(blob).form)
                    else:
                        others = Replies.of(reply for place, reply in enumerate(replies) if place not in places)
                        final.append(self._final(rest, others))
                else:
                    final.append(self._final(blob, replies))
            if final:
                yield Replies.joined([Replies.of(replies) for replies in final])

    def _failed_with_pictures(self, blob: bytes, replies: Replies, places: Sequence[int]) -> Iterator[Sequence[Reply]]:
        """Asks synchronously about documents with pictures whose items have failed, or gives them up with advice."""
        pictured, _ = refused_pictures.parted(blob, places)
        failed = [
            with_spent(replies[place], spent) for place, spent in zip(places, batches.spent(pictured), strict=True)
        ]
        if self.step.run_instead is not None:
            yield from self._run_instead(pictured, [Spent(reply.usage, reply.ticket.attempts) for reply in failed])
        else:
            yield Replies.of(
                replace(reply, result=refused_pictures.with_advice(reply.result))
                for reply in failed
                if isinstance(reply.result, Failure)
            )

    def _final(self, blob: bytes, answered: Replies) -> Sequence[Reply]:
        """The final replies of a batch. Its other documents are put in line for their next form."""
        step, form = self.step, batches.head(blob).form
        unmet = sum(failure.code == FAILURES[UNMET] for failure in answered.results.failures.values())
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
    """How many jobs there are of each form, without those that wait to be divided, which are never sent as they are."""
    heads = (batches.head(held[job.batch_id]) for job in jobs)
    return Counter(head.form for head in heads if not head.has_undivided)
