"""`CheckConservation`: fails the run unless the documents that entered `Extract` are exactly those that left it.

A runner may lose the output of a timer, or a whole bundle, and still end with success. So each bundle that reads
documents, and each that outputs results, also outputs their number and the sum of the digests of their ids. These are
summed and compared when the input has ended. The numbers alone would be equal if one document was lost and another
doubled. A bundle that is repeated is not counted twice, because its numbers are committed together with its other
outputs.
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
"""The tag of the output with the `Counts`."""
Counts = KV[str, Tuple[int, int, int, int]]
"""A key that is always the same; then the number of documents that entered, the sum over their ids, and the same two of
those that left."""

_NONE = (0, 0)
_MODULUS = 1 << 63
"""Sums over ids are taken modulo this number, as Beam's coder of integers has 64 bits with a sign. Different documents
have the same sum with a chance of 1 in 10¹⁹."""


def counted(*, came_in: tuple[int, int] = _NONE, left: tuple[int, int] = _NONE) -> TaggedOutput:
    """The counts that a bundle outputs when it is finished.

    Args:
        came_in: The number of documents that entered, and the sum of `batches.digest` of their ids.
        left: The same of the documents that left.
    """
    window = GlobalWindow()
    counts = came_in[0], came_in[1] % _MODULUS, left[0], left[1] % _MODULUS
    return TaggedOutput(COUNTS, WindowedValue(("", counts), window.max_timestamp(), [window]))


class CheckConservation(beam.PTransform):
    """``(PCollection[Counts], PCollection[Counts]) -> PCollection[None]``, which is empty. For bounded input.

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


def _compare(group: tuple[str, Iterable[tuple[int, int, int, int]]], step: str) -> tuple[()]:
    came_in, ids_in, left, ids_left = (sum(numbers) for numbers in zip(*group[1], strict=True))
    if came_in != left:
        problem = f"{came_in} documents came in and {left} left: the runner lost or doubled results"
    elif (ids_in - ids_left) % _MODULUS:
        problem = (
            f"{came_in} documents came in and as many left, but not the same: the runner lost some and doubled others"
        )
    else:
        return ()
    advice = "What has been written is not complete; with a journal, the same pipeline again pays for nothing twice"
    raise ConservationError(f"{step}: {problem}. {advice}")
