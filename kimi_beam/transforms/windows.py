"""Windows of bounded input: `Extract` works in the global window and gives each document's result in its own again.

State that belongs to a window is dropped when the window ends, so documents are brought into the global window first.
Their timestamps and windows are kept as `Document.arrival`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.window import IntervalWindow, SlidingWindows, WindowFn
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.errors import ConfigError
from kimi_beam.types import DeadLetter, Extraction


def check_windows(windowing: Windowing) -> None:
    """Refuses windows of which a document may be in several: it would be asked for, and paid for, once in each.

    How many they are cannot be known of a function that looks at the document, so that it is refused as well.

    Raises:
        ConfigError: Saying what to do instead.
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
    """Refuses windows of bounded input that cannot be given back.

    Answers come when the watermark is at the end of time. Prism, and runners in their streaming mode, take what is then
    given out with its document's time for late, and the next grouping drops it without a word (Prism 2.77: 6 of 6).

    Raises:
        ConfigError: Saying what to do instead.
    """
    runner = type(pipeline.runner).__name__
    if runner == "PrismRunner" or pipeline.options.get_all_options().get("streaming"):
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
    """The most windows that a moment is in, of some moments; of a function that needs to see the element, none.

    Where neither size nor offset of windows is a multiple of their period, some moments are in fewer than others.
    """
    most: list[Any] = []
    for at in _moments(window_fn):
        try:
            asked = _WithoutElement(at)
            windows = list(window_fn.assign(asked))
        except Exception:  # a user's own function may do anything with an element that it is not given
            return []
        if asked.is_element_read:
            return []
        most = max(most, windows, key=len)
    return most


class _WithoutElement(WindowFn.AssignContext):
    """Asks a function for the windows of a time, and notes whether it wanted to see an element."""

    is_element_read = False

    @property
    def element(self) -> None:
        self.is_element_read = True

    @element.setter
    def element(self, _: object) -> None:
        """Heeds none: there is none."""


def _moments(window_fn: WindowFn) -> list[Timestamp]:
    """The beginning of time as calendars count it, and for sliding windows when the next one begins."""
    if not isinstance(window_fn, SlidingWindows):
        return [Timestamp(0)]
    return [Timestamp(0), Timestamp(micros=window_fn.offset.micros)]


class RestoreWindows(beam.ParDo):
    """``PCollection[Extraction | DeadLetter] -> `` the same, each at its document's timestamp and in its window.

    Args:
        windowing: That of the documents.
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
        assert arrival is not None, "a windowed document has its arrival since it came in"
        # A time that no calendar has is that of elements without a timestamp: the earliest that Beam knows.
        at = MIN_TIMESTAMP if arrival.event_time is None else Timestamp(micros=arrival.event_time)
        if arrival.window is None:
            windows = list(self._window_fn.assign(WindowFn.AssignContext(at, element=result)))
        else:
            start, end = (Timestamp(micros=edge) for edge in arrival.window)
            windows = [IntervalWindow(start, end)]
        yield WindowedValue(result, at, windows)
