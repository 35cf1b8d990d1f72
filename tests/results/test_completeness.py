from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kimi_beam.errors import SchemaError
from kimi_beam.results.completeness import Shortfall, shortfalls, unmet_sums
from kimi_beam.results.grounded_values import readings
from kimi_beam.results.shown_rows import tables
from kimi_beam.schema import OutputSchema
from kimi_beam.schema.sum_checks import sum_checks

HEADER = "Item         Qty   Price   Total"


def rows(count: int, start: int = 0) -> list[str]:
    return [f"Widget {n:03d}     2     4.50    {9 + n}.00" for n in range(start, start + count)]


def items(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"name": f"Widget {n:03d}", "quantity": 2, "total": float(9 + n)} for n in range(start, start + count)]


def test_a_part_whose_answer_lacks_rows_is_named_with_the_figures() -> None:
    shown = [tables("\n".join([HEADER, *rows(10)])), tables("\n".join(rows(10, 10)), HEADER)]
    answers = [{"items": items(10)}, {"items": items(7, 10)}]
    assert shortfalls(shown, answers) == [Shortfall(1, 10, 7)]
    assert shortfalls(shown, [answers[0], {"items": items(10, 10)}]) == []


def test_a_page_with_rows_and_no_item_is_found_if_the_same_table_has_items_elsewhere() -> None:
    shown = [tables("\n".join([HEADER, *rows(3)])), tables("\n".join(rows(4, 3)), HEADER)]
    assert shortfalls(shown, [{"items": items(3)}, {"items": None}]) == [Shortfall(1, 4, 0)]


def test_a_table_that_is_not_asked_for_is_no_shortfall() -> None:
    shown = [tables("Kind of tax   Rate   Amount\nReduced   7   0.65\nFull   19   1.90\n")]
    assert shortfalls(shown, [{"items": items(2)}]) == []


def test_a_repeated_row_is_missed_if_it_is_answered_once() -> None:
    shown = [tables("\n".join([HEADER, *rows(1), *rows(1)]))]
    assert shortfalls(shown, [{"items": items(1)}]) == [Shortfall(0, 2, 1, is_clear=False)]
    assert shortfalls(shown, [{"items": [*items(1), *items(1)]}]) == []


INVOICE = {"items": [{"sum": 0.1}, {"sum": 0.2}], "net": 0.3, "tax": 0.05, "total": 0.35, "count": 2}


@pytest.mark.parametrize(
    "check",
    [
        "sum(items.sum) == net",
        "net + tax == total",
        "total - tax == sum(items.sum)",
        "count(items.sum) == count",
        "2 * (net + tax) == total * 2",
        "net <= total",
        "total >= net",
        "sum(items.sum) == missing",
        "sum(items.other) == net",
    ],
)
def test_an_equation_that_holds_or_lacks_a_value_is_met(check: str) -> None:
    assert unmet_sums(sum_checks({"x-check": check}), INVOICE) == []


def test_an_equation_that_does_not_hold_says_both_figures() -> None:
    wrong = {**INVOICE, "items": [{"sum": 0.1}]}
    assert unmet_sums(sum_checks({"x-check": ["sum(items.sum) == net", "net <= total"]}), wrong) == [
        "sum(items.sum) == net: 0.1 != 0.3"
    ]
    assert unmet_sums(sum_checks({"x-check": "count(items.sum) == count"}), wrong) == [
        "count(items.sum) == count: 1 != 2"
    ]


def test_a_cent_of_rounding_is_no_error_but_two_are() -> None:
    check = sum_checks({"x-check": "a == b"})
    assert unmet_sums(check, {"a": 1.005, "b": 1}) == []
    assert unmet_sums(check, {"a": 1.02, "b": 1}) != []
    assert unmet_sums(check, {"a": 3, "b": 4}) != [], "whole numbers are compared exactly"


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ("sum(items.sum)", "needs =="),
        ("a == ", "too early"),
        ("a = b", "not understood"),
        ("mean(a) == b", "no function"),
        ("sum(a == b", "not closed"),
        ("a == b c", "follows the end"),
        ("__import__('os') == 1", "no function|not understood"),
        ("(" * 50 + "a == b", "too deep"),
        ("a == b" * 200, "500 characters"),
        ("sum(3) == b", "path of the values"),
        (7, "a string such as"),
    ],
)
def test_an_equation_that_cannot_be_read_is_refused_when_the_schema_is_loaded(check: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason) as caught:
        OutputSchema({"type": "object", "properties": {"a": {"type": "number"}}, "x-check": check})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("digits", "numbers"),
    [
        ("1,234.50", {"1234.50"}),
        ("1.234,50", {"1234.50"}),
        ("1.234", {"1234", "1.234"}),
        ("12", {"12"}),
        ("0.5", {"0.5"}),
        ("1'000", {"1000"}),
    ],
)
def test_a_number_is_known_again_in_each_spelling(digits: str, numbers: set[str]) -> None:
    assert {Decimal(n) for n in numbers} <= readings(digits)
    assert len(readings(digits)) <= 2
