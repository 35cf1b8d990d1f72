"""Headings of a text: which lines are headings, and under which of them a place stands."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

_LONGEST = 120
"""Characters that a heading has at most; a longer line is a sentence."""
_MOST = 5
"""The most headings that a place is said to stand under, the innermost ones."""
_MARKDOWN = re.compile(r"(#{1,6})\s+\S")
_NUMBERED = re.compile(r"(\d{1,3}(?:\.\d{1,3}){0,4})\.?\s+[^\W\d_]")
_NAMED = re.compile(
    r"(?:article|chapter|part|section|exhibit|schedule|annex|appendix|artikel|kapitel)\s+[\dIVXA-Z]", re.I
)
_WORD = re.compile(r"[^\W\d_]{2,}")


class Heading(NamedTuple):
    """One heading of a text."""

    start: int
    """The index of its line's first character."""
    level: int
    """1 for the outermost."""
    title: str


def headings(text: str) -> list[Heading]:
    """The headings of a text, in their order: Markdown's, numbered ones, named ones, and lines of capital letters."""
    found: list[Heading] = []
    start = 0
    for line in text.splitlines(keepends=True):
        title = line.strip()
        if title and len(title) <= _LONGEST and (level := _level(title)):
            found.append(Heading(start, level, title))
        start += len(line)
    return found


def path_at(found: list[Heading], position: int) -> tuple[str, ...]:
    """The titles that a place stands under, the outermost first.

    Args:
        found: The headings of the text.
        position: The index of a character. A heading that begins there is not above it.
    """
    path: list[Heading] = []
    level = 99
    for heading in reversed(found[: bisect_right(found, position - 1, key=lambda one: one.start)]):
        if heading.level < level:
            path.append(heading)
            level = heading.level
        if level == 1:
            break
    return tuple(heading.title for heading in reversed(path[:_MOST]))


def _level(line: str) -> int:
    """The level of a line; 0 if it is no heading."""
    if match := _MARKDOWN.match(line):
        return len(match[1])
    if _NAMED.match(line) and not line.endswith((",", ";")):
        return 1
    # A row of a table and a sentence may begin with a number too.
    if (match := _NUMBERED.match(line)) and not any(map(str.isdigit, line[match.end() :])) and line[-1] not in ".,;":
        return 1 + match[1].count(".")
    is_capital = line.isupper() and not any(map(str.isdigit, line)) and ":" not in line
    return 1 if is_capital and _WORD.search(line) and len(line.split()) <= 12 else 0
