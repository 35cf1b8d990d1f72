"""What the user of a run should hear of once, while it goes on: by `logging`, and on the command line's screen."""

from __future__ import annotations

import logging
import threading

from kimi_beam.report.progress import PROGRESS

logger = logging.getLogger("kimi_beam")

_lock = threading.Lock()
_said: set[str] = set()
_MOST = 1_000
"""Notices that a process remembers: of more, none is said."""


def warn_once(subject: str, message: str) -> None:
    """Warns of something, unless this process has warned of the same subject since `forget_notices`.

    Args:
        subject: What it is about.
        message: One line for a person.
    """
    with _lock:
        if subject in _said or len(_said) >= _MOST:
            return
        _said.add(subject)
    logger.warning("%s", message)
    PROGRESS.notice(f"warning: {message}")


def forget_notices() -> None:
    """The next pipeline of this process warns anew."""
    with _lock:
        _said.clear()
