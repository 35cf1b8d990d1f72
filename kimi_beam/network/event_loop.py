"""The event loop of this process, in a thread of its own, where all exchanges live."""

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


def start(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Runs a coroutine on the loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop())


def call(callback: Callable[..., object], *args: Any) -> None:
    """Calls something there, soon, and does not wait for it."""
    _loop().call_soon_threadsafe(callback, *args)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine there and waits for it."""
    future = start(coroutine)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process, which runs."""
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
