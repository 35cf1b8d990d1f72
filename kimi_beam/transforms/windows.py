"""Windows: `Extract` works in the global window, and afterwards puts results back into the windows of their documents.

State that belongs to a window is dropped when the window ends, so documents are put into the global window first. Their
timestamps and windows are kept in `Document.arrival`. Only results of bounded input are put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.window import IntervalWindow, SlidingWindows, WindowFn
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.errors import ConfigError
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.extraction import Extraction


def check_windows(windowing: Windowing) -> None:
    """Refuses windows if a document may be in several of them: it would be paid for once in each.

    A window function that looks at the document is refused as well, as it cannot be known how many windows it assigns.

    Raises:
        ConfigError: They are refused. The message says what to do instead.
    """
    assigned = _assigned(windowing.windowfn)
    if not assigned:
        raise ConfigError(
            f"Extract: {type(windowing.windowfn).__name__} does not choose windows by a timestamp alone, so that a "
            "document may be in several and would be asked for once in each: put WindowInto after Extract"
        )
    if len(assigned) > 1:
        raise ConfigError(
            f"Extract: documents are in {type(windowing.windowfn).__name__}, each in {len(assigned)} windows at once, "
            "and would be asked for once in each: put WindowInto after Extract"
        )


def check_restorable(windowing: Windowing, pipeline: beam.Pipeline) -> None:
    """Refuses windows of bounded input that results cannot be put back into.

    Answers come when the watermark is at the end of time. To Prism, and to runners in streaming mode, a result with the
    timestamp of its document is then late, and the next grouping drops it silently (Prism 2.77: 6 of 6).

    Raises:
        ConfigError: They are refused. The message says what to do instead.
    """
    runner = type(pipeline.runner).__name__
    if runner == "PrismRunner" or pipeline.options.view_as(StandardOptions).streaming:
        raise ConfigError(
            f"Extract: {runner} would drop results that are given back in the windows of their documents as late: put "
            "WindowInto(GlobalWindows()) before Extract; each result says its document's time in its arrival"
        )
    assigned = _assigned(windowing.windowfn)
    if not all(isinstance(window, IntervalWindow) for window in assigned):
        raise ConfigError(
            f"Extract: cannot give the windows of {type(windowing.windowfn).__name__} back, which are no intervals of "
            "time that follow from a timestamp alone: put WindowInto after Extract"
        )


def _assigned(window_fn: WindowFn) -> list[Any]:
    """The windows of one point in time, of those tried the one that is in most windows.

    Several are tried because of sliding windows: if neither size nor offset is a multiple of the period, some points in
    time are in fewer windows than others. The result is empty for a function that looks at the element.
    """
    most: list[Any] = []
    for moment in _moments(window_fn):
        try:
            context = _WithoutElement(moment)
            windows = list(window_fn.assign(context))
        except Exception:  # a user's own function may fail in any way without an element
            return []
        if context.is_element_read:
            return []
        most = max(most, windows, key=len)
    return most


class _WithoutElement(WindowFn.AssignContext):
    """The context of a window function without an element. It records whether the function has read the element."""

    is_element_read = False

    @property
    def element(self) -> None:
        self.is_element_read = True

    @element.setter
    def element(self, _: object) -> None:
        """Ignored: Beam's own constructor sets the element."""


def _moments(window_fn: WindowFn) -> list[Timestamp]:
    """The points in time to try: 0, and for sliding windows the beginning of a window."""
    if not isinstance(window_fn, SlidingWindows):
        return [Timestamp(0)]
    return [Timestamp(0), Timestamp(micros=window_fn.offset.micros)]


class RestoreWindows(beam.ParDo):
    """``PCollection[Extraction | DeadLetter] -> `` the same, each with the timestamp and window of its document.

    Args:
        windowing: The windowing of the documents.
    """

    def __init__(self, windowing: Windowing) -> None:
        super().__init__(_Restore(windowing.windowfn))
        self._windowing = windowing

    def get_windowing(self, inputs: Any) -> Windowing:
        return self._windowing


class _Restore(beam.DoFn):
    def __init__(self, window_fn: WindowFn) -> None:
        self._window_fn = window_fn

    def process(self, result: Extraction | DeadLetter) -> Iterator[WindowedValue]:
        arrival = result.provenance.arrival if isinstance(result, Extraction) else result.document.arrival
        assert arrival is not None, "`KeepArrival` gives each windowed document its arrival"
        # An element without a timestamp has Beam's earliest time, which `Arrival` has as None.
        timestamp = MIN_TIMESTAMP if arrival.event_time is None else Timestamp(micros=arrival.event_time)
        if arrival.window is None:
            windows = list(self._window_fn.assign(WindowFn.AssignContext(timestamp, element=result)))
        else:
            start, end = (Timestamp(micros=edge) for edge in arrival.window)
            windows = [IntervalWindow(start, end)]
        yield WindowedValue(result, timestamp, windows)
