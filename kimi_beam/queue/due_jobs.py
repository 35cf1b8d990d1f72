"""Submits and polls the jobs of a shard that are due, and carries out the effects of the replies."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from kimi_beam.columnar import Documents
from kimi_beam.network.allowance import SendSlots
from kimi_beam.queue import state_machine
from kimi_beam.queue.effects import Effect, Finish, FinishSome
from kimi_beam.queue.finished import fit_together
from kimi_beam.queue.jobs import Job, delay_until, rebased, with_job, without
from kimi_beam.queue.next_form import in_form_from
from kimi_beam.queue.shard_turn import ShardTurn, by_form
from kimi_beam.report import metrics
from kimi_beam.report.logging_reports import REPORTS
from kimi_beam.request import batches
from kimi_beam.service import clock
from kimi_beam.service.budget import OVER_BUDGET
from kimi_beam.service.remedies import RULES, Reach
from kimi_beam.types.reply import Reply
from kimi_beam.wire.envelopes import Refused
from kimi_beam.wire.matching import references
from kimi_beam.wire.protocol import decode_poll, decode_submit, encode_submit

_POLLS_AT_ONCE = 32
"""The most polls that are sent together."""


class DueJobs:
    """Submits and polls the jobs of a shard that are due, once in a turn.

    Args:
        turn: The turn of the shard.
    """

    def __init__(self, turn: ShardTurn) -> None:
        self._turn, self._step = turn, turn.step
        turn.now = clock.now()

    def run(self) -> Iterator[Sequence[Reply]]:
        """Submits and polls the jobs that are due.

        Yields:
            The replies of jobs that have ended, those of some jobs at a time.
        """
        turn, step = self._turn, self._step
        step.client.allowance.claim_share(step.client, turn.key, step.rate_shares)
        turn.shard = rebased(turn.shard, turn.now, step.polling.ceiling)
        effects = self._give_up_unsent()
        self._wait_for_trials()
        jobs = step.listener.due(turn.shard, turn.now)
        effects += self._submit(self._not_yet_submitted([job for job in jobs if job.request_id is None]))
        step.listener.expect(turn.key, turn.shard)  # another shard may pull events for this one meanwhile
        effects += yield from self._poll([job for job in jobs if job.request_id is not None])
        for effect in effects:
            yield from turn.carry_out(effect)
        self._renew_claims()

    def _renew_claims(self) -> None:
        """Renews this shard's claims of forms that it still tries, which other shards of this process wait for."""
        turn, step = self._turn, self._step
        if step.outcomes.trials.has_claims(turn.key):
            step.outcomes.trials.renew(turn.key, by_form(turn.shard.jobs, turn.held), clock.now())

    # -------------------------------------------------------------------------------------------- before a submit

    def _give_up_unsent(self) -> list[Effect]:
        """Gives up jobs that are not sent, if another shard found the quota used up or sending is not worthwhile."""
        turn = self._turn
        effects: list[Effect] = []
        quota = self._step.client.quota
        spent = quota.spent_error(turn.now)
        if spent is not None and turn.shard.parked_until <= turn.now:
            turn.shard, more = state_machine.park(turn.shard, spent, quota.until)
            effects += more
        if (failure := self._step.not_worth_sending) is not None:
            turn.shard, more = state_machine.give_up_unsent(turn.shard, failure)
            effects += more
        return effects

    def _wait_for_trials(self) -> None:
        """Puts batches back in line whose form has failed by now, or is tried by others already.

        The former are sent in the next form, the latter once the outcome of the trial is known.
        """
        turn = self._turn
        outcomes, forms = self._step.outcomes, len(self._step.prompt.forms)
        if not outcomes.has_unmet:
            return
        first = min(outcomes.first_form(forms), forms - 1)
        unsent = [
            job
            for job in turn.shard.jobs
            if job.request_id is None and not job.unknown and not batches.head(turn.held[job.batch_id]).has_undivided
        ]
        if not unsent:
            return
        forms_now = turn.form_claims(without(turn.shard, unsent).jobs)
        put_back = []
        for job in unsent:
            form = batches.head(turn.held[job.batch_id]).form
            if form < first or not forms_now.claim(form):
                turn.wait_again(in_form_from(turn.held.take(job.batch_id), first))
                put_back.append(job)
        turn.shard = without(turn.shard, put_back)

    def _not_yet_submitted(self, jobs: Sequence[Job]) -> list[Job]:
        """Takes out the batches that have been submitted already, which wait again to be recalled.

        A worker that was lost before its state was kept may have submitted them, or another `Extract` that shares the
        journal.
        """
        turn, step = self._turn, self._step
        own = [job for job in jobs if job.batch_id in step.admitted]
        others = [job for job in jobs if job.batch_id not in step.admitted]
        step.admitted.difference_update(job.batch_id for job in own)
        if others:
            step.journal.refresh()
        submitted = [job for job in own if step.journal.is_asked_elsewhere(turn.held[job.batch_id])]
        submitted += [job for job in others if step.journal.is_ahead(job, turn.held[job.batch_id])]
        for job in submitted:
            turn.wait_again(turn.held.take(job.batch_id))
        turn.shard = without(turn.shard, submitted)
        return [job for job in jobs if job not in submitted]

    # -------------------------------------------------------------------------------------------- requests

    def _submit(self, jobs: Sequence[Job]) -> list[Effect]:
        turn, step = self._turn, self._step
        effects: list[Effect] = []
        while jobs:
            if max(turn.shard.submits_from, turn.shard.parked_until) > clock.now():
                break  # the others stay jobs for a later turn, or the quota is used up and they are given up already
            wanted, name = min(len(jobs), step.submits_at_once), jobs[0].batch_id
            with SendSlots(step.client.allowance.submits, wanted, step.polling, name) as slots:
                turn.shard = delay_until(turn.shard, submits=slots.retry_at(clock.now()))
                some, jobs = jobs[: slots.count], jobs[slots.count :]
                whole, lost = self._read_again(some)
                effects += lost
                some = [job for job in some if job.batch_id in whole]
                if step.budget is not None:
                    some, given_up = self._within_budget(some, whole)
                    effects += given_up
                step.count(metrics.SUBMITS, len(some))
                others = [other for job in some for other in whole[job.batch_id].others.values()]
                step.count(metrics.PICTURES_SENT, sum(len(other.images) for other in others))
                pairs = [(job, turn.held[job.batch_id]) for job in some]
                step.journal.record_intents(pairs)
                bodies = [self._body(job, blob, whole.pop(job.batch_id)) for job, blob in pairs]
                exchanges = step.client.submit(bodies, step.journal.record_submit_reply, on_loop=step.journal.is_quick)
                now, today = clock.now(), time.time()  # a date in a reply's header is compared with the wall clock
                for exchange in exchanges:
                    slots.observe(exchange, today)
            decoded = [REPORTS.log_trouble("submit", decode_submit(exchange, today)) for exchange in exchanges]
            results = list(zip(some, decoded, strict=True))
            if step.budget is not None:
                step.budget.settle_unaccepted(turn.key, results)
            for metric, count in state_machine.metrics_of(results).items():
                step.count(metric, count)
            turn.shard, more = state_machine.submitted_together(
                turn.shard,
                results,
                now,
                step.polling,
                may_run=step.run_instead is not None,
                may_repeat=step.may_repeat,
            )
            effects += more
            for _, result in results:
                if isinstance(result, Refused) and RULES[result.error.remedy].reach is Reach.UNSENT:
                    step.client.quota.mark_spent(result.error, turn.shard.parked_until)
        return effects

    def _read_again(self, jobs: Sequence[Job]) -> tuple[dict[str, Documents], list[Effect]]:
        """The documents of batches with their files' contents, without batches with a file that cannot be read."""
        turn = self._turn
        whole = {job.batch_id: batches.decode(turn.held[job.batch_id]) for job in jobs}
        # A document that travels as a reference is one of the others.
        read = iter(self._step.read_again([other for batch in whole.values() for other in batch.others.values()]))
        effects: list[Effect] = []
        for job in jobs:
            documents = whole[job.batch_id]
            others = dict(zip(documents.others, read, strict=False))
            whole[job.batch_id] = documents.with_others(others)
            lost = {index: document.failure for index, document in others.items() if document.failure}
            if lost:
                del whole[job.batch_id]
                turn.shard, more = state_machine.unreadable(turn.shard, job, lost, clock.now(), self._step.polling)
                effects += more
            elif batches.head(turn.held[job.batch_id]).has_undivided:  # its file can be read now, and it be divided
                del whole[job.batch_id]
                turn.shard = without(turn.shard, [job])
                turn.wait_again(turn.held.take(job.batch_id))
        return whole, effects

    def _within_budget(self, jobs: Sequence[Job], whole: dict[str, Documents]) -> tuple[list[Job], list[Effect]]:
        """Reserves money for submits. The others wait in line again, or are given up if that would forget a submit.

        Args:
            jobs: The jobs that are due to be submitted.
            whole: Their documents as they are sent. Those of jobs that are not submitted are removed.

        Returns:
            The jobs that are submitted, and what becomes of those that are given up.
        """
        turn, budget = self._turn, self._step.budget
        assert budget is not None
        names = budget.reserve(turn.key, [(job, turn.held[job.batch_id], whole[job.batch_id]) for job in jobs])
        effects: list[Effect] = []
        affordable: list[Job] = []
        for job, name in zip(jobs, names, strict=True):
            if name is not None:
                affordable.append(replace(job, reservation=name))
                turn.shard = with_job(turn.shard, affordable[-1])
                continue
            del whole[job.batch_id]
            if not (job.unknown or job.resubmitted):
                turn.shard = without(turn.shard, [job])
                turn.wait_again(turn.held.take(job.batch_id))
            elif any(other.request_id for other in turn.shard.jobs) or budget.budget.may_get_back(turn.key):
                later = clock.now() + self._step.polling.backoff(job.batch_id, job.delays)
                turn.shard = with_job(turn.shard, replace(job, due=later, delays=job.delays + 1))
            else:
                turn.shard, given_up = state_machine.give_up_some(turn.shard, [job], OVER_BUDGET)
                effects += given_up
        return affordable, effects

    def _body(self, job: Job, blob: bytes, documents: Documents) -> bytes:
        names = references(job.batch_id, len(documents))
        return encode_submit(self._step.prompt.requests(documents, names, batches.head(blob).form))

    def _poll(self, jobs: Sequence[Job]) -> Generator[Sequence[Reply], None, list[Effect]]:
        """Polls jobs. Those that have ended are settled in groups, while replies of others still arrive."""
        turn, step = self._turn, self._step
        effects: list[Effect] = []
        while jobs and turn.shard.polls_from <= clock.now():  # else the others are polled at that time
            wanted, name = min(len(jobs), _POLLS_AT_ONCE), jobs[0].batch_id
            with SendSlots(step.client.allowance.polls, wanted, step.polling, name) as slots:
                turn.shard = delay_until(turn.shard, polls=slots.retry_at(clock.now()))
                some, jobs = jobs[: slots.count], jobs[slots.count :]
                step.count(metrics.POLLS, len(some))
                finished: list[Finish] = []
                documents = 0
                for index, exchange in step.client.poll([job.request_id or "" for job in some]):
                    now, today = clock.now(), time.time()
                    slots.observe(exchange, today)
                    # Settled in groups, because documents and answers of finished jobs take most of the memory.
                    if finished and not fit_together(finished, exchange, documents):
                        yield from turn.finish(finished)
                        finished, documents = [], 0
                    job = some[index]
                    result = REPORTS.log_trouble("poll", decode_poll(exchange, today, job.request_id))
                    turn.shard, more = state_machine.polled(turn.shard, job, result, now, step.polling)
                    for effect in more:
                        if isinstance(effect, FinishSome):
                            ended = turn.split_off(effect)
                        elif isinstance(effect, Finish):
                            ended = [effect]
                        else:
                            effects.append(effect)
                            continue
                        documents += sum(batches.head(turn.held[one.job.batch_id]).whole_bytes for one in ended)
                        finished += ended
                yield from turn.finish(finished)
        return effects
