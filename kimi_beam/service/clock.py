"""The clock for waits and deadlines: Unix seconds that do not jump when the wall clock is set.

Jobs live in a runner's state and move between workers, so their times are Unix times. Within a process those are
counted from its start by a clock that only goes forward. With the wall clock instead, a jump ahead by a day would make
each job in flight a day old, and setting it back would delay the next poll for as long. The clocks of two processes
may still differ, which `kimi_beam.queue.jobs.rebased` and the grace in `kimi_beam.queue.state_machine.polled` allow
for.
"""

from __future__ import annotations

import threading
import time


def _ticks() -> float:
    """Seconds of a clock that only goes forward. On systems that have such a clock it also counts while suspended."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return time.monotonic()


_OFFSET = time.time() - _ticks()


def now() -> float:
    """Unix seconds: the wall clock at the start of this process plus the time since."""
    return _OFFSET + _ticks()


_LONGEST = 365 * 86_400.0
"""The longest time ahead, in seconds, that a runner's timer is set to: an infinite wait has no Beam timestamp."""


def wall_in(seconds: float) -> float:
    """The wall clock's time a number of seconds from now, in Unix seconds, for a runner's timer.

    At most a year ahead. A timer that fires early does no harm, because only what is due then is done.
    """
    return time.time() + min(max(0.0, seconds), _LONGEST)


def pause(seconds: float) -> None:
    """Sleeps, also on a system that reports an error because its clock was set meanwhile."""
    try:
        time.sleep(max(0.0, seconds))
    except (OSError, OverflowError, ValueError):  # [Errno 22]: seen when the clock was set ahead
        threading.Event().wait(min(1.0, max(0.0, seconds)))
