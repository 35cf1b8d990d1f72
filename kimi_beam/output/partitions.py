"""Partitions of a stream's output: a directory for each hour or day of event time, with files closed by size or time.

::

    (partition, rows) ─▶ Collect (state, timers) ─▶ PartitionWriter ─▶ WrittenFile

After a failure a runner repeats its work since the last checkpoint, but files that it wrote stay. So the files
themselves are asked what they hold: each row has the name of its delivery, and a row whose delivery is already in its
partition is not written again. This holds for a retried bundle, a restored job, and a new job over the same input.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
from apache_beam.coders import BytesCoder, TupleCoder, VarIntCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from kimi_beam.beam_extensions.arrival import Partition
from kimi_beam.beam_extensions.timer_names import with_own_timers
from kimi_beam.errors import ConfigError
from kimi_beam.files import whole_files
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import listing
from kimi_beam.output import staging
from kimi_beam.output.staging import Target, WriteFile
from kimi_beam.report.summary import Summary
from kimi_beam.service import clock

Piece = tuple[str, tuple[int, bytes]]
"""A partition, the number of rows, and the rows encoded as bytes."""

_MAX_BYTES = 64 << 20
"""Bytes of encoded rows in a runner's state from which on their file is written."""
_MAX_NAMES = 1_000_000
"""Deliveries that a writer remembers, of all partitions together, at about 100 bytes each."""


@dataclass(frozen=True)
class Rolling:
    """When a stream's files are closed, and whether a directory holds an hour or a day.

    Example:
        >>> rolling = kb.Rolling(partition="day", max_rows=1_000_000, max_seconds=900.0)
        >>> write = kb.WriteParquet("out/rows", "receipt.json", rolling=rolling)

    Attributes:
        partition: An ``hour`` or a ``day`` of event time.
        max_rows: A file is closed once it has this many rows. It may have up to one batch more.
        max_seconds: The longest that a row waits for others before its file is closed.

    Raises:
        ConfigError: A number is below 1, or there is no such partition.
    """

    partition: Partition = "hour"
    max_rows: int = 50_000
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not (self.max_rows >= 1 and self.max_seconds >= 1):  # NaN is not either
            raise ConfigError("Rolling: max_rows and max_seconds must be at least 1")
        if self.partition not in ("hour", "day"):
            raise ConfigError(f"Rolling: a partition is an hour or a day, not {self.partition!r}")


DEFAULT_ROLLING = Rolling()


Read = Callable[[BinaryIO], tuple[list[str | None], Summary]]
"""Reads a file, and returns the delivery of each row and the counts of the file."""


class FileFormat(NamedTuple):
    """How the files of one kind are written and read."""

    suffix: str
    write: WriteFile
    """Writes a file from pieces."""
    deliveries: Callable[[bytes], list[str | None]]
    """Returns the delivery of each row of a piece; None for a row without one."""
    select: Callable[[bytes, list[bool]], bytes]
    """Returns the rows of a piece for which the mask is true."""
    read: Read


class WrittenFile(NamedTuple):
    """A file that a stream has written."""

    partition: str
    path: str
    """Empty if no file was written, because the partition already held all rows."""


def written_paths(file: WrittenFile) -> Iterator[str]:
    """The path of the file, if one was written."""
    if file.path:
        yield file.path


@beam.typehints.with_input_types(Piece)
@beam.typehints.with_output_types(WrittenFile)
class WritePartitions(beam.PTransform):
    """``PCollection[Piece] -> PCollection[WrittenFile]``: writes unbounded input to the partitions below a root.

    Args:
        target: The root, and the directory where files are staged. They are not staged below the root, because query
            engines read every file that is there.
        file_format: How files are written.
        rolling: When files are closed.

    Raises:
        ConfigError: The runner has no timers of processing time.
        OutputError: The runner's workers cannot write there.
    """

    def __init__(self, target: Target, file_format: FileFormat, rolling: Rolling) -> None:
        super().__init__()
        self._target, self._file_format, self._rolling = target, file_format, rolling

    def expand(self, pieces: beam.PCollection) -> beam.PCollection:
        staging.check_runner(pieces.pipeline, self._target)
        if type(pieces.pipeline.runner).__name__ == "FnApiRunner":
            raise ConfigError("FnApiRunner cannot write files of unbounded input: use Prism, Flink or Dataflow")
        writer = PartitionWriter(self._target, self._file_format)
        whole_files.remove_abandoned(FileSystems.split(self._target.prefix)[0] or ".")
        collect = with_own_timers(_Collect, pieces.producer.full_label)(writer, self._rolling)
        return pieces | "Window" >> staging.Window() | "Collect" >> beam.ParDo(collect).with_output_types(WrittenFile)


class _Collect(beam.DoFn):
    """``Piece -> WrittenFile``: collects rows in state until their file is closed by size, by time, or at the end.

    It has a timer of processing time and one of event time, as `DispatchUnbounded` has.
    """

    WAITING = BagStateSpec("waiting", BytesCoder())
    SIZE = ReadModifyWriteStateSpec("size", TupleCoder((VarIntCoder(), VarIntCoder())))
    """The number of rows in `WAITING`, and of their bytes."""
    ROLL = TimerSpec("roll", TimeDomain.REAL_TIME)
    DRAIN = TimerSpec("drain", TimeDomain.WATERMARK)

    def __init__(self, writer: PartitionWriter, rolling: Rolling) -> None:
        self._writer, self._rolling = writer, rolling

    def process(
        self,
        element: Piece,
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(WAITING),
        size: Any = beam.DoFn.StateParam(SIZE),
        roll: Any = beam.DoFn.TimerParam(ROLL),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> Iterator[WrittenFile]:
        partition, (count, piece) = element
        before = size.read()
        waiting.add(piece)
        rows, content = before or (0, 0)
        rows, content = rows + count, content + len(piece)
        if rows >= self._rolling.max_rows or content >= _MAX_BYTES:
            yield from self._close(partition, waiting, size)
            return
        size.write((rows, content))
        if before is None:
            roll.set(Timestamp.of(clock.wall_in(self._rolling.max_seconds)))
            drain.set(window.max_timestamp())

    @on_timer(ROLL)
    def on_roll(
        self,
        key: Any = beam.DoFn.KeyParam,
        waiting: Any = beam.DoFn.StateParam(WAITING),
        size: Any = beam.DoFn.StateParam(SIZE),
    ) -> Iterator[WrittenFile]:
        """Writes the file of rows whose first has waited for `Rolling.max_seconds`."""
        yield from self._close(key, waiting, size)

    @on_timer(DRAIN)
    def on_drain(
        self,
        key: Any = beam.DoFn.KeyParam,
        waiting: Any = beam.DoFn.StateParam(WAITING),
        size: Any = beam.DoFn.StateParam(SIZE),
        roll: Any = beam.DoFn.TimerParam(ROLL),
    ) -> Iterator[WrittenFile]:
        """Writes the last file, because the input has ended."""
        roll.clear()
        yield from self._close(key, waiting, size)

    def _close(self, partition: str, waiting: Any, size: Any) -> Iterator[WrittenFile]:
        pieces = list(waiting.read())
        waiting.clear()
        size.clear()
        if pieces:
            yield WrittenFile(partition, self._writer.write(partition, pieces))


class PartitionWriter:
    """Writes rows that a partition does not hold yet.

    Args:
        target: The root, and the directory where files are staged.
        file_format: How files are written.
    """

    def __init__(self, target: Target, file_format: FileFormat) -> None:
        self._target, self._file_format = target, file_format
        self._contents: dict[str, _Content] = {}
        """By partition, the least recently used first."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the writer without its cache of contents, which each worker builds for itself."""
        return PartitionWriter, (self._target, self._file_format)

    def write(self, partition: str, pieces: Sequence[bytes]) -> str:
        """Writes one file.

        Returns:
            Its path; empty if the partition already holds each row.
        """
        directory = FileSystems.join(self._target.prefix, partition)
        content = self._read_content(partition, directory)
        written: set[bytes] = set()
        fresh = [selected for piece in pieces if (selected := self._without_known(piece, content, written)) is not None]
        if not fresh:
            return ""
        # The name is made of the deliveries, so that a late attempt at the same rows, which the runner has given up,
        # replaces the file instead of adding a second one.
        title = hashlib.blake2b(b"".join(sorted(written)), digest_size=12).hexdigest()
        path: str = FileSystems.join(directory, f"part-{title}{self._file_format.suffix}")
        staged = staging.stage(fresh, self._target, self._file_format.write)
        whole_files.make_directory(directory)
        whole_files.rename(staged.temporary, path, staged.size)
        content.files.add(path)
        content.deliveries.update(written)
        return path

    def _without_known(self, piece: bytes, content: _Content, written: set[bytes]) -> bytes | None:
        """The rows of a piece that are neither in the partition nor in the new file yet; None if there are none.

        Args:
            piece: Encoded rows.
            content: What the partition holds.
            written: The deliveries in the new file. Those of the returned rows are added.
        """
        mask = []
        for name in self._file_format.deliveries(piece):
            # A row without the name of its delivery cannot be recognised, so it is written each time it comes.
            delivery = bytes.fromhex(name) if name else uuid.uuid4().bytes
            mask.append(delivery not in written and delivery not in content.deliveries)
            if mask[-1]:
                written.add(delivery)
        if not any(mask):
            return None
        return piece if all(mask) else self._file_format.select(piece, mask)

    def _read_content(self, partition: str, directory: str) -> _Content:
        """What a partition holds now. Reads the files that other workers have written since the last time."""
        content = self._contents[partition] = self._contents.pop(partition, _Content(set(), set()))
        while len(self._contents) > 1 and sum(len(c.deliveries) for c in self._contents.values()) > _MAX_NAMES:
            del self._contents[next(iter(self._contents))]
        for path in files_in(directory, self._file_format.suffix):
            if path not in content.files:
                with FileSystems.open(path) as f:
                    names, _ = self._file_format.read(f)
                content.files.add(path)
                content.deliveries.update(bytes.fromhex(name) for name in names if name)
        return content


class _Content(NamedTuple):
    """What a partition holds: its files, and the deliveries of the rows in them."""

    files: set[str]
    deliveries: set[bytes]


def files_in(directory: str, suffix: str) -> list[str]:
    """The files of a partition that have a suffix; none if there is no such directory."""
    return [found.path for found in listing(directory) if found.path.endswith(suffix)]
