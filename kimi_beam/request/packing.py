"""Packs documents into batches, greedily, by their number, bytes and tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kimi_beam.errors import ConfigError
from kimi_beam.wire.size_limits import HARD_MAX_BYTES

T = TypeVar("T")


BYTES_PER_TOKEN = 4
"""Estimated, and used for packing alone. Bills use the tokens that the service reports."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How documents are packed into one submit.

    Example:
        >>> kb.Batching(max_items=50, max_bytes=1_000_000)
        Batching(max_items=50, max_bytes=1000000, max_tokens=None, max_wait=5.0)

    Attributes:
        max_items: Documents a batch.
        max_bytes: Bytes of the submit's JSON, and of the metadata that travel beside it. A document larger than this
            goes alone; one whose request is larger than 8 MB is a ``too_large`` dead letter.
        max_tokens: Estimated prompt tokens a batch, at 4 bytes each. None: no such limit.
        max_wait: Seconds that a document of an unbounded input waits for company. Bounded input never waits.

    Raises:
        ConfigError: A limit is not positive, or `max_bytes` is above 8 MB.
    """

    max_items: int = 250
    max_bytes: int = 4_000_000
    max_tokens: int | None = None
    max_wait: float = 5.0

    def __post_init__(self) -> None:
        if self.max_items < 1 or self.max_bytes < 1 or (self.max_tokens is not None and self.max_tokens < 1):
            raise ConfigError("Batching: max_items, max_bytes and max_tokens must be at least 1")
        if self.max_bytes > HARD_MAX_BYTES:
            raise ConfigError(f"Batching: max_bytes is at most {HARD_MAX_BYTES}: the service loses larger jobs")
        if not self.max_wait >= 0:  # NaN fails this comparison too
            raise ConfigError("Batching: max_wait must be a number of seconds from 0 on")


class Packer(Generic[T]):
    """Fills one batch at a time, in the order of arrival."""

    def __init__(self, batching: Batching) -> None:
        self._limits = batching
        self._items: list[T] = []
        self._count = self._bytes = 0

    def add(self, item: T, size: int, count: int = 1) -> list[T]:
        """Adds an item.

        Args:
            item: The item, of any type.
            size: Its bytes in the submit.
            count: How many documents it stands for.

        Returns:
            The batch that was closed to make room for it; empty if there was room.
        """
        closed = self.flush() if self._items and self._is_beyond(count, size) else []
        self._items.append(item)
        self._count += count
        self._bytes += size
        return closed

    def _is_beyond(self, count: int, size: int) -> bool:
        limits = self._limits
        return (
            self._count + count > limits.max_items
            or self._bytes + size > limits.max_bytes
            or (limits.max_tokens is not None and (self._bytes + size) // BYTES_PER_TOKEN > limits.max_tokens)
        )

    def extend(self, items: Sequence[T], sizes: Sequence[int]) -> Iterator[list[T]]:
        """Adds items that stand for one document each; the same as calling `add` for each of them, but faster.

        Args:
            items: The items, of any type.
            sizes: The bytes of each in the submit.

        Yields:
            Each batch that was closed to make room.
        """
        begin = 0
        for index, size in enumerate(sizes):
            if self._count and self._is_beyond(1, size):
                self._items += items[begin:index]
                begin = index
                yield self.flush()
            self._count += 1
            self._bytes += size
        self._items += items[begin:]

    def flush(self) -> list[T]:
        """Closes the batch and returns its items, which may be none."""
        closed, self._items = self._items, []
        self._count = self._bytes = 0
        return closed
