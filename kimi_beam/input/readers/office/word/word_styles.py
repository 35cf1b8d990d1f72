"""How the letters of a Word document look, by its styles and by what a run says itself: what a person sees of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from kimi_beam.input.readers.hidden.colours import BLACK, Colour, looks_the_same, parse_colour
from kimi_beam.input.readers.office import openxml_names as n
from kimi_beam.input.readers.office.office_xml import Element, int_of

UNKNOWN = "unknown"
"""A ground whose colour cannot be told: a picture, a pattern, a style of a table."""
Ground = Colour | str | None
"""The colour behind letters; `UNKNOWN`, or None if nothing is said of it."""
_TINY = 3
"""The size in half points up to which letters are too small to be seen."""
_OFF = ("0", "false", "off", "none")


@dataclass(frozen=True, slots=True)
class Letters:
    """What is said of letters; None where nothing is.

    Attributes:
        are_hidden: Whether they are hidden (``vanish``).
        colour: Their colour as it is written.
        size: Their size in half points.
        ground: The colour behind them.
        have_no_fill: Whether they are drawn without a filling.
    """

    are_hidden: bool | None = None
    colour: str | None = None
    size: int | None = None
    ground: Ground = None
    have_no_fill: bool | None = None

    def over(self, other: Letters) -> Letters:
        """These, and the other's where these say nothing."""
        if self is NOTHING_SAID:
            return other
        return Letters(
            other.are_hidden if self.are_hidden is None else self.are_hidden,
            other.colour if self.colour is None else self.colour,
            other.size if self.size is None else self.size,
            other.ground if self.ground is None else self.ground,
            other.have_no_fill if self.have_no_fill is None else self.have_no_fill,
        )

    def why_hidden(self, around: Ground) -> str:
        """Why a person does not see them; empty if they do.

        Args:
            around: The colour behind the paragraph.
        """
        if self.are_hidden:
            return "hidden letters (vanish)"
        if self.size is not None and self.size <= _TINY:
            return "letters too small to see"
        if self.have_no_fill:
            return "transparent letters"
        if self.colour in (None, "auto"):
            return ""
        ground = around if self.ground is None else self.ground
        colour = parse_colour(self.colour or "")
        if isinstance(ground, Colour) and isinstance(colour, Colour) and looks_the_same(colour, ground):
            return "white on white" if min(ground) > 240 else "the colour of its background"
        return ""


NOTHING_SAID = Letters()


@dataclass(frozen=True, slots=True)
class WordStyle:
    """What a style says.

    Attributes:
        letters: Of the letters.
        heading: The level of the heading that its paragraphs are, from 1; 0 if they are none.
        number: The number of the list that its paragraphs are items of; None if nothing is said, "0" for none.
        level: The item's level in the list; None if nothing is said.
        ground: The colour behind its paragraphs.
        shades: Whether it, as a style of tables, colours any cells.
    """

    letters: Letters = NOTHING_SAID
    heading: int = 0
    number: str | None = None
    level: int | None = None
    ground: Ground = None
    shades: bool = False


_NO_STYLE = WordStyle()


@dataclass(slots=True)
class WordStyles:
    """The styles of a document.

    Args:
        root: The root of the part ``styles``; None if there is none.
    """

    root: Element | None
    _elements: dict[str, Element] = field(init=False, default_factory=dict)
    _known: dict[str, WordStyle] = field(init=False, default_factory=dict)
    default: str = field(init=False, default="")
    """The style of paragraphs that name none."""
    defaults: Letters = field(init=False, default=NOTHING_SAID)
    """What is said of all letters."""

    def __post_init__(self) -> None:
        for element in () if self.root is None else self.root:
            if element.tag == n.STYLE:
                identifier = element.get(f"{n.W}styleId", "")
                self._elements[identifier] = element
                if element.get(f"{n.W}type") == "paragraph" and element.get(f"{n.W}default") in ("1", "true", "on"):
                    self.default = identifier
        if self.root is not None:
            properties = self.root.find(f"{n.W}docDefaults/{n.W}rPrDefault/{n.R_PR}")
            if properties is not None:
                self.defaults = letters_of(properties)

    def style(self, identifier: str) -> WordStyle:
        """What a style says, with those that it is based on.

        Args:
            identifier: Its identifier. One that is not known says nothing.
        """
        known = self._known.get(identifier)
        if known is None:
            self._known[identifier] = _NO_STYLE  # what a style that is based on itself is based on
            known = self._known[identifier] = self._read(identifier)
        return known

    def _read(self, identifier: str) -> WordStyle:
        element = self._elements.get(identifier)
        if element is None:
            return _NO_STYLE
        based_on = element.find(n.BASED_ON)
        base = _NO_STYLE if based_on is None else self.style(based_on.get(n.VAL, ""))
        letters = element.find(n.R_PR)
        properties = element.find(n.P_PR)
        heading, number, level, ground = base.heading, base.number, base.level, base.ground
        for child in () if properties is None else properties:
            if child.tag == n.OUTLINE:
                heading = heading_level(child)
            elif child.tag == n.NUM_PR:
                said_number, said_level = number_of(child)
                number = number if said_number is None else said_number
                level = level if said_level is None else said_level
            elif child.tag == n.SHD:
                ground = shading(child)
        shades = element.get(f"{n.W}type") == "table" and (
            base.shades or any(isinstance(shading(e), Colour | str) for e in element.iter(n.SHD))
        )
        own = NOTHING_SAID if letters is None else letters_of(letters)
        return WordStyle(own.over(base.letters), heading, number, level, ground, shades)


def letters_of(properties: Element, styles: WordStyles | None = None) -> Letters:
    """What a run's properties say of its letters.

    Args:
        properties: The element ``rPr``.
        styles: The styles, if the properties may name one.
    """
    are_hidden, colour, size, ground, have_no_fill = None, None, None, None, None
    style = NOTHING_SAID
    for child in properties:
        tag = child.tag
        if tag == n.VANISH:
            are_hidden = is_on(child)
        elif tag == n.COLOR:
            colour = child.get(n.VAL)
        elif tag == n.SZ:
            size = int_of(child.get(n.VAL), 20)
        elif tag == n.SHD:
            ground = shading(child)
        elif tag == n.HIGHLIGHT:
            ground = _highlight(child.get(n.VAL, "none"), ground)
        elif tag == n.R_STYLE and styles is not None:
            style = styles.style(child.get(n.VAL, "")).letters
        elif tag == _TEXT_FILL:
            have_no_fill = child.find(_NO_FILL) is not None
    return Letters(are_hidden, colour, size, ground, have_no_fill).over(style)


_TEXT_FILL, _NO_FILL = f"{n.W14}textFill", f"{n.W14}noFill"


def _highlight(name: str, otherwise: Ground) -> Ground:
    if name == "none":
        return otherwise
    colour = parse_colour(name)
    return colour if isinstance(colour, Colour) else UNKNOWN


def shading(element: Element) -> Ground:
    """The colour of a shading; None if it has none.

    Args:
        element: The element ``shd``.
    """
    pattern, fill = element.get(n.VAL, "clear"), element.get(n.FILL, "auto")
    if pattern == "solid":
        colour = parse_colour(element.get(n.COLOR, "auto"))
        return colour if isinstance(colour, Colour) else BLACK
    if pattern not in ("clear", "nil"):
        return UNKNOWN
    if fill in ("auto", "") or pattern == "nil":
        return UNKNOWN if element.get(f"{n.W}themeFill") else None
    colour = parse_colour(fill)
    return colour if isinstance(colour, Colour) else UNKNOWN


def heading_level(element: Element) -> int:
    """The level of a heading, from 1; 0 for text (level 9 of Word).

    Args:
        element: The element ``outlineLvl``.
    """
    level = int_of(element.get(n.VAL), 9)
    return level + 1 if 0 <= level < 9 else 0


def number_of(element: Element) -> tuple[str | None, int | None]:
    """The number of a list, and the level in it; None each for what is not said.

    Args:
        element: The element ``numPr``.
    """
    number, level = element.find(n.NUM_ID), element.find(n.ILVL)
    return None if number is None else number.get(n.VAL), None if level is None else int_of(level.get(n.VAL))


def is_on(element: Element) -> bool:
    """Whether a property that is on or off is on."""
    return element.get(n.VAL, "1").lower() not in _OFF
