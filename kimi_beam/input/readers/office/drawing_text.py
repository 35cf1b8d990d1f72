"""The text of DrawingML in office files: paragraphs, tables, charts and diagrams, as lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from kimi_beam.input.readers.hidden.colours import Colour, looks_the_same, parse_colour
from kimi_beam.input.readers.office.office_xml import Element
from kimi_beam.input.readers.office.openxml_names import A, C
from kimi_beam.input.readers.text.table_rows import table_row
from kimi_beam.input.readers.text.text_flow import TableFlow

_P, _R, _T, _BR, _FLD = f"{A}p", f"{A}r", f"{A}t", f"{A}br", f"{A}fld"
_R_PR, _P_PR, _SOLID, _NO_FILL = f"{A}rPr", f"{A}pPr", f"{A}solidFill", f"{A}noFill"
_RGB, _NAMED = f"{A}srgbClr", f"{A}schemeClr"
_NO_THEME: Mapping[str, Colour] = MappingProxyType({})
_TINY = 150
"""The size in hundredths of a point up to which letters are too small to be seen."""
OnHidden = Callable[[str, str], None]
"""Takes a text that a person does not see, and the reason."""


def paragraphs(
    body: Element, ground: Colour | None, on_hidden: OnHidden, theme: Mapping[str, Colour] = _NO_THEME
) -> list[str]:
    """The lines of a text body.

    Args:
        body: The element that holds the paragraphs.
        ground: The colour behind them; None if it is not known.
        on_hidden: Takes what is hidden.
        theme: The colours that have a name.
    """
    lines = []
    for paragraph in body.iter(_P):
        pieces = []
        mark = ""
        for child in paragraph:
            tag = child.tag
            if tag == _R or (tag == _FLD and child.get("type") != "slidenum"):
                text = child.findtext(_T) or ""
                reason = _why_hidden(child.find(_R_PR), ground, theme)
                if reason:
                    on_hidden(text, reason)
                else:
                    pieces.append(text)
            elif tag == _BR:
                pieces.append("\n")
            elif tag == _P_PR:
                level = child.get("lvl", "0")
                has_mark = child.find(f"{A}buChar") is not None or child.find(f"{A}buAutoNum") is not None
                mark = "  " * int(level if level in "12345678" else "0") + ("- " if has_mark else "")
        text = "".join(pieces).replace("\v", "\n").strip("\n")
        if text.strip():
            lines.append(mark + text)
    return lines


def solid_fill(properties: Element | None, theme: Mapping[str, Colour] = _NO_THEME) -> Colour | None:
    """The colour of a filling; None if there is none, or if it is not a plain colour.

    Args:
        properties: The element that holds it.
        theme: The colours that have a name.
    """
    filling = None if properties is None else properties.find(_SOLID)
    if filling is None or len(filling) != 1 or len(filling[0]):  # within a colour stands how it is changed
        return None
    value = filling[0].get("val", "")
    if filling[0].tag == _NAMED:
        return theme.get(value)
    found = parse_colour(value) if filling[0].tag == _RGB else None
    return found if isinstance(found, Colour) else None


def _why_hidden(properties: Element | None, ground: Colour | None, theme: Mapping[str, Colour]) -> str:
    if properties is None:
        return ""
    size = properties.get("sz", "")
    if size.isdecimal() and int(size) <= _TINY:
        return "letters too small to see"
    if properties.find(_NO_FILL) is not None:
        return "transparent letters"
    if ground is not None and len(properties):
        colour = solid_fill(properties, theme)
        if colour and looks_the_same(colour, ground):
            return "white on white" if min(ground) > 240 else "the colour of its background"
    return ""


def table_lines(table: Element, on_hidden: OnHidden) -> list[str]:
    """The rows of a table.

    Args:
        table: The element ``tbl``.
        on_hidden: Takes what is hidden.
    """
    flow = TableFlow()
    lines = []
    for row in table.iter(f"{A}tr"):
        flow.begin_row()
        for cell in row.iter(f"{A}tc"):
            is_covered = cell.get("hMerge") in ("1", "true") or cell.get("vMerge") in ("1", "true")
            ground = solid_fill(cell.find(f"{A}tcPr"))
            flow.add_cell("" if is_covered else "\n".join(paragraphs(cell, ground, on_hidden)))
        lines += flow.end_row()
    return lines


def graphic_lines(root: Element) -> list[str]:
    """The lines of a chart or a diagram.

    Args:
        root: The root of the part with its data.
    """
    return _chart_lines(root) if root.tag == f"{C}chartSpace" else _diagram_lines(root)


def _chart_lines(root: Element) -> list[str]:
    """A chart as a table: its title, and a row for each category with the values of all series."""
    title = root.find(f"{C}chart/{C}title")
    lines = [] if title is None else ["".join(text for text in title.itertext(_T))]
    columns: list[dict[int, str]] = []
    names = []
    categories: dict[int, str] = {}
    for series in root.iter(f"{C}ser"):
        name = series.find(f"{C}tx")
        names.append(" ".join(_values(name).values()) if name is not None else "")
        category = series.find(f"{C}cat") if series.find(f"{C}cat") is not None else series.find(f"{C}xVal")
        categories = categories or (_values(category) if category is not None else {})
        value = series.find(f"{C}val") if series.find(f"{C}val") is not None else series.find(f"{C}yVal")
        columns.append(_values(value) if value is not None else {})
    if any(names):
        lines.append(table_row(["", *names]))
    rows = sorted({at for column in (categories, *columns) for at in column})
    lines += [table_row([categories.get(at, ""), *(column.get(at, "") for column in columns)]) for at in rows]
    return [line for line in lines if line]


def _values(element: Element) -> dict[int, str]:
    """The values that were saved with a chart, by their index."""
    found = {}
    for point in element.iter(f"{C}pt"):
        index = point.get("idx", "")
        if index.isdecimal() and len(index) < 8:
            found[int(index)] = point.findtext(f"{C}v") or ""
    return found


def _diagram_lines(root: Element) -> list[str]:
    return [line for line in map(_paragraph_text, root.iter(_P)) if line]


def _paragraph_text(paragraph: Element) -> str:
    return "".join(_texts(paragraph)).strip()


def _texts(element: Element) -> Iterable[str]:
    return (text.text or "" for text in element.iter(_T))
