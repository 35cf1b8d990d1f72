"""The memory of a whole process tree: the resident sets of all its processes, added up, at their highest."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType

_EVERY = 0.05
"""Seconds between two looks. A look takes a millisecond, which is this process's and not what is measured."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class TreeMemory:
    """Looks at the memory of this process's descendants until the end of a block.

    Pages that two processes share count twice, so that the sum is rather too large.

    Args:
        others: Children that are not looked at, with all below them.
    """

    def __init__(self, others: Collection[int]) -> None:
        self.peak = 0
        """The most bytes that were seen at once."""
        self._others = frozenset(others)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> TreeMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(_EVERY):
            self.peak = max(self.peak, sum(map(_resident_bytes, descendants(os.getpid(), self._others))))


def descendants(root: int, others: Collection[int] = ()) -> Iterator[int]:
    """The processes below one.

    Args:
        root: Its id.
        others: Processes that are left out, with all below them.
    """
    below: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) not in others:
            below.setdefault(_parent(path), []).append(int(path.name))
    waiting = [root]
    while waiting:
        found = below.get(waiting.pop(), [])
        yield from found
        waiting += found


def _parent(process: Path) -> int:
    """The id of a process's parent; 0 if it has just ended."""
    try:
        # The name stands in brackets and may hold anything.
        return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
