"""Finds the files of an input: those that a pattern matches, and all files below a directory.

Hidden files are passed over. Hidden are files and directories whose name begins with a dot (``._scan.jpg`` of macOS) or
an underscore (``_SUCCESS`` of Spark and Hadoop), unless the pattern itself has a name that begins so. Links that lead
nowhere are found too, so that the user hears of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from kimi_beam.errors import InputError
from kimi_beam.files.local_listing import Found, escaped, fixed_and_glob
from kimi_beam.files.paths import absolute, find, is_local, normal

_GLOB = re.compile(r"[*?\[]")
_HIDDEN = (".", "_")


def file_pattern(pattern: str) -> str:
    """The pattern for an input: of a directory, the pattern of all files below it; any other pattern unchanged.

    Raises:
        InputError: The filesystem cannot be reached or used.
    """
    pattern = normal(pattern)
    if is_local(pattern):
        return normal(f"{escaped(pattern.rstrip('/'))}/**") if os.path.isdir(pattern) else pattern
    below = normal(f"{pattern.rstrip('/')}/**")
    if _GLOB.search(pattern):
        return pattern
    return pattern if not pattern.endswith("/") and find(pattern) else below


def find_inputs(patterns: Sequence[str]) -> list[Found]:
    """The files of several inputs, sorted by path, each once even if two inputs spell it differently.

    What cannot be read is among them, as empty files: links that lead nowhere, directories that may not be looked
    into, and what is no file. Reading it gives a document that says what is wrong.

    Raises:
        InputError: The filesystem cannot be reached or used.
    """
    found: dict[str, Found] = {}
    for pattern in map(file_pattern, patterns):
        for spelling in _with_no_directory_between(pattern):
            for file in find(spelling):
                if not is_hidden(file.path, pattern):
                    found[absolute(file.path)] = file
    return sorted(found.values())


def is_hidden(path: str, pattern: str) -> bool:
    """Whether a file that matches a pattern is hidden, by a name that begins with a dot or underscore.

    Args:
        path: The path of the file.
        pattern: The pattern. If one of its own names begins so, the user wants hidden files.
    """
    begin = _GLOB.search(pattern)
    if begin is None or path == pattern:
        return False
    fixed, glob = fixed_and_glob(pattern) if is_local(pattern) else ("", "")
    if not is_local(pattern):
        end = pattern.rfind("/", 0, begin.start())
        fixed, glob = pattern[:end], pattern[end + 1 :]
    return not is_hidden_name(glob) and is_hidden_name(path[len(fixed) :])


def is_hidden_name(path: str) -> bool:
    """Whether a name in a path begins with a dot or an underscore. ``.`` and ``..`` are no names."""
    return any(name.startswith(_HIDDEN) and name not in (".", "..") for name in path.split("/"))


def is_broken_link(path: str) -> bool:
    """Whether a local path is a link to a file that does not exist."""
    return is_local(path) and os.path.islink(path) and not os.path.exists(path)


def broken_link_message(path: str) -> str:
    """The message about a link that leads nowhere."""
    return f"{path} is a link to {os.readlink(path)}, which is not there"


def _with_no_directory_between(pattern: str) -> Iterator[str]:
    """A pattern, and what it is where ``/**/`` stands for no directory, which Beam's globs do not say."""
    name, stars, rest = pattern.partition("**/")
    if not stars:
        yield pattern
        return
    for spelling in _with_no_directory_between(rest):
        yield f"{name}**/{spelling}"
        if not name or name.endswith("/"):
            yield f"{name}{spelling}"


def check_links(patterns: Sequence[str]) -> None:
    """Refuses inputs that are links which lead nowhere.

    Raises:
        InputError: There is one; the message names it.
    """
    for pattern in map(normal, patterns):
        if is_broken_link(pattern):
            raise InputError(broken_link_message(pattern))
