from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from kimi_beam.schema import OutputSchema

INVOICE = {
    "type": "object",
    "required": ["number", "lines"],
    "minProperties": 2,
    "properties": {
        "number": {"type": "string", "minLength": 1},
        "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
        "party": {"oneOf": [{"type": "object", "required": ["vat"], "properties": {"vat": {"type": "string"}}},
                            {"type": "object", "required": ["tax"], "properties": {"tax": {"type": "string"}}}]},
    },
    "$defs": {"line": {"type": "object", "required": ["name", "total"],
                       "properties": {"name": {"type": "string"}, "total": {"type": "number", "x-merge": "sum"}}}},
    "x-check": "sum(lines.total) == total",
}  # fmt: skip


@pytest.mark.parametrize("value", [{}, {"lines": []}, {"lines": [{"total": 1}]}, {"party": {}}, {"number": "7"}])
def test_nothing_is_required_of_a_part(value: Any) -> None:
    schema = OutputSchema(INVOICE)
    assert schema.for_parts.is_valid(value)
    assert not schema.is_valid(value)


@pytest.mark.parametrize("value", [{"number": 7}, {"lines": [{"total": "1"}]}, {"number": ""}, []])
def test_types_are_asked_of_a_part_too(value: Any) -> None:
    assert not OutputSchema(INVOICE).for_parts.is_valid(value)


def test_the_schema_of_a_part_is_pickled_and_keeps_the_settings_of_the_whole() -> None:
    schema = OutputSchema(INVOICE, closed=True, formats="local")
    part = pickle.loads(pickle.dumps(schema)).for_parts
    assert (part.closed, part.formats) == (True, "local")
    assert part == schema.for_parts
    assert "required" not in json.dumps(part.json_schema)
    assert schema == OutputSchema(INVOICE, closed=True, formats="local"), "the whole schema is not changed"


def test_keywords_of_this_package_are_not_sent_to_the_service() -> None:
    schema = OutputSchema(INVOICE)
    for one in (schema, schema.for_parts):
        assert "x-" not in json.dumps([one.response_format, one.simple_response_format])


def test_a_schema_of_another_file_requires_nothing_of_a_part_either() -> None:
    line = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    schema = OutputSchema(
        {"type": "object", "properties": {"line": {"$ref": "https://example.org/line"}}},
        registry={"https://example.org/line": line},
    )
    assert schema.for_parts.is_valid({"line": {}})
    assert not schema.is_valid({"line": {}})


_TEXT = {"type": "string"}
_LINE = {"type": "object", "required": ["name"], "properties": {"name": _TEXT}}


@pytest.mark.parametrize(
    ("left_out", "reference"),
    [
        ({"not": {"properties": {"line": _LINE}, "required": ["no"]}}, "#/not/properties/line"),
        ({"if": {"properties": {"line": _LINE}}, "then": {}}, "#/if/properties/line"),
        ({"if": {"required": ["no"]}, "then": {"properties": {"line": _LINE}}}, "#/then/properties/line"),
        ({"if": {}, "else": {"properties": {"a/b": _LINE}}}, "#/else/properties/a~1b"),
        ({"dependentSchemas": {"no": {"properties": {"line": _LINE}}}}, "#/dependentSchemas/no/properties/line"),
        ({"properties": {"all": {"contains": _LINE}}}, "#/properties/all/contains"),
        ({"oneOf": [{"properties": {"line": _LINE}}, {"required": ["no"]}]}, "#/oneOf/0/properties/line"),
        (
            {"anyOf": [{}], "oneOf": [{"properties": {"line": _LINE}}, {"required": ["no"]}]},
            "#/oneOf/0/properties/line",
        ),
        ({"not": {"required": ["no"], "not": {"properties": {"q%25": _LINE}}}}, "#/not/not/properties/q%2525"),
        ({"if": {"$id": "https://example.org/l", **_LINE}, "then": {}}, "https://example.org/l"),
        ({"then": {"$anchor": "line", **_LINE}}, "#line"),
        ({"not": {"properties": {"line": {"$ref": "#/$defs/l"}}, "required": ["no"]}, "$defs": {"l": _LINE}},
         "#/not/properties/line"),
    ],
)  # fmt: skip
def test_a_reference_into_what_is_left_out_of_a_part_is_found(left_out: dict[str, Any], reference: str) -> None:
    members = {**left_out.get("properties", {}), "found": {"$ref": reference}}
    schema = OutputSchema({"type": "object", **left_out, "properties": members})
    for value, is_valid in (({"found": {}}, True), ({"found": {"name": "a"}}, True), ({"found": {"name": 7}}, False)):
        assert schema.for_parts.is_valid(value) is is_valid, value
    assert not schema.is_valid({"found": {}})
    assert pickle.loads(pickle.dumps(schema)).for_parts == schema.for_parts


@pytest.mark.parametrize("draft", [4, 6, 7, "2019-09", "2020-12"])
def test_a_reference_into_what_is_left_out_is_found_in_each_draft(draft: Any) -> None:
    definition = {
        "type": "object",
        "not": {"required": ["no"], "properties": {"line": _LINE}},
        "properties": {"found": {"$ref": "#/not/properties/line"}},
    }
    part = OutputSchema(definition, draft=draft).for_parts
    assert part.is_valid({"found": {}})
    assert not part.is_valid({"found": {"name": 7}})


def test_a_reference_into_what_is_left_out_of_another_file_is_found() -> None:
    other = {"not": {"properties": {"line": _LINE}, "required": ["no"]}}
    schema = OutputSchema(
        {"type": "object", "properties": {"line": {"$ref": "https://example.org/o#/not/properties/line"}}},
        registry={"https://example.org/o": other},
    )
    assert schema.for_parts.is_valid({"line": {}})
    assert not schema.for_parts.is_valid({"line": {"name": 7}})


def test_what_is_left_out_stays_out_where_no_reference_leads_into_it() -> None:
    schema = OutputSchema({"type": "object", "not": {"required": ["no"]}, "properties": {"a": {"$ref": "#/$defs/a"}},
                           "$defs": {"a": _TEXT}})  # fmt: skip
    assert schema.for_parts.json_schema == {
        "type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": _TEXT},
    }  # fmt: skip
