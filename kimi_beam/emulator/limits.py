"""A limit of requests per calendar minute [observed: per minute, not by concurrency]. A test may shorten the minute."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Allowance:
    """The state of a limit after a request.

    Attributes:
        limit: Requests per minute.
        remaining: How many more are allowed this minute.
        reset: Whole seconds until the next minute, at least 1.
        refused: Whether this request is over the limit.
        in_headers: Whether the headers of replies report the limit.
    """

    limit: int
    remaining: int
    reset: int
    refused: bool
    in_headers: bool = True

    def headers(self) -> Mapping[str, str]:
        """Return the headers that report the limit [documented: changelog fundamentals 2025-09-03].

        It is assumed that every reply of Workers AI has them. Only a refusal has ``retry-after``.
        """
        if not self.in_headers:
            return {}
        header_values = {
            "Ratelimit": f'"default";r={self.remaining};t={self.reset}',
            "Ratelimit-Policy": f'"default";q={self.limit};w=60',
        }
        return {**header_values, "Retry-After": str(self.reset)} if self.refused else header_values


class MinuteLimit:
    """Counts requests by key and calendar minute.

    Args:
        per_minute: How many requests are allowed per minute; None allows all.
        minute: The length of a minute in seconds.
        in_headers: Whether the headers of replies report the limit.
    """

    def __init__(self, per_minute: int | None, minute: float = 60.0, *, in_headers: bool = True) -> None:
        self._per_minute = per_minute
        self._seconds = minute
        self._in_headers = in_headers
        self._minute = -1
        self._counts: dict[tuple[str, str], int] = {}

    def take(self, key: tuple[str, str], now: float) -> Allowance | None:
        """Count a request and return the state of the limit; None without a limit."""
        if self._per_minute is None:
            return None
        minute = int(now // self._seconds)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        count = self._counts[key] = self._counts.get(key, 0) + 1
        reset = max(1, math.ceil((minute + 1) * self._seconds - now))
        return Allowance(
            self._per_minute, max(0, self._per_minute - count), reset, count > self._per_minute, self._in_headers
        )
