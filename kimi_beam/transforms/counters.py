"""Beam's counters and distributions of a step, which count in the progress of this process as well."""

from __future__ import annotations

from collections.abc import Sequence

from apache_beam.metrics import Metrics

from kimi_beam.report import metrics
from kimi_beam.report.progress import PROGRESS


class Counters:
    """Counts what `kimi_beam.report.metrics` names. It can be pickled with the step that it belongs to."""

    def __init__(self) -> None:
        self._counters = {name: Metrics.counter(metrics.NAMESPACE, name) for name in metrics.ALL}
        self._distributions = {name: Metrics.distribution(metrics.NAMESPACE, name) for name in metrics.DISTRIBUTIONS}

    def count(self, name: str, by: int = 1) -> None:
        """Adds to a counter."""
        self._counters[name].inc(by)
        PROGRESS.count(name, by)

    def measure(self, name: str, values: Sequence[float]) -> None:
        """Adds values to a distribution. Beam's own are of whole numbers."""
        update = self._distributions[name].update
        for value in values:
            update(round(value))
        PROGRESS.measure(name, values)
