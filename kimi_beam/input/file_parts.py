"""Cuts files into parts that workers can share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import pyarrow.parquet as pq

from kimi_beam.files.compressed_files import is_compressed
from kimi_beam.files.paths import open_input
from kimi_beam.input.archives import open_zip
from kimi_beam.input.encodings import as_utf8
from kimi_beam.input.finding import find_inputs
from kimi_beam.input.kinds import ZIP, kind_by_name
from kimi_beam.input.told_by_content import binary_kind

_PART_BYTES = 16 << 20
_ZIP_BYTES = 1 << 20
"""Bytes of a zip up to which it is one part, so that a directory of small ones costs no look into each."""
_PART_MEMBERS = 4096
"""The most members of an archive in a part. Each part reads the archive's directory once more."""


class Part(NamedTuple):
    """A part of a file that one worker reads: bytes of JSON lines, a row group, members of a zip, or all of it."""

    path: str
    start: int = 0
    """The first byte, row group or member."""
    stop: int | None = None
    """The byte, row group or member after the last. None: to the end."""


def find_parts(patterns: tuple[str, ...], encoding: str | None = None) -> Iterator[Part]:
    """Cuts the files that the patterns match into parts.

    Args:
        patterns: Paths and globs.
        encoding: The encoding of texts that are in neither UTF-8 nor UTF-16; None if the user named none.
    """
    for found in find_inputs(patterns):
        yield from cut(found.path, found.size, encoding)


def cut(path: str, size: int, encoding: str | None = None) -> Iterator[Part]:
    """Cuts one file into parts.

    Args:
        path: The file.
        size: Its bytes, compressed as it is.
        encoding: See `find_parts`.
    """
    kind = kind_by_name(path)
    form = None if kind is None else kind.form
    if form == "lines" and size > _PART_BYTES and not is_compressed(path) and not _is_one_part(path, encoding):
        yield from (Part(path, start, min(start + _PART_BYTES, size)) for start in range(0, size, _PART_BYTES))
    elif form == "lines" and not is_compressed(path):
        yield Part(path, 0, size or None)
    elif form == "parquet":
        yield from (Part(path, group, group + 1) for group in range(_row_groups(path)))
    elif kind is ZIP and size > _ZIP_BYTES:
        yield from _zip_parts(path)
    else:
        yield Part(path)


def _is_one_part(path: str, encoding: str | None) -> bool:
    """Whether a file of JSON lines cannot be cut at any byte.

    It cannot if a line feed takes several bytes in its encoding, or if it holds something else than its name says.
    """
    try:
        with open_input(path) as f:
            return binary_kind(_head(f)) is not None or as_utf8(f, encoding)[1]
    except Exception:  # reading the part says what is wrong with it
        return False


def _head(f: BinaryIO) -> bytes:
    head = f.read(512)
    f.seek(0)
    return head


def _row_groups(path: str) -> int:
    try:
        with open_input(path) as f:
            return int(pq.ParquetFile(f).num_row_groups)
    except Exception:  # reading the part says what is wrong with it
        return 1


def _zip_parts(path: str) -> Iterator[Part]:
    """Members of a zip in groups of many or of many bytes."""
    try:
        with open_input(path) as f, open_zip(f) as archive:
            sizes = [info.compress_size for info in archive.infolist()]
    except Exception:  # reading the part says what is wrong with it
        sizes = []
    start = in_part = 0
    for index, size in enumerate(sizes):
        if in_part and (in_part + size > _PART_BYTES or index - start >= _PART_MEMBERS):
            yield Part(path, start, index)
            start, in_part = index, 0
        in_part += size
    yield Part(path, start, len(sizes) if start else None)
