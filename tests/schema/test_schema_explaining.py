"""An invalid answer is explained in bounded time, however many reasons there are."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from kimi_beam.results.judging import judge
from kimi_beam.schema import OutputSchema
from kimi_beam.types.failure import Failure


def doubling(levels: int, keyword: str) -> dict[str, Any]:
    """Definitions of which each is two branches that hold the one before."""
    found: dict[str, Any] = {"d0": {"type": "integer"}}
    for level in range(levels):
        inner = {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{level}"}}}
        found[f"d{level + 1}"] = {keyword: [inner, {**inner, "minProperties": 1}]}
    return found


def nested(levels: int, value: Any) -> Any:
    for _ in range(levels):
        value = {"a": value}
    return value


def explained(schema: dict[str, Any], instance: Any) -> str:
    """Explains it, in 2 s of CPU at the most, where counting all reasons took minutes."""
    compiled = OutputSchema(schema)
    began = time.process_time()
    failure = judge(json.dumps(instance), compiled)
    (first, *_) = compiled.validate(instance)
    assert time.process_time() - began < 2
    assert isinstance(failure, Failure)
    assert failure.code == "schema_violation"
    assert len(failure.message) < 1_000
    assert str(first)
    return failure.message


LEVELS = 16
TOP = {"$ref": f"#/$defs/d{LEVELS}"}


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
@pytest.mark.parametrize(
    "place",
    [
        TOP,
        {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{LEVELS - 1}"}}},
        {"if": TOP, "else": TOP},
        {"type": "object", "dependentSchemas": {"a": TOP}},
        {"allOf": [TOP], "unevaluatedProperties": False},
        {"not": {"not": TOP}},
    ],
    ids=["whole", "property", "condition", "dependency", "unevaluated", "negation"],
)
@pytest.mark.parametrize("value", ["x", [], 1])
def test_what_doubles_with_each_level_is_explained_in_bounded_time(keyword: str, place: Any, value: Any) -> None:
    schema = {"$defs": doubling(LEVELS, keyword), **place}
    if OutputSchema(schema).is_valid(nested(LEVELS, value)):
        return
    explained(schema, nested(LEVELS, value))


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        ({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "object"}]}, [1] * 300_000),
        ({"anyOf": [{"required": [f"p{n}"]} for n in range(1_000)]}, {"a": ["x" * 1_000] * 1_000}),
        ({"type": "object", "required": [f"p{n}" for n in range(20_000)]}, {}),
        ({"type": "object", "additionalProperties": False}, {f"p{n}": n for n in range(50_000)}),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, {"a": "x" * 3_000_000}),
        ({"type": "array", "contains": {"anyOf": [{"items": {"type": "string"}}, {"const": 1}]}}, [[2] * 9] * 9_000),
    ],
    ids=["items", "branches", "required", "additional", "message", "contains"],
)
def test_very_many_reasons_are_explained_in_bounded_time(schema: dict[str, Any], instance: Any) -> None:
    explained(schema, instance)


def test_a_union_in_a_circle_is_explained_where_that_takes_few_steps() -> None:
    node = {"$ref": "#/$defs/n"}
    branch = {"type": "object", "properties": {"l": node, "r": node}, "additionalProperties": False}
    schema = {"$defs": {"n": {"anyOf": [branch, {"type": "integer"}]}}, **node}
    assert "'x' is not" in explained(schema, {"l": {"r": "x"}})
    explained({"$defs": {"n": {"anyOf": [branch, branch]}}, **node}, {"l": {"l": {"l": {"l": {"l": {"l": "x"}}}}}})


def test_a_reference_to_where_it_stands_ends() -> None:
    circle = {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "object"}]}}}
    inner = {"items": {"$ref": "#/$defs/a"}, "unevaluatedItems": {"$ref": "#"}}
    explained({**circle, "allOf": [inner, {"type": "object"}]}, [5, True, 19.99])
    deep: Any = "x"
    for _ in range(150):
        deep = {"l": deep}
    node = {"anyOf": [{"type": "object", "additionalProperties": {"$ref": "#"}}, {"type": "null"}]}
    explained(node, deep)


def test_the_reason_of_an_ordinary_union_is_still_told_with_patterns_beside_it() -> None:
    schema = {
        "type": "object",
        "properties": {
            "code": {"type": "string", "pattern": "^[A-Z]+$"},
            "party": {"anyOf": [{"type": "object", "required": ["name"]}, {"type": "null"}]},
            "days": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        },
    }
    assert "'name' is a required property" in explained(schema, {"code": "A", "party": {}})
    del schema["properties"]["party"]  # type: ignore[attr-defined]
    assert "/days/20000" in explained(schema, {"days": ["x"] * 20_000 + [1]}), "a leaf fails once, and where it stands"
