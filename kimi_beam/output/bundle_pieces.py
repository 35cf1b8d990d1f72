"""The elements of a bundle as bytes, some at a time: what the steps that encode rows and dead letters share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

T = TypeVar("T")


class BundlePieces(beam.DoFn, Generic[T]):
    """``T -> bytes``: encodes elements together as soon as there are enough of them, and the rest at a bundle's end.

    A subclass calls `put` for each element.

    Args:
        encode: Turns some elements into one piece.
        enough: The size from which on elements are encoded, in the unit in which `put` is told their sizes.
    """

    def __init__(self, encode: Callable[[list[T]], bytes], enough: int) -> None:
        self._encode, self._enough = encode, enough

    def start_bundle(self) -> None:
        self._pending: list[T] = []
        self._size = 0

    def put(self, element: T, size: int) -> Iterable[bytes]:
        """Takes one element in.

        Args:
            element: What is to be encoded.
            size: Its size, in rows or bytes.

        Returns:
            The piece that it completes; nothing while there is room for more.
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
