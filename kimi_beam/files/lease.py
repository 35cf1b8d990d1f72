"""A lease on a directory: while one run works in it, a second one is refused.

This is best effort, because Beam's filesystems cannot create a file only if it does not exist. Two runs that both get
through lose and double nothing, because each names its files in one step and every file of the journal has a name of
its own. They may both pay for documents that both submit.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import orjson
from apache_beam.io.filesystem import BeamIOError, CompressionTypes

from kimi_beam.errors import OutputError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import listing, make_private, output
from kimi_beam.files.whole_files import write_whole

_PREFIX = ".lease-"
TERM = 90.0
"""Seconds after which a lease that was not renewed has lapsed. A lease of this machine lapses when its process ends."""


@contextlib.contextmanager
def lease(directory: str, *, clock: Callable[[], float] = time.time, private: bool = False) -> Iterator[None]:
    """Takes a directory for this process until the block ends.

    Args:
        directory: It is created if it is missing.
        clock: The time, in Unix seconds.
        private: Whether a directory that has to be created is readable by its owner alone.

    Raises:
        OutputError: Another run has the lease, or the directory cannot be written.
    """
    root = output(directory)
    try:
        if private:
            make_private(root)
        if not FileSystems.exists(root):
            FileSystems.mkdirs(root)
    except ValueError as e:  # the scheme of the path is unknown
        raise OutputError(f"cannot write to {root}: {' '.join(str(e).split())[:300]}") from None
    except (OSError, BeamIOError):
        pass  # another run created it meanwhile, or writing the lease fails below and says why
    path = FileSystems.join(root, f"{_PREFIX}{uuid.uuid4().hex}")
    _write(path, clock())
    try:
        # The others are looked at after this one is written, so that two runs at once may both be refused, but never
        # both go on.
        _refuse_others(root, path, clock())
        done = threading.Event()
        renewing = threading.Thread(target=_renew, args=(path, done, clock), name="kimi_beam-lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            done.set()
            renewing.join()
    finally:
        with contextlib.suppress(OSError, BeamIOError):
            FileSystems.delete([path])


def _refuse_others(root: str, own: str, now: float) -> None:
    for found in listing(root):
        name = FileSystems.split(found.path)[1]
        if not name.startswith(_PREFIX) or name == FileSystems.split(own)[1]:
            continue
        holder = _read(found.path)
        if holder is None or not _is_alive(holder, now):
            with contextlib.suppress(OSError, BeamIOError):
                FileSystems.delete([found.path])
            continue
        host, pid, _ = holder
        message = f"another run (process {pid} on {host}) is working on {root}: wait for it, or if it is dead remove"
        raise OutputError(f"{message} {found.path}")


def _is_alive(holder: tuple[str, int, float], now: float) -> bool:
    host, pid, renewed_at = holder
    if host != platform.node() or pid == os.getpid():
        return now - renewed_at < TERM
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _read(path: str) -> tuple[str, int, float] | None:
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as f:
            content = orjson.loads(f.read())
        return str(content["host"]), int(content["pid"]), float(content["at"])
    except (OSError, BeamIOError, ValueError, KeyError, TypeError):
        return None


def _write(path: str, now: float) -> None:
    content = orjson.dumps({"host": platform.node(), "pid": os.getpid(), "at": now})
    try:
        # Another run deletes a lease that it cannot read, so it must never see one that is half written.
        write_whole(path, content)
    except (OSError, BeamIOError, ValueError) as e:
        raise OutputError(f"cannot write to {FileSystems.split(path)[0]}: {e}") from None


def _renew(path: str, done: threading.Event, clock: Callable[[], float]) -> None:
    while not done.wait(TERM / 3):
        with contextlib.suppress(OutputError):
            _write(path, clock())
