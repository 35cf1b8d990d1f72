"""A limit of requests a minute, counted in whole minutes [observed: per minute, not by concurrency]."""

from __future__ import annotations

import math


class MinuteLimit:
    """Counts requests by key and calendar minute.

    Args:
        per_minute: How many a minute are let through; None lets all through.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._per_minute = per_minute
        self._minute = -1
        self._counts: dict[tuple[str, str], int] = {}

    def wait(self, key: tuple[str, str], now: float) -> int:
        """Count a request; return 0, or the seconds (at least 1) until the next minute if it is over the limit."""
        if self._per_minute is None:
            return 0
        minute = int(now // 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        self._counts[key] = self._counts.get(key, 0) + 1
        return max(1, math.ceil((minute + 1) * 60 - now)) if self._counts[key] > self._per_minute else 0
