"""How a page is shown: which part of it, turned how, and where a box of its own coordinates is on the page as shown."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_raw

from kimi_beam.input.readers.pdf.characters import Flags, Floats

_FINE = 1_000_000
"""The pixels of a device that is fine enough to read a transformation off it."""
_INSIDE = 0.5
"""The share of a box that must be on the page for it to be shown."""


@dataclass(frozen=True, slots=True)
class PageView:
    """The page as it is shown: upright, cut to its visible box.

    Attributes:
        width: In points.
        height: In points.
        matrix: Six numbers that make x and y of the page as shown, in points from its upper left corner, of those of
            its content: ``x' = a x + b y + c``, ``y' = d x + e y + f``.
    """

    width: float
    height: float
    matrix: tuple[float, float, float, float, float, float]

    def places(self, boxes: Floats) -> Floats:
        """Boxes on the page as shown: left, top, right and bottom, in points from its upper left corner.

        Args:
            boxes: Left, bottom, right and top of each, in the coordinates of the content.
        """
        a, b, c, d, e, f = self.matrix
        left, bottom, right, top = boxes.T
        x, y = a * left + b * bottom + c, d * left + e * bottom + f
        other_x, other_y = a * right + b * top + c, d * right + e * top + f
        lowest, highest = np.minimum, np.maximum
        return np.stack((lowest(x, other_x), lowest(y, other_y), highest(x, other_x), highest(y, other_y)), axis=1)

    def shows(self, boxes: Floats) -> Flags:
        """Whether each box is on the page, at least half of it.

        Args:
            boxes: Left, bottom, right and top of each, in the coordinates of the content.
        """
        left, top, right, bottom = self.places(boxes).T
        width = np.minimum(right, self.width) - np.maximum(left, 0)
        height = np.minimum(bottom, self.height) - np.maximum(top, 0)
        inside = (width >= _INSIDE * (right - left)) & (height >= _INSIDE * (bottom - top))
        shown: Flags = inside & (width >= 0) & (height >= 0)
        return shown

    def holds(self, boxes: Floats) -> bool:
        """Whether all of some boxes are on the page, each of them wholly. It is told faster than by `shows`.

        Args:
            boxes: Left, bottom, right and top of each, in the coordinates of the content.
        """
        if not len(boxes):
            return True
        xs, ys = boxes[:, ::2], boxes[:, 1::2]
        around = np.array([[xs.min(), ys.min(), xs.max(), ys.max()]])
        left, top, right, bottom = self.places(around)[0].tolist()
        return bool(left >= 0 and top >= 0 and right <= self.width and bottom <= self.height)


def page_view(page: pdfium.PdfPage) -> PageView:
    """How a page is shown.

    Args:
        page: The page.
    """
    width, height = page.get_size()
    x, y = ctypes.c_int(), ctypes.c_int()
    points = []
    for at in ((0, 0), (1_000, 0), (0, 1_000)):
        pdfium_raw.FPDF_PageToDevice(page, 0, 0, _FINE, _FINE, 0, *at, x, y)
        points.append((x.value * width / _FINE, y.value * height / _FINE))
    (c, f), along, up = points
    a, d = (along[0] - c) / 1_000, (along[1] - f) / 1_000
    b, e = (up[0] - c) / 1_000, (up[1] - f) / 1_000
    return PageView(width, height, (a, b, c, d, e, f))
