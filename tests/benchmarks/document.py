"""The table in docs/performance.md, made of the recorded figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .report import Row, details, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
_BEGIN, _END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def write(recorded: Mapping[str, Mapping[str, Any]]) -> None:
    """Puts the recorded figures into the document, those of one run together."""
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    DOCUMENT.write_text(before + _BEGIN + figures(recorded) + _END + after)


def figures(recorded: Mapping[str, Mapping[str, Any]]) -> str:
    """The recorded figures as Markdown: a table and what explains it for each machine, commit and day."""
    runs: dict[tuple[str, ...], list[Row]] = {}
    for name, row in recorded.items():
        known = {key: row[key] for key in ("measure", "against", "ours", "theirs", "unit", "target", "detail")}
        runs.setdefault(tuple(row[key] for key in ("machine", "versions", "commit", "load", "date")), []).append(
            Row(name, **known)
        )
    parts = []
    for (machine, versions, commit, load, date), rows in sorted(
        runs.items(), key=lambda item: item[0][-1], reverse=True
    ):
        where = f"{date}, commit {commit}, load {load} at the end. {machine}. {versions}."
        parts.append(f"\n{where}\n\n{table(rows)}\n\n{details(rows)}\n\n")
    return "".join(parts)
