"""Laws of grounding, checked by readings of texts and numbers that share no code with it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from independent_reading import folded, names_day, numbers

import kimi_beam as kb
from kimi_beam.grounding.ground import ground
from kimi_beam.schema import OutputSchema
from kimi_beam.types import GROUNDED, Grounding

ANY = OutputSchema({}).places
_amount = st.decimals(0, 99_999, places=2).map(lambda one: f"{one:,.2f}")
_pieces = st.one_of(
    st.sampled_from(["Acme Ltd", "TOTAL:", "EUR", "No.", "\u201cAgent\u201d",
                     "Rech-\nnung", "a\u00a0b", "5 kg", "19 %", "O\u2019Neill"]),
    _amount,
    _amount.map(lambda one: one.translate(str.maketrans(",.", ".,"))),
    st.dates().map(lambda day: day.strftime("%d.%m.%Y")),
    st.integers(0, 10**6).map(str),
    st.text("abcXYZ09 .,-/\u00df\ufb01\u00e9\u0301", max_size=12),
)  # fmt: skip
_texts = st.lists(st.tuples(_pieces, st.sampled_from([" ", "  ", "\n", "\t", ", "])), min_size=1, max_size=12).map(
    lambda pairs: "".join(f"{piece}{space}" for piece, space in pairs)
)


@st.composite
def _texts_and_values(draw: st.DrawFn) -> tuple[str, Any]:
    """A text and a value, often one that stands in it, perhaps in another spelling."""
    text = draw(_texts)
    words = text.split() or ["x"]
    words = [word for word in words if any(map(str.isdecimal, word))] or words
    first = draw(st.integers(0, len(words) - 1))
    piece = " ".join(words[first : first + draw(st.integers(1, 4))]).strip(",")
    respelt = [piece, piece.upper(), piece.lower(), piece.replace(" ", "\n  "), piece[1:]]
    value: Any = draw(st.sampled_from(respelt) | st.sampled_from(respelt) | _pieces)
    plain = value.replace(",", "")
    if draw(st.booleans()) and plain.replace(".", "", 1).isdecimal() and plain.isascii():
        return text, float(plain) if draw(st.booleans()) else int(float(plain))
    return text, value


def _ground(value: Any, text: str) -> Grounding:
    (found,) = ground({"v": value}, kb.Document("d", text), ANY)
    return found


def test_a_place_holds_the_value_in_the_spelling_that_its_kind_says() -> None:
    kinds = Counter[str]()

    @settings(max_examples=400, derandomize=True)
    @given(_texts_and_values())
    def holds(drawn: tuple[str, Any]) -> None:
        text, value = drawn
        found = _ground(value, text)
        kinds[found.match] += 1
        if found.start is None or found.end is None:
            assert found.candidates == 0
            return
        place = text[found.start : found.end]
        if found.match == "exact":
            assert place in (str(value), str(value).removesuffix(".0"))
        elif found.match == "normalised":
            assert folded(place) == folded(value)
        elif found.match == "number":
            exact = Decimal(str(value).replace(",", "") if isinstance(value, str) else repr(value))
            assert exact.copy_abs() in numbers(place)
        if found.match in ("exact", "normalised") and isinstance(value, str):
            before, after = text[found.start - 1 : found.start], text[found.end : found.end + 1]
            assert not (before.isdecimal() and place[0].isdecimal())
            assert not (after.isdecimal() and place[-1].isdecimal())
            assert not (before.isalpha() and place[0].isalpha() and before.isascii())

    holds()
    assert min(kinds["exact"], kinds["normalised"]) > 5
    assert min(kinds["number"], kinds["none"]) > 2


def test_a_value_with_one_digit_changed_is_never_found_where_it_does_not_stand() -> None:
    before = Counter[bool]()

    @settings(max_examples=400, derandomize=True)
    @given(_texts_and_values(), st.integers(0, 1 << 30), st.integers(1, 9))
    def holds(drawn: tuple[str, Any], at: int, by: int) -> None:
        text, value = drawn
        spelt = value if isinstance(value, str) else repr(value)
        places = [index for index, letter in enumerate(spelt) if letter in "0123456789"]
        if not places:
            return
        place = places[at % len(places)]
        changed = f"{spelt[:place]}{(int(spelt[place]) + by) % 10}{spelt[place + 1 :]}"
        other: Any = changed if isinstance(value, str) else float(changed) if "." in changed else int(changed)
        if folded(changed) in folded(text) or _stands(changed, text):
            return
        before[_ground(value, text).match in GROUNDED] += 1
        assert _ground(other, text).match not in GROUNDED

    holds()
    assert before[True] > 10


def _stands(value: str, text: str) -> bool:
    """Whether a value may stand in a text as a number or as a day."""
    if any(Decimal(number) in numbers(text) for number in numbers(value)):
        return True
    parts = value.split(".")
    if len(parts) == 3 and all(part.strip().isdecimal() for part in parts):
        day, month, year = (int(part) for part in parts)
        return 1 <= month <= 12 and names_day(text, year, month, day)
    return False


@given(_texts, st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4), max_leaves=12,
))  # fmt: skip
def test_any_answer_to_any_text_has_one_entry_for_each_leaf(text: str, answer: Any) -> None:
    found = ground(answer, kb.Document("d", text), ANY)

    def count(value: Any) -> int:
        if isinstance(value, dict):
            return sum(map(count, value.values()))
        return sum(map(count, value)) if isinstance(value, list) else value is not None

    assert len(found) == len({one.path for one in found}) == count(answer)
    for one in found:
        assert (one.start is None) == (one.end is None)
        if one.start is not None and one.end is not None:
            assert 0 <= one.start < one.end <= len(text)
