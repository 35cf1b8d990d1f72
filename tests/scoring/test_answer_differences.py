"""Each value that differs is named by where it really stands, in whichever of the two has it."""

from __future__ import annotations

import random
from typing import Any

from random_answers import SCHEMA, answer, gold

from kimi_beam.schema import OutputSchema
from kimi_beam.scoring.answer_differences import answer_differences, wrong_values
from kimi_beam.scoring.compared_places import places_of
from kimi_beam.scoring.document_scores import AnswerAndGold, score
from kimi_beam.scoring.field_scores import FieldScore
from kimi_beam.scoring.flat_rows import value_at

ODD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "a/b~c": {"type": "string"},
        "prices": {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": {"net": {"type": "number"}}},
        },
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "steps": {"type": "array", "x-compare": "ordered", "items": {"type": "string"}},
                    "span": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]},
                    "codes": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
                },
            },
        },
    },
}


def test_pointers_lead_through_maps_tuples_ordered_lists_and_odd_names() -> None:
    first = {
        "a/b~c": "x",
        "prices": {"p/q": {"net": 1}, "r": {"net": 2}},
        "lines": [
            {"name": "one", "steps": ["cut", "glue"], "span": [1, 2], "codes": {"k/1": ["u", "v"]}},
            {"name": "two"},
        ],
    }
    second = {
        "a/b~c": "y",
        "prices": {"p/q": {"net": 3}, "s": {"net": 2}},
        "lines": [
            {"name": "two", "steps": ["new"]},
            {"name": "one", "steps": ["cut", "sew"], "span": [1, 5], "codes": {"k/1": ["v", "w"]}},
        ],
    }
    found = answer_differences(first, second, places_of(OutputSchema(ODD)))
    assert [(one.change, one.field, one.pointer, one.first, one.second) for one in found] == [
        ("changed", "/a~1b~0c", "/a~1b~0c", "x", "y"),
        ("changed", "/prices/*/net", "/prices/p~1q/net", 1, 3),
        ("gone", "/prices/*/net", "/prices/r/net", 2, None),
        ("new", "/prices/*/net", "/prices/s/net", None, 2),
        ("changed", "/lines/*/steps/*", "/lines/0/steps/1", "glue", "sew"),
        ("changed", "/lines/*/span/1", "/lines/0/span/1", 2, 5),
        ("gone", "/lines/*/codes/*/*", "/lines/0/codes/k~11/0", "u", None),
        ("new", "/lines/*/codes/*/*", "/lines/1/codes/k~11/1", None, "w"),
        ("new", "/lines/*/steps/*", "/lines/0/steps/0", None, "new"),
    ]


def test_each_error_that_is_counted_is_named_once_with_its_values() -> None:
    chance, root = random.Random(41), places_of(OutputSchema(SCHEMA))
    named = 0
    for _ in range(300):
        right = gold(chance)
        answered = answer(right, chance)
        found = wrong_values(right, answered, root)
        counts = score(AnswerAndGold("a", right, answered), root).counts
        for field, of_field in counts.items():
            errors = FieldScore.of(of_field, exact=0, documents=1).errors
            for kind, count in errors.items():
                assert sum(one.field == field and one.error == kind for one in found) == count
        assert len({(one.pointer, one.answer is None) for one in found}) == len(found)
        for one in found:
            assert value_at(right if one.answer is None else answered, one.pointer) == (
                one.gold if one.answer is None else one.answer
            )
        named += len(found)
    assert named > 1_000
