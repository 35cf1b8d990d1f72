"""The rows of a CSV or TSV file as they stand in it (RFC 4180): a quoted value may hold line feeds.

No more than a bound is kept of a row. Of a longer one the rest is read to its end all the same, so that the next row
begins where it begins.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

_PEEKED = 1 << 16
"""The bytes at the beginning of a table by which the ends of its lines are told."""
_QUOTE = b'"'


class QuotedRow(NamedTuple):
    """One row."""

    content: bytes
    """Its lines, the last with its line feed; no more than the bound of them."""
    size: int
    """The bytes of all of it, without the line feed at its end."""
    is_closed: bool
    """Whether its last quoted value has an end."""

    @property
    def is_blank(self) -> bool:
        """Whether it is white space alone, which is no row."""
        return not self.content.strip() and self.size <= len(self.content)


def quoted_rows(f: BinaryIO, delimiter: str, longest: int) -> Iterator[QuotedRow]:
    """The rows of a file from where it stands.

    Args:
        f: The file, in an encoding that writes quotes and line feeds as ASCII does.
        delimiter: What stands between the values.
        longest: The most bytes of a row that are kept.
    """
    quotes = _Quotes(delimiter.encode())
    lines: list[bytes] = []
    size = 0
    while line := f.readline(longest + 2):
        has_end = line.endswith(b"\n")
        quotes.read(line)
        size += len(line)
        if size <= longest + 2:
            lines.append(line)
        elif not lines:
            lines.append(line[:longest])
        if has_end and not quotes.is_open:
            yield QuotedRow(b"".join(lines), size - 1, is_closed=True)
            lines, size = [], 0
    if size:
        yield QuotedRow(b"".join(lines), size, is_closed=not quotes.is_open)


def with_line_feeds(f: BinaryIO) -> BinaryIO:
    """A file whose lines end in line feeds: one whose lines end in carriage returns alone is recoded.

    Args:
        f: The file, opened and not read yet.
    """
    peeked: Any = f if hasattr(f, "peek") else io.BufferedReader(f, _PEEKED)
    f, head = peeked, peeked.peek(_PEEKED)
    if b"\r" not in head or b"\n" in head:
        return f
    return io.BufferedReader(_LineFeeds(f), _PEEKED)


class _LineFeeds(io.RawIOBase):
    """A file with a line feed in the place of each carriage return."""

    def __init__(self, f: BinaryIO) -> None:
        self._file = f

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer."""
        block = self._file.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(block)] = block
        return len(block)


class _Quotes:
    """Follows the quotes of a table, line by line or by pieces of long lines.

    A quote begins a quoted value only where a value begins: the one in ``5" pipe`` means itself. Within a quoted value
    two quotes mean one.

    Args:
        delimiter: What stands between the values.
    """

    def __init__(self, delimiter: bytes) -> None:
        self.is_open = False
        """Whether a quoted value goes on."""
        self._delimiter = delimiter
        self._begins = delimiter + _QUOTE
        self._begins_value = True
        self._ended_with_quote = False

    def read(self, line: bytes) -> None:
        """Reads on."""
        if not self.is_open and _QUOTE not in line:
            self._remember(line)
            return
        at = 0
        # A quote right after one that ended the piece before is the second of two.
        goes_on = self._ended_with_quote or (not self.is_open and self._begins_value)
        if goes_on and line.startswith(_QUOTE):
            self.is_open, at = True, 1
        self._ended_with_quote = False
        while True:
            if self.is_open:
                at = self._after_value(line, at)
                if at < 0:
                    return
                self.is_open = False
            begin = line.find(self._begins, at)
            if begin < 0:
                break
            self.is_open, at = True, begin + len(self._begins)
        self._ended_with_quote = at == len(line) and at > 0 and line.endswith(_QUOTE)
        self._remember(line)

    def _remember(self, line: bytes) -> None:
        self._begins_value = line.endswith((b"\n", self._delimiter))
        if _QUOTE not in line:
            self._ended_with_quote = False

    @staticmethod
    def _after_value(line: bytes, at: int) -> int:
        """The position after the quote that ends a quoted value; -1 if it goes on after the line."""
        while (end := line.find(_QUOTE, at)) >= 0:
            if line[end + 1 : end + 2] != _QUOTE:
                return end + 1
            at = end + 2
        return -1
