"""Colours as files write them, and whether a person could tell one from another."""

from __future__ import annotations

import re
from typing import NamedTuple


class Colour(NamedTuple):
    """A colour that lets nothing through: red, green and blue, 0 to 255 each."""

    red: int
    green: int
    blue: int


WHITE = Colour(255, 255, 255)
BLACK = Colour(0, 0, 0)
TRANSPARENT = "transparent"
_SAME = 16
"""How far two colours may differ in each of red, green and blue, and still look the same."""
_HEX = re.compile(r"#?([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.I)
_FUNCTION = re.compile(r"(rgb|hsl)a?\(([^()]*)\)", re.I)
_NUMBER = re.compile(r"-?\d*\.?\d+")
_NAMED = {
    "aqua": "00ffff",
    "aliceblue": "f0f8ff",
    "azure": "f0ffff",
    "black": "000000",
    "blue": "0000ff",
    "darkblue": "00008b",
    "darkgray": "a9a9a9",
    "darkgreen": "006400",
    "darkgrey": "a9a9a9",
    "darkred": "8b0000",
    "dimgray": "696969",
    "floralwhite": "fffaf0",
    "fuchsia": "ff00ff",
    "ghostwhite": "f8f8ff",
    "gray": "808080",
    "green": "008000",
    "grey": "808080",
    "ivory": "fffff0",
    "lightblue": "add8e6",
    "lightgray": "d3d3d3",
    "lightgrey": "d3d3d3",
    "lightyellow": "ffffe0",
    "lime": "00ff00",
    "maroon": "800000",
    "mintcream": "f5fffa",
    "navy": "000080",
    "olive": "808000",
    "orange": "ffa500",
    "purple": "800080",
    "red": "ff0000",
    "seashell": "fff5ee",
    "silver": "c0c0c0",
    "snow": "fffafa",
    "steelblue": "4682b4",
    "teal": "008080",
    "white": "ffffff",
    "whitesmoke": "f5f5f5",
    "yellow": "ffff00",
}


def looks_the_same(first: Colour, second: Colour) -> bool:
    """Whether a person sees no text of one colour on a ground of the other."""
    return all(abs(one - other) <= _SAME for one, other in zip(first, second, strict=True))


def parse_colour(text: str) -> Colour | str | None:
    """A colour of CSS, HTML or an office file.

    Args:
        text: A name, hexadecimal digits with or without ``#``, or ``rgb()``, ``rgba()``, ``hsl()``.

    Returns:
        The colour; `TRANSPARENT` if it lets everything through; None if it lets a part through or is not known.
    """
    text = text.strip().lower()
    if text == TRANSPARENT:
        return TRANSPARENT
    text = _NAMED.get(text, text)
    if _HEX.fullmatch(text):
        digits = text.removeprefix("#")
        if len(digits) < 5:
            digits = "".join(digit * 2 for digit in digits)
        red, green, blue, *alpha = bytes.fromhex(digits)
        return _opaque(Colour(red, green, blue), alpha[0] / 255 if alpha else 1.0)
    function = _FUNCTION.fullmatch(text)
    if function is None:
        return None
    parts = [float(number) for number in _NUMBER.findall(function[2])]
    alpha_part = parts[3] if len(parts) > 3 else 1.0
    if len(parts) > 3 and function[2].rstrip().endswith("%"):
        alpha_part /= 100
    if len(parts) < 3:
        return None
    if function[1] == "rgb":
        scale = 2.55 if "%" in function[2].split("/")[0] else 1.0
        channels = [min(255, max(0, round(part * scale))) for part in parts[:3]]
        return _opaque(Colour(*channels), alpha_part)
    if parts[2] >= 97:  # of the lightness alone it follows what matters here: white or black, or neither
        return _opaque(WHITE, alpha_part)
    return _opaque(BLACK, alpha_part) if parts[2] <= 3 else None


def _opaque(colour: Colour, alpha: float) -> Colour | str | None:
    if alpha >= 0.99:
        return colour
    return TRANSPARENT if alpha <= 0.02 else None
