"""What a person sees of an element of a web page, as a pure function of its styles and of what surrounds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kimi_beam.input.readers.hidden.colours import BLACK, TRANSPARENT, WHITE, Colour, looks_the_same, parse_colour
from kimi_beam.input.readers.web.style_rules import Declarations

_OWN_COLOURS = frozenset({"button", "input", "option", "select", "textarea"})
"""Elements to which a browser gives colours of their own."""

_LENGTH = re.compile(r"(-?\d*\.?\d+)(px|pt|em|rem|%|vw|vh|ex|ch|cm|mm|in|pc)?")
_PIXELS = {"px": 1.0, "pt": 4 / 3, "em": 16.0, "rem": 16.0, "ex": 8.0, "ch": 8.0, "cm": 38.0, "mm": 3.8, "in": 96.0}
_FAR = -500.0
"""Pixels to the left of or above its place from which an element is off the screen."""
_BEYOND = 9_000.0
"""Pixels to the right of or below the edge from which a placed element is beyond any page."""
_PLACED = ("absolute", "fixed")
_EMPTY_CLIP = re.compile(r"rect\(\s*([01])(px)?[\s,]+\1(px)?[\s,]+\1(px)?[\s,]+\1(px)?\s*\)")
_EMPTY_CLIP_PATH = re.compile(r"inset\(\s*(5\d|[6-9]\d|100)(\.\d+)?%|circle\(\s*0|polygon\(\s*0(px)? 0(px)?\s*\)")
_MOVED_AWAY = re.compile(
    r"translate(x|y|3d)?\(\s*-(\d{4,}px|[1-9]\d{2,}(vw|vh|em|rem))|scale(x|y|3d)?\(\s*0(\.0+)?\s*[,)]"
)
_NO_OPACITY = re.compile(r"opacity\(\s*0*(\.0\d*)?%?\s*\)")
_LINK_BLUE = Colour(0, 0, 238)


@dataclass(frozen=True, slots=True)
class Look:
    """How the text of an element looks.

    Attributes:
        removed: Why neither it nor anything in it is shown; empty if it is.
        is_invisible: Whether it is hidden by ``visibility``, which an element in it can undo.
        is_tiny: Whether its letters are too small to be seen.
        colour: The colour of its letters; `TRANSPARENT`, or None if it is not known.
        background: The colour behind it; None if it is not known.
    """

    removed: str = ""
    is_invisible: bool = False
    is_tiny: bool = False
    colour: Colour | str | None = BLACK
    background: Colour | None = WHITE

    def why_hidden(self) -> str:
        """Why a person does not see its text; empty if they do."""
        if self.removed:
            return self.removed
        if self.is_invisible:
            return "visibility: hidden"
        if self.is_tiny:
            return "letters too small to see"
        if self.colour == TRANSPARENT:
            return "transparent letters"
        if isinstance(self.colour, Colour) and self.background and looks_the_same(self.colour, self.background):
            return "white on white" if min(self.background) > 240 else "the colour of its background"
        return ""


def look_of(tag: str, attributes: Mapping[str, str | None], declared: Declarations, around: Look) -> Look:
    """The look of an element.

    Args:
        tag: Its name.
        attributes: Its attributes.
        declared: What is declared for it.
        around: The look of the element that it is in.
    """
    removed = _why_removed(tag, attributes, declared)
    if removed:
        return replace(around, removed=removed)
    if tag in _OWN_COLOURS:
        around = replace(around, colour=BLACK, background=None)
    visibility = declared.get("visibility")
    is_invisible = around.is_invisible if visibility is None else visibility in ("hidden", "collapse")
    return Look(
        "",
        is_invisible,
        _is_tiny(_font_size(declared), around.is_tiny),
        _colour(tag, attributes, declared, around.colour),
        _background(attributes, declared, around.background),
    )


def _why_removed(tag: str, attributes: Mapping[str, str | None], declared: Declarations) -> str:
    if "hidden" in attributes and declared.get("display", "none") == "none":
        return "hidden attribute"
    if tag == "dialog" and "open" not in attributes and declared.get("display", "none") == "none":
        return "a dialog that is closed"
    if not declared:
        return ""
    if declared.get("display") == "none" or declared.get("content-visibility") == "hidden":
        return "display: none"
    opacity = declared.get("opacity")
    if opacity is not None and (amount := _LENGTH.fullmatch(opacity)) and float(amount[1]) <= 0.02:
        return "opacity: 0"
    if _NO_OPACITY.search(declared.get("filter", "")):
        return "opacity: 0"
    if _is_off_screen(declared):
        return "off the page"
    is_placed = declared.get("position") in _PLACED
    if (is_placed and _EMPTY_CLIP.match(declared.get("clip", ""))) or _EMPTY_CLIP_PATH.match(
        declared.get("clip-path", "")
    ):
        return "clipped away"
    if declared.get("overflow") == "hidden" and any(
        (size := _pixels(declared.get(name))) is not None and 0 <= size <= 1
        for name in ("height", "max-height", "width", "max-width")
    ):
        return "zero size"
    return ""


def _is_off_screen(declared: Declarations) -> bool:
    names = ["text-indent", "margin-left", "margin-top"]
    if declared.get("position") in (*_PLACED, "relative"):
        names += ["left", "top", "right", "bottom"]
        if any((length := _pixels(declared.get(name))) is not None and length >= _BEYOND for name in ("left", "top")):
            return True
    if any((length := _pixels(declared.get(name))) is not None and length <= _FAR for name in names):
        return True
    return bool(_MOVED_AWAY.search(declared.get("transform", "")))


def _pixels(value: str | None) -> float | None:
    """A length in pixels; None if it is none, or is relative to something that is not known here."""
    length = _LENGTH.fullmatch(value) if value else None
    if length is None:
        return None
    if length[2] is None:
        return float(length[1])
    scale = _PIXELS.get(length[2])
    return None if scale is None else float(length[1]) * scale


def _font_size(declared: Declarations) -> str | None:
    size = declared.get("font-size")
    if size is None and "font" in declared:
        size = next((word.partition("/")[0] for word in declared["font"].split() if _LENGTH.match(word)), None)
    return size


def _is_tiny(size: str | None, is_tiny_around: bool) -> bool:
    length = _LENGTH.fullmatch(size) if size else None
    if length is None:
        return is_tiny_around if size in (None, "inherit", "smaller", "larger") else False
    number, unit = float(length[1]), length[2]
    if unit in ("em", "%", "ex", "ch"):
        return is_tiny_around or number <= (5 if unit == "%" else 0.05)
    return number * _PIXELS.get(unit or "px", 1.0) <= 1.5


def _colour(
    tag: str, attributes: Mapping[str, str | None], declared: Declarations, around: Colour | str | None
) -> Colour | str | None:
    value = declared.get("color")
    if "text-shadow" in declared:
        return None
    if "text" in (declared.get("background-clip"), declared.get("-webkit-background-clip")):
        return None
    value = declared.get("-webkit-text-fill-color", value)
    if value is None and tag in ("font", "body"):
        value = attributes.get("color" if tag == "font" else "text")
    if value is None:
        return _LINK_BLUE if tag == "a" and "href" in attributes else BLACK if tag == "mark" else around
    return around if value in ("inherit", "currentcolor", "unset") else parse_colour(value)


def _background(attributes: Mapping[str, str | None], declared: Declarations, around: Colour | None) -> Colour | None:
    image = declared.get("background-image", "none")
    if image not in ("none", "initial") or attributes.get("background"):
        return None
    value = declared.get("background-color")
    if value is None and (background := declared.get("background")):
        if "url(" in background or "gradient" in background or "var(" in background:
            return None
        words = re.findall(r"[a-z]+a?\([^()]*\)|[^\s]+", background)
        value = next((word for word in words if word == TRANSPARENT or parse_colour(word)), "none")
    if value is None:
        value = attributes.get("bgcolor")
    if value is None or value in ("none", "inherit", "initial", "unset"):
        return None if declared.get("position") in _PLACED else around
    colour = parse_colour(value)
    if colour == TRANSPARENT:
        return around
    return colour if isinstance(colour, Colour) else None
