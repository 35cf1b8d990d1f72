"""Paths as users write them: made uniform, matched against files, opened with decompression, checked for output."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from apache_beam.io.filesystem import CompressionTypes

from kimi_beam.errors import InputError, OutputError
from kimi_beam.files.compressed_files import compression_of, decompressed
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.local_listing import Found, escaped, is_special, local_files
from kimi_beam.files.store_errors import in_one_line

_GLOB = "*?["


def normal(path: str | os.PathLike[str]) -> str:
    """One spelling for each path: without ``~``, ``file://``, ``./`` and ``//``. Remote paths stand as they are.

    ``..`` stays: past a symbolic link it leads elsewhere than its letters say.
    """
    text = os.fspath(path).removeprefix("file://")
    if "://" in text or not text:
        return text
    if text.startswith("~") and not os.path.lexists(text):  # a shell does not expand a quoted one
        text = os.path.expanduser(text)
    root = "/" if text.startswith("/") else ""
    return root + "/".join(part for part in text.split("/") if part not in ("", ".")) or "."


def is_local(path: str) -> bool:
    """Whether the path is on this machine's filesystem."""
    return "://" not in path


def absolute(path: str) -> str:
    """A local path from the root of the filesystem; a remote path unchanged."""
    return os.path.abspath(path) if is_local(path) else path


# ------------------------------------------------------------------------------------------------ input


def find(pattern: str) -> list[Found]:
    """The files that a path or glob matches, sorted by path. The exact name of a file is never read as a glob.

    Of this machine's files that includes what cannot be read (`local_files`), so that the user hears of it.

    Raises:
        InputError: The filesystem cannot be reached or used.
    """
    pattern = normal(pattern)
    if is_local(pattern):
        is_exact = os.path.lexists(pattern) and not os.path.isdir(pattern)
        return sorted(local_files(escaped(pattern) if is_exact else pattern))
    return sorted(
        Found(normal(m.path), m.size_in_bytes, m.last_updated_in_seconds or 0.0)
        for m in _matched(pattern, None)
        if not m.path.endswith("/")
    )


def check_reachable(patterns: Sequence[str]) -> None:
    """Checks that each remote pattern matches at least one file, without listing all of them.

    Raises:
        InputError: A store cannot be reached or used, or a pattern matches nothing.
    """
    for pattern in map(normal, patterns):
        if not is_local(pattern) and not _matched(pattern, 1):
            raise InputError(f"no file matches {pattern}")


def _matched(pattern: str, most: int | None) -> list[Any]:
    try:
        (result,) = FileSystems.match([pattern], [most])
        if not result.metadata_list and not any(c in pattern for c in _GLOB):
            # A store says that a bucket is missing when it is asked to list it, but not when it is asked for an object.
            FileSystems.match([f"{pattern}*"], [1])
    except Exception as e:  # each store's library has errors of its own
        raise InputError(f"cannot look for {pattern}: {in_one_line(pattern, e)}") from None
    found: list[Any] = result.metadata_list
    return found


def find_all(patterns: tuple[str, ...]) -> list[Found]:
    """The files that any of the patterns matches, sorted by path, each once even if it is spelt in two ways."""
    found = {absolute(f.path): f for p in patterns for f in find(p)}
    return sorted(found.values())


def directories_of(patterns: Sequence[str]) -> set[str]:
    """The directories of the files that any of the patterns matches."""
    return {FileSystems.split(absolute(f.path))[0] for f in find_all(tuple(patterns))}


@contextlib.contextmanager
def open_input(path: str) -> Iterator[BinaryIO]:
    """Opens a file for reading, decompressed if its name ends in the suffix of a compression.

    Raises:
        PermissionError: It is a named pipe, a socket or a device of this machine, whose reading might never end.
    """
    if is_local(path) and is_special(path):
        raise PermissionError("it is no file, but a named pipe, a socket or a device")
    compression = compression_of(path)
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as raw:
        if compression is None:
            yield raw
        else:
            with decompressed(raw, compression) as opened:
                yield opened


# ------------------------------------------------------------------------------------------------ output


def output(path: str | os.PathLike[str], *, prefix: bool = False) -> str:
    """The uniform spelling of a path that is written to.

    Args:
        path: The path as the user wrote it.
        prefix: Whether it is the beginning of file names, so that it must not end with a slash.

    Raises:
        OutputError: It holds characters of a glob, or names no file.
    """
    text = normal(path)
    if any(c in text for c in _GLOB):
        raise OutputError(f"{text} holds one of {_GLOB}, which would match other files: name another output")
    if not text or (prefix and not os.path.basename(text)) or (prefix and os.fspath(path).endswith("/")):
        raise OutputError(f"{os.fspath(path)!r} names no file: add the beginning of a name")
    return text


def make_private(directory: str) -> None:
    """Creates a local directory that only its owner may look into.

    A directory that exists keeps its permissions, and missing parents are created by the umask. Does nothing for a path
    in an object store, which has no such permissions.

    Raises:
        OSError: It cannot be created.
    """
    if is_local(directory) and not os.path.isdir(directory):
        os.makedirs(os.path.dirname(directory) or ".", exist_ok=True)
        with contextlib.suppress(FileExistsError):  # another worker has just created it
            os.mkdir(directory, 0o700)


def is_private(directory: str) -> bool:
    """Whether a directory is local and only its owner may look into it."""
    return is_local(directory) and not os.stat(directory).st_mode & 0o077


def listing(directory: str) -> list[Found]:
    """The files in a directory, sorted by path; none if it does not exist."""
    (result,) = FileSystems.match([FileSystems.join(directory, "*")])
    return sorted(Found(m.path, m.size_in_bytes) for m in result.metadata_list)
