"""`ReadContinuously`: documents from files as they appear, for as long as the pipeline runs."""

from __future__ import annotations

import hashlib
import logging
import math
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.io.flink.flink_streaming_impulse_source import FlinkStreamingImpulseSource
from apache_beam.transforms.periodicsequence import PeriodicImpulse, RebaseMode
from apache_beam.transforms.userstate import BagStateSpec
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from kimi_beam.beam_extensions.arrival import delivery_name
from kimi_beam.errors import ConfigError, InputError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import Found, normal
from kimi_beam.input.fields import DEFAULT_READING, Reading, failed
from kimi_beam.input.file_parts import KINDS, Part, cut, kind_of
from kimi_beam.input.finding import broken_link_message, file_pattern, find_inputs, is_broken_link
from kimi_beam.input.read_documents import read_part
from kimi_beam.types import Arrival, Document, Failure
from kimi_beam.wire.size_limits import MAX_DOCUMENT_BYTES

_LOG = logging.getLogger(__name__)
_BUCKETS = 16
"""Keys that remember which files were seen: what one of them remembers is read whole at each look."""
_told: set[str] = set()
"""Links that lead nowhere, of which this process has warned."""


@beam.typehints.with_output_types(Document)
class ReadContinuously(beam.PTransform):
    """Reads documents from files as they appear, on any filesystem that Beam knows.

    ``PBegin -> PCollection[Document]``, unbounded

    Files are those of `ReadDocuments`; one of another kind, and one whose name begins with a dot or an underscore, is
    passed over. Each is read once, by its path, when nobody has changed it for `quiet` seconds: give it its name when
    it is whole (write it aside and rename it). A file that changes after it was read is not read again. The event time
    of its documents is its time of change. What cannot be read is a `Document` that carries its `Failure`.

    Example:
        >>> documents = beam.Pipeline() | kb.ReadContinuously(["in/*.txt", "in/*.jsonl"], interval=60.0)
        >>> documents.is_bounded
        False

    Args:
        patterns: A path or glob, or several. Nothing has to match yet.
        interval: Seconds between two looks. Each lists all files that match: move what is done out of the way, or name
            directories by date, where they come to a million.
        quiet: Seconds for which a file has not changed.
        until: Unix seconds of the last look. None: for ever.
        id_field: See `ReadDocuments`.
        text_field: See `ReadDocuments`.
        max_document_bytes: See `ReadDocuments`.

    Raises:
        InputError: When the pipeline is built: a pattern names files that cannot be read.
        ConfigError: A number is not positive.
    """

    def __init__(
        self,
        patterns: str | Sequence[str],
        *,
        interval: float = 10.0,
        quiet: float = 2.0,
        until: float | None = None,
        id_field: str = "id",
        text_field: str = "text",
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> None:
        super().__init__()
        self._patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        self._interval, self._quiet = interval, quiet
        self._until = None if until is not None and until >= _END else until
        self._reading = Reading(id_field, text_field, max_document_bytes)
        if not (0 < interval < math.inf and 0 <= quiet < math.inf):
            raise ConfigError("ReadContinuously: interval must be positive, quiet not negative, and both finite")
        if until is not None and not until > 0:
            raise ConfigError("ReadContinuously: until is in Unix seconds")
        if not self._patterns:
            raise InputError("no input: name at least one path or glob")
        for pattern in self._patterns:
            ending = pattern.rpartition("/")[2].rpartition(".")[2]
            if (
                not any(c in ending for c in "*?[]")
                and not kind_of(pattern)
                and file_pattern(pattern) == normal(pattern)
            ):
                raise InputError(f"{pattern} names files that cannot be read: only {KINDS} can")

    def expand(self, begin: Any) -> beam.PCollection:
        return (
            begin
            | "Tick" >> _ticks(begin.pipeline, self._interval, self._until)
            | "Look"
            >> beam.ParDo(_Look(self._patterns, self._interval, self._quiet)).with_output_types(tuple[str, list[Found]])
            | "New" >> beam.ParDo(_New()).with_output_types(Found)
            | "Cut" >> beam.FlatMap(_cut).with_output_types(_Piece)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_read, self._reading).with_output_types(Document)
        )


_END = float(MAX_TIMESTAMP.seconds())
"""Unix seconds at which Beam's times end."""


def _ticks(pipeline: beam.Pipeline, interval: float, until: float | None) -> beam.PTransform:
    """``PBegin -> PCollection[Any]``: an element each so many seconds, until a Unix second."""
    if type(pipeline.runner).__name__ in ("FlinkRunner", "PortableRunner"):
        # Beam's Flink runner (2.62) lets the watermark pass a splittable DoFn that waits, and drops what it gives then.
        source = FlinkStreamingImpulseSource()
        count = 0 if until is None else max(1, math.ceil((until - time.time()) / interval))
        source.config = {"interval_ms": round(interval * 1_000), "message_count": count}
        return source.with_output_types(bytes)
    return PeriodicImpulse(
        stop_timestamp=MAX_TIMESTAMP if until is None else Timestamp.of(until),
        fire_interval=interval,
        rebase=RebaseMode.REBASE_START,
    )


class _Piece(NamedTuple):
    """A piece of a file as it was when it was found."""

    part: Part
    changed: float


class _Look(beam.DoFn):
    """``tick -> (bucket, files)``: the files that can be read now.

    A job that stood still makes up for each tick that it missed, but not for each look: one finds all there is.
    """

    def __init__(self, patterns: tuple[str, ...], interval: float, quiet: float) -> None:
        self._patterns, self._interval, self._quiet = patterns, interval, quiet

    def setup(self) -> None:
        self._looked = 0.0

    def process(self, _: Any) -> Iterator[tuple[str, list[Found]]]:
        now = time.time()
        if self._looked <= now < self._looked + self._interval / 2:
            return
        self._looked = now
        yield from look(self._patterns, now - self._quiet)


def look(patterns: tuple[str, ...], quiet_since: float) -> list[tuple[str, list[Found]]]:
    """The files that nobody has changed since some Unix second, by bucket."""
    try:
        found = find_inputs(patterns)
    except InputError as e:  # the filesystem cannot be asked; it is asked again
        _LOG.warning("kimi_beam: %s", e)
        return []
    buckets: dict[str, list[Found]] = {}
    for file in found:
        if is_broken_link(file.path):
            if file.path not in _told:
                _told.add(file.path)
                _LOG.warning("kimi_beam: %s; it is read when it is", broken_link_message(file.path))
        elif kind_of(file.path) and file.changed <= quiet_since:
            buckets.setdefault(str(zlib.crc32(_encoded(file.path)) % _BUCKETS), []).append(file)
    return list(buckets.items())


def _encoded(path: str) -> bytes:
    """A path as bytes, also one that is no UTF-8: Python reads those with halves of surrogate pairs."""
    return path.encode("utf-8", "surrogatepass")


class _New(beam.DoFn):
    """``(bucket, files) -> Found``: those that were not seen before."""

    SEEN = BagStateSpec("seen", BytesCoder())
    """Digests of paths, 16 bytes each, some at a time."""

    def process(self, element: tuple[str, list[Found]], seen: Any = beam.DoFn.StateParam(SEEN)) -> Iterator[Found]:
        known = {block[i : i + 16] for block in seen.read() for i in range(0, len(block), 16)}
        digests = {hashlib.blake2b(_encoded(file.path), digest_size=16).digest(): file for file in element[1]}
        new = {digest: file for digest, file in digests.items() if digest not in known}
        if new:
            seen.add(b"".join(new))
            yield from new.values()


def _cut(file: Found) -> Iterator[_Piece]:
    return (_Piece(part, file.changed) for part in cut(file.path, file.size))


def _read(piece: _Piece, reading: Reading = DEFAULT_READING) -> Iterator[Document]:
    """The documents of a piece; each has the name of its place in this version of the file."""
    part, changed = piece.part, piece.changed
    at = round(changed * 1e6) if changed else None
    index = 0
    try:
        for index, document in enumerate(read_part(part, reading), 1):
            yield document.with_arrival(_arrival(part, at, index))
    except Exception as e:
        if FileSystems.exists(part.path):
            raise  # the filesystem broke: the runner does the bundle again
        told = f"{part.path} was removed before it was read: {' '.join(str(e).split())[:200]}"
        gone = failed(part.path, part.path, Failure("read", "unreadable", told, retryable=True))
        yield gone.with_arrival(_arrival(part, at, index + 1))


def _arrival(part: Part, at: int | None, index: int) -> Arrival:
    return Arrival(at, delivery=delivery_name(part.path, at, part.start, index))
