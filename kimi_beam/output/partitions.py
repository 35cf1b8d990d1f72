"""Files of a stream: a directory for each hour or day of event time, a file whenever enough rows or time has come.

::

    (partition, rows) ─▶ Collect (state, timers) ─▶ PartitionWriter ─▶ WrittenFile

A stream's runner repeats what it did since its last checkpoint, and what is on a filesystem is not taken back. So the
files themselves say what is in them: each row has the name of its delivery, and one that stands in its partition
already is not written again, whether a bundle was retried, a job restored, or a new one started over the same input.
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
"""Some encoded rows of one partition, and how many they are."""

_MAX_BYTES = 64 << 20
"""Bytes of encoded rows that wait in a runner's state for their file."""
_MAX_NAMES = 1_000_000
"""Deliveries that a writer remembers of the partitions it does not work on: 100 bytes each."""


@dataclass(frozen=True)
class Rolling:
    """When a stream's files are closed, and what a directory holds.

    Example:
        >>> rolling = kb.Rolling(partition="day", max_rows=1_000_000, max_seconds=900.0)
        >>> write = kb.WriteParquet("out/rows", "receipt.json", rolling=rolling)

    Attributes:
        partition: An ``hour`` or a ``day`` of event time.
        max_rows: A file is closed once it has so many rows; it may have a batch more.
        max_seconds: A row waits so long for company, at most.

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
"""Says what is in a file: the delivery of each row, and all of it summed up."""


class FileFormat(NamedTuple):
    """A kind of file."""

    suffix: str
    write: WriteFile
    """Writes a file of pieces."""
    names: Callable[[bytes], list[str | None]]
    """The delivery of each row of a piece."""
    select: Callable[[bytes, list[bool]], bytes]
    """The rows of a piece that are kept."""
    read: Read


class WrittenFile(NamedTuple):
    """What was asked to be written is there."""

    partition: str
    path: str
    """Empty where all of it was there already."""


def written_paths(file: WrittenFile) -> Iterator[str]:
    """The path of what was written, if anything was."""
    if file.path:
        yield file.path


@beam.typehints.with_input_types(Piece)
@beam.typehints.with_output_types(WrittenFile)
class WritePartitions(beam.PTransform):
    """``PCollection[Piece] -> PCollection[WrittenFile]``: unbounded input into the directories of a root.

    Args:
        target: The root, and where files are staged: not in it, as engines read whatever lies there.
        form: The kind of file.
        rolling: When files are closed.

    Raises:
        ConfigError: The runner has no timers of processing time.
        OutputError: The runner's workers cannot write there.
    """

    def __init__(self, target: Target, form: FileFormat, rolling: Rolling) -> None:
        super().__init__()
        self._target, self._form, self._rolling = target, form, rolling

    def expand(self, pieces: beam.PCollection) -> beam.PCollection:
        staging.check_runner(pieces.pipeline, self._target)
        if type(pieces.pipeline.runner).__name__ == "FnApiRunner":
            raise ConfigError("FnApiRunner cannot write files of unbounded input: use Prism, Flink or Dataflow")
        writer = PartitionWriter(self._target, self._form)
        whole_files.remove_abandoned(FileSystems.split(self._target.prefix)[0] or ".")
        collect = with_own_timers(_Collect, pieces.producer.full_label)(writer, self._rolling)
        return pieces | "Window" >> staging.Window() | "Collect" >> beam.ParDo(collect).with_output_types(WrittenFile)


class _Collect(beam.DoFn):
    """``Piece -> WrittenFile``: lets rows wait for company. Its timers are those of `DispatchUnbounded`."""

    WAITING = BagStateSpec("waiting", BytesCoder())
    SIZE = ReadModifyWriteStateSpec("size", TupleCoder((VarIntCoder(), VarIntCoder())))
    """Rows and bytes that wait."""
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
        """Closes the file of a row that has waited long enough."""
        yield from self._close(key, waiting, size)

    @on_timer(DRAIN)
    def on_drain(
        self,
        key: Any = beam.DoFn.KeyParam,
        waiting: Any = beam.DoFn.StateParam(WAITING),
        size: Any = beam.DoFn.StateParam(SIZE),
        roll: Any = beam.DoFn.TimerParam(ROLL),
    ) -> Iterator[WrittenFile]:
        """The input has ended."""
        roll.clear()
        yield from self._close(key, waiting, size)

    def _close(self, partition: str, waiting: Any, size: Any) -> Iterator[WrittenFile]:
        pieces = list(waiting.read())
        waiting.clear()
        size.clear()
        if pieces:
            yield WrittenFile(partition, self._writer.write(partition, pieces))


class PartitionWriter:
    """Writes the rows of a partition that are not there yet.

    Args:
        target: The root and where files are staged.
        form: The kind of file.
    """

    def __init__(self, target: Target, form: FileFormat) -> None:
        self._target, self._form = target, form
        self._known: dict[str, _Known] = {}
        """By partition, the least recently used first."""

    def __reduce__(self) -> tuple[Any, ...]:
        """What is known of the files is each worker's own."""
        return PartitionWriter, (self._target, self._form)

    def write(self, partition: str, pieces: Sequence[bytes]) -> str:
        """Writes one file.

        Returns:
            Its path; empty where each row is there already.
        """
        directory = FileSystems.join(self._target.prefix, partition)
        known = self._look(partition, directory)
        taken: set[bytes] = set()
        fresh = [selected for piece in pieces if (selected := self._fresh(piece, known, taken)) is not None]
        if not fresh:
            return ""
        # Named by what is in it: an attempt that was taken for dead and comes late replaces its own file.
        title = hashlib.blake2b(b"".join(sorted(taken)), digest_size=12).hexdigest()
        path: str = FileSystems.join(directory, f"part-{title}{self._form.suffix}")
        staged = staging.stage(fresh, self._target, self._form.write)
        whole_files.make_directory(directory)
        whole_files.rename(staged.temporary, path, staged.size)
        known.files.add(path)
        known.deliveries.update(taken)
        return path

    def _fresh(self, piece: bytes, known: _Known, taken: set[bytes]) -> bytes | None:
        """The rows of a piece that stand nowhere yet; None where there is none."""
        mask = []
        for name in self._form.names(piece):
            # What nobody has named is written as often as it comes.
            delivery = bytes.fromhex(name) if name else uuid.uuid4().bytes
            mask.append(delivery not in taken and delivery not in known.deliveries)
            if mask[-1]:
                taken.add(delivery)
        if not any(mask):
            return None
        return piece if all(mask) else self._form.select(piece, mask)

    def _look(self, partition: str, directory: str) -> _Known:
        """What stands in a partition, that included which another worker has written meanwhile."""
        known = self._known[partition] = self._known.pop(partition, _Known(set(), set()))
        while len(self._known) > 1 and sum(len(one.deliveries) for one in self._known.values()) > _MAX_NAMES:
            del self._known[next(iter(self._known))]
        for path in files_in(directory, self._form.suffix):
            if path not in known.files:
                with FileSystems.open(path) as f:
                    names, _ = self._form.read(f)
                known.files.add(path)
                known.deliveries.update(bytes.fromhex(name) for name in names if name)
        return known


class _Known(NamedTuple):
    """What a partition holds."""

    files: set[str]
    deliveries: set[bytes]


def files_in(directory: str, suffix: str) -> list[str]:
    """The files of a partition; none where there is no such directory."""
    return [found.path for found in listing(directory) if found.path.endswith(suffix)]
