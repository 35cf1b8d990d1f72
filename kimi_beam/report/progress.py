"""What this process is doing right now, for a person who waits: a mirror of a few counters, without Beam.

Beam's metrics can be asked for only when a run is over. The command line prints from here while an in-process runner
works, and says on Ctrl-C how many batches are in flight.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping


class Progress:
    """Counts of this process. Safe to change from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.documents = 0
        self.settled = 0
        self.trouble = ""
        """What went wrong last with a job that is still open; empty where nothing does."""
        self._notices: list[str] = []
        self.unit = "batch"
        """What is in flight."""
        self._in_flight: dict[object, int] = {}

    def read(self, documents: int) -> None:
        """Counts documents that came in."""
        with self._lock:
            self.documents += documents

    def settle(self, documents: int) -> None:
        """Counts documents that left."""
        with self._lock:
            self.settled += documents

    def notice(self, line: str) -> None:
        """Has a line said once to the person who waits."""
        with self._lock:
            self._notices.append(line)

    def take_notices(self) -> list[str]:
        """The lines that have not been said yet."""
        with self._lock:
            found, self._notices = self._notices, []
        return found

    def set_in_flight(self, owner: object, count: int, unit: str = "batch") -> None:
        """States how much an owner, a shard or a bundle, has in flight."""
        with self._lock:
            self._in_flight[owner] = count
            self.unit = unit
            if not count:
                del self._in_flight[owner]

    @property
    def in_flight(self) -> int:
        """Batches, or requests, that are sent and not answered."""
        with self._lock:
            return sum(self._in_flight.values())

    def snapshot(self) -> Mapping[str, int]:
        """The counts by name."""
        return {"documents": self.documents, "settled": self.settled, "in_flight": self.in_flight}


PROGRESS = Progress()
"""The one of this process."""
