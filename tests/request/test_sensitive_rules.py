"""The built-in rules find what passes its check, and leave alone what only looks like it."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.errors import ConfigError
from kimi_beam.request.sensitive_rules import KINDS, SensitiveRule

# From the registry's own examples, one of each form: digits alone, letters in the account, the shortest, the longest.
IBANS = (
    "DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606", "NO9386011117947",
    "MT84MALT011000012345MTLCAST001S", "CH9300762011623852957", "SE4550000000058398257466", "BE68539007547034",
    "LC55HEMM000100010012001200023015", "QA58DOHB00001234567890ABCDEFG",
)  # fmt: skip
CARDS = ("4111111111111111", "5555555555554444", "378282246310005", "6011111111111117", "3530111333300000")


def found(kind: str, text: str, region: str = "") -> list[str]:
    spans = list(SensitiveRule(kind, region)(text))
    assert [span[2] for span in spans] == [kind] * len(spans)
    assert [span[:2] for span in spans] == sorted(span[:2] for span in spans)
    return [text[start:end] for start, end, _ in spans]


def in_groups(text: str, size: int = 4, by: str = " ") -> str:
    return by.join(text[start : start + size] for start in range(0, len(text), size))


@pytest.mark.parametrize("iban", IBANS)
@pytest.mark.parametrize("before", ["IBAN: ", "", "(", "IBAN\n", "BIC COBADEFFXXX "])
@pytest.mark.parametrize("behind", ["", ".", " BIC: COBADEFFXXX", "\nTotal 12.50", " 12 EUR", ")"])
def test_an_iban_is_found_in_each_spacing_whatever_stands_beside_it(iban: str, before: str, behind: str) -> None:
    for written in (iban, in_groups(iban), in_groups(iban, by="\u00a0"), iban.lower()):
        assert found("iban", f"{before}{written}{behind}") == [written]


def test_an_iban_with_one_wrong_character_is_none() -> None:
    rng = random.Random(7)
    for iban in IBANS:
        for _ in range(20):
            index = rng.randrange(2, len(iban))
            other = rng.choice([digit for digit in "0123456789" if digit != iban[index]])
            assert found("iban", f"IBAN {iban[:index]}{other}{iban[index + 1 :]}") == []
        assert found("iban", f"IBAN {iban}9") == []
        assert found("iban", f"X{iban}") == []


@pytest.mark.parametrize("card", CARDS)
def test_a_card_is_found_and_one_with_a_wrong_digit_is_not(card: str) -> None:
    for written in (card, in_groups(card), in_groups(card, by="-")):
        assert found("card", f"Card {written}, exp 12/28") == [written]
    wrong = f"{card[:-1]}{(int(card[-1]) + 1) % 10}"
    assert found("card", f"Card {wrong}") == []
    assert found("card", "GTIN 4012345001235, 40123450012352014, 4333741000005") == [], (
        "they pass Luhn's check by chance"
    )
    assert found("card", f"Total {card}.50 and 1{card}") == []


@settings(derandomize=True, max_examples=300)
@given(st.sampled_from(["41", "52", "65", "62"]), st.text("0123456789", min_size=14, max_size=14))
def test_a_number_is_a_card_exactly_if_its_last_digit_is_luhns(beginning: str, rest: str) -> None:
    digits = beginning + rest
    total = 0
    for index, character in enumerate(reversed(digits)):
        value = int(character) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    assert bool(found("card", f"no {digits} ")) == (total % 10 == 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to a.b+c@shop.example.com.", ["a.b+c@shop.example.com"]),
        ("<Jürgen.Größe@müller.de>, x@y.co", ["Jürgen.Größe@müller.de", "x@y.co"]),
        ("mailto:info@a-b.org?subject=x", ["info@a-b.org"]),
        ("12 @ 3.50 each, @home, a@b, a@b.1, .a@b.de", []),
    ],
)
def test_emails_are_found_without_what_stands_beside_them(text: str, expected: list[str]) -> None:
    assert found("email", text) == expected


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("Tel. +49 30 901820", "", ["30 901820"]),
        ("Tel. +49 (0)30 / 90 18 20", "DE", ["30 / 90 18 20"]),
        ("Tel: 030 901820, Fax 030 901821", "DE", ["30 901820", "30 901821"]),
        ("Tel: 030 901820", "", []),
        ("Call (415) 555-2671 now", "US", ["415) 555-2671"]),
        ("of 05.03.2013 and 5. 3. 2013, due 2013-04-04", "DE", []),
        ("Invoice 4711-2026, 12.03.2026, total 1.234,50", "DE", []),
    ],
)
def test_phone_numbers_are_found_behind_what_tells_their_country(text: str, region: str, expected: list[str]) -> None:
    assert found("phone", text, region) == expected


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("iban", "Pay to DE89 3704 0044\n  0532 0130 00\nTotal 12.50", ["DE89 3704 0044\n  0532 0130 00"]),
        ("iban", "GB29NWBK6016\r\n1331926819 BIC: NWBKGB2L", ["GB29NWBK6016\r\n1331926819"]),
        ("card", "Card 4111 1111\n1111 1111\n12 pieces", ["4111 1111\n1111 1111"]),
        ("card", "5555-5555-5555-\n4444, 4111 1111 1111 \n 1111", ["4111 1111 1111 \n 1111"]),
        ("card", "4111111111111111\n12 pieces", ["4111111111111111"]),
        ("card", "40012345\n70012343\n4001234570\n012343", []),
        ("email", "Write to secret.person@\n example.org today", ["secret.person@\n example.org"]),
        ("email", "12 @\nexample.org a@b.de.\nThanks", ["a@b.de"]),
        ("phone", "Call +49 30\n90182 4471 or +49 30 901820\n12 pieces", ["30\n90182 4471", "30 901820"]),
        ("phone", "+5\n12 +3\n1,50", []),
    ],
)
def test_a_value_that_goes_on_in_the_next_line_is_found_and_nothing_behind_it(
    kind: str, text: str, expected: list[str]
) -> None:
    assert found(kind, text) == expected


@pytest.mark.parametrize(
    ("kind", "region", "reason"),
    [
        ("name", "", "name is none of iban, card, email, phone and phone:REGION"),
        ("iban", "DE", "iban:DE is none of"),
        ("phone", "XX", "'XX' is no region of phone numbers"),
    ],
)
def test_a_rule_that_is_none_is_refused(kind: str, region: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)):
        SensitiveRule(kind, region)


def test_a_long_text_is_searched_in_linear_time() -> None:
    import time

    def seconds(text: str, kind: str) -> float:
        start = time.process_time()
        list(SensitiveRule(kind)(text))
        return time.process_time() - start

    for kind in KINDS[:3]:
        for unit in ("DE89 3704 0044 0532 0130 0", "4111 1111 1111 111", "a.b.c.d.", "a@b.", "1 " * 20, "AB12" * 9):
            once = min(seconds(unit * 2_000, kind) for _ in range(3))
            assert min(seconds(unit * 8_000, kind) for _ in range(3)) < 12 * once + 0.05, (kind, unit)
