"""How well a text keeps the rows of an invoice: the figures by which readers of PDFs are compared.

A gold line total is in row A if a line of the text has it with the item's quantity or unit price, and in row B if a
line has it with the beginning of the item's name.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

_NAME = 10
"""How many characters are the beginning of a name, spaces not counted."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The sums over some documents.

    Attributes:
        items: Gold line items whose total is in the document.
        row_a: Those whose total is on a line with quantity or unit price.
        row_b: Those whose total is on a line with the beginning of the name.
        merged: Lines that have the names of two items.
        tokens: The words of the gold texts.
        recalled: Those of them that the texts have.
    """

    items: int = 0
    row_a: int = 0
    row_b: int = 0
    merged: int = 0
    tokens: int = 0
    recalled: int = 0

    def __add__(self, other: Figures) -> Figures:
        """The sums over both."""
        return Figures(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def recall(self) -> float:
        """The share of the words that was found."""
        return self.recalled / max(self.tokens, 1)


def invoices(shared_data: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Each gold record whose PDF is here, and the PDF."""
    for kind in ("einvoice", "invoice2data"):
        directory = shared_data / "documents" / kind
        for line in (directory / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            file = directory / "pdf" / f"{record['id']}.pdf"
            if file.exists():
                yield record, file.read_bytes()


def figures(record: dict[str, Any], text: str) -> Figures:
    """The figures of one document."""
    lines = text.split("\n")
    gold, found = _words(record["text"]), _words(text)
    items = [
        item
        for item in (record.get("gold") or {}).get("line_items") or []
        if item.get("line_total") is not None and any(_has(line, item["line_total"]) for line in _lines_of(record))
    ]
    rows = [[line for line in lines if _has(line, item["line_total"])] for item in items]
    names = [_squeezed(item.get("name") or "")[:_NAME] for item in items]
    return Figures(
        items=len(items),
        row_a=sum(any(_has_a_factor(line, item) for line in row) for item, row in zip(items, rows, strict=True)),
        row_b=sum(
            bool(name) and any(name in _squeezed(line) for line in row) for name, row in zip(names, rows, strict=True)
        ),
        merged=sum(_is_merged(line, items) for line in lines),
        tokens=sum(gold.values()),
        recalled=sum((gold & found).values()),
    )


def total(parts: Iterable[Figures]) -> Figures:
    """The sums over some documents."""
    return sum(parts, Figures())


def _lines_of(record: dict[str, Any]) -> list[str]:
    return str(record["text"]).replace("\f", "\n").split("\n")


def _has_a_factor(line: str, item: dict[str, Any]) -> bool:
    """Whether a line that has an item's total has its quantity or unit price too, and not the total alone."""
    amount = Decimal(item["line_total"])
    return any(
        value is not None and _has(line, value) and (Decimal(value) != amount or len(re.findall(r"\d[.,]\d", line)) > 1)
        for value in (item.get("quantity"), item.get("unit_price"))
    )


def _is_merged(line: str, items: list[dict[str, Any]]) -> bool:
    """Whether a line has the names of two items."""
    squeezed = _squeezed(line)
    starts = {_squeezed(item.get("name") or "")[:_NAME] for item in items} - {""}
    return len({squeezed.find(start) for start in starts if start in squeezed}) > 1


def _has(line: str, value: str | None) -> bool:
    return value is not None and any(
        re.search(rf"(?<![\d.,]){re.escape(form)}(?!\d|[.,]\d)", line) for form in _spellings(value)
    )


def _spellings(value: str) -> set[str]:
    """A number with any decimals that do not alter it, with and without separators, as in English, German, French."""
    number = Decimal(value)
    spelled = set()
    for decimals in range(5):
        if round(number, decimals) == number:
            english = f"{number:,.{decimals}f}"
            german = english.translate(str.maketrans(",.", ".,"))
            plain = english.replace(",", "")
            spelled |= {english, german, plain, plain.replace(".", ","), german.replace(".", " ")}
    return spelled


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))
