"""Reads spreadsheets (.xlsx, .xlsm, .xlsb, .xls, and by `opendocument` .ods): a sheet is a page, a row a line.

Dates are ISO's, percentages and currencies are written as such, whole numbers have no ``.0``. Formulas show the value
that was saved with them, and themselves if none was. Rows and columns without any value are left out; the text of boxes
that lie on a sheet stands below its rows. Hidden sheets, rows, columns and values are in `Content.hidden`. Comments and
charts are not read. In .xlsb and .xls hidden sheets are told, but neither hidden rows and columns nor percentages and
currencies, and boxes are not read.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from kimi_beam.input.readers.content import Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.hidden.hidden_texts import HiddenTexts
from kimi_beam.input.readers.office.office_xml import OLE_MARK, OfficeFile, compound_file_error
from kimi_beam.input.readers.office.opendocument import opendocument
from kimi_beam.input.readers.office.spreadsheets.cell_styles import CellLooks, percentage
from kimi_beam.input.readers.office.spreadsheets.worksheet_parts import SheetLook, prepared
from kimi_beam.input.readers.optional_libraries import missing_extra
from kimi_beam.input.readers.pictures.embedded_pictures import pages_with_pictures
from kimi_beam.input.readers.text.table_rows import joined_lines, table_row

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")
_KIND = "a spreadsheet"


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
    looks: dict[str, SheetLook] = {}
    if file is not None:
        if "content.xml" in file.members:
            return opendocument.read(content, options)
        file.members.check_all()
        content, looks = prepared(file, content)
    workbook = _opened(content)
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    hidden = HiddenTexts()
    pages: list[str] = []
    for sheet in workbook.sheets_metadata:
        if sheet.typ != SheetTypeEnum.WorkSheet:
            continue
        look = looks.get(sheet.name, SheetLook())
        lines = _lines(_calamine(workbook.get_sheet_by_name, sheet.name), look)
        number = len(pages) + 1
        if sheet.visible != SheetVisibleEnum.Visible:
            hidden.add("\n".join(lines.shown), f"hidden sheet {sheet.name!r}", number)
        elif lines.shown or look.boxes:
            pages.append(f"# {sheet.name}\n\n{joined_lines([*lines.shown, '', *look.boxes])}")
        hidden.add("\n".join(lines.hidden), "hidden rows or columns", number)
        for text, reason in (*lines.unseen, *look.unseen):
            hidden.add(text, reason, number)
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
        if type(e).__name__ != "PanicException":  # of Rust: it cannot be imported, and is no Exception
            raise
        raise UnreadableError("damaged", f"is damaged: it cannot be read as {_KIND}") from e


@dataclass(frozen=True, slots=True)
class _SheetLines:
    shown: list[str]
    hidden: list[str]
    unseen: list[tuple[str, str]]
    """The values of single cells that a person does not see, and why."""


def _lines(sheet: CalamineSheet, look: SheetLook) -> _SheetLines:
    """The lines of a sheet."""
    start = sheet.start or (0, 0)
    hidden: list[str] = []
    kept: list[list[str]] = []
    unseen: list[tuple[str, str]] = []
    looks = look.cells if look.cells.percentages or look.cells.marks or look.cells.unseen else None
    hidden_columns = {column - start[1] for column in look.columns}
    for at, row in enumerate(sheet.to_python(), start[0]):
        cells = [_FORMS[type(cell)](cell) for cell in row]
        if looks:
            _apply(looks, (at, start[1]), row, cells, unseen)
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
    return _SheetLines(shown if any(shown) else [], hidden, unseen)


def _apply(
    looks: CellLooks, start: tuple[int, int], row: Sequence[object], cells: list[str], unseen: list[tuple[str, str]]
) -> None:
    """Writes percentages and currencies as such, and takes out the values that a person does not see."""
    for column, value in enumerate(row):
        place = start[0], start[1] + column
        if isinstance(value, int | float) and not isinstance(value, bool):
            if place in looks.percentages:
                cells[column] = percentage(value, looks.percentages[place])
            elif place in looks.marks:
                cells[column] = looks.marks[place].around(cells[column])
        if cells[column] and place in looks.unseen:
            unseen.append((cells[column], looks.unseen[place]))
            cells[column] = ""


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
