"""Invoices whose names go on in the line below or begin in the line above, and a reader that puts them together."""

from __future__ import annotations

import random
import re
from typing import Any

from kimi_beam.types.document import Document, Layout

_WORDS = ("Bolt", "Nut", "Washer", "Hinge", "Copper", "pipe", "Office", "chair", "Steel", "cable", "Adapter", "Toner")
_HEADERS = {
    "aligned": f"{'Item':<36}{'Qty':>6}{'Price':>14}{'Total':>16}",
    "pipes": "| Item | Qty | Price | Total |",
    "tabs": "Item\tQty\tPrice\tTotal",
}
_ROWS = {
    "aligned": re.compile(r"^(.*?\S)\s{2,}(\d+)\s+([\d.,]+)\s+([\d.,]+)$"),
    "pipes": re.compile(r"^\| (.*?) \| (\d+) \| ([\d.,]+) \| ([\d.,]+) \|$"),
    "tabs": re.compile(r"^(.*?)\t(\d+)\t([\d.,]+)\t([\d.,]+)$"),
}


def wrapped_invoice(seed: int, rows: int, *, below: bool, separator: str) -> Document:
    """An invoice of which some rows take two lines, some equal the row before, and some are cut by a page's end.

    Args:
        seed: What is drawn by chance: also whether pages begin and end with a sum that is carried forward.
        rows: How many rows it has.
        below: Whether names go on below their numbers; else they begin above them.
        separator: ``aligned``, ``pipes`` or ``tabs``.
    """
    made = random.Random(seed)
    header, carries, on_page = _HEADERS[separator], made.random() < 0.5, made.choice([7, 18, 30])
    pages = [["ACME Tools Ltd", f"Invoice {seed}", "", header]]
    if separator == "pipes":
        pages[-1].append("|---|---|---|---|")
    lines: list[str] = []
    for index in range(rows):
        if not lines or made.random() >= 0.05:
            lines = _lines(made, below=below, separator=separator)
        if index and index % on_page == 0:
            pages[-1] += ["Carried forward                 1,234.00"] * carries + [f"Page {len(pages)}"]
            pages.append(["ACME Tools Ltd, continued"])
            pages[-1] += ["Brought forward                 1,234.00"] * carries + [header]
        elif len(lines) > 1 and made.random() < 0.05:
            pages[-1].append(lines[0])
            pages.append([header, *lines[1:]])
            continue
        pages[-1] += lines
    pages[-1] += [
        "",
        "Net total                 9,999.00",
        "",
        "Rate        Net        Tax",
        "19 %   9,999.00   1,899.81",
    ]
    texts = ["\n".join(page) + "\n" for page in pages]
    starts = tuple(sum(map(len, texts[:number])) for number in range(len(texts)))
    return Document("i", "".join(texts), layout=Layout(starts))


def _lines(made: random.Random, *, below: bool, separator: str) -> list[str]:
    name = [*made.sample(_WORDS, 2), f"{made.randrange(10**5):05d}"]
    here, beside = name, list[str]()
    if made.random() < 0.25:
        here, beside = (name[:1], name[1:]) if below else (name[1:], name[:1])
    cents, count = made.randrange(100, 99_999), made.randrange(1, 90)
    cells = " ".join(here), f"{count}", f"{cents / 100:,.2f}", f"{cents * count / 100:,.2f}"
    row = {
        "aligned": f"{cells[0]:<36}{cells[1]:>6}{cells[2]:>14}{cells[3]:>16}",
        "pipes": f"| {' | '.join(cells)} |",
        "tabs": "\t".join(cells),
    }[separator]
    other = [" ".join(beside)] if beside else []
    return [row, *other] if below else [*other, row]


def read_wrapped(text: str, *, below: bool, separator: str) -> list[dict[str, Any]]:
    """The rows that a text shows, their names put together."""
    found: list[dict[str, Any]] = []
    begun, may_go_on = "", False
    for line in text.splitlines():
        if match := _ROWS[separator].match(line):
            if not line.startswith("19 %"):
                name = f"{begun} {match[1]}".strip()
                price, total = (float(cell.replace(",", "")) for cell in (match[3], match[4]))
                found.append({"name": name, "quantity": int(match[2]), "price": price, "total": total})
                begun, may_go_on = "", True
        elif line.split(" ")[0] in _WORDS:
            if not below:
                begun = line
            elif may_go_on:
                found[-1]["name"] += f" {line}"
                may_go_on = False
    return found
