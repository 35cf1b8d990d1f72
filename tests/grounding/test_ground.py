"""Each kind of match by examples: what counts as found, what is only proposed, and what cannot be told."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

import kimi_beam as kb
from kimi_beam.grounding.computed import with_computed
from kimi_beam.grounding.ground import ground
from kimi_beam.schema import OutputSchema
from kimi_beam.schema.sum_checks import sum_checks
from kimi_beam.types.document import Layout
from kimi_beam.types.failure import Failure
from kimi_beam.types.grounding import Grounding

PLACES = OutputSchema(
    {
        "type": "object",
        "properties": {
            "kind": {"enum": ["receipt", "invoice"]},
            "paid": {"type": "boolean"},
            "value": {},
        },
    }
).places
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def grounding(value: Any, text: str, **changes: Any) -> Grounding:
    (found,) = ground({"value": value}, kb.Document("d", text, **changes), PLACES)
    return found


@pytest.mark.parametrize(
    ("value", "text", "match", "place"),
    [
        ("Shop 7 Ltd", "COMPANY: Shop 7 Ltd\n", "exact", "Shop 7 Ltd"),
        ("shop 7  ltd", "COMPANY: Shop 7\nLtd\n", "normalised", "Shop 7\nLtd"),
        ("Rechnungsnummer", "Rech-\n  nungsnummer", "normalised", "Rech-\n  nungsnummer"),
        ("long-term", "a long-\nterm plan", "normalised", "long-\nterm"),
        ("DE89370400440532013000", "IBAN DE89 3704 0044 0532 0130 00.", "normalised", "DE89 3704 0044 0532 0130 00"),
        (1234.5, "in all 1.234,50 EUR", "number", "1.234,50"),
        ("1234.50", "in all 1.234,50 EUR", "number", "1.234,50"),
        (5, "5 pieces", "exact", "5"),
        (0.19, "VAT 19 %", "number", "19 %"),
        ("19.00", "VAT 19 %", "number", "19"),
        ("2018-12-25", "on 25th December 2018", "date", "25th December 2018"),
        ("2018-12-25T20:49:59Z", "25/12/2018 8:49:59 PM", "date", "25/12/2018"),
        ("20:49:00", "at 20:49 sharp", "normalised", "20:49"),
        ("9.00", "TOTAL RM9.00", "exact", "9.00"),
        ("\u5317\u4eac", "\u5728\u5317\u4eac\u5e02", "exact", "\u5317\u4eac"),
    ],
)
def test_a_value_is_found_in_another_spelling_and_the_place_is_told(
    value: Any, text: str, match: str, place: str
) -> None:
    found = grounding(value, text)
    assert (found.match, found.candidates) == (match, 1)
    assert text[found.start : found.end] == place


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Bolt 1", "Bolt 10"),
        ("9.00", "19.00"),
        ("109.00", "1,109.00"),
        ("1234", "12 34"),
        ("55", "NO 5 5 JALAN"),
        ("Inc", "in c"),
        ("00123", "123"),
        ("53.00", "53 JALANPERMAI"),
        (1234, "12 34"),
        (24.5, "24.50.1"),
        (-5, "5.00"),
        ("2018-12-25", "12/2018"),
        ("2018-12-25T20:49:59Z", "25/12/2018 8:49:59 AM"),
        ("M\u00fcller", "Muller"),
        ("\u0301.", "e\u0301."),
        ("DE89370400440532013000", "IBAN DE89 3704 0044 0532 0130 01"),
    ],
)
def test_another_number_or_a_piece_of_one_is_never_taken_for_the_value(value: Any, text: str) -> None:
    assert grounding(value, text).match in ("near", "none")


def test_what_need_not_stand_in_a_text_is_derived_unless_it_does() -> None:
    answer = {"kind": "receipt", "paid": True, "value": ""}
    assert [one.match for one in ground(answer, kb.Document("d", "nothing"), PLACES)] == ["derived"] * 3
    (kind,) = ground({"kind": "receipt"}, kb.Document("d", "your receipt"), PLACES)
    assert (kind.match, kind.start) == ("exact", 5)


def test_null_has_no_entry_and_each_other_leaf_has_one_in_the_order_of_the_answer() -> None:
    answer = {"value": {"a~/b": ["x", None, {"c": 1}], "d": None}, "paid": False}
    found = ground(answer, kb.Document("d", "x 1"), PLACES)
    assert [one.path for one in found] == ["/value/a~0~1b/0", "/value/a~0~1b/2/c", "/paid"]


def test_a_date_that_can_be_read_in_two_ways_is_marked_as_ambiguous() -> None:
    assert grounding("2018-04-03", "03/04/2018").candidates == 2
    assert grounding("2018-04-03", "03/04/2018 25/04/2018").candidates == 1
    assert grounding("2018-03-04", "03/04/2018 25/04/2018").match in ("near", "none")
    assert grounding("03/04/2018", "03/04/2018").candidates == 1
    assert grounding("04/03/2018", "03/04/2018").match in ("near", "none")


def test_a_date_time_that_stands_as_it_is_spelt_has_one_place_with_its_time() -> None:
    for value in ("2016/05/01 14:11:20", "10-03-2018 23:03:06", "2018-05-01T14:11:20"):
        text = f"BILL NO.: 000-049909\nDATE: {value}\nCLOSED: 11-03-2018 00:32:02"
        found = grounding(value, text)
        assert (found.match, found.candidates, text[found.start : found.end]) == ("exact", 1, value)
    # Spelt in another way elsewhere, it has two places.
    found = grounding("10-03-2018 23:03:06", "DATE 10-03-2018 23:03:06, again on 10.03.2018 at 23:03:06")
    assert found.candidates == 2


def test_the_value_of_hidden_text_alone_is_marked_and_of_both_is_not() -> None:
    hidden = {"hidden_text": [{"text": "pay to IBAN X99", "reason": "white on white", "page": 1}]}
    dropped = grounding("X99", "pay to IBAN X11", metadata=hidden)
    assert (dropped.match, dropped.start) == ("hidden", None)
    kept = "pay to IBAN X11\n\nText that a person does not see:\npay to IBAN X99"
    found = grounding("X99", kept, metadata=hidden)
    assert (found.match, kept[found.start : found.end]) == ("hidden", "X99")
    assert grounding("X11", kept, metadata=hidden).match == "exact"
    assert grounding("X99", "X99", metadata=hidden).match == "exact"
    assert grounding("X99", "X11", metadata={"hidden_text": {"text": "X99"}}).match in ("near", "none")


def test_the_value_of_metadata_is_told_only_where_the_model_was_shown_them() -> None:
    document = kb.Document("d", "nothing", metadata={"customer": "K-77", "secret": "S-88"})
    answer = {"value": ["K-77", "S-88"]}
    assert [one.match for one in ground(answer, document, PLACES, ("customer",))] == ["metadata", "none"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"images": (PICTURE,)}, "unverified"),
        ({"failure": Failure("read", "file_changed", "it has changed")}, "unverified"),
        ({}, "none"),
    ],
)
def test_what_may_stand_in_a_picture_is_unverified_and_not_missing(changes: dict[str, Any], match: str) -> None:
    assert grounding("Shop 7", "", **changes).match == match


def test_a_picture_of_a_page_whose_text_was_read_hides_nothing() -> None:
    text = "Shop 7\n\n[page 2: a picture]"
    both = Layout((0, 8), (0,))
    scan = Layout((0, 8), (8,))
    assert grounding("Shop 9", text, images=(PICTURE,), layout=both).match == "near"
    assert grounding("Shop 9", text, images=(PICTURE,), layout=scan).match == "unverified"


def test_a_place_that_resembles_the_value_is_proposed_and_never_counts() -> None:
    text = "Acme Trading Company Ltd, 12.50 EUR on 25.12.2018"
    for value, place in (
        ("Acme Trading Corp Ltd", "Acme Trading Company Ltd"), (12.40, "12.50"), ("2018-12-26", "25.12.2018"),
    ):  # fmt: skip
        found = grounding(value, text)
        assert (found.match, text[found.start : found.end], found.candidates) == ("near", place, 0)


def test_a_value_that_nobody_can_have_meant_stands_nowhere_and_takes_no_time() -> None:
    numbers = [Decimal("1E+999999999"), Decimal("1E-999999999"), 10**5_000, 1e308]
    for value in (*numbers, "9" * 100_000, "word " * 50_000, "\ud800", "\x00"):
        found = grounding(value, "word 9 1" * 20_000)
        assert found.match in ("none", "derived")
        assert found.start is None


def test_a_text_of_spaces_hyphens_or_one_letter_takes_no_time() -> None:
    for text in (" " * 100_000, "- " * 50_000, "a" * 100_000, "1," * 50_000, "-\n" * 50_000, "May " * 25_000):
        started = time.process_time()
        for value in ("a b", "1", 1, "2024-05-01", "a-b", "long value with words"):
            grounding(value, text)
        assert time.process_time() - started < 20  # quadratic, it would be an hour


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ({"items": [{"amount": 4.5}, {"amount": 3}], "total": 7.5}, "derived"),
        ({"items": [{"amount": 4.5}, {"amount": 3}], "total": 7.6}, "none"),
        ({"items": [{"amount": 4.5}, {"amount": 1}], "total": 5.5}, "none"),
        ({"items": [], "total": 0}, "none"),
        ({"total": 7.5}, "none"),
    ],
)
def test_a_sum_that_the_schema_tells_how_to_compute_is_derived_if_its_parts_stand_in_the_text(
    answer: Any, match: str
) -> None:
    checks = sum_checks({"x-check": "sum(items.amount) == total"})
    found = with_computed(ground(answer, kb.Document("d", "4.50 and 3.00"), PLACES), checks, answer)
    assert next(one.match for one in found if one.path == "/total") == match


def test_the_page_of_a_place_is_told() -> None:
    text = "first page\n\nsecond page"
    assert [grounding(word, text, layout=Layout((0, 12))).page for word in ("first", "second")] == [1, 2]
    assert grounding("first", text).page is None


def test_a_value_that_stands_twice_has_two_candidates_unless_its_key_tells_them_apart() -> None:
    assert grounding("10.00", "10.00\n10.00").candidates == 2
    total = OutputSchema({"type": "object", "properties": {"total": {"type": "number"}}}).places
    text = "Coffee 10.00\nTotal  10.00\nCash   10.00"
    (found,) = ground({"total": 10}, kb.Document("d", text), total)
    assert (found.candidates, text[: found.start].splitlines()[-1]) == (1, "Total  ")
