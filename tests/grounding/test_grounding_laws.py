"""Laws of grounding, checked by readings of texts and numbers that share no code with it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from independent_reading import folded, names_day, numbers

import kimi_beam as kb
from kimi_beam.grounding.ground import ground
from kimi_beam.schema import OutputSchema
from kimi_beam.types.grounding import GROUNDED, Grounding

ANY = OutputSchema({}).places
_PLAIN = (
    "Acme Ltd", "TOTAL:", "EUR", "No.", "\u201cAgent\u201d", "Rech-\nnung", "a\u00a0b", "5 kg", "19 %", "O\u2019Neill",
    "Stra\u00dfe", "\ufb01nal", "e\u0301", "A4", "1.2.3",
)  # fmt: skip
_texts = st.lists(st.sampled_from([*_PLAIN, "12.50", "1,000", "25.12.2018"]), max_size=8).map(" ".join)


def _piece(chance: random.Random) -> str:
    kind = chance.randrange(6)
    if kind < 2:
        amount = f"{chance.choice([9, 99, 9_999, 999_999]) * chance.random():,.2f}"
        return amount if kind else amount.translate(str.maketrans(",.", ".,"))
    if kind == 2:
        return f"{chance.randint(1, 28):02}.{chance.randint(1, 12):02}.{chance.randint(1970, 2069)}"
    if kind == 3:
        return str(chance.randint(0, 10 ** chance.randint(1, 6)))
    if kind == 4:
        return "".join(chance.choice("abXY09 .,-/\u00df\ufb01\u00e9\u0301") for _ in range(chance.randint(1, 10)))
    return chance.choice(_PLAIN)


def _drawn(count: int) -> Iterator[tuple[str, Any, random.Random]]:
    """Texts, each with a value that often stands in it, perhaps in another spelling; the same each time."""
    chance = random.Random(20)
    for _ in range(count):
        pieces = [_piece(chance) for _ in range(chance.randint(1, 10))]
        text = "".join(piece + chance.choice([" ", "  ", "\n", "\t", ", "]) for piece in pieces)
        piece = chance.choice([*pieces, _piece(chance)])
        plain = piece.replace(",", "")
        value: Any = chance.choice([piece, piece.upper(), piece.lower(), piece.replace(" ", "\n  "), piece[1:]])
        if chance.random() < 0.5 and plain.replace(".", "", 1).isdecimal() and plain.isascii():
            value = chance.choice([float(plain), int(float(plain)), f"{float(plain):.2f}"])
        yield text, value, chance


def _ground(value: Any, text: str) -> Grounding:
    (found,) = ground({"v": value}, kb.Document("d", text), ANY)
    return found


def test_a_place_holds_the_value_in_the_spelling_that_its_kind_says() -> None:
    kinds = Counter[str]()
    for text, value, _ in _drawn(1_500):
        found = _ground(value, text)
        kinds[found.match] += 1
        if found.start is None or found.end is None:
            assert found.candidates == 0
            continue
        place = text[found.start : found.end]
        if found.match == "exact":
            assert place in (str(value), str(value).removesuffix(".0"))
        elif found.match == "normalised":
            assert folded(place) == folded(value)
        elif found.match == "number":
            meant = numbers(value) if isinstance(value, str) else {Decimal(repr(value))}
            assert meant & numbers(place)
        if found.match in ("exact", "normalised") and isinstance(value, str):
            before, after = text[found.start - 1 : found.start], text[found.end : found.end + 1]
            assert not (before.isdecimal() and place[0].isdecimal())
            assert not (after.isdecimal() and place[-1].isdecimal())
            assert not (before.isalpha() and place[0].isalpha() and before.isascii())
    assert min(kinds[kind] for kind in ("exact", "normalised", "number", "none")) > 30, kinds


def test_a_value_with_one_digit_changed_is_never_found_where_it_does_not_stand() -> None:
    tried = Counter[bool]()
    for text, value, chance in _drawn(1_500):
        spelt = value if isinstance(value, str) else repr(value)
        places = [index for index, letter in enumerate(spelt) if letter in "0123456789"]
        if not places:
            continue
        place = chance.choice(places)
        changed = f"{spelt[:place]}{(int(spelt[place]) + chance.randint(1, 9)) % 10}{spelt[place + 1 :]}"
        other: Any = changed if isinstance(value, str) else float(changed) if "." in changed else int(changed)
        if folded(changed) in folded(text) or _stands(changed, text):
            continue
        tried[_ground(value, text).match in GROUNDED] += 1
        assert _ground(other, text).match not in GROUNDED, (text, value, other)
    assert tried[True] > 100, tried


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
