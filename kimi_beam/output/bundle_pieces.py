"""`BundlePieces`: the base of the steps that encode rows and dead letters, several elements of a bundle at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

T = TypeVar("T")


class BundlePieces(beam.DoFn, Generic[T]):
    """``T -> bytes``: encodes elements together once they reach a size, and the rest at the end of the bundle.

    A subclass calls `put` for each element.

    Args:
        encode: Encodes several elements as one piece.
        enough: The total size at which elements are encoded, in the unit of the sizes that `put` is given.
    """

    def __init__(self, encode: Callable[[list[T]], bytes], enough: int) -> None:
        self._encode, self._enough = encode, enough

    def start_bundle(self) -> None:
        self._pending: list[T] = []
        self._size = 0

    def put(self, element: T, size: int) -> Iterable[bytes]:
        """Adds one element.

        Args:
            element: The element to be encoded.
            size: Its size, in rows or bytes.

        Returns:
            The piece that the element completes; empty if the piece is not complete yet.
        """
        self._pending.append(element)
        self._size += size
        return (self._flush(),) if self._size >= self._enough else ()

    def finish_bundle(self) -> Iterator[Any]:
        if self._pending:
            yield WindowedValue(self._flush(), GlobalWindow().max_timestamp(), [GlobalWindow()])

    def _flush(self) -> bytes:
        pending, self._pending, self._size = self._pending, [], 0
        return self._encode(pending)
