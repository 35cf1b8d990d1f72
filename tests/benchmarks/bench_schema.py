"""How fast a schema is: `make bench`. Ratios of one run, so that a slow machine says the same.

Times are of the process's CPU, the best of some rounds: what else the machine does is not measured.
"""

from __future__ import annotations

import gc
import io
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kimi_beam.results import judging
from kimi_beam.schema import OutputSchema

COUNT = 10_000
_LINE = {
    "type": "object",
    "properties": {
        "description": {"type": "string"},
        "count": {"type": "integer"},
        "quantity": {"type": "number"},
        "price": {"type": "number"},
        "amount": {"type": "number"},
    },
    "required": ["description", "count", "quantity", "price", "amount"],
    "additionalProperties": False,
}
INVOICE: dict[str, Any] = {
    "title": "Invoice",
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "currency": {"type": "string"},
        "paid": {"type": "boolean"},
        "total": {"type": "number"},
        "seller": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "vat": {"type": ["string", "null"]}},
            "required": ["name", "vat"],
            "additionalProperties": False,
        },
        "lines": {"type": "array", "items": _LINE},
    },
    "required": ["number", "currency", "paid", "total", "seller", "lines"],
    "additionalProperties": False,
}
TYPED = json.loads(json.dumps(INVOICE))
TYPED["properties"] |= {"currency": {"enum": ["EUR", "USD"]}, "issued": {"type": "string", "format": "date"}}


def _invoice(index: int, chance: random.Random) -> dict[str, Any]:
    def amount() -> float:
        return round(chance.random() * 1_000, 2)

    line = {"description": "a thing", "count": 3, "quantity": 1.5}
    lines = [{**line, "price": amount(), "amount": amount()} for _ in range(5)]
    seller = {"name": "ACME GmbH", "vat": None if index % 3 else "DE123"}
    return {
        "number": f"R-{index}",
        "currency": chance.choice(["EUR", "USD"]),
        "paid": bool(index % 2),
        "total": amount(),
        "seller": seller,
        "lines": lines,
    }


CHANCE = random.Random(1)
INVOICES = [_invoice(index, CHANCE) for index in range(COUNT)]


def _seconds(run: Callable[[], object], rounds: int = 5) -> float:
    best = float("inf")
    gc.collect()
    for _ in range(rounds):
        began = time.process_time()
        run()
        best = min(best, time.process_time() - began)
    return best


def _say(text: str) -> None:
    sys.stdout.write(f"\n  {text}\n")


def test_validate_takes_at_most_three_times_what_the_bare_validator_takes() -> None:
    schema, bare = OutputSchema(INVOICE), jsonschema_rs.validator_for(INVOICE, validate_formats=True)
    ours = _seconds(lambda: [schema.validate(invoice) for invoice in INVOICES])
    theirs = _seconds(lambda: [bare.is_valid(invoice) for invoice in INVOICES])
    _say(f"validate: {ours / COUNT * 1e6:.2f} µs an invoice, {ours / theirs:.2f} times the bare validator")
    assert ours <= 3 * theirs


def test_to_arrow_beside_from_pylist() -> None:
    """`from_pylist` looks at each value once, in C++, and alters it silently: 1.5 becomes 1, true becomes 1.0."""
    schema = OutputSchema(INVOICE)
    columns = schema.arrow_schema.remove(len(schema.arrow_schema) - 1)
    ours = _seconds(lambda: schema.to_arrow(INVOICES))
    theirs = _seconds(lambda: pa.RecordBatch.from_pylist(INVOICES, columns))
    _say(f"to_arrow: {ours / COUNT * 1e6:.2f} µs an invoice, {ours / theirs:.2f} times from_pylist")
    assert ours <= 1.5 * theirs


def test_objects_that_lack_members_cost_little_more() -> None:
    definition = json.loads(json.dumps(INVOICE))
    for optional in (definition, *(definition["properties"][name] for name in ("lines", "seller"))):
        optional.get("items", optional).pop("required")
    lacking = random.Random(2)

    def some(whole: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in whole.items() if lacking.random() < 0.9}

    seller = {"name": "ACME GmbH"}  # an absent "vat", not a null one
    invoices = [some({**i, "seller": seller, "lines": [some(line) for line in i["lines"]]}) for i in INVOICES]
    schema = OutputSchema(definition)
    columns = schema.arrow_schema.remove(len(schema.arrow_schema) - 1)
    ours = _seconds(lambda: schema.to_arrow(invoices))
    theirs = _seconds(lambda: pa.RecordBatch.from_pylist(invoices, columns))
    _say(f"to_arrow where a tenth is absent: {ours / COUNT * 1e6:.2f} µs, {ours / theirs:.2f} times from_pylist")
    assert ours <= 2 * theirs


def test_from_text_to_parquet_at_least_20_000_invoices_a_second() -> None:
    schema = OutputSchema(TYPED)
    days = [f"2026-0{1 + index % 9}-1{index % 10}" for index in range(COUNT)]
    texts = [json.dumps({**invoice, "issued": day}) for invoice, day in zip(INVOICES, days, strict=True)]

    def run() -> None:
        good = []
        for text in texts:
            verdict = judging.judge(text, schema)
            assert isinstance(verdict, judging.Instance)
            good.append(verdict.value)
        batch, bad = schema.to_arrow(good)
        assert not bad
        pq.write_table(pa.Table.from_batches([batch]), io.BytesIO(), compression="zstd")

    rate = COUNT / _seconds(run)
    _say(f"JSON text → validated → Parquet: {rate:,.0f} invoices a second")
    assert rate >= 20_000


def test_cents_as_decimals_cost_little() -> None:
    definition = json.loads(json.dumps(INVOICE))
    line = definition["properties"]["lines"]["items"]["properties"]
    for name in ("price", "amount"):
        line[name]["multipleOf"] = 0.01
    schema, plain = OutputSchema(definition), OutputSchema(INVOICE)
    ours, without = _seconds(lambda: schema.to_arrow(INVOICES)), _seconds(lambda: plain.to_arrow(INVOICES))
    _say(f"to_arrow with 10 decimals an invoice: {ours / without:.2f} times that with floats")
    assert ours <= 3 * without


def test_every_real_schema_converts_in_under_100_ms(shared_data: Path) -> None:
    slowest = (0.0, "")
    files = sorted((shared_data / "schemas-real").glob("*/*.json"))
    assert len(files) == 311
    for file in files:
        definition = json.loads(file.read_text())["schema"]
        began = time.process_time()
        assert OutputSchema(definition).arrow_schema
        slowest = max(slowest, (time.process_time() - began, file.name))
    _say(f"the slowest of {len(files)} schemas: {slowest[1]}, {slowest[0] * 1e3:.0f} ms")
    assert slowest[0] < 0.1


if __name__ == "__main__":
    sys.exit(pytest.main(["-s", "-q", __file__]))
