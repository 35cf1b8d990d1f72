"""The text of a page as the eye sees it: lines from above, columns one after the other, cells below each other.

A wide gap becomes spaces, so that cells of one column begin at one place; where all lines of a stretch are blank, no
more than three spaces are left, because each costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from statistics import median

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


@dataclass(frozen=True, slots=True)
class _Printed:
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
    width = _usual_width(region)
    left = min(line.cells[0].x0 for line in region)
    start = 0
    for index in range(1, len(region) + 1):
        if index < len(region) and region[index].base - region[index - 1].last <= _STRETCH * region[index].size:
            continue
        if printed:
            printed.append(_EMPTY)
        printed += _stretch(region[start:index], left, width)
        start = index
    return printed


def _usual_width(region: list[Line]) -> float:
    """The usual width of a character."""
    widths = [(word.x1 - word.x0) / len(word.text) for line in region for cell in line.cells for word in cell.words]
    return max(median(widths), 0.5)


def _stretch(lines: list[Line], left: float, width: float) -> list[_Printed]:
    """Lines that share the places of their columns."""
    places = [[min(int((cell.x0 - left) / width + 0.5), _MOST_COLUMNS) for cell in line.cells] for line in lines]
    used = bytearray(min(int((max(line.cells[-1].x1 for line in lines) - left) / width) + 3, _MOST_COLUMNS + 2))
    for line, begins in zip(lines, places, strict=True):
        for cell, begin in zip(line.cells, begins, strict=True):
            end = max(int((cell.x1 - left) / width + 0.5), begin + 1)
            used[begin:end] = b"\1" * (end - begin)
    narrowed, place, blanks = [], 0, 0
    for column in used:
        narrowed.append(place)
        blanks = 0 if column else blanks + 1
        place += blanks <= _BLANKS
    printed: list[_Printed] = []
    for index, (line, begins) in enumerate(zip(lines, places, strict=True)):
        if index and line.base - lines[index - 1].last > _APART * line.size:
            printed.append(_EMPTY)
        printed.append(_line(line, [narrowed[begin] for begin in begins]))
    return printed


def _line(line: Line, places: list[int]) -> _Printed:
    parts: list[str] = []
    cells: list[tuple[int, Cell]] = []
    length = 0
    for cell, place in zip(line.cells, places, strict=True):
        blanks = max(place - length, 2) if parts else place
        parts += (" " * blanks, cell.text)
        cells.append((blanks, cell))
        length += blanks + len(cell.text)
    return _Printed("".join(parts), cells)
