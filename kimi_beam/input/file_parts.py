"""Cuts files into parts that workers can share, and knows the kinds of files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow.parquet as pq

from kimi_beam.files.compression import is_compressed, uncompressed_name
from kimi_beam.files.paths import open_input
from kimi_beam.input.encodings import as_utf8
from kimi_beam.input.finding import find_inputs
from kimi_beam.wire import images

TEXTS = (".txt", ".md")
WHOLE = (*TEXTS, *images.MEDIA_TYPES)
"""Kinds of files that are one document each."""
LINES = (".jsonl", ".ndjson")
"""Kinds of files of which each line is a document."""
_SUFFIXES = (*WHOLE, *LINES, ".parquet")
KINDS = ".txt, .md, .jsonl, .ndjson (each perhaps .gz, .bz2, .xz, .zst), .parquet, .png, .jpg, .webp and .gif"
"""The kinds of files that can be read, in words for messages."""
_PART_BYTES = 16 << 20


class Part(NamedTuple):
    """A part of a file that one worker reads: some bytes of JSON lines, one row group of a .parquet, or all of it."""

    path: str
    start: int = 0
    """The first byte, or the first row group."""
    stop: int | None = None
    """The byte or row group after the last. None: to the end."""


def kind_of(path: str) -> str | None:
    """The suffix that says how to read a file; None for a kind that cannot be read."""
    kind = next((suffix for suffix in _SUFFIXES if uncompressed_name(path).endswith(suffix)), None)
    return None if is_compressed(path) and kind not in (*TEXTS, *LINES) else kind


def find_parts(patterns: tuple[str, ...]) -> Iterator[Part]:
    """Cuts the files that the patterns match into parts."""
    for found in find_inputs(patterns):
        yield from cut(found.path, found.size)


def cut(path: str, size: int) -> Iterator[Part]:
    """Cuts one file into parts; none if its kind cannot be read."""
    kind = kind_of(path)
    if kind in LINES and not is_compressed(path) and not (size > _PART_BYTES and _is_in_another_encoding(path)):
        starts = range(0, max(1, size), _PART_BYTES)
        yield from (Part(path, start, min(start + _PART_BYTES, size) or None) for start in starts)
    elif kind == ".parquet":
        yield from (Part(path, group, group + 1) for group in range(_row_groups(path)))
    elif kind:
        yield Part(path)


def _is_in_another_encoding(path: str) -> bool:
    """Whether a file of JSON lines is not in UTF-8. It cannot be cut then, because a line feed takes several bytes."""
    try:
        with open_input(path) as f:
            return as_utf8(f)[1]
    except Exception:  # reading the part says what is wrong with it
        return False


def _row_groups(path: str) -> int:
    try:
        with open_input(path) as f:
            return int(pq.ParquetFile(f).num_row_groups)
    except Exception:  # reading the part says what is wrong with it
        return 1
