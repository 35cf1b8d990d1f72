"""The score is that of omni-extract-bench where conventions agree, and keeps the laws that a score has to keep."""

from __future__ import annotations

import random
from collections import Counter
from copy import deepcopy
from typing import Any

from omni_definition import common, omni_score
from random_answers import SCHEMA, answer, gold

from kimi_beam.schema import OutputSchema
from kimi_beam.scoring.compared_places import places_of
from kimi_beam.scoring.document_scores import AnswerAndGold, DocumentScore, score
from kimi_beam.scoring.evaluation import Evaluation
from kimi_beam.scoring.field_scores import FieldScore
from kimi_beam.scoring.tallies import Tally

ROOT = places_of(OutputSchema(SCHEMA))
PAIRS = 10_000


def _score(right: Any, answered: Any) -> DocumentScore:
    return score(AnswerAndGold("a", right, answered), ROOT)


def _evaluation(right: Any, answered: Any) -> Evaluation:
    tally = Tally()
    tally.add(_score(right, answered))
    return tally.evaluation(ROOT)


def _overall(right: Any, answered: Any) -> FieldScore:
    return _evaluation(right, answered).overall


def test_10_000_random_pairs_score_as_by_omnis_definition() -> None:
    chance = random.Random(20261201)
    same_accuracy, with_errors = 0, Counter[str]()
    for _ in range(PAIRS):
        right = gold(chance)
        answered = answer(right, chance)
        ours, theirs = _overall(right, answered), omni_score(right, answered)
        for name in ("precision", "recall", "f1"):
            assert abs((getattr(ours, name) or 0.0) - getattr(theirs, name)) <= 1e-9, name
        # Of pairings with as many right values ours prefers one with equal rows, theirs one with more shared places.
        less = theirs.accuracy - (ours.accuracy or 0.0)
        assert less >= -1e-9
        same_accuracy += less <= 1e-9
        with_errors.update(name for name, count in ours.errors.items() if count)
    assert same_accuracy >= 0.99 * PAIRS, same_accuracy
    assert min(with_errors.values()) >= PAIRS // 50, with_errors
    assert len(with_errors) == 5, with_errors


def _with_keys_in_another_order(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        keys = chance.sample(list(value), len(value))
        return {key: _with_keys_in_another_order(value[key], chance) for key in keys}
    return [_with_keys_in_another_order(one, chance) for one in value] if isinstance(value, list) else value


def test_no_order_of_a_list_or_of_keys_changes_anything() -> None:
    chance = random.Random(1)
    for _ in range(500):
        right = gold(chance)
        answered = answer(right, chance)
        before = _score(right, answered)
        for value in (right, answered):
            chance.shuffle(value["lines"])
            chance.shuffle(value["tags"])
            for line in value["lines"]:
                chance.shuffle(line["parts"])
                chance.shuffle(line["notes"])
        right, answered = (_with_keys_in_another_order(value, chance) for value in (right, answered))
        assert _score(right, answered) == before


def test_a_right_value_more_never_lowers_a_score() -> None:
    chance = random.Random(2)
    added = 0
    for _ in range(1_000):
        right = gold(chance)
        answered = answer(right, chance)
        before = _overall(right, answered)
        more = deepcopy(answered)
        name = chance.choice(("number", "total"))
        if right[name] is None or more.get(name) == right[name]:
            continue
        more[name] = right[name]
        after = _overall(right, more)
        added += 1
        assert after.right == before.right + 1
        for one in ("precision", "recall", "f1", "accuracy", "accuracy_with_nulls"):
            assert (getattr(after, one) or 0.0) >= (getattr(before, one) or 0.0), one
    assert added > 100


def test_a_line_that_is_found_never_lowers_a_score() -> None:
    chance = random.Random(3)
    added = 0
    for _ in range(1_000):
        right = gold(chance)
        answered = answer(right, chance)
        if not right["lines"]:
            continue
        (rest := deepcopy(answered))["lines"] = [
            line for line in answered["lines"] if common(line, right["lines"][0]).right == 0
        ]
        (more := deepcopy(rest))["lines"].append(right["lines"][0])
        before, after = _overall(right, rest), _overall(right, more)
        added += 1
        assert (after.f1 or 0.0) >= (before.f1 or 0.0)
        assert (after.recall or 0.0) >= (before.recall or 0.0)
    assert added > 500


def test_a_line_that_is_dropped_always_lowers_recall() -> None:
    chance = random.Random(4)
    dropped = 0
    for _ in range(1_000):
        right = gold(chance)
        if not any(line["name"] for line in right["lines"]):
            continue
        less = deepcopy(right)
        index = next(index for index, line in enumerate(right["lines"]) if line["name"])
        del less["lines"][index]
        recall = _overall(right, less).recall
        assert recall is not None
        assert recall < 1.0
        dropped += 1
    assert dropped > 500


def test_each_value_counts_once_on_each_side() -> None:
    chance = random.Random(5)
    for _ in range(1_000):
        right = gold(chance)
        found = _overall(right, answer(right, chance))
        errors = found.errors
        assert found.predicted == found.right + errors["misread"] + sum(
            errors[name] for name in ("fabricated", "invented_item", "invented_field")
        )
        assert found.support == found.right + errors["misread"] + errors["unfound"]
