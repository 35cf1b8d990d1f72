"""The refill of a shard: batches that wait become jobs, except documents that the journal knows already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kimi_beam.columnar import Replies
from kimi_beam.queue import state_machine
from kimi_beam.queue.earlier import DOUBTFUL, EarlierSubmission, Recalled, job_continuing, with_open_request
from kimi_beam.queue.finished import SETTLED_TOGETHER
from kimi_beam.queue.jobs import with_added
from kimi_beam.queue.next_form import give_up_all, in_form_from
from kimi_beam.queue.shard_turn import ShardTurn
from kimi_beam.queue.within_budget import Affordable
from kimi_beam.report import metrics
from kimi_beam.request import batches
from kimi_beam.request.packing import Packer
from kimi_beam.service import clock, retry_limits
from kimi_beam.service.budget import OVER_BUDGET
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket


class Refill:
    """Fills a shard with jobs, once in a turn.

    Batches that wait are packed into larger ones, each of one form. The journal is asked about each of these. Documents
    that are answered already leave with their answers, and those of an earlier submission become the job of that
    submission. If all documents are new, the batch becomes a job. Otherwise the new ones wait at the end of the line to
    be packed with others, as a few new documents among many known ones would make a small batch.

    Args:
        turn: The turn of the shard.
    """

    def __init__(self, turn: ShardTurn) -> None:
        self._turn, self._step = turn, turn.step
        turn.now = clock.now()
        self._packers: dict[int, Packer[bytes]] = {}
        """The batches that were taken out of the line and are not packed yet, by form."""
        self._answered: list[Replies] = []
        """Answers that were paid for before, collected so that many leave together."""
        self._postponed: list[bytes] = []
        """Batches that cannot be sent in this turn. They are put back in line at its end."""
        self._unaffordable: list[bytes] = []
        """Batches that what is left of the budget does not suffice for."""
        budget = self._step.budget
        self._affordable = None if budget is None else Affordable(budget, turn.key, turn.shard.jobs, turn.held)

    def run(self) -> Iterator[Sequence[Reply]]:
        """Makes jobs of batches that wait while there is room, or gives them up while the quota is used up.

        A batch in a form that has not worked yet stays in line while another batch tries that form.

        Yields:
            Answers of earlier runs, and failures of what is given up.
        """
        turn, step, waiting = self._turn, self._step, self._turn.waiting
        failure = step.not_worth_sending
        if turn.shard.parked_until > turn.now:
            failure = retry_limits.quota_failure("the day's allocation is spent; it is renewed at 00:00 UTC")
        if failure is not None:
            for blob in waiting.take():
                yield give_up_all(blob, failure)
            return
        forms = turn.form_claims(turn.shard.jobs)
        first_form = step.outcomes.first_form(len(step.prompt.forms))
        if first_form == len(step.prompt.forms) or forms.is_closed(first_form):
            return  # no form works, which ends the run in the next turn; or one is being tried
        in_flight = sum(job.count for job in turn.shard.jobs)
        while len(turn.shard.jobs) < step.max_in_flight and not step.outcomes.waits_for_first(in_flight):
            # `take` is called anew each time, because batches are added to the line meanwhile.
            next_blob = None if forms.is_closed(first_form) else next(waiting.take(), None)
            if next_blob is not None:
                if batches.head(next_blob).has_undivided:
                    rest, parts, replies, unread = step.parts.divide(next_blob, step.read_again)
                    step.count(metrics.PARTS, sum(len(batches.head(part).sizes) for part in parts))
                    waiting.put_at_front([*([rest] if rest is not None else []), *parts])
                    if replies:
                        yield Replies.of(replies)
                    for undivided, _ in unread:
                        self._read_later(undivided)
                    continue
                next_blob = in_form_from(next_blob, first_form)
                if forms.is_closed(batches.head(next_blob).form):
                    self._postponed.append(next_blob)
                    continue
                group = self._pack(next_blob)
            elif self._packers:
                group = self._packers.popitem()[1].flush()
            else:
                break
            if not group:
                continue
            batch = batches.merge(group)
            head = batches.head(batch)
            recalled = step.journal.recall(batch)
            yield from self._recalled(recalled, head.form)
            if recalled.fresh is not batch:
                if recalled.fresh is not None:
                    waiting.add(recalled.fresh)
            # A job's id depends on its documents, so the same ones cannot be in two jobs: the second batch waits.
            elif head.batch_id in turn.held:
                self._postponed += group
            else:
                affordable = self._choose(batch)
                if affordable is not None:
                    if forms.claim(head.form):
                        turn.admit(affordable)
                        step.count(metrics.BATCHES, 1)
                        step.measure(metrics.BATCH_SIZE, [len(batches.head(affordable).sizes)])
                        in_flight += len(head.sizes)
                    else:
                        self._postponed += group if affordable is batch else [affordable]
                if self._unaffordable and self._affordable and self._affordable.may_grow:
                    break
        if self._answered:
            yield Replies.joined(self._answered)
        waiting.put_at_front([blob for packer in self._packers.values() for blob in packer.flush()])
        if self._unaffordable and self._affordable and not self._affordable.may_grow and not turn.shard.jobs:
            for blob in self._unaffordable:
                yield give_up_all(blob, OVER_BUDGET)
        else:
            waiting.put_at_front(self._unaffordable)
        for blob in self._postponed:
            waiting.add(blob)

    def _choose(self, batch: bytes) -> bytes | None:
        """What of a batch may be submitted by the budget, if there is one. The rest is kept apart."""
        if self._affordable is None:
            return batch
        sent, rest = self._affordable.choose(batch)
        if rest is not None:
            self._unaffordable.append(rest)
        return sent

    def _pack(self, blob: bytes) -> list[bytes]:
        """Adds a batch to those of its form. Returns the ones that are full, to be merged into one."""
        head = batches.head(blob)
        packer = self._packers.setdefault(head.form, Packer(self._step.batching))
        return packer.add(blob, head.whole_bytes, len(head.sizes))

    def _read_later(self, undivided: bytes) -> None:
        """Makes a job of a document whose file cannot be read now: a job that is due reads it again, for a while."""
        if batches.head(undivided).batch_id in self._turn.held:
            self._postponed.append(undivided)
        else:
            self._turn.admit(undivided)

    def _recalled(self, recalled: Recalled, form: int) -> Iterator[Sequence[Reply]]:
        """Handles the documents of a batch that the journal knows: answers and earlier submissions."""
        if recalled.answered:
            self._step.count(metrics.RECALLED, len(recalled.answered))
            self._answered.append(Replies.of(recalled.answered))
        if sum(map(len, self._answered)) >= SETTLED_TOGETHER:
            yield Replies.joined(self._answered)
            self._answered = []
        for earlier in (*recalled.in_flight, *recalled.doubtful):
            yield from self._adopt(earlier, form)

    def _adopt(self, earlier: EarlierSubmission, form: int) -> Iterator[Sequence[Reply]]:
        """Adds the job of an earlier submission, which the service accepted or may have.

        Its documents are put back in line if a job has the same ones, as when a stream has delivered them twice.
        """
        turn, step = self._turn, self._step
        spent = earlier.spent
        items = [item._replace(document=with_open_request(item.document, earlier.request_id)) for item in earlier.items]
        blob = batches.encode(items, form=earlier.form, spent=spent if earlier.form else ())
        batch_id = batches.head(blob).batch_id
        if batch_id in turn.held:
            self._postponed.append(batches.encode(earlier.items, form=form, spent=spent if form else ()))
            return
        if earlier.request_id is not None:
            step.count(metrics.ADOPTED, 1)
        else:
            step.count(metrics.UNKNOWN_SUBMITS, 1)
            if not step.may_repeat:
                yield give_up_all(blob, DOUBTFUL, Ticket(None, 1))
                return
        # A job that was given up before is waited for anew, but a "no such job" counts from the first poll on.
        assumed_age = min(state_machine.GONE_AFTER, step.polling.ceiling, step.polling.deadline / 2)
        turn.held[batch_id] = blob
        job = job_continuing(earlier, batch_id, turn.now, step.grace, assumed_age)
        if step.budget is not None and job.request_id is not None:
            name = step.budget.take_over(turn.key, earlier.name, earlier.count, earlier.positions, blob)
            job = replace(job, reservation=name)
        turn.shard = with_added(turn.shard, job)
