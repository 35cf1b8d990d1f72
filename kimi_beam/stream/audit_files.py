"""The account of a stream, from the files that it has written: nobody's counts, but what lies there."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError

from kimi_beam.errors import InputError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import absolute, find_all, output
from kimi_beam.output import dead_letters, parquet
from kimi_beam.output.partitions import Read
from kimi_beam.report.summary import FILE_NAME
from kimi_beam.results import dead_letter_lines
from kimi_beam.stream.account import CAME_IN, NOTHING, Account, Names, account
from kimi_beam.stream.read_files import look
from kimi_beam.stream.write_stream import DEAD_LETTERS, DOCUMENTS, EXTRACTIONS

T = TypeVar("T")

# What came in is looked for last: while a job runs, what has left meanwhile then still came in.
_SUFFIXES = {EXTRACTIONS: parquet.SUFFIX, DEAD_LETTERS: dead_letter_lines.SUFFIX, DOCUMENTS: parquet.SUFFIX}
_SOURCE = pa.schema([CAME_IN.field("source")])
_DAY = re.compile(r"event_date=[^/]+")


def account_of(directory: str) -> Account:
    """The account of what `WriteStream` has written to a directory.

    One day of event time is read after the other: a delivery has one event time.

    Raises:
        InputError: There is no stream's output, or it does not say what came in, or a file cannot be read.
    """
    days = _by_day(directory)
    if not any(files[DOCUMENTS] for files in days.values()):
        raise InputError(_why_not(directory, is_stream=any(any(files.values()) for files in days.values())))
    return sum((_account(files) for _, files in sorted(days.items())), NOTHING)


def _why_not(directory: str, *, is_stream: bool) -> str:
    """Why a directory has no account, for a person who may have named any directory."""
    path = output(directory)
    if is_stream:
        return (
            f"{path} holds a stream's rows and dead letters, but not what came in: audit needs its documents/, which "
            "WriteStream(documents=…) writes"
        )
    if FileSystems.exists(FileSystems.join(path, FILE_NAME)):
        return (
            f"{path} is the result of a run that has ended, and such a run checks by itself that each document left "
            f"once: its counts are in {FileSystems.join(path, FILE_NAME)}. audit is for streams, which have no end"
        )
    if not FileSystems.exists(path):
        return f"there is no {path}"
    return (
        f"{path} holds no result of a stream: audit needs the directory that the stream was told to write to (--output)"
    )


def files_without(directory: str, patterns: Sequence[str]) -> list[str]:
    """The files that match now and that no document came from; those that hold nothing apart."""
    sources: set[str] = set()
    for files in _by_day(directory).values():
        for path in files[DOCUMENTS]:
            column = _opened(path, _columns(_SOURCE))["source"]
            sources.update(absolute(source) for source in column.unique().to_pylist() if source)
    found = [file for _, some in look(tuple(patterns), float("inf")) for file in some]
    return sorted(file.path for file in found if file.size and absolute(file.path) not in sources)


def _by_day(directory: str) -> dict[str, dict[str, list[str]]]:
    """The files of each kind, by day: a directory may hold hours, and days of a job that was started otherwise."""
    days: dict[str, dict[str, list[str]]] = defaultdict(lambda: {kind: [] for kind in _SUFFIXES})
    for kind, suffix in _SUFFIXES.items():
        root = FileSystems.join(output(directory), kind)
        for found in find_all(tuple(f"{root}/event_date=*/{below}*{suffix}" for below in ("", "event_hour=*/"))):
            days[_DAY.findall(found.path)[-1]][kind].append(found.path)
    return days


def _account(files: dict[str, list[str]]) -> Account:
    documents = [_opened(path, _columns(CAME_IN)) for path in files[DOCUMENTS]]
    rows = _deliveries(files[EXTRACTIONS], parquet.read)
    letters = _deliveries(files[DEAD_LETTERS], dead_letters.PARTS.read)
    return account(pa.concat_tables([CAME_IN.empty_table(), *documents]), rows, letters)


def _deliveries(paths: Sequence[str], read: Read) -> Names:
    return pa.chunked_array([pa.array(_opened(path, read)[0], pa.string()) for path in paths], pa.string())


def _columns(schema: pa.Schema) -> Callable[[BinaryIO], pa.Table]:
    return lambda f: pq.ParquetFile(f).read(columns=schema.names).cast(schema)


def _opened(path: str, read: Callable[[BinaryIO], T]) -> T:
    try:
        with FileSystems.open(path) as f:
            return read(f)
    except (OSError, BeamIOError, ValueError, KeyError, pa.ArrowException) as e:
        raise InputError(f"cannot read {path}: {' '.join(str(e).split())[:300]}") from None
