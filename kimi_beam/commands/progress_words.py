"""The figures of a run's progress in words: the values of its panel and its lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kimi_beam.commands.console import plural, spending_text
from kimi_beam.report import metrics


def line(figures: Mapping[str, Any]) -> str:
    """The progress in one line."""
    settled = settled_of(figures)
    parts = [
        f"{figures[metrics.DOCUMENTS]} documents in, {settled} settled, "
        f"{plural(figures['unit'])} in flight: {figures['in_flight']}"
    ]
    if figures["oldest_s"] is not None:
        parts[0] += f" (the oldest for {duration(figures['oldest_s'])})"
    if letters := figures[metrics.DEAD_LETTERS]:
        parts.append(f"dead letters: {codes(letters)}")
    if settled:
        parts.append(money(figures))
    if figures["seconds_left"] is not None:
        parts.append(speed(figures))
    if "budget" in figures:
        parts.append(budget(figures["budget"]))
    parts.append(f"after {duration(figures['wall_s'])}")
    if "trouble" in figures:
        parts.append(f"the last trouble: {figures['trouble']}")
    return "; ".join(parts)


def settled_of(figures: Mapping[str, Any]) -> int:
    """Documents that became rows or dead letters."""
    letters: Mapping[str, int] = figures[metrics.DEAD_LETTERS]
    return int(figures[metrics.EXTRACTIONS]) + sum(letters.values())


def codes(letters: Mapping[str, int]) -> str:
    """Dead letters by code, the most frequent first."""
    return ", ".join(f"{code} {count}" for code, count in sorted(letters.items(), key=lambda pair: (-pair[1], pair[0])))


def money(figures: Mapping[str, Any]) -> str:
    """Dollars so far, and projected for all documents."""
    key = "would_have_cost_usd" if "would_have_cost_usd" in figures else "cost_usd"
    spent = figures[key]
    if spent is None:
        return "the model's price is not known (--price)"
    whole = figures["projected"] and figures["projected"][key]
    projected = "" if whole is None else f", about ${whole:.4f} in all"
    emulated = " (of the model; the emulator costs nothing)" if key != "cost_usd" else ""
    return f"${spent:.4f} so far{projected}{emulated}"


def speed(figures: Mapping[str, Any]) -> str:
    """Documents a second, and the time left."""
    left = figures["seconds_left"]
    rate = figures["documents_per_second"]
    fast = "" if rate is None else f"{rate:.1f} documents/s, "
    return f"{fast}about {duration(left)} left" if left else f"{fast}all settled"


def budget(spending: Mapping[str, float]) -> str:
    """What the budget has come to."""
    return spending_text(**{name.removesuffix("_usd"): usd for name, usd in spending.items()})


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 45 s, 3:05 min, 2:10 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"
