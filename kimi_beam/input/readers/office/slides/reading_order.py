"""The order in which a person reads boxes on a page: from top to bottom, and columns one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """The place of something on a page, in any unit. The top left corner has the least coordinates."""

    left: float
    top: float
    right: float
    bottom: float


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """The indices of boxes in reading order.

    Boxes are parted where a horizontal line crosses none, else where a vertical one does, and so is each part again.
    What cannot be parted is read by its top edges.

    Args:
        boxes: The boxes, in the order in which equal ones stay.
    """
    return _ordered(boxes, list(range(len(boxes))), 32)


def _ordered(boxes: Sequence[Box], indices: list[int], depth: int) -> list[int]:
    if len(indices) > 1 and depth:
        for first, last in ((1, 3), (0, 2)):  # across, by top and bottom; then down, by left and right
            parts = _parts(boxes, indices, first, last)
            if len(parts) > 1:
                return [index for part in parts for index in _ordered(boxes, part, depth - 1)]
    return sorted(indices, key=lambda index: (boxes[index].top, boxes[index].left))


def _parts(boxes: Sequence[Box], indices: list[int], first: int, last: int) -> list[list[int]]:
    """The groups of boxes between which a line crosses none. Boxes may overlap by a tenth of the smaller one."""
    parts: list[list[int]] = []
    reached = 0.0
    for index in sorted(indices, key=lambda index: boxes[index][first]):
        begin, end = boxes[index][first], boxes[index][last]
        if not parts or begin >= reached - 0.1 * (end - begin):
            parts.append([])
        parts[-1].append(index)
        reached = max(reached, end) if len(parts[-1]) > 1 or len(parts) > 1 else end
    return parts
