"""What is behind the texts of a slide: the colours of its theme, its background, and what was drawn before a text.

A colour is named by the theme (``bg1``, ``accent2``), and a background may be that of the layout or of the master. Only
what is certain counts: where a picture or another shape lies behind a text, its ground is not known.
"""

from __future__ import annotations

from collections.abc import Mapping

from kimi_beam.input.readers.hidden.colours import Colour, parse_colour
from kimi_beam.input.readers.office.drawing_text import solid_fill
from kimi_beam.input.readers.office.office_xml import Element, int_of
from kimi_beam.input.readers.office.openxml_names import A
from kimi_beam.input.readers.office.slides.reading_order import Box

_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_PLAIN_FILL = "1001"
"""The first filling of a theme, which is the plain colour in all of Office's themes (ECMA-376, 20.1.4.1.7)."""
_FILLS = (f"{A}solidFill", f"{A}gradFill", f"{A}blipFill", f"{A}pattFill", f"{A}grpFill")


def theme_colours(theme: Element | None, master: Element | None) -> dict[str, Colour]:
    """The colours of a theme by the names that slides have for them.

    Args:
        theme: The theme of the master; None if it has none.
        master: The master, which says what ``bg1`` and ``tx1`` are.
    """
    scheme = None if theme is None else theme.find(f"{A}themeElements/{A}clrScheme")
    colours: dict[str, Colour] = {}
    for entry in () if scheme is None else scheme:
        for said in entry:
            found = parse_colour(said.get("lastClr") or said.get("val", ""))
            if isinstance(entry.tag, str) and isinstance(found, Colour):
                colours[entry.tag.rpartition("}")[2]] = found
    named = None if master is None else master.find(f"{_P}clrMap")
    for name, entry in () if named is None else named.attrib.items():
        if entry in colours:
            colours[name] = colours[entry]
    return colours


def background(parts: list[Element], colours: Mapping[str, Colour]) -> Colour | None:
    """The colour of a slide's background; None if it is not known.

    Args:
        parts: The slide, its layout and its master.
        colours: The colours of the theme.
    """
    for part in parts:
        said = part.find(f"{_P}cSld/{_P}bg")
        if said is None:
            continue
        properties, reference = said.find(f"{_P}bgPr"), said.find(f"{_P}bgRef")
        if properties is not None:
            return solid_fill(properties, colours)
        if reference is None or reference.get("idx") != _PLAIN_FILL or not len(reference):
            return None
        name = reference[0].get("val", "")
        if len(reference[0]):
            return None
        found = parse_colour(name) if reference[0].tag == f"{A}srgbClr" else colours.get(name)
        return found if isinstance(found, Colour) else None
    return None


class Drawn:
    """The places of a slide on which something was drawn, behind what follows."""

    def __init__(self) -> None:
        self._boxes: list[Box] = []
        self._is_anywhere = False

    def add(self, box: Box | None) -> None:
        """Notes that something is drawn in a box; None: nobody knows where."""
        if box is None:
            self._is_anywhere = True
        else:
            self._boxes.append(box)

    def add_all(self, part: Element | None) -> None:
        """Notes what a layout or a master draws on all its slides."""
        for element in () if part is None else part.iterfind(f"{_P}cSld/{_P}spTree/*"):
            if (
                element.tag.rpartition("}")[2] in ("nvGrpSpPr", "grpSpPr")
                or element.find(f"*/{_P}nvPr/{_P}ph") is not None
            ):
                continue
            if covers(element):
                self.add(box_of(element))

    def is_behind(self, box: Box | None) -> bool:
        """Whether something may be behind what stands in a box; None: anywhere."""
        if self._is_anywhere or (box is None and self._boxes):
            return True
        return box is not None and any(
            other.left < box.right and box.left < other.right and other.top < box.bottom and box.top < other.bottom
            for other in self._boxes
        )


def covers(element: Element) -> bool:
    """Whether a part of a slide puts something behind what follows: anything but a text box without a filling."""
    if element.tag != f"{_P}sp":
        return True
    properties = element.find(f"{_P}spPr")
    if properties is not None and any(properties.find(fill) is not None for fill in _FILLS):
        return True
    return element.find(f"{_P}style") is not None and (properties is None or properties.find(f"{A}noFill") is None)


def box_of(element: Element) -> Box | None:
    """Where a shape itself says that it is."""
    transform = element.find(f"{_P}xfrm") if element.tag == f"{_P}graphicFrame" else element.find(f"*/{A}xfrm")
    offset = None if transform is None else transform.find(f"{A}off")
    extent = None if transform is None else transform.find(f"{A}ext")
    if offset is None or extent is None:
        return None
    left, top = int_of(offset.get("x")), int_of(offset.get("y"))
    return Box(left, top, left + int_of(extent.get("cx")), top + int_of(extent.get("cy")))
