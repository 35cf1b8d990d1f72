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

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.coders import BooleanCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from kimi_beam.columnar import Replies
from kimi_beam.queue.jobs import Shard
from kimi_beam.queue.state_layout import KeyedState
from kimi_beam.report import metrics
from kimi_beam.request.checks import separate
from kimi_beam.service import clock
from kimi_beam.transforms.slices import Slices
from kimi_beam.transforms.state import INBOX, in_memory, with_state
from kimi_beam.types import Reply

T = TypeVar("T")

_LOOK_AGAIN = 0.25
"""Seconds after which a shard that waits for another one's trial looks again. The other may need the same thread."""


class _ForBounded(Slices):
    """What both versions for input that ends do: nothing is submitted before all of a shard's documents are there."""

    def _slice(self, key: str, state: KeyedState) -> Generator[Sequence[Reply], None, bool]:
        """Waits for the earliest job that is due, acts on all that are due, and tops up.

        Returns:
            Whether there is more to do.
        """
        held, waiting = state.held, state.waiting
        shard = self._await_due(key, state.shard)
        known = {job.request_id for job in shard.jobs}
        shard, halts = yield from self._act(key, shard, held, waiting, clock.now())
        # Not while a job was accepted beside it: its request id must be committed first, or a retry would submit again.
        if halts and all(job.request_id in known for job in shard.jobs):
            raise self._service.turned_away(halts[0].error)
        if all(job.request_id in known for job in shard.jobs):
            self._outcomes.check_forms(len(self._prompt.forms))
        # By the quarter: a bag is read whole.
        if len(shard.jobs) <= self._max_in_flight * 3 // 4:
            shard = yield from self._top_up(key, shard, held, waiting, clock.now())
        must_wait = not shard.jobs and bool(waiting)  # another shard tries the form that these would be asked for in
        state.write(shard)
        self._report(key, shard)
        if must_wait:
            clock.pause(min(_LOOK_AGAIN, self._polling.first))
        return self._listener.expect(key, shard) or bool(shard.jobs) or must_wait


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


class DispatchUnbounded(Slices):
    """For input that does not end: real-time timers that never block, and a drain at the end of the watermark."""

    _bounded = False

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
            linger.set(_in(self._batching.max_wait))
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
        shard = yield from _all_now(self._top_up(key, state.shard, state.held, state.waiting, clock.now()))
        if state.waiting:
            linger.set(_in(max(1.0, self._batching.max_wait)))
        else:
            lingering.clear()
        if shard.jobs:
            tick.set(_in(0.0))
        state.write(shard)

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
        self._put_back = False
        shard, owes_turn = yield from self._slice(key, state)
        wake = self._listener.wake(shard)
        if owes_turn:
            tick.set(_in(0.05))
        elif wake is not None:
            tick.set(_in(max(wake - clock.now(), 0.05)))
        if (self._put_back or wake is None) and not lingering.read() and state.waiting:
            # What came from a job and waits again: nothing else would look at it.
            lingering.write(True)
            linger.set(_in(0.0))
        state.write(shard)

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
        self._await_due(key, state.shard)
        shard, owes_turn = yield from self._slice(key, state)
        shard = yield from _all_now(self._top_up(key, shard, state.held, state.waiting, clock.now()))
        must_wait = not shard.jobs and bool(state.waiting)
        state.write(shard)
        if must_wait:
            clock.pause(min(_LOOK_AGAIN, self._polling.first))
        if shard.jobs or owes_turn or must_wait:
            drain.set(window.max_timestamp())

    def _slice(self, key: str, state: KeyedState) -> Generator[Any, None, tuple[Shard, bool]]:
        """Acts on what is due; the caller writes the state.

        Returns:
            The shard, and whether its events are to be acknowledged by another turn.
        """
        shard = self._listener.apply_events(key, state.shard)
        shard, halts = yield from _all_now(self._act(key, shard, state.held, state.waiting, clock.now()))
        # The state is kept and tried again, slowly: a stream outlives a revoked token.
        self._count(metrics.ACCOUNT_TROUBLE, len(halts))
        self._report(key, shard)
        return shard, self._listener.expect(key, shard)


def _in(seconds: float) -> Timestamp:
    """When a real-time timer is to fire."""
    return Timestamp.of(clock.wall_in(seconds))


def _now(value: Sequence[Reply]) -> TimestampedValue:
    """Stamps an output with the present: with its document's own timestamp it would be late and silently dropped."""
    return TimestampedValue[Replies](Replies.of(value), Timestamp.of(time.time()))


def _all_now(outputs: Generator[Sequence[Reply], None, T]) -> Generator[Any, None, T]:
    while True:
        try:
            output = next(outputs)
        except StopIteration as end:
            result: T = end.value
            return result
        yield _now(output)
