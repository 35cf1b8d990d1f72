"""A reader for tests of the process that it runs in: it does what the file says."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from kimi_beam.input.readers.content import Content, HiddenText, Page, ReadOptions, UnreadableError

ANSWERS = 4
"""The descriptor of the pipe to the worker, which a hostile file would find."""
_state: dict[str, bool] = {}


def read(content: bytes, options: ReadOptions) -> Content:
    """The file's text, once its order has been carried out."""
    order, _, rest = content.decode().partition(" ")
    if order in _ORDERS:
        found = _ORDERS[order](rest)
        if found is not None:
            return found
    return Content((Page(content.decode()),), {"process": os.getpid(), "password": options.password})


def _never_ends(_: str) -> None:
    while True:
        pass


def _eats_memory(_: str) -> None:
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


def _eats_memory_in_c(_: str) -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    while block := library.malloc(1 << 20):
        ctypes.memset(block, 1, 1 << 20)
    os.abort()  # as libraries do that cannot go on


def _reads_nowhere(_: str) -> None:
    ctypes.string_at(0)


def _prints(_: str) -> None:
    sys.stdout.write("x" * 200_000)
    sys.stderr.write("y" * 200_000)
    for descriptor in (1, 2):
        with contextlib.suppress(BlockingIOError):
            os.write(descriptor, b"z" * 200_000)


def _raises_memory_error(_: str) -> None:
    raise MemoryError


def _fails(_: str) -> None:
    raise RuntimeError("a bug\nof the reader")


def _refuses(message: str) -> None:
    raise UnreadableError("encrypted", message)


def _nests(_: str) -> None:
    raise RecursionError


def _leaves_disorder(_: str) -> None:
    _state["disorder"] = True


def _is_sensitive(_: str) -> None:
    if _state.get("disorder"):
        os.abort()


def _environment(_: str) -> Content:
    return Content((Page(repr(sorted(os.environ.items()))),), {"modules": sorted(sys.modules), "path": sys.argv})


def _halves_of_pairs(_: str) -> Content:
    hidden = (HiddenText("\ud83d", "off the page"),)
    return Content((Page("a\ud83db\udc00\U0001f9fe"),), {"title": "\udfff", "n": [{"\ud83d": 1}]}, hidden)


def _answers_rubbish(rest: str) -> None:
    os.write(ANSWERS, bytes.fromhex(rest))


def _ends_quietly(_: str) -> None:
    os._exit(0)


def _closes_the_pipe(_: str) -> None:
    os.close(ANSWERS)
    time.sleep(60)


def _is_killed(path: str) -> None:
    """Ends as if someone else had killed it; with a path only the first time, at which a file of that name is made."""
    if path:
        try:
            Path(path).touch(exist_ok=False)
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)


def _grows(rest: str) -> Content:
    return Content((Page("x" * int(rest)),))


_ORDERS: Mapping[str, Callable[[str], Content | None]] = {
    "abort": lambda _: os.abort(),
    "answer": _answers_rubbish,
    "close": _closes_the_pipe,
    "disorder": _leaves_disorder,
    "eat": _eats_memory,
    "eat-in-c": _eats_memory_in_c,
    "environment": _environment,
    "exit": _ends_quietly,
    "fail": _fails,
    "grow": _grows,
    "halves": _halves_of_pairs,
    "hang": _never_ends,
    "kill": _is_killed,
    "memory-error": _raises_memory_error,
    "nap": lambda _: time.sleep(2),
    "nest": _nests,
    "print": _prints,
    "refuse": _refuses,
    "segfault": _reads_nowhere,
    "sensitive": _is_sensitive,
    "sleep": lambda _: time.sleep(60),
}
