"""The schema that is sent: closed, without references, with descriptions, and only with keywords of JSON mode."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from kimi_beam.schema import OutputSchema, jsontext


def _sent(definition: Any) -> Any:
    return OutputSchema(definition).response_format["json_schema"]["schema"]


def _simple(definition: Any) -> Any:
    return OutputSchema(definition).simple_response_format["json_schema"]["schema"]


def _member(schema: Any, **root: Any) -> Any:
    return _sent({"type": "object", "properties": {"p": schema}, "required": ["p"], **root})["properties"]["p"]


def test_an_optional_property_is_sent_as_required_and_nullable() -> None:
    definition = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {"enum": ["x"]}, "d": {"const": 5}},
        "required": ["a"],
    }
    assert _sent(definition) == {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "c": {"anyOf": [{"type": "string", "enum": ["x"]}, {"type": "null"}]},
            "d": {"anyOf": [{"type": "integer", "enum": [5]}, {"type": "null"}]},
        },
        "required": ["a", "b", "c", "d"],
        "additionalProperties": False,
    }


def test_the_simpler_form_has_no_union_and_asks_for_what_must_be_there() -> None:
    definition = {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "integer"},
            "c": {"type": ["string", "null"], "description": "Or null."},
            "d": {"type": ["string", "integer"]},
        },
        "required": ["a", "c"],
    }
    assert _simple(definition) == {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "integer"},
            "c": {"description": "Or null. (string or null)"},
            "d": {"description": "(string or integer)"},
        },
        "required": ["a", "c"],
        "additionalProperties": False,
    }


def test_descriptions_examples_and_enums_reach_the_model() -> None:
    class Party(BaseModel):
        """Who pays."""

        name: str = Field(description="As printed.", examples=["ACME GmbH"])

    class Bill(BaseModel):
        """A bill."""

        party: Party
        second: Party | None = Field(default=None, description="If there are two.")
        currency: str = Field(json_schema_extra={"enum": ["EUR", "USD"]}, description="ISO 4217.")
        total: float = Field(alias="grandTotal", title="What is to be paid")

    sent = _sent(Bill)
    assert sent["description"] == "A bill."
    properties = sent["properties"]
    assert properties["party"]["description"] == "Who pays."
    assert properties["party"]["properties"]["name"] == {
        "type": "string",
        "description": "As printed.",
        "examples": ["ACME GmbH"],
    }
    assert properties["second"]["description"] == "If there are two."
    party, null = properties["second"]["anyOf"]
    assert (party["type"], null) == ("object", {"type": "null"})
    assert party["properties"] == properties["party"]["properties"]
    assert properties["currency"]["enum"] == ["EUR", "USD"]
    assert properties["grandTotal"]["title"] == "What is to be paid"
    assert "title" not in properties["currency"], "pydantic makes it of the name"


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({"type": "string", "format": "date", "pattern": "^2"}, {"type": "string", "pattern": "^2", "format": "date"}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}),
        ({"type": "number", "multipleOf": 0.01}, {"type": "number", "multipleOf": 0.01}),
        ({"type": "number", "exclusiveMinimum": 0}, {"type": "number", "exclusiveMinimum": 0}),
        (
            {"type": "number", "exclusiveMaximum": 0, "minimum": -1.5},
            {"type": "number", "minimum": -1.5, "exclusiveMaximum": 0},
        ),
        (
            {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "number", "exclusiveMinimum": 5}]},
            {"type": "number", "minimum": 0},
        ),
        (
            {"allOf": [{"type": "integer"}, {"exclusiveMinimum": 0}]},
            {"type": "integer", "exclusiveMinimum": 0},
        ),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        (
            {
                "type": ["string", "null", "array"],
                "maxLength": 5,
                "items": {"type": ["integer", "null"]},
                "default": "a",
            },
            {
                "default": "a",
                "anyOf": [
                    {"type": "string", "maxLength": 5},
                    {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
                    {"type": "null"},
                ],
            },
        ),
        (
            {"enum": ["a", 1, 2.5, None, True], "description": "One."},
            {
                "description": "One.",
                "anyOf": [
                    {"type": "string", "enum": ["a"]},
                    {"type": "number", "enum": [1, 2.5]},
                    {"type": "boolean", "enum": [True]},
                    {"type": "null"},
                ],
            },
        ),
        (
            {"type": ["string", "null"], "const": "a"},
            {"type": "string", "enum": ["a"]},
        ),
        ({"enum": [None]}, {"type": "null"}),
        (
            {"additionalProperties": {"type": ["integer", "null"]}},
            {"type": "object", "additionalProperties": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
        ),
        ({"$ref": "#/$defs/d", "description": "Here."}, {"type": "boolean", "description": "Here."}),
        (
            {"type": "array", "items": {"$ref": "#/$defs/d"}},
            {"type": "array", "items": {"type": "boolean", "description": "There."}},
        ),
        ({"type": "array", "minItems": 1}, {"type": "array", "minItems": 1}),
        ({"type": "object"}, {"type": "object"}),
        (
            {"additionalProperties": {"type": "integer"}},
            {"type": "object", "additionalProperties": {"type": "integer"}},
        ),
        (
            {"prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "maxItems": 2},
        ),
        ({"const": None, "description": "None yet."}, {"type": "null", "description": "None yet."}),
        ({"type": "null"}, {"type": "null"}),
        ({}, {}),
        (True, {}),
        ({"description": "Anything."}, {"description": "Anything."}),
    ],
)
def test_a_place_is_sent_in_its_simplest_form(schema: Any, sent: Any) -> None:
    assert _member(schema, **{"$defs": {"d": {"type": "boolean", "description": "There."}}}) == sent


def test_a_union_of_objects_is_sent_as_one_object_that_names_them_all() -> None:
    card = {"kind": {"const": "card"}, "digits": {"type": "string"}}
    cash = {"kind": {"const": "cash"}, "change": {"type": "number"}}
    schema = {"oneOf": [{"type": "object", "properties": p, "required": ["kind"]} for p in (card, cash)]}
    assert _member(schema) == {
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": ["card", "cash"]},
            "digits": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "change": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "required": ["kind", "digits", "change"],
        "additionalProperties": False,
    }


def test_a_recursive_schema_is_sent_with_an_end() -> None:
    tree = {"type": "object", "properties": {"name": {"type": "string"}, "children": {"items": {"$ref": "#"}}}}
    text = json.dumps(_sent(tree))
    assert "$ref" not in text
    assert 2 <= text.count('"name"') < 10


def test_the_bytes_are_the_same_each_time() -> None:
    definition = {
        "type": "object",
        "properties": {c: {"anyOf": [{"enum": ["x", "y"]}, {"type": "null"}]} for c in "dbac"},
    }
    one, other = (jsontext.dumps(OutputSchema(json.loads(json.dumps(definition))).response_format) for _ in range(2))
    assert one == other
    assert list(json.loads(one)["json_schema"]["schema"]["properties"]) == ["d", "b", "a", "c"]


@pytest.mark.parametrize("unions", [True, False])
def test_what_an_obedient_model_answers_is_valid_once_its_nulls_are_taken_for_absent(unions: bool) -> None:
    definition = {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "string"},
            "c": {"type": ["integer", "null"]},
            "o": {"type": "object", "properties": {"x": {"type": "boolean"}, "y": {"enum": ["p"]}}},
        },
        "required": ["a", "c"],
    }
    schema = OutputSchema(definition)
    form = (schema.response_format if unions else schema.simple_response_format)["json_schema"]["schema"]
    answers = [
        {"a": "x", "b": None, "c": None, "o": {"x": None, "y": None}} if unions else {"a": "x", "c": None},
        {"a": "x", "b": "y", "c": 5, "o": {"x": True, "y": "p"}},
    ]
    for answer in answers:
        assert OutputSchema(form).is_valid(answer), "it is what was asked for"
        instance, _ = schema.without_sent_nulls(answer)
        assert schema.is_valid(instance)


def test_a_bound_that_draft_4_calls_exclusive_is_sent_as_one() -> None:
    price = {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 9.5, "exclusiveMaximum": False}
    definition = {"type": "object", "properties": {"price": price}, "required": ["price"]}
    sent = OutputSchema(definition, draft=4).response_format["json_schema"]["schema"]
    assert sent["properties"]["price"] == {"type": "number", "maximum": 9.5, "exclusiveMinimum": 0}


class _Card(BaseModel, extra="forbid"):
    kind: Literal["card"]
    digits: str
    expires: str | None = None
    note: str = ""


class _Cash(BaseModel, extra="forbid"):
    kind: Literal["cash"]
    change: float | None = None
    note: str | None = None


class _Paid(BaseModel):
    by: list[Annotated[_Card | _Cash, Field(discriminator="kind")]]
    tip: float | None = None


def test_what_is_null_because_it_belongs_to_another_case_of_a_union_is_absent() -> None:
    schema = OutputSchema(_Paid)
    card = {"kind": "card", "digits": "1", "expires": None, "note": None, "change": None}
    cash = {"kind": "cash", "digits": None, "expires": None, "note": None, "change": 0.5}
    answer = {"by": [card, cash], "tip": None}
    assert OutputSchema(schema.response_format["json_schema"]["schema"]).is_valid(answer), "it is what was asked for"
    instance, nulls = schema.without_sent_nulls(answer)
    assert schema.validate(instance) == []
    assert instance == {"by": [{"kind": "card", "digits": "1"}, {"kind": "cash", "change": 0.5}]}
    assert nulls == 7


def test_a_null_that_is_a_value_stays_where_the_instance_is_valid_with_it() -> None:
    schema = OutputSchema(_Paid)
    instance = {"by": [{"kind": "cash", "change": None}], "tip": None}
    assert list(schema.validate(instance)) == [], "it would not be taken as it stands"
    wrong = {"by": [{"kind": "cash", "change": "much"}], "tip": None}
    assert schema.without_sent_nulls(wrong) == (wrong, 0), "it would be no more valid without"


def test_what_two_conditions_say_of_a_property_is_sent_as_either() -> None:
    cases = [
        {"if": {"properties": {"k": {"const": k}}}, "then": {"properties": {"code": {"enum": codes}}}}
        for k, codes in (("a", ["x", "y"]), ("b", [1, 2]))
    ]
    sent = _sent({"type": "object", "properties": {"k": {"enum": ["a", "b"]}}, "allOf": cases})
    assert sent["properties"]["code"] == {
        "anyOf": [{"type": "string", "enum": ["x", "y"]}, {"type": "integer", "enum": [1, 2]}, {"type": "null"}]
    }
