"""How fast a process may ask: requests a minute, and "not before" by the service's own word.

Pure but for its memory: the time is an argument. One `Pace` is shared by all that a process sends to one service.
"""

from __future__ import annotations

from collections import deque

MINUTE = 60.0


class Pace:
    """Says how long the next request has to wait.

    Cloudflare counts by the minute, not by concurrency (bug reports); whether its minute slides is not known, so no 60
    seconds ever see more than the limit.

    Args:
        per_minute: Requests in any minute; None is no limit.
    """

    def __init__(self, per_minute: int | None = None) -> None:
        self._times: deque[float] = deque(maxlen=per_minute or 0)
        self._from = 0.0

    def take(self, now: float) -> float:
        """Takes the next place, if there is one.

        Args:
            now: Seconds.

        Returns:
            0 when the request may be sent, and is counted; else the seconds after which to ask again.
        """
        wait = self._from - now
        if self._times.maxlen and len(self._times) == self._times.maxlen:
            wait = max(wait, self._times[0] + MINUTE - now)
        if wait > 0:
            return wait
        self._times.append(now)
        return 0.0

    def hold(self, until: float) -> None:
        """Nothing before this time."""
        self._from = max(self._from, until)
