"""Invoices of two lines, made by a seed; their schema; and the answer that a model would give, read off the text.

A text is 590 characters of ASCII. The answer is found by one regular expression, so that the service costs little
beside the clients that share this machine with it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

LENGTH = 590
SCHEMA: dict[str, Any] = {
    "title": "Invoice",
    "type": "object",
    "properties": {
        "number": {"type": "string", "description": "The invoice's own number."},
        "vendor": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "country": {"type": "string", "description": "ISO 3166 code."},
            },
            "required": ["name", "country"],
            "additionalProperties": False,
        },
        "invoice_date": {"type": "string", "format": "date"},
        "currency": {"type": "string", "enum": ["EUR", "USD", "GBP"]},
        "total": {"type": "number"},
        "paid": {"type": "boolean"},
        "line_items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string"},
                    "description": {"type": "string"},
                    "quantity": {"type": "integer"},
                    "unit_price": {"type": "number"},
                },
                "required": ["sku", "description", "quantity", "unit_price"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["number", "vendor", "invoice_date", "currency", "total", "paid", "line_items"],
    "additionalProperties": False,
}
INSTRUCTIONS = "Extract the fields of the invoice."

_TEXT = re.compile(
    r"INVOICE (?P<number>\S+)\nVendor: (?P<name>.+), (?P<country>..)\nDate: (?P<date>\S+)\n"
    r"1\) (?P<lines>.+\n2\) .+)\nTotal: (?P<currency>...) (?P<total>\S+), (?P<paid>un)?paid\n"
)
_LINE = re.compile(r"(\S+) \| (.+) \| (\d+) x (\S+)")
_VENDORS = ("Acme GmbH", "Nordwind Handels AG", "Bright & Sons Ltd", "Costa del Papel SL", "Fjord Components AS")
_THINGS = ("Hex bolt M8, zinc plated", "Delivery, standard", "Copper pipe 15 mm", "Office paper A4", "Consulting hour")
_NOTES = (
    "Please quote the invoice number on every payment. ",
    "Payment terms: net 30 days from the date of issue. ",
    "Goods remain our property until they are paid in full. ",
    "Complaints are accepted within 14 days of delivery. ",
    "Thank you for your order; our service desk is glad to help. ",
)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def texts(count: int, *, seed: int = 1, compressible: bool = True) -> Iterator[str]:
    """The texts of `count` documents, each another; those of fewer documents are the first of more.

    Args:
        count: How many.
        seed: Decides what they say.
        compressible: False: names, descriptions and notes are random letters, 6 bits each.
    """
    chance = random.Random(seed)

    def word(length: int) -> str:
        return "".join(chance.choices(_LETTERS, k=length))

    for index in range(count):
        lines, total = [], 0
        for _ in range(2):
            quantity, cents = chance.randint(1, 20), chance.randint(100, 99_999)
            total += quantity * cents
            thing = chance.choice(_THINGS) if compressible else word(24)
            lines.append(
                f"{chance.choice('ABCDE')}-{chance.randint(1, 999)} | {thing} | {quantity} x {cents / 100:.2f}"
            )
        vendor = chance.choice(_VENDORS) if compressible else word(18)
        text = (
            f"INVOICE INV-{index:07d}\nVendor: {vendor}, {chance.choice(('DE', 'FR', 'GB', 'ES', 'NO'))}\n"
            f"Date: 2026-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}\n"
            f"1) {lines[0]}\n2) {lines[1]}\n"
            f"Total: {chance.choice(('EUR', 'USD', 'GBP'))} {total / 100:.2f}, {chance.choice(('', 'un'))}paid\n"
        )
        left = LENGTH - len(text)
        yield text + ("".join(chance.sample(_NOTES, 5)) * 2)[:left] if compressible else text + word(left)


def write_lines(path: Path, count: int, *, compressible: bool = True) -> None:
    """Writes documents as JSON lines with the keys ``id`` and ``text``."""
    with path.open("wb") as f:
        for index, text in enumerate(texts(count, compressible=compressible)):
            f.write(orjson.dumps({"id": f"doc-{index:07d}", "text": text}) + b"\n")


def record(text: str) -> dict[str, Any]:
    """What the last invoice in a text says, as an instance of `SCHEMA`."""
    found = _TEXT.search(text, max(0, text.rfind("INVOICE INV-")))
    assert found, f"no invoice in {text[-LENGTH:]!r}"
    return {
        "number": found["number"],
        "vendor": {"name": found["name"], "country": found["country"]},
        "invoice_date": found["date"],
        "currency": found["currency"],
        "total": float(found["total"]),
        "paid": found["paid"] is None,
        "line_items": [
            {"sku": sku, "description": description, "quantity": int(quantity), "unit_price": float(price)}
            for sku, description, quantity, price in _LINE.findall(found["lines"])
        ],
    }


def answer(messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None) -> str:
    """What the service answers: the invoice's fields in the shape that was asked for."""
    text = messages[-1]["content"]
    text = text if isinstance(text, str) else "".join(part["text"] for part in text)
    if "INVOICE INV-" not in text:  # a client that tries the endpoint with a question of its own
        return '{"name":"Jason","age":25}'
    fields = record(text)
    if "extractions" in ((schema or {}).get("properties") or {}):  # langextract: spans of the text, each with a class
        spans = {
            "number": fields["number"],
            "vendor": fields["vendor"]["name"],
            "invoice_date": fields["invoice_date"],
            "total": f"{fields['total']:.2f}",
        }
        attributes = {"currency": fields["currency"]}
        found = [{name: span, f"{name}_attributes": attributes} for name, span in spans.items()]
        return orjson.dumps({"extractions": found}).decode()
    return orjson.dumps(fields).decode()
