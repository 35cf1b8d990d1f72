"""What a shard takes in: batches that wait become jobs, but for what the journal or an earlier run knows of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kimi_beam.columnar import Replies
from kimi_beam.input.redrive import with_open_request
from kimi_beam.queue import state_machine
from kimi_beam.queue.earlier import DOUBTFUL, EarlierSubmission, Recalled, resumed
from kimi_beam.queue.finished import SETTLED_TOGETHER
from kimi_beam.queue.jobs import adopt
from kimi_beam.queue.next_form import give_up_all, in_form_from
from kimi_beam.queue.shard_turn import ShardTurn
from kimi_beam.report import metrics
from kimi_beam.request import batches
from kimi_beam.request.packing import Packer
from kimi_beam.service import clock, retry_limits
from kimi_beam.types import Reply, Ticket


class Refill:
    """Fills a shard with jobs, once.

    Batches that wait are packed into larger ones, of one form each. What is known of such a batch leaves it: answers
    go out, earlier submissions are polled or waited for. What is left of it is new. If all of it is new it becomes a
    job; otherwise what is new waits at the end of the line for company, as a few new documents among many that are
    known would else be a small batch.

    Args:
        turn: Of the shard that is filled.
    """

    def __init__(self, turn: ShardTurn) -> None:
        self._turn, self._step = turn, turn.step
        turn.now = clock.now()
        self._packers: dict[int, Packer[bytes]] = {}
        """By form: what has been taken out of the line and is no whole batch yet."""
        self._answered: list[Replies] = []
        """Answers that were paid for before, until there are enough to go out together."""
        self._postponed: list[bytes] = []
        """What cannot be sent now, whatever comes: it waits again once the shard is full."""

    def run(self) -> Iterator[Sequence[Reply]]:
        """Admits what waits, as far as there is room; gives it up unsent while the quota is spent.

        What would be asked for in a form that has not worked yet goes on waiting while another batch tries that form.

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
            # Anew each time: what was put at the end of the line meanwhile is a part of it.
            came = None if forms.is_closed(first_form) else next(waiting.take(), None)
            if came is not None:
                came = in_form_from(came, first_form)
                if forms.is_closed(batches.head(came).form):
                    self._postponed.append(came)
                    continue
                group = self._pack(came)
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
            # The same documents cannot be in flight twice: a job is named by them. The second waits for the first.
            elif head.batch_id in turn.held or not forms.claim(head.form):
                self._postponed += group
            else:
                turn.admit(batch)
                step.count(metrics.BATCHES, 1)
                in_flight += len(head.sizes)
        if self._answered:
            yield Replies.joined(self._answered)
        waiting.put_back([blob for packer in self._packers.values() for blob in packer.flush()])
        for blob in self._postponed:
            waiting.add(blob)

    def _pack(self, blob: bytes) -> list[bytes]:
        """The batches that are full now, to be merged into one; empty while there is room for more."""
        head = batches.head(blob)
        packer = self._packers.setdefault(head.form, Packer(self._step.batching))
        return packer.add(blob, batches.whole_bytes(blob), len(head.sizes))

    def _recalled(self, recalled: Recalled, form: int) -> Iterator[Sequence[Reply]]:
        """Deals with what is known of a batch: answers, and what an earlier run or a lost worker has submitted."""
        if recalled.answered:
            self._step.count(metrics.RECALLED, len(recalled.answered))
            self._answered.append(Replies.of(recalled.answered))
        if sum(map(len, self._answered)) >= SETTLED_TOGETHER:
            yield Replies.joined(self._answered)
            self._answered = []
        for earlier in (*recalled.in_flight, *recalled.doubtful):
            yield from self._adopt(earlier, form)

    def _adopt(self, earlier: EarlierSubmission, form: int) -> Iterator[Sequence[Reply]]:
        """Takes in a job that was submitted before, or may have been.

        It waits where its documents are in flight already: a stream has brought their ids before.
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
        # Who asks again for what was given up waits anew, but need not wait to believe that the job is gone.
        believed = min(state_machine.GONE_AFTER, step.polling.ceiling, step.polling.deadline / 2)
        turn.held[batch_id] = blob
        turn.shard = adopt(turn.shard, resumed(earlier, batch_id, turn.now, step.grace, believed))
