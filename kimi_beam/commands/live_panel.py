"""A panel that stays at the bottom of a terminal, below the lines that are written meanwhile.

Rich says how wide characters are. The frame is drawn here: Rich's `Live` leaves parts of it behind when the terminal
becomes narrower, and its `Console` alone takes more CPU than one per cent of a run of 10,000 documents.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.cells import cell_len, chop_cells

from kimi_beam.commands import progress_words as words
from kimi_beam.commands.console import plural, write_raw
from kimi_beam.report import metrics
from kimi_beam.wire.printable import printable

_WIDEST = 100
_LABEL = 14
"""Columns of the names of the figures."""
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_KEPT = 200
"""So many lines are kept, to be written anew when the terminal becomes narrower."""


class LivePanel:
    """Draws the panel, moves it down when a line is written, and leaves it on the screen at the end.

    Args:
        title: What stands in its frame.
        size: Gives the size of the terminal.
        write: Writes to the terminal.
    """

    def __init__(
        self,
        title: str,
        size: Callable[[], os.terminal_size] = lambda: os.get_terminal_size(sys.stderr.fileno()),
        write: Callable[[str], None] = write_raw,
    ) -> None:
        self._title, self._size, self._write = title, size, write
        self._figures: Mapping[str, Any] | None = None
        self._drawn: list[str] = []
        """The lines of the panel that are on the screen, above the cursor."""
        self._columns = 0
        """How many of the terminal's columns these lines take."""
        self._lines: deque[str] = deque(maxlen=_KEPT)

    def show(self, figures: Mapping[str, Any]) -> None:
        """Draws the panel with other figures."""
        self._figures = figures
        self._draw()

    def write_above(self, line: str) -> None:
        """Writes a line above the panel."""
        self._lines.append(line)
        self._draw(line)

    def close(self) -> None:
        """Leaves the panel on the screen, with the cursor in an empty line below it."""
        if self._drawn:
            self._write("\r\x1b[J")  # what the user has typed there, such as ^C
        self._figures, self._drawn = None, []

    def _draw(self, line: str | None = None) -> None:
        size = self._size()
        panel = self._rendered(size) if self._figures is not None else []
        if self._drawn and size.columns < self._columns:
            # A terminal that has become narrower may have wrapped the panel's lines, or cut them off: how far up it
            # begins is not known. So all that fits on the screen is written anew.
            kept, room = list[str](), size.lines - len(panel) - 1
            for earlier in reversed(self._lines):
                room -= -(-max(1, cell_len(earlier)) // size.columns)
                if room < 0:
                    break
                kept.insert(0, earlier)
            start, lines = "\x1b[2J\x1b[H", kept
        else:
            start, lines = f"\x1b[{len(self._drawn)}A" if self._drawn else "", [] if line is None else [line]
        text = "".join(f"\x1b[K{one}\n" for one in lines) + "".join(f"{one}\x1b[K\n" for one in panel)
        self._write(f"{start}{text}\x1b[J" if start else text)
        self._drawn = panel
        self._columns = min(size.columns, _WIDEST)

    def _rendered(self, size: os.terminal_size) -> list[str]:
        # The last column stays free: a character there would be erased with the rest of its line.
        inner = max(8, min(size.columns - 1, _WIDEST) - 4)
        label_room = min(_LABEL, inner // 2)
        title = next(_wrapped(self._title, inner - 2), "")
        lines = [f"╭─ {title} {'─' * (inner - 1 - cell_len(title))}╮"]
        for name, value in _rows(self._figures or {}):
            label = f"{_BOLD}{name[: label_room - 1]:<{label_room}}{_PLAIN}"
            for part in _wrapped(printable(value), inner - label_room):
                lines.append(f"│ {label}{part}{' ' * (inner - label_room - cell_len(part))} │")
                label = " " * label_room
        lines.append(f"╰{'─' * (inner + 2)}╯")
        return lines[: max(1, size.lines - 1)]


def _wrapped(text: str, width: int) -> Iterator[str]:
    """A text in lines of at most so many cells, broken between words where that is possible."""
    line = ""
    for word in text.split(" "):
        if cell_len(line) + 1 + cell_len(word) <= width or (not line and cell_len(word) <= width):
            line = f"{line} {word}" if line else word
            continue
        if line:
            yield line
        *whole, line = chop_cells(word, width) or [""]
        yield from whole
    yield line


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    usage, letters, unit = figures["usage"], figures[metrics.DEAD_LETTERS], plural(figures["unit"])
    oldest, projected = figures["oldest_s"], figures["projected"]
    sent = figures.get(metrics.SUBMITS if unit == "batches" else metrics.REQUESTS, 0)
    whole = "" if projected is None else f", about {sum(_billed(projected['usage'])):,} in all"
    return [
        ("read", f"{figures[metrics.DOCUMENTS]:,} documents"),
        ("submitted", _count(sent, figures["unit"])),
        ("in flight", f"{_count(figures['in_flight'], figures['unit'])}, {figures['documents_in_flight']:,} documents"),
        *((("oldest", "-" if oldest is None else f"{words.duration(oldest)} in flight"),) if unit == "batches" else ()),
        ("rows", f"{figures[metrics.EXTRACTIONS]:,}"),
        ("dead letters", f"{sum(letters.values()):,}" + (f": {words.codes(letters)}" if letters else "")),
        ("tokens", "{:,} prompt ({:,} cached), {:,} answer{}".format(*usage.values(), whole)),
        ("dollars", words.money(figures)),
        *((("budget", words.budget(figures["budget"])),) if "budget" in figures else ()),
        ("speed", "-" if figures["seconds_left"] is None else words.speed(figures)),
        ("time", words.duration(figures["wall_s"])),
        *((("trouble", figures["trouble"]),) if "trouble" in figures else ()),
    ]


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit if number == 1 else plural(unit)}"


def _billed(usage: Mapping[str, int]) -> tuple[int, int]:
    return usage["prompt_tokens"], usage["completion_tokens"]
