"""What a process may send to one service, whoever in it sends: its gates, its part of the job's rate, a spent quota.

Shards, bundles and steps of a process share one `Flow` a model and one `Quota` an account, through their client.
"""

from __future__ import annotations

import asyncio
import functools
import math
import threading
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from fractions import Fraction

from kimi_beam.network.pacing import Gate
from kimi_beam.service.per_process import PerProcess
from kimi_beam.service.polling import Polling
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.wire.envelopes import Exchange, HttpReply, plain_error, spent_for
from kimi_beam.wire.service_errors import Remedy, ServiceError

_LONGEST_SLEEP = 5.0
"""Seconds after which a line looks whether it may move, whatever it was told."""


@dataclass
class Quota:
    """The day's allocation of an account.

    Attributes:
        spent: What the service said when there was nothing left of it.
        until: When it is renewed, in Unix seconds; 0 where it is not spent.
    """

    spent: ServiceError | None = None
    until: float = 0.0

    def spend(self, error: ServiceError, until: float) -> None:
        """There is nothing left of it, until then."""
        self.spent, self.until = error, until

    def is_spent(self, now: float) -> ServiceError | None:
        """What the service said, if there is nothing left of it; else None."""
        return self.spent if now < self.until else None


class Flow:
    """What a process sends to one model of an account.

    Attributes:
        runs: The synchronous requests.
        submits: Of the queue.
        polls: Of the queue.
    """

    def __init__(self, service: WorkersAI) -> None:
        self.runs = Line(Gate(service.pace))
        self.submits = Gate(service.submit_pace)
        self.polls = Gate(service.poll_pace)
        self._held: dict[Hashable, tuple[int, set[Hashable]]] = {}
        self._lock = threading.Lock()

    def claim_share(self, step: Hashable, shard: Hashable, total_shards: int) -> None:
        """Claims a shard's share of the requests a minute for this process, until `release_share`.

        Args:
            step: Whose shard it is: the steps of a pipeline have the same number of requests between them.
            shard: Which; what may be worked on in one place at a time only.
            total_shards: How many parts the whole job has.
        """
        with self._lock:
            self._held.setdefault(step, (total_shards, set()))[1].add(shard)
            self._share()

    def release_share(self, step: Hashable, shard: Hashable) -> None:
        """The shard is done, or worked on elsewhere."""
        with self._lock:
            if step in self._held:
                self._held[step][1].discard(shard)
                self._share()

    def forget(self, step: Hashable) -> None:
        """The step is over."""
        with self._lock:
            self._held.pop(step, None)
            self._share()

    def _share(self) -> None:
        share = max((Fraction(max(1, len(shards)), of) for of, shards in self._held.values()), default=Fraction(1))
        for gate in (self.runs.gate, self.submits, self.polls):
            gate.pace.share = share


class Places:
    """Requests of a thread that are sent together; a context that gives their places back.

    Args:
        gate: What they have to pass.
        wanted: How many there are.
        polling: How long waits are.
        name: Of one of them; jitter is drawn from it.

    Attributes:
        count: How many may be sent.
    """

    def __init__(self, gate: Gate, wanted: int, polling: Polling, name: str) -> None:
        self._gate, self._polling, self._name = gate, polling, name
        self._sent, self._wait, self.count = time.monotonic(), 0.0, 0
        while self.count < wanted and not self._wait:
            self._wait = gate.take(self._sent)
            self.count += not self._wait

    def next(self, now: float) -> float:
        """When there may be places for the others, in Unix seconds as `now` is; 0 where all have one."""
        # A place is free again when another thread's request is over: nobody knows when.
        wait = self._wait if self._wait < math.inf else self._polling.backoff(self._name, 0)
        return wait and now + wait

    def observe(self, reply: Exchange, now: float) -> None:
        """Tells the whole process what it has to know of a reply."""
        if not isinstance(reply, HttpReply):
            return
        longest = self._polling.deadline
        if wait := spent_for(reply):
            self._gate.block_until(time.monotonic() + min(wait, longest))
        error = plain_error(reply, now)
        if error is None and reply.status == 200:
            self._gate.answered(self._sent)
        elif error is not None and error.remedy is Remedy.WAIT:
            backoff = functools.partial(self._polling.backoff, self._name)
            self._gate.throttled(self._sent, time.monotonic(), backoff, error.retry_after, longest)

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.leave(self.count)


@dataclass
class Line:
    """Who waits for a gate, first come, first served. On the event loop of the process's clients.

    Attributes:
        gate: What is waited for.
    """

    gate: Gate
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _timer: asyncio.TimerHandle | None = None

    def join(self, *, again: bool = False) -> asyncio.Future[None]:
        """A place in line: done when the request may be sent. Give it back with `leave`, whatever has become of it.

        Args:
            again: Whether its turn had come and the service had no time: it is the first in line.
        """
        turn = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if again else self._waiting.append)(turn)
        self._move()
        return turn

    def leave(self, turn: asyncio.Future[None]) -> None:
        """Leaves the line, or gives the place behind it back."""
        if turn.done() and not turn.cancelled():
            self.gate.leave()
        turn.cancel()
        self._move()

    def _move(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            if not self._waiting[0].cancelled():
                wait = self.gate.take(time.monotonic())
                if wait:
                    if wait < math.inf:  # meanwhile this process's share may grow
                        self._timer = asyncio.get_running_loop().call_later(min(wait, _LONGEST_SLEEP), self._move)
                    return
                self._waiting[0].set_result(None)
            self._waiting.popleft()


_flows = PerProcess[Flow]()
_quotas = PerProcess[Quota]()


def flow_of(service: WorkersAI) -> Flow:
    """The flow of this process to a model: an account is counted by model, whatever it is asked and by whom."""
    paces = service.pace, service.submit_pace, service.poll_pace
    return _flows.get((_account(service), service.model, paces), lambda: Flow(service))


def quota_of(service: WorkersAI) -> Quota:
    """The quota of an account, as this process knows it."""
    return _quotas.get(_account(service), Quota)


def forget_quotas() -> None:
    """The next pipeline of this process asks anew: meanwhile an account may have got another plan."""
    _quotas.forget_all()


def _account(service: WorkersAI) -> tuple[Hashable, ...]:
    return service.root, service.account_id
