"""How fast a process may send requests: so many a minute, and fewer at a time after the service was too busy.

Nothing here reads a clock: the time is an argument (seconds of any clock that only goes forward). All requests of one
kind that a process sends share a `Gate`. Processes do not share gates. Each adapts by the same rule, so that together
they approach what the service can take, as TCP connections that share a line do.
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
"""The factor by which a window shrinks when the service is too busy. Halving would leave more of the service unused."""


class Pace:
    """Requests a minute, or this process's share of them.

    Cloudflare counts requests by the minute, not by concurrency (bug reports). Whether its minute slides is not known,
    so no span of 60 seconds gets more requests than the limit. Shares are rounded down for the same reason; a share of
    less than one request a minute becomes one request in several minutes.

    Args:
        per_minute: The most requests in any minute, of all processes together; None or 0 means no limit.
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

    The window is unlimited until the first 429, so that a service that never throttles is never slowed.

    Attributes:
        size: The most requests that may be in flight, at least 1; infinite until the service was too busy once.
        threshold: The size up to which it grows by one for each answer; beyond, by one for each window of answers.
        shrunk_at: When it last shrank. Replies to requests that were sent before then are ignored: they tell of the
            same overload again.
        in_a_row: How often the service was too busy since the last answer.
    """

    size: float = math.inf
    threshold: float = math.inf
    shrunk_at: float = -math.inf
    in_a_row: int = 0

    def answered(self, sent: float, in_flight: int) -> Window:
        """The window after an answer.

        Args:
            sent: When the request was sent.
            in_flight: Requests in flight, this one included. A window that is not filled does not grow.
        """
        if self.size == math.inf or sent < self.shrunk_at:
            return self
        step = 0.0 if in_flight + 1 <= self.size else 1.0 if self.size < self.threshold else 1.0 / self.size
        return replace(self, size=self.size + step, in_a_row=0)

    def throttled(self, sent: float, now: float, in_flight: int) -> Window:
        """The window after a reply of "come back later" (429).

        Args:
            sent: When the request was sent.
            now: When the refusal came.
            in_flight: Requests in flight, this one included.
        """
        if sent < self.shrunk_at:
            return self
        if self.in_a_row:  # not one request got through since the last time, so only one at a time is tried
            return replace(self, size=1.0, shrunk_at=now, in_a_row=self.in_a_row + 1)
        size = max(1.0, DECREASE * min(self.size, in_flight))
        return Window(size, size, now, 1)


class Gate:
    """Lets requests of one kind through, in all threads of a process: by pace, by window, and not before a time.

    A request takes a slot of the window with `acquire` before it is sent, and gives it back with `release`.

    Args:
        per_minute: Requests a minute of the whole job; None means no limit.
    """

    def __init__(self, per_minute: int | None = None) -> None:
        self.pace = Pace(per_minute)
        self.window = Window()
        self.in_flight = 0
        self._from = -math.inf
        self._lock = threading.Lock()

    def acquire(self, now: float) -> float:
        """Takes a slot for a request, if one is free.

        Returns:
            0 if the request has its slot and may be sent. Otherwise the seconds after which to ask again: infinity if
            the window is full, so that another request has to end first.
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

    def release(self, count: int = 1) -> None:
        """Gives the slots of requests back that are over, however they ended."""
        with self._lock:
            self.in_flight -= count

    def answered(self, sent: float) -> None:
        """Widens the window after an answer to a request that was sent at that time."""
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
        """Shrinks the window after a reply of "come back later" (429), and makes all requests of this kind wait.

        Args:
            sent: When the request was sent.
            now: When its reply came.
            backoff: Gives the seconds to wait, by how often the service was too busy in a row. Replies that tell of the
                same overload ask it once only.
            retry_after: The seconds of the reply's Retry-After, which is obeyed; None if it has none.
            longest: The longest wait, in seconds.
        """
        with self._lock:
            before = self.window
            self.window = before.throttled(sent, now, self.in_flight)
            wait = backoff(before.in_a_row) if self.window is not before else 0.0
            if retry_after:  # jitter, so that not all processes come back at the same moment
                wait = max(wait, retry_after + backoff(0))
            self._from = max(self._from, now + min(wait, longest))

    def block_until(self, until: float) -> None:
        """Lets no request through before this time."""
        with self._lock:
            self._from = max(self._from, until)
