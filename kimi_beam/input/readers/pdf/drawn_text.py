"""Which characters of a page make a difference to its picture: it is rendered with them and without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium

from kimi_beam.input.readers.pdf.characters import Characters, Flags, Integers
from kimi_beam.input.readers.pdf.page_view import PageView
from kimi_beam.input.readers.pdf.pdfium_calls import addresses, function, run_all

_set_active = function("FPDFPageObj_SetIsActive")

_SEEN = 8
"""By how much of 255 a pixel must change for it to be seen."""
_COLORS = np.array([1, 1, 1, 0], np.uint8).view(np.uint32)[0]
"""The bytes of a pixel that are colours."""
_SHARE = 0.4
"""The share of a word's characters that must be seen for the word to be seen."""
_PIXELS_PER_SIZE = 8.0
"""How many pixels high a font is rendered."""
_MOST_SCALE, _MOST_PIXELS = 3.0, 2_000_000


def drawn(page: pdfium.PdfPage, view: PageView, read: Characters, chosen: Integers, doubles: list[int]) -> Flags:
    """Which characters make a difference to the picture of the page.

    Args:
        page: The page.
        view: How it is shown.
        read: Its characters.
        chosen: The indices of the characters to look at, in ascending order.
        doubles: The handles of text objects that may paint the same text at the same place.
    """
    places = view.places(read.boxes[chosen])
    left, top = np.maximum(np.floor(places[:, :2].min(axis=0)) - 1, 0)
    right, bottom = np.minimum(np.ceil(places[:, 2:].max(axis=0)) + 1, (view.width, view.height))
    if right <= left or bottom <= top:
        return np.zeros(len(chosen), np.bool_)
    size = float(np.median(read.sizes[read.objects[chosen]]))
    scale = min(max(_PIXELS_PER_SIZE / size, 0.5), _MOST_SCALE)
    scale = min(scale, (_MOST_PIXELS / ((right - left) * (bottom - top))) ** 0.5)
    crop = (float(left), float(view.height - bottom), float(view.width - right), float(top))
    with _rendered(page, scale, crop) as complete:
        suspects = read.handles[np.unique(read.objects[chosen])].tolist()
        with _left_out([*suspects, *doubles]), _rendered(page, scale, crop) as without:
            changed = _changed(complete, without)
    if not changed.any():
        return np.zeros(len(chosen), np.bool_)
    sums = np.zeros((changed.shape[0] + 1, changed.shape[1] + 1), np.int32)
    np.cumsum(changed, axis=1, dtype=np.int32, out=sums[1:, 1:])
    np.cumsum(sums, axis=0, out=sums)
    pixels = (places - np.array([left, top, left, top])) * scale
    x0, y0 = np.floor(pixels[:, 0]), np.floor(pixels[:, 1])
    x1, y1 = np.maximum(np.ceil(pixels[:, 2]), x0 + 1), np.maximum(np.ceil(pixels[:, 3]), y0 + 1)
    x0, x1 = (np.clip(x, 0, changed.shape[1]).astype(np.int64) for x in (x0, x1))
    y0, y1 = (np.clip(y, 0, changed.shape[0]).astype(np.int64) for y in (y0, y1))
    return _by_word(read, chosen, sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0] > 0)


def _changed(complete: npt.NDArray[np.uint8], without: npt.NDArray[np.uint8]) -> Flags:
    """Which pixels differ so much that it is seen."""
    apart = np.maximum(complete, without)
    apart -= np.minimum(complete, without)
    # The three colours of a pixel are looked at together, as one number.
    changed: Flags = (apart >= _SEEN).view(np.uint32)[..., 0] & _COLORS != 0
    return changed


def _by_word(read: Characters, chosen: Integers, changed: Flags) -> Flags:
    """For each character whether its word is seen: a full stop may be too small to show, a neighbour may reach over."""
    starts = np.append(True, (np.diff(chosen) != 1) | (np.diff(read.objects[chosen]) != 0))
    word = np.cumsum(starts) - 1
    share = np.bincount(word, changed) / np.bincount(word)
    seen: Flags = share[word] >= _SHARE
    return seen


@contextmanager
def _rendered(
    page: pdfium.PdfPage, scale: float, crop: tuple[float, float, float, float]
) -> Iterator[npt.NDArray[np.uint8]]:
    """The pixels of a part of a page, which are there within the block."""
    bitmap = page.render(scale=scale, crop=crop, may_draw_forms=False, prefer_bgrx=True)
    try:
        yield bitmap.to_numpy()
    finally:
        bitmap.close()


@contextmanager
def _left_out(handles: list[int]) -> Iterator[None]:
    """Within the block, the page is rendered without these text objects."""
    objects = addresses(handles)
    run_all(map(_set_active, objects, repeat(0)))
    try:
        yield
    finally:
        run_all(map(_set_active, objects, repeat(1)))
