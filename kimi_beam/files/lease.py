"""A lease: the second of two runs on one directory is refused.

Best effort, as Beam's filesystems create no file atomically. What slips through loses and doubles nothing, for each run
names its files in one step and records of the journal have names of their own; both may pay for what both ask at once.
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
"""Seconds after which a lease that was not renewed has lapsed. One of this machine lapses with its process."""


@contextlib.contextmanager
def lease(directory: str, *, clock: Callable[[], float] = time.time, private: bool = False) -> Iterator[None]:
    """Holds a directory for this process.

    Args:
        directory: Created where it is missing.
        clock: Unix seconds.
        private: Whether a directory that is created is for its owner alone.

    Raises:
        OutputError: Another run holds it; or it cannot be written.
    """
    root = output(directory)
    try:
        if private:
            make_private(root)
        if not FileSystems.exists(root):
            FileSystems.mkdirs(root)
    except ValueError as e:  # a filesystem that is not known
        raise OutputError(f"cannot write to {root}: {' '.join(str(e).split())[:300]}") from None
    except (OSError, BeamIOError):
        pass  # the lease cannot be written then, or another has made it
    path = FileSystems.join(root, f"{_PREFIX}{uuid.uuid4().hex}")
    _write(path, clock())
    try:
        # Looked at after the own one is written: of two at once both may be refused, but not none.
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
        told = f"another run (process {pid} on {host}) is working on {root}: wait for it, or if it is dead remove"
        raise OutputError(f"{told} {found.path}")


def _is_alive(holder: tuple[str, int, float], now: float) -> bool:
    host, pid, at = holder
    if host != platform.node():
        return now - at < TERM
    if pid == os.getpid():
        return now - at < TERM
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
        # Whole or not at all: one that is caught half written would be taken for nobody's.
        write_whole(path, content)
    except (OSError, BeamIOError, ValueError) as e:
        raise OutputError(f"cannot write to {FileSystems.split(path)[0]}: {e}") from None


def _renew(path: str, done: threading.Event, clock: Callable[[], float]) -> None:
    while not done.wait(TERM / 3):
        with contextlib.suppress(OutputError):
            _write(path, clock())
