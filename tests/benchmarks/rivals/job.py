"""What every rival is given, the same documents, schema and instructions, and has to give back: a count of rows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

INSTRUCTIONS = "Extract the fields of the invoice."
MODEL = "gpt-4o-mini"  # a name that the libraries know: they look up its tokenizer, price and limits
CONCURRENCY = 64


class Vendor(BaseModel):
    """Who sells."""

    model_config = ConfigDict(extra="forbid")
    name: str
    country: str


class LineItem(BaseModel):
    """One position."""

    model_config = ConfigDict(extra="forbid")
    sku: str
    description: str
    quantity: int
    unit_price: float


class Invoice(BaseModel):
    """One invoice."""

    model_config = ConfigDict(extra="forbid")
    number: str
    vendor: Vendor
    invoice_date: str
    currency: Literal["EUR", "USD", "GBP"]
    total: float
    paid: bool
    line_items: list[LineItem]


def arguments() -> argparse.Namespace:
    """What the benchmark says on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input", type=Path)
    parser.add_argument("--openai-url", required=True)
    parser.add_argument("--directory", type=Path, required=True, help="for whatever the rival writes")
    return parser.parse_args()


def documents(path: Path) -> list[dict[str, str]]:
    """Each with ``id`` and ``text``."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def messages(text: str) -> list[dict[str, str]]:
    """The chat for one document."""
    return [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": text}]


def report(given: Iterable[dict[str, str]], numbers: Iterable[Any]) -> None:
    """Prints how many documents came back, each once, with their own invoice's number."""
    expected = sorted(document["text"].split("\n", 1)[0].removeprefix("INVOICE ") for document in given)
    found = sorted(map(str, numbers))
    rows = len(found) if found == expected else len(set(found) & set(expected)) - 1
    print(json.dumps({"rows": rows}))  # noqa: T201
