"""`CheckConservation`: the documents that came into `Extract` are those that have left it, or the run fails.

A runner may lose what a timer gives out, or a whole bundle, and end with success. So each bundle that takes documents
in, and each that lets results go, gives out how many they are and the sum of the digests of their ids, and the sums of
all bundles are compared when the input has ended. The numbers of documents alone would be equal where one is lost and
another doubled. The numbers leave a bundle together with its outputs: one that is repeated is not counted twice.
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
Counts = KV[str, Tuple[int, int, int, int]]
"""The same key for all; how many documents came in, and the sum over their ids; how many left, and that sum."""

_NONE = (0, 0)
_MODULUS = 1 << 63
"""Sums over ids are taken by it, as Beam's coder of whole numbers has 64 bits with a sign. Different documents have the
same sum with a chance of 1 in 10¹⁹."""


def counted(*, came_in: tuple[int, int] = _NONE, left: tuple[int, int] = _NONE) -> TaggedOutput:
    """What a bundle gives out when it is finished.

    Args:
        came_in: How many documents the bundle took in, and the sum of `batches.digest` of their ids.
        left: The same of those that it let go.
    """
    window = GlobalWindow()
    counts = came_in[0], came_in[1] % _MODULUS, left[0], left[1] % _MODULUS
    return TaggedOutput(COUNTS, WindowedValue(("", counts), window.max_timestamp(), [window]))


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


def _compare(group: tuple[str, Iterable[tuple[int, int, int, int]]], step: str) -> tuple[()]:
    came_in, ids_in, left, ids_left = (sum(numbers) for numbers in zip(*group[1], strict=True))
    if came_in != left:
        told = f"{came_in} documents came in and {left} left: the runner lost or doubled results"
    elif (ids_in - ids_left) % _MODULUS:
        told = (
            f"{came_in} documents came in and as many left, but not the same: the runner lost some and doubled others"
        )
    else:
        return ()
    more = "What has been written is not complete; with a journal, the same pipeline again pays for nothing twice"
    raise ConservationError(f"{step}: {told}. {more}")
