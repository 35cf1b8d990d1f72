"""Which batches may try a way of asking that has not worked yet: one at first, while the others wait for its outcome.

Without it, all batches that JSON mode could not be met for (5024) would go on to the next form at once, and to the one
after it: each document would be paid for in each form. What is known here is a process's own and is lost with it. That
costs one more trial; it holds nobody up for ever, because a shard that is not heard of loses its claim after a while.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping

LEASE = 300.0
"""Seconds after which a shard that has not been heard of no longer counts: it has moved to another worker, or ended.
Longer than a firing takes, those of the shards that share its thread included."""

_MOST_DOUBLINGS = 16


class Trials:
    """The batches of this process that try a form which has not worked yet. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[int, dict[str, tuple[int, float]]] = {}
        """By form and shard: how many batches it has in flight, and until when that is believed."""
        self._without_verdict: Counter[int] = Counter()

    def room(self, form: int, shard: str, now: float) -> int:
        """How many batches a shard may have in flight in a form, those that it has already among them.

        Args:
            form: Which form.
            shard: Whose own claim does not count.
            now: Unix seconds.
        """
        with self._lock:
            return self._room(form, shard, now)

    def claim(self, form: int, shard: str, count: int, now: float) -> bool:
        """Claims a form for the batches of a shard, if they may all be in flight.

        Args:
            form: Which form.
            shard: Whose batches they are.
            count: How many the shard would then have in flight, those that it has already among them.
            now: Unix seconds.
        """
        with self._lock:
            if count > self._room(form, shard, now):
                return False
            self._claims.setdefault(form, {})[shard] = count, now + LEASE
            return True

    def has_claims(self, shard: str) -> bool:
        """Whether a shard has to say from time to time what it has in flight."""
        return any(shard in claims for claims in self._claims.values())

    def renew(self, shard: str, counts: Mapping[int, int], now: float) -> None:
        """Takes note of what a shard has in flight now, by form; what it claimed and has no more is free again."""
        with self._lock:
            for form, claims in self._claims.items():
                if count := counts.get(form, 0):
                    claims[shard] = count, now + LEASE
                else:
                    claims.pop(shard, None)

    def ended_without_verdict(self, form: int) -> None:
        """A batch has ended and nobody knows whether the form works: its job failed, or each item did, in other words.

        Twice as many may try it from then on, so that a row of lost jobs does not put the others off one by one.
        """
        with self._lock:
            self._without_verdict[form] = min(self._without_verdict[form] + 1, _MOST_DOUBLINGS)

    def _room(self, form: int, shard: str, now: float) -> int:
        claims = self._claims.get(form, {})
        others = sum(count for name, (count, until) in claims.items() if name != shard and until > now)
        return max(0, (1 << self._without_verdict[form]) - others)


class Turn:
    """Which forms one shard may go on in during one firing.

    Args:
        trials: Of the process.
        is_on_trial: Whether a form has not worked yet, so that only a few batches may try it.
        shard: The shard's key.
        counts: Called, once at most, for what the shard has in flight, by form: it reads the batches.
        now: Unix seconds.
    """

    def __init__(
        self,
        trials: Trials,
        is_on_trial: Callable[[int], bool],
        shard: str,
        counts: Callable[[], Counter[int]],
        now: float,
    ) -> None:
        self._trials, self._is_on_trial, self._shard, self._now = trials, is_on_trial, shard, now
        self._count = counts
        self._counts: Counter[int] | None = None
        self._closed: set[int] = set()

    def is_closed(self, form: int) -> bool:
        """Whether no more batches of this form may be sent before it is known whether it works."""
        if form in self._closed:
            return True
        if not self._is_on_trial(form) or self._in_flight[form] < self._trials.room(form, self._shard, self._now):
            return False
        self._closed.add(form)
        return True

    def take(self, form: int) -> bool:
        """Whether one more batch of this form may be sent; it then counts as sent."""
        if not self._is_on_trial(form):
            return True
        if self._trials.claim(form, self._shard, self._in_flight[form] + 1, self._now):
            self._in_flight[form] += 1
            return True
        self._closed.add(form)
        return False

    @property
    def _in_flight(self) -> Counter[int]:
        if self._counts is None:
            self._counts = self._count()
        return self._counts
