"""Where a command writes its lines of JSON: to a file that appears whole or not at all, or to standard output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import output
from kimi_beam.files.whole_files import check_writable, create_whole, file_size, new_staging, rename


@contextlib.contextmanager
def output_lines(path: str | None) -> Iterator[Any]:
    """A function that writes a line, to a file that appears whole or not at all, or to standard output."""
    if path is None:
        yield _print
        return
    final = output(path)
    directory = FileSystems.split(final)[0] or "."
    check_writable(directory)
    if FileSystems.writes_whole(final):
        with create_whole(final) as f:
            yield f.write
        return
    staged = new_staging(directory)
    with create_whole(staged) as f:
        yield f.write
    rename(staged, final, file_size(staged) or 0)


def _print(line: bytes) -> None:
    """Writes a line to standard output, with escapes for characters that could control a terminal."""
    text = line.decode()[:-1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escaped(c) for c in text)
    sys.stdout.write(f"{text}\n")


def _escaped(character: str) -> str:
    """A character as JSON's escapes."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
