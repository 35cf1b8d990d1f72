"""`Dispatch`: submits and polls in one stateful DoFn a shard, in a version for input that ends and one for streams.

Why it looks as it does (each point measured on the runners):

* It is keyed by shard, not by job, so that everything due is polled at once, and it works in the global window: keyed
  state is dropped when its window expires.
* Bounded input sets only a WATERMARK timer, which re-arms itself until nothing is open. A REAL_TIME timer would be
  dropped by the default DirectRunner, which then ends with success and no output, and hangs Flink streaming.
* Unbounded input sets REAL_TIME timers, which never block, and a WATERMARK timer that drains what is left at the end.
* State is bytes in cells by how often each is touched (`keyed_state`): a bag is read and rewritten whole.
"""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.coders import BooleanCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from kimi_beam.columnar import Replies
from kimi_beam.input.file_references import read_again
from kimi_beam.journal.recorder import Recorder
from kimi_beam.network.client import connect, disconnect
from kimi_beam.queue.due_jobs import DueJobs
from kimi_beam.queue.event_listener import Listener
from kimi_beam.queue.refill import Refill
from kimi_beam.queue.shard_turn import ShardTurn
from kimi_beam.queue.state_layout import KeyedState
from kimi_beam.queue.step import Step
from kimi_beam.report import metrics
from kimi_beam.report.outcomes import Watch
from kimi_beam.request.checks import separate
from kimi_beam.service import clock
from kimi_beam.transforms.run_instead import run_instead
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.transforms.state import INBOX, in_memory, with_state
from kimi_beam.types import Reply

_LOOK_AGAIN = 0.25
"""Seconds after which a shard that waits for another one's trial looks again. The other may need the same thread."""


class _Dispatch(beam.DoFn):
    """A step that works on the queue: what it is made of, and what it makes of that on each worker.

    Args:
        settings: How documents are extracted.
        watch: Names the outcomes that this `Extract` counts.
        parts: Parts that the job's requests a minute are shared out in.
    """

    def __init__(self, settings: ExtractSettings, watch: Watch, parts: int) -> None:
        self._settings, self._watch, self._parts = settings, watch, parts
        self._identity = uuid.uuid4().hex  # travels with it: the same on each worker
        self._counters = {name: Metrics.counter(metrics.NAMESPACE, name) for name in metrics.ALL}

    _is_bounded = True
    """Whether the input ends: trouble with the account then ends the job."""

    def setup(self) -> None:
        settings = self._settings
        self._recorder = Recorder(settings.journaling, settings.prompt, settings.service)  # which may refuse a journal
        self._client = connect(
            settings.service, settings.prompt.prefix, settings.max_concurrency, settings.max_submits_at_once
        )
        pulled = functools.partial(self._count, metrics.EVENT_PULLS)
        self._step = Step(
            prompt=settings.prompt,
            batching=settings.batching,
            polling=settings.polling,
            client=self._client,
            journal=self._recorder,
            listener=Listener(settings.events, self._client, self._identity, settings.polling.deadline, pulled),
            outcomes=self._watch.outcomes,
            count=self._count,
            read_again=read_again,
            run_instead=self._run_instead if settings.service.fallback_api is not None else None,
            max_in_flight=settings.max_in_flight,
            submits_at_once=settings.max_submits_at_once,
            parts=self._parts,
            may_repeat=settings.may_repeat,
            grace=settings.journaling.grace if settings.journaling else 0.0,
            is_bounded=self._is_bounded,
        )

    def teardown(self) -> None:
        if hasattr(self, "_client"):  # not where set-up failed
            disconnect(self._client)

    def _count(self, name: str, by: int = 1) -> None:
        self._counters[name].inc(by)

    def _run_instead(self, blob: bytes) -> Iterator[Sequence[Reply]]:
        return run_instead(
            blob,
            self._client,
            self._settings.prompt,
            self._settings.polling,
            self._recorder,
            self._count,
            halts=self._is_bounded,
            may_repeat=self._settings.may_repeat,
            outcomes=self._step.outcomes,
        )


class _ForBounded(_Dispatch):
    """What both versions for input that ends do: nothing is submitted before all of a shard's documents are there."""

    def _slice(self, key: str, state: KeyedState) -> Generator[Sequence[Reply], None, bool]:
        """Waits for the earliest job that is due, acts on all that are due, and tops up.

        Returns:
            Whether there is more to do.
        """
        step, turn = self._step, ShardTurn(self._step, key, state)
        turn.await_due()
        known = {job.request_id for job in turn.shard.jobs}
        yield from DueJobs(turn).run()
        # Not while a job was accepted beside it: its request id must be committed first, or a retry would submit again.
        if all(job.request_id in known for job in turn.shard.jobs):
            if turn.halts:
                raise self._settings.service.account_error(turn.halts[0].error)
            step.outcomes.check_forms(len(step.prompt.forms))
        # By the quarter: a bag is read whole.
        if len(turn.shard.jobs) <= step.max_in_flight * 3 // 4:
            yield from Refill(turn).run()
        must_wait = turn.waits_for_a_trial
        turn.write()
        turn.report()
        if must_wait:
            clock.pause(min(_LOOK_AGAIN, step.polling.first))
        return step.listener.expect(key, turn.shard) or bool(turn.shard.jobs) or must_wait


class DispatchBounded(_ForBounded):
    """``(shard, batch as bytes) -> Sequence[Reply]`` for input that ends, slice by slice."""

    DRAIN = TimerSpec("drain", TimeDomain.WATERMARK)
    CHECKED = ReadModifyWriteStateSpec("checked", BooleanCoder())
    """Set once the ids have been compared."""

    def process(
        self,
        element: tuple[str, bytes],
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(INBOX),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> None:
        waiting.add(element[1])
        drain.set(window.max_timestamp())

    @on_timer(DRAIN)
    @with_state
    def on_drain(
        self,
        state: KeyedState,
        key: Any = beam.DoFn.KeyParam,
        window: Any = beam.DoFn.WindowParam,
        checked: Any = beam.DoFn.StateParam(CHECKED),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> Iterator[Sequence[Reply]]:
        """Does one slice and re-arms until nothing is open."""
        if not checked.read():
            # Here a lost worker's shard begins anew.
            self._recorder.refresh()
            checked.write(True)
            good, failed = separate(list(state.waiting.take()))
            state.waiting.put_back(good)
            if failed:
                yield Replies.of(failed)
        if (yield from self._slice(key, state)):
            drain.set(window.max_timestamp())


class DispatchAtOnce(_ForBounded):
    """``(shard, batches as bytes) -> Sequence[Reply]`` for input that ends, all of a shard in one call, without state.

    For runners whose state or timers cannot be built upon. Nothing is committed on the way, but those that are known
    keep nothing either.
    """

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[Sequence[Reply]]:
        key = element[0]
        self._recorder.refresh()
        good, failed = separate(list(element[1]))
        if failed:
            yield Replies.of(failed)
        next_firing = in_memory()
        state = next_firing()
        state.waiting.put_back(good)
        while (yield from self._slice(key, state)):
            state = next_firing()


class DispatchUnbounded(_Dispatch):
    """For input that does not end: real-time timers that never block, and a drain at the end of the watermark."""

    _is_bounded = False

    LINGER = TimerSpec("linger", TimeDomain.REAL_TIME)
    TICK = TimerSpec("tick", TimeDomain.REAL_TIME)
    DRAIN = TimerSpec("drain", TimeDomain.WATERMARK)
    LINGERING = ReadModifyWriteStateSpec("lingering", BooleanCoder())
    """Whether the linger timer is set. Setting it again for each element would postpone it for ever under load."""

    def process(
        self,
        element: tuple[str, bytes],
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(INBOX),
        lingering: Any = beam.DoFn.StateParam(LINGERING),
        linger: Any = beam.DoFn.TimerParam(LINGER),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> Iterator[Any]:
        good, failed = separate([element[1]], compare=False)
        for blob in good:
            waiting.add(blob)
        if failed:
            yield _now(failed)
        if good and not lingering.read():
            lingering.write(True)
            linger.set(_in(self._settings.batching.max_wait))
            drain.set(window.max_timestamp())

    @on_timer(LINGER)
    @with_state
    def on_linger(
        self,
        state: KeyedState,
        key: Any = beam.DoFn.KeyParam,
        lingering: Any = beam.DoFn.StateParam(LINGERING),
        linger: Any = beam.DoFn.TimerParam(LINGER),
        tick: Any = beam.DoFn.TimerParam(TICK),
    ) -> Iterator[Any]:
        """Admits what waited long enough."""
        turn = ShardTurn(self._step, key, state)
        yield from map(_now, Refill(turn).run())
        if turn.waiting:
            linger.set(_in(max(1.0, self._settings.batching.max_wait)))
        else:
            lingering.clear()
        if turn.shard.jobs:
            tick.set(_in(0.0))
        turn.write()

    @on_timer(TICK)
    @with_state
    def on_tick(
        self,
        state: KeyedState,
        key: Any = beam.DoFn.KeyParam,
        lingering: Any = beam.DoFn.StateParam(LINGERING),
        linger: Any = beam.DoFn.TimerParam(LINGER),
        tick: Any = beam.DoFn.TimerParam(TICK),
    ) -> Iterator[Any]:
        """Acts on what is due, and never waits."""
        turn = ShardTurn(self._step, key, state)
        owes_turn = yield from self._act(turn)
        wake = self._step.listener.wake(turn.shard)
        if owes_turn:
            tick.set(_in(0.05))
        elif wake is not None:
            tick.set(_in(max(wake - clock.now(), 0.05)))
        if (turn.has_put_back or wake is None) and not lingering.read() and turn.waiting:
            # What came from a job and waits again: nothing else would look at it.
            lingering.write(True)
            linger.set(_in(0.0))
        turn.write()

    @on_timer(DRAIN)
    @with_state
    def on_drain(
        self,
        state: KeyedState,
        key: Any = beam.DoFn.KeyParam,
        window: Any = beam.DoFn.WindowParam,
        linger: Any = beam.DoFn.TimerParam(LINGER),
        tick: Any = beam.DoFn.TimerParam(TICK),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> Iterator[Any]:
        """The input has ended after all: waits, as bounded input does, until nothing is open."""
        # A real-time timer that is still set makes Flink spin for ever once the source has ended.
        linger.clear()
        tick.clear()
        turn = ShardTurn(self._step, key, state)
        turn.await_due()
        owes_turn = yield from self._act(turn)
        yield from map(_now, Refill(turn).run())
        must_wait = turn.waits_for_a_trial
        turn.write()
        if must_wait:
            clock.pause(min(_LOOK_AGAIN, self._step.polling.first))
        if turn.shard.jobs or owes_turn or must_wait:
            drain.set(window.max_timestamp())

    def _act(self, turn: ShardTurn) -> Generator[Any, None, bool]:
        """Acts on what is due; the caller writes the state.

        Returns:
            Whether the shard's events are to be acknowledged by another turn.
        """
        turn.apply_events()
        yield from map(_now, DueJobs(turn).run())
        # The state is kept and tried again, slowly: a stream outlives a revoked token.
        self._count(metrics.ACCOUNT_TROUBLE, len(turn.halts))
        turn.report()
        return self._step.listener.expect(turn.key, turn.shard)


def _in(seconds: float) -> Timestamp:
    """When a real-time timer is to fire."""
    return Timestamp.of(clock.wall_in(seconds))


def _now(value: Sequence[Reply]) -> TimestampedValue:
    """Stamps an output with the present: with its document's own timestamp it would be late and silently dropped."""
    return TimestampedValue[Replies](Replies.of(value), Timestamp.of(time.time()))
