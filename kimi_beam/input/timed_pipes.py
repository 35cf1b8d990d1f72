"""Pipes to another process that are read and written by a deadline. They must not block (`os.set_blocking`)."""

from __future__ import annotations

import contextlib
import os
import select
import time

_BLOCK = 1 << 20


def send(pipe: int, content: bytes, end: float) -> None:
    """Writes all bytes.

    Args:
        pipe: Its descriptor.
        content: The bytes.
        end: When they have to be written, by `time.monotonic`.

    Raises:
        TimeoutError: They were not taken in time.
        OSError: The other process has ended.
    """
    rest = memoryview(content)
    while rest:
        _wait_for(pipe, select.POLLOUT, end)
        with contextlib.suppress(BlockingIOError):
            rest = rest[os.write(pipe, rest[:_BLOCK]) :]


def receive(pipe: int, count: int, end: float) -> bytes:
    """Reads so many bytes.

    Args:
        pipe: Its descriptor.
        count: How many bytes are awaited.
        end: When they have to be there, by `time.monotonic`.

    Raises:
        TimeoutError: They did not come in time.
        EOFError: The other process has ended.
    """
    blocks: list[bytes] = []
    while count:
        _wait_for(pipe, select.POLLIN, end)
        with contextlib.suppress(BlockingIOError):
            block = os.read(pipe, min(count, _BLOCK))
            if not block:
                raise EOFError
            blocks.append(block)
            count -= len(block)
    return b"".join(blocks)


def what_is_there(pipe: int) -> bytes:
    """The last block of what can be read at once; empty if nothing can."""
    last = b""
    with contextlib.suppress(OSError):  # there is nothing, or no more
        while block := os.read(pipe, _BLOCK):
            last = block
    return last


def _wait_for(pipe: int, event: int, end: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
        raise TimeoutError
