"""Words of a page: characters that stand side by side, with their place, turned so that they run from left to right.

All coordinates here are in points, x to the right and y *down*, as a page is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from kimi_beam.input.readers.pdf.characters import Characters, Flags, Floats, Integers, degrees, text_of

_GAP = 0.25
"""A gap of this many font sizes ends a word, where the content has no space."""
_GAP_BETWEEN_OBJECTS = 0.15
"""The same, where another text object begins: letters that are set apart are usually drawn by one."""
_TWICE = 0.25
"""Equal words nearer than this many font sizes are one that is drawn twice."""
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}


class Word(msgspec.Struct, frozen=True, gc=False):
    """Characters without a space between them.

    A page has hundreds of them, and a struct is made in a fifth of the time that a dataclass takes.

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
    sources: Sequence[int]


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
    if (read.angles == read.angles[0]).all():
        return [_direction(read, kept, degrees(float(read.angles[0])), thin)]
    angles, of_object = np.unique(read.angles, return_inverse=True)
    directions = [degrees(angle) for angle in angles.tolist()]
    if len(set(directions)) == 1:
        return [_direction(read, kept, directions[0], thin)]
    of_character = np.array(directions)[of_object][read.objects[kept]]
    found, counts = np.unique(of_character, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [_direction(read, kept[of_character == found[index]], float(found[index]), thin) for index in order]


def _direction(read: Characters, kept: Integers, direction: float, thin: Floats) -> Direction:
    rules = []
    if len(thin) and direction % 90 == 0:
        left, right, bottom = _turned(thin, np.ones(len(thin)), direction)
        along = right - left > 5
        from_above = np.flatnonzero(along)[np.argsort(-bottom[along], kind="stable")]
        rules = list(map(Rule, *(edges[from_above].tolist() for edges in (left, right, -bottom))))
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
    widest = np.where(objects[1:] != objects[:-1], _GAP_BETWEEN_OBJECTS, _GAP) * size
    np.logical_or(kept[1:] - kept[:-1] != 1, gap > widest, out=ends[1:])
    ends[1:] |= np.abs(base[1:] - base[:-1]) > 0.2 * size
    starts = np.flatnonzero(ends)
    left_edges = np.minimum.reduceat(left, starts)
    x0, x1 = left_edges.tolist(), np.maximum.reduceat(right, starts).tolist()
    bases, tall, fonts = base[starts].tolist(), sizes[starts].tolist(), read.fonts[objects[starts]].tolist()
    text, indices = _plain(read.codes[kept], kept)
    stops = [*starts[1:].tolist(), len(kept)]
    sources: Iterable[Sequence[int]]
    if indices is not kept:  # ligatures have become longer, or halves of surrogate pairs are one
        stops = np.searchsorted(indices, kept[np.array(stops) - 1], side="right").tolist()
        parts = list(map(slice, [0, *stops[:-1]], stops))
        sources = map(indices.tolist().__getitem__, parts)
    else:  # no other character stands between those of a word
        parts = list(map(slice, [0, *stops[:-1]], stops))
        last = kept[np.array(stops) - 1] + 1
        sources = map(range, kept[starts].tolist(), last.tolist())
    texts = map(text.__getitem__, parts)
    words = list(map(Word, texts, x0, x1, bases, tall, fonts, sources))
    return _drawn_once(words, _have_neighbours(left_edges, base[starts], sizes[starts]))


def _drawn_once(words: list[Word], has_neighbours: Flags) -> list[Word]:
    """The words without those that stand where an equal one does: some programs draw letters twice for bold ones.

    Args:
        words: The words.
        has_neighbours: Whether any other word begins near each, so that it may be drawn twice.
    """
    if not has_neighbours.any():
        return words
    square = _TWICE * max(word.size for word in words)
    once: list[Word] = []
    near: dict[tuple[str, int, int], list[Word]] = {}
    for word, has_neighbour in zip(words, has_neighbours.tolist(), strict=True):
        if has_neighbour:
            column, row = int(word.x0 // square), int(word.base // square)
            around = ((x, y) for x in (column - 1, column, column + 1) for y in (row - 1, row, row + 1))
            if any(_is_at(word, other) for place in around for other in near.get((word.text, *place), ())):
                continue
            near.setdefault((word.text, column, row), []).append(word)
        once.append(word)
    return once


def _have_neighbours(left: Floats, base: Floats, sizes: Floats) -> Flags:
    """Whether another word begins within `_TWICE` font sizes of each, or a little further away.

    Words are put into squares, and those are found that are not alone in their own and the squares around it.
    """
    square = _TWICE * float(sizes.max())
    columns, rows = np.floor(left / square), np.floor(base / square)
    width = float(columns.max() - columns.min()) + 3
    places = rows * width + columns
    order = places.argsort()
    sorted_places = places[order]
    found = np.zeros(len(places), np.bool_)
    beside = sorted_places[1:] - sorted_places[:-1] <= 1
    found[1:] |= beside
    found[:-1] |= beside
    # Three squares touch one from below, and three from above: at most one step from the square that is a row away.
    last = len(places) - 1
    below = np.searchsorted(sorted_places, sorted_places + (width - 1))
    found |= (below <= last) & (sorted_places[np.minimum(below, last)] <= sorted_places + (width + 1))
    above = np.searchsorted(sorted_places, sorted_places - (width - 1), side="right") - 1
    found |= (above >= 0) & (sorted_places[np.maximum(above, 0)] >= sorted_places - (width + 1))
    result = np.empty_like(found)
    result[order] = found
    return result


def _is_at(word: Word, other: Word) -> bool:
    """Whether a word stands where another does."""
    near = _TWICE * word.size
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
    if codes.max(initial=0) < 0xFB00 or not np.any((codes >= 0xFB00) & (codes <= 0xFB06)):
        return text, indices
    letters = [_LIGATURES.get(ord(letter), letter) for letter in text]
    return "".join(letters), np.repeat(indices, [len(letter) for letter in letters])
