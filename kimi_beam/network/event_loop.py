"""The one event loop of a process, in a thread of its own: all requests to the service run on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from kimi_beam.service.per_process import PerProcess

T = TypeVar("T")

_loops = PerProcess[asyncio.AbstractEventLoop]()
_ONLY = "the process's own"
"""The key of the loop: a process has one."""


def start(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Starts a coroutine on the loop and does not wait for it."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop())


def call(callback: Callable[..., object], *args: Any) -> None:
    """Has the loop call something soon, and does not wait for it."""
    _loop().call_soon_threadsafe(callback, *args)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the loop and waits for its result."""
    future = start(coroutine)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _loop() -> asyncio.AbstractEventLoop:
    """The running event loop of this process: started if there is none, or if the last one has stopped."""
    with _loops.lock:
        if not _loops.get(_ONLY, _started).is_running():
            _loops.forget(_ONLY)
        return _loops.get(_ONLY, _started)


def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    loop.call_soon(ready.set)
    threading.Thread(target=loop.run_forever, name="kimi_beam-http", daemon=True).start()
    ready.wait()
    return loop
