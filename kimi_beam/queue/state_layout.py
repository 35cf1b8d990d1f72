"""What a shard keeps in the runner's keyed state, laid out so that a slice touches little of it.

A bag is read and rewritten whole, so batches lie in a fixed number of bags, and what is looked at is a bag of some::

    inbox    bag: as they come; nobody has looked at them yet
    queue    bags: in line; whoever takes the next batches reads the first bags alone
    held     bags: of the jobs; written once, and what has ended lies there until it is more than what has not
    layout   value: which is where; written when it changes
    jobs     value: the `Shard`; written at each firing

Bags and values are what every runner keeps for Python. Pure: whose they are is no matter here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import orjson

from kimi_beam.errors import StateError
from kimi_beam.queue.jobs import Shard, decode, encode

QUEUE_CELLS = HELD_CELLS = 16
_QUEUE_CHUNK = 16
"""Batches in a cell of the queue, where there are cells enough: about what is taken at once."""
_SPARE = 2
"""Cells of the queue that are left to what is at its front."""
_HELD_CHUNK = 8
"""Jobs in a cell, where there are cells enough."""

_VERSION = 1
"""Of a layout's bytes: another number for each change that an earlier kimi_beam would misread. Others are refused."""


class Cell(Protocol):
    """A value in state."""

    def read(self) -> bytes | None:
        """None: never written."""

    def write(self, value: bytes) -> None:
        """Replaces it."""


class Bag(Protocol):
    """A bag in state; it is not in order."""

    def read(self) -> Iterable[Any]:
        """All of it."""

    def add(self, element: Any) -> None:
        """Adds without reading."""

    def clear(self) -> None:
        """Empties it."""


class Layout:
    """Where the batches lie.

    Attributes:
        queue: The cells of the queue that hold something, the first in line first, and how many batches each holds.
        held: By the id of its batch: the cell of each that is held, and its name in there.
        left: How many batches of each held cell have ended.
        serial: Names given so far: a batch that is held again must not meet what is left of itself.
    """

    def __init__(self) -> None:
        self.queue: list[list[int]] = []
        self.held: dict[str, tuple[int, str]] = {}
        self.left: dict[int, int] = {}
        self.serial = 0

    def encode(self) -> bytes:
        """The layout as it waits in state."""
        left = [[cell, count] for cell, count in self.left.items()]
        return orjson.dumps((_VERSION, self.queue, self.held, left, self.serial))

    @classmethod
    def decode(cls, state: bytes | None) -> Layout:
        """The layout from state.

        Args:
            state: None for a key that has none yet.

        Raises:
            StateError: Another version of kimi_beam wrote it.
        """
        layout = cls()
        if not state:
            return layout
        version, *rest = orjson.loads(state)
        if version != _VERSION:
            raise StateError.of("a layout", version, (_VERSION,))
        layout.queue, held, left, layout.serial = rest
        layout.held = {batch_id: (cell, name) for batch_id, (cell, name) in held.items()}
        layout.left = dict(left)
        return layout


class Waiting:
    """The batches that wait to be submitted, first come first served.

    Args:
        inbox: Where they arrive.
        cells: Of the queue.
        layout: Where they lie; it is changed.
    """

    def __init__(self, inbox: Bag, cells: Sequence[Bag], layout: Layout) -> None:
        self._inbox, self._cells, self._layout = inbox, cells, layout
        self._opened: list[int] = []
        self._first: deque[bytes] = deque()
        self._last: deque[bytes] = deque()
        self._has_looked = False

    def __bool__(self) -> bool:
        """Whether there is any."""
        self._look()
        return bool(self._first or self._layout.queue or self._last)

    def add(self, blob: bytes) -> None:
        """Puts a batch at the end."""
        self._last.append(blob)

    def put_back(self, blobs: Sequence[bytes]) -> None:
        """Puts batches at the front, in their order."""
        self._first.extendleft(reversed(blobs))

    def take(self) -> Iterator[bytes]:
        """Takes batches from the front, as many as the caller asks for, and reads a bag when it comes to it."""
        self._look()
        while True:
            while self._first:
                yield self._first.popleft()
            if self._layout.queue:
                cell, _ = self._layout.queue.pop(0)
                self._opened.append(cell)
                self._first.extend(self._cells[cell].read())
            elif self._last:
                self._first, self._last = self._last, deque()
            else:
                return

    def write(self) -> None:
        """Brings state to what is waiting now."""
        for cell in self._opened:
            self._cells[cell].clear()
        if not self._has_looked:  # what came stays where it is, and with it what was added meanwhile
            for blob in (*self._first, *self._last):
                self._inbox.add(blob)
        else:
            self._layout.queue[:0] = self._spread(self._first)
            self._line_up(self._last)

    def _look(self) -> None:
        """Takes in what came since the last time."""
        if not self._has_looked:
            self._has_looked = True
            came = list(self._inbox.read())
            if came:
                self._inbox.clear()
                self._last.extendleft(reversed(came))

    def _free(self) -> list[int]:
        used = {cell for cell, _ in self._layout.queue}
        return [cell for cell in range(len(self._cells)) if cell not in used]

    def _spread(self, blobs: Sequence[bytes]) -> list[list[int]]:
        """Puts batches into free cells, as many as are worth it. Half of these stay free to spread a large one over."""
        if not blobs:
            return []
        free, ordered = self._free(), list(blobs)
        size = max(_QUEUE_CHUNK, -(-len(ordered) // max(1, len(free) // 2)))
        pieces = [ordered[at : at + size] for at in range(0, len(ordered), size)]
        for cell, piece in zip(free, pieces, strict=False):
            for blob in piece:
                self._cells[cell].add(blob)
        return [[cell, len(piece)] for cell, piece in zip(free, pieces, strict=False)]

    def _line_up(self, blobs: Sequence[bytes]) -> None:
        """Puts batches at the end: with the last ones while these are few, or where no cell can be spared."""
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
    """The batches of the jobs, by their ids.

    Args:
        cells: Where they lie.
        layout: Which is where; it is changed.
    """

    def __init__(self, cells: Sequence[Bag], layout: Layout) -> None:
        self._cells, self._layout = cells, layout
        self._read: dict[int, dict[str, bytes]] = {}
        self._new: dict[str, bytes] = {}
        self._touched: set[int] = set()
        self._counts: list[int] = []

    def __contains__(self, batch_id: str) -> bool:
        """Whether there is a job of that name."""
        return batch_id in self._layout.held

    def __getitem__(self, batch_id: str) -> bytes:
        """A batch."""
        if batch_id in self._new:
            return self._new[batch_id]
        cell, name = self._layout.held[batch_id]
        if cell not in self._read:
            self._read[cell] = dict(self._cells[cell].read())
        return self._read[cell][name]

    def __setitem__(self, batch_id: str, blob: bytes) -> None:
        """Takes a batch in; one that is held stays as it is."""
        if batch_id in self:
            return
        layout = self._layout
        if not self._counts:
            self._counts = [layout.left.get(cell, 0) for cell in range(len(self._cells))]
            for cell, _ in layout.held.values():
                self._counts[cell] += 1
        # With the last one while there is room: what is admitted together mostly ends together.
        last = next((cell for cell, _ in reversed(layout.held.values())), 0)
        cell = last if self._counts[last] < _HELD_CHUNK else self._counts.index(min(self._counts))
        self._counts[cell] += 1
        layout.serial += 1
        layout.held[batch_id] = cell, str(layout.serial)
        self._new[batch_id] = blob

    def take(self, batch_id: str) -> bytes:
        """Removes a batch."""
        blob = self[batch_id]
        cell, _ = self._layout.held.pop(batch_id)
        if self._new.pop(batch_id, None) is None:
            self._layout.left[cell] = self._layout.left.get(cell, 0) + 1
            self._touched.add(cell)
        return blob

    def write(self) -> None:
        """Brings state to what is held now."""
        layout = self._layout
        there: dict[int, list[str]] = {cell: [] for cell in self._touched}
        for batch_id, (cell, name) in layout.held.items():
            if cell in there and batch_id not in self._new:
                there[cell].append(name)
        for cell, names in there.items():
            if layout.left[cell] > len(names):
                self._cells[cell].clear()
                for name in names:
                    self._cells[cell].add((name, self._read[cell][name]))
                del layout.left[cell]
        for batch_id, blob in self._new.items():
            cell, name = layout.held[batch_id]
            self._cells[cell].add((name, blob))


class KeyedState:
    """All that is kept of one shard, read when it is needed, and written once.

    Args:
        jobs: The `Shard`.
        layout: The `Layout`.
        inbox: Of bytes: where batches arrive.
        queue: Of bytes.
        held: Of pairs of a name and bytes.

    Raises:
        StateError: Another version of kimi_beam wrote it.
    """

    def __init__(self, jobs: Cell, layout: Cell, inbox: Bag, queue: Sequence[Bag], held: Sequence[Bag]) -> None:
        self._jobs, self._layout = jobs, layout
        self.shard = decode(jobs.read())
        """As it was when the firing began."""
        self._before = layout.read()
        self._now = Layout.decode(self._before)
        self.waiting = Waiting(inbox, queue, self._now)
        self.held = BatchStore(held, self._now)

    def write(self, shard: Shard) -> None:
        """Brings state to what is known now."""
        self.waiting.write()
        self.held.write()
        after = self._now.encode()
        if after != self._before:
            self._layout.write(after)
        self._jobs.write(encode(shard))
