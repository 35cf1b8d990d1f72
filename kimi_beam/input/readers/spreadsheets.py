"""Reads spreadsheets (.xlsx, .xlsm, .xlsb, .xls, and by `opendocument` .ods): a sheet is a page, a row a line.

Dates are ISO's, whole numbers have no ``.0``, formulas show the value that was saved with them, and rows and columns
without any value are left out. Hidden sheets, rows and columns are in `Content.hidden`. Comments, charts and drawings
are not read.
"""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from kimi_beam.input.readers import opendocument
from kimi_beam.input.readers.content import Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.embedded_pictures import pages_with_pictures
from kimi_beam.input.readers.hidden_texts import HiddenTexts
from kimi_beam.input.readers.office_xml import OLE_MARK, OfficeFile, compound_file_error, local_name
from kimi_beam.input.readers.optional_libraries import missing_extra
from kimi_beam.input.readers.table_rows import joined_lines, table_row

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")
_KIND = "a spreadsheet"
_MOST_CELLS = 4_000_000
"""The most cells of the rectangle around a sheet's values: so many are made of it, however few have one."""
_CELL = re.compile(rb"""<(?:\w+:)?c\s[^>]*?\br\s*=\s*["']([A-Z]{1,3})(\d{1,7})["']""")
_CELL_BEGINS = re.compile(rb"<(?:\w+:)?c[\s>/]")
_PLACED_CELL = re.compile(rb"<(?:\w+:)?c\s[^>]*?\br\s*=")
_EMPTY_CELL = re.compile(rb"<(?:\w+:)?c(?:\s[^>]*)?/>")
_ROW_ENDS = re.compile(rb"</(?:\w+:)?row\s*>")
_ROW = re.compile(rb"<(?:\w+:)?row\s([^>]*)>")
_COLUMN = re.compile(rb"<(?:\w+:)?col\s([^>]*)>")
_HIDDEN = re.compile(rb"""\b(?:hidden\s*=\s*["'](?:1|true)|(?:ht|width)\s*=\s*["']0)["']""")
_NUMBER = re.compile(rb"""\b(r|min|max)\s*=\s*["'](\d{1,7})["']""")


def read(content: bytes, options: ReadOptions) -> Content:
    """Reads a spreadsheet.

    Args:
        content: The file.
        options: `max_pages` bounds its sheets.

    Returns:
        A page for each sheet with values.

    Raises:
        UnreadableError: It is damaged, encrypted, no spreadsheet, or larger than the limits.
    """
    from_zip = content.startswith(b"PK")
    if not from_zip and not content.startswith(OLE_MARK):
        raise UnreadableError("damaged", "is empty: it has 0 bytes" if not content else f"is not {_KIND}, or damaged")
    file = OfficeFile(content, _KIND) if from_zip else None
    looks: dict[str, _SheetLook] = {}
    if file is not None:
        if "content.xml" in file.members:
            return opendocument.read(content, options)
        file.members.check_all()
        content, looks = _prepared(file, content)
    workbook = _opened(content)
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    hidden = HiddenTexts()
    pages: list[str] = []
    for sheet in workbook.sheets_metadata:
        if sheet.typ != SheetTypeEnum.WorkSheet:
            continue
        look = looks.get(sheet.name, _SheetLook())
        lines = _lines(_calamine(workbook.get_sheet_by_name, sheet.name), look)
        number = len(pages) + 1
        if sheet.visible != SheetVisibleEnum.Visible:
            hidden.add("\n".join(lines.shown), f"hidden sheet {sheet.name!r}", number)
        elif lines.shown:
            pages.append(f"# {sheet.name}\n\n{joined_lines(lines.shown)}")
        hidden.add("\n".join(lines.hidden), "hidden rows or columns", number)
        if len(pages) > options.max_pages:
            message = f"has more than {options.max_pages:,} sheets: split it, or allow more"
            raise UnreadableError("too_many_pages", message)
    pictures = {} if file is None else {0: [file.members.read(name) for name in file.members.names if _is_media(name)]}
    metadata = {} if file is None else file.properties()
    return Content(pages_with_pictures(pages, pictures, options), metadata, hidden.all())


def _is_media(name: str) -> bool:
    return name.startswith("xl/media/")


def _opened(content: bytes) -> CalamineWorkbook:
    try:
        from python_calamine import CalamineWorkbook
    except ImportError:
        raise missing_extra("documents") from None

    try:
        return _calamine(CalamineWorkbook.from_filelike, io.BytesIO(content))
    except UnreadableError:
        if content.startswith(OLE_MARK):
            raise compound_file_error(content, _KIND) from None
        raise


def _calamine(call: Callable[[_Argument], _Result], argument: _Argument) -> _Result:
    """What a call of calamine gives.

    Raises:
        UnreadableError: Calamine refuses the file, or panics over it.
    """
    from python_calamine import CalamineError, PasswordError

    try:
        return call(argument)
    except PasswordError as e:
        raise UnreadableError("encrypted", "is encrypted with a password: save it without one") from e
    except (CalamineError, OSError, ValueError, OverflowError) as e:
        message = " ".join(str(e).split())[:200]
        raise UnreadableError("damaged", f"is damaged, or not {_KIND} ({message})") from e
    except BaseException as e:
        if (
            type(e).__name__ != "PanicException"
        ):  # a panic in Rust derives from BaseException and has no importable name
            raise
        raise UnreadableError("damaged", f"is damaged: it cannot be read as {_KIND}") from e


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
class _SheetLook:
    """The rows and columns that are hidden, counted from 0."""

    rows: frozenset[int] = frozenset()
    columns: frozenset[int] = frozenset()


def _prepared(file: OfficeFile, content: bytes) -> tuple[bytes, dict[str, _SheetLook]]:
    """The file as calamine shall read it, and the look of each sheet.

    Cells that have a look and no value may lie a million rows below the last value. Calamine would make a rectangle up
    to them, so they are taken out where it would be too large.

    Raises:
        UnreadableError: The rectangle of a sheet has too many cells.
    """
    looks, changed = {}, {}
    for sheet, name in _sheet_parts(file).items():
        part = file.members.read(name)
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
        looks[sheet] = _look(part)
    return (file.members.with_parts(changed) if changed else content), looks


def _look(part: bytes) -> _SheetLook:
    """What the part of a sheet says of its hidden rows and columns."""
    if not any(word in part for word in (b"hidden", b'ht="0"', b'width="0"')):
        return _SheetLook()
    rows, columns = set(), set()
    for row in _ROW.finditer(part):
        if _HIDDEN.search(row[1]):
            rows |= {int(number) - 1 for word, number in _NUMBER.findall(row[1]) if word == b"r"}
    for column in _COLUMN.finditer(part):
        if _HIDDEN.search(column[1]):
            bounds = {word: int(number) for word, number in _NUMBER.findall(column[1])}
            columns |= set(range(bounds.get(b"min", 1) - 1, min(bounds.get(b"max", 0), 16_384)))
    return _SheetLook(frozenset(rows), frozenset(columns))


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
    columns = max((_column_number(letters) for letters, _ in places), default=0) + widest
    return columns * max(len(rows), *numbers, *(int(row) for _, row in places), 1)


def _rectangle(places: Sequence[tuple[bytes, bytes]]) -> int:
    if not places:
        return 0
    columns = [_column_number(letters) for letters in {letters for letters, _ in places}]
    rows = [int(number) for number in {number for _, number in places}]
    return (max(columns) - min(columns) + 1) * (max(rows) - min(rows) + 1)


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


@dataclass(frozen=True, slots=True)
class _SheetLines:
    shown: list[str]
    hidden: list[str]


def _lines(sheet: CalamineSheet, look: _SheetLook) -> _SheetLines:
    """The lines of a sheet."""
    start = sheet.start or (0, 0)
    hidden: list[str] = []
    kept: list[list[str]] = []
    hidden_columns = {column - start[1] for column in look.columns}
    for at, row in enumerate(sheet.to_python(), start[0]):
        cells = [_FORMS[type(cell)](cell) for cell in row]
        if at in look.rows:
            hidden.append(table_row(cells))
            continue
        if hidden_columns:
            secret = [cell for column, cell in enumerate(cells) if column in hidden_columns and cell]
            hidden += [table_row(secret)] if secret else []
            cells = [cell for column, cell in enumerate(cells) if column not in hidden_columns]
        kept.append(cells)
    used = _used_columns(kept)
    shown = [table_row(cells if used is None else [cells[column] for column in used]) for cells in kept]
    return _SheetLines(shown if any(shown) else [], hidden)


def _used_columns(rows: Iterable[list[str]]) -> list[int] | None:
    """The columns with any value; None if all have one."""
    width, unused = 0, None
    for cells in rows:
        width = len(cells)
        empty = {column for column, cell in enumerate(cells) if not cell} if unused is None or unused else set()
        unused = empty if unused is None else unused & empty
        if not unused:
            return None
    return [column for column in range(width) if column not in (unused or ())]


def _of_float(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else f"{number:.15g}"


def _of_time(time: datetime.datetime | datetime.time) -> str:
    if time.microsecond and isinstance(time, datetime.datetime):  # a date is a number of days, and never exact
        time = (time + datetime.timedelta(microseconds=500_000)).replace(microsecond=0)
    return str(time.replace(microsecond=0))


def _of_duration(duration: datetime.timedelta) -> str:
    minutes, seconds = divmod(round(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


_FORMS: dict[type, Callable[[Any], str]] = {
    str: str,
    int: str,
    float: _of_float,
    bool: lambda value: "TRUE" if value else "FALSE",
    datetime.date: str,
    datetime.datetime: _of_time,
    datetime.time: _of_time,
    datetime.timedelta: _of_duration,
}
"""How a value of each type is written."""
