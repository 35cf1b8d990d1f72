"""The index of a journal: which of all records of a document counts, and where it stands, in few bytes a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kimi_beam.journal import KEY_BYTES

NOTHING, INTENT, TICKET, ANSWER = range(4)


class Entry(NamedTuple):
    """The latest record of a key: its state, and where it stands."""

    state: int
    at: float
    file: int
    record: int
    """Of the file: which submission; 0 in a file of answers."""
    position: int
    """Of the document in the submission, or of the answer in its file."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What one record of a file says of documents that are all in one state.

    Attributes:
        state: Of all of them.
        at: Unix seconds.
        file: Which.
        record: See `Entry`.
        positions: By key.
    """

    state: int
    at: float
    file: int
    record: int
    positions: Mapping[bytes, int]

    def entry(self, key: bytes) -> Entry:
        """What it says of one."""
        return Entry(self.state, self.at, self.file, self.record, self.positions[key])


_ROW = np.dtype(
    [("key", f"S{KEY_BYTES}"), ("at", "f8"), ("file", "u4"), ("record", "u4"), ("position", "u4"), ("state", "u1")]
)
"""37 bytes a document: 370 MB for 10 million."""

_RECENT = 50_000
"""Keys that are held as Python objects, at several times their size, before they are sorted in with the others."""


class Index:
    """Keys to their latest records, at `_ROW` bytes each."""

    def __init__(self) -> None:
        self._rows = np.empty(0, _ROW)
        self._recent: dict[bytes, Record] = {}

    def __len__(self) -> int:
        self._settle()
        return len(self._rows)

    def add(self, record: Record) -> None:
        """Takes a record in."""
        recent = self._recent
        before = set(map(recent.get, record.positions))
        if all(one is None or _counts(record, one) for one in before):
            recent.update(dict.fromkeys(record.positions, record))
        else:
            for key in record.positions:
                one = recent.get(key)
                if one is None or _counts(record, one):
                    recent[key] = record
        if len(recent) >= _RECENT:
            self._settle()

    def look_up(self, keys: Sequence[bytes]) -> list[Entry | None]:
        """The latest record of each key, None where there is none."""
        found: list[Entry | None] = [None] * len(keys)
        if len(self._rows):
            wanted = np.array(keys, f"S{KEY_BYTES}")
            places = np.minimum(np.searchsorted(self._rows["key"], wanted), len(self._rows) - 1)
            hits = np.flatnonzero(self._rows["key"][places] == wanted)
            for index, row in zip(hits.tolist(), self._rows[places[hits]].tolist(), strict=True):
                found[index] = _entry(row)
        for index, recent in enumerate(map(self._recent.get, keys)):
            if recent is not None:
                before = found[index]
                if before is None or _counts(recent, before):
                    found[index] = recent.entry(keys[index])
        return found

    def states(self) -> Counter[int]:
        """How many keys stand how."""
        self._settle()
        found, counts = np.unique(self._rows["state"], return_counts=True)
        return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))

    def _settle(self) -> None:
        """Sorts the recent records in; of those of one key the one that counts stays."""
        if not self._recent:
            return
        parts: dict[Record, list[bytes]] = {}
        for key, record in self._recent.items():
            parts.setdefault(record, []).append(key)
        new = [_rows_of(record, keys) for record, keys in parts.items()]
        rows = np.concatenate((self._rows, *new))
        order = np.lexsort((rows["at"], rows["state"] == ANSWER, rows["key"]))
        rows = rows[order]
        last = np.append(rows["key"][1:] != rows["key"][:-1], True)
        self._rows, self._recent = rows[last], {}


def _rows_of(record: Record, keys: Sequence[bytes]) -> Any:
    rows = np.empty(len(keys), _ROW)
    rows["key"] = np.array(keys, f"S{KEY_BYTES}")
    rows["at"], rows["file"], rows["record"], rows["state"] = record.at, record.file, record.record, record.state
    rows["position"] = [record.positions[key] for key in keys]
    return rows


def _counts(later: Entry | Record, before: Entry | Record) -> bool:
    return (later.state == ANSWER, later.at) >= (before.state == ANSWER, before.at)


def _entry(row: tuple[bytes, float, int, int, int, int]) -> Entry:
    _, at, file, record, position, state = row
    return Entry(state, at, file, record, position)
