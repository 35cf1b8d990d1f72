"""Copies standard input to a temporary file, because a pipeline reads its input in parts and in other processes."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from kimi_beam.errors import InputError
from kimi_beam.files.compressed_files import decompressed
from kimi_beam.input import kinds
from kimi_beam.input.encodings import is_json_lines
from kimi_beam.input.told_by_content import HEAD_BYTES, is_told_by_all, kind_of
from kimi_beam.wire.size_limits import MAX_DOCUMENT_BYTES

STDIN = "-"
"""The input that stands for standard input."""
_COMPRESSED = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}


def from_stdin(stack: contextlib.ExitStack, *, named: str | None = None) -> str:
    """Copies standard input to a file.

    Args:
        stack: Removes the file when it is closed.
        named: The name of the file. None: its suffix is chosen by the content (`kimi_beam.input.told_by_content`). What
            begins with a brace is taken for JSON lines, and what is of no known kind for a text.

    Returns:
        The path of the file.

    Raises:
        InputError: Standard input is empty.
    """
    head = sys.stdin.buffer.read(HEAD_BYTES)
    if not head:
        raise InputError("standard input is empty")
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="kimi_beam-"))
    path = Path(directory) / (named or "stdin")
    with path.open("wb") as f:
        f.write(head)
        shutil.copyfileobj(sys.stdin.buffer, f)
    return str(path if named else path.rename(path.with_name(f"stdin{_suffix(path)}")))


def _suffix(path: Path) -> str:
    """The suffix that says the kind of a file, told by its content."""
    with path.open("rb") as f:
        head = f.read(HEAD_BYTES)
        compression = next((suffix for begin, suffix in _COMPRESSED.items() if head.startswith(begin)), None)
        f.seek(0)
        if compression is None:
            return _kind(f).suffix
        try:
            with decompressed(f, compression) as opened:
                return _kind(opened).suffix + compression
        except Exception:  # a damaged file: reading it says what is wrong
            return f"{kinds.JSON_LINES.suffix}{compression}"


def _kind(f: BinaryIO) -> kinds.Kind:
    content = f.read(HEAD_BYTES)
    if is_told_by_all(content):
        content += f.read(MAX_DOCUMENT_BYTES)
    if is_json_lines(content):  # even if the first line is damaged: it is a dead letter then, and no text
        return kinds.JSON_LINES
    return kind_of("stdin", content) or kinds.TEXT
