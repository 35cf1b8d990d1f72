"""Several steps of a pipeline under one label."""

from __future__ import annotations

from collections.abc import Callable

import apache_beam as beam


class Steps(beam.PTransform):
    """What a function adds to a pipeline, as one transform: its steps are named below the transform's own label.

    Args:
        add: Takes the input and returns the output. It is called while the pipeline is built, and does not travel.
    """

    def __init__(self, add: Callable[[beam.PCollection], beam.PCollection]) -> None:
        super().__init__()
        self._add = add

    def expand(self, given: beam.PCollection) -> beam.PCollection:
        return self._add(given)
