"""The text of a page as the eye sees it: lines from above, columns one after the other, cells below each other.

A wide gap becomes spaces, so that cells of one column begin at one place; where all lines of a stretch are blank, no
more than three spaces are left, because each costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, islice
from statistics import median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kimi_beam.input.readers.pdf.characters import Floats
from kimi_beam.input.readers.pdf.layout.page_columns import regions
from kimi_beam.input.readers.pdf.layout.page_lines import Cell, Line
from kimi_beam.input.readers.pdf.layout.page_words import Direction
from kimi_beam.input.readers.pdf.layout.wrapped_rows import join_wrapped_rows

_BLANKS = 3
"""The most spaces between two columns of cells, and before the first."""
_APART = 1.9
"""Lines further apart than this many font sizes have an empty line between them."""
_STRETCH = 4.0
"""Lines further apart than this many font sizes do not share the places of their columns."""
_MOST_COLUMNS = 1_000


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of a page's text.

    Attributes:
        text: The line, without a line feed; empty for an empty line.
        places: Left, top, right and bottom of each of its characters; NaN for a space. None if they are not wanted, or
            the line was not read off the page.
    """

    text: str
    places: npt.NDArray[np.float32] | None = None


class _Printed(NamedTuple):
    """A line of a page.

    Attributes:
        text: The line.
        cells: Its cells, each with the spaces before it; empty for an empty line.
    """

    text: str
    cells: list[tuple[int, Cell]]

    def sources(self) -> list[int]:
        """For each character of the line its index among the page's characters; -1 for a space."""
        found: list[int] = []
        for blanks, cell in self.cells:
            found += [-1] * blanks
            for number, word in enumerate(cell.words):
                if number:
                    found.append(-1)
                found += word.sources
        return found


_EMPTY = _Printed("", [])


def page_text(directions: list[Direction], places: Floats | None = None) -> list[TextLine]:
    """The lines of a page's text.

    Args:
        directions: The words of the page, apart for each direction in which they run.
        places: Left, top, right and bottom of each character of the page; None if the lines shall not have them.
    """
    printed: list[_Printed] = []
    for direction in directions:
        for region in regions(direction.words, direction.rules):
            if printed:
                printed.append(_EMPTY)
            printed += _printed(join_wrapped_rows(region, direction.rules))
    if places is None:
        return [TextLine(line.text) for line in printed]
    # A space has the place of the last character, which is none.
    known = np.vstack((places, np.full(4, np.nan))).astype(np.float32)
    of_all = known[[source for line in printed for source in line.sources()]]
    ends = list(accumulate(len(line.text) for line in printed))
    return [TextLine(line.text, of_all[end - len(line.text) : end]) for line, end in zip(printed, ends, strict=True)]


def _printed(region: list[Line]) -> list[_Printed]:
    """The lines of a region, cells of a column below each other."""
    printed: list[_Printed] = []
    if not region:
        return printed
    columns = _columns(region)
    start = 0
    for index in range(1, len(region) + 1):
        if index < len(region) and region[index].base - region[index - 1].last <= _STRETCH * region[index].size:
            continue
        if printed:
            printed.append(_EMPTY)
        printed += _stretch(region[start:index], columns[start:index])
        start = index
    return printed


def _usual_width(region: list[Line]) -> float:
    """The usual width of a character."""
    widths = [(word.x1 - word.x0) / len(word.text) for line in region for cell in line.cells for word in cell.words]
    return max(median(widths), 0.5)


def _columns(region: list[Line]) -> list[list[tuple[int, int]]]:
    """For each cell of each line its first column, and the one behind its last, as wide as usual characters."""
    width = _usual_width(region)
    left = min([line.cells[0].x0 for line in region])
    cells = [cell for line in region for cell in line.cells]
    edges = np.array([[cell.x0 for cell in cells], [cell.x1 for cell in cells]])
    begins, ends = np.minimum(np.maximum((edges - left) / width + 0.5, 0), _MOST_COLUMNS).astype(np.int64)
    of_all = zip(begins.tolist(), np.maximum(ends, begins + 1).tolist(), strict=True)
    return [list(islice(of_all, len(line.cells))) for line in region]


def _stretch(lines: list[Line], columns: list[list[tuple[int, int]]]) -> list[_Printed]:
    """Lines that share the places of their columns."""
    changes = [0] * (_MOST_COLUMNS + 2)
    for of_line in columns:
        for begin, end in of_line:
            changes[begin] += 1
            changes[end] -= 1
    narrowed, place, blanks, used = [], 0, 0, 0
    for change in changes[: 1 + max(map(max, columns))[0]]:
        narrowed.append(place)
        used += change
        blanks = 0 if used else blanks + 1
        place += blanks <= _BLANKS
    printed: list[_Printed] = []
    for index, (line, of_line) in enumerate(zip(lines, columns, strict=True)):
        if index and line.base - lines[index - 1].last > _APART * line.size:
            printed.append(_EMPTY)
        printed.append(_line(line, [narrowed[begin] for begin, _ in of_line]))
    return printed


def _line(line: Line, places: list[int]) -> _Printed:
    parts: list[str] = []
    cells: list[tuple[int, Cell]] = []
    length = 0
    for cell, place in zip(line.cells, places, strict=True):
        blanks = place - length
        if parts and blanks < 2:
            blanks = 2
        parts += (" " * blanks, cell.text)
        cells.append((blanks, cell))
        length += blanks + len(cell.text)
    return _Printed("".join(parts), cells)
