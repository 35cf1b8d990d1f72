"""Rows are paired as well as can be, although equal ones are paired without looking at the others."""

from __future__ import annotations

import random
from typing import Any

import pytest
from both_paths import both_paths
from random_answers import SCHEMA, WORDS

from kimi_beam.schema import OutputSchema
from kimi_beam.scoring import row_pairing
from kimi_beam.scoring.compared_places import places_of
from kimi_beam.scoring.flat_rows import Row, gold_row_of, row_of
from kimi_beam.scoring.row_pairing import pair

ROOT = places_of(OutputSchema(SCHEMA))
LINES = ROOT.member("lines")


def _rows(chance: random.Random, count: int, choice: float) -> list[dict[str, Any]]:
    """Lines with few values, so that many are equal; some accept two names."""
    return [
        {
            "name": {"$any": chance.sample(WORDS, 2)} if chance.random() < choice else chance.choice(WORDS),
            "count": chance.randrange(3),
            "notes": [chance.choice(WORDS) for _ in range(chance.randrange(3))],
        }
        for _ in range(count)
    ]


def _pair_of_lists(chance: random.Random, *, choice: float) -> tuple[list[Row], list[Row]]:
    right = _rows(chance, chance.randrange(1, 12), choice)
    copied = [one for one in right if type(one["name"]) is str and chance.random() < 0.3]
    golds = gold_row_of({"lines": right}, ROOT)
    answered = row_of({"lines": [*_rows(chance, chance.randrange(1, 9), 0), *copied]}, ROOT)
    assert LINES is not None
    return golds.lists[LINES], answered.lists[LINES]


@pytest.mark.parametrize("choice", [0.0, 0.3])
def test_pairing_equal_rows_first_loses_no_right_value_against_assigning_all(choice: float) -> None:
    chance = random.Random(31)
    with both_paths("rows that are equal", "equal rows beside others", at_least=150) as taken:
        for _ in range(400):
            golds, answered = _pair_of_lists(chance, choice=choice)
            found = pair(golds, answered)
            every = row_pairing._assigned(golds, range(len(golds)), answered, range(len(answered)))
            assert found.is_exact
            assert sum(one.common.right for one in found.pairs) == sum(one.common.right for one in every)
            equal = sum(golds[one.gold].content == answered[one.answered].content for one in found.pairs)
            taken["rows that are equal"] += equal > 0
            taken["equal rows beside others"] += 0 < equal < len(found.pairs)


def test_what_a_pair_is_said_to_have_in_common_is_what_it_has() -> None:
    chance = random.Random(32)
    for _ in range(100):
        golds, answered = _pair_of_lists(chance, choice=0.2)
        for one in pair(golds, answered).pairs:
            assert one.common == row_pairing.common(golds[one.gold], answered[one.answered])
            assert one.common.right > 0


def test_a_list_that_is_too_long_is_paired_nearly_as_well_and_in_any_order_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(33)
    nearly = exact = 0
    for _ in range(200):
        golds, answered = _pair_of_lists(chance, choice=0.0)
        best = sum(one.common.right for one in pair(golds, answered).pairs)
        with monkeypatch.context() as patched:
            patched.setattr(row_pairing, "MOST_COMPARED", 16)
            found = pair(golds, answered)
            right = sum(one.common.right for one in found.pairs)
            chance.shuffle(golds)
            chance.shuffle(answered)
            assert sum(one.common.right for one in pair(golds, answered).pairs) == right
        assert right <= best
        assert len({one.gold for one in found.pairs}) == len({one.answered for one in found.pairs}) == len(found.pairs)
        if not found.is_exact:
            nearly, exact = nearly + right, exact + best
    assert exact > 1_000
    assert nearly >= 0.75 * exact  # of stretches of two rows
