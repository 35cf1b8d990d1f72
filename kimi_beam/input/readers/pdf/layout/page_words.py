"""Words of a page: characters that stand side by side, with their place, turned so that they run from left to right.

All coordinates here are in points, x to the right and y *down*, as a page is read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kimi_beam.input.readers.pdf.characters import Characters, Flags, Floats, Integers, degrees, text_of

_GAP = 0.25
"""A gap of this many font sizes ends a word, where the content has no space."""
_GAP_BETWEEN_OBJECTS = 0.15
"""The same, where another text object begins: letters that are set apart are usually drawn by one."""
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}


@dataclass(slots=True)
class Word:
    """Characters without a space between them.

    Attributes:
        text: What they say.
        x0: Left edge.
        x1: Right edge.
        base: The base line.
        size: The size of the font.
        font: Which font it is.
        sources: For each character of `text`, its index among the page's characters.
    """

    text: str
    x0: float
    x1: float
    base: float
    size: float
    font: int
    sources: list[int]


class Rule(NamedTuple):
    """A line that is drawn along the text.

    Attributes:
        x0: Left end.
        x1: Right end.
        y: Its place.
    """

    x0: float
    x1: float
    y: float


@dataclass(frozen=True, slots=True)
class Direction:
    """What runs in one direction on a page, turned so that it runs from left to right.

    Attributes:
        words: The words, in the order of the content.
        rules: The drawn lines, from above.
    """

    words: list[Word]
    rules: list[Rule]


def by_direction(read: Characters, chosen: Flags, thin: Floats) -> list[Direction]:
    """The words of a page, apart for each direction in which text runs, that of most characters first.

    Args:
        read: The characters of the page.
        chosen: Whether each character is to be read.
        thin: Left, bottom, right and top of the thin lines that the page draws.
    """
    kept = np.flatnonzero(chosen & ~read.spaces)
    if not len(kept):
        return []
    directions = [degrees(angle) for angle in read.angles.tolist()]
    if len(set(directions)) == 1:
        return [_direction(read, kept, directions[0], thin)]
    of_character = np.array(directions)[read.objects[kept]]
    found, counts = np.unique(of_character, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [_direction(read, kept[of_character == found[index]], float(found[index]), thin) for index in order]


def _direction(read: Characters, kept: Integers, direction: float, thin: Floats) -> Direction:
    rules = []
    if len(thin) and direction % 90 == 0:
        left, right, bottom = _turned(thin, np.ones(len(thin)), direction)
        along = right - left > 5
        lines = zip(left[along].tolist(), right[along].tolist(), (-bottom[along]).tolist(), strict=True)
        rules = sorted((Rule(*line) for line in lines), key=lambda rule: rule.y)
    return Direction(_words(read, kept, direction), rules)


def _words(read: Characters, kept: Integers, direction: float) -> list[Word]:
    """The words of characters that run in one direction, in the order of the content."""
    objects = read.objects[kept]
    sizes = np.maximum(read.sizes[objects], 0.1)
    left, right, bottom = _turned(read.boxes[kept], sizes, direction)
    angle = math.radians(direction)
    first_bottom = _turned(read.boxes[read.first], np.maximum(read.sizes, 0.1), direction)[2]
    base_of_first = -read.origins[:, 0] * math.sin(angle) + read.origins[:, 1] * math.cos(angle)
    base = -(bottom + (base_of_first - first_bottom)[objects])
    # A space stands before a character if its predecessor in the content is not the one before it here.
    ends = np.empty(len(kept), np.bool_)
    ends[0] = True
    gap, size = np.maximum(left[1:] - right[:-1], left[:-1] - right[1:]), np.minimum(sizes[1:], sizes[:-1])
    widest = np.where(np.diff(objects) != 0, _GAP_BETWEEN_OBJECTS, _GAP) * size
    np.logical_or(np.diff(kept) != 1, gap > widest, out=ends[1:])
    ends[1:] |= np.abs(np.diff(base)) > 0.2 * size
    starts = np.flatnonzero(ends)
    x0, x1 = np.minimum.reduceat(left, starts).tolist(), np.maximum.reduceat(right, starts).tolist()
    bases, tall, fonts = base[starts].tolist(), sizes[starts].tolist(), read.fonts[objects[starts]].tolist()
    text, indices = _plain(read.codes[kept], kept)
    stops = [*starts[1:].tolist(), len(kept)]
    if len(indices) != len(kept):  # ligatures have become longer
        ending = np.searchsorted(indices, kept[np.array(stops) - 1], side="right").tolist()
    else:
        ending = stops
    of_letters = indices.tolist()
    words, begin = [], 0
    known: dict[str, list[Word]] = {}
    for index, end in enumerate(ending):
        word = Word(
            text[begin:end], x0[index], x1[index], bases[index], tall[index], fonts[index], of_letters[begin:end]
        )
        begin = end
        same = known.setdefault(word.text, [])
        if not any(_is_at(word, other) for other in same):
            same.append(word)
            words.append(word)
    return words


def _is_at(word: Word, other: Word) -> bool:
    """Whether a word stands where another does: some programs draw letters twice to make them bold."""
    near = 0.25 * word.size
    return abs(word.x0 - other.x0) < near and abs(word.base - other.base) < near


def _turned(boxes: Floats, sizes: Floats, direction: float) -> tuple[Floats, Floats, Floats]:
    """Left, right and bottom of boxes, turned back by a direction in degrees; y is still upward."""
    left, bottom, right, top = boxes.T
    if direction == 0:
        return left, right, bottom
    if direction == 90:
        return bottom, top, -right
    if direction == 180:
        return -right, -left, -top
    if direction == 270:
        return -top, -bottom, left
    # The box around a slanting character is wider and higher than the character; its height is that of its font.
    sine, cosine = math.sin(math.radians(direction)), math.cos(math.radians(direction))
    height = 1.17 * sizes
    if abs(cosine) > abs(sine):
        width = (right - left - height * abs(sine)) / abs(cosine)
    else:
        width = (top - bottom - height * abs(cosine)) / abs(sine)
    width = np.maximum(width, 0.1 * sizes)
    x, y = (left + right) / 2, (bottom + top) / 2
    along, across = x * cosine + y * sine, y * cosine - x * sine
    return along - width / 2, along + width / 2, across - height / 2


def _plain(codes: npt.NDArray[np.uint32], indices: Integers) -> tuple[str, Integers]:
    """The text of characters, ligatures as letters, and the index of the character that each letter is from."""
    text = text_of(codes)
    if len(text) != len(codes):  # halves of surrogate pairs were put together
        high = (codes[:-1] >= 0xD800) & (codes[:-1] < 0xDC00) & (codes[1:] >= 0xDC00) & (codes[1:] < 0xE000)
        indices = indices[np.append(True, ~high)]
    if not np.any((codes >= 0xFB00) & (codes <= 0xFB06)):
        return text, indices
    letters = [_LIGATURES.get(ord(letter), letter) for letter in text]
    return "".join(letters), np.repeat(indices, [len(letter) for letter in letters])
