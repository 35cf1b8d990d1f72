"""Which lines of a text belong to one row of a table, so that no part ends between them.

The name of an item may go on in the lines below its numbers, or begin in the lines above them. The rows of one table
are alike: what stands at its ends shows which of both they do. Where nothing shows it, neither is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from typing import Literal, NamedTuple

from kimi_beam.results.shown_rows import TableReader, is_header, is_row, is_sum

_MOST_BETWEEN = 5
"""Lines at most that stand at a page's end between two halves of a row."""
_RUNNING = re.compile(
    r"[\W_]*$|\W*(?:page|seite|blatt|p\.?|pagina|página)?\s*\d+\W*(?:(?:of|von|sur|de|di|/)\W*\d+\W*)?$", re.I
)
_Kind = Literal["row", "names", "names again", "sum", "blank", "words", "running", "outside"]


class TextLine(NamedTuple):
    """A line, and what it may be of a table."""

    text: str
    has_row: bool = False
    has_names: bool = False
    is_in_table: bool = False
    is_page: bool = False
    """Whether a page begins with it."""
    is_repeated: bool = False
    """Whether it holds the same names of columns as a line before it."""

    @property
    def kind(self) -> _Kind:
        """What it is."""
        if not self.text.strip():
            return "blank"
        if self.has_names:
            return "names again" if self.is_repeated else "names"
        if not self.is_in_table:
            return "outside"
        if self.has_row:
            return "row"
        return "sum" if is_sum(self.text) else "running" if _RUNNING.match(self.text) else "words"


def text_lines(text: str, columns: str, page_starts: Set[int]) -> list[TextLine]:
    """The lines of a text.

    Args:
        text: The text.
        columns: The names of the columns, if the text begins inside a table; else empty.
        page_starts: The indices at which pages begin.
    """
    table, lines, position = TableReader(columns), list[TextLine](), 0
    seen = {tuple(columns.split())}
    for written in text.splitlines(keepends=True):
        has_row = is_row(written)
        has_names = not has_row and is_header(written)
        table.read(written, has_row=has_row, has_names=has_names)
        names = tuple(written.split()) if has_names else ()
        is_page, is_repeated = position in page_starts, names in seen
        lines.append(TextLine(written, has_row, has_names, bool(table.columns), is_page, is_repeated))
        seen.add(names)
        position += len(written)
    return lines


def lines_inside_rows(lines: Sequence[TextLine]) -> set[int]:
    """The indices of lines before which a row goes on.

    Args:
        lines: All lines of a text.
    """
    kinds = [line.kind for line in lines]
    runs = list(_runs(lines, kinds))
    below = sum(1 if run.shows_below else -1 if run.shows_above else 0 for run in runs)
    inside: set[int] = set()
    for run in runs:
        has_row_before, has_row_behind = run.before == "row", run.behind == "row"
        if has_row_before or has_row_behind:
            inside.update(range(run.first + 1, run.end))
        if has_row_before and (below >= 0 or not has_row_behind):
            inside.add(run.first)
        if has_row_behind and (below <= 0 or not has_row_before):
            inside.add(run.end)
        # A page may end inside a row, and begin with lines that are repeated on each page.
        is_at_end, is_at_begin = not has_row_behind, not has_row_before
        if (
            is_at_end
            and (below < 0 or (below == 0 and has_row_before))
            and (row := _row_across_pages(lines, kinds, run.end, 1))
        ):
            inside.update(range(run.end, row + 1))
            if below:
                inside.discard(run.first)
        if (
            is_at_begin
            and (below > 0 or (below == 0 and has_row_behind))
            and (row := _row_across_pages(lines, kinds, run.first - 1, -1))
        ):
            inside.update(range(row + 1, run.first + 1))
            if below:
                inside.discard(run.end)
    return inside


class _Run(NamedTuple):
    """Lines of words between the rows of a table."""

    first: int
    end: int
    before: str
    """The kind of the line before it; "page" if a page begins with it."""
    behind: str

    @property
    def shows_below(self) -> bool:
        """Whether it shows that names go on below their numbers."""
        return self.before == "row" and self.behind in ("blank", "names", "sum", "outside", "")

    @property
    def shows_above(self) -> bool:
        """Whether it shows that names begin above their numbers."""
        return self.behind == "row" and self.before in ("blank", "names", "outside", "")


def _runs(lines: Sequence[TextLine], kinds: Sequence[str]) -> Iterator[_Run]:
    index = 0
    while index < len(lines):
        end = index + 1
        if kinds[index] == "words":
            while end < len(lines) and kinds[end] == "words" and not lines[end].is_page:
                end += 1
            previous = index - 1
            while previous > 0 and kinds[previous] == "running" and not lines[previous].is_page:
                previous -= 1  # such as the line of dashes below the names of columns
            before = "page" if lines[index].is_page else kinds[previous] if index else ""
            behind = "" if end == len(lines) else "page" if lines[end].is_page else kinds[end]
            yield _Run(index, end, before, behind)
        index = end


def _row_across_pages(lines: Sequence[TextLine], kinds: Sequence[str], index: int, step: int) -> int:
    """The index of the next row of the table from a line on, if a page ends or begins between them; else 0.

    Args:
        lines: All lines.
        kinds: Their kinds.
        index: The index of the line.
        step: 1, or -1 for the row before.
    """
    crosses = step < 0 and lines[index + 1].is_page
    for _ in range(_MOST_BETWEEN):
        if not 0 <= index < len(kinds) or kinds[index] not in ("row", "names again", "running", "blank"):
            return 0
        crosses |= kinds[index] == "names again" or (lines[index].is_page and (step > 0 or kinds[index] != "row"))
        if kinds[index] == "row":
            return index if crosses else 0
        index += step
    return 0
