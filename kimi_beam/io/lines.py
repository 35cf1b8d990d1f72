"""The lines of a piece of a file, by the hundred, and by their numbers where one of them needs its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from kimi_beam.io.parts import Part
from kimi_beam.io.paths import is_compressed, open_input

_TOGETHER = 250
"""Lines that are in memory together as values: as many as a batch mostly has, and no more than a block holds."""
_BLOCK_BYTES = 1 << 20


class Numbers:
    """What the lines of a piece are called."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._before: int | None = 0 if part.start == 0 else None

    def of(self, number: int) -> int:
        """A line's number in its file, from the one in the piece; the lines before the piece are counted once."""
        if self._before is None:
            with open_input(self._part.path) as f:
                self._before = sum(map(len, _blocks(f, 0, self._part.start)))
        return self._before + number


def groups(f: BinaryIO, part: Part) -> Iterator[tuple[int, list[bytes]]]:
    """The lines whose first byte stands in the piece, without their line feeds: the number of the first, and some."""
    number = 1
    blocks = _pieces(f) if is_compressed(part.path) else _blocks(f, part.start, part.stop)
    for block in blocks:
        for at in range(0, len(block), _TOGETHER):
            some = block[at : at + _TOGETHER]
            yield number, some
            number += len(some)


def _pieces(f: BinaryIO) -> Iterator[list[bytes]]:
    while some := [line.removesuffix(b"\n") for line in islice(f, _TOGETHER)]:
        yield some


def _blocks(f: BinaryIO, start: int, stop: int | None) -> Iterator[list[bytes]]:
    if start > 0:
        f.seek(start - 1)
        f.readline()  # the line that crosses the start belongs to the part before
    at = f.tell() if start > 0 else 0
    while stop is None or at < stop:
        block = f.read(_BLOCK_BYTES)
        if not block:
            return
        if not block.endswith(b"\n"):
            block += f.readline()
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if stop is not None and at + len(block) > stop:
            lines = list(_before(lines, at, stop))
        at += len(block)
        yield lines


def _before(lines: list[bytes], at: int, stop: int) -> Iterator[bytes]:
    for line in lines:
        if at >= stop:
            return
        yield line
        at += len(line) + 1
