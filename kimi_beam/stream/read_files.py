"""`ReadContinuously`: reads documents from files as they appear, for as long as the pipeline runs."""

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
from kimi_beam.files.local_listing import Found
from kimi_beam.files.paths import normal
from kimi_beam.input.fields import DEFAULT_READING, Reader, Reading, failed
from kimi_beam.input.file_parts import Part, cut
from kimi_beam.input.finding import broken_link_message, file_pattern, find_inputs, is_broken_link
from kimi_beam.input.kinds import IN_WORDS, kind_by_name
from kimi_beam.input.read_parts import read_part
from kimi_beam.input.readers.content import HiddenTextPolicy, PageChoice
from kimi_beam.types.document import Arrival, Document
from kimi_beam.types.failure import Failure
from kimi_beam.wire.size_limits import MAX_DOCUMENT_BYTES

_LOG = logging.getLogger(__name__)
_BUCKETS = 16
"""Keys over which the memory of seen files is spread, because all that a key remembers is read at each look."""
_warned_links: set[str] = set()
"""Links that lead nowhere and of which this process has already warned."""


@beam.typehints.with_output_types(Document)
class ReadContinuously(beam.PTransform):
    """Reads documents from files as they appear, on any filesystem that Beam knows.

    ``PBegin -> PCollection[Document]``, unbounded

    Files are of the kinds that `ReadDocuments` reads, told by their names. Those of other kinds, and those whose name
    begins with a dot or an underscore, are passed over. Each file is read once, when it has not changed for `quiet`
    seconds, and not again if it changes later. So write a file under another name and rename it when it is complete.
    The event time of its documents is the time of its last change. What cannot be read becomes a `Document` that
    carries its `Failure`.

    Example:
        >>> documents = beam.Pipeline() | kb.ReadContinuously(["in/*.txt", "in/*.jsonl"], interval=60.0)
        >>> documents.is_bounded
        False

    Args:
        patterns: A path or glob, or several. Nothing has to match yet.
        interval: Seconds between two looks. Each look lists all files that match. If they may come to a million, move
            away those that are done, or use directories by date.
        quiet: Seconds without a change after which a file is taken to be complete.
        until: Unix seconds of the last look. None: it never ends.
        id_field: See `ReadDocuments`.
        text_field: See `ReadDocuments`.
        max_document_bytes: See `ReadDocuments`.
        pages: See `ReadDocuments`.
        hidden_text: See `ReadDocuments`.
        encoding: See `ReadDocuments`.
        password_from: See `ReadDocuments`.
        reader: See `ReadDocuments`. It is asked about files of the known kinds alone.
        keep_boxes: See `ReadDocuments`.

    Raises:
        InputError: When the pipeline is built: a pattern names files that cannot be read.
        ConfigError: A setting is wrong; the message names it.
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
        pages: PageChoice = "auto",
        hidden_text: HiddenTextPolicy = "drop",
        encoding: str | None = None,
        password_from: str | None = None,
        reader: Reader | None = None,
        keep_boxes: bool = False,
    ) -> None:
        super().__init__()
        self._patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        self._interval, self._quiet = interval, quiet
        self._until = None if until is not None and until >= _END else until
        self._reading = Reading(
            id_field=id_field,
            text_field=text_field,
            max_document_bytes=max_document_bytes,
            pages=pages,
            hidden_text=hidden_text,
            encoding=encoding,
            password_from=password_from,
            reader=reader,
            keep_boxes=keep_boxes,
        )
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
                and not kind_by_name(pattern)
                and file_pattern(pattern) == normal(pattern)
            ):
                raise InputError(f"{pattern} names files that cannot be read: only {IN_WORDS} can")

    def expand(self, begin: Any) -> beam.PCollection:
        return (
            begin
            | "Tick" >> _ticks(begin.pipeline, self._interval, self._until)
            | "Look"
            >> beam.ParDo(_Look(self._patterns, self._interval, self._quiet)).with_output_types(tuple[str, list[Found]])
            | "New" >> beam.ParDo(_New()).with_output_types(Found)
            | "Cut" >> beam.FlatMap(_cut, self._reading.encoding).with_output_types(_FoundPart)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_read, self._reading).with_output_types(Document)
        )


_END = float(MAX_TIMESTAMP.seconds())
"""Unix seconds at which Beam's times end."""


def _ticks(pipeline: beam.Pipeline, interval: float, until: float | None) -> beam.PTransform:
    """``PBegin -> PCollection[Any]``: one element every `interval` seconds, until a Unix second. None: for ever."""
    if type(pipeline.runner).__name__ in ("FlinkRunner", "PortableRunner"):
        # Beam's Flink runner (observed with 2.62) lets the watermark pass a splittable DoFn that waits, such as
        # `PeriodicImpulse`, and drops the elements that it gives after that.
        source = FlinkStreamingImpulseSource()
        count = 0 if until is None else max(1, math.ceil((until - time.time()) / interval))
        source.config = {"interval_ms": round(interval * 1_000), "message_count": count}
        return source.with_output_types(bytes)
    return PeriodicImpulse(
        stop_timestamp=MAX_TIMESTAMP if until is None else Timestamp.of(until),
        fire_interval=interval,
        rebase=RebaseMode.REBASE_START,
    )


class _FoundPart(NamedTuple):
    """A part of a file, and the time of the file's last change when it was found."""

    part: Part
    changed: float
    """Unix seconds; 0 if the filesystem does not say."""


class _Look(beam.DoFn):
    """``tick -> (bucket, files)``: the files that can be read now.

    A job that was stopped for a while gets all ticks that it missed. It looks once for all of them.
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
    """The files that have not changed since a time (Unix seconds), by bucket."""
    try:
        found = find_inputs(patterns)
    except InputError as e:  # the filesystem cannot be reached now; the next look tries again
        _LOG.warning("kimi_beam: %s", e)
        return []
    buckets: dict[str, list[Found]] = {}
    for file in found:
        if is_broken_link(file.path):
            if file.path not in _warned_links:
                _warned_links.add(file.path)
                _LOG.warning("kimi_beam: %s; it is read when it is", broken_link_message(file.path))
        elif kind_by_name(file.path) and file.changed <= quiet_since:
            buckets.setdefault(str(zlib.crc32(_encoded(file.path)) % _BUCKETS), []).append(file)
    return list(buckets.items())


def _encoded(path: str) -> bytes:
    """A path as bytes. Python represents bytes of a path that are not UTF-8 as lone surrogates, which are kept."""
    return path.encode("utf-8", "surrogatepass")


class _New(beam.DoFn):
    """``(bucket, files) -> Found``: the files that were not seen before."""

    SEEN = BagStateSpec("seen", BytesCoder())
    """Digests of the paths of seen files, of 16 bytes each; an element of the bag is those of one look."""

    def process(self, element: tuple[str, list[Found]], seen: Any = beam.DoFn.StateParam(SEEN)) -> Iterator[Found]:
        before = {block[i : i + 16] for block in seen.read() for i in range(0, len(block), 16)}
        digests = {hashlib.blake2b(_encoded(file.path), digest_size=16).digest(): file for file in element[1]}
        new = {digest: file for digest, file in digests.items() if digest not in before}
        if new:
            seen.add(b"".join(new))
            yield from new.values()


def _cut(file: Found, encoding: str | None = None) -> Iterator[_FoundPart]:
    return (_FoundPart(part, file.changed) for part in cut(file.path, file.size, encoding))


def _read(found: _FoundPart, reading: Reading = DEFAULT_READING) -> Iterator[Document]:
    """The documents of a part. Each delivery is named by the file, its time of change and the document's position."""
    part = found.part
    event_time = round(found.changed * 1e6) if found.changed else None
    index = 0
    try:
        for index, document in enumerate(read_part(part, reading), 1):
            yield document.with_arrival(_arrival(part, event_time, index))
    except Exception as e:
        if FileSystems.exists(part.path):
            raise  # the filesystem has failed, not the file: the runner repeats the bundle
        message = f"{part.path} was removed before it was read: {' '.join(str(e).split())[:200]}"
        removed = failed(part.path, part.path, Failure("read", "unreadable", message, retryable=True))
        yield removed.with_arrival(_arrival(part, event_time, index + 1))


def _arrival(part: Part, event_time: int | None, index: int) -> Arrival:
    return Arrival(event_time, delivery=delivery_name(part.path, event_time, part.start, index))
