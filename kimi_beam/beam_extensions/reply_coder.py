"""How Beam sees the `Replies` that leave `Dispatch` and `Request`."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from apache_beam import coders

from kimi_beam.columnar import Replies
from kimi_beam.types import Reply

__all__ = ["Replies"]

_ABOUT = 1_000
"""Bytes of one reply, document and answer."""


class _RepliesCoder(coders.Coder):
    """Pickles, and says how much that is without doing it.

    The SDK asks for the size of every element at first and of some later. `Settle` stands in the same stage, so nothing
    is ever encoded, but to pickle hundreds of replies for a figure took a tenth of all CPU.
    """

    def encode(self, value: Sequence[Reply]) -> bytes:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Sequence[Reply]:
        value: Sequence[Reply] = pickle.loads(encoded)  # noqa: S301 - between workers of one job
        return value

    def estimate_size(self, value: Sequence[Reply]) -> int:
        return _ABOUT * len(value)

    def is_deterministic(self) -> bool:
        return False

    def to_type_hint(self) -> Any:
        return Replies


coders.registry.register_coder(Replies, _RepliesCoder)
