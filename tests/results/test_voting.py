"""What several answers for one document say together."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from kimi_beam.results.voting import vote
from kimi_beam.schema import OutputSchema
from kimi_beam.scoring.compared_places import places_of

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "shop": {"type": ["string", "null"]},
        "day": {"type": "string", "format": "date"},
        "seller": {"type": ["object", "null"], "properties": {"name": {"type": "string"}, "city": {"type": "string"}}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "corners": {"type": "array", "items": {"type": "number"}, "x-compare": "ordered"},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "count": {"type": "integer"},
                    "parts": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}}}},
                },
            },
        },
        "rates": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}
ROOT = places_of(OutputSchema(SCHEMA))
GOLD: dict[str, Any] = {
    "shop": "ACME",
    "day": "2026-03-01",
    "seller": {"name": "A. Bauer", "city": "Ulm"},
    "tags": ["paid", "cash"],
    "corners": [1, 2.5],
    "lines": [
        {"name": f"bolt {n}", "count": n, "parts": [{"id": f"p{n}"}, {"id": f"q{n}"}]} for n in range(6)
    ],
    "rates": {"full": 19.0, "half": 7.0},
}  # fmt: skip


def changed(**members: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOLD), **members}


def test_answers_that_agree_are_that_answer() -> None:
    for count in range(1, 5):
        voted = vote([copy.deepcopy(GOLD) for _ in range(count)], ROOT)
        assert (voted.value, dict(voted.disagreements), voted.left_out) == (GOLD, {}, 0)


@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize(
    ("other", "disagreements"),
    [
        (changed(shop="ACNE"), {"/shop": 2}),
        (changed(shop=None), {"/shop": 2}),
        ({key: one for key, one in GOLD.items() if key != "shop"}, {"/shop": 2}),
        (changed(seller={"name": "A. Bauer", "city": "Ulm-Wiblingen"}), {"/seller/city": 2}),
        (changed(seller=None), {"/seller/name": 2, "/seller/city": 2}),
        (changed(corners=[1, 2.25]), {"/corners/1": 2}),
        (changed(tags=["paid", "cach"]), {"/tags/1": 2}),
        (changed(tags=["paid"]), {"/tags/1": 2}),
        (changed(rates={"full": 19.0, "half": 7.5}), {"/rates/half": 2}),
        (changed(lines=[*GOLD["lines"][:2], {**GOLD["lines"][2], "count": 22}, *GOLD["lines"][3:]]),
         {"/lines/2/count": 2}),
        (changed(lines=GOLD["lines"][1:]), dict.fromkeys(
            ("/lines/0/name", "/lines/0/count", "/lines/0/parts/0/id", "/lines/0/parts/1/id"), 2)),
        (changed(lines=[]), {
            f"/lines/{n}/{at}": 2 for n in range(6) for at in ("name", "count", "parts/0/id", "parts/1/id")}),
    ],
)  # fmt: skip
def test_two_of_three_count_wherever_the_third_stands(turn: int, other: Any, disagreements: dict[str, int]) -> None:
    answers = [copy.deepcopy(GOLD), copy.deepcopy(GOLD)]
    answers.insert(turn, other)
    voted = vote(answers, ROOT)
    assert voted.value == GOLD
    assert dict(voted.disagreements) == disagreements


def test_an_item_that_one_answer_has_is_left_out_and_counted_and_one_that_two_have_stays_in_its_place() -> None:
    extra = {"name": "nut", "count": 99, "parts": []}
    with_extra = changed(lines=[*GOLD["lines"][:3], extra, *GOLD["lines"][3:]])
    voted = vote([GOLD, with_extra, GOLD], ROOT)
    assert (voted.value, voted.left_out) == (GOLD, 1)
    voted = vote([GOLD, with_extra, copy.deepcopy(with_extra)], ROOT)
    assert (voted.value, voted.left_out) == (with_extra, 0)


def test_of_a_tie_the_first_answer_counts() -> None:
    others = [changed(shop="ACNE"), changed(shop="ACRE")]
    voted = vote([GOLD, *others], ROOT)
    assert (voted.value["shop"], voted.disagreements["/shop"]) == ("ACME", 1)
    voted = vote([changed(lines=GOLD["lines"][:5]), GOLD], ROOT)
    assert len(voted.value["lines"]) == 5
    assert len(vote([GOLD, changed(lines=GOLD["lines"][:5])], ROOT).value["lines"]) == 6


def test_values_that_are_read_alike_agree_and_keep_the_first_spelling() -> None:
    voted = vote([changed(shop="ACME  Ltd"), changed(shop=" ACME Ltd"), changed(shop="ACME Ltd")], ROOT)
    assert voted.value["shop"] == "ACME  Ltd"
    assert not voted.disagreements


def test_the_order_of_rows_plays_no_part() -> None:
    drawn = random.Random(7)
    for _ in range(30):
        answers = []
        for _ in range(3):
            lines = copy.deepcopy(GOLD["lines"])
            drawn.shuffle(lines)
            lines[drawn.randrange(6)]["count"] = drawn.randrange(1_000, 9_999)
            answers.append(changed(lines=lines))
        voted = vote(answers, ROOT)
        assert sorted(line["name"] for line in voted.value["lines"]) == [f"bolt {n}" for n in range(6)]
        right = [line["count"] == int(line["name"].split()[1]) for line in voted.value["lines"]]
        wrong_twice = sum(
            sum(line["count"] >= 1_000 for answer in answers for line in answer["lines"] if line["name"] == f"bolt {n}")
            >= 2
            for n in range(6)
        )
        assert right.count(False) <= wrong_twice
