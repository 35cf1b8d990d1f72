"""Checks the inputs of a run before anything is spent: patterns that match nothing, and kinds that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kimi_beam.errors import InputError
from kimi_beam.files.compressed_files import uncompressed_name
from kimi_beam.files.local_listing import Found
from kimi_beam.files.paths import find, is_local, normal, open_input
from kimi_beam.input.fields import DEFAULT_READING, Reading
from kimi_beam.input.finding import check_links, file_pattern, find_inputs, is_broken_link
from kimi_beam.input.kinds import IN_WORDS, instead_of, kind_by_name, suffix_of
from kimi_beam.input.tables import fault_of_table
from kimi_beam.input.told_by_content import HEAD_BYTES, is_told_by_all, kind_of

_NAMED_FILES = 5
"""How many files of unreadable kinds an error message names."""


def check_input(patterns: Sequence[str], reading: Reading = DEFAULT_READING) -> tuple[str, ...]:
    """Refuses patterns that match nothing, or that match files of a kind that cannot be read.

    Args:
        patterns: Paths, directories and globs.
        reading: How files become documents. If it passes over unknown kinds, or has a reader of the user's, none is
            refused.

    Returns:
        The patterns of the files. For a directory that is the pattern of all files below it.

    Raises:
        InputError: A pattern is refused; the message names it, or the files that cannot be read.
    """
    if not patterns:
        raise InputError("no input: name at least one path or glob")
    check_links(patterns)
    for pattern in patterns:
        found = find_inputs([pattern])
        if not found:
            raise InputError(_without_files(pattern))
        is_exact = [file.path for file in found] == [normal(pattern)]
        if is_exact and (fault := _fault_of_table(found[0].path, reading)) is not None:
            raise InputError(fault)
        if reading.skip_unknown or reading.reader is not None:
            continue
        unknown = unknown_files(found, reading)
        if unknown and is_exact:
            advice = instead_of(pattern) or f"{IN_WORDS} can"
            raise InputError(f"{pattern} is of a kind that cannot be read, told by its name and content: {advice}")
        if unknown:
            names = enumerate_paths(unknown, _NAMED_FILES)
            raise InputError(
                f"{names} of {len(found)} files match {pattern} and are of kinds that cannot be read: --skip-unknown, "
                f"skip_unknown= passes over them, or name it narrower, such as {_narrower(pattern, found)}"
            )
    return tuple(map(file_pattern, patterns))


def enumerate_paths(paths: Sequence[str], most: int) -> str:
    """Paths in words, for a message: the first of them, and how many more there are."""
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return f"{', '.join(paths[:most])}{more}"


def unknown_files(found: Sequence[Found], reading: Reading = DEFAULT_READING) -> list[str]:
    """The files of kinds that cannot be read, as far as that can be told before they are read.

    The content of files of this machine is looked at if their names do not say what they are. In object stores that
    would cost a request each: there a name without a suffix is told when the file is read.

    Args:
        found: The files.
        reading: How files become documents.
    """
    return [
        file.path
        for file in found
        if file.is_special or (kind_by_name(file.path) is None and not _may_be_read(file.path, reading))
    ]


def _may_be_read(path: str, reading: Reading) -> bool:
    """Whether a file whose name says no kind may be of one that is read."""
    if not is_local(path):
        return suffix_of(uncompressed_name(path)) is None
    if is_broken_link(path) or not Path(path).is_file():
        return True  # reading it says what is wrong with it
    try:
        with open_input(path) as f:
            content = f.read(HEAD_BYTES)
            if is_told_by_all(content):
                content += f.read(reading.max_document_bytes)
            return kind_of(path, content, reading.encoding) is not None
    except Exception:  # whatever a damaged or locked file raises: reading it says what is wrong
        return True


def _fault_of_table(path: str, reading: Reading) -> str | None:
    kind = kind_by_name(path)
    if kind is None or kind.form != "table" or not is_local(path):
        return None
    try:
        with open_input(path) as f:
            fault = fault_of_table(f, path, reading)
    except Exception:  # reading it says what is wrong
        return None
    return None if fault is None or fault.code not in ("missing_id", "missing_text") else fault.message


def _narrower(pattern: str, found: Sequence[Found]) -> str:
    """A pattern that matches fewer files, those of the first kind that can be read."""
    kinds = [kind for file in found if (kind := kind_by_name(file.path)) is not None]
    return f"{pattern.rstrip('*').rstrip('/')}/**{kinds[0].suffix if kinds else '.txt'}"


def _without_files(pattern: str) -> str:
    """The message about a pattern that matches no file that can be read."""
    hidden = _hidden_ones(pattern)
    if is_local(normal(pattern)) and Path(normal(pattern)).is_dir():
        return f"the directory {pattern} holds no files{hidden}: {IN_WORDS} can be read"
    return f"no file matches {pattern}{hidden}"


def _hidden_ones(pattern: str) -> str:
    hidden = find(file_pattern(pattern))
    return f" but {len(hidden)} hidden ones, which are read if they are named: {hidden[0].path}" if hidden else ""
