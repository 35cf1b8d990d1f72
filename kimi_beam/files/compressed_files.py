"""Compressed files, told by the suffix of their names."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from typing import Any, BinaryIO


def _open_zst(raw: Any) -> Any:
    import pyarrow as pa  # late, because it is slow to import and few files are compressed so

    stream: Any = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")
    return io.BufferedReader(stream)


# Beam's own decompression is not used, because it reads a truncated file to its end without an error.
_DECOMPRESS: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zst,
}
SUFFIXES = tuple(_DECOMPRESS)
_SHORT = {".tgz": ".tar.gz", ".tbz": ".tar.bz2", ".tbz2": ".tar.bz2", ".txz": ".tar.xz", ".tzst": ".tar.zst"}
"""Suffixes that say in one word that a tar is compressed."""


def compression_of(path: str) -> str | None:
    """The suffix in `SUFFIXES` that says how a file is compressed; None if its name says of no compression."""
    name = _in_full(path)
    return next((suffix for suffix in _DECOMPRESS if name.endswith(suffix)), None)


def is_compressed(path: str) -> bool:
    """Whether the name says that the file is compressed.

    Example:
        >>> is_compressed("in/a.txt.GZ"), is_compressed("in/a.txt")
        (True, False)
    """
    return compression_of(path) is not None


def uncompressed_name(path: str) -> str:
    """The name in lower case, without the suffix of its compression.

    Example:
        >>> uncompressed_name("in/A.txt.gz"), uncompressed_name("in/b.tgz")
        ('in/a.txt', 'in/b.tar')
    """
    return _in_full(path).removesuffix(compression_of(path) or "")


def _in_full(path: str) -> str:
    name = path.lower()
    for suffix, full in _SHORT.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix) + full
    return name


def decompressed(raw: BinaryIO, compression: str) -> Any:
    """Opens compressed content for reading.

    Args:
        raw: The compressed content.
        compression: One of `SUFFIXES`.
    """
    return _DECOMPRESS[compression](raw)
