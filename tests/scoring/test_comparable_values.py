"""When two values count as the same: by the schema's types, and by ``x-compare``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kimi_beam.errors import SchemaError
from kimi_beam.schema import OutputSchema
from kimi_beam.scoring.compared_places import places_of
from kimi_beam.scoring.document_scores import AnswerAndGold, score
from kimi_beam.scoring.evaluation import Evaluation
from kimi_beam.scoring.tallies import Tally


def _compared(rule: Any, right: Any, answered: Any) -> Evaluation:
    root = places_of(OutputSchema({"type": "object", "properties": {"x": rule}}))
    tally = Tally()
    tally.add(score(AnswerAndGold("a", {"x": right}, {"x": answered}), root))
    return tally.evaluation(root)


def _same(rule: Any, right: Any, answered: Any) -> bool:
    return _compared(rule, right, answered).overall.right == 1


STRING: dict[str, Any] = {"type": ["string", "null"]}
NUMBER: dict[str, Any] = {"type": "number"}


@pytest.mark.parametrize(
    ("rule", "right", "answered"),
    [
        (STRING, "No. 5,\n Jalan  Sagu ", "No. 5, Jalan Sagu"),
        (STRING, "Mu\u0308ller", "M\u00fcller"),
        ({**STRING, "x-compare": "case"}, "ACME  GmbH", "Acme GmbH"),
        ({**STRING, "x-compare": "case"}, "STRASSE", "stra\u00dfe"),
        ({**STRING, "x-compare": "alphanumeric"}, "P.O. Box 125", "PO BOX 125"),
        ({**STRING, "x-compare": "number"}, "1,234.50", "1234.5"),
        ({**STRING, "x-compare": "number"}, "1.234,50", "1234.5"),
        ({**STRING, "x-compare": "number"}, "12,5", "12.50"),
        ({**STRING, "x-compare": "number"}, 12.5, "12.50"),
        (NUMBER, 10, 10.0),
        (NUMBER, Decimal("24.80"), 24.8),
        (NUMBER, "24.80", 24.8),
        (NUMBER, 12345678901234567890123, Decimal("12345678901234567890123")),
        ({"type": "string", "format": "date"}, "2026-03-01", "2026-03-01"),
        ({"type": "string", "format": "date-time"}, "2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00.000Z"),
        ({"type": "boolean"}, True, True),
        ({"enum": ["EUR", "USD"]}, "EUR", "EUR"),
        ({"anyOf": [{"type": "string", "x-compare": "case"}, {"type": "null"}]}, "A", "a"),
    ],
)
def test_values_that_mean_the_same_are_right(rule: Any, right: Any, answered: Any) -> None:
    assert _same(rule, right, answered)


@pytest.mark.parametrize(
    ("rule", "right", "answered"),
    [
        (STRING, "ACME", "Acme"),
        (STRING, "10.0", "10"),
        (STRING, "AB", "A B"),
        ({**STRING, "x-compare": "exact"}, "A  B", "A B"),
        ({**STRING, "x-compare": "alphanumeric"}, "--", "++"),
        ({**STRING, "x-compare": "number"}, "1.234", "1,234"),
        ({**STRING, "x-compare": "number"}, "1e3", "1000"),
        ({**STRING, "x-compare": "case"}, "A1", "A2"),
        (NUMBER, 1.0000000000000002, 1.0),
        (NUMBER, Decimal("0.10000000000000000001"), 0.1),
        ({"type": "string", "format": "date-time"}, "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.0000001Z"),
        ({"type": ["boolean", "integer"]}, True, 1),
        ({}, "1", 1),
    ],
)
def test_values_that_differ_are_wrong(rule: Any, right: Any, answered: Any) -> None:
    assert _compared(rule, right, answered).overall.errors["misread"] == 1


def test_a_property_that_is_ignored_is_nowhere_in_the_score() -> None:
    found = _compared({"type": "object", "properties": {"y": STRING}, "x-compare": "ignore"}, {"y": "a"}, {"y": "b"})
    assert (found.overall.support, found.overall.predicted, dict(found.fields)) == (0, 0, {})


def test_an_ordered_list_is_compared_position_by_position() -> None:
    steps = {"type": "array", "items": {"type": "string"}}
    assert _compared(steps, ["mix", "bake"], ["bake", "mix"]).overall.right == 2
    found = _compared({**steps, "x-compare": "ordered"}, ["mix", "bake"], ["bake", "mix"])
    assert found.overall.errors["misread"] == 2
    assert list(found.fields) == ["/x/*"]


def test_a_tuple_has_a_field_for_each_position() -> None:
    point = {"type": "array", "prefixItems": [NUMBER, NUMBER]}
    assert list(_compared(point, [1, 2], [2, 1]).fields) == ["/x/0", "/x/1"]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({**STRING, "x-compare": "fuzzy"}, "x-compare at '/properties/x': 'fuzzy' is none of exact"),
        ({**STRING, "x-compare": ["case"]}, "is none of exact"),
        ({"type": "array", "x-compare": "case"}, "'case' is for the type string, which this is not"),
        ({**STRING, "x-compare": "ordered"}, "'ordered' is for the type array"),
    ],
)
def test_a_rule_that_is_unknown_or_does_not_fit_is_refused(rule: Any, told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        OutputSchema({"type": "object", "properties": {"x": rule}})


def test_a_rule_is_not_sent_to_the_model() -> None:
    schema = OutputSchema({"type": "object", "properties": {"x": {**STRING, "x-compare": "case"}}})
    assert "x-compare" not in str(schema.response_format)
