"""How long to wait between two polls of a job, and how long for the job: the settings `Polling`.

Waits grow from poll to poll up to a ceiling, until the job's deadline. Nothing here reads a clock or a random
generator: jitter is derived from the job's id, so that a replayed bundle waits as its first run did, while jobs that
were submitted together drift apart.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal, get_args

from kimi_beam.errors import ConfigError

OnDeadline = Literal["resubmit", "dead-letter"]
"""What becomes of a job that has not ended by its deadline: it is submitted once more, or given up."""

OnMismatch = Literal["keep", "dead-letter"]
"""What becomes of an answer whose ``external_reference`` names one document and whose ``index`` names another: it is
kept for the document of the reference, or given up."""


@dataclass(frozen=True, slots=True)
class Polling:
    """How often a job is polled, and for how long.

    The service documents no interval; its own tests finished "usually within 5 minutes", a captured K2.6 job of two
    tiny items took 10 minutes and one of 14.8 MB took 40 (changelog 2026-03-19; captures).

    Example:
        >>> polling = kb.Polling(first=10.0, factor=2.0, ceiling=300.0, deadline=6 * 3600.0)
        >>> polling.wait("a job's id", polls=0)
        10.0
        >>> 240.0 <= polling.wait("a job's id", polls=20) <= 300.0
        True

    Attributes:
        first: Seconds from the submit to the first poll.
        factor: How much longer each wait is than the one before.
        ceiling: The longest wait, in seconds.
        deadline: Seconds from the submit after which a job of the queue, or a synchronous request, is given up.
        on_mismatch: What becomes of an answer of the queue whose ``external_reference`` names one document and whose
            ``index`` names another. ``keep``: it belongs to the document of the reference. ``dead-letter``: the
            document becomes a ``malformed_item`` dead letter. Either way it is counted (``mismatched_items``).
        on_deadline: What becomes of a job that has not ended by its deadline. ``dead-letter``: its documents become
            retryable dead letters that carry the request id. ``resubmit``: they are submitted once more, and paid for
            twice if the first job still ends.

    Raises:
        ConfigError: The waits are not positive or not in order; or `on_deadline` or `on_mismatch` has an unknown value.
    """

    first: float = 1.0
    factor: float = 1.5
    ceiling: float = 60.0
    deadline: float = 86_400.0
    on_deadline: OnDeadline = "dead-letter"
    on_mismatch: OnMismatch = "keep"

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.ceiling < math.inf:
            raise ConfigError("Polling: first must be above 0 and at most ceiling, and ceiling finite")
        if not (1 <= self.factor < math.inf and 0 < self.deadline < math.inf):
            raise ConfigError("Polling: factor must be at least 1 and deadline above 0, and both finite")
        if self.on_deadline not in get_args(OnDeadline):
            raise ConfigError("Polling: on_deadline is resubmit or dead-letter")
        if self.on_mismatch not in get_args(OnMismatch):
            raise ConfigError("Polling: on_mismatch is keep or dead-letter")

    def wait(self, job: str, polls: int) -> float:
        """Seconds to wait before the next poll.

        Args:
            job: The job's id, which the jitter is drawn from.
            polls: How often it has been polled already.

        Returns:
            The wait, shortened by up to a fifth; `first` exactly for the first poll.
        """
        if polls == 0:
            return self.first
        return self._grown(self.factor, polls) * (1 - 0.2 * chance(job, polls))

    def backoff(self, job: str, tries: int) -> float:
        """Seconds to wait before a refused submit is tried again: exponential from `first`, with full jitter."""
        return self._grown(2.0, tries) * (0.1 + 0.9 * chance(job, tries))

    def _grown(self, factor: float, times: int) -> float:
        """`first` multiplied by `factor` several times, up to the ceiling. Logarithms keep it from overflowing."""
        if times * math.log(factor) >= math.log(self.ceiling / self.first):
            return self.ceiling
        return min(self.ceiling, self.first * factor**times)


def chance(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone."""
    seed = hashlib.blake2b(repr(key).encode(), digest_size=7).digest()
    return int.from_bytes(seed, "big") / (1 << 56)
