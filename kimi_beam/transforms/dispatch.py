"""`Dispatch`: stateful DoFns that submit and poll the batches of each shard, for bounded input and for streams.

The reasons for this design, each measured on the runners:

* It is keyed by shard, not by job, so that everything due is polled at once, and it works in the global window: keyed
  state is dropped when its window expires.
* Bounded input sets only a WATERMARK timer, which is set again until there are no more jobs. A REAL_TIME timer would be
  dropped by the default DirectRunner, which then ends with success and no output, and would hang Flink streaming.
* Unbounded input sets REAL_TIME timers, which never block, and a WATERMARK timer that finishes the rest at the end.
* State is bytes in several bags, because a runner reads and rewrites a bag as a whole (`kimi_beam.queue.state_layout`).
"""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.coders import BooleanCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from kimi_beam.columnar import Replies
from kimi_beam.journal.recorder import Recorder
from kimi_beam.network.shared_clients import connect, disconnect
from kimi_beam.queue.due_jobs import DueJobs
from kimi_beam.queue.event_listener import Listener
from kimi_beam.queue.refill import Refill
from kimi_beam.queue.shard_turn import ShardTurn
from kimi_beam.queue.state_layout import KeyedState
from kimi_beam.queue.step import Step
from kimi_beam.report import metrics
from kimi_beam.report.outcomes import OutcomesHandle
from kimi_beam.request.checks import separate
from kimi_beam.service import clock
from kimi_beam.transforms.counters import Counters
from kimi_beam.transforms.reading_again import read_again
from kimi_beam.transforms.run_instead import run_instead
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.transforms.state import INBOX, in_memory, with_state
from kimi_beam.types.reply import Reply

_LOOK_AGAIN = 0.25
"""Seconds that a shard waits for the trial of another one in a turn: few, as the other may need the same thread."""


class _Dispatch(beam.DoFn):
    """The set-up that all versions share.

    Args:
        settings: The settings of the `Extract`.
        outcomes_handle: Finds the outcomes of the `Extract` on each worker.
        rate_shares: How many shares the job's requests a minute are split into: one for each shard, or 1 if all
            workers are in this process.
    """

    def __init__(self, settings: ExtractSettings, outcomes_handle: OutcomesHandle, rate_shares: int) -> None:
        self._settings, self._outcomes_handle, self._rate_shares = settings, outcomes_handle, rate_shares
        self._identity = uuid.uuid4().hex  # pickled with the DoFn, so that it is the same on each worker
        self._counters = Counters()

    _is_bounded = True
    """Whether the input is bounded, so that trouble with the account ends the job."""

    def setup(self) -> None:
        settings = self._settings
        # The journal comes first, as it may be refused.
        self._budget = settings.budget_of(self._outcomes_handle.name, self._rate_shares)
        has_budget = self._budget is not None
        self._recorder = Recorder(settings.journaling, settings.prompt, settings.service, has_budget=has_budget)
        self._client = connect(
            settings.service, settings.prompt.prefix, settings.max_concurrency, settings.max_submits_at_once
        )
        pulled = functools.partial(self._count, metrics.EVENT_PULLS)
        self._step = Step(
            prompt=settings.prompt,
            parts=settings.parts,
            batching=settings.batching,
            polling=settings.polling,
            client=self._client,
            journal=self._recorder,
            listener=Listener(settings.events, self._client, self._identity, settings.polling.deadline, pulled),
            outcomes=self._outcomes_handle.outcomes,
            count=self._count,
            measure=self._counters.measure,
            read_again=read_again,
            run_instead=self._run_instead if settings.service.fallback_api is not None else None,
            max_in_flight=settings.max_in_flight,
            submits_at_once=settings.max_submits_at_once,
            rate_shares=self._rate_shares,
            may_repeat=settings.may_repeat,
            grace=settings.journaling.grace if settings.journaling else 0.0,
            is_bounded=self._is_bounded,
            coerce=settings.coerce,
            repairs=settings.repairs,
            budget=settings.submit_budget(self._budget),
            samples=settings.samples,
        )

    def teardown(self) -> None:
        if hasattr(self, "_client"):  # it is missing if set-up failed
            disconnect(self._client)

    def _count(self, name: str, by: int = 1) -> None:
        self._counters.count(name, by)

    def _run_instead(self, blob: bytes, shard: str) -> Iterator[Sequence[Reply]]:
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
            budget=self._settings.request_budget(self._budget, shard, waits=False),
        )


class _ForBounded(_Dispatch):
    """One turn of a shard of bounded input. It is taken only after all documents of the shard have arrived."""

    def _take_turn(self, key: str, state: KeyedState) -> Generator[Sequence[Reply], None, bool]:
        """Waits until a job is due, submits and polls all jobs that are due, and makes jobs of batches that wait.

        Returns:
            Whether the shard needs another turn.
        """
        step, turn = self._step, ShardTurn(self._step, key, state)
        turn.await_due()
        committed = {job.request_id for job in turn.shard.jobs}
        yield from turn.leaving(DueJobs(turn).run())
        # An error would lose the request id of a job that was accepted in this turn, and a retry would submit it
        # again. So the error is raised in a turn without such a job.
        if all(job.request_id in committed for job in turn.shard.jobs):
            if turn.halts:
                raise self._settings.service.account_error(turn.halts[0].error)
            step.outcomes.check_forms(len(step.prompt.forms))
        # Refill only when a quarter of the slots are free: reading a bag costs the same for one batch as for all.
        if len(turn.shard.jobs) <= step.max_in_flight * 3 // 4:
            yield from turn.leaving(Refill(turn).run())
        must_wait = turn.waits_for_a_trial
        turn.write()
        turn.report()
        if must_wait:
            clock.pause(min(_LOOK_AGAIN, step.polling.first))
        return step.listener.expect(key, turn.shard) or bool(turn.shard.jobs) or must_wait or turn.has_waiting_again


class DispatchBounded(_ForBounded):
    """``(shard, batch as bytes) -> Sequence[Reply]`` for bounded input, a turn at each firing of a timer."""

    DRAIN = TimerSpec("drain", TimeDomain.WATERMARK)
    CHECKED = ReadModifyWriteStateSpec("checked", BooleanCoder())
    """Set once the ids of the shard have been compared."""

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
        """Takes a turn of the shard, and sets the timer again if it needs another one."""
        if not checked.read():
            # The shard's first turn, perhaps once more because a worker was lost, which may have written to the
            # journal.
            self._recorder.refresh()
            checked.write(True)
            sendable, failed = separate(list(state.waiting.take()))
            state.waiting.put_at_front(sendable)
            if failed:
                yield Replies.of(failed)
        if (yield from self._take_turn(key, state)):
            drain.set(window.max_timestamp())


class DispatchAtOnce(_ForBounded):
    """``(shard, batches as bytes) -> Sequence[Reply]`` for bounded input, all turns of a shard in one call.

    For runners whose state or timers cannot be relied on (`keeps_state`). No checkpoint is taken: if the bundle fails
    it starts over. These runners have no durable state anyway.
    """

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[Sequence[Reply]]:
        key = element[0]
        self._recorder.refresh()
        sendable, failed = separate(list(element[1]))
        if failed:
            yield Replies.of(failed)
        next_turn_state = in_memory()
        state = next_turn_state()
        state.waiting.put_at_front(sendable)
        while (yield from self._take_turn(key, state)):
            state = next_turn_state()


class DispatchUnbounded(_Dispatch):
    """``(shard, batch as bytes) -> Sequence[Reply]`` for unbounded input, by real-time timers that never block."""

    _is_bounded = False

    LINGER = TimerSpec("linger", TimeDomain.REAL_TIME)
    TICK = TimerSpec("tick", TimeDomain.REAL_TIME)
    DRAIN = TimerSpec("drain", TimeDomain.WATERMARK)
    LINGERING = ReadModifyWriteStateSpec("lingering", BooleanCoder())
    """Whether the linger timer is set. If each element set it again, it would never fire under load."""

    def process(
        self,
        element: tuple[str, bytes],
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(INBOX),
        lingering: Any = beam.DoFn.StateParam(LINGERING),
        linger: Any = beam.DoFn.TimerParam(LINGER),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> Iterator[Any]:
        sendable, failed = separate([element[1]], compare=False)
        for blob in sendable:
            waiting.add(blob)
        if failed:
            yield _now(failed)
        if sendable and not lingering.read():
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
        """Makes jobs of batches that have waited for `Batching.max_wait`."""
        turn = ShardTurn(self._step, key, state)
        yield from map(_now, turn.leaving(Refill(turn).run()))
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
        """Submits and polls the jobs that are due, without waiting."""
        turn = ShardTurn(self._step, key, state)
        needs_turn = yield from self._act(turn)
        wake = self._step.listener.wake(turn.shard)
        if needs_turn:
            tick.set(_in(0.05))
        elif wake is not None:
            tick.set(_in(max(wake - clock.now(), 0.05)))
        if (turn.has_waiting_again or wake is None) and not lingering.read() and turn.waiting:
            # Batches were put back in line, and no other timer would take them out.
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
        """The stream has ended: takes turns that wait, as bounded input does, until there are no more jobs."""
        # A real-time timer that is still set makes Flink spin for ever once the source has ended.
        linger.clear()
        tick.clear()
        turn = ShardTurn(self._step, key, state)
        turn.await_due()
        needs_turn = yield from self._act(turn)
        yield from map(_now, turn.leaving(Refill(turn).run()))
        must_wait = turn.waits_for_a_trial
        turn.write()
        if must_wait:
            clock.pause(min(_LOOK_AGAIN, self._step.polling.first))
        if turn.shard.jobs or needs_turn or must_wait or turn.has_waiting_again:
            drain.set(window.max_timestamp())

    def _act(self, turn: ShardTurn) -> Generator[Any, None, bool]:
        """Submits and polls the jobs that are due. The caller writes the state.

        Returns:
            Whether the shard needs another turn to acknowledge its events.
        """
        turn.apply_events()
        yield from map(_now, turn.leaving(DueJobs(turn).run()))
        # A stream goes on if the account is turned away: its jobs stay and are tried again later.
        self._count(metrics.ACCOUNT_TROUBLE, len(turn.halts))
        turn.report()
        return self._step.listener.expect(turn.key, turn.shard)


def _in(seconds: float) -> Timestamp:
    """The time at which a real-time timer fires, a number of seconds from now."""
    return Timestamp.of(clock.wall_in(seconds))


def _now(value: Sequence[Reply]) -> TimestampedValue:
    """The replies with the present as timestamp: with that of their documents they would be dropped as late."""
    return TimestampedValue[Replies](Replies.of(value), Timestamp.of(time.time()))
