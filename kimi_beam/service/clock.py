"""The time by which waits are measured: Unix seconds that no setting of the wall clock moves.

Jobs live in a runner's state and go from one worker to another, so their times are Unix times. Inside a process they
are counted on from its start by a clock that only goes forward: a wall clock that jumps ahead by a day would make each
job in flight a day old, and one that is set back would put off its next poll for as long. What two processes see may
differ all the same: `jobs.rebased` and the grace in `dispatch.polled` are for that.
"""

from __future__ import annotations

import threading
import time


def _ticks() -> float:
    """Seconds of a clock that only goes forward and, where the system has such a one, counts while it is suspended."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return time.monotonic()


_OFFSET = time.time() - _ticks()


def now() -> float:
    """Unix seconds by the wall clock as it was when this process began, counted on from there."""
    return _OFFSET + _ticks()


_LONGEST = 365 * 86_400.0
"""Seconds that a runner's timer may be ahead. Beam's times end in the year 294,246, and an infinite one is none."""


def wall_in(seconds: float) -> float:
    """Unix seconds by the wall clock, so many from now: what a runner's own timers go by, wherever it has been set to.

    At most a year: a timer that fires early does no harm, as it is only looked then what is due.
    """
    return time.time() + min(max(0.0, seconds), _LONGEST)


def pause(seconds: float) -> None:
    """Sleeps; a system whose clock was set meanwhile may refuse to go on sleeping, which is no reason to fail."""
    try:
        time.sleep(max(0.0, seconds))
    except (OSError, OverflowError, ValueError):  # [Errno 22]: seen when the clock was set ahead
        threading.Event().wait(min(1.0, max(0.0, seconds)))
