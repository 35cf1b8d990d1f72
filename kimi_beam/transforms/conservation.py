"""`CheckConservation`: as many documents have left `Extract` as came in, or the run fails.

A runner may lose what a timer gives out, or a whole bundle, and end with success. So each bundle that takes documents
in, and each that lets results go, gives out one pair of numbers, and their sums are compared when the input has ended.
The numbers leave a bundle together with its outputs: one that is repeated is not counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints import KV, Tuple
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.errors import ConservationError

COUNTS = "counts"
"""The tag of the output that holds `Counts`."""
Counts = KV[str, Tuple[int, int]]
"""The same key for all, and how many documents came in and left."""


def counted(*, came_in: int = 0, left: int = 0) -> TaggedOutput:
    """What a bundle gives out when it is finished."""
    window = GlobalWindow()
    return TaggedOutput(COUNTS, WindowedValue(("", (came_in, left)), window.max_timestamp(), [window]))


class CheckConservation(beam.PTransform):
    """``(PCollection[Counts], PCollection[Counts]) -> PCollection[None]``, which is empty.

    For bounded input.

    Args:
        step: The label of the `Extract` that is checked, for the error.

    Raises:
        ConservationError: In the running pipeline: documents were lost or doubled.
    """

    def __init__(self, step: str) -> None:
        super().__init__()
        self._step = step

    def expand(self, counts: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        together = counts | beam.Flatten().with_output_types(Counts) | beam.GroupByKey()
        return together | "Compare" >> beam.FlatMap(_compare, self._step).with_output_types(type(None))


def _compare(group: tuple[str, Iterable[tuple[int, int]]], step: str) -> tuple[()]:
    came_in, left = (sum(numbers) for numbers in zip(*group[1], strict=True))
    if came_in != left:
        raise ConservationError(
            f"{step}: {came_in} documents came in and {left} left: the runner lost or doubled results. What has been "
            "written is not complete; with a journal, the same pipeline again pays for nothing twice"
        )
    return ()
