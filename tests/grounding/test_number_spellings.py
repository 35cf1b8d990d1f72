"""Which numbers a text states, in whichever spelling, and what is no number."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.grounding.number_spellings import number_of_text, numbers_in, shortest_of


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.234,50", "1234.5"),
        ("1,234.50", "1234.5"),
        ("1'234.50", "1234.5"),
        ("1\u00a0234,50", "1234.5"),
        ("1 234,50 \u20ac", "1234.5"),
        ("1 234 567", "1234567"),
        ("12,34,567.00", "1234567"),
        ("RM9.00", "9"),
        ("5kg", "5"),
        ("(12.00)", "-12"),
        ("12.00-", "-12"),
        ("a discount of -5.59", "-5.59"),
        ("a discount of -5.59", "5.59"),
        ("19 %", "0.19"),
        ("3.5 million", "3500000"),
        ("2 Mio. EUR", "2000000"),
        ("TOTAL.......9.00", "9"),
        ("0.123", "0.123"),
    ],
)
def test_a_number_is_found_in_any_spelling(text: str, number: str) -> None:
    assert number in numbers_in(text)


@pytest.mark.parametrize("text", ["1.234", "1,234"])
def test_a_spelling_that_can_be_read_in_two_ways_has_both_readings(text: str) -> None:
    assert set(numbers_in(text)) == {"1234", "1.234"}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.123", "123"),
        ("12 100.00", "12100"),
        ("TD01167104", "1167104"),
        ("abc5def6", "5"),
        ("007", "7"),
        ("25/12/2018", "12"),
        ("8:13:39", "13"),
        ("1,109.00", "109"),
        ("12.5", "12"),
        ("file_5", "5"),
        ("5", "-5"),
    ],
)
def test_a_piece_of_a_number_or_of_a_name_is_no_number(text: str, number: str) -> None:
    assert number not in numbers_in(text)


@given(st.decimals(-(10**9), 10**9, allow_nan=False, places=2), st.sampled_from([",.", ".,", "'.", "\u202f,"]))
def test_a_number_in_a_local_spelling_is_found_and_no_other_of_as_many_digits(value: Decimal, marks: str) -> None:
    spelt = f"{value:,.2f}".replace(",", "T").replace(".", marks[1]).replace("T", marks[0])
    found = numbers_in(f"Total: {spelt} in all")
    assert shortest_of(value) in found
    digits = [one for one in found if len(one.strip("-").replace(".", "")) >= len(str(abs(value)).rstrip("0")) - 1]
    assert {Decimal(one).copy_abs() for one in digits} <= {value.copy_abs()}


@pytest.mark.parametrize(
    ("text", "number"),
    [("19.00", "19"), ("-5", "-5"), ("1,234.50", "1234.5"), ("1.234", "1.234"), ("00123", None), ("1,234", None),
     ("A4", None), ("", None), ("1.2.3", None), ("9" * 50, None)],
)  # fmt: skip
def test_a_text_counts_as_a_number_only_where_it_is_surely_one(text: str, number: str | None) -> None:
    assert number_of_text(text) == number


def test_many_numbers_with_spaces_between_their_thousands_are_all_found() -> None:
    text = " ".join(f"{n}.50 1 000 000 x" for n in range(20_000))
    found = numbers_in(text)
    assert len(found["1000000"]) == 20_000
    assert len(found["7.5"]) == 1
