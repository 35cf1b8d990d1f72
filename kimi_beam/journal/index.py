"""The index of a journal: which of all records of a document counts, and where it stands, in few bytes a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

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


_RECENT = 50_000
"""Keys that are held as Python objects, at several times their size, before they are sorted into rows."""


class _Rows(NamedTuple):
    """Records of as many keys, sorted by them, column by column: 37 bytes a document."""

    first: Any
    """Of a key as two numbers: numpy sorts and finds them several times as fast as strings."""
    second: Any
    at: Any
    file: Any
    record: Any
    position: Any
    state: Any

    def take(self, rows: Any) -> _Rows:
        """Some of them."""
        return _Rows(*(column[rows] for column in self))

    def find(self, keys: Any) -> tuple[Any, list[Entry]]:
        """Which of some keys are here, by their indices, and what is said of each."""
        places = np.minimum(np.searchsorted(self.first, keys[:, 0]), len(self.first) - 1)
        same = self.first[places] == keys[:, 0]
        hits = same & (self.second[places] == keys[:, 1])
        for index in np.flatnonzero(same & ~hits).tolist():  # another key that begins alike
            end = np.searchsorted(self.first, keys[index, 0], "right")
            place = places[index] + np.searchsorted(self.second[places[index] : end], keys[index, 1])
            hits[index] = place < end and self.second[place] == keys[index, 1]
            places[index] = min(place, end - 1)
        found = self.take(places[hits])
        columns = (found.state, found.at, found.file, found.record, found.position)
        return np.flatnonzero(hits), list(map(Entry, *(column.tolist() for column in columns)))


class Index:
    """Keys to their latest records: those of late by key, the others in rows that grow by doubling."""

    def __init__(self) -> None:
        self._runs: list[_Rows] = []
        """Each less than half as long as the one before, so that a record is sorted in anew a few times at most."""
        self._recent: dict[bytes, Record] = {}

    def __len__(self) -> int:
        return sum(len(run.first) for run in self._as_one())

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
        """How many keys stand how."""
        found: Counter[int] = Counter()
        for run in self._as_one():
            states, counts = np.unique(run.state, return_counts=True)
            found.update(dict(zip(states.tolist(), counts.tolist(), strict=True)))
        return found

    def _settle(self) -> None:
        """Makes rows of the recent records."""
        if not self._recent:
            return
        self._runs.append(_merged([_rows_of(self._recent)]))
        self._recent = {}
        while len(self._runs) > 1 and 2 * len(self._runs[-1].first) > len(self._runs[-2].first):
            self._runs[-2:] = [_merged(self._runs[-2:])]

    def _as_one(self) -> list[_Rows]:
        """All rows with one for each key, if there are any."""
        self._settle()
        if len(self._runs) > 1:
            self._runs = [_merged(self._runs)]
        return self._runs


def _rows_of(recent: Mapping[bytes, Record]) -> _Rows:
    """Rows that are not sorted yet."""
    parts: dict[Record, list[bytes]] = {}
    for key, record in recent.items():
        parts.setdefault(record, []).append(key)
    counts = list(map(len, parts.values()))
    numbers = _numbers([key for keys in parts.values() for key in keys])
    positions = [record.positions[key] for record, keys in parts.items() for key in keys]

    def column(values: Iterable[Any], dtype: str) -> Any:
        return np.repeat(np.fromiter(values, dtype), counts)

    return _Rows(
        numbers[:, 0],
        numbers[:, 1],
        column((record.at for record in parts), "f8"),
        column((record.file for record in parts), "u4"),
        column((record.record for record in parts), "u4"),
        np.array(positions, "u4"),
        column((record.state for record in parts), "u1"),
    )


def _merged(parts: Sequence[_Rows]) -> _Rows:
    """Sorted rows; of those of one key the one that counts, and of equals that of the later part."""
    rows = _Rows(*map(np.concatenate, zip(*parts, strict=True)))
    order = np.argsort(rows.first, kind="stable")  # which merges what is in order already
    first = rows.first[order]
    twins = first[1:] == first[:-1]
    if not twins.any():
        return rows.take(order)
    # One key twice, or keys that begin alike: only these are looked at more closely.
    places = np.flatnonzero(np.append(twins, False) | np.append(False, twins))
    alike = rows.take(order[places])
    order[places] = order[places][np.lexsort((alike.at, alike.state == ANSWER, alike.second, alike.first))]
    second = rows.second[order]
    return rows.take(order[np.append(~twins | (second[1:] != second[:-1]), True)])


def _numbers(keys: Sequence[bytes]) -> Any:
    """Keys as two numbers each."""
    return np.frombuffer(b"".join(keys), ">u8").astype("u8").reshape(-1, 2)


def _counts(later: Entry | Record, before: Entry | Record) -> bool:
    return (later.state == ANSWER, later.at) >= (before.state == ANSWER, before.at)
