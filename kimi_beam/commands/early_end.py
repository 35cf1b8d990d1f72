"""The end of a run that does not end by itself: by a signal, or because its runner waits for a dead worker process."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from kimi_beam.commands import console
from kimi_beam.run import Run

_ENDING = (signal.SIGINT, signal.SIGTERM)
_WORKERS_THREAD = "run_worker"
"""The name of the threads in which Beam 2.77 waits for the end of a worker process."""
_NOTICED_WITHIN = 30.0
"""Seconds within which a runner notices that a worker process has died, unless it never does."""


@contextlib.contextmanager
def interruptible(ready: Run, output: str, *, journal: bool) -> Iterator[None]:
    """On Ctrl-C or SIGTERM, says what is in flight and ends this process at once.

    A signal handler does it, because a runner would take a `KeyboardInterrupt` in a bundle for a failure of the bundle.
    """

    def interrupt(number: int, _: FrameType | None) -> NoReturn:
        for other in _ENDING:  # `timeout` sends two, and the second one would come amid the words about the first
            signal.signal(other, signal.SIG_IGN)
        message = console.interrupted(output, local=ready.is_local, counted=ready.is_in_process, journal=journal)
        _end_at_once(ready, message, 128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows signal handlers in the main thread only
        return
    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def ending_without_workers(ready: Run) -> Iterator[None]:
    """Ends this process if a worker process has died and the runner has not noticed it within half a minute.

    Beam 2.77 waits for ever for a worker process that dies before it has connected, as one that is killed at its start.
    """
    before, has_ended = threading.excepthook, threading.Event()

    def watch(failed: threading.ExceptHookArgs) -> None:
        before(failed)
        if failed.thread is not None and failed.thread.name == _WORKERS_THREAD and not has_ended.wait(_NOTICED_WITHIN):
            _end_at_once(ready, f"the job failed: a worker process has died: {failed.exc_value}", 1)

    threading.excepthook = watch
    try:
        yield
    finally:
        has_ended.set()
        threading.excepthook = before


def _end_at_once(ready: Run, message: str, code: int) -> NoReturn:
    """Ends this process with a message, whatever its other threads are waiting for."""
    with contextlib.suppress(RuntimeError):
        console.close_display()
    with contextlib.suppress(RuntimeError):  # a signal came while this thread was writing another line
        console.say(message)
    if ready.is_local:
        ready.clear()
    ready.release()
    # Python's usual end would wait for the worker threads, which may be waiting for the service, and nothing of theirs
    # is kept. But Beam 2.77 ends its job servers (Prism, Flink's) and cancels their jobs by functions that it registers
    # with `atexit`, and `os._exit` calls none of these: so they are called here, by a private function of Python's, as
    # there is no public one. They get three seconds. tests/commands/test_beam_options.py holds it.
    threading.Timer(3.0, os._exit, [code]).start()
    atexit._run_exitfuncs()
    os._exit(code)
