"""A service that is too busy, and clients that ask it through a `Gate`: simulated, so that hours pass at once."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from kimi_beam.network.pacing import Gate


@dataclass
class Service:
    """Refuses what is over its limits.

    Attributes:
        capacity: Requests at once, by the time; infinity takes all.
        per_minute: Requests in a calendar minute.
        retry_after: Whether a refusal says how long the minute still lasts.
        latency: Seconds that an answer takes; a refusal takes a hundredth of it.
        accepted: When each request that was taken on came.
        refused: When each that was not.
    """

    capacity: Callable[[float], float] = lambda now: math.inf
    per_minute: float = math.inf
    retry_after: bool = False
    latency: float = 1.0
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    busy: int = 0

    def takes(self, now: float) -> bool:
        minute = now // 60
        counted = sum(1 for t in itertools.takewhile(lambda t: t // 60 == minute, reversed(self.accepted)))
        good = self.busy < self.capacity(now) and counted < self.per_minute
        (self.accepted if good else self.refused).append(now)
        self.busy += good
        return good

    def says(self, now: float) -> float | None:
        return 60 - now % 60 if self.retry_after and self.busy < self.capacity(now) else None


def simulate(
    service: Service, gates: list[Gate], documents: int, *, at_once: int = 64, seed: int = 0, until: float = 1e6
) -> list[list[float]]:
    """Has each gate's process send its documents, `at_once` of them waiting for their turn in line.

    Returns:
        For each process, when its documents were answered, in the order in which they were handed in.
    """
    chance = random.Random(seed)
    order = itertools.count()
    events: list[tuple[float, int, Callable[[float], None]]] = []
    done: list[list[float]] = [[math.nan] * documents for _ in gates]

    def at(time: float, what: Callable[[float], None]) -> None:
        heapq.heappush(events, (time, next(order), what))

    def process(gate: Gate, times: list[float]) -> Callable[[float], None]:
        waiting: deque[int] = deque()
        left = iter(range(documents))
        woken = [math.inf]

        def fill() -> None:
            waiting.extend(itertools.islice(left, at_once - len(waiting) - gate.in_flight))

        def pump(now: float) -> None:
            if now >= woken[0]:
                woken[0] = math.inf
            while waiting:
                wait = gate.acquire(now)
                if wait:
                    if now + wait < woken[0]:
                        woken[0] = now + wait
                        at(now + wait, pump)
                    return
                send(waiting.popleft(), now)

        def send(document: int, now: float) -> None:
            taken = service.takes(now)
            wait = service.says(now)
            seconds = service.latency * (0.5 + chance.random()) * (1 if taken else 0.01)

            def heard(then: float) -> None:
                if taken:
                    service.busy -= 1
                    times[document] = then
                    gate.answered(now)
                else:
                    gate.throttled(now, then, lambda k: min(60.0, 2.0**k) * (0.1 + 0.9 * chance.random()))
                    if wait is not None:
                        gate.block_until(then + wait)
                    waiting.appendleft(document)
                gate.release()
                fill()
                pump(then)

            at(now + seconds, heard)

        fill()
        return pump

    for gate, times in zip(gates, done, strict=True):
        at(0.0, process(gate, times))
    while events and events[0][0] < until:
        time, _, what = heapq.heappop(events)
        what(time)
    return done
