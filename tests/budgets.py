"""A budget held against the emulator's books: what was billed, and what a run with a budget may come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import QUICK, Outcome, receipts, run_extract, service

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.service.models import DEFAULT_MODEL
from kimi_beam.service.prices import PRICES

PRICE = PRICES[DEFAULT_MODEL]
CAP = 0.006
"""Dollars for which the emulator answers about 50 `receipts`."""
MOST_OF_ONE = 0.00225
"""Dollars that are reserved for one of `receipts`, at most, with these settings."""
SETTINGS: dict[str, Any] = {
    "max_completion_tokens": 64,
    "batching": kb.Batching(max_items=20),
    "polling": replace(QUICK, first=0.02, ceiling=0.1),
}


def billed(emulator: Emulator) -> float:
    """What the emulator has billed, in dollars."""
    stats = emulator.stats()
    usage = kb.Usage(stats["prompt_tokens"], stats["cached_tokens"], stats["completion_tokens"])
    return PRICE.cost(usage)


def run_with_budget(
    emulator: Emulator,
    directory: Path,
    name: str,
    *,
    count: int,
    api: Any = "batch",
    max_cost: float | None = CAP,
    **changes: Any,
) -> Outcome:
    """Runs receipts with a budget and a journal that all runs in the directory share."""
    changes = {**SETTINGS, **changes}
    where = service(emulator.base_url, api=api)
    journal = changes.pop("journal", str(directory / "journal"))
    return run_extract(
        receipts(count), "", directory / name, where=where, max_cost=max_cost, journal=journal, **changes
    )


def check_budget(
    directory: Path,
    *,
    runner: str | None,
    options: Sequence[str],
    count: int = 80,
    shares: int = 1,
    cap: float = CAP,
    **changes: Any,
) -> None:
    """A run that cannot pay for all documents keeps to its budget, and the next one pays for the others alone."""
    changes["max_cost"] = cap
    with Emulator(seed=1) as emulator:
        first = run_with_budget(emulator, directory, "first", count=count, runner=runner, options=options, **changes)
        assert first.ids == Counter(f"doc-{i}" for i in range(count)), "a document was lost or doubled"
        assert set(first.codes) == {"budget"}, first.codes
        spent = billed(emulator)
        assert spent <= cap
        assert cap - spent < shares * MOST_OF_ONE, "a share had money left for another document"
        second = run_with_budget(
            emulator, directory, "second", count=count, runner=runner, options=options, **{**changes, "max_cost": 10.0}
        )
        stats = emulator.stats()
    assert len(second.rows) == count
    assert (stats["documents"], stats["paid_twice"]) == (count, 0)
