"""The heading of a table: which of its cells is the quantity, the price, the amount, and which says what it is for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kimi_beam.emulator.rules.labels import Label
from kimi_beam.emulator.rules.lexicon import CONCEPTS, unified, word_set, words

SPACE = re.compile(r"\s+")
"""Tells columns apart in a heading only, where each is one word."""

_WIDTH: Final = 400  # characters of a line that can be a heading
_CELL: Final = 40  # characters of a cell that can be the heading of a column
_DIGITS: Final = 4  # of a heading; a line with more of them has values
_SPLIT = re.compile(r"\s*\|\s*|\t+|\s{2,}")
_COMMA = re.compile(r"\s*[;,]\s*")
_LETTERS = re.compile(r"[^\W\d_]")
_NUMERIC: Final = frozenset({"quantity", "price", "total"})
_NOT_DESCRIBING: Final = word_set("pos position no nr number article art artikel code sku unit einheit uom date")
_LINE_TOTAL: Final = frozenset(
    unified(words(phrase)) for concept in CONCEPTS if concept.name == "line total" for phrase in concept.phrases
)
_BESIDE = re.compile(
    r"\([^)]*\)|(?<![^\W_])(?:rm|eur|usd|gbp|chf|myr|ht|ttc|excl|incl|netto|€|£|\$)(?![^\W_])", re.IGNORECASE
)


@dataclass(frozen=True)
class Header:
    """Where the columns of a table are.

    Attributes:
        names: The property of each cell, None for a cell that is none.
        separator: What divides the cells of a line.
    """

    names: list[str | None]
    separator: re.Pattern[str]


class Headings:
    """What the columns of a table may be called.

    Args:
        columns: Property names and their labels.
    """

    def __init__(self, columns: Sequence[tuple[str, Label]]) -> None:
        self._columns = columns
        self._roles = {name: role_of(label) for name, label in columns}
        self._known: dict[str, list[tuple[int, str]]] = {}
        for name, label in columns:
            for phrase, rank in label.ranks.items():
                self._known.setdefault("".join(phrase), []).append((rank, name))

    def header(self, line: str) -> Header | None:
        """Recognise a heading: at least two cells, or most of all, that are labels of different properties."""
        if len(line) > _WIDTH or not _LETTERS.search(line) or sum(map(str.isdigit, line)) > _DIGITS:
            return None
        for separator in (_SPLIT, _COMMA, SPACE):
            cells = separator.split(line.strip().strip("|").strip())
            if len(cells) < 2:
                continue
            names: list[str | None] = []
            for cell in cells:
                names.append(self._column(cell, names))
            known = len(names) - names.count(None)
            if known >= 2 and (separator is not SPACE or known * 2 >= len(cells)):
                self._prefer(names, cells)
                if separator is not SPACE:
                    self._describe(names, cells)
                return Header(names, separator)
        return None

    def _prefer(self, names: list[str | None], cells: Sequence[str]) -> None:
        """Let a later cell be the text that it names better than an earlier one: "Description" beside "Article"."""
        for name, role in self._roles.items():
            if role == "text" and name in names:
                ranks = [self._rank(cell, name) for cell in cells]
                best, old = ranks.index(min(ranks)), names.index(name)
                if ranks[best] < ranks[old] and names[best] is None:
                    names[old], names[best] = None, name

    def _rank(self, cell: str, name: str) -> int:
        known = self._known.get("".join(unified(words(cell))), ())
        return min((rank for rank, other in known if other == name), default=99)

    def _describe(self, names: list[str | None], cells: Sequence[str]) -> None:
        """Let the first cell that is not known say what is charged for, if none does: its headings are endless."""
        text = next((name for name, role in self._roles.items() if role == "text"), None)
        if text is None or any(self._roles[name] == "text" for name in names if name):
            return
        if len(_NUMERIC.intersection(self._roles.values())) < 2:
            return
        for number, cell in enumerate(cells):
            if names[number] is None and _LETTERS.search(cell) and _NOT_DESCRIBING.isdisjoint(words(cell)):
                names[number] = text
                return

    def _column(self, cell: str, taken: Sequence[str | None]) -> str | None:
        if len(cell) > _CELL:
            return None
        for part in (cell, *(cell.split("/") if " / " in cell else ())):  # "Preis / Prix"
            own = words(_BESIDE.sub(" ", part)) or words(part)
            name = self._named(own, taken) if 0 < len(own) <= 4 else None
            if name is not None:
                return name
        return None

    def _named(self, own: tuple[str, ...], taken: Sequence[str | None]) -> str | None:
        free = [(rank, name) for rank, name in self._known.get("".join(unified(own)), ()) if name not in taken]
        if free:
            return min(free, key=lambda pair: pair[0])[1]
        if unified(own) not in _LINE_TOTAL:
            return None
        return next((name for name, role in self._roles.items() if role == "total" and name not in taken), None)


def role_of(label: Label) -> str:
    """Say what a column of items holds: quantity, price, total, date, text or something else."""
    if label.means("quantity"):
        return "quantity"
    if label.means("unit price"):
        return "price"
    if label.kind == "amount" and (label.means("total") or label.means("line total") or "total" in label.words):
        return "total"
    if label.kind == "date":
        return "date"
    return "text" if label.kind in ("text", "party") and not label.means("unit") else "other"
