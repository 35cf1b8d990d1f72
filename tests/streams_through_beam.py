"""A stream of documents through `Extract` in this process, and what came out of it."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows
from harness import QUICK, RECEIPT

import kimi_beam as kb

_arrived: list[tuple[str, Any]] = []


class _Collect(beam.DoFn):
    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, element: object) -> None:
        _arrived.append((self._name, element))


def stream_through(stream: Any, where: kb.WorkersAI, *, windowed: bool = False, **extract: Any) -> None:
    """Runs a stream; what comes out is in `_arrived`."""
    _arrived.clear()
    options = PipelineOptions(streaming=True)
    with beam.Pipeline(runner="BundleBasedDirectRunner", options=options) as pipeline:
        came_in = pipeline | stream
        if windowed:
            came_in = came_in | beam.WindowInto(FixedWindows(5))
        results = came_in | kb.Extract(RECEIPT, service=where, polling=QUICK, **extract)
        results.extractions | "Rows" >> beam.ParDo(_Collect("row"))
        results.dead_letters | "Letters" >> beam.ParDo(_Collect("letter"))
