"""What a page of a PDF paints besides text, and how its text is painted: enough to suspect that a text is hidden."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_raw

from kimi_beam.input.readers.pdf.characters import (
    INTEGER,
    POINTER,
    Characters,
    Flags,
    Floats,
    Integers,
    addresses,
    function,
    run_all,
)

_count_objects = function("FPDFPage_CountObjects", INTEGER, POINTER)
_object = function("FPDFPage_GetObject", POINTER, POINTER, INTEGER)
_type = function("FPDFPageObj_GetType", INTEGER, POINTER)
_get_bounds = function("FPDFPageObj_GetBounds", INTEGER, POINTER, POINTER, POINTER, POINTER, POINTER)
_draw_mode = function("FPDFPath_GetDrawMode", INTEGER, POINTER, POINTER, POINTER)
_fill_color = function("FPDFPageObj_GetFillColor", INTEGER, POINTER, POINTER, POINTER, POINTER, POINTER)
_stroke_color = function("FPDFPageObj_GetStrokeColor", INTEGER, POINTER, POINTER, POINTER, POINTER, POINTER)
_render_mode = function("FPDFTextObj_GetTextRenderMode", INTEGER, POINTER)
_has_transparency = function("FPDFPageObj_HasTransparency", INTEGER, POINTER)
_count_marks = function("FPDFPageObj_CountMarks", INTEGER, POINTER)
_mark = function("FPDFPageObj_GetMark", POINTER, POINTER, ctypes.c_ulong)
_mark_name = function("FPDFPageObjMark_GetName", INTEGER, POINTER, POINTER, ctypes.c_ulong, POINTER)
_clip_path = function("FPDFPageObj_GetClipPath", POINTER, POINTER)
_count_paths = function("FPDFClipPath_CountPaths", INTEGER, POINTER)
_count_segments = function("FPDFClipPath_CountPathSegments", INTEGER, POINTER, INTEGER)
_segment = function("FPDFClipPath_GetPathSegment", POINTER, POINTER, INTEGER, INTEGER)
_point = function("FPDFPathSegment_GetPoint", INTEGER, POINTER, POINTER, POINTER)

_MOST_SEGMENTS = 64
"""Clips of more segments are not looked at: their texts are suspected."""


@dataclass(frozen=True, slots=True)
class Painted:
    """What a page paints besides text. The arrays have one entry for each filled shape, picture, shading and form.

    Attributes:
        places: The index of each among the objects of the page: what comes later is painted over what comes before.
        boxes: Left, bottom, right and top in points.
        kinds: PDFium's number of its kind.
        colors: Red, green and blue of a shape, 0 to 255; -1 of anything else.
        count: How many objects of its own the page has, lines and texts included.
        texts: The handles of its text objects, those inside forms left out.
        paths: The handles of its lines and shapes that are seen, those inside forms left out.
        order: The index of each object of the page by its handle.
    """

    places: Integers
    boxes: Floats
    kinds: Integers
    colors: Integers
    count: int
    texts: list[int]
    paths: list[int]
    order: dict[int, int]


@dataclass(frozen=True, slots=True)
class Painting:
    """How the text objects of a page are painted. The arrays have one entry for each of `Characters.handles`.

    Attributes:
        boxes: Left, bottom, right and top in points.
        modes: The text rendering mode: 3 is invisible.
        colors: Red, green, blue and alpha, 0 to 255.
        is_plain_color: Whether it has one colour, and no pattern.
        is_transparent: Whether it is blended with what is below it.
        is_in_layer: Whether it belongs to a layer that may be off.
        is_clipped: Whether the page paints less than its box.
        places: The index of the object of the page that paints it; -1 for one inside a form.
    """

    boxes: Floats
    modes: Integers
    colors: Integers
    is_plain_color: Flags
    is_transparent: Flags
    is_in_layer: Flags
    is_clipped: Flags
    places: Integers


def painted(page: pdfium.PdfPage) -> Painted:
    """What a page paints besides text.

    Args:
        page: The page.
    """
    address = ctypes.cast(page.raw, POINTER).value
    count = _count_objects(address)
    handles: list[int] = list(map(_object, repeat(address), range(count)))
    kinds = np.array(list(map(_type, handles)), np.int64)
    others = np.flatnonzero((kinds != pdfium_raw.FPDF_PAGEOBJ_TEXT) & (kinds != pdfium_raw.FPDF_PAGEOBJ_UNKNOWN))
    modes = np.zeros((len(others), 2), np.int32)
    chosen = [handles[index] for index in others.tolist()]
    run_all(map(_draw_mode, chosen, addresses(modes), addresses(modes, 4)))
    is_path = kinds[others] == pdfium_raw.FPDF_PAGEOBJ_PATH
    paths = [handle for handle, drawn in zip(chosen, (is_path & modes.any(axis=1)).tolist(), strict=True) if drawn]
    fills = ~is_path | (modes[:, 0] != 0)
    others, is_path = others[fills], is_path[fills]
    chosen = [handles[index] for index in others.tolist()]
    boxes = bounds(chosen)
    colors = _colors(_fill_color, chosen)[0]
    # Without an alpha, a shape paints nothing.
    seen = ~is_path | (colors[:, 3] > 0)
    colors[~is_path] = -1
    return Painted(
        places=others[seen],
        boxes=boxes[seen],
        kinds=kinds[others][seen],
        colors=colors[seen][:, :3],
        count=count,
        paths=paths,
        texts=[handles[index] for index in np.flatnonzero(kinds == pdfium_raw.FPDF_PAGEOBJ_TEXT).tolist()],
        order=dict(zip(handles, range(count), strict=True)),
    )


def painting(read: Characters, around: Painted) -> Painting:
    """How the text objects of a page are painted.

    Args:
        read: The characters of the page.
        around: What the page paints besides.
    """
    handles: list[int | None] = [handle or None for handle in read.handles.tolist()]
    modes = np.array([_render_mode(handle) if handle else 0 for handle in handles], np.int64)
    colors, is_plain = _colors(_fill_color, handles)
    outlined = np.flatnonzero((modes == 1) | (modes == 5))
    if len(outlined):
        colors[outlined], is_plain[outlined] = _colors(_stroke_color, [handles[index] for index in outlined.tolist()])
    boxes = _text_boxes(read)
    is_in_layer = np.array(list(map(_count_marks, handles)), np.int64) > 0
    for index in np.flatnonzero(is_in_layer).tolist():
        is_in_layer[index] = _is_in_layer(handles[index])
    clips: list[int | None] = list(map(_clip_path, handles))
    is_clipped = np.array(list(map(_count_paths, clips)), np.int64) > 0
    for index in np.flatnonzero(is_clipped).tolist():
        is_clipped[index] = _is_clipped(clips[index], boxes[index].tolist())
    return Painting(
        boxes=boxes,
        modes=modes,
        colors=colors,
        is_plain_color=is_plain,
        is_transparent=np.array(list(map(_has_transparency, handles)), np.int64) == 1,
        is_in_layer=is_in_layer,
        is_clipped=is_clipped,
        places=np.array([around.order.get(handle or 0, -1) for handle in handles], np.int64),
    )


def bounds(handles: list[int]) -> Floats:
    """Left, bottom, right and top of objects of a page.

    Args:
        handles: Their handles.
    """
    boxes = np.zeros((len(handles), 4), np.float32)
    run_all(map(_get_bounds, handles, *(addresses(boxes, offset) for offset in (0, 4, 8, 12))))
    return boxes.astype(np.float64)


def _colors(get: Callable[..., int], handles: Sequence[int | None]) -> tuple[Integers, Flags]:
    colors = np.zeros((len(handles), 4), np.uint32)
    known = list(map(get, handles, *(addresses(colors, offset) for offset in (0, 4, 8, 12))))
    return colors.astype(np.int64), np.array(known, np.bool_)


def _text_boxes(read: Characters) -> Floats:
    """The box of each text object, around its characters."""
    order = np.argsort(read.objects, kind="stable")
    starts = np.searchsorted(read.objects[order], np.arange(len(read.handles)))
    sorted_boxes = read.boxes[order]
    low, high = np.minimum.reduceat(sorted_boxes, starts), np.maximum.reduceat(sorted_boxes, starts)
    return np.column_stack((low[:, 0], low[:, 1], high[:, 2], high[:, 3]))


def _is_in_layer(handle: int | None) -> bool:
    """Whether an object is marked as optional content (ISO 32000-1, 8.11.3.2)."""
    name, length = ctypes.create_string_buffer(16), ctypes.c_ulong()
    for index in range(min(_count_marks(handle), 16)):
        _mark_name(_mark(handle, index), ctypes.addressof(name), 16, ctypes.addressof(length))
        if name.raw[:6] == b"O\0C\0\0\0":
            return True
    return False


def _is_clipped(clip: int | None, box: list[float]) -> bool:
    """Whether a clip leaves out a part of a box, or may do so."""
    corner = (ctypes.c_float * 2)()
    x, y = ctypes.addressof(corner), ctypes.addressof(corner) + 4
    width, height = box[2] - box[0], box[3] - box[1]
    for path in range(min(_count_paths(clip), 8)):
        segments = _count_segments(clip, path)
        if not 0 < segments <= _MOST_SEGMENTS:
            return True
        xs, ys = [], []
        for index in range(segments):
            _point(_segment(clip, path, index), x, y)
            xs.append(corner[0])
            ys.append(corner[1])
        if (
            min(xs) > box[0] + 0.3 * width
            or max(xs) < box[2] - 0.3 * width
            or min(ys) > box[1] + 0.5 * height
            or max(ys) < box[3] - 0.5 * height
        ):
            return True
    return False
