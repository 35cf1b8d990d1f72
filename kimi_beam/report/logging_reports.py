"""Log lines of a run, under the logger ``kimi_beam``: how far it is, and what goes wrong with the service.

The command line prints progress; a pipeline of the user's own does not. So each worker process logs

* at INFO how far it is, once it has something to do and then once a minute;
* at WARNING each kind of trouble with the service once a minute, with the number of times it occurred since.

These lines hold counts and the service's messages, never a part of a document or a token.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

from kimi_beam.report.progress import PROGRESS, Progress
from kimi_beam.wire.envelopes import Refused, Unknown, Unsent
from kimi_beam.wire.printable import printable
from kimi_beam.wire.protocol import Failed, Gone, Trouble
from kimi_beam.wire.service_errors import Remedy

T = TypeVar("T")

LOGGER = logging.getLogger("kimi_beam")
EVERY = 60.0
"""Seconds between two lines of progress, and between two lines about the same kind of trouble."""
_LONGEST = 300
"""The most characters of the service's message in a line."""

RequestKind = Literal["submit", "poll", "request"]
"""What was sent: a batch, a poll of its job, or a synchronous request."""

_CONSEQUENCES = {  # by remedy: what the line about a refusal says, for the user of a run
    Remedy.WAIT: "the service says to come back later: it is asked more slowly, and no document is lost",
    Remedy.RETRY: "the service has trouble of its own: the {kind} is repeated later",
    Remedy.TIMEOUT: "no answer in time: the {kind} is repeated where that is allowed, and may be paid for twice",
    Remedy.OTHER_FORM: "JSON mode could not be met: these documents are asked for in another form",
    Remedy.TOMORROW: "the quota is spent: documents that are not sent yet become dead letters until it is renewed",
    Remedy.SPLIT: "a {kind} is too large: it is cut in two where that is possible",
    Remedy.NEVER: "a {kind} is refused for good: a batch is cut in two until the refused document stands alone",
    Remedy.ACCOUNT: "the token, account or model is turned away",
}
_UNKNOWN = "a {kind} ended without a reply: it may have been paid for, and is repeated once where that is allowed"
_UNREACHABLE = "the service cannot be reached: it is tried again until the deadline"
_GONE = "the service does not know a job any more: it is submitted once more if that is so at the next poll too"
_FAILED = "the service says that a job failed: its documents become dead letters"
_UNREAD = "a poll failed: the job is polled again"
_NO_EVENTS = "events cannot be pulled: jobs are polled meanwhile"


class Reports:
    """Logs what one process does, at most one line of a kind a minute. Safe to use from several threads.

    Args:
        counts: The counts of the process.
        clock: Gives the seconds of a clock that only goes forward.
    """

    def __init__(self, counts: Progress = PROGRESS, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts, self._clock = counts, clock
        self._lock = threading.Lock()
        self._silent = 0
        self._next: dict[str, float] = {}
        """When each kind of line may be logged again."""
        self._suppressed: Counter[str] = Counter()
        """How often each kind of trouble has occurred since its last line."""

    def progress(self) -> None:
        """Logs how far this process is, if the last such line is a minute old."""
        if self._clock() < self._next.get("", 0.0) or not self._is_due(""):
            return
        now = self._counts.snapshot()
        if not now.documents and not now.settled and not now.in_flight:
            self._next[""] = 0.0
            return
        units = f"{now.unit}es" if now.unit.endswith("ch") else f"{now.unit}s"
        LOGGER.info(
            "in this process: %d documents in, %d settled, %d %s in flight",
            *(now.documents, now.settled, now.in_flight, units),
        )

    def log_trouble(self, kind: RequestKind, result: T) -> T:
        """Logs the trouble with the service that a reply shows, if it shows any.

        Args:
            kind: What was sent.
            result: The decoded reply, which is returned as it is.
        """
        if isinstance(result, Refused):
            remedy = result.error.remedy
            self._trouble(f"{kind} {remedy.name}", _CONSEQUENCES[remedy].format(kind=kind), str(result.error))
        elif isinstance(result, Unknown):
            self._trouble(f"{kind} unknown", _UNKNOWN.format(kind=kind), result.message)
        elif isinstance(result, Unsent):
            self._trouble("unsent", _UNREACHABLE, result.message)
        elif isinstance(result, Gone):
            self._trouble("gone", _GONE, result.message)
        elif isinstance(result, Failed):
            self._trouble("failed", _FAILED, result.message)
        elif isinstance(result, Trouble):
            remedy = result.error.remedy if result.error is not None else Remedy.RETRY
            says_more = remedy in (Remedy.WAIT, Remedy.ACCOUNT)
            consequence = _CONSEQUENCES[remedy].format(kind=kind) if says_more else _UNREAD
            self._trouble(f"{kind} {remedy.name}", consequence, result.message)
        return result

    def no_events(self, message: str) -> None:
        """Logs that events could not be pulled."""
        self._trouble("events", _NO_EVENTS, message)

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Logs nothing inside the ``with``, as the command line prints the same lines itself."""
        with self._lock:
            self._silent += 1
        try:
            yield
        finally:
            with self._lock:
                self._silent -= 1

    def _trouble(self, kind: str, consequence: str, message: str) -> None:
        if not self._is_due(kind):
            return
        more = self._suppressed.pop(kind, 0)
        since = f" ({more} more of this kind since the last line)" if more else ""
        LOGGER.warning("%s%s: %s", consequence, since, one_line(message))

    def _is_due(self, kind: str) -> bool:
        with self._lock:
            now = self._clock()
            if self._silent:
                return False
            if now < self._next.get(kind, now):
                if kind:
                    self._suppressed[kind] += 1
                return False
            self._next[kind] = now + EVERY
            return True


def one_line(message: str) -> str:
    """A message of the service as one line of printable characters, so that it cannot control a terminal."""
    return printable(" ".join(message.split()))[:_LONGEST]


REPORTS = Reports()
"""The `Reports` of this process."""
