from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from kimi_beam.emulator.rules import typed_text


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-03-05", "2026-03-05"),
        ("2026/3/5", "2026-03-05"),
        ("25/12/2018 8:13:39 PM", "2018-12-25"),
        ("12/25/2018", "2018-12-25"),
        ("25.12.2018", "2018-12-25"),
        ("25-12-18", "2018-12-25"),
        ("12-JAN-19", "2019-01-12"),
        ("04 Jan 2017", "2017-01-04"),
        ("5. März 2024", "2024-03-05"),
        ("3 février 2024", "2024-02-03"),
        ("March 3, 2026", "2026-03-03"),
        ("Dec. 1st, 1999", "1999-12-01"),
        ("the 2nd day of May, 2020", "2020-05-02"),
        ("20180428", "2018-04-28"),
        ("1/1/70", "1970-01-01"),
        ("31/02/2020", None),
        ("1.2.3.4", None),
        ("99/99/9999", None),
        ("03-55250588", None),
        ("1234567890", None),
    ],
)
def test_dates(text: Any, iso: Any) -> None:
    found = typed_text.dates(text, text.lower())
    assert [date.value.isoformat() for date in found] == ([iso] if iso else [])
    assert all(text[date.start : date.end] == date.text for date in found)


def test_a_date_that_can_only_be_month_first_decides_for_the_others() -> None:
    text = "issued 03/04/2026, due 03/25/2026"
    assert [date.value for date in typed_text.dates(text, text)] == [dt.date(2026, 3, 4), dt.date(2026, 3, 25)]


@pytest.mark.parametrize(
    ("text", "value", "currency"),
    [
        ("1,234.56", "1234.56", ""),
        ("1.234,56", "1234.56", ""),
        ("1 234,56", "1234.56", ""),
        ("1'234.50", "1234.50", ""),
        ("1,234", "1234", ""),
        ("9.000", "9.000", ""),
        ("5,50", "5.50", ""),
        ("RM 9.00", "9.00", "MYR"),
        ("RM9.00", "9.00", "MYR"),
        ("€12", "12", "EUR"),
        ("12,00 €", "12.00", "EUR"),
        ("US$ 3", "3", "USD"),
        ("-0.02", "-0.02", ""),
        ("1.84-", "-1.84", ""),
        ("EUR 1.234.567,89", "1234567.89", "EUR"),
    ],
)
def test_amounts(text: Any, value: Any, currency: Any) -> None:
    (amount,) = typed_text.amounts(text, text.lower())
    assert (amount.value, amount.currency) == (Decimal(value), currency)


@pytest.mark.parametrize("text", ["17:58:00", "AB123", "A4", "25.12.2018", "12/3", "03-55250588", "3rd"])
def test_what_is_no_amount(text: Any) -> None:
    assert list(typed_text.amounts(text, text.lower())) == []


def test_addresses_on_the_net_and_yes_and_no() -> None:
    assert typed_text.emails("write to a.b@c.example. or x@y.example") == ["a.b@c.example", "x@y.example"]
    assert typed_text.urls("see https://a.example/b?c=1, www.d.example.") == [
        "https://a.example/b?c=1",
        "www.d.example",
    ]
    assert [typed_text.boolean(text) for text in ("Yes", "nein", "[x]", "maybe", "")] == [True, False, True, None, None]


def test_hostile_text_takes_no_time() -> None:
    for text in ("1" * 200_000, "111 " * 50_000, "1.1" * 60_000, "a@" * 50_000, "1/1/" * 50_000, "jan " * 50_000):
        typed_text.dates(text, text)
        list(typed_text.amounts(text, text))
        typed_text.emails(text)
