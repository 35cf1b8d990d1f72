"""The layout of a shard's state, which keeps the number of bytes small that one turn reads and writes.

A runner reads and rewrites a bag as a whole. So batches are spread over a fixed number of bags (cells), and a turn
reads only some of them::

    inbox    a bag: batches that have arrived and were not read yet
    queue    bags: batches that wait in line; to take the next ones, only the first bags are read
    held     bags: batches of jobs, written once; those of ended jobs stay until they outnumber the others
    layout   a value: which batch is in which cell; written when it changes
    jobs     a value: the `Shard`; written at each turn

Every runner has bags and values for Python. No Beam is imported here: `Cell` and `Bag` are protocols, and
`kimi_beam.transforms.state` connects them to Beam's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import orjson

from kimi_beam.errors import StateError
from kimi_beam.queue.jobs import Shard, decode, encode

QUEUE_CELLS = HELD_CELLS = 16
"""The number of bags of each kind."""
_QUEUE_CHUNK = 16
"""Batches in a cell of the queue while there are enough cells: about as many as are taken in one turn."""
_SPARE = 2
"""Cells of the queue that are kept free for batches that are put back to its front."""
_HELD_CHUNK = 8
"""Batches of jobs in a cell while there are enough cells."""

_VERSION = 1
"""The version of a layout's bytes. A change that an earlier kimi_beam would misread gets a new one; others are
refused."""


class Cell(Protocol):
    """A value in state."""

    def read(self) -> bytes | None:
        """The value; None if it was never written."""

    def write(self, value: bytes) -> None:
        """Replaces the value."""


class Bag(Protocol):
    """A bag in state; its elements have no order."""

    def read(self) -> Iterable[Any]:
        """All elements."""

    def add(self, element: Any) -> None:
        """Adds an element without reading the bag."""

    def clear(self) -> None:
        """Removes all elements."""


class Layout:
    """Which batch is in which cell.

    Attributes:
        queue: The cells of the queue that are not empty, in the order of the line, each with its number of batches.
        held: For the batch of each job, by its id: its cell, and its name in there.
        ended: How many batches of ended jobs are still in each cell.
        serial: How many names have been given. Names are numbers, so that a batch that becomes a job again is told
            apart from what is still there of its ended job.
    """

    def __init__(self) -> None:
        self.queue: list[list[int]] = []
        self.held: dict[str, tuple[int, str]] = {}
        self.ended: dict[int, int] = {}
        self.serial = 0

    def encode(self) -> bytes:
        """The layout as bytes for state."""
        ended = [[cell, count] for cell, count in self.ended.items()]
        return orjson.dumps((_VERSION, self.queue, self.held, ended, self.serial))

    @classmethod
    def decode(cls, state: bytes | None) -> Layout:
        """Reads a layout from its state.

        Args:
            state: The bytes; None for a shard that has none yet.

        Raises:
            StateError: Another version of kimi_beam wrote it.
        """
        layout = cls()
        if not state:
            return layout
        version, *rest = orjson.loads(state)
        if version != _VERSION:
            raise StateError.of("a layout", version, (_VERSION,))
        layout.queue, held, ended, layout.serial = rest
        layout.held = {batch_id: (cell, name) for batch_id, (cell, name) in held.items()}
        layout.ended = dict(ended)
        return layout


class Waiting:
    """The batches that wait to be submitted, first come first served.

    Args:
        inbox: The bag in which batches arrive.
        cells: The bags of the queue.
        layout: Which batch is in which bag. It is changed.
    """

    def __init__(self, inbox: Bag, cells: Sequence[Bag], layout: Layout) -> None:
        self._inbox, self._cells, self._layout = inbox, cells, layout
        self._opened: list[int] = []
        self._front: deque[bytes] = deque()
        self._back: deque[bytes] = deque()
        self._has_read_inbox = False

    def __bool__(self) -> bool:
        """Whether any batch waits."""
        self._read_inbox()
        return bool(self._front or self._layout.queue or self._back)

    def add(self, blob: bytes) -> None:
        """Puts a batch at the end of the line."""
        self._back.append(blob)

    def put_at_front(self, blobs: Sequence[bytes]) -> None:
        """Puts batches at the front of the line, in their order."""
        self._front.extendleft(reversed(blobs))

    def take(self) -> Iterator[bytes]:
        """Yields and removes batches from the front. A bag is read only when the first batch of it is asked for."""
        self._read_inbox()
        while True:
            while self._front:
                yield self._front.popleft()
            if self._layout.queue:
                cell, _ = self._layout.queue.pop(0)
                self._opened.append(cell)
                self._front.extend(self._cells[cell].read())
            elif self._back:
                self._front, self._back = self._back, deque()
            else:
                return

    def write(self) -> None:
        """Writes the changes to state."""
        for cell in self._opened:
            self._cells[cell].clear()
        if not self._has_read_inbox:  # the inbox stays as it is, and batches that were added meanwhile go there too
            for blob in (*self._front, *self._back):
                self._inbox.add(blob)
        else:
            self._layout.queue[:0] = self._spread(self._front)
            self._append(self._back)

    def _read_inbox(self) -> None:
        """Moves the batches of the inbox to the end of the line, ahead of those that were added in this turn."""
        if not self._has_read_inbox:
            self._has_read_inbox = True
            arrived = list(self._inbox.read())
            if arrived:
                self._inbox.clear()
                self._back.extendleft(reversed(arrived))

    def _free(self) -> list[int]:
        used = {cell for cell, _ in self._layout.queue}
        return [cell for cell in range(len(self._cells)) if cell not in used]

    def _spread(self, blobs: Sequence[bytes]) -> list[list[int]]:
        """Puts batches into free cells, half of them at most. Returns the cells with their numbers of batches."""
        if not blobs:
            return []
        free, ordered = self._free(), list(blobs)
        size = max(_QUEUE_CHUNK, -(-len(ordered) // max(1, len(free) // 2)))
        pieces = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        for cell, piece in zip(free, pieces, strict=False):
            for blob in piece:
                self._cells[cell].add(blob)
        return [[cell, len(piece)] for cell, piece in zip(free, pieces, strict=False)]

    def _append(self, blobs: Sequence[bytes]) -> None:
        """Puts batches at the end of the line: in its last cell if that has few, or if no cell can be spared."""
        if not blobs:
            return
        queue = self._layout.queue
        if queue and (queue[-1][1] + len(blobs) <= _QUEUE_CHUNK or len(self._free()) < _SPARE):
            for blob in blobs:
                self._cells[queue[-1][0]].add(blob)
            queue[-1][1] += len(blobs)
        else:
            queue += self._spread(blobs)


class BatchStore:
    """The batches of the jobs, by their ids, and replies of parts that wait for those of their other parts.

    Args:
        cells: The bags that they are in.
        layout: Which batch is in which bag. It is changed.
    """

    def __init__(self, cells: Sequence[Bag], layout: Layout) -> None:
        self._cells, self._layout = cells, layout
        self._read: dict[int, dict[str, bytes]] = {}
        self._new: dict[str, bytes] = {}
        self._touched: set[int] = set()
        self._counts: list[int] = []

    def __contains__(self, batch_id: str) -> bool:
        """Whether there is a job of the batch with this id."""
        return batch_id in self._layout.held

    def __getitem__(self, batch_id: str) -> bytes:
        """The bytes of a batch."""
        if batch_id in self._new:
            return self._new[batch_id]
        cell, name = self._layout.held[batch_id]
        if cell not in self._read:
            self._read[cell] = dict(self._cells[cell].read())
        return self._read[cell][name]

    def __setitem__(self, batch_id: str, blob: bytes) -> None:
        """Adds a batch. If there is one with this id, it stays as it is."""
        if batch_id in self:
            return
        layout = self._layout
        if not self._counts:
            self._counts = [layout.ended.get(cell, 0) for cell in range(len(self._cells))]
            for cell, _ in layout.held.values():
                self._counts[cell] += 1
        # In the cell of the last batch while it has room: jobs that are admitted together mostly end together.
        last = next((cell for cell, _ in reversed(layout.held.values())), 0)
        cell = last if self._counts[last] < _HELD_CHUNK else self._counts.index(min(self._counts))
        self._counts[cell] += 1
        layout.serial += 1
        layout.held[batch_id] = cell, str(layout.serial)
        self._new[batch_id] = blob

    def names(self, prefix: str) -> list[str]:
        """The ids that begin so."""
        return [batch_id for batch_id in self._layout.held if batch_id.startswith(prefix)]

    def take(self, batch_id: str) -> bytes:
        """Removes a batch and returns its bytes."""
        blob = self[batch_id]
        cell, _ = self._layout.held.pop(batch_id)
        if self._new.pop(batch_id, None) is None:
            self._layout.ended[cell] = self._layout.ended.get(cell, 0) + 1
            self._touched.add(cell)
        return blob

    def write(self) -> None:
        """Writes the changes to state."""
        layout = self._layout
        remaining: dict[int, list[str]] = {cell: [] for cell in self._touched}
        for batch_id, (cell, name) in layout.held.items():
            if cell in remaining and batch_id not in self._new:
                remaining[cell].append(name)
        for cell, names in remaining.items():
            if layout.ended[cell] > len(names):
                self._cells[cell].clear()
                for name in names:
                    self._cells[cell].add((name, self._read[cell][name]))
                del layout.ended[cell]
        for batch_id, blob in self._new.items():
            cell, name = layout.held[batch_id]
            self._cells[cell].add((name, blob))


class KeyedState:
    """The state of one shard. Each part is read when it is needed, and written once.

    Args:
        jobs: The cell of the `Shard`.
        layout: The cell of the `Layout`.
        inbox: The bag of bytes in which batches arrive.
        queue: The bags of bytes of batches that wait.
        held: The bags of pairs (name, bytes) of the jobs' batches.

    Raises:
        StateError: Another version of kimi_beam wrote it.
    """

    def __init__(self, jobs: Cell, layout: Cell, inbox: Bag, queue: Sequence[Bag], held: Sequence[Bag]) -> None:
        self._jobs, self._layout = jobs, layout
        self.shard = decode(jobs.read())
        """The shard as it was when its turn began."""
        self._before = layout.read()
        self._now = Layout.decode(self._before)
        self.waiting = Waiting(inbox, queue, self._now)
        self.held = BatchStore(held, self._now)

    def write(self, shard: Shard) -> None:
        """Writes the shard, and all other changes, to state."""
        self.waiting.write()
        self.held.write()
        after = self._now.encode()
        if after != self._before:
            self._layout.write(after)
        self._jobs.write(encode(shard))
