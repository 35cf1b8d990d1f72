"""The progress of a run as figures: the names and the nesting are those of ``summary.json``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kimi_beam.report import metrics
from kimi_beam.report.pace import Outlook
from kimi_beam.report.progress import Snapshot
from kimi_beam.service.prices import Price, bill
from kimi_beam.types.answer import Usage

Dollars = Callable[[Usage], dict[str, float | None]]
"""The dollars that tokens cost, as `dollars_of` gives them."""


def figures(progress: Snapshot, outlook: Outlook, *, elapsed: float, now: float, dollars: Dollars) -> dict[str, Any]:
    """The figures of one moment.

    Args:
        progress: The progress at the moment.
        outlook: What the run is projected to come to.
        elapsed: Seconds since the run began.
        now: The moment, in Unix seconds of `kimi_beam.service.clock`.
        dollars: What tokens cost.

    Returns:
        What can be written as JSON. Values that are not known yet are None.
    """
    oldest = min((since for since, _ in progress.jobs), default=None)
    spending = progress.spending
    return {
        "wall_s": round(elapsed, 1),
        **{name: progress.counters.get(name, 0) for name in metrics.ALL if name in progress.counters},
        metrics.DOCUMENTS: progress.documents,
        metrics.EXTRACTIONS: progress.extractions,
        metrics.DEAD_LETTERS: dict(sorted(progress.dead_letters.items())),
        "in_flight": progress.in_flight,
        "documents_in_flight": progress.documents_in_flight,
        "unit": progress.unit,
        "oldest_s": None if oldest is None else round(max(0.0, now - oldest), 1),
        "usage": _tokens(progress.usage),
        **dollars(progress.usage),
        **{name: values.as_json() for name, values in progress.distributions.items()},
        "documents_per_second": _rounded(outlook.documents_per_second, 3),
        "seconds_left": _rounded(outlook.seconds_left, 1),
        "projected": None if outlook.usage is None else {"usage": _tokens(outlook.usage), **dollars(outlook.usage)},
        **(
            {"budget": {f"{name}_usd": round(usd, 9) for name, usd in spending._asdict().items()}}
            if spending is not None
            else {}
        ),
        **({"trouble": progress.trouble} if progress.trouble else {}),
    }


def dollars_of(model: str, price: Price | None, *, emulated: bool) -> Dollars:
    """Says what tokens cost, by the keys of ``summary.json``: the emulator costs nothing, the model would have.

    Args:
        model: The model that is asked.
        price: A price to use instead of the listed one; None: the listed one.
        emulated: Whether the emulator answers.
    """

    def dollars(usage: Usage) -> dict[str, float | None]:
        billed = bill(model, usage, price)
        cost = None if billed is None else billed.cost
        return {"cost_usd": 0.0, "would_have_cost_usd": cost} if emulated else {"cost_usd": cost}

    return dollars


def _tokens(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
