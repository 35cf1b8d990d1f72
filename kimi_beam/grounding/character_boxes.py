"""The place of each character of a text on its page, as bytes: 2 to 3 bytes a character.

A place is left, top, right and bottom in tenths of a point from the upper left corner of the page as it is shown. The
bytes are a header (the page's width and height in tenths of a point) and a table of four columns of 32-bit numbers, one
row a character, compressed by zlib. Each column holds the differences from row to row, which compress well. A character
without a place (a space between columns, a line feed) has four times 0.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from kimi_beam.types.document import Layout

_UNITS = 10
_COMPRESSION = 4
"""Half the time of zlib's usual 6, for 6 % more bytes."""
_FARTHEST = 100_000.0
"""The most points that a place is told to be away from the corner."""
_HEADER = struct.Struct("<II")
_ROW_BYTES = 16
"""Of four numbers of 32 bits."""


@dataclass(frozen=True, slots=True)
class PageBoxes:
    """Where the characters of a page's text are.

    Attributes:
        width: The page's width in points.
        height: The page's height in points.
        places: One row a character: left, top, right and bottom in points; NaN where it has no place.
    """

    width: float
    height: float
    places: npt.NDArray[np.float64]

    def around(self, start: int, end: int) -> tuple[float, float, float, float] | None:
        """The box around some neighbouring characters; None if none of them has a place.

        Args:
            start: The index of the first character.
            end: The index after the last one.
        """
        chosen = self.places[start:end]
        chosen = chosen[~np.isnan(chosen[:, 0])]
        if not len(chosen):
            return None
        low, high = chosen.min(axis=0), chosen.max(axis=0)
        return float(low[0]), float(low[1]), float(high[2]), float(high[3])


def encode_boxes(places: npt.NDArray[np.floating[Any]], width: float, height: float) -> bytes:
    """The places of a text's characters as bytes.

    Args:
        places: One row a character: left, top, right and bottom in points; NaN where it has no place.
        width: The page's width in points.
        height: The page's height in points.
    """
    rows = np.rint(np.clip(np.nan_to_num(places), -_FARTHEST, _FARTHEST) * _UNITS).astype("<i4")
    return _HEADER.pack(round(width * _UNITS), round(height * _UNITS)) + zlib.compress(
        np.diff(rows, axis=0, prepend=np.zeros((1, 4), "<i4")).T.tobytes(), _COMPRESSION
    )


def decode_boxes(boxes: bytes, most: int) -> PageBoxes:
    """What `encode_boxes` made.

    Args:
        boxes: The bytes, which anybody may have written.
        most: The most characters that the text may have.

    Raises:
        struct.error: They are too few.
        zlib.error: They are damaged.
        ValueError: They are of a longer text, or are no table.
    """
    width, height = _HEADER.unpack_from(boxes)
    table = zlib.decompressobj().decompress(boxes[_HEADER.size :], _ROW_BYTES * most + 1)
    if len(table) > _ROW_BYTES * most:
        raise ValueError("the boxes are those of a longer text")
    differences = np.frombuffer(table, "<i4").reshape(4, -1).T
    rows = np.cumsum(differences, axis=0)
    places = np.where((rows == 0).all(axis=1)[:, None], np.nan, rows / _UNITS)
    return PageBoxes(width / _UNITS, height / _UNITS, places)


def boxes_of_pages(layout: Layout) -> list[bytes | None]:
    """The boxes of each page, as a document's layout holds them.

    Args:
        layout: The layout.

    Returns:
        None for a page without boxes; empty if the layout holds none.
    """
    return [] if layout.boxes is None else _BOXES.decode(layout.boxes)


_BOXES = msgspec.msgpack.Decoder(list[bytes | None])
