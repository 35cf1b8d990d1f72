"""Paths as users write them: normalised, listed and compressed, on any filesystem that Beam knows."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes

from kimi_beam.errors import InputError, OutputError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.store_errors import in_one_line

_GLOB = "*?["


def normal(path: str | os.PathLike[str]) -> str:
    """One spelling for each path: without ``~``, ``file://``, ``./`` and ``//``. Remote paths stand as they are.

    ``..`` stays: past a symbolic link it leads elsewhere than its letters say.
    """
    text = os.fspath(path).removeprefix("file://")
    if "://" in text or not text:
        return text
    if text.startswith("~") and not os.path.lexists(text):  # a shell leaves it where it is quoted
        text = os.path.expanduser(text)
    root = "/" if text.startswith("/") else ""
    return root + "/".join(part for part in text.split("/") if part not in ("", ".")) or "."


def is_local(path: str) -> bool:
    """Whether the path is on this machine's filesystem."""
    return "://" not in path


def absolute(path: str) -> str:
    """The path as it is found from any directory of this machine."""
    return os.path.abspath(path) if is_local(path) else path


# ------------------------------------------------------------------------------------------------ input


class Found(NamedTuple):
    """A file that a pattern matched."""

    path: str
    size: int
    changed: float = 0.0
    """Unix seconds; 0 where the filesystem does not say."""


def find(pattern: str) -> list[Found]:
    """The files that a path or glob matches, by path; a file that is named outright is never taken for a glob.

    Raises:
        InputError: The filesystem cannot be asked.
    """
    pattern = normal(pattern)
    if is_local(pattern) and os.path.isfile(pattern):
        return [Found(pattern, os.path.getsize(pattern), os.path.getmtime(pattern))]
    # Beam's local filesystem finds nothing for a pattern without a directory.
    bare = is_local(pattern) and not os.path.dirname(pattern)
    matched = _matched(os.path.join(".", pattern) if bare else pattern, None)
    found = [
        Found(normal(m.path), m.size_in_bytes, m.last_updated_in_seconds or 0.0)
        for m in matched
        if not m.path.endswith("/")
    ]
    return sorted(f for f in found if not (is_local(f.path) and os.path.isdir(f.path)))


def check_reachable(patterns: Sequence[str]) -> None:
    """Asks each object store that is named whether there is anything, without listing all of it.

    Raises:
        InputError: It cannot be asked, or a pattern matches nothing.
    """
    for pattern in map(normal, patterns):
        if not is_local(pattern) and not _matched(pattern, 1):
            raise InputError(f"no file matches {pattern}")


def _matched(pattern: str, most: int | None) -> list[Any]:
    try:
        (result,) = FileSystems.match([pattern], [most])
        if not result.metadata_list and not is_local(pattern) and not any(c in pattern for c in _GLOB):
            # A store says of an object only that it is not there; of a listing, that there is no bucket.
            FileSystems.match([f"{pattern}*"], [1])
    except Exception as e:  # a store raises what its own library does
        raise InputError(f"cannot look for {pattern}: {in_one_line(pattern, e)}") from None
    found: list[Any] = result.metadata_list
    return found


def find_all(patterns: tuple[str, ...]) -> list[Found]:
    """The files that any of the patterns matches, each once however it is spelt, by path."""
    found = {absolute(f.path): f for p in patterns for f in find(p)}
    return sorted(found.values())


def directories_of(patterns: Sequence[str]) -> set[str]:
    """The directories of the files that any of the patterns matches."""
    return {FileSystems.split(absolute(f.path))[0] for f in find_all(tuple(patterns))}


def _open_zst(raw: Any) -> Any:
    stream: Any = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")
    return io.BufferedReader(stream)


# Not Beam's own decompression, which takes a file that was cut off for one that ends there.
_DECOMPRESS: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zst,
}


def _compression(path: str) -> str | None:
    return next((suffix for suffix in _DECOMPRESS if path.lower().endswith(suffix)), None)


def uncompressed_name(path: str) -> str:
    """The name in lower case without the suffix of a compression that can be read."""
    return path.lower().removesuffix(_compression(path) or "")


def is_compressed(path: str) -> bool:
    """Whether the name says that the file is compressed."""
    return _compression(path) is not None


@contextlib.contextmanager
def open_input(path: str) -> Iterator[BinaryIO]:
    """Opens a file for reading, decompressed as its name says."""
    compression = _compression(path)
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as raw:
        if compression is None:
            yield raw
        else:
            with _DECOMPRESS[compression](raw) as opened:
                yield opened


# ------------------------------------------------------------------------------------------------ output


def output(path: str | os.PathLike[str], *, prefix: bool = False) -> str:
    """A path to write to.

    Args:
        path: As the user gave it.
        prefix: Whether it is the beginning of file names, so that it must not end with a directory.

    Raises:
        OutputError: It cannot be written to safely.
    """
    text = normal(path)
    if any(c in text for c in _GLOB):
        raise OutputError(f"{text} holds one of {_GLOB}, which would match other files: name another output")
    if not text or (prefix and not os.path.basename(text)) or (prefix and os.fspath(path).endswith("/")):
        raise OutputError(f"{os.fspath(path)!r} names no file: add the beginning of a name")
    return text


def make_private(directory: str) -> None:
    """Creates a directory of this machine that only its owner may look into.

    One that is there stays as it is. What is missing above it is created as the umask says; a store that has no such
    permissions is left alone.

    Raises:
        OSError: It cannot be created.
    """
    if is_local(directory) and not os.path.isdir(directory):
        os.makedirs(os.path.dirname(directory) or ".", exist_ok=True)
        with contextlib.suppress(FileExistsError):  # another worker has made it meanwhile
            os.mkdir(directory, 0o700)


def is_private(directory: str) -> bool:
    """Whether a directory is on this machine and nobody but its owner may look into it."""
    return is_local(directory) and not os.stat(directory).st_mode & 0o077


def listing(directory: str) -> list[Found]:
    """The files in a directory; none where it is not there."""
    (result,) = FileSystems.match([FileSystems.join(directory, "*")])
    return sorted(Found(m.path, m.size_in_bytes) for m in result.metadata_list)
