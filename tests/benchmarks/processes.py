"""Running a command and reading from the operating system what it and all that it started has used."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .resident import TreeMemory

_PR_SET_CHILD_SUBREAPER = 36
_GRACE = 60.0
"""Seconds that what a command leaves behind may take to end by itself."""
_TICK = os.sysconf("SC_CLK_TCK")


class CommandError(Exception):
    """A command failed, or its result is not what it has to be."""


@dataclass(frozen=True)
class Usage:
    """What a command used.

    Attributes:
        cpu: Seconds of user and system time, of the whole process tree.
        wall: Seconds from its start to its end.
        peak: Bytes of the largest resident set of one of its processes.
        said: What it wrote to standard output.
        together: Bytes of the resident sets of all its processes together, where that was asked for.
    """

    cpu: float
    wall: float
    peak: int
    said: str
    together: int = 0


def run(
    command: Sequence[object],
    directory: Path,
    *,
    env: Mapping[str, str] | None = None,
    within: float = 3_600.0,
    counted: Iterable[int] = (),
    sums_memory: bool = False,
) -> Usage:
    """Runs a command to its end and waits for every process that it left behind.

    Descendants that nobody else waits for become children of this process, so that their time is read like the others'.

    Args:
        command: The program and its arguments.
        directory: Where it runs, and where its output is kept.
        env: Added to the environment.
        within: Seconds after which it is ended.
        counted: Sessions of processes that were started before, whose time meanwhile counts as well.
        sums_memory: Whether `Usage.together` is measured.

    Raises:
        CommandError: It did not exit with 0.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    others, sessions = _children(), set(counted)
    before = sum(session_cpu(sessions).values())
    out, err = directory / "stdout.log", directory / "stderr.log"
    memory = TreeMemory(others)
    watched = memory if sums_memory else contextlib.nullcontext()
    with out.open("wb") as stdout, err.open("wb") as stderr, watched:
        began = time.perf_counter()
        words = [str(word) for word in command]
        process = subprocess.Popen(
            words,
            cwd=directory,
            env={**_environment(), **(env or {})},
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        watchdog = threading.Timer(within, os.killpg, [process.pid, signal.SIGKILL])
        watchdog.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            watchdog.cancel()
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss
    deadline = time.monotonic() + _GRACE
    while left := _children() - others:
        for pid in left:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            ended, _, used = os.wait4(pid, os.WNOHANG)
            if ended:
                cpu, peak = cpu + used.ru_utime + used.ru_stime, max(peak, used.ru_maxrss)
        time.sleep(0.01)
    cpu += sum(session_cpu(sessions).values()) - before
    if process.returncode != 0:
        end = err.read_text(errors="replace")[-3_000:]
        raise CommandError(f"exit code {process.returncode}: {' '.join(words)[:500]}\n{end}")
    return Usage(cpu, wall, peak * 1024, out.read_text(errors="replace"), memory.peak)


def _environment() -> dict[str, str]:
    """This process's, but that what is imported may be kept compiled: users seldom forbid it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _children() -> set[int]:
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has just ended; its children are another's now
            found.update(map(int, (thread / "children").read_text().split()))
    return found


def session_cpu(sessions: Collection[int]) -> dict[str, float]:
    """Seconds of CPU that the processes of some sessions have used: of JVMs, and of all others.

    What a process has waited for is counted with the others: JVMs start the Python workers.
    """
    jvm = others = 0
    for path in Path("/proc").iterdir() if sessions else ():
        try:
            stat = (path / "stat").read_text() if path.name.isdigit() else ""
        except OSError:  # it has just ended; whoever waited for it has its time
            continue
        # The name stands in brackets and may hold anything; after it: state, parent, group, session, …, user time,
        # system time, and those of the children that were waited for.
        name, _, rest = stat.rpartition(")")
        fields = rest.split()
        if not fields or int(fields[3]) not in sessions:
            continue
        own, waited_for = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
        if name.endswith("(java"):
            jvm, others = jvm + own, others + waited_for
        else:
            others += own + waited_for
    return {"JVMs": jvm / _TICK, "workers": others / _TICK}
