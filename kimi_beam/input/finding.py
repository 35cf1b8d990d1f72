"""Which files an input means: directories and all below them, without hidden files, and with links that lead nowhere.

Hidden is what begins with a dot (``._scan.jpg`` of macOS) or an underscore (``_SUCCESS`` of Spark and Hadoop), a
directory as well. It is read where it is named outright, or the pattern itself begins a name so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from apache_beam.io.filesystem import FileSystem

from kimi_beam.errors import InputError
from kimi_beam.files.paths import Found, absolute, find, is_local, normal

_GLOB = re.compile(r"[*?\[]")
_HIDDEN = (".", "_")


def meant(pattern: str) -> str:
    """The pattern of the files that are meant: of a directory, all below it.

    Raises:
        InputError: The filesystem cannot be asked.
    """
    pattern = normal(pattern)
    below = normal(f"{pattern.rstrip('/')}/**")
    if is_local(pattern):
        return below if os.path.isdir(pattern) else pattern
    if _GLOB.search(pattern):
        return pattern
    return pattern if not pattern.endswith("/") and find(pattern) else below


def find_inputs(patterns: Sequence[str]) -> list[Found]:
    """The files that any of the patterns means, each once however it is spelt, by path.

    A link to a file that is not there is among them, as an empty file: reading it says what is wrong.

    Raises:
        InputError: The filesystem cannot be asked.
    """
    found: dict[str, Found] = {}
    for pattern in map(meant, patterns):
        for file in (*find(pattern), *_broken_links(pattern)):
            if not is_hidden(file.path, pattern):
                found[absolute(file.path)] = file
    return sorted(found.values())


def is_hidden(path: str, pattern: str) -> bool:
    """Whether a file that matches a pattern is hidden, by a name that the pattern does not spell out."""
    begin = _GLOB.search(pattern)
    if begin is None or path == pattern:
        return False
    fixed = pattern.rfind("/", 0, begin.start()) + 1
    if any(name.startswith(_HIDDEN) for name in pattern[fixed:].split("/")):
        return False
    return any(name.startswith(_HIDDEN) for name in path[fixed:].split("/"))


def is_broken_link(path: str) -> bool:
    """Whether a path on this machine is a link to what is not there."""
    return is_local(path) and os.path.islink(path) and not os.path.exists(path)


def broken(path: str) -> str:
    """What is wrong with such a link, in one line."""
    return f"{path} is a link to {os.readlink(path)}, which is not there"


def _broken_links(pattern: str) -> Iterator[Found]:
    if not is_local(pattern):
        return
    begin = _GLOB.search(pattern)
    if begin is None or os.path.lexists(pattern):
        if is_broken_link(pattern):
            yield Found(pattern, 0)
        return
    matches = re.compile(FileSystem.translate_pattern(pattern)).match
    root = pattern[: pattern.rfind("/", 0, begin.start()) + 1]
    goes_below = "/" in pattern[len(root) :] or "**" in pattern
    for directory, below, names in os.walk(root or "."):
        for name in (*names, *below):
            path = normal(os.path.join(directory, name))
            if is_broken_link(path) and matches(path):
                yield Found(path, 0)
        if not goes_below:
            return


def check_links(patterns: Sequence[str]) -> None:
    """Refuses a link that is named outright and leads nowhere.

    Raises:
        InputError: Naming it.
    """
    for pattern in map(normal, patterns):
        if is_broken_link(pattern):
            raise InputError(broken(pattern))
