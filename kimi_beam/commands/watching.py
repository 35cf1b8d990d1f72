"""Shows the progress of a run while it goes on: as a panel, in lines, or as JSON (``--progress``)."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kimi_beam.commands import console, progress_words
from kimi_beam.errors import ConfigError
from kimi_beam.report.pace import Pace
from kimi_beam.report.progress import PROGRESS
from kimi_beam.report.progress_figures import Dollars, figures
from kimi_beam.service import clock

MODES = ("auto", "panel", "lines", "json", "none")
"""The values of ``--progress``."""
FRAME = 1.0
"""Seconds between two looks at the progress, and between two drawings of the panel."""
LINE = 5.0
"""Seconds between two lines, if something has changed."""
_QUIET = 59.0
"""Seconds between two lines if nothing has changed: at the next look it is a minute at most."""


def mode_of(wanted: str, *, verbose: bool) -> str:
    """How the progress is shown: ``auto`` is decided here.

    Args:
        wanted: One of `MODES`.
        verbose: Whether the workers' logs are shown on the same screen.

    Raises:
        ConfigError: A panel is wanted and cannot be shown.
    """
    if wanted not in ("auto", "panel"):
        return wanted
    if verbose:
        reason = "the log lines of --verbose would break it"
    elif not sys.stderr.isatty():
        reason = "stderr is no terminal"
    elif os.environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        reason = "TERM names a terminal that cannot move its cursor"
    elif importlib.util.find_spec("rich") is None:
        reason = "it needs pip install 'kimi-beam[terminal]'"
    else:
        return "panel"
    if wanted == "panel":
        raise ConfigError(f"--progress panel: {reason}; --progress lines needs nothing")
    return "lines"


@contextlib.contextmanager
def watched(
    mode: str,
    title: str,
    dollars: Dollars,
    *,
    counted: bool,
    also: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Iterator[None]:
    """Shows the progress of the run that goes on inside the ``with``.

    Args:
        mode: ``panel``, ``lines``, ``json`` or ``none``.
        title: What the panel is called.
        dollars: What tokens cost.
        counted: Whether the work is done in this process, so that there are counts.
        also: Is given the figures of each moment too.
    """
    show = _shower("lines" if mode == "panel" and not counted else mode, title, counted=counted)
    pace, begun, done = Pace(), clock.now(), threading.Event()

    def look(*, is_last: bool) -> None:
        for notice in PROGRESS.take_notices():
            console.say(notice)
        now, progress = clock.now(), PROGRESS.snapshot()
        outlook = pace.observe(now, progress)
        found = figures(progress, outlook, elapsed=now - begun, now=now, dollars=dollars)
        show(found, is_last)
        also(found)

    def report() -> None:
        while not done.wait(FRAME):
            look(is_last=False)

    thread = threading.Thread(target=report, name="kimi_beam-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        look(is_last=True)
        console.close_display()


def _shower(mode: str, title: str, *, counted: bool) -> Callable[[Mapping[str, Any], bool], None]:
    """What shows figures, and is told whether they are the last."""
    if mode == "panel":
        from kimi_beam.commands.live_panel import LivePanel

        panel = LivePanel(title)
        console.set_display(panel)
        return lambda found, _: console.redraw(lambda: panel.show(found))
    if mode == "lines":
        words = progress_words.line if counted else _uncounted
        return Sparse(lambda found, is_last: None if is_last else console.say(words(found)))
    if mode == "json":
        return Sparse(lambda found, is_last: console.put_figures({**found, "done": is_last}))
    return lambda _found, _is_last: None


class Sparse:
    """Shows figures every few seconds if they have changed, every minute if they have not, and the last ones.

    Args:
        show: Shows figures, and is told whether they are the last.
        now: Gives the seconds of a clock that only goes forward.
    """

    def __init__(
        self, show: Callable[[Mapping[str, Any], bool], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._show, self._now = show, now
        self._shown: Mapping[str, Any] | None = None
        self._when = now()

    def __call__(self, found: Mapping[str, Any], is_last: bool) -> None:
        """Shows figures if it is time to."""
        since, changed = self._now() - self._when, _lasting(found)
        has_begun = bool(found["documents"])
        if is_last or since >= _QUIET or (since >= LINE and has_begun and changed != self._shown):
            self._shown, self._when = changed, self._now()
            self._show(found, is_last)


_ALWAYS_OTHERS = frozenset({"wall_s", "oldest_s", "documents_per_second", "seconds_left", "polls"})


def _lasting(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The figures that change only if the run gets on."""
    return {name: value for name, value in found.items() if name not in _ALWAYS_OTHERS}


def _uncounted(found: Mapping[str, Any]) -> str:
    return (
        f"running for {progress_words.duration(found['wall_s'])}; the workers are other processes, and are counted at "
        "the end"
    )
