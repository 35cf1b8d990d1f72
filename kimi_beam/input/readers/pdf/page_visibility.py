"""Text that the content of a page has and a person does not see.

Sizes, places and render modes are looked up. A text that may be painted over, clipped, or in the colour of what is
below it is only suspected: then the page is rendered at a low resolution with the suspects and without them, and where
that makes no difference, nothing is seen. Most pages have no suspects and are not rendered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_raw

from kimi_beam.input.readers.content import HiddenText
from kimi_beam.input.readers.pdf.characters import Characters, Flags, Floats
from kimi_beam.input.readers.pdf.drawn_text import drawn
from kimi_beam.input.readers.pdf.page_objects import Painted, Painting, bounds, painted, painting
from kimi_beam.input.readers.pdf.page_view import PageView

INVISIBLE = "painted by the invisible render mode"
TINY = "too small to be read"
OFF_PAGE = "off the page"
TRANSPARENT = "transparent"
LAYER_OFF = "on a layer that is off"
BEHIND_PICTURE = "behind a picture"
BEHIND_SHAPE = "behind a shape"
CLIPPED = "clipped away"
WHITE_ON_WHITE = "white on white"
BLANK = "in letters without a shape"
SAME_COLOR = "in the colour of its background"
_CAUSES = (
    *("", SAME_COLOR, TRANSPARENT, WHITE_ON_WHITE, BLANK, CLIPPED, BEHIND_SHAPE, LAYER_OFF, BEHIND_PICTURE),
    *(TINY, TRANSPARENT, INVISIBLE),
)
"""Why a text may be hidden: a later one outweighs an earlier one, and from `_FIRST_CERTAIN` on it is certain."""
_FIRST_CERTAIN = _CAUSES.index(TINY)
UNDER_ALL = (INVISIBLE, BEHIND_PICTURE)
"""How the text that was recognised in a scan is hidden."""

_PRODUCERS_MARKS = ("Powered by TCPDF (www.tcpdf.org)",)
"""What a program writes into each file that it makes, so that nobody sees it: no reason to distrust a file."""
_TINY = 2.0
"""The size of a font in points below which nobody can read it."""
_NARROW = 0.1
"""Letters that are made narrower than this share of their usual width cannot be read."""
_NEAR_WHITE = 200
"""A text none of whose colours is darker than this may be invisible on a white page."""
_FAINT = 64
"""A text of a lower alpha than this may be invisible."""
_NEAR = 48
"""A text in a colour that differs from a shape's by less than this may be invisible on it."""
_AT_ONCE = 256
"""How many text objects are compared with all shapes at once."""
_OVERLAP = 0.1
"""The share of a text's box that another object must cover to be suspected of covering it."""


_Causes = npt.NDArray[np.uint8]
"""Of each text object the index of a cause in `_CAUSES`; 0 for none."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """Which characters of a page a person sees.

    Attributes:
        seen: Whether each character is seen. White space is seen where it is not known to be hidden.
        reasons: Of each text object, why its hidden characters are hidden; empty where that is not known.
        around: What the page paints besides its text.
    """

    seen: Flags
    reasons: list[str]
    around: Painted


def visibility(page: pdfium.PdfPage, view: PageView, read: Characters) -> Visibility:
    """Finds out which characters of a page a person sees.

    Args:
        page: The page.
        view: How the page is shown.
        read: Its characters.
    """
    around = painted(page)
    reasons = [""] * len(read.handles)
    seen = np.ones(len(read), np.bool_)
    if not len(read):
        return Visibility(seen, reasons, around)
    how = painting(read, around)
    certain = _certainly_hidden(read, how)
    hidden = certain != 0
    if hidden.any():
        hidden &= ~_lies_on(how.boxes, bounds(_doubles(read, around)))
        for index in np.flatnonzero(hidden).tolist():
            reasons[index] = _CAUSES[certain[index]]
        seen[hidden[read.objects]] = False
    if not view.holds(read.boxes) and (off := ~view.shows(read.boxes) & ~read.spaces).any():
        for index in np.unique(read.objects[off]).tolist():
            reasons[index] = reasons[index] or OFF_PAGE
        seen[off] = False
    causes = np.maximum(_suspected(read, how, around), certain)
    suspects = (causes != 0) & ~hidden & (read.handles != 0)
    if not suspects.any():
        return Visibility(seen, reasons, around)
    chosen = np.flatnonzero(suspects[read.objects] & seen & ~read.spaces)
    if len(chosen):
        unseen = chosen[~drawn(page, view, read, chosen, _doubles(read, around))]
        seen[unseen] = False
        for index in np.unique(read.objects[unseen]).tolist():
            reasons[index] = reasons[index] or _CAUSES[causes[index]]
    return Visibility(seen, reasons, around)


def hidden_texts(read: Characters, found: Visibility, page: int) -> list[HiddenText]:
    """The hidden texts of a page, each from its first hidden character to its last.

    A text that is seen elsewhere on the page is left out (a shadow, a repeated page number): it tells nothing else.

    Args:
        read: The characters of the page.
        found: Which of them are seen.
        page: The number of the page, from 1.
    """
    hidden = np.flatnonzero(~(found.seen | read.spaces))
    if not len(hidden):
        return []
    visible = _without_spaces(read.text(found.seen))
    reasons = [found.reasons[index] for index in read.objects[hidden].tolist()]
    texts = []
    start = 0
    for end in range(1, len(hidden) + 1):
        if (
            end < len(hidden)
            and reasons[end] == reasons[start]
            and _is_beside(read, found, hidden[end - 1], hidden[end])
        ):
            continue
        part = np.zeros(len(read), np.bool_)
        part[hidden[start] : hidden[end - 1] + 1] = True
        text = read.text(part)
        if _without_spaces(text) not in visible and text not in _PRODUCERS_MARKS:
            texts.append(HiddenText(text, reasons[start], page))
        start = end
    return texts


def _is_beside(read: Characters, found: Visibility, before: int, after: int) -> bool:
    """Whether nothing but white space stands between two characters in the content."""
    return not np.any(found.seen[before + 1 : after] & ~read.spaces[before + 1 : after])


def _without_spaces(text: str) -> str:
    return "".join(text.split())


def _doubles(read: Characters, around: Painted) -> list[int]:
    """The handles of text objects that PDFium leaves out, because another one has their text at their place.

    Which of the two is seen does not matter to it: it may have kept a shadow, or an invisible one.
    """
    kept = set(read.handles.tolist())
    return [handle for handle in around.texts if handle not in kept]


def _lies_on(boxes: Floats, others: Floats) -> Flags:
    """Whether each box overlaps one of some others."""
    result = np.zeros(len(boxes), np.bool_)
    if not len(boxes) or not len(others):
        return result
    for left, bottom, right, top in others.tolist():
        result |= (boxes[:, 0] < right) & (left < boxes[:, 2]) & (boxes[:, 1] < top) & (bottom < boxes[:, 3])
    return result


def _certainly_hidden(read: Characters, how: Painting) -> _Causes:
    """Of each text object why nobody sees it, whatever is around it; 0 if that is not so."""
    is_tiny = (read.sizes < _TINY) | (read.widths < _NARROW)
    is_transparent = how.is_plain_color & (how.colors[:, 3] == 0)
    found = _weightiest(_FIRST_CERTAIN, (is_tiny, is_transparent, how.modes == 3))
    found[read.handles == 0] = 0
    return found


def _suspected(read: Characters, how: Painting, around: Painted) -> _Causes:
    """For each text object how it would be hidden if it were; 0 if nothing speaks for it."""
    count = len(how.modes)
    picture_above, anything_above, alike_below = np.zeros((3, count), np.bool_)
    for start in range(0, count, _AT_ONCE) if len(around.boxes) else ():
        part = slice(start, start + _AT_ONCE)
        picture_above[part], anything_above[part], alike_below[part] = _overlapping(how, around, part)
    doubtful = ~how.is_plain_color | (how.modes >= 4) | (how.places < 0)
    is_faint = how.is_transparent | (how.colors[:, 3] < _FAINT)
    is_white = how.colors[:, :3].min(axis=1) >= _NEAR_WHITE
    painted_over = (anything_above, how.is_in_layer, picture_above)
    return _weightiest(1, (alike_below | doubtful, is_faint, is_white, read.is_blank, how.is_clipped, *painted_over))


def _weightiest(first: int, holds: Sequence[Flags]) -> _Causes:
    """The last of some causes that follow each other in `_CAUSES` that holds for each text object; 0 if none does."""
    found = np.zeros(len(holds[0]), np.uint8)
    for cause, of_objects in enumerate(holds, first):
        found[of_objects] = cause
    return found


def _overlapping(how: Painting, around: Painted, part: slice) -> Flags:
    """Of some text objects: whether a picture is over it, whether anything is, and whether it is on its own colour."""
    boxes = how.boxes[part, None, :]
    others = around.boxes[None, :, :]
    width = np.minimum(boxes[..., 2], others[..., 2]) - np.maximum(boxes[..., 0], others[..., 0])
    height = np.minimum(boxes[..., 3], others[..., 3]) - np.maximum(boxes[..., 1], others[..., 1])
    area = np.maximum((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]), 1e-6)
    covers = (width > 0) & (height > 0) & (width * height > _OVERLAP * area)
    text, other = np.nonzero(covers)
    place = how.places[part][text]
    is_above = (around.places[other] > place) & (place >= 0)
    is_picture = around.kinds[other] == pdfium_raw.FPDF_PAGEOBJ_IMAGE
    apart = np.abs(around.colors[other] - how.colors[part, :3][text]).max(axis=1, initial=0)
    # What is no shape has no colour that is known.
    is_alike = ~is_above & ((apart < _NEAR) | (around.colors[other, 0] < 0))
    found = np.zeros((3, len(boxes)), np.bool_)
    for row, holds in enumerate((is_above & is_picture, is_above, is_alike)):
        found[row, text[holds]] = True
    return found
