"""The drawings of Word documents: where they are, what colour they put behind text, and which of them is shown."""

from __future__ import annotations

from kimi_beam.input.readers.hidden.colours import WHITE, Colour, parse_colour
from kimi_beam.input.readers.office import openxml_names as n
from kimi_beam.input.readers.office.office_xml import Element, int_of
from kimi_beam.input.readers.office.word.word_styles import UNKNOWN, Ground

_FAR = 2_743_200
"""Three inches, in the unit of drawings: what lies further left of its place than that is off the page."""
_WIDEST = 25 * 914_400


def chosen_content(alternate: Element) -> Element | None:
    """The content that is shown of several; None if there is none.

    Args:
        alternate: The element ``AlternateContent``.
    """
    choice = alternate.find(n.CHOICE)
    return alternate.find(n.FALLBACK) if choice is None else choice


def ground_of_shape(shape: Element, ground: Ground) -> Ground:
    """The colour behind the text of a shape.

    Args:
        shape: The element ``wsp``.
        ground: The colour behind the shape.
    """
    properties = shape.find(f"{n.WPS}spPr")
    for child in () if properties is None else properties:
        if child.tag == f"{n.A}solidFill":
            colour = child.find(f"{n.A}srgbClr")
            found = None if colour is None or len(colour) else parse_colour(colour.get("val", ""))
            return found if isinstance(found, Colour) else UNKNOWN
        if child.tag == f"{n.A}noFill":
            return ground
        if child.tag.endswith("Fill"):
            return UNKNOWN
    return ground if shape.find(f"{n.WPS}style") is None else UNKNOWN


def why_not_drawn(anchor: Element) -> str:
    """Why a person does not see a drawing; empty if they do.

    Args:
        anchor: The element ``anchor``.
    """
    properties = anchor.find(f"{n.WP}docPr")
    if properties is not None and properties.get("hidden", "0") in ("1", "true"):
        return "hidden shape"
    extent = anchor.find(f"{n.WP}extent")
    for position, size in (("positionH", "cx"), ("positionV", "cy")):
        offset = anchor.find(f"{n.WP}{position}/{n.WP}posOffset")
        if offset is None:
            continue
        begin = int_of(offset.text)
        end = begin + (0 if extent is None else int_of(extent.get(size)))
        if begin > _WIDEST or end < (-_FAR if size == "cx" else -_WIDEST):
            return "off the page"
    return ""


def page_ground(root: Element) -> Ground:
    """The colour of the pages of a body or a header; `UNKNOWN` if a large drawing lies behind their text.

    Args:
        root: The root of the part.
    """
    for anchor in root.iter(f"{n.WP}anchor"):
        extent = anchor.find(f"{n.WP}extent")
        if anchor.get("behindDoc") in ("1", "true") and extent is not None:
            width, height = int_of(extent.get("cx")), int_of(extent.get("cy"))
            if width * height > 4 * 914_400**2:
                return UNKNOWN
    background = root.find(f"{n.W}background")
    colour = None if background is None else parse_colour(background.get(n.COLOR, ""))
    return WHITE if background is None else colour if isinstance(colour, Colour) else UNKNOWN
