"""Files that appear whole or not at all: written aside, renamed when everything that belongs together is there.

::

    bytes ─▶ GroupByKey (a file each) ─▶ Stage ─▶ Staged ─▶ all of them ─▶ commit ─▶ paths

A retried bundle stages its file anew under another name; only what the last attempt reports is renamed, and the staging
directory goes with all that was left in it. So a run that fails leaves no file of the dataset.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.trigger import AccumulationMode, AfterProcessingTime, Repeatedly
from apache_beam.transforms.window import GlobalWindows

from kimi_beam.summary import Summary

WriteFile = Callable[[BinaryIO, Iterable[bytes]], Summary]
"""Writes one file of encoded pieces, perhaps none, and says what is in it."""


class Staged(NamedTuple):
    """A file that is whole and waits for its name."""

    temporary: str
    summary: Summary


class Target(NamedTuple):
    """Where a set of files goes: ``PREFIX-00000-of-00003SUFFIX``."""

    prefix: str
    suffix: str
    staging: str
    """The directory that files are written in until they are whole."""

    @classmethod
    def of(cls, prefix: str, suffix: str) -> Target:
        """A target with a staging directory of its own beside it."""
        parent, _ = FileSystems.split(prefix)
        return cls(prefix, suffix, FileSystems.join(parent or ".", f".staging-{uuid.uuid4().hex}"))

    def name(self, index: int, count: int) -> str:
        """The final path of one file."""
        return f"{self.prefix}-{index:05d}-of-{count:05d}{self.suffix}"

    def existing(self) -> list[str]:
        """Files that an earlier run left under this target's names."""
        return [m.path for r in FileSystems.match([f"{self.prefix}-*-of-*{self.suffix}"]) for m in r.metadata_list]


class Stage(beam.PTransform):
    """``PCollection[bytes] -> PCollection[Staged]``: brings pieces together into whole files.

    Args:
        target: Where they will go.
        write: Writes one file.
        files: How many files the pieces are spread over, at most.
        every: For unbounded input: seconds between files. None: the input is bounded.
    """

    def __init__(self, target: Target, write: WriteFile, files: int, every: float | None = None) -> None:
        super().__init__()
        self._target, self._write, self._files, self._every = target, write, files, every

    def expand(self, pieces: beam.PCollection) -> beam.PCollection:
        if self._every is not None:
            # By processing time in the global window: no answer can be late for its file.
            pieces = pieces | "Every" >> beam.WindowInto(
                GlobalWindows(),
                trigger=Repeatedly(AfterProcessingTime(int(self._every))),
                accumulation_mode=AccumulationMode.DISCARDING,
            )
        elif not pieces.windowing.is_default():
            pieces = pieces | "GlobalWindow" >> beam.WindowInto(GlobalWindows())
        return (
            pieces
            | "Spread" >> beam.Map(_with_key, self._files).with_output_types(tuple[int, bytes])
            | "Collect" >> beam.GroupByKey()
            | "Stage" >> beam.Map(_stage, self._target, self._write).with_output_types(Staged)
        )


def _with_key(piece: bytes, files: int) -> tuple[int, bytes]:
    return zlib.crc32(piece) % files, piece


def _stage(group: tuple[int, Iterable[bytes]], target: Target, write: WriteFile) -> Staged:
    return stage(group[1], target, write)


def stage(pieces: Iterable[bytes], target: Target, write: WriteFile) -> Staged:
    """Writes one file aside."""
    temporary = FileSystems.join(target.staging, f"{uuid.uuid4().hex}{target.suffix}")
    make_directory(target.staging)
    with FileSystems.create(temporary, compression_type="uncompressed") as f:
        summary = write(f, pieces)
    return Staged(temporary, summary)


class Commit(beam.PTransform):
    """``PCollection[Staged] -> PCollection[str]``: gives all staged files of a set their names; the paths come out.

    Bounded input always has at least one file: without any, an empty one is written. Unbounded input has each file
    named as it comes.
    """

    def __init__(self, target: Target, write: WriteFile, *, bounded: bool) -> None:
        super().__init__()
        self._target, self._write, self._bounded = target, write, bounded

    def expand(self, staged: beam.PCollection) -> beam.PCollection:
        if not self._bounded:
            return staged | "Name" >> beam.Map(_name_alone, self._target).with_output_types(str)
        return (
            staged.pipeline
            | "Once" >> beam.Create([None])
            | "Name"
            >> beam.FlatMap(
                _commit,
                beam.pvalue.AsList(staged),
                self._target,
                self._write,
            ).with_output_types(str)
        )


def _commit(_: None, staged: Sequence[Staged], target: Target, write: WriteFile) -> list[str]:
    return commit(staged, target, write)


def _name_alone(staged: Staged, target: Target) -> str:
    _, name = FileSystems.split(staged.temporary)
    final = f"{target.prefix}-{name}"
    rename([staged.temporary], [final])
    return final


def commit(staged: Sequence[Staged], target: Target, write: WriteFile) -> list[str]:
    """Names all files of a set, at least one, and clears up."""
    finals = name_all(staged or [stage((), target, write)], target)
    remove_directory(target.staging)
    return finals


def name_all(staged: Sequence[Staged], target: Target) -> list[str]:
    """Names all files of a set and removes what an earlier run left under such names. Safe to repeat."""
    files = sorted(staged, key=lambda file: file.temporary)
    finals = [target.name(index, len(files)) for index in range(len(files))]
    remove(path for path in target.existing() if path not in finals)
    rename([file.temporary for file in files], finals)
    return finals


# ------------------------------------------------------------------------------------------------ filesystem


def make_directory(path: str) -> None:
    """Creates a directory that may be there already."""
    try:
        FileSystems.mkdirs(path)
    except (BeamIOError, OSError):
        if not FileSystems.exists(path):
            raise


def rename(sources: Sequence[str], destinations: Sequence[str]) -> None:
    """Renames, replacing what is there; a source that is gone was renamed by an earlier attempt."""
    for source, destination in zip(sources, destinations, strict=True):
        if FileSystems.exists(source):
            if FileSystems.exists(destination):
                FileSystems.delete([destination])
            FileSystems.rename([source], [destination])
        elif not FileSystems.exists(destination):
            raise FileNotFoundError(f"the staged file {source} is gone")


def remove(paths: Iterable[str]) -> None:
    """Deletes files."""
    found = list(paths)
    if found:
        FileSystems.delete(found)


def remove_directory(path: str) -> None:
    """Deletes a directory with all that is in it; one that is not there is no error."""
    if FileSystems.exists(path):
        FileSystems.delete([path])


def write_whole(path: str, content: bytes, staging: str) -> None:
    """Writes a small file so that it appears whole."""
    make_directory(staging)
    temporary = FileSystems.join(staging, uuid.uuid4().hex)
    with FileSystems.create(temporary, compression_type="uncompressed") as f:
        f.write(content)
    rename([temporary], [path])
