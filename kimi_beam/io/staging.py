"""Files that appear whole or not at all: written aside, renamed when everything that belongs together is there.

::

    bytes ─▶ GroupByKey (a file each) ─▶ Stage ─▶ Staged ─▶ all of them ─▶ commit ─▶ paths

A retried bundle stages its file anew under another name; only what the last attempt reports is renamed, and the staging
directory goes with all that was left in it. So a run that fails leaves no file of the dataset.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.transforms.window import GlobalWindows

from kimi_beam.errors import ConfigError, OutputError
from kimi_beam.io.paths import is_local, listing, output
from kimi_beam.stores import FileSystems, in_one_line
from kimi_beam.summary import Summary

T = TypeVar("T")

WriteFile = Callable[[BinaryIO, Iterable[bytes]], Summary]
"""Writes one file of encoded pieces, perhaps none, and says what is in it."""

_STAGING = ".staging-"
_FILES = "files"
_ABANDONED_AFTER = 86_400.0
"""Seconds after which a staging directory is taken for one that a killed run left. Longer than a job may run."""


class Staged(NamedTuple):
    """A file that is whole and waits for its name."""

    temporary: str
    size: int
    summary: Summary


class Target(NamedTuple):
    """Where a set of files goes: ``PREFIX-00000-of-00003SUFFIX``."""

    prefix: str
    suffix: str
    staging: str
    """The directory that files are written in until they are whole."""

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
        """Files that an earlier run left under exactly this target's names."""
        directory, base = FileSystems.split(self.prefix)
        ours = re.compile(re.escape(base) + r"-\d{5,}-of-\d{5,}" + re.escape(self.suffix))
        return [f.path for f in listing(directory or ".") if ours.fullmatch(FileSystems.split(f.path)[1])]


def new_staging(parent: str) -> str:
    """The path of a staging directory that nobody else has."""
    path: str = FileSystems.join(parent, f"{_STAGING}{uuid.uuid4().hex}")
    return path


@beam.typehints.with_input_types(T)
@beam.typehints.with_output_types(T)
class Window(beam.PTransform):
    """``PCollection[T] -> PCollection[T]``: brings everything into the global window before it is put into files."""

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        if elements.windowing.is_default():
            return elements
        return elements | "Global" >> beam.WindowInto(GlobalWindows())


@beam.typehints.with_input_types(bytes)
@beam.typehints.with_output_types(Staged)
class Stage(beam.PTransform):
    """``PCollection[bytes] -> PCollection[Staged]``: brings pieces together into whole files.

    Args:
        target: Where they will go.
        write: Writes one file.
        files: How many files the pieces are spread over, at most.

    Raises:
        ConfigError: No file at all.
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
    """Refuses a place where the runner's workers cannot write.

    Raises:
        OutputError: Saying why.
    """
    if "Dataflow" in type(pipeline.runner).__name__ and is_local(target.prefix):
        place = target.prefix
        raise OutputError(f"{place} is on this machine, where Dataflow's workers cannot write: name gs://BUCKET/…")


def _with_key(piece: bytes, files: int) -> tuple[int, bytes]:
    return zlib.crc32(piece) % files, piece


def _stage(group: tuple[int, Iterable[bytes]], target: Target, write: WriteFile) -> Staged:
    return stage(group[1], target, write)


def stage(pieces: Iterable[bytes], target: Target, write: WriteFile) -> Staged:
    """Writes one file aside."""
    temporary = FileSystems.join(target.staging, f"{uuid.uuid4().hex}{target.suffix}")
    make_directory(target.staging)
    with whole(temporary) as f:
        summary = write(f, pieces)
    return Staged(temporary, _size(temporary) or 0, summary)


@beam.typehints.with_output_types(dict[str, Any])
class Gather(beam.PTransform):
    """``{name: PCollection[T]} -> PCollection[dict[str, list[T]]]``: all there is as one value, even nothing.

    For bounded input. By a grouping: a job on Flink that has side inputs fails at its first checkpoint (the runner's
    `MapCoder` is given bytes for windowed values; 2.62).
    """

    def expand(self, parts: dict[str, beam.PCollection]) -> beam.PCollection:
        pipeline = next(iter(parts.values())).pipeline
        named = [
            part | f"Key {name}" >> beam.Map(_named, name).with_output_types(_Named) for name, part in parts.items()
        ]
        once = pipeline | "Once" >> beam.Create([("", ("", None))], reshuffle=False).with_output_types(_Named)
        # Not `CoGroupByKey`: its steps have no declared types, which `--type_check_strictness=ALL_REQUIRED` asks for.
        return (
            (*named, once)
            | "Together" >> beam.Flatten().with_output_types(_Named)
            | "Group" >> beam.GroupByKey()
            | "Lists" >> beam.Map(_lists, tuple(parts)).with_output_types(dict[str, Any])
        )


_Named = tuple[str, tuple[str, Any]]
"""One key for all, and an element with the name of its PCollection."""


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
    """``PCollection[Staged] -> PCollection[str]``: gives all staged files of a set their names; the paths come out.

    For bounded input. At least one file: without any, an empty one is written.
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
    """Names all files of a set, at least one, and clears up."""
    finals = name_all(staged or [stage((), target, write)], target)
    remove_directory(target.staging)
    remove_abandoned(FileSystems.split(target.prefix)[0] or ".")
    return finals


def name_all(staged: Sequence[Staged], target: Target) -> list[str]:
    """Names all files of a set and removes what an earlier run left under such names. Safe to repeat."""
    files = sorted(staged, key=lambda file: file.temporary)
    finals = [target.name(index, len(files)) for index in range(len(files))]
    remove(path for path in target.existing() if path not in finals)
    for file, final in zip(files, finals, strict=True):
        rename(file.temporary, final, file.size)
    return finals


# ------------------------------------------------------------------------------------------------ filesystem


def make_directory(path: str) -> None:
    """Creates a directory that may be there already."""
    try:
        FileSystems.mkdirs(path)
    except (BeamIOError, OSError):
        if not FileSystems.exists(path):
            raise


def rename(source: str, destination: str, size: int) -> None:
    """Renames a file, replacing what is there. Safe to repeat, also by two attempts at once.

    Args:
        source: A staged file.
        destination: Its name.
        size: Bytes of the file: what an earlier attempt renamed has just as many.

    Raises:
        FileNotFoundError: The staged file is gone and was not renamed.
    """
    try:
        FileSystems.rename([source], [destination])
    except (BeamIOError, OSError):
        if _size(source) is None:
            if _size(destination) != size:
                raise FileNotFoundError(f"the staged file {source} is gone") from None
            return  # an earlier attempt was here
        if _size(destination) is None:
            raise
        # A filesystem that does not replace (HDFS).
        FileSystems.delete([destination])
        FileSystems.rename([source], [destination])


def _size(path: str) -> int | None:
    """Bytes of a file, None where there is none."""
    (result,) = FileSystems.match([path])
    return next((m.size_in_bytes for m in result.metadata_list), None)


def remove(paths: Iterable[str]) -> None:
    """Deletes files."""
    found = list(paths)
    if found:
        FileSystems.delete(found)


def remove_directory(path: str) -> None:
    """Deletes a directory of files; one that is not there is no error."""
    with contextlib.suppress(BeamIOError, OSError):  # another attempt deletes it too
        remove(f.path for f in listing(path))
        if is_local(path) and FileSystems.exists(path):
            FileSystems.delete([path])


def remove_abandoned(directory: str, now: float | None = None) -> None:
    """Removes what killed runs have left aside, known by its age: what is younger may be at work."""
    pattern = FileSystems.join(directory, f"{_STAGING}*")
    oldest = (time.time() if now is None else now) - _ABANDONED_AFTER
    with contextlib.suppress(BeamIOError, OSError):  # it needs a permission of its own, and is repeated by the next run
        FileSystems.abort_uploads(FileSystems.join(directory, _STAGING), oldest)
    files, inside = FileSystems.match([pattern, FileSystems.join(pattern, "*")])
    newest: dict[str, float] = {}
    for m in (*files.metadata_list, *inside.metadata_list):
        parent, name = FileSystems.split(m.path)
        aside = m.path if name.startswith(_STAGING) else parent
        newest[aside] = max(newest.get(aside, 0.0), m.last_updated_in_seconds or 0.0)
    alone = {m.path for m in files.metadata_list}
    for aside, changed in newest.items():
        if changed >= oldest:
            continue
        if aside in alone:
            with contextlib.suppress(BeamIOError, OSError):  # another run removes it too
                FileSystems.delete([aside])
        else:
            remove_directory(aside)


@contextlib.contextmanager
def whole(path: str, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """A new file that is removed again where it cannot be written to its end: a disk may be full.

    Args:
        path: Its name.
        mode: Who may read and write it, as for ``chmod``; only for a file of this machine. None: by the umask.
    """
    try:
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as f:
            if mode is not None:
                Path(path).chmod(mode)
            yield f
    except BaseException as e:
        with contextlib.suppress(BeamIOError, OSError):
            FileSystems.delete([path])
        if isinstance(e, OSError) and e.errno is not None and e.filename is None:
            e.filename = path  # "no space left" alone does not say where
        raise


def write_whole(path: str, content: bytes) -> None:
    """Writes a small file so that it appears whole."""
    if FileSystems.writes_whole(path):
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as f:
            f.write(content)
        return
    temporary = new_staging(FileSystems.split(path)[0] or ".")
    with whole(temporary) as f:
        f.write(content)
    rename(temporary, path, len(content))


def check_writable(directory: str) -> None:
    """Creates a directory that is missing, and finds out whether files can be written, renamed and deleted in it.

    Raises:
        OutputError: They cannot.
    """
    try:
        probe = new_staging(directory)
        make_directory(directory)
        with FileSystems.create(probe, compression_type=CompressionTypes.UNCOMPRESSED):
            pass
        if not is_local(directory):
            # An object store may allow one and not the other.
            listing(directory)
            FileSystems.rename([probe], [f"{probe}-"])
            probe += "-"
        FileSystems.delete([probe])
    except Exception as e:  # a store raises what its own library does
        raise OutputError(f"cannot write to {directory}: {in_one_line(directory, e)}") from None
