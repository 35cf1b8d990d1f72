"""An amount that many rows have is found in its own row."""

from __future__ import annotations

import random
from typing import Any

import pytest

import kimi_beam as kb
from kimi_beam.grounding.ground import ground
from kimi_beam.schema import OutputSchema
from kimi_beam.types.grounding import Grounding

_ITEM = {"name": {"type": "string"}, "quantity": {"type": "integer"}, "price": {"type": "number"},
         "amount": {"type": "number"}}  # fmt: skip
INVOICE = OutputSchema(
    {
        "type": "object",
        "properties": {
            "total": {"type": "number"},
            "items": {"type": "array", "items": {"type": "object", "properties": _ITEM}},
        },
    }
).places
ROWS = {
    "in one line": "{name:<18}{quantity:<6}{price:<9.2f}{amount:.2f}\n",
    "in two lines": "{name} as ordered\n     {quantity:<6}{price:<9.2f}{amount:.2f}\n",
    "name below": "     {quantity:<6}{price:<9.2f}{amount:.2f}\n{name}\n",
    "cell by cell": "{name}\n{quantity}\n{price:.2f}\n{amount:.2f}\n",
}
Lines = list[tuple[int, int]]


def made(rng: random.Random, count: int, row: str) -> tuple[str, dict[str, Any], Lines]:
    """An invoice of few prices and names, so that most stand in many rows; its gold; and where each row begins."""
    text, items, places = (
        "INVOICE 4711\n\nName   Quantity   Price   Amount\n",
        list[dict[str, Any]](),
        list[tuple[int, int]](),
    )
    for _ in range(count):
        name = f"{rng.choice(['Bolt', 'Nut', 'Cable', 'Panel'])} {rng.choice(['M3', 'M4', 'long'])}"
        quantity, price = rng.choice([1, 1, 2, 3]), rng.choice([10.0, 5.0, 2.5])
        items.append({"name": name, "quantity": quantity, "price": price, "amount": quantity * price})
        start = len(text)
        text += row.format(**items[-1])
        places.append((start, len(text)))
    total = sum(item["amount"] for item in items)
    return f"{text}\nTotal  {total:.2f}\nThank you\n", {"total": total, "items": items}, places


def _in_own_row(found: tuple[Grounding, ...], places: Lines) -> list[bool]:
    return [_is_in(places[int(one.path.split("/")[2])], one) for one in found if one.path.startswith("/items/")]


def _is_in(row: tuple[int, int], one: Grounding) -> bool:
    return one.start is not None and one.start in range(*row)


@pytest.mark.parametrize("layout", ROWS)
def test_repeated_amounts_are_found_in_their_own_rows(layout: str) -> None:
    rng, right = random.Random(layout), list[bool]()
    for _ in range(60):
        text, answer, places = made(rng, rng.randint(1, 14), ROWS[layout])
        right += _in_own_row(ground(answer, kb.Document("d", text), INVOICE), places)
    assert len(right) > 1_000
    assert sum(right) >= 0.98 * len(right)


def test_the_total_is_not_taken_for_an_amount_of_a_row() -> None:
    rng = random.Random(2)
    for _ in range(100):
        text, answer, _ = made(rng, 1, ROWS["in one line"])
        found = {one.path: one for one in ground(answer, kb.Document("d", text), INVOICE)}
        start = found["/total"].start
        assert start is not None
        assert text[:start].endswith("Total  ")


def test_rows_of_an_answer_in_another_order_are_found_all_the_same() -> None:
    text, answer, places = made(random.Random(3), 12, "{name} no {quantity}{price:.0f}x {price:.2f}\n")
    for number, item in enumerate(answer["items"]):
        text, item["name"] = text.replace(item["name"], f"Article {number}", 1), f"Article {number}"
    assert len(set(text.splitlines())) > 10
    backwards = {"items": answer["items"][::-1]}
    found = ground(backwards, kb.Document("d", text), INVOICE)
    names = [one for one in found if one.path.endswith("/name")]
    assert [text[one.start : one.end] for one in names] == [item["name"] for item in backwards["items"]]
    assert len(places) == 12


def test_equal_rows_of_an_answer_are_different_rows_of_the_text() -> None:
    text = "Bolt  1  2.50\n" * 5
    items = [{"name": "Bolt", "quantity": 1, "price": 2.5}] * 5
    found = ground({"items": items}, kb.Document("d", text), INVOICE)
    assert [one.start for one in found if one.path.endswith("/name")] == [14 * row for row in range(5)]
    assert {one.candidates for one in found} == {1}


def test_a_row_that_may_be_one_of_two_has_two_candidates() -> None:
    found = ground({"items": [{"name": "Bolt", "price": 2.5}]}, kb.Document("d", "Bolt 2.50\nBolt 2.50\n"), INVOICE)
    assert [one.candidates for one in found] == [2, 2]


def test_two_equal_values_of_a_row_take_its_two_places() -> None:
    text = "Nut    1  2.50  2.50\nBolt   1  2.50  2.50\n"
    items = [{"name": name, "quantity": 1, "price": 2.5, "amount": 2.5} for name in ("Nut", "Bolt")]
    found = {one.path: one.start for one in ground({"items": items}, kb.Document("d", text), INVOICE)}
    assert [found[f"/items/{row}/{key}"] for row in (0, 1) for key in ("price", "amount")] == [10, 16, 31, 37]


def test_one_printed_amount_serves_for_price_and_amount_of_its_row() -> None:
    text = "Nut    2.50\nBolt   2.50\n"
    items = [{"name": name, "price": 2.5, "amount": 2.5} for name in ("Nut", "Bolt")]
    found = {one.path: one.start for one in ground({"items": items}, kb.Document("d", text), INVOICE)}
    assert [found[f"/items/{row}/{key}"] for row in (0, 1) for key in ("price", "amount")] == [7, 7, 19, 19]


def test_lists_in_items_are_looked_for_in_the_rows_of_their_item() -> None:
    text = "Order A\n  red  5\n  blue 6\nOrder B\n  red  5\n  blue 6\n"
    lots = [{"colour": "red", "count": 5}, {"colour": "blue", "count": 6}]
    answer = {"orders": [{"name": "Order A", "lots": lots}, {"name": "Order B", "lots": lots}]}
    found = {one.path: one.start for one in ground(answer, kb.Document("d", text), OutputSchema({}).places)}
    assert found["/orders/0/lots/1/count"] == text.index("6")
    assert found["/orders/1/lots/0/colour"] == text.rindex("red")
    assert found["/orders/1/lots/1/count"] == text.rindex("6")


def test_more_rows_than_can_be_compared_with_each_other_are_found_in_their_own_rows() -> None:
    text, answer, places = made(random.Random(4), 1_500, ROWS["in one line"])
    right = _in_own_row(ground(answer, kb.Document("d", text), INVOICE), places)
    assert sum(right) >= 0.98 * len(right) == 0.98 * 6_000
