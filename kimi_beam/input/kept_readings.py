"""What readers made of the last files that were read again, for the next batch that needs one of them.

The parts of a long document are sent in several batches, and each needs its file: a scan of 200 pages was read anew for
each of them, which takes half a minute on a busy machine.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from kimi_beam.service.per_process import PerProcess
from kimi_beam.types.document import Layout

_MOST_BYTES = 48 << 20
"""The bytes of text and pictures that a process keeps. A single document may have more."""


class FileKey(NamedTuple):
    """What decides how a file is read."""

    checksum: str
    kind: str
    """The suffix of its kind."""
    reading: str
    """The settings of the reading."""


class ReadFile(NamedTuple):
    """What a reader made of a file."""

    text: str
    images: tuple[str, ...]
    layout: Layout | None

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        return len(self.text) + sum(map(len, self.images))


class KeptReadings:
    """The readings that were used last. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[FileKey, ReadFile] = OrderedDict()
        self._weight = 0

    def get(self, key: FileKey) -> ReadFile | None:
        """What the file of this key holds; None if that is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: FileKey, reading: ReadFile) -> None:
        """Keeps what a file holds, and lets go of those that were not used for longest."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = reading
            self._weight += reading.weight
            while self._weight > _MOST_BYTES and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._weight -= oldest.weight


_processes = PerProcess[KeptReadings]()


def of_this_process() -> KeptReadings:
    """What this process keeps."""
    return _processes.get("", KeptReadings)
