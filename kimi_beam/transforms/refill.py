"""What a shard takes in: batches that wait become jobs, but for what the journal or an earlier run knows of them."""

from __future__ import annotations

import functools
import uuid
from collections import Counter
from collections.abc import Generator, Iterable, Sequence

import apache_beam as beam
from apache_beam.metrics import Metrics

from kimi_beam import batches, dispatch, metrics
from kimi_beam.batching import Batching, Packer
from kimi_beam.client import SUBMITS_AT_ONCE, connect, disconnect
from kimi_beam.columnar import Replies
from kimi_beam.events import Events
from kimi_beam.fallback import asked_from, given_up
from kimi_beam.jobs import Job, Shard, admit, adopt
from kimi_beam.journal import Journaling
from kimi_beam.keyed_state import Held, Waiting
from kimi_beam.outcomes import UNMET, Watch
from kimi_beam.polling import Polling
from kimi_beam.prompting import Prompt
from kimi_beam.recall import DOUBTFUL, Recalled, resumed
from kimi_beam.redrive import taken_over
from kimi_beam.service import WorkersAI
from kimi_beam.transforms.finished import TOGETHER
from kimi_beam.transforms.listener import Listener
from kimi_beam.transforms.record import Recorder
from kimi_beam.trials import Turn
from kimi_beam.types import Failure, Reply, Ticket


class Refill(beam.DoFn):
    """The settings of a step that works on the queue, and how its shards are filled with jobs."""

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
        *,
        watch: Watch | None = None,
        submits_at_once: int = SUBMITS_AT_ONCE,
    ) -> None:
        self._service, self._prompt, self._parts = service, prompt, parts
        self._batching, self._polling = batching, polling
        self._max_in_flight, self._max_concurrency = max_in_flight, max_concurrency
        self._journaling = journaling
        self._may_repeat = journaling is None or journaling.may_repeat
        self._events = events
        self._watch, self._submits_at_once = watch or Watch(), submits_at_once
        self._identity = uuid.uuid4().hex  # travels with it: the same on each worker
        self._counters = {name: Metrics.counter(metrics.NAMESPACE, name) for name in metrics.ALL}

    _bounded = True
    """Whether the input ends: trouble with the account then ends the job."""
    _put_back = False
    """Whether the last slice has put something into WAITING that came from a job."""

    def setup(self) -> None:
        self._recorder = Recorder(self._journaling, self._prompt, self._service)  # which may refuse a journal
        self._client = connect(self._service, self._prompt.prefix, self._max_concurrency, self._submits_at_once)
        self._outcomes = self._watch.outcomes
        self._admitted: set[str] = set()
        """Batches that this instance has admitted and not acted on: nobody else has."""
        pulled = functools.partial(self._count, metrics.EVENT_PULLS)
        self._listener = Listener(self._events, self._client, self._identity, self._polling.deadline, pulled)

    def teardown(self) -> None:
        if hasattr(self, "_client"):  # not where set-up failed
            disconnect(self._client)

    def _count(self, name: str, by: int = 1) -> None:
        self._counters[name].inc(by)

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
        self, key: str, shard: Shard, held: Held, waiting: Waiting, now: float
    ) -> Generator[Sequence[Reply], None, Shard]:
        """Admits what waits, as far as there is room; gives it up unsent while the quota is spent.

        What would be asked for in a form that has not worked yet goes on waiting while another batch tries that form.
        """
        if shard.parked_until > now:
            failure = dispatch.quota_failure("the day's allocation is spent; it is renewed at 00:00 UTC")
            for blob in waiting.take():
                yield given_up(blob, failure)
            return shard
        if (unsent := self._unsent) is not None:
            for blob in waiting.take():
                yield given_up(blob, unsent)
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
                came = asked_from(came, first_form)
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

    def _turn(self, key: str, shard: Shard, held: Held, now: float) -> Turn:
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


def by_form(jobs: Iterable[Job], held: Held) -> Counter[int]:
    """How many jobs there are of each form."""
    return Counter(batches.head(held[job.batch_id]).form for job in jobs)
