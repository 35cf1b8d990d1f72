"""The rows of OpenDocument spreadsheets as lines, without the rectangle of empty cells that their repeats describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from kimi_beam.input.readers.content import UnreadableError
from kimi_beam.input.readers.hidden.colours import WHITE
from kimi_beam.input.readers.hidden.hidden_texts import HiddenTexts
from kimi_beam.input.readers.office.office_xml import Element, int_of
from kimi_beam.input.readers.office.opendocument.opendocument_styles import NO_STYLE, OFFICE, TABLE, TEXT, OpenStyles
from kimi_beam.input.readers.text.table_rows import table_row

_MOST_CELLS = 4_000_000
"""The most cells with a value in all sheets, repeats included."""
_MOST_CHARACTERS = 64_000_000
"""The most characters of these values."""
_WHITE_SHEET = replace(NO_STYLE, background=WHITE)
_HIDDEN = ("collapse", "filter")
_ROW_GROUPS = frozenset(f"{TABLE}{name}" for name in ("table-header-rows", "table-rows", "table-row-group"))
_COLUMN_GROUPS = frozenset(f"{TABLE}{name}" for name in ("table-header-columns", "table-columns", "table-column-group"))


def sheet_lines(
    body: Element, styles: OpenStyles, hidden: HiddenTexts, page: Callable[[], int]
) -> Iterator[tuple[str, list[str], bool]]:
    """The name and lines of each sheet, and whether it is shown.

    Args:
        body: The element that holds the sheets.
        styles: The file's styles.
        hidden: Takes hidden rows and columns, and values that nobody sees.
        page: Gives the number of the page that the sheet will be, from 1.

    Raises:
        UnreadableError: The sheets have too many values.
    """
    left, characters = _MOST_CELLS, _MOST_CHARACTERS
    for table in body.iterfind(f"{TABLE}table"):
        hidden_columns = _hidden_columns(table)
        rows: list[dict[int, str]] = []
        secrets: list[str] = []
        for row in _elements(table, f"{TABLE}table-row", _ROW_GROUPS):
            cells, unseen = _cells(row, left, styles)
            for text, reason in unseen:
                hidden.add(text, reason, page())
            times = _repeats(row, "rows") if cells else 1
            left -= len(cells) * times
            characters -= sum(map(len, cells.values())) * times
            if left < 0 or characters < 0:
                raise _too_large()
            if row.get(f"{TABLE}visibility") in _HIDDEN:
                secrets.append(table_row(cells.values()))
                continue
            if any(column in hidden_columns for column in cells):
                secrets.append(table_row(text for column, text in cells.items() if column in hidden_columns))
                cells = {column: text for column, text in cells.items() if column not in hidden_columns}
            rows += [cells] * times
        columns = sorted({column for cells in rows for column in cells})
        lines = [table_row(cells.get(column, "") for column in columns) for cells in rows]
        is_shown = styles.style("table", table.get(f"{TABLE}style-name")).is_shown
        hidden.add("\n".join(secrets), "hidden rows or columns", page())
        yield table.get(f"{TABLE}name", ""), lines if any(lines) else [], is_shown


def _cells(row: Element, most: int, styles: OpenStyles) -> tuple[dict[int, str], list[tuple[str, str]]]:
    """The values of a row by their columns, and those that a person does not see, with the reason."""
    cells: dict[int, str] = {}
    unseen: list[tuple[str, str]] = []
    column = 0
    for cell in row:
        if cell.tag not in (f"{TABLE}table-cell", f"{TABLE}covered-table-cell"):
            continue
        times = _repeats(cell, "columns")
        text = _text(cell)
        name = cell.get(f"{TABLE}style-name")
        if text and name and (reason := styles.style("table-cell", name).within(_WHITE_SHEET).why_hidden()):
            unseen.append((text, reason))
            text = ""
        if text:
            if times > most:
                raise _too_large()
            cells |= dict.fromkeys(range(column, column + times), text)
        column += times
    return cells, unseen


def _text(cell: Element) -> str:
    """What is printed in a cell."""
    lines = ["".join(_letters(line)) for line in cell.iterfind(f"{TEXT}p")]
    return "\n".join(lines).strip() or cell.get(f"{OFFICE}value", "") or cell.get(f"{OFFICE}date-value", "")


def _letters(element: Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if child.tag == f"{TEXT}s":
            yield " "
        elif child.tag != f"{OFFICE}annotation":
            yield from _letters(child)
        yield child.tail or ""


def _repeats(element: Element, what: str) -> int:
    return max(1, int_of(element.get(f"{TABLE}number-{what}-repeated"), 1))


def _hidden_columns(table: Element) -> set[int]:
    found: set[int] = set()
    at = 0
    for column in _elements(table, f"{TABLE}table-column", _COLUMN_GROUPS):
        times = _repeats(column, "columns")
        if column.get(f"{TABLE}visibility") in _HIDDEN:
            found |= set(range(at, at + min(times, 16_384)))
        at += times
    return found


def _elements(parent: Element, tag: str, groups: frozenset[str]) -> Iterator[Element]:
    for child in parent:
        if child.tag == tag:
            yield child
        elif child.tag in groups:
            yield from _elements(child, tag, groups)


def _too_large() -> UnreadableError:
    return UnreadableError("too_large", f"has more than {_MOST_CELLS:,} cells with values, or too long ones: split it")
