"""How fast a process may ask: requests a minute, and what a service that is too busy teaches.

Pure but for its memory: the time is an argument (seconds of any clock that only goes forward). A `Gate` is shared by
all that a process sends of one kind. What it knows is the process's own: several processes find their parts of what the
service can take by the same rule, as connections that share a line do.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

MINUTE = 60.0

DECREASE = 0.7
"""What a window is multiplied with when the service is too busy. Halving would leave a quarter of it unused."""


class Pace:
    """Requests a minute, or this process's share of them.

    Cloudflare counts by the minute, not by concurrency (bug reports); whether its minute slides is not known, so no 60
    seconds ever see more than the limit. Shares are rounded down for the same reason; one of less than a request a
    minute is a request in several minutes.

    Args:
        per_minute: Requests in any minute; None or 0 is no limit.
    """

    def __init__(self, per_minute: int | None = None) -> None:
        self._per_minute = per_minute or 0
        self._times: deque[float] = deque(maxlen=self._per_minute)
        self.share = Fraction(1)

    def wait(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        if not self._per_minute:
            return 0.0
        mine = self._per_minute * min(self.share, Fraction(1))
        count = max(1, math.floor(mine))
        if len(self._times) < count:
            return 0.0
        return max(0.0, self._times[-count] + MINUTE / min(1.0, float(mine)) - now)

    def sent(self, now: float) -> None:
        """Counts a request."""
        self._times.append(now)


@dataclass(frozen=True, slots=True)
class Window:
    """How many requests may be in flight: additive increase, multiplicative decrease, as TCP has it (RFC 5681).

    It has no bound until the service is too busy for the first time, so that who is never told so never waits.

    Attributes:
        size: Requests; at least 1.
        threshold: Up to here it grows by one for each answer, beyond by one for each window of answers.
        shrunk_at: When it last shrank. Whatever was sent before then tells the same once more.
        in_a_row: Times it was to shrink without an answer between them.
    """

    size: float = math.inf
    threshold: float = math.inf
    shrunk_at: float = -math.inf
    in_a_row: int = 0

    def answered(self, sent: float, in_flight: int) -> Window:
        """What follows from an answer.

        Args:
            sent: When its request was sent.
            in_flight: Requests in flight, this one included. Room that is not used is not widened.
        """
        if self.size == math.inf or sent < self.shrunk_at:
            return self
        step = 0.0 if in_flight + 1 <= self.size else 1.0 if self.size < self.threshold else 1.0 / self.size
        return replace(self, size=self.size + step, in_a_row=0)

    def throttled(self, sent: float, now: float, in_flight: int) -> Window:
        """What follows from "come back later".

        Args:
            sent: When the request was sent.
            now: When the refusal came.
            in_flight: Requests in flight, this one included.
        """
        if sent < self.shrunk_at:
            return self
        if self.in_a_row:  # nothing got through at all: one request at a time finds out when that ends
            return replace(self, size=1.0, shrunk_at=now, in_a_row=self.in_a_row + 1)
        size = max(1.0, DECREASE * min(self.size, in_flight))
        return Window(size, size, now, 1)


class Gate:
    """What one kind of request has to pass, in all threads of a process: pace, window, and "not before".

    Args:
        per_minute: Requests a minute of the whole job; None is no limit.
    """

    def __init__(self, per_minute: int | None = None) -> None:
        self.pace = Pace(per_minute)
        self.window = Window()
        self.in_flight = 0
        self._from = -math.inf
        self._lock = threading.Lock()

    def take(self, now: float) -> float:
        """Takes a place, if there is one; `leave` gives it back.

        Returns:
            0 when the request may be sent, and is counted; else the seconds after which to ask again: infinity where
            only a place that is given back helps.
        """
        with self._lock:
            wait = max(self._from - now, self.pace.wait(now))
            if wait > 0:
                return wait
            if self.in_flight + 1 > self.window.size:
                return math.inf
            self.in_flight += 1
            self.pace.sent(now)
            return 0.0

    def leave(self, count: int = 1) -> None:
        """Gives places back, whatever became of the requests."""
        with self._lock:
            self.in_flight -= count

    def answered(self, sent: float) -> None:
        """The request that was sent then has got its answer."""
        with self._lock:
            self.window = self.window.answered(sent, self.in_flight)

    def throttled(
        self,
        sent: float,
        now: float,
        backoff: Callable[[int], float],
        retry_after: float | None = None,
        longest: float = math.inf,
    ) -> None:
        """The request that was sent then was told to come back later: everybody waits.

        Args:
            sent: When.
            now: When it was told.
            backoff: Seconds to wait, by how often that has happened in a row; asked once for all who are told at once.
            retry_after: Seconds by the service's own word, which is obeyed; None where it gives none.
            longest: Seconds that nobody waits longer than.
        """
        with self._lock:
            before = self.window
            self.window = before.throttled(sent, now, self.in_flight)
            wait = backoff(before.in_a_row) if self.window is not before else 0.0
            if retry_after:  # not all processes at one moment
                wait = max(wait, retry_after + backoff(0))
            self._from = max(self._from, now + min(wait, longest))

    def block_until(self, until: float) -> None:
        """Nothing before this time."""
        with self._lock:
            self._from = max(self._from, until)
