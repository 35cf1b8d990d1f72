"""Encodings: decodes files in UTF-8, UTF-16 and UTF-32, recognised by their byte order mark or by their NUL bytes.

Without a byte order mark, UTF-16 could be decoded as UTF-8 with a NUL after each letter, which would be sent and paid
for. No text holds NULs, so their pattern shows the encoding: in UTF-16 most of every second byte are NULs, in UTF-32
three of four. Such a file is read if the rest decodes to a text. Any other file with a NUL is no text.
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
"""The share of letters in ASCII that a text without a mark must have. With fewer its encoding would be a guess."""
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]")
"""Control characters that no text file holds (all except white space and terminals' escape), and noncharacters."""
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
"""The first bytes by which kinds of binary files are recognised, and how a message names each kind."""


_NO_ENCODINGS_OF_FILES = frozenset(
    ("idna", "punycode", "raw_unicode_escape", "unicode_escape", "raw-unicode-escape", "unicode-escape")
)
"""Encodings of Python's that are of names in the network, or of source code."""


def is_encoding(name: str) -> bool:
    """Whether Python knows a text encoding of this name, such as ``cp1252``."""
    try:
        b"a".decode(name)
        return codecs.lookup(name).name not in _NO_ENCODINGS_OF_FILES
    except UnicodeDecodeError:
        return True  # a single byte is no text in UTF-16
    except (LookupError, UnicodeError, ValueError):
        return False


class NotTextError(ValueError):
    """Bytes that are no text. The message says why, without naming the file."""

    def __init__(self, message: str, *, is_other_kind: bool) -> None:
        super().__init__(message)
        self.is_other_kind = is_other_kind
        """Whether the file is of a known binary kind; else it may be a text in an unknown encoding."""


def text_of(content: bytes, encoding: str | None = None) -> str:
    """The text of a file.

    Args:
        content: Its bytes.
        encoding: The encoding of a text that is in neither UTF-8 nor UTF-16. None: such a text is refused. A text in
            ASCII alone is read in it too, because encodings such as ISO-2022-JP write all texts so.

    Raises:
        NotTextError: It is no text, or its encoding cannot be recognised.
    """
    if content.startswith(b"%PDF-"):  # checked first, because some PDFs are all ASCII and would pass as a text
        raise NotTextError("holds no text: it is a PDF", is_other_kind=True)
    for mark, marked in _MARKS:
        if content.startswith(mark):
            try:
                text = content[len(mark) :].decode(marked)
            except UnicodeDecodeError as e:
                if marked.startswith("utf-32"):
                    continue  # UTF-16 whose first letter is a NUL begins like UTF-32
                raise _no_text(content, _not(marked, e, len(mark))) from None
            if "\0" in text:
                raise _no_text(content, f"holds NUL bytes, as no text does, after the mark of {_name(marked)}")
            return text
    if encoding is not None and (content.isascii() or not _is_utf8(content)):
        return _in_encoding(content, encoding)
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


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _in_encoding(content: bytes, encoding: str) -> str:
    """The text of content in an encoding that the user named."""
    if b"\0" in content and (unmarked := _without_mark(content)) is not None:
        return unmarked
    try:
        text = content.decode(encoding)
    except UnicodeError as e:
        at = f" at byte {e.start}" if isinstance(e, UnicodeDecodeError) else ""
        reason = e.reason if isinstance(e, UnicodeDecodeError) else str(e)
        raise _no_text(content, f"is neither UTF-8 nor {encoding}: {reason}{at}") from None
    if "\0" in text:
        raise _no_text(content, f"holds NUL characters, as no text does, if it is read as {encoding}")
    return text.removeprefix("\ufeff")


def _no_text(content: bytes, message: str) -> NotTextError:
    """The error for content that is no text: its kind if that is known, else the given message."""
    kind = next((kind for begin, kind in _BINARY if content.startswith(begin)), None)
    return NotTextError(message if kind is None else f"holds no text: it is {kind}", is_other_kind=kind is not None)


def _name(encoding: str) -> str:
    return encoding.upper().removesuffix("-LE").removesuffix("-BE")


def _not(encoding: str, error: UnicodeDecodeError, before: int) -> str:
    return f"is not {_name(encoding)}: {error.reason} at byte {error.start + before}"


def _without_mark(content: bytes) -> str | None:
    """The text of content in UTF-16 or UTF-32 without a mark; None if it is not clearly one of them."""
    for width, encoding, letter in ((4, "utf-32-le", 0), (4, "utf-32-be", 3), (2, "utf-16-le", 0), (2, "utf-16-be", 1)):
        count = len(content) // width
        if len(content) % width or content[letter::width].count(0):
            continue
        nulls = [content[offset::width].count(0) for offset in range(width) if offset != letter]
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


def as_utf8(f: BinaryIO, encoding: str | None = None, *, is_json: bool = True) -> tuple[BinaryIO, bool]:
    """A file of lines that reads as UTF-8, and whether it was recoded for that.

    JSON begins with two characters of ASCII, so the NULs among the first four bytes show the encoding (RFC 4627,
    section 3).

    Args:
        f: The file, opened and not read yet.
        encoding: The encoding of a file that is in neither UTF-8 nor UTF-16; None if the user named none. A file in one
            that writes line feeds and quotes as ASCII does is not recoded: its lines are, by `decoded_line`.
        is_json: Whether it holds JSON lines. If not, it may begin with any character of ASCII.
    """
    head = _head(f)
    found = next((name for mark, name in _MARKS[1:] if head.startswith(mark)), None) or _by_nulls(head, is_json)
    if found is None and encoding is not None and not _has_lines_of_ascii(encoding):
        found = None if head.startswith(codecs.BOM_UTF8) else encoding
    if found is None:
        return f, False
    return io.BufferedReader(_Utf8(f, found), 1 << 16), True


def _has_lines_of_ascii(encoding: str) -> bool:
    """Whether line feeds, quotes and delimiters are the same bytes in an encoding as in ASCII, and nothing else is."""
    name = codecs.lookup(encoding).name.replace("_", "-")
    if name.startswith(("iso2022", "hz", "utf-7", "utf-16", "utf-32")):
        return False  # they write other characters by the bytes of ASCII
    signs = '\r\n\t",;{}:'
    return signs.encode(encoding, "replace") == signs.encode()


def decoded_line(line: bytes, encoding: str | None) -> str:
    """The text of a line or row, in UTF-8 or else in the encoding that the user named.

    Raises:
        NotTextError: It is in neither.
    """
    if encoding is not None and (line.isascii() or not _is_utf8(line)):
        return _in_encoding(line, encoding)
    try:
        return line.decode()
    except UnicodeDecodeError as e:
        raise NotTextError(_not("utf-8", e, 0), is_other_kind=False) from None


def utf8_line(line: bytes, encoding: str) -> bytes:
    """A line in UTF-8: recoded if it is in another encoding, and unchanged if it is in neither of the two."""
    if _is_utf8(line):
        return line
    try:
        return line.decode(encoding).encode()
    except UnicodeError:
        return line


_BEGINS_A_LINE = frozenset((b"{", b" ", b"\t", b"\r", b"\n"))


def _by_nulls(head: bytes, is_json: bool) -> str | None:
    if is_json and head.lstrip(b"\0")[:1] not in _BEGINS_A_LINE:
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
    """The first four bytes of a file. Afterwards it is at its beginning again."""
    if hasattr(f, "peek"):
        return bytes(f.peek(4)[:4])
    head = bytes(f.read(4))
    f.seek(0)
    return head


class _Utf8(io.RawIOBase):
    """Recodes a file to UTF-8 as it is read.

    A lone surrogate becomes invalid UTF-8 and not an error, so that only its line is refused, and not the whole file.
    """

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
    """Whether a file begins with a JSON object, in any of the encodings that are read.

    Args:
        head: The first bytes of the file.
    """
    mark = next((mark for mark, _ in _MARKS if head.startswith(mark)), b"")
    return head[len(mark) :].lstrip(b"\0 \t\r\n").startswith(b"{")
