"""The characters of a page of a PDF: what each is, where it stands, and which text object of the page it belongs to."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_raw

from kimi_beam.input.readers.pdf.pdfium_calls import Address, Answers, address_of, addresses, function, run_all

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_HYPHEN, _UNKNOWN = 0x2D, 0xFFFD
_HYPHEN_AT_END = 0x02
"""What PDFium puts in the place of a hyphen that ends a line."""
_SPACES = (
    *range(0x09, 0x0E),
    *(0x20, 0x85, 0xA0, 0x1680),
    *range(0x2000, 0x200C),
    *(0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF),
)
_SPACE, _CONTROL = 1, 2
_KINDS = np.zeros(0x10000, np.uint8)
"""Of each code point up to U+FFFF whether it is white space, or stands for a hyphen or a letter without a name."""
_KINDS[[*range(0x20), 0xFFFE]] = _CONTROL
_KINDS[[*_SPACES]] = _SPACE
_THIN = 0.01
"""What is thinner than this share of a font's size has no shape, or is a thin line."""
_ABOVE, _BELOW = 0.9, 0.22
"""How far letters reach above and below their base line, in font sizes, where their font does not say it."""
_UNEVEN, _MOVED = 0.04, 0.5
"""The lower edges of letters of one text differ by more than the first number of font sizes where their font does not
say how high they are, and by more than the second where they are set at different heights."""
_SAMPLE = 128
"""How many characters of a page are asked whether their letters are known."""


_unicode = function("FPDFText_GetUnicode", ctypes.c_uint)
_loose_box = function("FPDFText_GetLooseCharBox")
_tight_box = function("FPDFText_GetCharBox")
_origin = function("FPDFText_GetCharOrigin")
_text_object = function("FPDFText_GetTextObject", ctypes.c_size_t)
_matrix = function("FPDFText_GetMatrix")
_font_size = function("FPDFText_GetFontSize", ctypes.c_double)
_font = function("FPDFTextObj_GetFont", ctypes.c_size_t)
_is_hyphen = function("FPDFText_IsHyphen")
_map_error = function("FPDFText_HasUnicodeMapError")

_EDGES, _MATRICES = Answers(4, np.float32), Answers(6, np.float32)
_ORIGINS, _SHAPES = Answers(2, np.float64), Answers(4, np.float64)


@dataclass(frozen=True, slots=True)
class Characters:
    """The characters of a page, in the order in which its content draws them.

    The first arrays have one entry a character. Those from `handles` on have one entry a text object, which is a piece
    of text that is drawn at once, in one font and colour.

    Attributes:
        codes: Code points. A hyphen at a line's end is an ordinary one.
        boxes: Left, bottom, right and top in points, in the page's own coordinates: as wide as the character and as
            high as its font. White space has none.
        objects: The index of the text object that draws it; white space has one of its own.
        spaces: Whether it is white space, or was put in by PDFium.
        handles: PDFium's handle of the object; 0 for that of white space.
        first: The index of its first character.
        origins: x and y of the point on the base line where its first character begins.
        sizes: The size of its font as it is seen, in points.
        widths: How wide its letters are made, as a share of their usual width.
        angles: In which direction it runs, in radians against the clock; 0 runs from left to right.
        fonts: PDFium's handle of its font.
        is_blank: Whether its first character seems to have no shape.
    """

    codes: npt.NDArray[np.uint32]
    boxes: Floats
    objects: Integers
    spaces: Flags
    handles: Integers
    first: Integers
    origins: Floats
    sizes: Floats
    widths: Floats
    angles: Floats
    fonts: Integers
    is_blank: Flags

    def __len__(self) -> int:
        """How many characters the page has, spaces included."""
        return len(self.codes)

    def text(self, chosen: Flags) -> str:
        """The text of some characters as it stands in the content, with single spaces.

        Args:
            chosen: Whether each character is wanted.
        """
        return " ".join(text_of(np.where(self.spaces, np.uint32(0x20), self.codes)[chosen]).split())


def characters(text_page: pdfium.PdfTextPage) -> Characters:
    """Reads the characters of a page.

    Args:
        text_page: The text of the page, as PDFium has it.
    """
    page, count = address_of(text_page), text_page.count_chars()
    codes = _codes(text_page, page, count)
    kinds = _KINDS[np.minimum(codes, 0xFFFF)]
    _name_controls(page, codes, np.flatnonzero(kinds == _CONTROL))
    spaces = kinds == _SPACE
    letters = np.flatnonzero(~spaces)
    edges, places = _EDGES.empty(len(letters))
    run_all(map(_loose_box, repeat(page), letters.tolist(), places[0]))
    of_letters = edges[:, [0, 3, 2, 1]].astype(np.float64)
    drawn_by = text_objects(page, letters)
    # The second letter of a ligature has no object, as little as a space that PDFium puts in: it is where the first is.
    for index in (1 + np.flatnonzero(drawn_by[1:] == 0)).tolist():
        if letters[index - 1] == letters[index] - 1:
            drawn_by[index], of_letters[index] = drawn_by[index - 1], of_letters[index - 1]
    handles, first, of_letter = _objects(drawn_by)
    boxes, objects = np.zeros((count, 4)), np.zeros(count, np.int64)
    boxes[letters], objects[letters] = of_letters, of_letter
    first = np.append(0 if len(letters) == count else spaces.argmax(), letters[first])
    if not count:
        handles, first = handles[:0], first[:0]
    of_first = first.tolist()
    origins = _origins(page, of_first)
    matrices, places = _MATRICES.empty(len(handles))
    run_all(map(_matrix, repeat(page), of_first, places[0]))
    shapes, places = _SHAPES.empty(len(handles))
    run_all(map(_tight_box, repeat(page), of_first, *places))
    thickness = np.minimum(shapes[:, 1] - shapes[:, 0], shapes[:, 3] - shapes[:, 2])
    heights = np.maximum(np.hypot(matrices[:, 2], matrices[:, 3]), 1e-9).astype(np.float64)
    sizes = np.abs(np.fromiter(map(_font_size, repeat(page), of_first), np.float64, len(handles))) * heights
    angles = np.arctan2(matrices[:, 1], matrices[:, 0]).astype(np.float64)
    uneven = letters[_stand_unevenly(of_letters, boxes[first], angles, sizes, of_letter)]
    if len(uneven):
        bases = _origins(page, uneven.tolist())
        drawing = objects[uneven]
        boxes[uneven] = _as_high_as_letters(boxes[uneven], bases, angles[drawing], sizes[drawing])
    return Characters(
        codes=codes,
        boxes=boxes,
        objects=objects,
        spaces=objects == 0,
        handles=handles,
        first=first,
        origins=origins,
        sizes=sizes,
        widths=np.hypot(matrices[:, 0], matrices[:, 1]) / heights,
        angles=angles,
        fonts=np.fromiter(map(_font, addresses(handles.tolist())), np.int64, len(handles)),
        is_blank=thickness < _THIN * sizes,
    )


def _origins(page: Address, indices: list[int]) -> Floats:
    """The point on the base line where each of some characters begins: x and y."""
    answers, places = _ORIGINS.empty(len(indices))
    run_all(map(_origin, repeat(page), indices, *places))
    origins: Floats = answers.copy()
    return origins


def text_objects(page: Address, letters: Integers) -> Integers:
    """PDFium's handle of the text object that draws each letter; 0 for what PDFium has put in.

    An object draws its letters one after the other. So PDFium is asked about the first and the last letter of a word,
    and about those between them where these two are of different objects.

    Args:
        page: The text of the page.
        letters: The indices of the characters that are no white space.
    """
    if not len(letters):
        return letters
    breaks = np.flatnonzero(letters[1:] - letters[:-1] != 1)
    bounds = np.concatenate(([-1], breaks, [len(letters) - 1]))
    lengths = bounds[1:] - bounds[:-1]
    of_start, of_end = _asked(page, letters[np.concatenate((bounds[:-1] + 1, bounds[1:]))]).reshape(2, -1)
    found = np.repeat(of_start, lengths)
    unsure = np.repeat((of_start != of_end) | (of_start == 0), lengths)
    found[unsure] = _asked(page, letters[unsure])
    return found


def _asked(page: Address, letters: Integers) -> Integers:
    """The text object of each letter, asked for one by one."""
    return np.fromiter(map(_text_object, repeat(page), letters.tolist()), np.int64, len(letters))


def _objects(drawn_by: Integers) -> tuple[Integers, Integers, Integers]:
    """The text objects of letters, after one that stands for none.

    Args:
        drawn_by: The handle of the object of each letter; 0 for none.

    Returns:
        The handles, the index of the first letter of each but the first, and the index of the object of each letter.
    """
    if not len(drawn_by):
        return np.zeros(1, np.int64), drawn_by, drawn_by
    changes = drawn_by[1:] != drawn_by[:-1]
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    handles = drawn_by[starts]
    of_letters = np.concatenate(([0], np.cumsum(changes)))
    if len(set(handles.tolist())) == len(handles) and handles.all():  # no object goes on behind another one
        return np.concatenate(([0], handles)), starts, of_letters + 1
    handles, first, runs = np.unique(handles, return_index=True, return_inverse=True)
    of_letters = runs[of_letters]
    if not handles[0]:
        return handles, starts[first[1:]], of_letters
    return np.append(0, handles), starts[first], of_letters + 1


def _stand_unevenly(boxes: Floats, of_first: Floats, angles: Floats, sizes: Floats, objects: Integers) -> Flags:
    """Which letters are in a text whose font does not say how high it is: PDFium gives the boxes of their shapes.

    Args:
        boxes: Left, bottom, right and top of each letter.
        of_first: The same of the first letter of each text object.
        angles: In which direction each text object runs, in radians.
        sizes: The size of the font of each.
        objects: The index of the text object of each letter.
    """
    is_level = not np.any(angles)
    low, first_low = (edges[:, 1] for edges in (boxes, of_first))
    if not is_level:
        low, first_low = _lower_edges(boxes, angles[objects]), _lower_edges(of_first, angles)
    apart = np.abs(low - first_low[objects])
    size = sizes[objects]
    is_uneven = apart > _UNEVEN * size
    if not is_uneven.any():
        return is_uneven
    uneven, moved = np.zeros(len(sizes), np.bool_), np.zeros(len(sizes), np.bool_)
    uneven[objects[is_uneven]] = True
    moved[objects[apart > _MOVED * size]] = True
    is_straight = np.abs(np.sin(2 * angles)) < 0.01  # the box around a slanting letter is higher than the letter
    return (uneven & ~moved & is_straight)[objects]


def _lower_edges(boxes: Floats, angles: Floats) -> Floats:
    """Where boxes end below, along the direction from the base lines of texts to their tops."""
    sine, cosine = np.sin(angles), np.cos(angles)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    lower: Floats = y * cosine - x * sine - (width * np.abs(sine) + height * np.abs(cosine)) / 2
    return lower


def _as_high_as_letters(boxes: Floats, bases: Floats, angles: Floats, sizes: Floats) -> Floats:
    """Boxes of the shapes of letters, made as high as letters usually are: a ``y`` stands on the line of an ``o``.

    Args:
        boxes: Left, bottom, right and top of each.
        bases: x and y of a point on the base line of each.
        angles: In which direction it runs, in radians.
        sizes: The size of its font.
    """
    upward = np.stack([-np.sin(angles), np.cos(angles)], axis=1)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    above_base = ((middles - bases) * upward).sum(axis=1)
    middles += upward * ((_ABOVE - _BELOW) / 2 * sizes - above_base)[:, None]
    halves = np.where(np.abs(upward) > 0.5, ((_ABOVE + _BELOW) / 2 * sizes)[:, None], (boxes[:, 2:] - boxes[:, :2]) / 2)
    return np.concatenate([middles - halves, middles + halves], axis=1)


def _name_controls(page: Address, codes: npt.NDArray[np.uint32], controls: Integers) -> None:
    """Hyphens at the end of lines become ordinary ones, and letters that a font does not name are unknown ones."""
    for index in controls.tolist():
        is_hyphen = codes[index] != _HYPHEN_AT_END or _is_hyphen(page, index) == 1
        codes[index] = _HYPHEN if is_hyphen and codes[index] in (_HYPHEN_AT_END, 0xFFFE) else _UNKNOWN


def _codes(text_page: pdfium.PdfTextPage, page: Address, count: int) -> npt.NDArray[np.uint32]:
    """The code points: all at once where each is one unit of UTF-16, one by one otherwise."""
    units = np.zeros(count + 1, np.uint16)
    address = ctypes.cast(units.ctypes.data, ctypes.POINTER(ctypes.c_ushort))
    if pdfium_raw.FPDFText_GetText(text_page, 0, count, address) == count + 1:
        return units[:count].astype(np.uint32)
    return np.array(list(map(_unicode, repeat(page), range(count))), np.uint32)


def unmapped_share(text_page: pdfium.PdfTextPage, read: Characters) -> float:
    """The share of characters whose letter nobody can know: the font does not say it, or it is of private use.

    It is told by some hundred characters that are spread over the page.

    Args:
        text_page: The text of the page, as PDFium has it.
        read: Its characters.
    """
    seen = np.flatnonzero(~read.spaces)
    if not len(seen):
        return 0.0
    seen = seen[:: -(-len(seen) // _SAMPLE)]
    codes = read.codes[seen]
    unknown = (codes == _UNKNOWN) | ((codes >= 0xE000) & (codes <= 0xF8FF)) | (codes >= 0xF0000)
    page = address_of(text_page)
    errors = np.fromiter(map(_map_error, repeat(page), seen.tolist()), np.int64, len(seen))
    return np.count_nonzero(unknown | (errors == 1)) / len(seen)


def text_of(codes: npt.NDArray[np.uint32]) -> str:
    """Code points as a text. Halves of surrogate pairs, which some fonts give, are put together or replaced.

    Args:
        codes: The code points.
    """
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass") if _is_clean(codes) else _mended(codes)


def _is_clean(codes: npt.NDArray[np.uint32]) -> bool:
    return codes.max(initial=0) < 0xD800 or not np.any(((codes >= 0xD800) & (codes <= 0xDFFF)) | (codes > 0x10FFFF))


def _mended(codes: npt.NDArray[np.uint32]) -> str:
    kept = np.where(codes > 0x10FFFF, np.uint32(_UNKNOWN), codes).tolist()
    return "".join(map(chr, kept)).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def degrees(angle: float) -> float:
    """An angle in radians as degrees from 0 to 360, right angles made exact.

    Args:
        angle: In radians.
    """
    turned = math.degrees(angle) % 360
    nearest = round(turned / 90) * 90
    return float(nearest % 360) if abs(turned - nearest) < 2 else float(round(turned))
