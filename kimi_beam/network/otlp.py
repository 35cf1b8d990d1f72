"""Sends a run's counters, and a span for the run and for each batch, to a collector of OpenTelemetry (OTLP over HTTP).

The libraries are the extra `otel`. Whatever goes wrong with the collector, the run goes on: it is said once, at its
end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from kimi_beam.errors import ConfigError

Attributes = Mapping[str, str | int | float]
Sample = tuple[str, float, Attributes]
"""The name of a sum, what it has come to since the run began, and what it is the sum of."""

_EVERY = 15.0
"""Seconds between two exports of the counters."""
_PATIENCE = 5.0
"""Seconds that one export may take, and so about those that a collector that is gone delays the end of a run."""
_LOGGERS = ("opentelemetry.sdk", "opentelemetry.exporter")


class Telemetry:
    """The connection to a collector.

    Args:
        url: The collector's base URL, such as ``http://localhost:4318``; ``/v1/traces`` and ``/v1/metrics`` are added.
            The headers that it asks for are in ``OTEL_EXPORTER_OTLP_HEADERS``, as OpenTelemetry names them.
        resource: What is told of the sender.

    Raises:
        ConfigError: The extra `otel` is not installed, or the URL is none of HTTP.
    """

    def __init__(self, url: str, resource: Attributes) -> None:
        _check(url)
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise ConfigError("--otlp needs OpenTelemetry's libraries: pip install 'kimi-beam[otel]'") from None
        base = url.rstrip("/")
        self._failures = _Failures()
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(self._failures)
            logging.getLogger(name).setLevel(logging.WARNING)  # the command line silences the root logger
            logging.getLogger(name).propagate = False
        about = Resource.create(dict(resource))
        exporter = OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=_PATIENCE)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=_EVERY * 1e3)
        self._meters = MeterProvider([reader], about, shutdown_on_exit=False)
        self._tracers = TracerProvider(resource=about, shutdown_on_exit=False)
        spans = OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=_PATIENCE)
        self._tracers.add_span_processor(BatchSpanProcessor(spans, max_queue_size=65_536))
        self._meter, self._tracer = self._meters.get_meter("kimi_beam"), self._tracers.get_tracer("kimi_beam")
        self._known: set[str] = set()
        self._samples: Sequence[Sample] = ()
        self._run: Any = None

    def begin(self, name: str, started: float) -> None:
        """Begins the span of the run.

        Args:
            name: Of the span.
            started: Unix seconds.
        """
        self._run = self._tracer.start_span(name, start_time=_nanoseconds(started))

    def add_span(self, name: str, started: float, ended: float, attributes: Attributes) -> None:
        """Adds a span inside that of the run. Times are Unix seconds."""
        from opentelemetry.trace import set_span_in_context

        inside = set_span_in_context(self._run)
        span = self._tracer.start_span(name, inside, start_time=_nanoseconds(started), attributes=dict(attributes))
        span.end(_nanoseconds(max(started, ended)))

    def set_sums(self, samples: Sequence[Sample]) -> None:
        """Sets what the sums have come to since the run began. They are sent every few seconds, and at the end."""
        from opentelemetry.metrics import CallbackOptions, Observation

        self._samples = samples
        for name in {name for name, _, _ in samples} - self._known:
            self._known.add(name)

            def observe(_: CallbackOptions, name: str = name) -> Iterable[Observation]:
                return [Observation(value, dict(about)) for other, value, about in self._samples if other == name]

            self._meter.create_observable_counter(name, [observe])

    def end(self, ended: float, attributes: Attributes) -> str:
        """Ends the span of the run, and sends what is left to send.

        Args:
            ended: Unix seconds.
            attributes: Of the run.

        Returns:
            What went wrong with the collector, in one line; empty if all has arrived.
        """
        self._run.set_attributes(dict(attributes))
        self._run.end(_nanoseconds(ended))
        self._tracers.shutdown()
        self._meters.shutdown(timeout_millis=2e3 * _PATIENCE)
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self._failures)
        return self._failures.first


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is read late
    except ValueError:
        parts = urlsplit("")
    if parts.username or parts.password:
        raise ConfigError("--otlp: credentials belong into OTEL_EXPORTER_OTLP_HEADERS, not into the URL")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError("--otlp: the base URL of a collector is needed, such as http://localhost:4318")


class _Failures(logging.Handler):
    """Keeps the first thing that OpenTelemetry complains of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or " ".join(record.getMessage().split())[:300]


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
