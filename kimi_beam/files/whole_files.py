"""Files that appear complete or not at all, on any filesystem that Beam knows: staged, then renamed.

A staged file, or a directory of them, has a name that begins with ``.staging-``. One that a killed run left behind is
removed by a later run, once it is old enough.
"""

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
"""Seconds without a change after which a staging directory counts as left behind by a killed run."""


def new_staging(parent: str) -> str:
    """A path for a staging directory or file that no other run or attempt uses."""
    path: str = FileSystems.join(parent, f"{_STAGING}{uuid.uuid4().hex}")
    return path


def make_directory(path: str) -> None:
    """Creates a directory, unless it exists."""
    try:
        FileSystems.mkdirs(path)
    except (BeamIOError, OSError):
        if not FileSystems.exists(path):
            raise


def rename(source: str, destination: str, size: int) -> None:
    """Renames a staged file, replacing a file of that name. Safe to repeat, even by two attempts at once.

    Args:
        source: The staged file.
        destination: Its final name.
        size: Its size in bytes, by which a file that an earlier attempt has renamed is recognised.

    Raises:
        FileNotFoundError: The staged file is gone, and the destination is not the same file.
    """
    try:
        FileSystems.rename([source], [destination])
    except (BeamIOError, OSError):
        if file_size(source) is None:
            if file_size(destination) != size:
                raise FileNotFoundError(f"the staged file {source} is gone") from None
            return  # an earlier attempt has renamed it
        if file_size(destination) is None:
            raise
        # HDFS, for one, does not replace an existing file.
        FileSystems.delete([destination])
        FileSystems.rename([source], [destination])


def file_size(path: str) -> int | None:
    """The size of a file in bytes; None if it does not exist."""
    (result,) = FileSystems.match([path])
    return next((m.size_in_bytes for m in result.metadata_list), None)


def remove(paths: Iterable[str]) -> None:
    """Deletes files, if any are named."""
    found = list(paths)
    if found:
        FileSystems.delete(found)


def remove_directory(path: str) -> None:
    """Deletes a directory of files. A directory that does not exist is no error."""
    with contextlib.suppress(BeamIOError, OSError):  # another attempt may be deleting it as well
        remove(f.path for f in listing(path))
        if is_local(path) and FileSystems.exists(path):
            FileSystems.delete([path])


def remove_abandoned(directory: str, now: float | None = None) -> None:
    """Removes staged files and directories that killed runs have left behind.

    A directory is as old as its newest file: a run of more than a day has older files, and is still working.

    Args:
        directory: The directory that was written to.
        now: Unix seconds. None: the present.
    """
    pattern = FileSystems.join(directory, f"{_STAGING}*")
    oldest = (time.time() if now is None else now) - _ABANDONED_AFTER
    # Aborting needs a permission of its own; if it is lacking, the next run tries again.
    with contextlib.suppress(BeamIOError, OSError):
        FileSystems.abort_uploads(FileSystems.join(directory, _STAGING), oldest)
    files, inside = FileSystems.match([pattern, FileSystems.join(pattern, "*")])
    newest: dict[str, float] = {}
    for m in (*files.metadata_list, *inside.metadata_list):
        parent, name = FileSystems.split(m.path)
        staged = m.path if name.startswith(_STAGING) else parent
        newest[staged] = max(newest.get(staged, 0.0), m.last_updated_in_seconds or 0.0)
    single_files = {m.path for m in files.metadata_list}
    for staged, changed in newest.items():
        if changed >= oldest:
            continue
        if staged in single_files:
            with contextlib.suppress(BeamIOError, OSError):  # another run may be deleting it as well
                FileSystems.delete([staged])
        else:
            remove_directory(staged)


@contextlib.contextmanager
def create_whole(path: str, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """A new file to write to, which is deleted if it cannot be written to its end: a disk may be full.

    Args:
        path: The new file.
        mode: Its permissions, as for ``chmod``. Only for a local file. None: by the umask.
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
            e.filename = path  # "no space left" alone does not say on which disk
        raise


def write_whole(path: str, content: bytes) -> None:
    """Writes a small file that appears complete or not at all."""
    if FileSystems.writes_whole(path):
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as f:
            f.write(content)
        return
    temporary = new_staging(FileSystems.split(path)[0] or ".")
    with create_whole(temporary) as f:
        f.write(content)
    rename(temporary, path, len(content))


def check_writable(directory: str) -> None:
    """Creates a missing directory, and checks that files can be written, renamed and deleted in it.

    Raises:
        OutputError: The directory cannot be created, or one of these fails.
    """
    try:
        probe = new_staging(directory)
        make_directory(directory)
        with FileSystems.create(probe, compression_type=CompressionTypes.UNCOMPRESSED):
            pass
        if not is_local(directory):
            # An object store may allow some of these operations and refuse others.
            listing(directory)
            FileSystems.rename([probe], [f"{probe}-"])
            probe += "-"
        FileSystems.delete([probe])
    except Exception as e:  # each store's library has errors of its own
        raise OutputError(f"cannot write to {directory}: {in_one_line(directory, e)}") from None
