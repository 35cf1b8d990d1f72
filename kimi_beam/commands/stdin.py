"""Copies standard input to a temporary file, because a pipeline reads its input in parts and in other processes."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from kimi_beam.errors import InputError
from kimi_beam.input.encodings import is_json_lines
from kimi_beam.wire import images

STDIN = "-"
"""The input that stands for standard input."""
_COMPRESSED = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
_HEAD = 64


def from_stdin(stack: contextlib.ExitStack, *, named: str | None = None) -> str:
    """Copies standard input to a file.

    Args:
        stack: Removes the file when it is closed.
        named: The name of the file. None: its suffix is chosen by the content. Pictures and Parquet are recognised by
            their first bytes, and JSON lines by a brace. Compressed content is taken for JSON lines, and all else for
            a text.

    Returns:
        The path of the file.

    Raises:
        InputError: Standard input is empty.
    """
    head = sys.stdin.buffer.read(_HEAD)
    if not head:
        raise InputError("standard input is empty")
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="kimi_beam-"))
    path = Path(directory) / (named or f"stdin{_suffix(head)}")
    with path.open("wb") as f:
        f.write(head)
        shutil.copyfileobj(sys.stdin.buffer, f)
    return str(path)


def _suffix(head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return ".parquet"
    if media_type := images.media_type_of(head):
        return next(suffix for suffix, kind in images.MEDIA_TYPES.items() if kind == media_type)
    if packed := next((suffix for begin, suffix in _COMPRESSED.items() if head.startswith(begin)), None):
        return f".jsonl{packed}"
    return ".jsonl" if is_json_lines(head) else ".txt"
