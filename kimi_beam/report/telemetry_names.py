"""The names under which a run is told to OpenTelemetry: the only place that knows them.

Sums are ``kimi_beam.`` before the names of `kimi_beam.report.metrics` and ``summary.json``. OpenTelemetry's own names
for generative models are still being changed, so that only few of them are used, and only here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kimi_beam.report import metrics
from kimi_beam.report.progress import EndedBatch

SERVICE = "service.name"
BATCH = "batch"
"""The name of the span of a batch."""


def samples(figures: Mapping[str, Any]) -> list[tuple[str, float, dict[str, str]]]:
    """The sums of a run: the name of each, its value, and what it is the sum of.

    Args:
        figures: ``summary.json``, or the progress by the same names (`kimi_beam.report.progress_figures`).
    """
    found: list[tuple[str, float, dict[str, str]]] = []
    for name in metrics.ALL:
        value = figures.get(name)
        if isinstance(value, dict):  # dead letters, by code
            found += [(f"kimi_beam.{name}", count, {"code": code}) for code, count in value.items()]
        elif value is not None:
            found.append((f"kimi_beam.{name}", value, {}))
    for name in metrics.DISTRIBUTIONS:
        for part in ("count", "sum"):
            if (values := figures.get(name)) is not None:
                found.append((f"kimi_beam.{name}.{part}", values[part], {}))
    found += [(f"kimi_beam.{name}", tokens, {}) for name, tokens in figures["usage"].items()]
    return found + [
        (f"kimi_beam.{name}", figures[name], {})
        for name in ("cost_usd", "would_have_cost_usd")
        if figures.get(name) is not None
    ]


def of_run(model: str) -> dict[str, str | int | float]:
    """What the span of a run is told."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "cloudflare.workers_ai",
        "gen_ai.request.model": model,
    }


def of_batch(batch: EndedBatch) -> dict[str, str | int | float]:
    """What the span of a batch is told."""
    return {"kimi_beam.documents": batch.documents, "kimi_beam.request_id": batch.request_id}
