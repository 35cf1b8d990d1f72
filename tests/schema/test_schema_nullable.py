"""OpenAPI's ``nullable: true`` means null, in what is valid, in the columns and in what is sent."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from kimi_beam.errors import SchemaError
from kimi_beam.schema import OutputSchema

NULL = {"type": "null"}
_DEFS = {
    "party": {"type": "object", "properties": {"vat": {"type": "string", "nullable": True}}, "required": ["vat"]},
    "kind": {"enum": ["a", "b"]},
}


@pytest.mark.parametrize("keyword", ["nullable", "x-nullable"])
@pytest.mark.parametrize(
    ("place", "valid", "invalid", "sent"),
    [
        ({"type": "string", "maxLength": 2}, "ab", "abc", {"anyOf": [{"type": "string", "maxLength": 2}, NULL]}),
        ({"type": "string", "enum": ["a"]}, "a", "b", {"anyOf": [{"type": "string", "enum": ["a"]}, NULL]}),
        ({"enum": ["a", None]}, "a", "b", {"anyOf": [{"type": "string", "enum": ["a"]}, NULL]}),
        ({"type": "integer", "const": 5}, 5, 6, {"anyOf": [{"type": "integer", "enum": [5]}, NULL]}),
        ({"type": ["string", "integer"]}, 5, [], {"anyOf": [{"type": "string"}, {"type": "integer"}, NULL]}),
        ({"$ref": "#/$defs/kind"}, "a", "c", {"anyOf": [{"type": "string", "enum": ["a", "b"]}, NULL]}),
        ({"allOf": [{"$ref": "#/$defs/kind"}]}, "a", "c", {"anyOf": [{"type": "string", "enum": ["a", "b"]}, NULL]}),
        ({"anyOf": [{"type": "string"}]}, "a", 5, {"anyOf": [{"type": "string"}, NULL]}),
        ({"oneOf": [{"type": "string"}, {"type": "boolean"}]}, True, 5, None),
        ({"type": "array", "items": {"type": "string", "nullable": True}}, ["a", None], [5], None),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": None}, None),
        ({"allOf": [{"$ref": "#/$defs/party"}], "type": "object"}, {"vat": None}, {"vat": 5}, None),
    ],
)
def test_a_nullable_place_may_be_null_everywhere(place: Any, valid: Any, invalid: Any, sent: Any, keyword: str) -> None:
    definition = {"type": "object", "properties": {"p": {**place, keyword: True}}, "required": ["p"], "$defs": _DEFS}
    for schema in (OutputSchema(definition), pickle.loads(pickle.dumps(OutputSchema(definition)))):
        assert schema.json_schema == definition, "it is kept as the user has it"
        assert [schema.is_valid({"p": p}) for p in (None, valid, invalid)] == [True, True, False]
        assert schema.explain({"p": invalid})
        batch, bad = schema.to_arrow([{"p": None}, {"p": valid}])
        assert bad == []
        assert schema.arrow_schema.field("p").nullable
        assert schema.from_arrow(batch) == [{"p": None}, {"p": valid}]
        asked = schema.response_format["json_schema"]["schema"]["properties"]["p"]
        assert asked["anyOf"][-1] == NULL
        assert sent is None or asked == sent
        assert "nullable" not in json.dumps(schema.response_format)
        assert "nullable" not in json.dumps(schema.simple_response_format)


def test_what_is_not_nullable_is_as_it_was() -> None:
    properties = {"nullable": {"type": "boolean"}, "a": {"type": "string", "nullable": False}, "b": {"default": None}}
    definition = {"type": "object", "properties": properties, "examples": [{"nullable": True}]}
    schema = OutputSchema(definition)
    assert schema.is_valid({"nullable": True})
    assert not schema.is_valid({"nullable": None})
    assert not schema.is_valid({"a": None})
    constant = OutputSchema({"type": "object", "properties": {"a": {"const": {"type": "string", "nullable": True}}}})
    assert constant.is_valid({"a": {"type": "string", "nullable": True}})


def test_a_root_and_a_schema_of_a_registry_may_be_nullable() -> None:
    root = OutputSchema({"type": "object", "properties": {"a": {"type": "string"}}, "nullable": True})
    assert root.is_valid(None)
    assert root.from_arrow(root.to_arrow([None, {"a": "x"}])[0]) == [None, {"a": "x"}]
    registry = {"http://example.com/n": {"type": "integer", "nullable": True}}
    schema = OutputSchema({"properties": {"n": {"$ref": "http://example.com/n"}}}, registry=registry)
    assert schema.is_valid({"n": None})


def test_nullable_that_is_neither_true_nor_false_is_said() -> None:
    with pytest.raises(SchemaError, match=r"nullable.*neither true nor false"):
        OutputSchema({"type": "object", "properties": {"a": {"type": "string", "nullable": "yes"}}})
