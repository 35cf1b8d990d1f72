"""Staging for sets of files: written in a staging directory, renamed together when all of the set are complete.

::

    bytes ─▶ GroupByKey (a file each) ─▶ Stage ─▶ Staged ─▶ all of them ─▶ commit ─▶ paths

A retried bundle stages its file again under another name. Only the files that the successful attempts report are
renamed, and the staging directory is deleted with all others. So a run that fails leaves no file of the dataset.
"""

from __future__ import annotations

import re
import uuid
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, NamedTuple, TypeVar

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from kimi_beam.errors import ConfigError, OutputError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import is_local, listing, output
from kimi_beam.files.whole_files import (
    create_whole,
    file_size,
    make_directory,
    new_staging,
    remove,
    remove_abandoned,
    remove_directory,
    rename,
)
from kimi_beam.report.summary import Summary

T = TypeVar("T")

WriteFile = Callable[[BinaryIO, Iterable[bytes]], Summary]
"""Writes one file from encoded pieces, of which there may be none, and returns the counts of its content."""

_FILES = "files"


class Staged(NamedTuple):
    """A complete file that has not got its name yet."""

    temporary: str
    size: int
    summary: Summary


class Target(NamedTuple):
    """Where a set of files goes: ``PREFIX-00000-of-00003SUFFIX``."""

    prefix: str
    suffix: str
    staging: str
    """The staging directory, in which files are written."""

    @classmethod
    def of(cls, prefix: str, suffix: str) -> Target:
        """A target with a staging directory of its own beside it.

        Raises:
            OutputError: The prefix cannot be written to.
        """
        path = output(prefix, prefix=True)
        return cls(path, suffix, new_staging(FileSystems.split(path)[0] or "."))

    def name(self, index: int, count: int) -> str:
        """The final path of one file."""
        return f"{self.prefix}-{index:05d}-of-{count:05d}{self.suffix}"

    def existing(self) -> list[str]:
        """The files of an earlier run whose names are of exactly this pattern."""
        directory, base = FileSystems.split(self.prefix)
        ours = re.compile(re.escape(base) + r"-\d{5,}-of-\d{5,}" + re.escape(self.suffix))
        return [f.path for f in listing(directory or ".") if ours.fullmatch(FileSystems.split(f.path)[1])]


@beam.typehints.with_input_types(T)
@beam.typehints.with_output_types(T)
class Window(beam.PTransform):
    """``PCollection[T] -> PCollection[T]``: moves all elements to the global window, so that files span windows."""

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        if elements.windowing.is_default():
            return elements
        return elements | "Global" >> beam.WindowInto(GlobalWindows())


@beam.typehints.with_input_types(bytes)
@beam.typehints.with_output_types(Staged)
class Stage(beam.PTransform):
    """``PCollection[bytes] -> PCollection[Staged]``: joins pieces into files and stages them.

    Args:
        target: Where the files will go.
        write: Writes one file.
        files: The most files that the pieces are spread over.

    Raises:
        ConfigError: `files` is below 1.
        OutputError: The runner's workers cannot write there.
    """

    def __init__(self, target: Target, write: WriteFile, files: int) -> None:
        super().__init__()
        if files < 1:
            raise ConfigError("files: at least one")
        self._target, self._write, self._files = target, write, files

    def expand(self, pieces: beam.PCollection) -> beam.PCollection:
        check_runner(pieces.pipeline, self._target)
        return (
            pieces
            | "Spread" >> beam.Map(_with_key, self._files).with_output_types(tuple[int, bytes])
            | "Collect" >> beam.GroupByKey()
            | "Stage" >> beam.Map(_stage, self._target, self._write).with_output_types(Staged)
        )


def check_runner(pipeline: beam.Pipeline, target: Target) -> None:
    """Refuses a target that the runner's workers cannot write to.

    Raises:
        OutputError: The target is on this machine, and the workers are not.
    """
    if "Dataflow" in type(pipeline.runner).__name__ and is_local(target.prefix):
        path = target.prefix
        raise OutputError(f"{path} is on this machine, where Dataflow's workers cannot write: name gs://BUCKET/…")


def _with_key(piece: bytes, files: int) -> tuple[int, bytes]:
    return zlib.crc32(piece) % files, piece


def _stage(group: tuple[int, Iterable[bytes]], target: Target, write: WriteFile) -> Staged:
    return stage(group[1], target, write)


def stage(pieces: Iterable[bytes], target: Target, write: WriteFile) -> Staged:
    """Writes one file in the staging directory."""
    temporary = FileSystems.join(target.staging, f"{uuid.uuid4().hex}{target.suffix}")
    make_directory(target.staging)
    with create_whole(temporary) as f:
        summary = write(f, pieces)
    return Staged(temporary, file_size(temporary) or 0, summary)


@beam.typehints.with_output_types(dict[str, Any])
class Gather(beam.PTransform):
    """``{name: PCollection[T]} -> PCollection[dict[str, list[T]]]``: all elements as one value, even if there are none.

    For bounded input. It is a grouping and not side inputs, because a job on Flink that has side inputs fails at its
    first checkpoint (observed with Beam 2.62: the runner's `MapCoder` is given bytes for windowed values).
    """

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        pipeline = next(iter(inputs.values())).pipeline
        named = [
            elements | f"Key {name}" >> beam.Map(_named, name).with_output_types(_Named)
            for name, elements in inputs.items()
        ]
        once = pipeline | "Once" >> beam.Create([("", ("", None))], reshuffle=False).with_output_types(_Named)
        # `CoGroupByKey` would do the same, but its steps lack the declared types that
        # `--type_check_strictness=ALL_REQUIRED` demands.
        return (
            (*named, once)
            | "Together" >> beam.Flatten().with_output_types(_Named)
            | "Group" >> beam.GroupByKey()
            | "Lists" >> beam.Map(_lists, tuple(inputs)).with_output_types(dict[str, Any])
        )


_Named = tuple[str, tuple[str, Any]]
"""An empty key, the same for all, and an element with the name of its PCollection."""


def _named(element: Any, name: str) -> _Named:
    return "", (name, element)


def _lists(group: tuple[str, Iterable[tuple[str, Any]]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    lists: dict[str, list[Any]] = {name: [] for name in names}
    for name, element in group[1]:
        if name:
            lists[name].append(element)
    return lists


@beam.typehints.with_input_types(Staged)
@beam.typehints.with_output_types(str)
class Commit(beam.PTransform):
    """``PCollection[Staged] -> PCollection[str]``: gives all staged files of a set their names, and returns the paths.

    For bounded input. If no file was staged, an empty one is written.
    """

    def __init__(self, target: Target, write: WriteFile) -> None:
        super().__init__()
        self._target, self._write = target, write

    def expand(self, staged: beam.PCollection) -> beam.PCollection:
        gathered = {_FILES: staged} | "Gather" >> Gather()
        return gathered | "Name" >> beam.FlatMap(_commit, self._target, self._write).with_output_types(str)


def _commit(gathered: dict[str, list[Staged]], target: Target, write: WriteFile) -> list[str]:
    return commit(gathered[_FILES], target, write)


def commit(staged: Sequence[Staged], target: Target, write: WriteFile) -> list[str]:
    """Gives all files of a set their names, an empty one if there are none, and deletes the staging directory."""
    finals = name_all(staged or [stage((), target, write)], target)
    remove_directory(target.staging)
    remove_abandoned(FileSystems.split(target.prefix)[0] or ".")
    return finals


def name_all(staged: Sequence[Staged], target: Target) -> list[str]:
    """Gives all files of a set their names, and removes an earlier run's files of such names. Safe to repeat."""
    files = sorted(staged, key=lambda file: file.temporary)
    finals = [target.name(index, len(files)) for index in range(len(files))]
    remove(path for path in target.existing() if path not in finals)
    for file, final in zip(files, finals, strict=True):
        rename(file.temporary, final, file.size)
    return finals
