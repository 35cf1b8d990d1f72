"""Invoices with as many rows as wanted, over many pages, and what a model that reads them without error answers."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import Any

from kimi_beam.types.document import Document, Layout

INVOICE = {
    "title": "Invoice",
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "seller": {"type": ["string", "null"]},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "quantity": {"type": "integer"},
                    "price": {"type": "number"},
                    "total": {"type": "number"},
                },
                "required": ["name", "quantity", "price", "total"],
            },
        },
        "net": {"type": ["number", "null"]},
    },
    "required": ["number", "seller", "lines", "net"],
    "x-check": "sum(lines.total) == net",
}
HEADER = f"{'Item':<36}{'Qty':>6}{'Price':>12}{'Total':>14}"
_ROW = re.compile(r"^(\S.{0,35}?)\s{2,}(\d+)\s+([\d.]+)\s+([\d.]+)$", re.MULTILINE)
_PART = re.compile(r"^```part\n(.*)\n```$", re.DOTALL | re.MULTILINE)
_WHOLE = re.compile(r"^```document\n(.*)\n```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Invoice:
    """An invoice, and the answer for it."""

    document: Document
    gold: dict[str, Any]


def invoice(rows: int, *, seed: int = 7, rows_a_page: int = 30) -> Invoice:
    """An invoice with a title page and tables whose head is repeated on each page.

    One row in a hundred is a repetition of the row before it.
    """
    made = random.Random(seed)
    number = f"R-{seed}-{rows}"
    pages = [["ACME Tools Ltd", f"Invoice {number}", "Dear customer, we charge you for the following.", "", HEADER]]
    lines: list[dict[str, Any]] = []
    on_page = 0
    for index in range(rows):
        if lines and made.random() < 0.01:
            row = lines[-1]
        else:
            cents, quantity = made.randrange(100, 99_999), made.randrange(1, 90)
            name = f"{made.choice(['Bolt', 'Nut', 'Washer', 'Hinge'])} {made.randrange(10**6):06d}"
            row = {"name": name, "quantity": quantity, "price": cents / 100, "total": cents * quantity / 100}
        lines.append(row)
        text = f"{row['name']:<36}{row['quantity']:>6}{row['price']:>12.2f}{row['total']:>14.2f}"
        on_page += 1
        if on_page == rows_a_page and index + 1 < rows:
            on_page = 0
            pages[-1].append(text)
            pages.append([f"Page {len(pages) + 1}", HEADER])
        else:
            pages[-1].append(text)
    net = sum(round(row["total"] * 100) for row in lines) / 100
    pages[-1] += ["", f"Net total {net:.2f}", "Payable within 30 days."]
    texts = ["\n".join(page) + "\n" for page in pages]
    starts = [sum(map(len, texts[:index])) for index in range(len(texts))]
    document = Document(f"invoice-{rows}", "".join(texts), source="made", layout=Layout(tuple(starts)))
    return Invoice(document, {"number": number, "seller": "ACME Tools Ltd", "lines": lines, "net": net})


def read(text: str) -> dict[str, Any]:
    """What stands in a text, also if it is a part of an invoice."""
    found: dict[str, Any] = {"number": None, "seller": None, "lines": None, "net": None}
    if match := re.search(r"^Invoice (\S+)$", text, re.MULTILINE):
        found["number"] = match[1]
    if "ACME Tools Ltd" in text:
        found["seller"] = "ACME Tools Ltd"
    rows = _ROW.findall(text)
    if rows:
        found["lines"] = [
            {"name": name, "quantity": int(quantity), "price": float(price), "total": float(total)}
            for name, quantity, price, total in rows
        ]
    if match := re.search(r"^Net total ([\d.]+)$", text, re.MULTILINE):
        found["net"] = float(match[1])
    return found


def shown_text(messages: Any) -> str:
    """The text that a request asks about: the part, or the whole document."""
    content = messages[-1]["content"]
    text = content if isinstance(content, str) else "".join(piece.get("text", "") for piece in content)
    match = _PART.search(text) or _WHOLE.search(text)
    assert match is not None, text[:200]
    return match[1]


def answer(messages: Any, schema: Any) -> str:
    """A model that reads without error what it is shown."""
    assert schema is not None
    return json.dumps(read(shown_text(messages)))


def answer_of_context_too(messages: Any, schema: Any) -> str:
    """A model that reads the context beside a part as well, though it is told not to."""
    return json.dumps(read(messages[-1]["content"]))
