"""A limit of requests a minute, counted in whole minutes [observed: per minute, not by concurrency].

A test may make the minute shorter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Allowance:
    """What a limit says to a request.

    Attributes:
        limit: Requests a minute.
        left: How many more this minute.
        reset: Whole seconds until the next minute, at least 1.
        refused: Whether this one is over the limit.
        told: Whether the headers tell it.
    """

    limit: int
    left: int
    reset: int
    refused: bool
    told: bool = True

    def headers(self) -> Mapping[str, str]:
        """Return the headers that tell it [documented: changelog fundamentals 2025-09-03].

        That they come with every reply of Workers AI is assumed; ``retry-after`` comes with a refusal only.
        """
        if not self.told:
            return {}
        told = {
            "Ratelimit": f'"default";r={self.left};t={self.reset}',
            "Ratelimit-Policy": f'"default";q={self.limit};w=60',
        }
        return {**told, "Retry-After": str(self.reset)} if self.refused else told


class MinuteLimit:
    """Counts requests by key and calendar minute.

    Args:
        per_minute: How many a minute are let through; None lets all through.
        minute: Seconds that a minute has.
        told: Whether headers tell what is left.
    """

    def __init__(self, per_minute: int | None, minute: float = 60.0, *, told: bool = True) -> None:
        self._per_minute = per_minute
        self._seconds = minute
        self._told = told
        self._minute = -1
        self._counts: dict[tuple[str, str], int] = {}

    def take(self, key: tuple[str, str], now: float) -> Allowance | None:
        """Count a request and say what is left; None without a limit."""
        if self._per_minute is None:
            return None
        minute = int(now // self._seconds)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        count = self._counts[key] = self._counts.get(key, 0) + 1
        reset = max(1, math.ceil((minute + 1) * self._seconds - now))
        return Allowance(
            self._per_minute, max(0, self._per_minute - count), reset, count > self._per_minute, self._told
        )
