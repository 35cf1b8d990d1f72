"""Files that appear whole or not at all, on any filesystem of Beam."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from apache_beam.io.filesystem import BeamIOError, CompressionTypes

from kimi_beam.errors import OutputError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import is_local, listing
from kimi_beam.files.store_errors import in_one_line

_STAGING = ".staging-"


_ABANDONED_AFTER = 86_400.0
"""Seconds after which a staging directory is taken for one that a killed run left. Longer than a job may run."""


def new_staging(parent: str) -> str:
    """The path of a staging directory that nobody else has."""
    path: str = FileSystems.join(parent, f"{_STAGING}{uuid.uuid4().hex}")
    return path


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
