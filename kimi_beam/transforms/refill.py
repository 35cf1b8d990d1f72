"""What a shard takes in: batches that wait become jobs, but for what the journal or an earlier run knows of them."""

from __future__ import annotations

import functools
import uuid
from collections import Counter
from collections.abc import Generator, Iterable, Sequence

import apache_beam as beam
from apache_beam.metrics import Metrics

from kimi_beam.columnar import Replies
from kimi_beam.input.redrive import with_open_request
from kimi_beam.journal.recall import DOUBTFUL, Recalled, resumed
from kimi_beam.journal.recorder import Recorder
from kimi_beam.network.client import connect, disconnect
from kimi_beam.queue import state_machine
from kimi_beam.queue.event_listener import Listener
from kimi_beam.queue.finished import TOGETHER
from kimi_beam.queue.jobs import Job, Shard, admit, adopt
from kimi_beam.queue.next_form import give_up_all, in_form_from
from kimi_beam.queue.state_layout import BatchStore, Waiting
from kimi_beam.report import metrics
from kimi_beam.report.outcomes import UNMET, Watch
from kimi_beam.report.trials import Turn
from kimi_beam.request import batches
from kimi_beam.request.packing import Packer
from kimi_beam.service import retry_limits
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.types import Failure, Reply, Ticket


class Refill(beam.DoFn):
    """The settings of a step that works on the queue, and how its shards are filled with jobs.

    Args:
        settings: How documents are extracted.
        watch: Names the outcomes that this `Extract` counts.
        parts: Parts that the job's requests a minute are shared out in.
    """

    def __init__(self, settings: ExtractSettings, watch: Watch, parts: int) -> None:
        self._settings, self._watch, self._parts = settings, watch, parts
        self._identity = uuid.uuid4().hex  # travels with it: the same on each worker
        self._counters = {name: Metrics.counter(metrics.NAMESPACE, name) for name in metrics.ALL}

    _bounded = True
    """Whether the input ends: trouble with the account then ends the job."""
    _put_back = False
    """Whether the last slice has put something into WAITING that came from a job."""

    def setup(self) -> None:
        settings = self._settings
        self._service, self._prompt = settings.service, settings.prompt
        self._batching, self._polling = settings.batching, settings.polling
        self._max_in_flight, self._submits_at_once = settings.max_in_flight, settings.max_submits_at_once
        self._journaling, self._may_repeat = settings.journaling, settings.may_repeat
        self._recorder = Recorder(settings.journaling, settings.prompt, settings.service)  # which may refuse a journal
        self._client = connect(
            settings.service, settings.prompt.prefix, settings.max_concurrency, settings.max_submits_at_once
        )
        self._outcomes = self._watch.outcomes
        self._admitted: set[str] = set()
        """Batches that this instance has admitted and not acted on: nobody else has."""
        pulled = functools.partial(self._count, metrics.EVENT_PULLS)
        self._listener = Listener(settings.events, self._client, self._identity, self._polling.deadline, pulled)

    def teardown(self) -> None:
        if hasattr(self, "_client"):  # not where set-up failed
            disconnect(self._client)

    def _count(self, name: str, by: int = 1) -> None:
        self._counters[name].inc(by)

    def _wait(self, blob: bytes, waiting: Waiting) -> None:
        waiting.add(blob)
        self._put_back = True

    def _admit(self, shard: Shard, held: BatchStore, blobs: Iterable[bytes], now: float) -> Shard:
        """Makes jobs of batches. They are acted on from the next firing on, when they are committed state."""
        admitted = []
        for blob in blobs:
            head = batches.head(blob)
            held[head.batch_id] = blob
            admitted.append((head.batch_id, len(head.sizes)))
            self._admitted.add(head.batch_id)
        return admit(shard, admitted, now)

    def _top_up(
        self, key: str, shard: Shard, held: BatchStore, waiting: Waiting, now: float
    ) -> Generator[Sequence[Reply], None, Shard]:
        """Admits what waits, as far as there is room; gives it up unsent while the quota is spent.

        What would be asked for in a form that has not worked yet goes on waiting while another batch tries that form.
        """
        if shard.parked_until > now:
            failure = retry_limits.quota_failure("the day's allocation is spent; it is renewed at 00:00 UTC")
            for blob in waiting.take():
                yield give_up_all(blob, failure)
            return shard
        if (unsent := self._unsent) is not None:
            for blob in waiting.take():
                yield give_up_all(blob, unsent)
            return shard
        first_form = self._outcomes.first_form(len(self._prompt.forms))
        turn = self._turn(key, shard, held, now)
        if first_form == len(self._prompt.forms) or turn.is_closed(first_form):
            return shard  # no form works, which ends the run in the next slice; or one is being tried
        packers: dict[int, Packer[bytes]] = {}
        answered: list[Replies] = []
        taken: list[bytes] = []
        left: list[bytes] = []
        fresh: list[bytes] = []
        blobs = waiting.take()
        in_flight = sum(job.count for job in shard.jobs)
        while len(shard.jobs) + len(taken) < self._max_in_flight and not self._outcomes.are_enough(in_flight):
            came = None if turn.is_closed(first_form) else next(blobs, None)
            if came is not None:
                came = in_form_from(came, first_form)
                head = batches.head(came)
                if turn.is_closed(head.form):
                    left.append(came)
                    continue
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
            elif batches.head(batch).batch_id in held or not turn.take(batches.head(batch).form):
                left += group
            else:
                taken.append(batch)
                in_flight += len(batches.head(batch).sizes)
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
            shard = yield from self._top_up(key, shard, held, waiting, now)
        for blob in left:
            waiting.add(blob)
        return shard

    def _turn(self, key: str, shard: Shard, held: BatchStore, now: float) -> Turn:
        counts = functools.partial(by_form, shard.jobs, held)
        return Turn(self._outcomes.trials, self._outcomes.is_on_trial, key, counts, now)

    @property
    def _unsent(self) -> Failure | None:
        """What is given up with that waits and need not be sent; None where it is worth while to send it."""
        if self._outcomes.stopped is not None:
            return self._outcomes.stopped
        # Of input that ends the run ends, in one line.
        nothing_works = self._outcomes.first_form(len(self._prompt.forms)) == len(self._prompt.forms)
        return UNMET if nothing_works and not self._bounded else None

    def _adopt(
        self, shard: Shard, held: BatchStore, recalled: Recalled, form: int, now: float
    ) -> Generator[Sequence[Reply], None, tuple[Shard, list[bytes]]]:
        """Takes jobs in that an earlier run, or a worker that died, has submitted, or may have.

        Returns:
            The shard, and batches that have to wait: a stream has brought their ids before, and those are in flight.
        """
        left: list[bytes] = []
        for again in (*recalled.in_flight, *recalled.doubtful):
            items = [item._replace(document=with_open_request(item.document, again.request_id)) for item in again.items]
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
                    yield give_up_all(blob, DOUBTFUL, Ticket(None, 1))
                    continue
            # Who asks again for what was given up waits anew, but need not wait to believe that the job is gone.
            believed = min(state_machine.GONE_AFTER, self._polling.ceiling, self._polling.deadline / 2)
            grace = self._journaling.grace if self._journaling else 0.0
            held[batch_id] = blob
            shard = adopt(shard, resumed(again, batch_id, now, grace, believed))
        return shard, left


def by_form(jobs: Iterable[Job], held: BatchStore) -> Counter[int]:
    """How many jobs there are of each form."""
    return Counter(batches.head(held[job.batch_id]).form for job in jobs)
