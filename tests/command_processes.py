"""`kimi-beam` in processes of its own that can be killed: `extract` from files to a dataset, or any command line.

They are forked from a server that has Beam imported already, so that one begins within milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from apache_beam.io.localfilesystem import LocalFileSystem
from harness import extract_settings, receipts, service
from moments import MOMENTS, Standing
from patience import HANGS

import kimi_beam as kb
from kimi_beam import cli, run
from kimi_beam.journal.records import Journaling

_processes = multiprocessing.get_context("forkserver")
# No module of the tests, since until Python 3.13 the server does not look where this process does, and passes over what
# it does not find.
_processes.set_forkserver_preload(["kimi_beam.run", "kimi_beam.transforms.extract"])

PATIENT = kb.Polling(first=0.05, factor=1.5, ceiling=0.2, deadline=HANGS)


@dataclass(frozen=True)
class Command:
    """A run over some receipts; the same value is the same command.

    Attributes:
        directory: Holds the input.
        url: Of the service.
        documents: How many.
        output: Where the result and the journal are; None: beside the input.
        polling: When finished jobs are looked for.
        on_unknown_submit: See `Journaling`.
        options: Beam's.
        blank: How many documents have no text, and so become dead letters, beside the `documents`.
        max_in_flight: Jobs that are submitted and not finished.
        overwrite: Whether it replaces a finished result.
        dies_when: The process kills itself at this one of the `MOMENTS`; empty: at none.
        file_size: Bytes that a file may have; 0: any.
        without_lease: Whether it takes what another run holds.
    """

    directory: Path
    url: str
    documents: int = 600
    output: Path | None = None
    polling: kb.Polling = PATIENT
    on_unknown_submit: Any = "resubmit"
    options: Sequence[str] = ()
    blank: int = 0
    max_in_flight: int = 128
    overwrite: bool = False
    dies_when: str = ""
    file_size: int = 0
    without_lease: bool = False

    @property
    def result(self) -> Path:
        return self.output or self.directory / "out"

    @property
    def journal(self) -> Path:
        return self.result / "_journal"

    def start(self) -> BaseProcess:
        """Begins the run."""
        lines = [json.dumps({"id": d.id, "text": d.text}) for d in receipts(self.documents)]
        lines += [json.dumps({"id": f"blank-{i}", "text": ""}) for i in range(self.blank)]
        (self.directory / "docs.jsonl").write_text("\n".join(lines) + "\n")
        process = _processes.Process(target=_run, args=(self,))
        process.start()
        return process

    def run(self) -> int:
        """Runs it to its end; the exit code, negative for a signal."""
        return ended(self.start())


class Program:
    """`kimi-beam` with the words of a command line, begun at once. It has the environment of this moment.

    Args:
        words: The command and its arguments.
        printed: The directory for what it prints, in files.

    Attributes:
        process: It runs there.
    """

    def __init__(self, words: Sequence[str], printed: Path) -> None:
        self._out, self._err = printed / "stdout", printed / "stderr"
        arguments = list(words), str(self._out), str(self._err), dict(os.environ)
        self.process = _processes.Process(target=_run_program, args=arguments)
        self.process.start()

    def end(self) -> tuple[int, str, str]:
        """Waits for its end; the exit code, negative for a signal, and what it printed to stdout and stderr."""
        return ended(self.process), self._out.read_text(), self._err.read_text()

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.kill()
        assert ended(self.process) == -signal.SIGKILL, "it had ended by itself"


def ended(process: BaseProcess, within: float = HANGS) -> int:
    """Waits for a run; the exit code, negative for a signal."""
    try:
        process.join(within)
        assert process.exitcode is not None, f"not done after {within} s"
        return process.exitcode
    finally:
        if process.exitcode is None:
            process.kill()
            process.join()


def _run_program(words: list[str], out: str, err: str, environment: dict[str, str]) -> None:
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(cli.main(words))


def _run(command: Command) -> None:
    if command.dies_when:
        _die(MOMENTS[command.dies_when], command.result)
    if command.file_size:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (command.file_size, resource.RLIM_INFINITY))
    if command.without_lease:
        run.lease = lambda *_, **__: contextlib.nullcontext()  # type: ignore[assignment, attr-defined]
    extract = extract_settings(
        service(command.url),
        polling=command.polling,
        max_in_flight=command.max_in_flight,
        journaling=Journaling(str(command.journal), command.on_unknown_submit, grace=0.3),
        record_batches=True,
    )
    inputs = [str(command.directory / "docs.jsonl")]
    run.Run(run.RunSettings(inputs, str(command.result), extract, overwrite=command.overwrite), command.options).run()


def _die(moment: Callable[[Standing], bool], output: Path) -> None:
    """Kills this process as soon as a moment has come: it is looked before and after each touch of a file."""
    lock = threading.RLock()  # what is touched while others look would be half there for them

    def look() -> None:
        if moment(Standing.of(output)):
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(operation: Callable[..., Any]) -> Callable[..., Any]:
        def touched(*args: Any, **kwargs: Any) -> Any:
            with lock:
                look()
                result = operation(*args, **kwargs)
                look()
            return result

        return touched

    for name in ("create", "rename", "delete", "mkdirs"):
        setattr(LocalFileSystem, name, deadly(getattr(LocalFileSystem, name)))
