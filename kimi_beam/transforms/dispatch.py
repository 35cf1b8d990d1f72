"""`Dispatch`: submits and polls in one stateful DoFn a shard, in a version for input that ends and one for streams.

Why it looks as it does (each point measured on the runners):

* It is keyed by shard, not by job, so that everything due is polled at once, and it works in the global window: keyed
  state is dropped when its window expires.
* Bounded input sets only a WATERMARK timer, which re-arms itself until nothing is open. A REAL_TIME timer would be
  dropped by the default DirectRunner, which then ends with success and no output, and hangs Flink streaming.
* Unbounded input sets REAL_TIME timers, which never block, and a WATERMARK timer that drains what is left at the end.
* State is bytes in three cells by how often each is touched: a bag is read and rewritten whole.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.coders import BooleanCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from kimi_beam import dispatch, metrics
from kimi_beam.admission import separate
from kimi_beam.jobs import Shard, decode, encode
from kimi_beam.transforms.slices import Held, Slices
from kimi_beam.types import Reply

T = TypeVar("T")

_MAX_BLOCK = 5.0
"""Seconds that one firing of a timer may wait: bundles stay short, so that a runner can commit between them."""


class _ForBounded(Slices):
    """What both versions for input that ends do: nothing is submitted before all of a shard's documents are there."""

    def _slice(self, key: str, waiting: Any, bag: Any, jobs: Any) -> Generator[list[Reply], None, Shard]:
        """Waits for the earliest job that is due, acts on all that are due, and tops up."""
        shard, held = decode(jobs.read()), Held(bag)
        wake = dispatch.wake(shard)
        if wake is not None:
            time.sleep(min(max(0.0, wake - time.time()), _MAX_BLOCK))
        known = {job.request_id for job in shard.jobs}
        shard, halts = yield from self._act(key, shard, held, waiting, time.time())
        # Not while a job was accepted beside it: its request id must be committed first, or a retry would submit again.
        if halts and all(job.request_id in known for job in shard.jobs):
            raise self._service.turned_away(halts[0].error)
        # By the quarter: a bag is read and rewritten whole.
        if len(shard.jobs) <= self._max_in_flight * 3 // 4:
            shard = yield from self._top_up(shard, held, waiting, time.time())
        held.write()
        jobs.write(encode(shard))
        self._report(key, shard)
        return shard


class DispatchBounded(_ForBounded):
    """``(shard, batch as bytes) -> list[Reply]`` for input that ends, slice by slice."""

    DRAIN = TimerSpec("drain", TimeDomain.WATERMARK)
    CHECKED = ReadModifyWriteStateSpec("checked", BooleanCoder())
    """Set once the ids have been compared."""

    def process(
        self,
        element: tuple[str, bytes],
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(Slices.WAITING),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> None:
        waiting.add(element[1])
        drain.set(window.max_timestamp())

    @on_timer(DRAIN)
    def on_drain(
        self,
        key: Any = beam.DoFn.KeyParam,
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(Slices.WAITING),
        bag: Any = beam.DoFn.StateParam(Slices.HELD),
        jobs: Any = beam.DoFn.StateParam(Slices.JOBS),
        checked: Any = beam.DoFn.StateParam(CHECKED),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> Iterator[list[Reply]]:
        """Does one slice and re-arms until nothing is open."""
        if not checked.read():
            # Here a lost worker's shard begins anew.
            self._recorder.refresh()
            checked.write(True)
            blobs = list(waiting.read())
            good, failed = separate(blobs)
            if failed or len(good) != len(blobs):
                waiting.clear()
                for blob in good:
                    waiting.add(blob)
                yield failed
        shard = yield from self._slice(key, waiting, bag, jobs)
        if shard.jobs:
            drain.set(window.max_timestamp())


class DispatchAtOnce(_ForBounded):
    """``(shard, batches as bytes) -> list[Reply]`` for input that ends, all of a shard in one call, without state.

    For runners whose state or timers cannot be built upon. Nothing is committed on the way, but those that are known
    keep nothing either.
    """

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[list[Reply]]:
        key = element[0]
        self._recorder.refresh()
        good, failed = separate(list(element[1]))
        if failed:
            yield failed
        waiting, bag, jobs = _Bag(good), _Bag(), _Cell()
        shard = yield from self._slice(key, waiting, bag, jobs)
        while shard.jobs:
            shard = yield from self._slice(key, waiting, bag, jobs)


class _Bag(list[Any]):
    """A bag of state that lives in memory."""

    add = list.append

    def read(self) -> list[Any]:
        return list(self)


class _Cell:
    """A value of state that lives in memory."""

    def __init__(self) -> None:
        self._value: bytes | None = None

    def read(self) -> bytes | None:
        return self._value

    def write(self, value: bytes) -> None:
        self._value = value


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
        waiting: Any = beam.DoFn.StateParam(Slices.WAITING),
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
            linger.set(Timestamp.of(time.time() + self._batching.max_wait))
            drain.set(window.max_timestamp())

    @on_timer(LINGER)
    def on_linger(
        self,
        waiting: Any = beam.DoFn.StateParam(Slices.WAITING),
        bag: Any = beam.DoFn.StateParam(Slices.HELD),
        jobs: Any = beam.DoFn.StateParam(Slices.JOBS),
        lingering: Any = beam.DoFn.StateParam(LINGERING),
        linger: Any = beam.DoFn.TimerParam(LINGER),
        tick: Any = beam.DoFn.TimerParam(TICK),
    ) -> Iterator[Any]:
        """Admits what waited long enough."""
        shard, held, now = decode(jobs.read()), Held(bag), time.time()
        shard = yield from _all_now(self._top_up(shard, held, waiting, now))
        held.write()
        jobs.write(encode(shard))
        if any(True for _ in waiting.read()):
            linger.set(Timestamp.of(now + max(1.0, self._batching.max_wait)))
        else:
            lingering.clear()
        if shard.jobs:
            tick.set(Timestamp.of(now))

    @on_timer(TICK)
    def on_tick(
        self,
        key: Any = beam.DoFn.KeyParam,
        waiting: Any = beam.DoFn.StateParam(Slices.WAITING),
        bag: Any = beam.DoFn.StateParam(Slices.HELD),
        jobs: Any = beam.DoFn.StateParam(Slices.JOBS),
        lingering: Any = beam.DoFn.StateParam(LINGERING),
        linger: Any = beam.DoFn.TimerParam(LINGER),
        tick: Any = beam.DoFn.TimerParam(TICK),
    ) -> Iterator[Any]:
        """Acts on what is due, and never waits."""
        self._put_back = False
        shard = yield from self._slice(key, waiting, bag, jobs)
        wake = dispatch.wake(shard)
        if wake is not None:
            tick.set(Timestamp.of(max(wake, time.time() + 0.05)))
        if (self._put_back or wake is None) and not lingering.read() and any(True for _ in waiting.read()):
            # What came from a job and waits again: nothing else would look at it.
            lingering.write(True)
            linger.set(Timestamp.of(time.time()))

    @on_timer(DRAIN)
    def on_drain(
        self,
        key: Any = beam.DoFn.KeyParam,
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(Slices.WAITING),
        bag: Any = beam.DoFn.StateParam(Slices.HELD),
        jobs: Any = beam.DoFn.StateParam(Slices.JOBS),
        linger: Any = beam.DoFn.TimerParam(LINGER),
        tick: Any = beam.DoFn.TimerParam(TICK),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> Iterator[Any]:
        """The input has ended after all: waits, as bounded input does, until nothing is open."""
        # A real-time timer that is still set makes Flink spin for ever once the source has ended.
        linger.clear()
        tick.clear()
        wake = dispatch.wake(decode(jobs.read()))
        if wake is not None:
            time.sleep(min(max(0.0, wake - time.time()), _MAX_BLOCK))
        shard = yield from self._slice(key, waiting, bag, jobs)
        held = Held(bag)
        shard = yield from _all_now(self._top_up(shard, held, waiting, time.time()))
        held.write()
        jobs.write(encode(shard))
        if shard.jobs:
            drain.set(window.max_timestamp())

    def _slice(self, key: str, waiting: Any, bag: Any, jobs: Any) -> Generator[Any, None, Shard]:
        held = Held(bag)
        shard, halts = yield from _all_now(self._act(key, decode(jobs.read()), held, waiting, time.time()))
        # The state is kept and tried again, slowly: a stream outlives a revoked token.
        self._count(metrics.ACCOUNT_TROUBLE, len(halts))
        held.write()
        jobs.write(encode(shard))
        self._report(key, shard)
        return shard


def _now(value: Any) -> TimestampedValue:
    """Stamps an output with the present: with its document's own timestamp it would be late and silently dropped."""
    return TimestampedValue(value, Timestamp.of(time.time()))


def _all_now(outputs: Generator[list[Reply], None, T]) -> Generator[Any, None, T]:
    while True:
        try:
            output = next(outputs)
        except StopIteration as end:
            result: T = end.value
            return result
        yield _now(output)
