"""The index of a journal: for each document the record that counts, and its file and row, in about 37 bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

NOTHING, INTENT, TICKET, ANSWER = range(4)


class Entry(NamedTuple):
    """The record of a key that counts: its state, its time in Unix seconds, and where to find it."""

    state: int
    at: float
    file: int
    """The number of the file, in the order in which files were read."""
    record: int
    """The index of the submission in its file; 0 in a file of answers."""
    position: int
    """The index of the document in its submission, or of the answer in its file."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One record of a file, for all of its documents that have the same state.

    Attributes:
        state: The state of these documents.
        at: When it was written, in Unix seconds.
        file: The number of the file.
        record: See `Entry.record`.
        positions: `Entry.position` by key.
    """

    state: int
    at: float
    file: int
    record: int
    positions: Mapping[bytes, int]

    def entry(self, key: bytes) -> Entry:
        """The entry of one of its documents."""
        return Entry(self.state, self.at, self.file, self.record, self.positions[key])


_RECENT = 50_000
"""How many keys are kept as Python objects, which take several times the memory, before they are sorted into rows."""


class _Rows(NamedTuple):
    """Entries of many keys as numpy columns, sorted by key: 37 bytes a document."""

    first: Any
    """The first 8 bytes of each key as a number: numpy sorts and finds numbers several times as fast as strings."""
    second: Any
    """The last 8 bytes of each key as a number."""
    at: Any
    file: Any
    record: Any
    position: Any
    state: Any

    def take(self, rows: Any) -> _Rows:
        """The given rows."""
        return _Rows(*(column[rows] for column in self))

    def find(self, keys: Any) -> tuple[Any, list[Entry]]:
        """Looks keys up. Returns the indices of those that are here, and the entry of each."""
        places = np.minimum(np.searchsorted(self.first, keys[:, 0]), len(self.first) - 1)
        same = self.first[places] == keys[:, 0]
        hits = same & (self.second[places] == keys[:, 1])
        for index in np.flatnonzero(same & ~hits).tolist():  # only the first 8 bytes of the key are the same
            end = np.searchsorted(self.first, keys[index, 0], "right")
            place = places[index] + np.searchsorted(self.second[places[index] : end], keys[index, 1])
            hits[index] = place < end and self.second[place] == keys[index, 1]
            places[index] = min(place, end - 1)
        found = self.take(places[hits])
        columns = (found.state, found.at, found.file, found.record, found.position)
        return np.flatnonzero(hits), list(map(Entry, *(column.tolist() for column in columns)))


class Index:
    """Maps keys to the record that counts. Recent records are in a dict, all others in sorted rows."""

    def __init__(self) -> None:
        self._runs: list[_Rows] = []
        """Each run is at most half as long as the one before, so that a record is merged only a few times."""
        self._recent: dict[bytes, Record] = {}

    def __len__(self) -> int:
        return sum(len(run.first) for run in self._as_one())

    def add(self, record: Record) -> None:
        """Adds a record, which counts for a key unless the index holds one that counts more."""
        recent = self._recent
        before = set(map(recent.get, record.positions))
        if all(earlier is None or _counts(record, earlier) for earlier in before):
            recent.update(dict.fromkeys(record.positions, record))
        else:
            for key in record.positions:
                earlier = recent.get(key)
                if earlier is None or _counts(record, earlier):
                    recent[key] = record
        if len(recent) >= _RECENT:
            self._settle()

    def look_up(self, keys: Sequence[bytes]) -> list[Entry | None]:
        """The latest record of each key, None where there is none."""
        found: list[Entry | None] = [None] * len(keys)
        wanted = _numbers(keys) if self._runs else None
        for run in self._runs:
            for index, entry in zip(*run.find(wanted), strict=True):
                before = found[index]
                if before is None or _counts(entry, before):
                    found[index] = entry
        for index, recent in enumerate(map(self._recent.get, keys)):
            if recent is not None:
                before = found[index]
                if before is None or _counts(recent, before):
                    found[index] = recent.entry(keys[index])
        return found

    def states(self) -> Counter[int]:
        """How many keys have each state."""
        found: Counter[int] = Counter()
        for run in self._as_one():
            states, counts = np.unique(run.state, return_counts=True)
            found.update(dict(zip(states.tolist(), counts.tolist(), strict=True)))
        return found

    def _settle(self) -> None:
        """Moves the recent records into sorted rows."""
        if not self._recent:
            return
        self._runs.append(_merged([_rows_of(self._recent)]))
        self._recent = {}
        while len(self._runs) > 1 and 2 * len(self._runs[-1].first) > len(self._runs[-2].first):
            self._runs[-2:] = [_merged(self._runs[-2:])]

    def _as_one(self) -> list[_Rows]:
        """All records merged into one run with one row for each key; no run if there are none."""
        self._settle()
        if len(self._runs) > 1:
            self._runs = [_merged(self._runs)]
        return self._runs


def _rows_of(recent: Mapping[bytes, Record]) -> _Rows:
    """The rows of recent records, not sorted yet."""
    keys_of: dict[Record, list[bytes]] = {}
    for key, record in recent.items():
        keys_of.setdefault(record, []).append(key)
    counts = list(map(len, keys_of.values()))
    numbers = _numbers([key for keys in keys_of.values() for key in keys])
    positions = [record.positions[key] for record, keys in keys_of.items() for key in keys]

    def column(values: Iterable[Any], dtype: str) -> Any:
        return np.repeat(np.fromiter(values, dtype), counts)

    return _Rows(
        numbers[:, 0],
        numbers[:, 1],
        column((record.at for record in keys_of), "f8"),
        column((record.file for record in keys_of), "u4"),
        column((record.record for record in keys_of), "u4"),
        np.array(positions, "u4"),
        column((record.state for record in keys_of), "u1"),
    )


def _merged(runs: Sequence[_Rows]) -> _Rows:
    """Merges runs into one, with the row of each key that counts. Of equal rows that of the later run counts."""
    rows = _Rows(*map(np.concatenate, zip(*runs, strict=True)))
    order = np.argsort(rows.first, kind="stable")  # a stable sort is quick here, because it merges sorted runs
    first = rows.first[order]
    twins = first[1:] == first[:-1]
    if not twins.any():
        return rows.take(order)
    # Only rows whose keys have the same first 8 bytes are compared in full: equal keys, or keys that begin alike.
    places = np.flatnonzero(np.append(twins, False) | np.append(False, twins))
    alike = rows.take(order[places])
    order[places] = order[places][np.lexsort((alike.at, alike.state == ANSWER, alike.second, alike.first))]
    second = rows.second[order]
    return rows.take(order[np.append(~twins | (second[1:] != second[:-1]), True)])


def _numbers(keys: Sequence[bytes]) -> Any:
    """Keys as two numbers of 8 bytes each."""
    return np.frombuffer(b"".join(keys), ">u8").astype("u8").reshape(-1, 2)


def _counts(later: Entry | Record, before: Entry | Record) -> bool:
    """Whether a record that was read later takes the place of one that was read before."""
    return (later.state == ANSWER, later.at) >= (before.state == ANSWER, before.at)
