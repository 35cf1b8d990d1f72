"""The lines that a page draws between the rows of tables: thin strokes, thin boxes, and the edges of shaded rows."""

from __future__ import annotations

import ctypes

import numpy as np
import pypdfium2.raw as pdfium_raw

from kimi_beam.input.readers.pdf.characters import Floats
from kimi_beam.input.readers.pdf.page_objects import Painted, bounds
from kimi_beam.input.readers.pdf.pdfium_calls import Address, Answers, address, addresses, function, run_all

_count_segments = function("FPDFPath_CountSegments")
_segment = function("FPDFPath_GetPathSegment", ctypes.c_size_t)
_segment_type = function("FPDFPathSegment_GetType")
_point = function("FPDFPathSegment_GetPoint")
_matrix = function("FPDFPageObj_GetMatrix")

_POINTS = Answers(2, np.float32)

_THIN = 2.0
"""The most points that a line is thick."""
_LONG = 20.0
"""The fewest points that a line between rows is long."""
_HIGHEST = 200.0
"""Boxes that are higher than this are no rows."""
_EDGES = ([0, 1, 2, 1], [0, 3, 2, 3], [0, 1, 0, 3], [2, 1, 2, 3])
"""Where left, bottom, right and top of each edge of a box stand among those of the box."""
_BOX = 5
"""A path of this many segments or fewer is a line or a box."""
_MOST_PATHS, _MOST_SEGMENTS = 1_000, 400
"""More than this is a drawing, not the lines of a table."""


def rules(around: Painted) -> Floats:
    """The thin lines of a page: left, bottom, right and top of each.

    Args:
        around: What the page paints.
    """
    if not around.paths or len(around.paths) > _MOST_PATHS:
        return np.zeros((0, 4))
    boxes = bounds(around.paths)
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    thin = np.minimum(width, height) <= _THIN
    found = [boxes[thin]]
    segments = np.array(list(map(_count_segments, addresses(around.paths))), np.int64)
    boxed = boxes[~thin & (segments <= _BOX) & (np.minimum(width, height) <= _HIGHEST)]
    found += [boxed[:, edge] for edge in _EDGES]
    for index in np.flatnonzero(~thin & (segments > _BOX) & (segments <= _MOST_SEGMENTS)).tolist():
        found.append(_strokes(address(around.paths[index]), int(segments[index])))
    lines = np.vstack(found)
    return lines[np.maximum(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]) >= _LONG]


def _strokes(path: Address, count: int) -> Floats:
    """The straight strokes of a path that draws many: the grid of a table."""
    handles = addresses([_segment(path, index) for index in range(count)])
    points, places = _POINTS.empty(count)
    run_all(map(_point, handles, *places))
    matrix = (ctypes.c_float * 6)()
    _matrix(path, ctypes.byref(matrix))
    a, b, c, d, e, f = matrix
    x, y = points[:, 0] * a + points[:, 1] * c + e, points[:, 0] * b + points[:, 1] * d + f
    kinds = np.array(list(map(_segment_type, handles)), np.int64)
    ends = np.flatnonzero(kinds[1:] == pdfium_raw.FPDF_SEGMENT_LINETO) + 1
    boxes = np.column_stack(
        (
            np.minimum(x[ends], x[ends - 1]),
            np.minimum(y[ends], y[ends - 1]),
            np.maximum(x[ends], x[ends - 1]),
            np.maximum(y[ends], y[ends - 1]),
        )
    ).astype(np.float64)
    thin = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) <= _THIN
    return boxes[thin]
