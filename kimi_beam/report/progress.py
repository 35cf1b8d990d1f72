"""The progress of this process: a few counts that can be read while a run goes on.

Beam's metrics can be read only when a run is over. The command line prints these counts while an in-process runner
works, and on Ctrl-C says how many batches are in flight.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from kimi_beam.service.budget import Spending


class Progress:
    """Counts of one process. Safe to use from several threads.

    Attributes:
        documents: Documents that were read.
        settled: Documents that became rows or dead letters.
        trouble: What went wrong last with a job or request that is still open, in one line; empty if nothing did.
        unit: What `in_flight` counts: ``batch`` or ``request``.
        spending: What the budget has come to; None if there is none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.documents = 0
        self.settled = 0
        self.trouble = ""
        self._notices: list[str] = []
        self.unit = "batch"
        self.spending: Spending | None = None
        self._in_flight: dict[object, int] = {}

    def count_read(self, documents: int) -> None:
        """Counts documents that were read."""
        with self._lock:
            self.documents += documents

    def count_settled(self, documents: int) -> None:
        """Counts documents that became rows or dead letters."""
        with self._lock:
            self.settled += documents

    def add_notice(self, line: str) -> None:
        """Adds a line for the command line to print once."""
        with self._lock:
            self._notices.append(line)

    def take_notices(self) -> list[str]:
        """Returns and removes the lines that were not printed yet."""
        with self._lock:
            found, self._notices = self._notices, []
        return found

    def set_in_flight(self, owner: object, count: int, unit: str = "batch") -> None:
        """Sets how much a part of the work has in flight.

        Args:
            owner: Identifies the part, such as a shard or a bundle.
            count: How many batches or requests it has in flight now.
            unit: Whether they are of the queue, ``batch``, or synchronous, ``request``.
        """
        with self._lock:
            self._in_flight[owner] = count
            self.unit = unit
            if not count:
                del self._in_flight[owner]

    @property
    def in_flight(self) -> int:
        """How many batches or requests are sent and not answered."""
        with self._lock:
            return sum(self._in_flight.values())

    def snapshot(self) -> Mapping[str, int]:
        """The counts by name."""
        return {"documents": self.documents, "settled": self.settled, "in_flight": self.in_flight}


PROGRESS = Progress()
"""The progress of this process."""
