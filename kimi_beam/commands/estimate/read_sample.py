"""Reads a sample of an input: all of a small one, else files of every kind and size.

Files are divided into strata by their kind and the power of two of their size, and the more bytes a stratum has, the
more of its files are read. Files of lines and rows count by their bytes, all others by their number.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from kimi_beam.files.local_listing import Found
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import Part, cut
from kimi_beam.input.finding import find_inputs
from kimi_beam.input.kinds import kind_by_name
from kimi_beam.input.read_parts import read_part
from kimi_beam.types.document import Document

_CUT_BYTES = 1 << 20
"""Files from this size on are read in parts, as far as their kind has parts."""
_TEXT_FORMS = frozenset({"lines", "table", "parquet"})


@dataclass(frozen=True, slots=True)
class SampleSize:
    """How much of an input is read.

    Attributes:
        files: The most files that are quick to read, such as texts.
        slow_files: The most files that take a reader: PDFs, pictures, office files.
        line_bytes: The most bytes of files of lines and rows.
        first: So many documents at the beginning are read in any case if the journal has answers: an earlier run with
            ``--limit`` has asked for these.
    """

    files: int = 240
    slow_files: int = 64
    line_bytes: int = 24 << 20
    first: int = 60


@dataclass(frozen=True, slots=True)
class Unit:
    """What is read at once: a file, or a part of a large one.

    Attributes:
        path: The file.
        size: Its bytes.
        kind: Its kind, by the usual suffix; empty if its name does not say it.
        by_bytes: Whether it holds the more documents the larger it is.
        part: The part of the file; None for all of it.
    """

    path: str
    size: int
    kind: str
    by_bytes: bool
    part: Part | None = None

    def documents(self, reading: Reading) -> Iterator[Document]:
        """Reads its documents."""
        for part in [self.part] if self.part is not None else cut(self.path, self.size, reading.encoding):
            yield from read_part(part, reading)


@dataclass(frozen=True, slots=True)
class Stratum:
    """Units that are alike, and those of them that are read.

    Attributes:
        chosen: The units that are read.
        count: The number of all its units.
        size: The bytes of all its units.
        by_bytes: Whether what is counted grows with the bytes of a unit.
    """

    chosen: tuple[Unit, ...]
    count: int
    size: int
    by_bytes: bool

    @property
    def is_whole(self) -> bool:
        """Whether all of it is read."""
        return len(self.chosen) == self.count


def strata_of(
    patterns: Sequence[str], reading: Reading, sample: SampleSize, *, reads_first: bool, seed: int = 0
) -> list[Stratum]:
    """Chooses what is read of an input.

    Args:
        patterns: Paths, directories and globs.
        reading: How files become documents.
        sample: How much is read.
        reads_first: Whether the first files are read in any case.
        seed: Decides which files are read.
    """
    units = [unit for found in find_inputs(patterns) for unit in _units(found, reading)]
    first = list(_first(units, sample.first)) if reads_first else []
    grouped: Mapping[tuple[str, bool, int], list[Unit]] = defaultdict(list)
    for unit in units[len(first) :]:
        grouped[unit.kind, unit.by_bytes, unit.size.bit_length()].append(unit)
    strata = [Stratum(tuple(first), len(first), sum(unit.size for unit in first), False)] if first else []
    draws = random.Random(seed)  # noqa: S311 - a sample, and no secret
    groups = sorted(grouped.items(), key=lambda pair: pair[0])
    for key, members in groups:
        chosen = draws.sample(members, min(len(members), _share(key, members, grouped, sample)))
        strata.append(Stratum(tuple(chosen), len(members), sum(unit.size for unit in members), key[1]))
    return strata


def _first(units: Sequence[Unit], count: int) -> Iterator[Unit]:
    """The units with the first documents: a file of lines holds all of them, as far as is known."""
    for unit in units[:count]:
        yield unit
        if unit.by_bytes:
            return


def first_documents(patterns: Sequence[str], reading: Reading, limit: int) -> Iterator[Document]:
    """The documents that a run with a limit reads.

    Args:
        patterns: Paths, directories and globs.
        reading: How files become documents.
        limit: How many.
    """
    units = (unit for found in find_inputs(patterns) for unit in _units(found, reading))
    return islice((document for unit in units for document in unit.documents(reading)), limit)


def _units(found: Found, reading: Reading) -> list[Unit]:
    kind = kind_by_name(found.path)
    form = None if kind is None else kind.form
    name = "" if kind is None else kind.suffix
    is_text = form in _TEXT_FORMS
    if found.size > _CUT_BYTES and form in ("lines", "parquet", "archive"):
        parts = list(cut(found.path, found.size, reading.encoding))
        if len(parts) > 1:
            size = found.size // len(parts)
            return [Unit(found.path, size, name, is_text, part) for part in parts]
    return [Unit(found.path, found.size, name, is_text)]


def _share(
    key: tuple[str, bool, int],
    members: Sequence[Unit],
    grouped: Mapping[tuple[str, bool, int], Sequence[Unit]],
    sample: SampleSize,
) -> int:
    """How many units of a stratum are read: at least two, and the more the more bytes it has."""
    slow = _is_slow(members[0])
    rivals = [units for units in grouped.values() if _is_slow(units[0]) is slow and units[0].by_bytes == key[1]]
    if key[1]:
        size = sum(unit.size for unit in members)
        total = sum(unit.size for units in rivals for unit in units)
        return max(2, math.ceil(len(members) * min(1.0, sample.line_bytes / max(1, total)) if size else 1))
    most = sample.slow_files if slow else sample.files
    if sum(map(len, rivals)) <= most:
        return len(members)

    def weight(units: Sequence[Unit]) -> float:  # between bytes, which cost, and files, which differ
        return math.sqrt(len(units) * (1 + sum(unit.size for unit in units)))

    return max(2, math.ceil(most * weight(members) / sum(map(weight, rivals))))


def _is_slow(unit: Unit) -> bool:
    kind = kind_by_name(unit.path)
    return kind is not None and (kind.reader is not None or kind.form == "archive" or kind.is_picture)
