"""Bytes of other people's files as text: UTF-8, UTF-16 and UTF-32, told by their mark or by their NULs.

A byte order mark says what a file is in. Without one, UTF-16 reads as UTF-8 with a NUL after each letter, which would
be sent and paid for. No text holds NULs, so they tell what it is: where most of every second byte (UTF-16), or of three
of four (UTF-32), are NULs and the rest reads as a text, it is read; anything else with a NUL is no text.
"""

from __future__ import annotations

import codecs
import io
import re
from typing import Any, BinaryIO

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ENOUGH = 0.75
"""Of the letters of a text without a mark, how many must be in ASCII: fewer do not tell its encoding for certain."""
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]")
"""Control characters that no text file holds (all but white space and the escape of terminals), and noncharacters."""
_CONTROLS = bytes((*range(9), *range(14, 27), *range(28, 32), 127))
_BINARY = (
    (b"PK\x03\x04", "a ZIP archive, as .docx, .xlsx and .odt files are"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a file of older Microsoft Office"),
    (b"\x1f\x8b", "compressed by gzip (name it .gz)"),
    (b"BZh", "compressed by bzip2 (name it .bz2)"),
    (b"\xfd7zXZ\x00", "compressed by xz (name it .xz)"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd (name it .zst)"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
)
"""What files that are no text begin with."""


class NotTextError(ValueError):
    """Bytes that are no text. The message says why, without naming the file."""

    def __init__(self, message: str, *, is_other_kind: bool) -> None:
        super().__init__(message)
        self.is_other_kind = is_other_kind
        """Whether it is a file of another kind, not a text in an unknown encoding."""


def text_of(content: bytes) -> str:
    """The text of a file.

    Raises:
        NotTextError: It is no text, or in an encoding that cannot be told for certain.
    """
    if content.startswith(b"%PDF-"):  # of which some are ASCII throughout
        raise NotTextError("holds no text: it is a PDF", is_other_kind=True)
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                text = content[len(mark) :].decode(encoding)
            except UnicodeDecodeError as e:
                if encoding.startswith("utf-32"):
                    continue  # the mark of UTF-16 and a NUL
                raise _no_text(content, _not(encoding, e, len(mark))) from None
            if "\0" in text:
                raise _no_text(content, f"holds NUL bytes, as no text does, after the mark of {_name(encoding)}")
            return text
    if b"\0" in content:
        if (unmarked := _without_mark(content)) is not None:
            return unmarked
        raise _no_text(content, "holds NUL bytes: it is no text, or in UTF-16 or UTF-32 without a byte order mark")
    try:
        text = content.decode()
    except UnicodeDecodeError as e:
        raise _no_text(content, _not("utf-8", e, 0)) from None
    beginning = content[: 1 << 16]
    if (len(beginning) - len(beginning.translate(None, _CONTROLS))) * 10 > len(beginning):
        raise _no_text(content, "holds control characters in place of letters: it is no text, or not in UTF-8")
    return text


def _no_text(content: bytes, otherwise: str) -> NotTextError:
    kind = next((kind for begin, kind in _BINARY if content.startswith(begin)), None)
    told = otherwise if kind is None else f"holds no text: it is {kind}"
    return NotTextError(told, is_other_kind=kind is not None)


def _name(encoding: str) -> str:
    return encoding.upper().removesuffix("-LE").removesuffix("-BE")


def _not(encoding: str, error: UnicodeDecodeError, before: int) -> str:
    return f"is not {_name(encoding)}: {error.reason} at byte {error.start + before}"


def _without_mark(content: bytes) -> str | None:
    """The text of UTF-16 or UTF-32 that has no mark, None where that is not certain."""
    for width, encoding, letter in ((4, "utf-32-le", 0), (4, "utf-32-be", 3), (2, "utf-16-le", 0), (2, "utf-16-be", 1)):
        count = len(content) // width
        if len(content) % width or content[letter::width].count(0):
            continue
        nulls = [content[place::width].count(0) for place in range(width) if place != letter]
        if min(nulls) < _ENOUGH * count:
            continue
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _NO_TEXT.search(text):
            return text
    return None


# ------------------------------------------------------------------------------------------------ lines


def as_utf8(f: BinaryIO) -> tuple[BinaryIO, bool]:
    """A file of JSON lines as UTF-8, at the same place; and whether it is in another encoding.

    JSON begins with two characters of ASCII, so that the NULs among the first four bytes tell what it is in
    (RFC 4627, section 3).

    Args:
        f: The file, opened and not read yet.
    """
    head = _head(f)
    encoding = next((name for mark, name in _MARKS[1:] if head.startswith(mark)), None) or _by_nulls(head)
    if encoding is None:
        return f, False
    return io.BufferedReader(_Utf8(f, encoding), 1 << 16), True


_BEGINS_A_LINE = frozenset((b"{", b" ", b"\t", b"\r", b"\n"))


def _by_nulls(head: bytes) -> str | None:
    if head.lstrip(b"\0")[:1] not in _BEGINS_A_LINE:
        return None
    pattern = bytes(byte != 0 for byte in head)
    if len(head) < 4:
        return {b"\1\0": "utf-16-le", b"\0\1": "utf-16-be"}.get(pattern)
    return {
        b"\1\0\0\0": "utf-32-le",
        b"\0\0\0\1": "utf-32-be",
        b"\1\0\1\0": "utf-16-le",
        b"\0\1\0\1": "utf-16-be",
    }.get(pattern)


def _head(f: Any) -> bytes:
    """The first four bytes of a file that stands at its beginning afterwards."""
    if hasattr(f, "peek"):
        return bytes(f.peek(4)[:4])
    head = bytes(f.read(4))
    f.seek(0)
    return head


class _Utf8(io.RawIOBase):
    """A file in another encoding as UTF-8. What is no text in it stays invalid UTF-8, to be found by its line."""

    def __init__(self, f: BinaryIO, encoding: str) -> None:
        self._file = f
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._ready = b""
        self._begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._file.read(1 << 16)
            text = self._decoder.decode(block, final=not block)
            if text and not self._begun:
                text, self._begun = text.removeprefix("\ufeff"), True
            self._ready = text.encode("utf-8", "surrogatepass")
            if not block:
                break
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


def is_json_lines(head: bytes) -> bool:
    """Whether a file begins with an object of JSON, in any of the encodings that are read.

    Args:
        head: Its first bytes.
    """
    mark = next((mark for mark, _ in _MARKS if head.startswith(mark)), b"")
    return head[len(mark) :].lstrip(b"\0 \t\r\n").startswith(b"{")
