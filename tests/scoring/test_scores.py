"""What is counted of documents, and how counts become a score."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from random_answers import SCHEMA, answer, gold

from kimi_beam.errors import InputError
from kimi_beam.schema import OutputSchema
from kimi_beam.scoring.compared_places import places_of
from kimi_beam.scoring.document_scores import AnswerAndGold, score
from kimi_beam.scoring.evaluation import Evaluation
from kimi_beam.scoring.intervals import paired_bootstrap, wilson
from kimi_beam.scoring.tallies import Tally

TEXT: dict[str, Any] = {"type": ["string", "null"]}
INVOICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "number": TEXT,
        "currency": {"enum": ["EUR", "USD", None]},
        "net": {"type": ["number", "null"]},
        "gross": {"type": ["number", "null"]},
        "lines": {
            "type": ["array", "null"],
            "items": {"type": "object", "properties": {"name": TEXT, "total": {"type": ["number", "null"]}}},
        },
        "prices": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}
GOLD: dict[str, Any] = {
    "number": "7",
    "currency": "EUR",
    "net": 10.0,
    "gross": None,
    "lines": [{"name": "pen", "total": 1.5}, {"name": "ink", "total": None}],
}


def _evaluation(*documents: AnswerAndGold, schema: Any = INVOICE) -> Evaluation:
    root, tally = places_of(OutputSchema(schema)), Tally()
    for document in documents:
        tally.add(score(document, root))
    return tally.evaluation(root)


def _of(answered: Any, right: Any = GOLD) -> Evaluation:
    return _evaluation(AnswerAndGold("a", right, answered))


def test_a_right_answer_is_exact_and_its_nulls_are_right() -> None:
    found = _of(GOLD)
    assert (found.overall.precision, found.overall.recall, found.overall.f1, found.overall.exact) == (1, 1, 1, 1)
    assert (found.overall.support, found.overall.right_nulls, found.overall.gold_nulls) == (6, 2, 2)
    assert list(found.fields) == ["/number", "/currency", "/net", "/gross", "/lines/*/name", "/lines/*/total"]
    assert found.worst == ()


@pytest.mark.parametrize(
    ("changes", "field", "error"),
    [
        ({"net": 11.0}, "/net", "misread"),
        ({"net": None}, "/net", "unfound"),
        ({"gross": 11.0}, "/gross", "fabricated"),
        ({"lines": [*GOLD["lines"], {"name": "cap", "total": None}]}, "/lines/*/name", "invented_item"),
        ({"lines": [{"name": "pen", "total": 1.5}]}, "/lines/*/name", "unfound"),
        ({"colour": "red"}, "/colour", "invented_field"),
        ({"prices": {"a": 3}}, "/prices/*", "fabricated"),
    ],
)
def test_an_error_is_of_its_kind_in_its_field(changes: dict[str, Any], field: str, error: str) -> None:
    found = _of({**GOLD, **changes})
    wrong = {(name, kind): count for name, one in found.fields.items() for kind, count in one.errors.items() if count}
    assert wrong == {(field, error): 1}
    assert found.overall.exact == found.fields[field].exact == 0
    assert found.fields["/number"].exact == 1
    (worst,) = found.worst
    assert (worst.document_id, worst.outcome, worst.score.errors[error]) == ("a", "row", 1)


def test_a_key_of_a_map_is_compared_with_the_same_key() -> None:
    found = _of({"prices": {"a": 1, "b": 2, "d": 3}}, {"prices": {"a": 1, "b": 3, "c": 3}})
    one = found.fields["/prices/*"]
    assert (one.right, one.errors["misread"], one.errors["unfound"], one.errors["fabricated"]) == (1, 1, 1, 1)


@pytest.mark.parametrize("outcome", ["missing", "schema_violation"])
def test_a_document_without_a_row_counts_as_one_without_any_value(outcome: str) -> None:
    found = _evaluation(AnswerAndGold("a", GOLD, GOLD), AnswerAndGold("b", GOLD, outcome=outcome))
    assert (found.documents, found.outcomes) == (2, {outcome: 1, "row": 1})
    assert (found.overall.recall, found.overall.precision, found.overall.exact) == (0.5, 1.0, 1)
    assert found.overall.errors["unfound"] == 6
    assert found.fields["/gross"].exact == 1  # nobody said that it is null in the other
    assert (found.overall.right_nulls, found.overall.gold_nulls) == (2, 4)
    assert found.mean_accuracy == (0.5, 0.5)
    assert [one.document_id for one in found.worst] == ["b"]


def test_a_field_without_a_value_on_either_side_has_no_score_and_one_without_a_right_one_has_0() -> None:
    found = _of({"number": None, "net": 1}, {"number": "7", "currency": None})
    assert found.fields["/currency"].f1 is None
    number, net = found.fields["/number"], found.fields["/net"]
    assert (number.precision, number.recall, net.precision, net.recall) == (0.0, 0.0, 0.0, 0.0)


def test_both_conventions_for_nulls_are_told() -> None:
    one = _of({"number": "7", "currency": None, "net": 11.0}).overall
    # Of the gold's 6 values 1 is right, 1 misread, 4 are unfound; 1 of its nulls is right.
    assert one.accuracy == pytest.approx(1 / 6)
    assert one.accuracy_with_nulls == pytest.approx(2 / 7)
    # The lines that are missing have their own nulls: the gold has 2, the answer 2 (/currency and /gross), 1 is common.
    assert (one.gold_nulls, one.answered_nulls, one.right_nulls) == (2, 2, 1)
    assert one.f1_with_nulls == pytest.approx(2 * (1 + 1) / ((2 + 2) + (6 + 2)))


@pytest.mark.parametrize("answered", ["9.00", "9"])
def test_each_accepted_reading_is_right(answered: str) -> None:
    right = {"number": {"$any": ["9.00", "9"]}}
    assert _of({"number": answered}, right).overall.f1 == 1.0
    assert _of({"number": "8"}, right).overall.errors["misread"] == 1
    assert _of({"number": None}, right).overall.errors["unfound"] == 1


def test_where_null_is_accepted_too_no_value_is_right_and_not_counted_as_found() -> None:
    right = {"number": {"$any": ["9", None]}, "net": 1.0}
    without = _of({"net": 1.0}, right).overall
    assert (without.support, without.right, without.exact) == (1, 1, 1)
    assert _of({"number": "9", "net": 1.0}, right).overall.support == 2
    assert _of({"number": "8", "net": 1.0}, right).overall.errors["misread"] == 1


def test_rows_that_accept_several_readings_are_paired_so_that_most_are_right() -> None:
    right = {"lines": [{"name": {"$any": ["a", "b"]}, "total": 5}, {"name": "a", "total": 5}]}
    answered = {"lines": [{"name": "a", "total": 5}, {"name": "b", "total": 5}]}
    for one in (answered, {"lines": answered["lines"][::-1]}):
        assert _of(one, right).overall.right == 4


@pytest.mark.parametrize(
    ("right", "told"),
    [
        ({"number": {"$any": []}}, "gold of 'a' at /number: .* at least one"),
        ({"number": {"$any": [None]}}, "at /number"),
        ({"number": {"$any": "9"}}, "at /number"),
        ({"lines": [{"name": {"$any": [["x"]]}}]}, "at /lines/0/name: .* no objects or arrays"),
    ],
)
def test_accepted_readings_that_are_malformed_are_refused_by_their_place(right: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        _of({}, right)


def test_an_answer_may_have_the_key_of_accepted_readings_and_is_no_gold_by_it() -> None:
    assert _of({"number": {"$any": ["7"]}}).overall.errors["invented_field"] == 0
    assert _of({"number": {"$any": ["7"]}}).fields["/number"].right == 0


def test_a_value_that_was_taken_for_another_of_a_list_or_for_another_field_is_named() -> None:
    found = _evaluation(*(AnswerAndGold(str(i), GOLD, {**GOLD, "currency": "USD"}) for i in range(3)))
    assert found.confusions == {("/currency", '"EUR"', '"USD"'): 3}
    swapped = _of({**GOLD, "net": 12.0, "gross": None}, {**GOLD, "gross": 12.0})
    assert swapped.swaps == {("/net", "/gross"): 1}


def test_slices_have_scores_of_their_own_that_add_up() -> None:
    documents = [AnswerAndGold(f"{group}{i}", GOLD, GOLD if group == "de" else {}, group=group)
                 for group in ("de", "fr") for i in range(2)]  # fmt: skip
    found = _evaluation(*documents)
    assert {name: (one.documents, one.overall.recall) for name, one in found.groups.items()} == {
        "de": (2, 1.0),
        "fr": (2, 0.0),
    }
    assert found.overall.recall == 0.5
    assert found.to_json()["slices"]["fr"]["fields"]["/net"]["recall"] == 0.0


def _tally(documents: Sequence[AnswerAndGold]) -> Tally:
    root, tally = places_of(OutputSchema(SCHEMA)), Tally()
    for document in documents:
        tally.add(score(document, root))
    return tally


def _random_documents(count: int) -> list[AnswerAndGold]:
    chance = random.Random(11)
    found = []
    for index in range(count):
        right = gold(chance)
        outcome = chance.choice(("row", "row", "row", "truncated", "missing"))
        answered = answer(right, chance) if outcome == "row" else None
        found.append(AnswerAndGold(f"d{index}", right, answered, outcome, chance.choice(("a", "b", None))))
    return found


def test_the_sums_are_the_same_in_any_order_and_in_any_parts() -> None:
    documents, chance = _random_documents(200), random.Random(12)
    root = places_of(OutputSchema(SCHEMA))
    whole = _tally(documents).evaluation(root)
    assert len(whole.worst) == 10
    assert whole.swaps
    for _ in range(10):
        chance.shuffle(documents)
        cuts = sorted(chance.sample(range(len(documents)), 5))
        parts = [documents[a:b] for a, b in zip([0, *cuts], [*cuts, len(documents)], strict=True)]
        merged = Tally()
        for part in parts:
            merged.merge(pickle.loads(pickle.dumps(_tally(part))))
        assert merged.evaluation(root) == whole


def test_a_tally_that_is_merged_into_another_is_not_changed() -> None:
    documents, root = _random_documents(40), places_of(OutputSchema(SCHEMA))
    first, second, into = _tally(documents[:20]), _tally(documents[20:]), Tally()
    before = first.evaluation(root)
    into.merge(first)
    into.merge(second)
    assert first.evaluation(root) == before


def test_a_list_with_more_differing_rows_than_are_compared_is_told_and_scored_nearly_right() -> None:
    rows = [{"name": f"item {index}", "total": float(index % 5)} for index in range(2_500)]
    answered = [{"name": row["name"], "total": index % 5 + 10.0} for index, row in enumerate(rows)]
    found = _of({"lines": answered[::-1]}, {"lines": rows})
    assert found.nearly_paired == 1
    assert found.fields["/lines/*/name"].right == 2_500
    assert found.fields["/lines/*/total"].errors["misread"] == 2_500


def test_wilsons_interval_is_that_of_the_books() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for successes, trials, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
                                         (1, 29, 0.0061, 0.1718)):  # fmt: skip
        assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)
    assert wilson(5, 5) == pytest.approx((0.5655, 1.0), abs=5e-5)
    assert wilson(0, 0) is None


def _counts(right: Any) -> Any:
    """The counts of one field that 40 documents have ten times, of which so many are right."""
    return np.stack([right, np.full(40, 10), np.full(40, 10)], axis=-1)[:, None, :]


def test_the_bootstrap_tells_a_difference_from_chance_and_repeats_itself_by_its_seed() -> None:
    chance = np.random.default_rng(3)
    first = chance.integers(3, 8, 40)
    (better,) = paired_bootstrap(_counts(first), _counts(first + 2), seed=1, resamples=500)
    assert better.difference == pytest.approx(0.2)
    assert (better.low, better.high) == pytest.approx((0.2, 0.2))  # paired: each document is better by as much
    assert better.p_value == 0.0
    shuffled = chance.permutation(first)
    (equal,) = paired_bootstrap(_counts(first), _counts(shuffled), seed=1, resamples=500)
    assert equal.low < 0 < equal.high
    assert equal.p_value > 0.2
    assert [equal] == paired_bootstrap(_counts(first), _counts(shuffled), seed=1, resamples=500)
    assert [equal] != paired_bootstrap(_counts(first), _counts(shuffled), seed=2, resamples=500)


def test_the_bootstraps_interval_is_as_wide_as_theory_says() -> None:
    chance = np.random.default_rng(4)
    first, second = chance.integers(0, 11, 40), chance.integers(0, 11, 40)
    (found,) = paired_bootstrap(_counts(first), _counts(second), seed=5, resamples=4_000)
    expected = 2 * 1.96 * np.std((second - first) / 10) / np.sqrt(40)
    assert found.high - found.low == pytest.approx(expected, rel=0.1)


def _nested(depth: int, last: int) -> Any:
    value: Any = [1, last]
    for _ in range(depth):
        value = [{"a": value}]
    return value


@pytest.mark.parametrize("depth", [3, 95])
def test_lists_in_lists_as_deep_as_json_may_be_are_compared(depth: int) -> None:
    schema = {"type": "object", "properties": {"x": {}}}
    found = _evaluation(AnswerAndGold("a", {"x": _nested(depth, 2)}, {"x": _nested(depth, 3)}), schema=schema)
    assert (found.overall.right, found.overall.support, found.overall.predicted) == (1, 2, 2)


def test_very_many_single_values_that_differ_are_not_paired_with_one_another() -> None:
    schema = {"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}}}
    right = {"tags": [f"a{index}" for index in range(1_500)] + ["same"]}
    answered = {"tags": ["same"] + [f"b{index}" for index in range(1_500)]}
    found = _evaluation(AnswerAndGold("a", right, answered), schema=schema)
    assert found.overall.right == 1
    assert (found.overall.errors["unfound"], found.overall.errors["invented_item"]) == (1_500, 1_500)
    assert found.overall.errors["misread"] == 0


def test_10_000_rows_with_errors_in_one_of_a_hundred_values_are_paired_exactly() -> None:
    chance = random.Random(8)
    rows = [{"name": f"item {index}", "total": float(index % 100)} for index in range(10_000)]
    answered = [dict(row) for row in rows]
    chance.shuffle(answered)
    wrong = 0
    for row in answered:
        for name, value in (("name", "?"), ("total", -1.0)):
            if chance.random() < 0.01:
                row[name], wrong = value, wrong + 1
    found = _of({"lines": answered}, {"lines": rows})
    assert found.nearly_paired == 0
    assert wrong > 150
    assert 20_000 - found.overall.right <= wrong  # fewer where a wrong row has another one's values
