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
