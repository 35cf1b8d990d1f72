"""Grounding of real receipts, invoices and contracts: what their gold states is found, and no altered digit is."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from independent_reading import folded, names_day, numbers

import kimi_beam as kb
from kimi_beam.grounding.ground import ground
from kimi_beam.input.document_of_file import document_by_reader
from kimi_beam.input.fields import Reading
from kimi_beam.input.told_by_content import kind_of
from kimi_beam.schema import OutputSchema
from kimi_beam.types.grounding import GROUNDED, Grounding


def _records(shared_data: Path, name: str, every: int = 1) -> Iterator[dict[str, Any]]:
    with (shared_data / "documents" / name / f"{name}.jsonl").open() as lines:
        yield from map(json.loads, islice(lines, 0, None, every))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(one, f"{path}/{key}")
    elif isinstance(value, str):
        yield path, value


def _altered(value: Any, rng: random.Random) -> Any:
    """The value with one digit of each of its texts changed."""
    if isinstance(value, dict):
        return {key: _altered(one, rng) for key, one in value.items()}
    if isinstance(value, list):
        return [_altered(one, rng) for one in value]
    digits = [index for index, letter in enumerate(value) if letter.isdecimal()] if isinstance(value, str) else []
    if not digits:
        return None
    at = rng.choice(digits)
    return value[:at] + rng.choice([one for one in "0123456789" if one != value[at]]) + value[at + 1 :]


class _Stated:
    """What a text states, read without the code that is tested."""

    def __init__(self, text: str) -> None:
        self._text, self._folded, self._numbers = text, folded(text), numbers(text)

    def has(self, value: str) -> bool:
        if folded(value) in self._folded:
            return True
        if re.fullmatch(r"-?\d+(\.\d+)?", value):
            return Decimal(value) in self._numbers
        if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            return names_day(self._text, *map(int, value.split("-")))
        if match := re.fullmatch(r"(\d\d?)\D(\d\d?)\D(\d{2}|\d{4})", value):
            first, second, third = map(int, match.groups())
            year = third + 2000 if third < 70 else third + 1900 if third < 100 else third
            return any(names_day(self._text, year, m, d) for m, d in ((first, second), (second, first)) if 1 <= m <= 12)
        return False


@pytest.mark.parametrize(("name", "least"), [("sroie", 700), ("einvoice", 1_200), ("cuad", 60)])
def test_no_gold_value_with_one_digit_changed_is_found(shared_data: Path, name: str, least: int) -> None:
    rng, tried, wrong = random.Random(name), 0, []
    places = OutputSchema({}).places
    for record in _records(shared_data, name, every=3 if name == "cuad" else 1):
        stated, answer = _Stated(record["text"]), _altered(record["gold"], rng)
        values = dict(_leaves(answer))
        for one in ground(answer, kb.Document(record["id"], record["text"]), places):
            if not stated.has(values[one.path]):
                tried += 1
                wrong += [(record["id"], one, values[one.path])] if one.match in GROUNDED else []
    assert tried > least
    assert not wrong, wrong[:5]


@pytest.mark.parametrize(("name", "least"), [("sroie", 1_300), ("einvoice", 280)])
def test_the_gold_values_that_a_text_states_are_found(shared_data: Path, name: str, least: int) -> None:
    missing, stated = [], 0
    places = OutputSchema({}).places
    for record in _records(shared_data, name):
        found = {one.path: one for one in ground(record["gold"], kb.Document("d", record["text"]), places)}
        for field, is_stated in record["gold_in_text"].items():
            one = found.get("/" + field.replace("seller_name", "seller/name").replace("buyer_name", "buyer/name"))
            if is_stated and one is not None:
                stated += 1
                missing += [(record["id"], one)] if one.match not in GROUNDED else []
    assert stated > least
    assert len(missing) <= 0.01 * stated, missing[:5]


def _overlaps(one: Grounding, text: str, evidence: list[str]) -> bool:
    assert one.start is not None
    assert one.end is not None
    for piece in (piece for span in evidence for piece in span.split("<omitted>")):
        at = text.find(piece)
        while at >= 0:
            if at < one.end and one.start < at + len(piece):
                return True
            at = text.find(piece, at + 1)
    return False


def test_the_place_of_a_value_is_among_the_lawyers_evidence(shared_data: Path) -> None:
    schema = OutputSchema(str(shared_data / "documents" / "cuad" / "gold.schema.json"))
    verbatim, overlap = 0, 0
    for record in _records(shared_data, "cuad"):
        values = dict(_leaves(record["gold"]))
        for one in ground(record["gold"], kb.Document("d", record["text"]), schema.places):
            evidence = record["evidence"].get(one.path.split("/")[1], [])
            value = values.get(one.path)
            if one.match in GROUNDED and value and any(folded(value) in folded(span) for span in evidence):
                verbatim += 1
                overlap += _overlaps(one, record["text"], evidence)
    assert verbatim >= 200
    assert overlap >= 0.95 * verbatim


def test_the_box_of_a_value_holds_the_value_and_nothing_else_in_real_invoices(shared_data: Path) -> None:
    boxes, wrong = 0, []
    for record in _records(shared_data, "einvoice"):
        if record["pdf"] is None:
            continue
        path = shared_data / "documents" / "einvoice" / record["pdf"]
        content = path.read_bytes()
        kind = kind_of(str(path), content, None)
        assert kind is not None
        document, _ = document_by_reader("d", str(path), content, kind, Reading(keep_boxes=True))
        pdf = pypdfium2.PdfDocument(content)
        for one in ground(record["gold"], document, OutputSchema({}).places):
            if one.match in GROUNDED and one.start is not None:
                assert one.page is not None
                assert one.box is not None
                left, top, right, bottom = one.box
                page = pdf[one.page - 1]
                height = page.get_height()
                inside = page.get_textpage().get_text_bounded(
                    left - 0.3, height - bottom - 0.3, right + 0.3, height - top + 0.3
                )
                boxes += 1
                value = document.text[one.start : one.end]
                wrong += [] if folded(inside) == folded(value) else [(path.name, one.path, value, inside)]
        pdf.close()
    assert boxes > 400
    assert len(wrong) <= 0.1 * boxes, wrong
    assert all(folded(value) in folded(inside) for _, _, value, inside in wrong), wrong


def test_a_day_is_the_gold_day_of_a_contract(shared_data: Path) -> None:
    found, wrong = 0, []
    for record in _records(shared_data, "cuad", every=3):
        days = {key: day for key, day in record["gold"].items() if key.endswith("_iso") and day}
        for one in ground(days, kb.Document("d", record["text"]), OutputSchema({}).places):
            if one.match == "date" and one.start is not None and one.end is not None:
                day = date.fromisoformat(days[one.path[1:]])
                place = record["text"][one.start : one.end]
                found += 1
                wrong += [] if names_day(place, day.year, day.month, day.day) else [(day, place)]
    assert not wrong, wrong
    assert found > 30
