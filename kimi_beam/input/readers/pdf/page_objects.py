"""What a page of a PDF paints besides text, and how its text is painted: enough to suspect that a text is hidden."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_raw

from kimi_beam.input.readers.pdf.characters import Characters, Flags, Floats, Integers
from kimi_beam.input.readers.pdf.pdfium_calls import Address, Answers, address, address_of, addresses, function, run_all

_count_objects = function("FPDFPage_CountObjects")
_object = function("FPDFPage_GetObject", ctypes.c_size_t)
_type = function("FPDFPageObj_GetType")
_get_bounds = function("FPDFPageObj_GetBounds")
_draw_mode = function("FPDFPath_GetDrawMode")
_fill_color = function("FPDFPageObj_GetFillColor")
_stroke_color = function("FPDFPageObj_GetStrokeColor")
_render_mode = function("FPDFTextObj_GetTextRenderMode")
_has_transparency = function("FPDFPageObj_HasTransparency")
_count_marks = function("FPDFPageObj_CountMarks")
_mark = function("FPDFPageObj_GetMark", ctypes.c_size_t)
_mark_name = function("FPDFPageObjMark_GetName")
_clip_path = function("FPDFPageObj_GetClipPath", ctypes.c_size_t)
_count_paths = function("FPDFClipPath_CountPaths")
_count_segments = function("FPDFClipPath_CountPathSegments")
_segment = function("FPDFClipPath_GetPathSegment", ctypes.c_size_t)
_point = function("FPDFPathSegment_GetPoint")

_MODES, _BOXES, _COLORS = Answers(2, np.int32), Answers(4, np.float32), Answers(4, np.uint32)

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
    whole = address_of(page)
    count = _count_objects(whole)
    handles: list[int] = list(map(_object, repeat(whole), range(count)))
    kinds = np.fromiter(map(_type, map(address, handles)), np.int64, count)
    others = np.flatnonzero((kinds != pdfium_raw.FPDF_PAGEOBJ_TEXT) & (kinds != pdfium_raw.FPDF_PAGEOBJ_UNKNOWN))
    modes, places = _MODES.empty(len(others))
    chosen = [handles[index] for index in others.tolist()]
    run_all(map(_draw_mode, addresses(chosen), *places))
    is_path = kinds[others] == pdfium_raw.FPDF_PAGEOBJ_PATH
    paths = [handle for handle, drawn in zip(chosen, (is_path & modes.any(axis=1)).tolist(), strict=True) if drawn]
    fills = ~is_path | (modes[:, 0] != 0)
    others, is_path = others[fills], is_path[fills]
    chosen = [handles[index] for index in others.tolist()]
    boxes = bounds(chosen)
    colors = _colors(_fill_color, addresses(chosen))[0]
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
    numbers: list[int] = read.handles.tolist()
    handles, count = addresses(numbers), len(numbers)
    modes = np.maximum(np.fromiter(map(_render_mode, handles), np.int64, count), 0)  # white space has none
    colors, is_plain = _colors(_fill_color, handles)
    outlined = np.flatnonzero((modes == 1) | (modes == 5))
    if len(outlined):
        colors[outlined], is_plain[outlined] = _colors(_stroke_color, [handles[index] for index in outlined.tolist()])
    boxes = _text_boxes(read)
    is_in_layer = np.fromiter(map(_count_marks, handles), np.int64, count) > 0
    for index in np.flatnonzero(is_in_layer).tolist():
        is_in_layer[index] = _is_in_layer(handles[index])
    clips = addresses(map(_clip_path, handles))
    is_clipped = np.fromiter(map(_count_paths, clips), np.int64, count) > 0
    for index in np.flatnonzero(is_clipped).tolist():
        is_clipped[index] = _is_clipped(clips[index], boxes[index].tolist())
    return Painting(
        boxes=boxes,
        modes=modes,
        colors=colors,
        is_plain_color=is_plain,
        is_transparent=np.fromiter(map(_has_transparency, handles), np.int64, count) == 1,
        is_in_layer=is_in_layer,
        is_clipped=is_clipped,
        places=np.fromiter(map(around.order.get, numbers, repeat(-1)), np.int64, count),
    )


def bounds(handles: list[int]) -> Floats:
    """Left, bottom, right and top of objects of a page.

    Args:
        handles: Their handles.
    """
    boxes, places = _BOXES.empty(len(handles))
    run_all(map(_get_bounds, addresses(handles), *places))
    return boxes.astype(np.float64)


def _colors(get: Callable[..., int], handles: Sequence[Address]) -> tuple[Integers, Flags]:
    colors, places = _COLORS.empty(len(handles))
    calls = map(get, handles, *places)
    known = np.fromiter(calls, np.bool_, len(handles))
    return colors.astype(np.int64), known


def _text_boxes(read: Characters) -> Floats:
    """The box of each text object, around its characters; white space has none."""
    letters = np.flatnonzero(~read.spaces)
    objects = read.objects[letters]
    starts = _run_starts(objects)
    if np.bincount(objects[starts], minlength=1).max() > 1:  # another object's characters stand between those of one
        order = np.argsort(objects, kind="stable")
        letters, objects = letters[order], objects[order]
        starts = _run_starts(objects)
    edges = read.boxes[letters].T
    least, most = np.minimum.reduceat, np.maximum.reduceat
    boxes = np.zeros((len(read.handles), 4))
    for edge, around in enumerate((least, least, most, most)):
        boxes[objects[starts], edge] = around(edges[edge], starts)
    return boxes


def _run_starts(objects: Integers) -> Integers:
    """The indices at which another number begins than the one before it."""
    begins = np.ones(len(objects), np.bool_)
    begins[1:] = objects[1:] != objects[:-1]
    return np.flatnonzero(begins)


def _is_in_layer(handle: Address) -> bool:
    """Whether an object is marked as optional content (ISO 32000-1, 8.11.3.2)."""
    name, length = ctypes.create_string_buffer(16), ctypes.c_ulong()
    for index in range(min(_count_marks(handle), 16)):
        mark = address(_mark(handle, ctypes.c_ulong(index)))
        _mark_name(mark, name, ctypes.c_ulong(16), ctypes.byref(length))
        if name.raw[:6] == b"O\0C\0\0\0":
            return True
    return False


def _is_clipped(clip: Address, box: list[float]) -> bool:
    """Whether a clip leaves out a part of a box, or may do so."""
    corner = (ctypes.c_float * 2)()
    x, y = ctypes.byref(corner), ctypes.byref(corner, 4)
    width, height = box[2] - box[0], box[3] - box[1]
    for path in range(min(_count_paths(clip), 8)):
        segments = _count_segments(clip, path)
        if not 0 < segments <= _MOST_SEGMENTS:
            return True
        xs, ys = [], []
        for index in range(segments):
            _point(address(_segment(clip, path, index)), x, y)
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
