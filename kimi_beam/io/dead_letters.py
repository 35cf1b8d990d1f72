"""`WriteDeadLetters`: a file with one line for each document that did not become a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import apache_beam as beam
import orjson
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.io.dead_letter_lines import encode
from kimi_beam.io.staging import Commit, Stage, Target, Window, check_writable
from kimi_beam.summary import Summary
from kimi_beam.types import DeadLetter, Usage

SUFFIX = ".jsonl"
_PIECE_BYTES = 1 << 20


class WriteDeadLetters(beam.PTransform):
    """Writes dead letters as JSON lines.

    ``PCollection[DeadLetter] -> PCollection[str]`` (the paths)

    Bounded input gives ``PREFIX-00000-of-00001.jsonl``, also when there is none. Unbounded input gives a file each
    `every` seconds in which there were some. Works as the consumer of a Beam ``ErrorHandler``.

    Args:
        prefix: Path and beginning of the names.
        every: Seconds between the files of unbounded input.

    Raises:
        OutputError: When the pipeline is built: the prefix cannot be written to.
    """

    def __init__(self, prefix: str, *, every: float = 60.0) -> None:
        super().__init__()
        self._target = Target.of(prefix, SUFFIX)
        check_writable(FileSystems.split(self._target.prefix)[0] or ".")
        self._every = every

    def expand(self, dead_letters: beam.PCollection) -> beam.PCollection:
        staged = stage_dead_letters(dead_letters, self._target, self._every)
        return staged | "Commit" >> Commit(self._target, write, bounded=dead_letters.is_bounded)


def stage_dead_letters(dead_letters: beam.PCollection, target: Target, every: float = 60.0) -> beam.PCollection:
    """``PCollection[DeadLetter] -> PCollection[Staged]``: the files, whole but not named yet."""
    return (
        dead_letters
        | "Window" >> Window(None if dead_letters.is_bounded else every)
        | "Encode" >> beam.ParDo(_Encode()).with_output_types(bytes)
        | "Files" >> Stage(target, write, 1)
    )


class _Encode(beam.DoFn):
    """``DeadLetter -> bytes``: some lines at a time."""

    def start_bundle(self) -> None:
        self._lines: list[bytes] = []
        self._bytes = 0

    def process(self, dead_letter: DeadLetter) -> Iterator[bytes]:
        line = encode(dead_letter)
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= _PIECE_BYTES:
            yield self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._lines:
            yield WindowedValue(self._flush(), GlobalWindow().max_timestamp(), [GlobalWindow()])

    def _flush(self) -> bytes:
        lines, self._lines, self._bytes = self._lines, [], 0
        return b"".join(lines)


def write(f: BinaryIO, pieces: Iterable[bytes]) -> Summary:
    """Writes one file of encoded lines."""
    codes: Counter[str] = Counter()
    usage = Usage()
    for piece in pieces:
        f.write(piece)
        for line in piece.splitlines():
            content = orjson.loads(line)
            codes[content["code"]] += 1
            usage += Usage(**content["usage"])
    return Summary(0, dict(codes), usage)
