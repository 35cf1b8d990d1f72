"""The lines of a piece of a file, by the hundred, and by their numbers where one of them needs its own.

A line is read up to a bound. Of a longer one only the beginning is kept: the rest is skipped in small pieces, so that
no line takes more memory than the bound, however far a compressed file expands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from kimi_beam.files.paths import is_compressed, open_input
from kimi_beam.input.encodings import as_utf8
from kimi_beam.input.file_parts import Part
from kimi_beam.wire.size_limits import BEGINNING

_TOGETHER = 250
"""Lines that are in memory together as values: as many as a batch mostly has, and no more than a block holds."""
_BLOCK_BYTES = 1 << 20


class CutLine(bytes):
    """The beginning of a line that is longer than may be."""

    size: int
    """Bytes of the whole line."""

    @classmethod
    def of(cls, line: bytes, size: int) -> CutLine:
        """Keeps the beginning of a line.

        Args:
            line: As much of it as was read.
            size: Bytes of the whole line.
        """
        cut = cls(line[:BEGINNING])
        cut.size = size
        return cut


class Numbers:
    """What the lines of a piece are called."""

    def __init__(self, part: Part, longest: int) -> None:
        self._part, self._longest = part, longest
        self._before: int | None = 0 if part.start == 0 else None

    def of(self, number: int) -> int:
        """A line's number in its file, from the one in the piece; the lines before the piece are counted once."""
        if self._before is None:
            with open_input(self._part.path) as f:
                self._before = sum(map(len, _blocks(f, 0, self._part.start, self._longest)))
        return self._before + number


def groups(f: BinaryIO, part: Part, longest: int) -> Iterator[tuple[int, list[bytes]]]:
    """The lines whose first byte stands in the piece, without their line feeds: the number of the first, and some.

    A line that is longer than the bound comes alone, as a `CutLine`. A file in UTF-16 or UTF-32 is read whole with its
    first piece, as UTF-8.

    Args:
        f: The file.
        part: Which lines of it.
        longest: Bytes of a line at most.
    """
    number = 1
    is_other = False
    if part.start == 0:  # a file in another encoding is one piece
        f, is_other = as_utf8(f)
    blocks = _pieces(f, longest) if is_other or is_compressed(part.path) else _blocks(f, part.start, part.stop, longest)
    for block in blocks:
        for at in range(0, len(block), _TOGETHER):
            some = block[at : at + _TOGETHER]
            yield number, some
            number += len(some)


def _pieces(f: BinaryIO, longest: int) -> Iterator[list[bytes]]:
    some: list[bytes] = []
    held = 0
    while line := f.readline(longest + 2):
        size = len(line)
        if not line.endswith(b"\n") and size > longest:
            size += _skip(f)
        line = line.removesuffix(b"\n")
        if len(line) > longest:
            if some:
                yield some
                some, held = [], 0
            yield [CutLine.of(line, max(len(line), size - 1))]
            continue
        some.append(line)
        held += size
        if len(some) == _TOGETHER or held > _BLOCK_BYTES:
            yield some
            some, held = [], 0
    if some:
        yield some


def _skip(f: BinaryIO) -> int:
    """Reads on to the end of the line, and keeps nothing: its bytes, the line feed included."""
    skipped = 0
    while rest := f.readline(_BLOCK_BYTES):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def _blocks(f: BinaryIO, start: int, stop: int | None, longest: int) -> Iterator[list[bytes]]:
    if start > 0:
        f.seek(start - 1)
        _skip(f)  # the line that crosses the start belongs to the part before
    at = f.tell() if start > 0 else 0
    while stop is None or at < stop:
        block = f.read(_BLOCK_BYTES)
        if not block:
            return
        skipped = 0
        if not block.endswith(b"\n"):
            block += f.readline(longest + 2)
            if not block.endswith(b"\n"):
                skipped = _skip(f)
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if stop is not None and at + len(block) > stop:
            lines = list(_before(lines, at, stop))
        at += len(block) + skipped
        if len(block) <= longest:
            yield lines
        else:
            yield from _cut(lines, longest, skipped)


def _before(lines: list[bytes], at: int, stop: int) -> Iterator[bytes]:
    for line in lines:
        if at >= stop:
            return
        yield line
        at += len(line) + 1


def _cut(lines: list[bytes], longest: int, skipped: int) -> Iterator[list[bytes]]:
    """The lines, each that is too long alone; of the last one some bytes were skipped."""
    some: list[bytes] = []
    for place, line in enumerate(lines):
        if len(line) <= longest:
            some.append(line)
            continue
        if some:
            yield some
            some = []
        rest = max(0, skipped - 1) if place == len(lines) - 1 else 0
        yield [CutLine.of(line, len(line) + rest)]
    if some:
        yield some
