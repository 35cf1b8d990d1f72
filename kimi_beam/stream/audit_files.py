"""Reads the files that a stream has written and compares them: what came in, and what became of it."""

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
from kimi_beam.stream.read_files import look
from kimi_beam.stream.reconciliation import DELIVERIES, NOTHING, DeliveryNames, Reconciliation, reconcile
from kimi_beam.stream.write_stream import DEAD_LETTERS, DOCUMENTS, EXTRACTIONS

T = TypeVar("T")

# Deliveries are listed last. While a job runs, a row that is listed before its delivery would look like a stranger if
# the deliveries were listed first.
_SUFFIXES = {EXTRACTIONS: parquet.SUFFIX, DEAD_LETTERS: dead_letter_lines.SUFFIX, DOCUMENTS: parquet.SUFFIX}
_SOURCE = pa.schema([DELIVERIES.field("source")])
_DAY = re.compile(r"event_date=[^/]+")


def reconcile_directory(directory: str) -> Reconciliation:
    """Compares all that `WriteStream` has written to a directory.

    Days of event time are compared one by one, so that only one has to fit into memory. They share no delivery, because
    a delivery has one event time.

    Raises:
        InputError: The directory is not the output of a stream, or has no ``documents/``, or a file cannot be read.
    """
    days = _by_day(directory)
    if not any(files[DOCUMENTS] for files in days.values()):
        raise InputError(_not_auditable(directory, is_stream=any(any(files.values()) for files in days.values())))
    return sum((_reconcile_day(files) for _, files in sorted(days.items())), NOTHING)


def _not_auditable(directory: str, *, is_stream: bool) -> str:
    """Says why a directory cannot be audited. The user may have named any directory."""
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
    """The input files that match now, are not empty, and have given no document yet."""
    sources: set[str] = set()
    for files in _by_day(directory).values():
        for path in files[DOCUMENTS]:
            column = _read_file(path, _columns(_SOURCE))["source"]
            sources.update(absolute(source) for source in column.unique().to_pylist() if source)
    found = [file for _, bucket in look(tuple(patterns), float("inf")) for file in bucket]
    return sorted(file.path for file in found if file.size and absolute(file.path) not in sources)


def _by_day(directory: str) -> dict[str, dict[str, list[str]]]:
    """The files of each kind by day. A directory may hold partitions of hours and of days: `Rolling` can be changed."""
    days: dict[str, dict[str, list[str]]] = defaultdict(lambda: {kind: [] for kind in _SUFFIXES})
    for kind, suffix in _SUFFIXES.items():
        root = FileSystems.join(output(directory), kind)
        for found in find_all(tuple(f"{root}/event_date=*/{below}*{suffix}" for below in ("", "event_hour=*/"))):
            days[_DAY.findall(found.path)[-1]][kind].append(found.path)
    return days


def _reconcile_day(files: dict[str, list[str]]) -> Reconciliation:
    documents = [_read_file(path, _columns(DELIVERIES)) for path in files[DOCUMENTS]]
    rows = _deliveries(files[EXTRACTIONS], parquet.read)
    letters = _deliveries(files[DEAD_LETTERS], dead_letters.STREAM_FORMAT.read)
    return reconcile(pa.concat_tables([DELIVERIES.empty_table(), *documents]), rows, letters)


def _deliveries(paths: Sequence[str], read: Read) -> DeliveryNames:
    return pa.chunked_array([pa.array(_read_file(path, read)[0], pa.string()) for path in paths], pa.string())


def _columns(schema: pa.Schema) -> Callable[[BinaryIO], pa.Table]:
    return lambda f: pq.ParquetFile(f).read(columns=schema.names).cast(schema)


def _read_file(path: str, read: Callable[[BinaryIO], T]) -> T:
    try:
        with FileSystems.open(path) as f:
            return read(f)
    except (OSError, BeamIOError, ValueError, KeyError, pa.ArrowException) as e:
        raise InputError(f"cannot read {path}: {' '.join(str(e).split())[:300]}") from None
