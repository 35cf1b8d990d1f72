"""The parts of a workbook's sheets (.xlsx), which are looked into first: how large they are, and what is hidden.

Calamine makes a rectangle of all cells around the values of a sheet, so a single value at its far end would take all
memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from kimi_beam.input.readers.content import UnreadableError
from kimi_beam.input.readers.office.drawing_text import paragraphs
from kimi_beam.input.readers.office.office_xml import OfficeFile, local_name
from kimi_beam.input.readers.office.spreadsheets.cell_styles import (
    CellLooks,
    CellStyles,
    cell_looks,
    cell_styles,
    column_number,
)

_MOST_CELLS = 4_000_000
"""The most cells of the rectangle around a sheet's values: so many are made of it, however few have one."""
_MOST_TEXTS = 2_000_000
_SHARED_TEXTS = "xl/sharedStrings.xml"
_CELL = re.compile(rb"""<(?:\w+:)?c\s[^<>]*?\br\s*=\s*["']([A-Z]{1,3})(\d{1,7})["']""")
_CELL_BEGINS = re.compile(rb"<(?:\w+:)?c[\s>/]")
_PLACED_CELL = re.compile(rb"<(?:\w+:)?c\s[^<>]*?\br\s*=")
_EMPTY_CELL = re.compile(rb"<(?:\w+:)?c(?:\s[^<>]*)?/>")
_ROW_ENDS = re.compile(rb"</(?:\w+:)?row\s*>")
_ROW = re.compile(rb"<(?:\w+:)?row\s([^<>]*)>")
_COLUMN = re.compile(rb"<(?:\w+:)?col\s([^<>]*)>")
_HIDDEN = re.compile(rb"""\b(?:hidden\s*=\s*["'](?:1|true)|(?:ht|width)\s*=\s*["']0)["']""")
_FORMULA_ALONE = re.compile(
    rb"<((?:\w+:)?c)\s([^<>]*)>\s*<(?:\w+:)?f(?:\s[^<>]*)?>([^<]+)</(?:\w+:)?f>\s*"
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
"""A cell with a formula and no value: a program has written the workbook that does not compute it."""
_TYPE = re.compile(rb"""\bt\s*=\s*["'](\w+)["']""")
_ERROR_CELL = re.compile(rb"""(<(?:\w+:)?c\s(?:[^<>]*\s)?t\s*=\s*["'])e(["'])""")
_DRAWING = "drawing"
_SHEET_BOX = "{http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing}"
_NUMBER = re.compile(rb"""\b(r|min|max)\s*=\s*["'](\d{1,7})["']""")


def _sheet_parts(file: OfficeFile) -> dict[str, str]:
    """The parts of the sheets by their names; none for the binary form."""
    main = file.main_part("xl/workbook.xml")
    if not main.endswith(".xml"):
        return {}
    relations = file.relationships(main)
    parts = {}
    for element in file.part(main).iter():
        if isinstance(element.tag, str) and local_name(element) == "sheet":
            relation = next((value for key, value in element.attrib.items() if key.endswith("}id")), "")
            name = relations.get(relation, ("", ""))[1]
            if name in file.members:
                parts[element.get("name", "")] = name
    return parts


@dataclass(frozen=True, slots=True)
class SheetLook:
    """How a sheet looks.

    Attributes:
        rows: The rows that are hidden, counted from 0.
        columns: The columns that are hidden, counted from 0.
        cells: What is said of single cells.
        boxes: The text of boxes that lie on it, as lines.
        unseen: What a person does not see of that, and why.
    """

    rows: frozenset[int] = frozenset()
    columns: frozenset[int] = frozenset()
    cells: CellLooks = field(default_factory=CellLooks)
    boxes: tuple[str, ...] = ()
    unseen: tuple[tuple[str, str], ...] = ()


def prepared(file: OfficeFile, content: bytes) -> tuple[bytes, dict[str, SheetLook]]:
    """The file as calamine shall read it, and the look of each sheet.

    Cells that have a look and no value may lie a million rows below the last value. Calamine would make a rectangle up
    to them, so they are taken out where it would be too large. It gives nothing of an error (``#DIV/0!``), nor of a
    formula without a value, so they become texts.

    Args:
        file: The file, unpacked.
        content: The file.

    Raises:
        UnreadableError: The rectangle of a sheet has too many cells.
    """
    _check_texts(file)
    looks, changed = {}, {}
    styles = cell_styles(file.optional_part("xl/styles.xml"))
    for sheet, name in _sheet_parts(file).items():
        part = file.members.read(name)
        if (as_texts := _with_texts(part)) != part:
            part = changed[name] = as_texts
        cells = _cells_of_rectangle(part)
        if cells > _MOST_CELLS:
            part = changed[name] = _EMPTY_CELL.sub(b"", part)
            cells = _cells_of_rectangle(part)
        if cells > _MOST_CELLS:
            message = (
                f"has a sheet {sheet[:100]!r} with values in a rectangle of {cells:,} cells, and {_MOST_CELLS:,} are "
                "read at most: delete what lies far from the table, or split it"
            )
            raise UnreadableError("too_large", message)
        look = _look(part, styles)
        looks[sheet] = _with_boxes(look, file, name) if b"drawing" in part else look
    return (file.members.with_parts(changed) if changed else content), looks


def _check_texts(file: OfficeFile) -> None:
    """Counts the texts that the cells share, of which calamine makes an object each.

    Raises:
        UnreadableError: There are too many.
    """
    if _SHARED_TEXTS not in file.members or file.members.size(_SHARED_TEXTS) < _MOST_TEXTS:
        return
    count = file.members.read(_SHARED_TEXTS).count(b"<si")
    if count > _MOST_TEXTS:
        message = f"has {count:,} texts, and {_MOST_TEXTS:,} are read at most: split it, or save it as CSV"
        raise UnreadableError("too_large", message)


def _with_texts(part: bytes) -> bytes:
    """The part of a sheet, in which errors and formulas without a value are texts."""
    part = _ERROR_CELL.sub(rb"\1str\2", part)
    return _FORMULA_ALONE.sub(_formula_as_text, part) if b"<f" in part or b":f" in part else part


def _formula_as_text(cell: re.Match[bytes]) -> bytes:
    kind = _TYPE.search(cell[2])
    if kind is not None and kind[1] == b"str":  # its value is a text without letters
        return cell[0]
    prefix = cell[1][:-1]
    attributes = _TYPE.sub(b"", cell[2])
    return b'<%s %s t="str"><%sv>=%s</%sv></%s>' % (cell[1], attributes, prefix, cell[3], prefix, cell[1])


def _with_boxes(look: SheetLook, file: OfficeFile, sheet: str) -> SheetLook:
    """The look of a sheet, with the boxes on it."""
    found: list[str] = []
    unseen: list[tuple[str, str]] = []
    for kind, name in file.relationships(sheet).values():
        drawing = file.optional_part(name) if kind == _DRAWING else None
        for body in () if drawing is None else drawing.iter(f"{_SHEET_BOX}txBody"):
            found += paragraphs(body, None, lambda text, reason: unseen.append((text, reason)))
    return replace(look, boxes=tuple(found), unseen=tuple(unseen))


def _look(part: bytes, styles: CellStyles) -> SheetLook:
    """What the part of a sheet says of its hidden rows and columns, and of its cells."""
    cells = cell_looks(part, styles)
    if not any(word in part for word in (b"hidden", b'ht="0"', b'width="0"')):
        return SheetLook(cells=cells)
    rows, columns = set(), set()
    for row in _ROW.finditer(part):
        if _HIDDEN.search(row[1]):
            rows |= {int(number) - 1 for word, number in _NUMBER.findall(row[1]) if word == b"r"}
    for column in _COLUMN.finditer(part):
        if _HIDDEN.search(column[1]):
            bounds = {word: int(number) for word, number in _NUMBER.findall(column[1])}
            columns |= set(range(bounds.get(b"min", 1) - 1, min(bounds.get(b"max", 0), 16_384)))
    return SheetLook(frozenset(rows), frozenset(columns), cells)


def _cells_of_rectangle(part: bytes) -> int:
    """The cells of the rectangle around all cells of a sheet.

    Raises:
        UnreadableError: Where its cells are is written as no program writes it.
    """
    places = _CELL.findall(part)
    begun = len(_CELL_BEGINS.findall(part)) if b":c" in part else part.count(b"<c ") + part.count(b"<c>")
    rectangle = _rectangle(places)
    if len(places) == begun:
        return rectangle
    if len(_PLACED_CELL.findall(part)) != len(places):
        raise UnreadableError("damaged", "is damaged: its cells are at no places of a sheet")
    rows = _ROW_ENDS.split(part)  # cells without a place follow each other in their row
    numbers = [int(number) for row in _ROW.findall(part) for word, number in _NUMBER.findall(row) if word == b"r"]
    widest = max(len(_CELL_BEGINS.findall(row)) for row in rows)
    columns = max((column_number(letters) for letters, _ in places), default=0) + widest
    return columns * max(len(rows), *numbers, *(int(row) for _, row in places), 1)


def _rectangle(places: Sequence[tuple[bytes, bytes]]) -> int:
    if not places:
        return 0
    columns = [column_number(letters) for letters in {letters for letters, _ in places}]
    rows = [int(number) for number in {number for _, number in places}]
    return (max(columns) - min(columns) + 1) * (max(rows) - min(rows) + 1)
