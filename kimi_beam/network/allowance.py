"""How much one process may send to a service now: its gates, its share of the job's rate, and the account's quota.

All shards, bundles and steps of a process share one `Allowance` for each model and one `Quota` for each account. They
reach both through their client.
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
"""Seconds after which a waiting line asks its gate again, as this process's share of the rate may have grown."""


@dataclass
class Quota:
    """The day's allocation of an account.

    Attributes:
        spent: The service's error when it was used up; None while the service has reported none.
        until: When it is renewed, in Unix seconds; 0 while the service has reported no error.
    """

    spent: ServiceError | None = None
    until: float = 0.0

    def mark_spent(self, error: ServiceError, until: float) -> None:
        """Records that the quota is used up until a time in Unix seconds."""
        self.spent, self.until = error, until

    def spent_error(self, now: float) -> ServiceError | None:
        """The service's error while the quota is used up, else None."""
        return self.spent if now < self.until else None


class Allowance:
    """What one process may send to one model of an account.

    Attributes:
        runs: Where synchronous requests wait for their turn.
        submits: The gate that submits to the queue have to pass.
        polls: The gate that polls of the queue have to pass.
    """

    def __init__(self, service: WorkersAI) -> None:
        self.runs = WaitingLine(Gate(service.pace))
        self.submits = Gate(service.submit_pace)
        self.polls = Gate(service.poll_pace)
        self._claimed: dict[Hashable, tuple[int, set[Hashable]]] = {}
        self._lock = threading.Lock()

    def claim_share(self, step: Hashable, shard: Hashable, total_shards: int) -> None:
        """Claims a shard's share of the requests a minute for this process, until `release_share`.

        Args:
            step: The step of the pipeline that the shard belongs to. Steps share one limit, so the step with the
                largest share decides.
            shard: The shard's key. A runner works on a shard in one process at a time, so no two processes claim it.
            total_shards: How many shards the step has in all processes together; 1 if this process has them all.
        """
        with self._lock:
            self._claimed.setdefault(step, (total_shards, set()))[1].add(shard)
            self._update_share()

    def release_share(self, step: Hashable, shard: Hashable) -> None:
        """Gives a shard's share back: it is done, or another process works on it now."""
        with self._lock:
            if step in self._claimed:
                self._claimed[step][1].discard(shard)
                self._update_share()

    def forget_step(self, step: Hashable) -> None:
        """Gives back all shares of a step that is over."""
        with self._lock:
            self._claimed.pop(step, None)
            self._update_share()

    def _update_share(self) -> None:
        # A process that works on no shard at the moment still gets the share of one, so that it can send at all.
        shares = (Fraction(max(1, len(shards)), total) for total, shards in self._claimed.values())
        share = max(shares, default=Fraction(1))
        for gate in (self.runs.gate, self.submits, self.polls):
            gate.pace.share = share


class SendSlots:
    """The slots of a gate for requests that are sent together. A context manager: leaving it releases the slots.

    Args:
        gate: The gate that the requests have to pass.
        wanted: How many requests are ready to be sent.
        polling: Bounds the waits after "come back later".
        name: The id of one of the requests, which the jitter of a wait is drawn from.

    Attributes:
        count: How many of them may be sent now.
    """

    def __init__(self, gate: Gate, wanted: int, polling: Polling, name: str) -> None:
        self._gate, self._polling, self._name = gate, polling, name
        self._sent, self._wait, self.count = time.monotonic(), 0.0, 0
        while self.count < wanted and not self._wait:
            self._wait = gate.acquire(self._sent)
            self.count += not self._wait

    def retry_at(self, now: float) -> float:
        """When there may be slots for the remaining requests; 0 if all of them have one.

        Args:
            now: The current time, in Unix seconds as the result is.
        """
        # An infinite wait means that another thread's request has to end first, and nobody knows when it will.
        wait = self._wait if self._wait < math.inf else self._polling.backoff(self._name, 0)
        return wait and now + wait

    def observe(self, reply: Exchange, now: float) -> None:
        """Adapts the gate, which the whole process shares, to what a reply says about the service's load."""
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

    def __enter__(self) -> SendSlots:
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.release(self.count)


@dataclass
class WaitingLine:
    """The synchronous requests that wait for a gate, first come, first served. Used on the event loop alone.

    Attributes:
        gate: The gate that the requests have to pass.
    """

    gate: Gate
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _timer: asyncio.TimerHandle | None = None

    def join(self, *, at_front: bool = False) -> asyncio.Future[None]:
        """Joins the line. Call `leave` with the result when the request is over, however it ended.

        Args:
            at_front: Whether to stand first in line, as for a request whose turn had come before and that the service
                told to come back later.

        Returns:
            A future that is done when the request may be sent.
        """
        turn = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if at_front else self._waiting.append)(turn)
        self._move()
        return turn

    def leave(self, turn: asyncio.Future[None]) -> None:
        """Leaves the line, or, for a request that was let through, releases its slot of the gate."""
        if turn.done() and not turn.cancelled():
            self.gate.release()
        turn.cancel()
        self._move()

    def _move(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            if not self._waiting[0].cancelled():
                wait = self.gate.acquire(time.monotonic())
                if wait:
                    if wait < math.inf:  # an infinite wait ends when a request releases its slot, which calls `_move`
                        self._timer = asyncio.get_running_loop().call_later(min(wait, _LONGEST_SLEEP), self._move)
                    return
                self._waiting[0].set_result(None)
            self._waiting.popleft()


_allowances = PerProcess[Allowance]()
_quotas = PerProcess[Quota]()


def allowance_of(service: WorkersAI) -> Allowance:
    """The allowance of this process for a model: Cloudflare limits each account and model as a whole."""
    paces = service.pace, service.submit_pace, service.poll_pace
    return _allowances.get((_account(service), service.model, paces), lambda: Allowance(service))


def quota_of(service: WorkersAI) -> Quota:
    """What this process knows of an account's quota."""
    return _quotas.get(_account(service), Quota)


def forget_quotas() -> None:
    """Lets the next pipeline of this process ask the service anew: the account may have another plan by then."""
    _quotas.forget_all()


def _account(service: WorkersAI) -> tuple[Hashable, ...]:
    return service.root, service.account_id
