"""Tells a collector of OpenTelemetry about a run (``--otlp``)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kimi_beam.commands import console
from kimi_beam.network.otlp import Telemetry
from kimi_beam.report import telemetry_names as names
from kimi_beam.report.progress import PROGRESS
from kimi_beam.service import clock


class Teller:
    """Tells of one run.

    Args:
        url: The collector's base URL.
        command: The command that runs.
        model: The model that is asked.

    Raises:
        ConfigError: The extra `otel` is not installed, or the URL is none of HTTP.
    """

    def __init__(self, url: str, command: str, model: str) -> None:
        self._telemetry = Telemetry(url, {names.SERVICE: "kimi-beam"})
        self._command, self._model = command, model

    @contextlib.contextmanager
    def run(self) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Tells of the run that goes on inside the ``with``, which gets what tells of its summary."""
        summary: dict[str, Any] = {}
        PROGRESS.keeps_batches = True
        self._telemetry.begin(f"kimi-beam {self._command}", clock.now())
        try:
            yield summary.update
        finally:
            PROGRESS.keeps_batches = False
            if summary:
                self.look(summary)
            if trouble := self._telemetry.end(clock.now(), names.of_run(self._model)):
                console.say(f"--otlp: not all of the run was told to the collector: {trouble}")

    def look(self, figures: Mapping[str, Any]) -> None:
        """Tells of the figures of one moment, and of the batches that have ended since the last.

        Args:
            figures: As `kimi_beam.report.progress_figures` gives them, or the content of ``summary.json``.
        """
        self._telemetry.set_sums(names.samples(figures))
        for batch in PROGRESS.take_ended():
            self._telemetry.add_span(names.BATCH, batch.accepted, batch.ended, names.of_batch(batch))
