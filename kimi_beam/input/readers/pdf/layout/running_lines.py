"""Headers and footers of a file: a line that stands on the same place of many pages is kept once."""

from __future__ import annotations

import re
from collections import Counter
from itertools import takewhile

from kimi_beam.input.readers.pdf.layout.page_text import TextLine

_PAGES = 4
"""A line must be on this many pages to be a running one."""
_SHARE = 0.5
"""And on this share of all pages."""
_EDGE = 4
"""The lines from the top and from the bottom of a page that may be running ones."""
_CELLS = re.compile(r"\S {2,}\S.* {2,}\S")
"""A line of three cells or more is a row of a table, or the heads of its columns, which each page needs."""


def without_repeated_lines(pages: list[list[TextLine]]) -> list[list[TextLine]]:
    """The lines of each page without those that are on many pages at the same place, but for the first page with it.

    Only lines that are equal character by character are left out, and only in an unbroken row from the edge of the
    page, so that nothing else of a table or a list is lost.

    Args:
        pages: The lines of each page.
    """
    if len(pages) < _PAGES:
        return pages
    tops = _running([_edge(lines) for lines in pages], len(pages))
    bottoms = _running([_edge(lines[::-1]) for lines in pages], len(pages))
    seen: set[tuple[str, int, str]] = set()
    return [_cut(_cut(lines, tops, "top", seen)[::-1], bottoms, "bottom", seen)[::-1] for lines in pages]


def _edge(lines: list[TextLine]) -> list[str]:
    texts = (line.text.strip() for line in lines if line.text)
    return list(takewhile(lambda text: not _CELLS.search(text), texts))[:_EDGE]


def _running(edges: list[list[str]], pages: int) -> set[tuple[int, str]]:
    counts = Counter((place, text) for edge in edges for place, text in enumerate(edge))
    return {line for line, count in counts.items() if count >= max(_PAGES, _SHARE * pages)}


def _cut(
    lines: list[TextLine], running: set[tuple[int, str]], edge: str, seen: set[tuple[str, int, str]]
) -> list[TextLine]:
    """The lines without the running ones that begin them."""
    kept: list[TextLine] = []
    place = 0
    for index, line in enumerate(lines):
        text = line.text.strip()
        if not text:
            kept.append(line)
            continue
        if (place, text) not in running:
            kept += lines[index:]
            break
        if (edge, place, text) not in seen:
            seen.add((edge, place, text))
            kept.append(line)
        place += 1
    while kept and not kept[0].text:
        kept.pop(0)
    return kept
