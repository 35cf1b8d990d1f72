"""Invoices of many layouts, made at random: what a reader of PDFs does with the rows of their tables is counted."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from typing import Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

# fmt: off
_WORDS = (
    "Office", "Chair", "Desk", "Lamp", "Premium", "Adjustable", "Wooden", "Steel", "Cable", "Adapter", "Monitor",
    "Stand", "Filter", "Service", "Monthly", "Licence", "Hosting", "Toner", "Cartridge", "Large", "Extended",
    "Warranty", "Keyboard", "Wireless", "Mouse", "Board", "Marker", "Paper", "Recycled", "Consulting",
)
# fmt: on
_COLUMNS = (
    ("position", "name", "quantity", "price", "total"),
    ("name", "quantity", "price", "total"),
    ("quantity", "name", "price", "rate", "total"),
    ("position", "article", "name", "quantity", "unit", "price", "total"),
    ("name", "price", "quantity", "total"),
)
_WIDTHS = {"position": 25, "name": 150, "quantity": 35, "price": 60, "total": 75, "rate": 35, "article": 55, "unit": 30}
_RIGHT = ("quantity", "price", "total", "rate")


@dataclass(frozen=True, slots=True)
class MadeInvoice:
    """An invoice and what stands in its rows.

    Attributes:
        content: The PDF.
        record: A gold record, as `line_items.figures` takes one.
    """

    content: bytes
    record: dict[str, Any]


def made_invoice(seed: int) -> MadeInvoice:
    """An invoice whose columns, fonts, heights, lines and names are drawn from a seed."""
    chance = random.Random(seed)
    columns, font = chance.choice(_COLUMNS), chance.choice(["Helvetica", "Times-Roman", "Courier"])
    size, count, words = chance.choice([7, 8, 9, 11]), chance.choice([2, 3, 5, 10, 25]), chance.choice([2, 4, 7])
    cell = ParagraphStyle("cell", fontName=font, fontSize=size, leading=size * chance.choice([1.1, 1.2, 1.3]))
    number = ParagraphStyle("number", parent=cell, alignment=2)
    is_german = chance.random() < 0.5
    items, shown, rows = [], [], [[Paragraph(f"<b>{column.title()}</b>", cell) for column in columns]]
    for index in range(count):
        item = _item(chance, index, words)
        items.append(item)
        values = {
            "position": f"{index + 1}",
            "name": item["name"],
            "quantity": item["quantity"],
            "price": _money(item["unit_price"], is_german),
            "total": _money(item["line_total"], is_german),
            "rate": "19 %",
            "article": f"A-{chance.randint(1_000, 99_999)}",
            "unit": "pcs",
        }
        shown.append(" ".join(values[column] for column in columns))
        rows.append([Paragraph(values[column], number if column in _RIGHT else cell) for column in columns])
    table = Table(rows, colWidths=[_WIDTHS[column] for column in columns], repeatRows=1)
    table.setStyle(_style(chance, count))
    file = io.BytesIO()
    before = Paragraph("We charge you the following goods and services that were delivered in May:", cell)
    after = Paragraph("Payable within 30 days without deduction. Thank you for your order.", cell)
    SimpleDocTemplate(file, pagesize=A4, leftMargin=50, rightMargin=40, invariant=True).build(
        [before, Spacer(1, 12), table, Spacer(1, 10), after]
    )
    return MadeInvoice(file.getvalue(), {"text": "\n".join(shown), "gold": {"line_items": items}})


def _item(chance: random.Random, index: int, words: int) -> dict[str, str]:
    quantity, price = chance.choice([1, 2, 3, 5, 12, 100]), chance.randint(50, 90_000)
    name = " ".join(chance.choice(_WORDS) for _ in range(chance.randint(max(1, words - 2), words)))
    return {
        "name": f"M{index:02} {name}",
        "quantity": f"{quantity}",
        "unit_price": f"{price / 100:.2f}",
        "line_total": f"{quantity * price / 100:.2f}",
    }


def _money(value: str, is_german: bool) -> str:
    english = f"{float(value):,.2f}"
    return english.translate(str.maketrans(",.", ".,")) if is_german else english


def _style(chance: random.Random, count: int) -> TableStyle:
    """Amounts beside the top, the middle or the foot of a name; rows parted by a gap, lines, shades or nothing."""
    height, gap = chance.choice(["TOP", "MIDDLE", "BOTTOM"]), chance.choice([1, 3, 6])
    commands: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), height),
        ("TOPPADDING", (0, 0), (-1, -1), gap),
        ("BOTTOMPADDING", (0, 0), (-1, -1), gap),
        ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
    ]
    parted_by = chance.choice(["nothing", "grid", "lines", "shades"])
    if parted_by == "grid":
        commands.append(("GRID", (0, 0), (-1, -1), 0.5, colors.grey))
    elif parted_by == "lines":
        commands.append(("LINEBELOW", (0, 0), (-1, -1), 0.5, colors.grey))
    elif parted_by == "shades":
        commands.append(("BACKGROUND", (0, 0), (-1, 0), colors.lightblue))
        commands += [("BACKGROUND", (0, row), (-1, row), colors.whitesmoke) for row in range(2, count + 1, 2)]
    return TableStyle(commands)
