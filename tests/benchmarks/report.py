"""Figures as ratios: a table for people, JSON for `make bench-check`, and the comparison of the two."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOLERANCE = 1.2
"""How much worse than the recorded one a ratio may be."""


@dataclass(frozen=True)
class Row:
    """One measure of ours beside another; less is better.

    Attributes:
        name: By which it is recorded.
        measure: What was measured.
        against: What it is measured against.
        ours: Our figure.
        theirs: The other one, in the same unit.
        unit: Of both.
        target: What the ratio may be; None where only the figure is wanted.
        detail: Other figures that explain it.
    """

    name: str
    measure: str
    against: str
    ours: float
    theirs: float
    unit: str
    target: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Ours by theirs."""
        return self.ours / self.theirs

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        return "" if self.target is None else "met" if self.ratio <= self.target else "missed"

    def recorded(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "measure": self.measure,
            "against": self.against,
            "ours": _rounded(self.ours),
            "theirs": _rounded(self.theirs),
            "unit": self.unit,
            "ratio": _rounded(self.ratio),
            "target": self.target,
            "detail": {name: _rounded(value) for name, value in self.detail.items()},
        }


def table(rows: Iterable[Row]) -> str:
    """The rows as a table of Markdown."""
    lines = ["| Measure | Ours | Against | Theirs | Ratio | Target | |", "|---|--:|---|--:|--:|--:|---|"]
    for row in rows:
        target = "" if row.target is None else f"≤ {row.target:g}"
        unit = f" {row.unit}" if row.unit else ""
        figures = f"{_short(row.ours)}{unit} | {row.against} | {_short(row.theirs)}{unit} | {_short(row.ratio)}"
        lines.append(f"| {row.measure} | {figures} | {target} | {row.verdict} |")
    return "\n".join(lines)


def details(rows: Iterable[Row]) -> str:
    """What explains the rows, one line each."""
    told = (
        (row.measure, ", ".join(f"{name} {_short(value)}" for name, value in row.detail.items()))
        for row in rows
        if row.detail
    )
    return "\n".join(f"- {measure}: {text}" for measure, text in told)


def worse(rows: Sequence[Row], recorded: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each row whose ratio is worse than the recorded one by more than the tolerance."""
    return [
        f"{row.name}: {row.measure}: {_short(row.ratio)}, recorded {_short(before['ratio'])}"
        for row in rows
        if (before := recorded.get(row.name)) is not None and row.ratio > before["ratio"] * TOLERANCE
    ]


def read(path: Path) -> dict[str, Any]:
    """The recorded figures; nothing where none were."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    return found


def record(path: Path, rows: Iterable[Row], machine: Mapping[str, Any]) -> None:
    """Writes figures down; those of rows that were not measured stay."""
    kept = read(path)["rows"]
    for row in rows:
        kept[row.name] = {**row.recorded(), **machine}
    path.write_text(json.dumps({"rows": kept}, indent=2, ensure_ascii=False) + "\n")


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
