"""The Beam coder of `Replies`, which `Dispatch` and `Request` yield."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from apache_beam import coders

from kimi_beam.columnar import Replies
from kimi_beam.types.reply import Reply

__all__ = ["Replies"]

_ABOUT = 1_000
"""An estimate of the size in bytes of one reply, with document and answer."""


class _RepliesCoder(coders.Coder):
    """Pickles replies, and estimates their size without pickling them.

    Beam's SDK asks for the size of every element at first and of some elements later. `Settle` runs in the same stage,
    so that nothing is ever encoded, but to pickle hundreds of replies only for their size took a tenth of all CPU.
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
