"""Trials of a form that has not worked yet: one batch tries it, while the others wait for its outcome.

Without this, all batches for which JSON mode could not be met (5024) would go on to the next form together, and then
to the one after it, so that each document would be paid for in each form. Every process has its own trials and loses
them when it ends, which costs one more trial. No shard waits for ever, because a claim that is not renewed ends after
a while.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping

LEASE = 300.0
"""Seconds after which a claim ends that was not renewed: its shard has moved to another worker, or ended. It is longer
than a turn of the shard takes together with the turns of all shards on the same thread."""

_MOST_DOUBLINGS = 16
"""How often the number of batches that may try a form is doubled, at most."""


class Trials:
    """The batches of this process that try a form which has not worked yet. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[int, dict[str, tuple[int, float]]] = {}
        """By form and shard: how many batches the shard has in flight, and when the claim ends, in Unix seconds."""
        self._without_verdict: Counter[int] = Counter()

    def allowed(self, form: int, shard: str, now: float) -> int:
        """How many batches a shard may have in flight in a form, including those that it has already.

        Args:
            form: The form's index in `Prompt.forms`.
            shard: The shard's key. Its own claim is not subtracted.
            now: Unix seconds.
        """
        with self._lock:
            return self._allowed(form, shard, now)

    def claim(self, form: int, shard: str, count: int, now: float) -> bool:
        """Claims a form for the batches of a shard, if they may all be in flight.

        Args:
            form: The form's index in `Prompt.forms`.
            shard: The key of the shard that wants to send them.
            count: How many batches the shard would then have in flight, including those that it has already.
            now: Unix seconds.

        Returns:
            Whether they may; if not, nothing is claimed.
        """
        with self._lock:
            if count > self._allowed(form, shard, now):
                return False
            self._claims.setdefault(form, {})[shard] = count, now + LEASE
            return True

    def has_claims(self, shard: str) -> bool:
        """Whether a shard has claims, so that it has to call `renew` at each of its turns."""
        return any(shard in claims for claims in self._claims.values())

    def renew(self, shard: str, counts: Mapping[int, int], now: float) -> None:
        """Renews a shard's claims for what it has in flight now, by form, and ends its claims of other forms."""
        with self._lock:
            for form, claims in self._claims.items():
                if count := counts.get(form, 0):
                    claims[shard] = count, now + LEASE
                else:
                    claims.pop(shard, None)

    def ended_without_verdict(self, form: int) -> None:
        """Records that a batch has ended without showing whether the form works: its job failed, or each of its items.

        From then on twice as many batches may try the form, so that a series of lost jobs does not delay the others one
        by one.
        """
        with self._lock:
            self._without_verdict[form] = min(self._without_verdict[form] + 1, _MOST_DOUBLINGS)

    def _allowed(self, form: int, shard: str, now: float) -> int:
        claims = self._claims.get(form, {})
        others = sum(count for name, (count, until) in claims.items() if name != shard and until > now)
        return max(0, (1 << self._without_verdict[form]) - others)


class FormClaims:
    """Decides for one shard, during one of its turns, in which forms it may send batches.

    Args:
        trials: The trials of the process.
        is_on_trial: Says of a form whether it has not worked yet, so that only a few batches may try it.
        shard: The shard's key.
        counts: Gives how many batches the shard has in flight, by form. It is called at most once, and only if a form
            is on trial, because it has to read the batches.
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
        """Whether this shard may send no more batches in this form before it is known whether the form works."""
        if form in self._closed:
            return True
        if not self._is_on_trial(form) or self._in_flight[form] < self._trials.allowed(form, self._shard, self._now):
            return False
        self._closed.add(form)
        return True

    def claim(self, form: int) -> bool:
        """Claims the form for one more batch. Returns whether the batch may be sent; it then counts as in flight."""
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
