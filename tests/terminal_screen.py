"""A terminal in which a program runs, and whose screen can be read: a pty, behind which is a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

import pyte
from patience import HANGS
from typing_extensions import Self


def lines_of(screen: pyte.HistoryScreen) -> list[str]:
    """All lines of a terminal, those that have left its screen at the top included, without the blank ones."""
    above = ["".join(line[x].data for x in range(screen.columns)) for line in screen.history.top]
    return [line.rstrip() for line in (*above, *screen.display) if line.strip()]


class Terminal:
    """Runs a program in a terminal.

    Args:
        command: The program and its arguments.
        columns: The terminal's width.
        rows: Its height.
        environment: The program's environment.
        name: What ``TERM`` says.

    Attributes:
        written: All that the program has written.
    """

    def __init__(
        self,
        command: Sequence[str],
        columns: int,
        rows: int = 40,
        environment: dict[str, str] | None = None,
        name: str = "xterm-256color",
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=1_000)
        self._stream = pyte.ByteStream(self.screen)
        self._changed = threading.Condition()
        self.written = b""
        self._status: int | None = None
        self.pid, self._fd = pty.fork()
        if not self.pid:
            termios_size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, termios_size)
            os.execve(command[0], list(command), {**(environment or os.environ), "TERM": name})
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, 65_536)
            except OSError:  # Linux says so when the last writer has gone
                data = b""
            with self._changed:
                if not data:
                    self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
                    self._changed.notify_all()
                    return
                self.written += data
                self._stream.feed(data)
                self._changed.notify_all()

    @property
    def lines(self) -> list[str]:
        """What the terminal shows and has shown."""
        with self._changed:
            return lines_of(self.screen)

    def wait_for(self, seen: Callable[[str], bool]) -> None:
        """Waits until the terminal shows something."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: self._status is not None or seen("\n".join(lines_of(self.screen))), HANGS
            )
            assert found, lines_of(self.screen)
            assert seen("\n".join(lines_of(self.screen))), lines_of(self.screen)

    def press_ctrl_c(self) -> None:
        """Types Ctrl-C."""
        os.write(self._fd, b"\x03")

    def wait(self) -> int:
        """Waits for the end of the program, and returns its exit code."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._status is not None, HANGS), lines_of(self.screen)
            assert self._status is not None
            return self._status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
        self._thread.join(HANGS)
        os.close(self._fd)
