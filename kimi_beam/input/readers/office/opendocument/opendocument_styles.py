"""How the letters, rows and sheets of an OpenDocument file look, by its styles."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kimi_beam.input.readers.hidden.colours import TRANSPARENT, Colour, looks_the_same, parse_colour
from kimi_beam.input.readers.office.office_xml import Element

STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
FO = "{urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0}"
PRESENTATION = "{urn:oasis:names:tc:opendocument:xmlns:presentation:1.0}"
SVG = "{urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0}"
XLINK = "{http://www.w3.org/1999/xlink}"
_TINY = 1.5
_UNITS = {"pt": 1.0, "in": 72.0, "cm": 28.3465, "mm": 2.83465, "px": 0.75, "pc": 12.0}


@dataclass(frozen=True, slots=True)
class OpenStyle:
    """What a style says, with those that it is based on.

    Attributes:
        is_hidden: Whether its letters are hidden.
        colour: The colour of its letters; None if nothing is said, or the program chooses it.
        size: Their size in points; None if nothing is said.
        background: The colour behind it; `TRANSPARENT` if nothing is said, None if it cannot be told.
        begins_page: Whether a page begins before its paragraphs.
        is_shown: Whether the sheet or slide is shown.
    """

    is_hidden: bool = False
    colour: Colour | None = None
    size: float | None = None
    background: Colour | str | None = TRANSPARENT
    begins_page: bool = False
    is_shown: bool = True

    def within(self, around: OpenStyle) -> OpenStyle:
        """The look of what has this style and stands in something that looks as given."""
        return OpenStyle(
            self.is_hidden or around.is_hidden,
            self.colour or around.colour,
            around.size if self.size is None else self.size,
            around.background if self.background == TRANSPARENT else self.background,
        )

    def why_hidden(self) -> str:
        """Why a person does not see the letters; empty if they do."""
        if self.is_hidden:
            return "hidden letters"
        if self.size is not None and self.size <= _TINY:
            return "letters too small to see"
        if self.colour and isinstance(self.background, Colour) and looks_the_same(self.colour, self.background):
            return "white on white" if min(self.background) > 240 else "the colour of its background"
        return ""


NO_STYLE = OpenStyle()


class OpenStyles:
    """The styles of a file.

    Args:
        roots: The roots of the parts that hold styles.
    """

    def __init__(self, roots: list[Element]) -> None:
        self._elements: dict[tuple[str, str], Element] = {}
        self._known: dict[tuple[str, str], OpenStyle] = {}
        for root in roots:
            for element in root.iter(f"{STYLE}style"):
                self._elements[element.get(f"{STYLE}family", ""), element.get(f"{STYLE}name", "")] = element

    def style(self, family: str, name: str | None) -> OpenStyle:
        """What a style says. One that is not known says nothing.

        Args:
            family: What it is for: ``text``, ``paragraph``, ``table-cell``, ``table``, ``graphic``, ``drawing-page``.
            name: Its name.
        """
        key = family, name or ""
        known = self._known.get(key)
        if known is None:
            self._known[key] = NO_STYLE  # what a style that is based on itself is based on
            known = self._known[key] = self._read(key)
        return known

    def _read(self, key: tuple[str, str]) -> OpenStyle:
        element = self._elements.get(key)
        if element is None:
            return NO_STYLE
        parent = element.get(f"{STYLE}parent-style-name")
        style = self.style(key[0], parent) if parent else NO_STYLE
        for properties in element:
            if properties.tag == f"{STYLE}text-properties":
                style = _with_letters(style, properties)
            elif properties.tag in (f"{STYLE}paragraph-properties", f"{STYLE}table-cell-properties"):
                style = replace(style, background=_background(properties, style.background))
                if properties.get(f"{FO}break-before") == "page":
                    style = replace(style, begins_page=True)
            elif properties.tag == f"{STYLE}table-properties":
                style = replace(style, is_shown=properties.get(f"{TABLE}display") != "false")
            elif properties.tag == f"{STYLE}drawing-page-properties":
                style = replace(style, is_shown=properties.get(f"{PRESENTATION}visibility") != "hidden")
            elif properties.tag == f"{STYLE}map":  # it may look otherwise where a condition holds
                style = replace(style, background=None)
            elif properties.tag == f"{STYLE}graphic-properties":
                style = replace(style, background=_filling(properties, style.background))
        return style


def _with_letters(style: OpenStyle, properties: Element) -> OpenStyle:
    colour = parse_colour(properties.get(f"{FO}color", ""))
    if properties.get(f"{STYLE}use-window-font-color") == "true":
        colour = None
    return replace(
        style,
        is_hidden=properties.get(f"{TEXT}display", "none" if style.is_hidden else "true") == "none",
        colour=colour if isinstance(colour, Colour) else style.colour,
        size=points(properties.get(f"{FO}font-size"), style.size),
        background=_background(properties, style.background),
    )


def _background(properties: Element, otherwise: Colour | str | None) -> Colour | str | None:
    said = properties.get(f"{FO}background-color")
    return otherwise if said is None else parse_colour(said)


def _filling(properties: Element, otherwise: Colour | str | None) -> Colour | str | None:
    """The colour with which a shape is filled; None if it is a picture or the like."""
    fill = properties.get(f"{DRAW}fill")
    if fill == "none":
        return TRANSPARENT
    if fill == "solid":
        colour = parse_colour(properties.get(f"{DRAW}fill-color", ""))
        return colour if isinstance(colour, Colour) else None
    return None if fill else _background(properties, otherwise)


def points(length: str | None, otherwise: float | None = None) -> float | None:
    """A length in points; another if there is none, or it is relative.

    Args:
        length: The length as it is written: ``1.5cm``.
        otherwise: What is given for none.
    """
    text = (length or "").strip()
    scale = _UNITS.get(text[-2:])
    try:
        return otherwise if scale is None else float(text[:-2]) * scale
    except ValueError:
        return otherwise
