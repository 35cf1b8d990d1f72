"""What the styles of a workbook (.xlsx) say of single cells: how numbers are printed, and which values nobody sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from kimi_beam.input.readers.hidden.colours import WHITE, Colour, looks_the_same, parse_colour
from kimi_beam.input.readers.office.office_xml import Element, local_name
from kimi_beam.input.readers.office.spreadsheets.number_marks import NumberMarks, number_marks

_PERCENT = {"9": 0, "10": 2}
"""The decimals of the formats of percentages that every workbook has."""
_MOST_OF_A_FORMAT = 500
_QUOTED = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
_STYLED_CELL = re.compile(rb"<(?:\w+:)?c\s([^<>]*)>")
_PLACE = re.compile(rb"""\br\s*=\s*["']([A-Z]{1,3})(\d{1,7})["']""")
_STYLE = re.compile(rb"""\bs\s*=\s*["'](\d{1,6})["']""")
_GROUND_CHANGES = (b"conditionalFormatting", b"tablePart", b"<picture")
"""What may put another colour behind cells than their own styles do."""


@dataclass(frozen=True, slots=True)
class CellStyles:
    """The styles of a workbook that matter here, by their numbers.

    Attributes:
        percentages: The decimals of those that print a percentage.
        marks: What those print around a number that print a currency or the like.
        unseen: Why a person does not see the value, of those that hide it.
        in_colour: The same of those that hide it by its colour, unless something else is put behind it.
    """

    percentages: dict[int, int] = field(default_factory=dict)
    marks: dict[int, NumberMarks] = field(default_factory=dict)
    unseen: dict[int, str] = field(default_factory=dict)
    in_colour: dict[int, str] = field(default_factory=dict)


def cell_styles(root: Element | None) -> CellStyles:
    """The styles of a workbook.

    Args:
        root: The root of the part ``styles``; None if there is none.
    """
    found = CellStyles()
    if root is None:
        return found
    tables = {local_name(table): table for table in root}
    formats = {e.get("numFmtId", ""): e.get("formatCode", "")[:_MOST_OF_A_FORMAT] for e in tables.get("numFmts", ())}
    fonts = [_font_colour(font) for font in tables.get("fonts", ())]
    fills = [_fill(fill) for fill in tables.get("fills", ())]
    for number, style in enumerate(tables.get("cellXfs", ())):
        code = style.get("numFmtId", "")
        text = formats.get(code)
        decimals = _PERCENT.get(code) if text is None else _decimals_of_percentage(text)
        if decimals is not None:
            found.percentages[number] = decimals
        elif text and (marks := number_marks(text)):
            found.marks[number] = marks
        if text is not None and text.strip().strip('"') == ";;;":
            found.unseen[number] = "format that shows nothing"
        colour, ground = _at(fonts, style.get("fontId")), _at(fills, style.get("fillId"))
        if colour and ground and looks_the_same(colour, ground):
            found.in_colour[number] = "white on white" if min(ground) > 240 else "the colour of its background"
    return found


@dataclass(frozen=True, slots=True)
class CellLooks:
    """What is said of the cells of one sheet, by row and column from 0.

    Attributes:
        percentages: The decimals of the percentages.
        marks: What is printed around a number.
        unseen: Why a person does not see a value.
    """

    percentages: dict[tuple[int, int], int] = field(default_factory=dict)
    marks: dict[tuple[int, int], NumberMarks] = field(default_factory=dict)
    unseen: dict[tuple[int, int], str] = field(default_factory=dict)


def cell_looks(part: bytes, styles: CellStyles) -> CellLooks:
    """What the styles say of the cells of a sheet.

    Args:
        part: The part of the sheet.
        styles: The styles of the workbook.
    """
    unseen = dict(styles.unseen)
    if not any(word in part for word in _GROUND_CHANGES):
        unseen |= styles.in_colour
    looks = CellLooks()
    if not unseen and not styles.percentages and not styles.marks:
        return looks
    for place, number in _styled_cells(part):
        if number in styles.percentages:
            looks.percentages[place] = styles.percentages[number]
        elif number in styles.marks:
            looks.marks[place] = styles.marks[number]
        if number in unseen:
            looks.unseen[place] = unseen[number]
    return looks


def percentage(value: float, decimals: int) -> str:
    """A fraction as a workbook prints a percentage of it, with no fewer decimals than it has.

    Args:
        value: The fraction.
        decimals: The decimals of the format.
    """
    exact = f"{value * 100:.12g}"
    _, _, fraction = exact.partition(".")
    return f"{exact}%" if "e" in exact or len(fraction) > decimals else f"{value * 100:.{decimals}f}%"


def _styled_cells(part: bytes) -> Iterator[tuple[tuple[int, int], int]]:
    for cell in _STYLED_CELL.finditer(part):
        style, place = _STYLE.search(cell[1]), _PLACE.search(cell[1])
        if style and place:
            yield (int(place[2]) - 1, column_number(place[1]) - 1), int(style[1])


def column_number(letters: bytes) -> int:
    """The number of a column, from 1, by its letters."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _decimals_of_percentage(code: str) -> int | None:
    """The decimals of a format that prints a percentage; None if it prints another thing."""
    positive = _QUOTED.sub("", code).partition(";")[0]
    if "%" not in positive:
        return None
    return len(re.findall(r"[0#?]", positive.partition(".")[2]))


def _font_colour(font: Element) -> Colour | None:
    """The colour of a font; None if the program chooses it or it is not known."""
    for child in font:
        if local_name(child) == "color":
            return _colour(child)
    return None


def _fill(fill: Element) -> Colour | None:
    """The colour behind a cell: white if nothing fills it, None if it is not known."""
    for pattern in fill:
        kind = pattern.get("patternType", "none")
        if local_name(pattern) != "patternFill" or kind not in ("none", "solid"):
            return None
        if kind == "none":
            return WHITE
        for child in pattern:
            if local_name(child) == "fgColor":
                return _colour(child)
        return None
    return WHITE


def _colour(element: Element) -> Colour | None:
    digits = element.get("rgb", "")
    if len(digits) == 8:  # the first two say how much shines through, and are ignored
        found = parse_colour(digits[2:])
        return found if isinstance(found, Colour) else None
    if element.get("theme") == "0" and _float_of(element.get("tint")) == 0:
        return WHITE
    return None


def _float_of(text: str | None) -> float:
    """A number of an attribute; 0 if it has none."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _at(values: list[Colour | None], index: str | None) -> Colour | None:
    return values[int(index)] if index and index.isdecimal() and int(index) < len(values) else None
