"""Makes one transform of a function that adds several steps to a pipeline, so that they share a label."""

from __future__ import annotations

from collections.abc import Callable

import apache_beam as beam


class Steps(beam.PTransform):
    """A transform whose steps are added by a function; their labels begin with the transform's own label.

    Args:
        add: Takes the input and returns the output. It is called while the pipeline is built, and is never pickled.
    """

    def __init__(self, add: Callable[[beam.PCollection], beam.PCollection]) -> None:
        super().__init__()
        self._add = add

    def expand(self, given: beam.PCollection) -> beam.PCollection:
        return self._add(given)
