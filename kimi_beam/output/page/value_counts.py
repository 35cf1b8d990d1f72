"""`ValueCounts`: how many different values there are and which are the most frequent, in bounded memory."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import Any

_EXACT_UP_TO = 100_000
"""So many different values are told apart one by one. Of more, a share is, by which all are estimated."""
_KEPT = 20_000
"""The most values whose frequency is counted."""
_TOP = 12
"""So many of the most frequent values are named."""
_LONGEST = 160
"""A longer value is named by its beginning."""


class ValueCounts:
    """Counts texts.

    A value counts as one of a share of all if its hash ends in so many zeros, so that the number of different values
    is the number of those in the share, times what it is a share of.
    """

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self._zeros = 0
        self._counts: Counter[str] = Counter()
        self._all_counted = True

    def add(self, value: str) -> None:
        """Counts a value."""
        shown = value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
        self._counts[shown] += 1
        if len(self._counts) > _KEPT:
            self._counts = Counter(dict(self._counts.most_common(_KEPT // 2)))
            self._all_counted = False
        if self._counts[shown] > 1 and shown is value:
            return  # its hash is known, as is that of most values
        found = int.from_bytes(blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        if found & ((1 << self._zeros) - 1):
            return
        self._hashes.add(found)
        while len(self._hashes) > _EXACT_UP_TO:
            self._zeros += 1
            self._hashes = {one for one in self._hashes if not one & ((1 << self._zeros) - 1)}

    def to_json(self) -> dict[str, Any]:
        """The counts as a JSON object.

        ``distinct_is_exact`` is false where ``distinct`` is an estimate. ``top`` are pairs of a value and how often it
        occurs, which is at least so often where ``top_is_exact`` is false.
        """
        return {
            "distinct": len(self._hashes) << self._zeros,
            "distinct_is_exact": not self._zeros,
            "top": self._counts.most_common(_TOP),
            "top_is_exact": self._all_counted,
        }
