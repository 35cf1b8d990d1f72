"""The lease: the second of two runs on one directory is refused, and a dead run's lease lapses."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson
import pytest

from kimi_beam.errors import OutputError
from kimi_beam.files import lease as lease_module
from kimi_beam.files.lease import TERM, lease


def held_by(directory: Path, host: str, pid: int, at: float) -> Path:
    path = directory / ".lease-other"
    path.write_bytes(orjson.dumps({"host": host, "pid": pid, "at": at}))
    return path


def test_the_second_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with lease(str(tmp_path)), pytest.raises(OutputError, match="another run"), lease(str(tmp_path)):
        pass
    with lease(str(tmp_path)):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_one_of_this_machine_lapses_with_its_process(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    other = held_by(tmp_path, platform.node(), int(done.stdout), time.time())
    with lease(str(tmp_path)):
        assert not other.exists()


def test_a_lease_of_another_machine_lapses_when_it_is_not_renewed(tmp_path: Path) -> None:
    other = held_by(tmp_path, "elsewhere", 1, 1_000.0)
    with pytest.raises(OutputError, match="on elsewhere"), lease(str(tmp_path), clock=lambda: 1_000.0 + TERM - 1):
        pass
    with lease(str(tmp_path), clock=lambda: 1_000.0 + TERM):
        assert not other.exists()


def test_one_that_is_being_renewed_is_never_seen_half_written(tmp_path: Path) -> None:
    """Who cannot read it takes it for nobody's and removes it: two runs would hold the directory."""
    path, stop = tmp_path / ".lease-own", threading.Event()

    def renew() -> None:
        while not stop.is_set():
            lease_module._write(str(path), 0.0)

    lease_module._write(str(path), 0.0)
    thread = threading.Thread(target=renew)
    thread.start()
    try:
        assert all(lease_module._read(str(path)) == (platform.node(), os.getpid(), 0.0) for _ in range(2_000))
    finally:
        stop.set()
        thread.join()
