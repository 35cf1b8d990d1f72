"""Text as it is collected for a page: words flow on a line, blocks begin lines, rows of tables are a line each."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kimi_beam.input.readers.text.table_rows import joined_lines, table_row

_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]+")
"""Characters without a width that only say where a line may break."""
_MOST_SPAN = 100
_LEAST_SIDE_BY_SIDE, _LEAST_OF_A_COLUMN = 3, 4


class TextFlow:
    """Collects the text of one page or one cell."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._wants_space = False
        self._has_only_mark = False
        """Whether the line has the mark of an item, and nothing of the item yet."""

    def begin_item(self, mark: str) -> None:
        """Begins an item of a list: its mark stands on one line with what comes next, which may be a block itself."""
        self.end_item()
        self._line = [mark]
        self._has_only_mark = True

    def end_item(self) -> None:
        """Ends the line, also if it has only the mark of an item."""
        self._has_only_mark = False
        self.begin_line()

    def add(self, text: str) -> None:
        """Adds words, with each run of white space as one space."""
        words = _INVISIBLE.sub("", text).split()
        if not words:
            self._wants_space = self._wants_space or bool(text)
            return
        if self._has_only_mark:
            self._has_only_mark, self._wants_space = False, False
            text = text.lstrip()
        if self._line and (self._wants_space or text[0].isspace()):
            self._line.append(" ")
        self._line.append(" ".join(words))
        self._wants_space = text[-1].isspace()

    def add_verbatim(self, text: str) -> None:
        """Adds a text with its white space; its line feeds begin lines."""
        if self._wants_space and self._line and not self._has_only_mark:
            self._line.append(" ")
        self._wants_space = self._has_only_mark = False
        first, *others = text.split("\n")
        self._line.append(first)
        for line in others:
            self._lines.append("".join(self._line))
            self._line = [line]

    def begin_line(self) -> None:
        """Ends the line, unless it is empty or has only the mark of an item."""
        if self._line and not self._has_only_mark:
            self._lines.append("".join(self._line))
            self._line = []
        self._wants_space = False

    def begin_paragraph(self) -> None:
        """Ends the line, and leaves an empty one before what follows."""
        self.begin_line()
        if self._lines and self._lines[-1] and not self._has_only_mark:
            self._lines.append("")

    def break_line(self) -> None:
        """Ends the line, also if it is empty."""
        self._has_only_mark = False
        self._lines.append("".join(self._line))
        self._line = []
        self._wants_space = False

    def add_lines(self, lines: Iterable[str]) -> None:
        """Adds whole lines."""
        self.end_item()
        self._lines.extend(lines)

    def text(self) -> str:
        """All of it, without empty lines at its ends."""
        if not self._lines and "\n" not in self._line:
            return "".join(self._line).strip()
        self.end_item()
        return joined_lines(self._lines)


class TableFlow:
    """Collects the cells of a table, row by row, and gives each row as lines.

    A row is one line, also if a cell has several. A row that lays out a page is none to a reader's eye: its cells
    follow each other, each with its own lines. Such are rows that hold other tables, as in mails, rows with a single
    cell, and rows with two or more cells of four or more lines, such as columns of a letter's head. Where all cells
    have equally many lines, three or more, they stand side by side, and each is a row.
    """

    def __init__(self) -> None:
        self._cells: list[str] = []
        self._spans: dict[int, int] = {}
        """For each column of this row, in how many rows from here on a cell above still takes its place."""
        self._next_spans: dict[int, int] = {}
        self._holds_table = False

    def begin_row(self) -> None:
        """Begins a row."""
        self._cells = []
        self._spans, self._next_spans = self._next_spans, {}
        self._holds_table = False

    def add_cell(self, text: str, columns: int = 1, rows: int = 1) -> None:
        """Adds a cell.

        Args:
            text: Its text, which may have several lines.
            columns: The columns that it takes: those after the first are empty.
            rows: The rows that it takes: below, its place is empty.
        """
        self._skip_spanned()
        for column in range(min(columns, _MOST_SPAN)):
            if rows > 1:
                self._next_spans[len(self._cells)] = rows - 1
            self._cells.append("" if column else text)

    def mark_holds_table(self) -> None:
        """Says that the row holds a table within a cell."""
        self._holds_table = True

    def end_row(self) -> list[str]:
        """The lines of the row."""
        self._skip_spanned()
        if self._holds_table or len(self._cells) == 1:
            return [line for text in self._cells if text for line in text.split("\n")]
        if sum("\n" in text for text in self._cells) > 1:
            cells = [[line for line in text.split("\n") if line.strip()] for text in self._cells]
            counts = sorted(len(lines) for lines in cells if lines)
            if counts[0] == counts[-1] >= _LEAST_SIDE_BY_SIDE:
                return [table_row(lines[at] if lines else "" for lines in cells) for at in range(counts[0])]
            if counts[-2] >= _LEAST_OF_A_COLUMN:
                return [line for lines in cells for line in lines]
        line = table_row(self._cells)
        return [line] if line else []

    def _skip_spanned(self) -> None:
        while rows := self._spans.pop(len(self._cells), 0):
            if rows > 1:
                self._next_spans[len(self._cells)] = rows - 1
            self._cells.append("")
