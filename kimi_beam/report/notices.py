"""Notices: warnings that the user of a run sees once, in the log and on the command line's screen."""

from __future__ import annotations

import logging
import threading

from kimi_beam.report.progress import PROGRESS

logger = logging.getLogger("kimi_beam")

_lock = threading.Lock()
_warned: set[str] = set()
"""The subjects that this process has warned of."""
_MAX_SUBJECTS = 1_000
"""How many subjects a process remembers. It does not warn of any further one, lest warnings fill a log."""


def warn_once(subject: str, message: str) -> None:
    """Logs a warning and shows it on the screen, once for each subject.

    Args:
        subject: Names the thing to warn of. A second warning of the same subject is dropped until `forget_notices`.
        message: The warning, in one line.
    """
    with _lock:
        if subject in _warned or len(_warned) >= _MAX_SUBJECTS:
            return
        _warned.add(subject)
    logger.warning("%s", message)
    PROGRESS.add_notice(f"warning: {message}")


def forget_notices() -> None:
    """Lets the next pipeline of this process warn of every subject again."""
    with _lock:
        _warned.clear()
