"""Lines of a part of a file, in groups of hundreds, and their numbers in the file.

A line is read up to a bound. Of a longer line only the beginning is kept, and the rest is skipped in small blocks, so
that no line takes more memory than the bound, however far a compressed file expands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from kimi_beam.files.compressed_files import is_compressed
from kimi_beam.files.paths import open_input
from kimi_beam.input.encodings import as_utf8
from kimi_beam.input.file_parts import Part
from kimi_beam.wire.size_limits import BEGINNING

_TOGETHER = 250
"""The most lines in a group: as many as a batch usually has."""
_BLOCK_BYTES = 1 << 20


class CutLine(bytes):
    """The beginning of a line that is longer than the bound."""

    size: int
    """The bytes of the complete line."""

    @classmethod
    def of(cls, line: bytes, size: int) -> CutLine:
        """Keeps the beginning of a line.

        Args:
            line: The bytes of the line that were read.
            size: The bytes of the complete line.
        """
        cut = cls(line[:BEGINNING])
        cut.size = size
        return cut


class LineNumbers:
    """The numbers, in the file, of the lines of a part.

    Args:
        part: The part of the file.
        longest: The most bytes of a line.
    """

    def __init__(self, part: Part, longest: int) -> None:
        self._part, self._longest = part, longest
        self._before: int | None = 0 if part.start == 0 else None

    def of(self, number: int) -> int:
        """A line's number in the file, of its number in the part. Both begin at 1.

        The lines before the part are counted when the first number is needed, which is only for lines that fail.
        """
        if self._before is None:
            with open_input(self._part.path) as f:
                self._before = sum(len(block) for _, block in _blocks(f, 0, self._part.start, self._longest))
        return self._before + number


class Group(NamedTuple):
    """Some lines of a file, one after the other."""

    number: int
    """The number of the first of them in its part."""
    position: int | None
    """Where the first of them begins in the file, in bytes; None if the bytes of the file are others than those of the
    lines, as where it is compressed."""
    lines: list[bytes]
    """The lines, without their line feeds."""


def groups(f: BinaryIO, part: Part, longest: int, encoding: str | None = None) -> Iterator[Group]:
    """The lines whose first byte is in a part of a file, in groups.

    A line that is longer than the bound is a group of its own, a `CutLine`. A file in UTF-16 or UTF-32 is one part, and
    is recoded to UTF-8.

    Args:
        f: The opened file.
        part: The part whose lines are read.
        longest: The most bytes of a line.
        encoding: The encoding of a file that is in neither UTF-8 nor UTF-16; None if the user named none.
    """
    number = 1
    is_other = False
    if part.start == 0:  # a file in another encoding is one piece
        f, is_other = as_utf8(f, encoding)
    reads_line_by_line = is_other or is_compressed(part.path)
    blocks = _line_by_line(f, longest) if reads_line_by_line else _blocks(f, part.start, part.stop, longest)
    for position, block in blocks:
        for start in range(0, len(block), _TOGETHER):
            group = block[start : start + _TOGETHER]
            yield Group(number, position, group)
            number += len(group)
            if position is not None:
                position += sum(map(len, group)) + len(group)


def _line_by_line(f: BinaryIO, longest: int) -> Iterator[tuple[None, list[bytes]]]:
    """Lines of a file whose byte positions mean nothing, because it is compressed or recoded."""
    group: list[bytes] = []
    group_bytes = 0
    while line := f.readline(longest + 2):
        size = len(line)
        if not line.endswith(b"\n") and size > longest:
            size += _skip(f)
        line = line.removesuffix(b"\n")
        if len(line) > longest:
            if group:
                yield None, group
                group, group_bytes = [], 0
            yield None, [CutLine.of(line, max(len(line), size - 1))]
            continue
        group.append(line)
        group_bytes += size
        if len(group) == _TOGETHER or group_bytes > _BLOCK_BYTES:
            yield None, group
            group, group_bytes = [], 0
    if group:
        yield None, group


def _skip(f: BinaryIO) -> int:
    """Reads to the end of the line without keeping it. Returns the bytes that were skipped, with the line feed."""
    skipped = 0
    while rest := f.readline(_BLOCK_BYTES):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def _blocks(f: BinaryIO, start: int, stop: int | None, longest: int) -> Iterator[tuple[int | None, list[bytes]]]:
    """Lines of a file, each block with its position; where a line is cut off, with none."""
    if start > 0:
        f.seek(start - 1)
        _skip(f)  # the line that crosses the start belongs to the part before
    position = f.tell() if start > 0 else 0
    while stop is None or position < stop:
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
        if stop is not None and position + len(block) > stop:
            lines = list(_before(lines, position, stop))
        if len(block) <= longest:
            yield position, lines
        else:
            yield from ((None, group) for group in _cut(lines, longest, skipped))
        position += len(block) + skipped


def _before(lines: list[bytes], position: int, stop: int) -> Iterator[bytes]:
    """The lines that begin before a position in the file."""
    for line in lines:
        if position >= stop:
            return
        yield line
        position += len(line) + 1


def _cut(lines: list[bytes], longest: int, skipped: int) -> Iterator[list[bytes]]:
    """Lines in groups, each too long one as a `CutLine` by itself. `skipped` is the bytes that the last one lacks."""
    group: list[bytes] = []
    for index, line in enumerate(lines):
        if len(line) <= longest:
            group.append(line)
            continue
        if group:
            yield group
            group = []
        rest = max(0, skipped - 1) if index == len(lines) - 1 else 0
        yield [CutLine.of(line, len(line) + rest)]
    if group:
        yield group
