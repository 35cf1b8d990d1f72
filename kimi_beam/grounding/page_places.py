"""The page of a place in a text, and the box around it there."""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from functools import cached_property

import msgspec

from kimi_beam.grounding.character_boxes import PageBoxes, boxes_of_pages, decode_boxes
from kimi_beam.grounding.number_spellings import Span
from kimi_beam.types.document import Layout

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in points from the upper left corner of a page."""


class PagePlaces:
    """The pages of a document.

    Args:
        layout: Its layout; None if it has no pages. Somebody may have changed the text since it was read, and who
            wrote a dead letter is not known, so that boxes which do not fit the text count as none.
        length: The length of its text.
    """

    def __init__(self, layout: Layout | None, length: int) -> None:
        self._layout = layout or Layout()
        self._ends = (*self._layout.page_starts[1:], length)
        self._known: dict[int, PageBoxes | None] = {}

    def page(self, span: Span) -> int | None:
        """The number of the page on which a stretch begins, from 1; None if the document has no pages."""
        return bisect_right(self._layout.page_starts, span.start) or None

    def box(self, span: Span) -> Box | None:
        """The box around a stretch on its page, or around its beginning if it goes on; None if it is not known."""
        page = self.page(span)
        if page is None or page > len(self._encoded):
            return None
        start, end = self._layout.page_starts[page - 1], self._ends[page - 1]
        if page not in self._known:
            self._known[page] = _decoded(self._encoded[page - 1], end - start)
        boxes = self._known[page]
        return None if boxes is None else boxes.around(span.start - start, min(span.end, end) - start)

    @cached_property
    def _encoded(self) -> list[bytes | None]:
        try:
            return boxes_of_pages(self._layout)
        except msgspec.MsgspecError:
            return []


def _decoded(boxes: bytes | None, length: int) -> PageBoxes | None:
    """The boxes of a page with a text of at most so many characters."""
    if boxes is None:
        return None
    try:
        return decode_boxes(boxes, length)
    except (struct.error, ValueError, zlib.error):
        return None
