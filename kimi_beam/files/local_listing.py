"""Lists the files of this machine that a pattern matches.

Beam's own listing does not look into directories that are links, looks through the whole tree for any pattern, and
says nothing of a directory that it may not look into.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from apache_beam.io.filesystem import FileSystem

_GLOB = re.compile(r"[*?\[]")
_ESCAPED = re.compile(r"\[([*?\[])\]")


class Found(NamedTuple):
    """A file that a pattern matched."""

    path: str
    size: int
    changed: float = 0.0
    """Unix seconds of its last change; 0 if the filesystem does not say."""
    is_special: bool = False
    """Whether it is no file, but a named pipe, a socket or a device of this machine."""


def escaped(path: str) -> str:
    """A pattern that matches a path alone, whatever characters are in it.

    Example:
        >>> escaped("in/scan[1]")
        'in/scan[[]1]'
    """
    return _GLOB.sub(lambda found: f"[{found[0]}]", path)


def fixed_and_glob(pattern: str) -> tuple[str, str]:
    """The directory in which a pattern's files are looked for, and the rest of the pattern.

    Example:
        >>> fixed_and_glob("in/scan[[]1]/2024/*/a.txt")
        ('in/scan[1]/2024', '*/a.txt')
    """
    names = pattern.split("/")
    for index, name in enumerate(names):
        if _GLOB.search(_ESCAPED.sub("", name)):
            fixed = "/".join(_unescaped(one) for one in names[:index])
            return fixed or ("/" if pattern.startswith("/") else ""), "/".join(names[index:])
    return _unescaped(pattern), ""


def _unescaped(name: str) -> str:
    return _ESCAPED.sub(r"\1", name)


def local_files(pattern: str) -> Iterator[Found]:
    """The local files that a pattern matches, those behind links to directories too, in no order.

    Found are also links that lead nowhere and directories that may not be looked into, as empty files, so that the
    user hears of them; and what is no file, such as a named pipe. Each directory is looked through once, so that links
    in a circle have an end.

    Args:
        pattern: A path or glob in its normal spelling. ``*`` and ``?`` match within a name, ``**`` across names.
    """
    fixed, glob = fixed_and_glob(pattern)
    if not glob:
        if os.path.lexists(fixed) and not os.path.isdir(fixed):
            yield _found(fixed)
        return
    names = glob.split("/")
    matches = re.compile(FileSystem.translate_pattern(glob)).match
    seen: set[tuple[int, int]] = set()
    waiting, links = [""], list[str]()
    while waiting or links:
        # Links come last, so that what lies in the tree itself has its own name.
        below = waiting.pop() if waiting else links.pop(0)
        directory = os.path.join(fixed, below) if below else fixed or "."
        try:
            status = os.stat(directory)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError:
            yield Found(directory, 0)
            continue
        directories: list[str] = []
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            if _is_directory(entry):
                if _may_match_below(names, name.split("/")):
                    (links if entry.is_symlink() else directories).append(name)
            elif matches(name):
                yield _found(os.path.join(fixed, name) if fixed else name)
        waiting += reversed(directories)


def _may_match_below(pattern: Sequence[str], names: Sequence[str]) -> bool:
    """Whether files below a directory may match a pattern.

    Args:
        pattern: The names of the pattern, some of them globs.
        names: The names of the directory, from where the first name of the pattern stands.
    """
    for index, name in enumerate(names):
        if "**" in pattern[index]:
            return True
        if index + 1 == len(pattern) or not re.match(FileSystem.translate_pattern(pattern[index]), name):
            return False
    return True


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _found(path: str) -> Found:
    try:
        status = os.stat(path)
    except OSError:  # a link that leads nowhere, or in a circle
        return Found(path, 0)
    return Found(path, status.st_size, status.st_mtime, _is_special(status.st_mode))


def is_special(path: str) -> bool:
    """Whether a local path is neither a file nor a directory: a named pipe, a socket or a device."""
    try:
        return _is_special(os.stat(path).st_mode)
    except OSError:
        return False


def _is_special(mode: int) -> bool:
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_directory(path: str) -> bool:
    """Whether a path is a directory of this machine."""
    return "://" not in path and os.path.isdir(path)
