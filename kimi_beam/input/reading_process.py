"""Reads files in processes of their own: a file that crashes or hangs a parser costs no worker and no neighbour.

PDFium is not safe to call from several threads, and a hostile file may crash any parser that is written in C. A worker
starts a process when the first file comes, and another one while all are busy, at most one a core. Each reads one file
after the other. One that dies, takes too long or holds too much memory is replaced.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

from kimi_beam.errors import KimiBeamError
from kimi_beam.input.readers.content import Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.reader_messages import (
    LENGTH,
    MAX_ANSWER_BYTES,
    READY,
    Found,
    Question,
    Unreadable,
    decode_answer,
    encode,
)
from kimi_beam.input.timed_pipes import receive, send, what_is_there
from kimi_beam.schema import jsontext
from kimi_beam.service.per_process import PerProcess
from kimi_beam.wire.printable import printable


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """What the reading of one file may take.

    Attributes:
        seconds: The longest time by the clock for a small file.
        seconds_a_megabyte: How much longer it may be for each MB of the file, as a scan has its bytes by its pages.
        memory_bytes: The most memory of the process for data; its libraries take some 60 MB beside it.
        kept_bytes: A process that holds more memory than this once it has read a file is replaced before the next one.
        processes: The most processes of a worker. None: one a core.
    """

    seconds: float = 30.0
    seconds_a_megabyte: float = 4.0
    memory_bytes: int = 320 << 20
    kept_bytes: int = 200 << 20
    processes: int | None = None

    def seconds_for(self, size: int) -> float:
        """The longest time for a file of so many bytes."""
        return self.seconds + self.seconds_a_megabyte * (size >> 20)


DEFAULT_LIMITS = ReadingLimits()

_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from kimi_beam.input.readers.child import serve
serve(int(sys.argv[2]))
"""
_START_SECONDS = 60.0
"""How long a process may take to start, on a machine under load."""
_STARTS = 3
"""How often a process is started that is killed before it is ready, as by a system that is short of memory."""
_NEARLY_ALL = 0.8
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
_PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")
"""The variables of the environment that a process gets. No other, because there may be secrets among them."""


class ReadingProcessError(KimiBeamError):
    """A process that reads files cannot be started, which is no fault of the file."""


def read_in_child(reader: str, content: bytes, options: ReadOptions, limits: ReadingLimits = DEFAULT_LIMITS) -> Content:
    """Reads a file in a process of its own.

    Args:
        reader: The module of the reader, whose `read` is called with `content` and `options`.
        content: The bytes of the file.
        options: What the user has chosen about the reading.
        limits: What the reading may take.

    Raises:
        UnreadableError: The file cannot be read, or reading it ended the process, or took too long or too much memory.
        ReadingProcessError: No process can be started.
    """
    pool = _pools.get(limits, lambda: _Pool(limits))
    return pool.read(Question(reader, options, limits.seconds_for(len(content)), content))


class _KilledAtStartError(ReadingProcessError):
    """A process has ended without a word before it was ready."""


class _Pool:
    """The processes of a worker that read files. Safe to use from several threads."""

    def __init__(self, limits: ReadingLimits) -> None:
        self._limits = limits
        self._places = threading.BoundedSemaphore(limits.processes or _cores())
        self._idle: list[_Process] = []

    def read(self, question: Question) -> Content:
        """Asks an idle process, or a new one.

        What ends a process that has read other files before is asked once more in a new one: an earlier file may have
        left the process in disorder, and this one would be blamed for it. So is a file whose process was killed, which
        no parser does by itself, and a system that is short of memory may do to any.

        Raises:
            UnreadableError: The file cannot be read.
            ReadingProcessError: No process can be started.
        """
        frame = encode(question)
        with self._places:
            process = self._taken() or self._started()
            end = time.monotonic() + question.seconds
            try:
                return self._ask(process, frame, question.seconds, end)
            except _ProcessEndedError as e:
                if e.code not in ("reader_crashed", "reader_memory") or not (process.has_read or process.was_killed):
                    raise
            left = end - time.monotonic()
            process = self._started()  # which may take long on a busy machine
            return self._ask(process, frame, question.seconds, time.monotonic() + left)

    def _taken(self) -> _Process | None:
        """Takes an idle process, as no other thread does; None if there is none."""
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        return None

    def _started(self) -> _Process:
        for _ in range(_STARTS - 1):
            with contextlib.suppress(_KilledAtStartError):
                return _Process(self._limits)
        return _Process(self._limits)

    def _ask(self, process: _Process, frame: bytes, seconds: float, end: float) -> Content:
        try:
            content = process.ask(frame, seconds, end)
        except BaseException:
            self._keep(process)
            raise
        self._keep(process)
        return content

    def _keep(self, process: _Process) -> None:
        """Keeps a process for the next file, if it is alive and has become neither large nor unsure."""
        if process.is_idle and process.resident <= self._limits.kept_bytes:
            process.has_read = True
            self._idle.append(process)
        else:
            process.end()


class _ProcessEndedError(UnreadableError):
    """The process ended, or was ended, before it had read the file."""


class _Process:
    """One process that reads files, and the pipes to it. One thread uses it at a time.

    Raises:
        ReadingProcessError: It cannot be started.

    Attributes:
        is_idle: Whether it waits for a question: it lives, and has answered all that it was asked.
        has_read: Whether it has read a file before.
        was_killed: Whether it was killed amid a file, which nothing in it does by itself.
        resident: The bytes of memory that it held after its last file; 0 if it does not know.
    """

    def __init__(self, limits: ReadingLimits) -> None:
        self._limits = limits
        # The working directory is searched last: a module among the documents must not take a library's place.
        path = sorted((str(Path(place).absolute()) for place in sys.path), key=str(Path.cwd()).__eq__)
        command = [sys.executable, "-I", "-c", _START, json.dumps(path), str(limits.memory_bytes)]
        try:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=_environment(),
                start_new_session=True,  # no key of a terminal reaches it
            )
        except OSError as e:
            raise ReadingProcessError(f"cannot start a process that reads files: {e}") from None
        self._pipes = [pipe for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr) if pipe]
        self._questions, self._answers, self._errors = (pipe.fileno() for pipe in self._pipes)
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)
        _all.add(self)
        import resource  # which Windows lacks

        self._worker_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.is_idle = self.has_read = self.was_killed = False
        self.resident = 0
        self._wait_until_it_reads()

    @property
    def pid(self) -> int:
        """Its id."""
        return self._popen.pid

    def _wait_until_it_reads(self) -> None:
        has_ended = False
        try:
            self.is_idle = receive(self._answers, len(READY), time.monotonic() + _START_SECONDS) == READY
        except EOFError:
            has_ended = True
        except TimeoutError:
            pass
        if not self.is_idle:
            said = self._last_error()
            self.end()
            kind = _KilledAtStartError if has_ended and not said else ReadingProcessError
            raise kind(f"a process that reads files does not start: {said or 'it says nothing'}")

    def ask(self, frame: bytes, seconds: float, end: float) -> Content:
        """What a file holds.

        Args:
            frame: The question.
            seconds: How long it may take.
            end: When the process has to have answered, by `time.monotonic`.

        Raises:
            UnreadableError: The file cannot be read.
        """
        self.is_idle = False
        try:
            send(self._questions, LENGTH.pack(len(frame)), end)
            send(self._questions, frame, end)
            (length,) = LENGTH.unpack(receive(self._answers, LENGTH.size, end))
            if length > MAX_ANSWER_BYTES:
                message = f"holds more text and pictures than are read: {MAX_ANSWER_BYTES >> 20} MB"
                raise _ProcessEndedError("too_large", message)
            answer = decode_answer(receive(self._answers, length, end))
            if isinstance(answer, Unreadable):
                if answer.code == "reader_memory":  # it ends now
                    raise _ProcessEndedError(answer.code, answer.message)
                self.is_idle = True
                raise UnreadableError(answer.code, answer.message)
            content = content_of(answer)
        except TimeoutError:
            message = f"was not read within {seconds:g} s: split it, unless it is damaged or hostile"
            raise _ProcessEndedError("reader_timeout", message) from None
        except (EOFError, OSError):
            raise self._died(seconds) from None
        except ValueError as e:  # msgspec's errors too
            message = f"made the process that reads files answer what is no answer: {printable(str(e))[:200]}"
            raise _ProcessEndedError("reader_crashed", message) from None
        self.is_idle = True
        self.resident = answer.resident
        self._last_error()  # so that the pipe has room for those of the next file
        return content

    def end(self) -> None:
        """Ends the process, if it has not ended yet."""
        self.is_idle = False
        _all.discard(self)
        self._popen.kill()
        self._popen.wait()
        self.close()

    def close(self) -> None:
        """Closes this side of the pipes, at which the process ends by itself."""
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.close()

    def forget(self) -> None:
        """Leaves the process to another one that has started it, of which this one is a fork."""
        self.close()
        self._popen.returncode = 0  # else Python complains that nobody has waited for its end

    # -------------------------------------------------------------------------------------------- how it died

    def _died(self, seconds: float) -> _ProcessEndedError:
        """Why the process has died amid a file."""
        largest = self._wait()
        code = self._popen.returncode
        self.was_killed = code == -signal.SIGKILL
        if code == -signal.SIGXCPU:
            return _ProcessEndedError("reader_timeout", f"took more than {seconds:g} s of CPU time: split it")
        if largest >= _NEARLY_ALL * self._limits.memory_bytes:  # a library that gets no more memory may well abort
            limit = f"{self._limits.memory_bytes >> 20} MB"
            return _ProcessEndedError(
                "reader_memory", f"takes more memory to read than {limit}: make it smaller, or split it"
            )
        how = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
        said = self._last_error()
        reason = f"{how}: {said}" if said else how
        message = f"ended the process that reads files ({reason}): it may be damaged, or need too much memory"
        return _ProcessEndedError("reader_crashed", message)

    def _wait(self) -> int:
        """Waits for the end of the process.

        Returns:
            The most bytes of memory that it held at any time; 0 if that is not known. Linux counts in what the worker
            held when it started the process, so that a smaller peak of the process itself is not seen.
        """
        # `Popen.kill` would wait for a dead one itself, and forget what it has used.
        os.kill(self._popen.pid, signal.SIGKILL)  # one that only closed its pipes lives on
        _, status, usage = os.wait4(self._popen.pid, 0)
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_maxrss * _MAXRSS_UNIT if usage.ru_maxrss > self._worker_peak else 0

    def _last_error(self) -> str:
        """The last line on the standard error of the process, which is read as far as it is there."""
        said = what_is_there(self._errors)
        lines = said.decode(errors="replace").strip().splitlines()
        return printable(lines[-1].strip())[:200] if lines else ""


def content_of(found: Found) -> Content:
    """What was found in a file, with its metadata decoded.

    Raises:
        ValueError: The metadata are no JSON object.
    """
    metadata = jsontext.loads_unique(found.metadata)
    if not isinstance(metadata, dict):
        raise ValueError("metadata that are no object")
    return Content(found.pages, metadata, found.hidden, found.attachments)


def _environment() -> dict[str, str]:
    """The environment of a process: nothing of this one's that may be a secret, and one thread for each library."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed_on, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ------------------------------------------------------------------------------------------------ the end of a worker

_pools = PerProcess[_Pool]()
_all: weakref.WeakSet[_Process] = weakref.WeakSet()


def living() -> list[int]:
    """The ids of the processes that read files for this worker."""
    return [process.pid for process in list(_all)]


@atexit.register
def end_all() -> None:
    """Ends all processes of this worker."""
    processes = list(_all)
    _pools.forget_all()
    for process in processes:
        process.end()


def _leave_to_the_parent() -> None:
    """Closes a fork's copies of the pipes, which would keep the processes alive after the parent has ended."""
    for process in list(_all):
        process.forget()
    _all.clear()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_leave_to_the_parent)
