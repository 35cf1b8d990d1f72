"""`WriteDeadLetters`: writes files of JSON lines, one for each document that did not become a row."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from typing import BinaryIO

import apache_beam as beam
import orjson

from kimi_beam.beam_extensions.arrival import Partition, partition_directory
from kimi_beam.beam_extensions.element_types import TypedTransform, wrong_element
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.whole_files import check_writable
from kimi_beam.output.bundle_pieces import BundlePieces
from kimi_beam.output.partitions import DEFAULT_ROLLING, FileFormat, Piece, Rolling, WritePartitions, written_paths
from kimi_beam.output.staging import Commit, Stage, Target, Window
from kimi_beam.report.summary import Summary
from kimi_beam.results.dead_letter_lines import SUFFIX, encode
from kimi_beam.types.answer import Usage
from kimi_beam.types.dead_letter import DeadLetter

_PIECE_BYTES = 1 << 20


@beam.typehints.with_input_types(DeadLetter)
@beam.typehints.with_output_types(str)
class WriteDeadLetters(TypedTransform):
    """Writes dead letters as JSON lines.

    ``PCollection[DeadLetter] -> PCollection[str]`` (the paths)

    Bounded input gives ``PREFIX-00000-of-00001.jsonl``, an empty file if there are no dead letters. Unbounded input
    gives directories by the documents' event time, as with `WriteParquet`. Works as the consumer of a Beam
    ``ErrorHandler``.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | beam.Create([kb.Document("empty", "")])
        ...     results = documents | kb.Extract("receipt.json", service=service)
        ...     _ = results.dead_letters | kb.WriteDeadLetters("out4/dead") | beam.Map(print)
        out4/dead-00000-of-00001.jsonl

    Args:
        prefix: The path and the beginning of the files' names.
        rolling: For unbounded input: when files are closed, and whether a directory holds an hour or a day.

    Raises:
        OutputError: When the pipeline is built: the prefix cannot be written to.
        ElementTypeError: When it is applied to other elements.
    """

    def __init__(self, prefix: str, *, rolling: Rolling = DEFAULT_ROLLING) -> None:
        super().__init__()
        self._target = Target.of(prefix, SUFFIX)
        check_writable(FileSystems.split(self._target.prefix)[0] or ".")
        self._rolling = rolling

    def expand(self, dead_letters: beam.PCollection) -> beam.PCollection:
        if not dead_letters.is_bounded:
            written = write_partitions(dead_letters, self._target, self._rolling)
            return written | "Paths" >> beam.FlatMap(written_paths).with_output_types(str)
        staged = stage_dead_letters(dead_letters, self._target)
        return staged | "Commit" >> Commit(self._target, write)


def stage_dead_letters(dead_letters: beam.PCollection, target: Target) -> beam.PCollection:
    """``PCollection[DeadLetter] -> PCollection[Staged]``: complete files that have not got their names yet."""
    return (
        dead_letters
        | "Window" >> Window()
        | "Encode" >> beam.ParDo(_Encode()).with_output_types(bytes)
        | "Files" >> Stage(target, write, 1)
    )


def write_partitions(dead_letters: beam.PCollection, target: Target, rolling: Rolling) -> beam.PCollection:
    """``PCollection[DeadLetter] -> PCollection[WrittenFile]``, for unbounded input."""
    return (
        dead_letters
        | "Window" >> Window()
        | "Encode" >> beam.Map(_piece, rolling.partition).with_output_types(Piece)
        | "Parts" >> WritePartitions(target, STREAM_FORMAT, rolling)
    )


def _piece(dead_letter: DeadLetter, by: Partition) -> Piece:
    return partition_directory(dead_letter.document.arrival, by), (1, encode(dead_letter))


class _Encode(BundlePieces[bytes]):
    """``DeadLetter -> bytes``: JSON lines, about 1 MiB of them together."""

    def __init__(self) -> None:
        super().__init__(b"".join, _PIECE_BYTES)

    def process(self, dead_letter: DeadLetter) -> Iterable[bytes]:
        if not isinstance(dead_letter, DeadLetter):
            raise wrong_element("WriteDeadLetters", dead_letter, DeadLetter)
        line = encode(dead_letter)
        return self.put(line, len(line))


def write(f: BinaryIO, pieces: Iterable[bytes]) -> Summary:
    """Writes one file of encoded lines, and counts what is in it."""
    codes: Counter[str] = Counter()
    usage = Usage()
    for piece in pieces:
        f.write(piece)
        for line in piece.splitlines():
            content = orjson.loads(line)
            codes[content["code"]] += 1
            usage += Usage(**content["usage"])
    return Summary(0, dict(codes), usage)


def _names(piece: bytes) -> list[str | None]:
    return [orjson.loads(line).get("delivery") for line in piece.splitlines()]


def _select(piece: bytes, mask: list[bool]) -> bytes:
    return b"".join(line for line, keep in zip(piece.splitlines(keepends=True), mask, strict=True) if keep)


def _read(f: BinaryIO) -> tuple[list[str | None], Summary]:
    content = f.read()
    return _names(content), write(io.BytesIO(), [content])


STREAM_FORMAT = FileFormat(SUFFIX, write, _names, _select, _read)
"""JSON lines of dead letters, as files of a stream."""
