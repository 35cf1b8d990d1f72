from __future__ import annotations

from typing import Any

import pytest

from kimi_beam.emulator.rules.plan import plan


def properties(schema: dict[str, object]) -> dict[str, str]:
    return {rule.name: rule.node.kind for rule in plan(schema).properties}


def test_references_allof_and_alternatives_are_sorted_out() -> None:
    schema = {
        "$defs": {
            "money": {"type": "number", "minimum": 0},
            "base": {"properties": {"a": {"type": "string"}}, "required": ["a"]},
        },
        "allOf": [{"$ref": "#/$defs/base"}],
        "type": "object",
        "properties": {
            "b": {"anyOf": [{"$ref": "#/$defs/money"}, {"type": "null"}]},
            "c": {"type": ["integer", "null"]},
            "d": {"oneOf": [{"const": 1, "title": "One"}, {"const": 2}]},
            "e": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            "f": {"const": "x"},
            "g": False,
        },
        "required": ["b"],
    }
    root = plan(schema)
    rules = {rule.name: rule for rule in root.properties}
    assert properties(schema) == {  # type: ignore[arg-type]
        "a": "string",
        "b": "number",
        "c": "integer",
        "d": "choice",
        "e": "variants",
        "f": "choice",
    }
    assert rules["a"].required
    assert rules["b"].required
    assert rules["b"].node.nullable
    assert rules["b"].node.bounds[0] == 0
    assert not rules["a"].node.nullable
    assert rules["c"].node.nullable
    assert rules["d"].node.choices[0].names == ("1", "one")
    assert rules["f"].node.fixed


def test_recursion_is_cut() -> None:
    node = {"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#"}, "other": {"$ref": "#"}}}
    assert plan(node).kind == "object"
    for schema in (
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}]},
        {"allOf": [{"$ref": "#"}] * 50},
        {"items": {"$ref": "#"}},
    ):
        assert plan(schema).kind in ("any", "array")


@pytest.mark.parametrize(
    "schema",
    [True, False, None, 3, "x", [], {"type": 3}, {"type": []}, {"enum": []}, {"properties": 3}, {"required": [{}]},
     {"type": "string", "minLength": "x", "pattern": 3}, {"type": "number", "minimum": True, "exclusiveMinimum": True},
     {"$ref": "#/nowhere"}, {"$ref": "https://example.com"}, {"anyOf": 3}, {"allOf": {}}, {"enum": [{}, None, 1.5]}],
)  # fmt: skip
def test_no_schema_is_too_odd(schema: Any) -> None:
    plan(schema)


def test_draft_4_and_later_exclusive_bounds() -> None:
    old = plan({"type": "number", "minimum": 1, "exclusiveMinimum": True})
    new = plan({"type": "number", "exclusiveMinimum": 1, "maximum": 5})
    assert [old.accepts_number(n) for n in (1, 1.1)] == [False, True]
    assert [new.accepts_number(n) for n in (1, 1.1, 5, 5.1)] == [False, True, True, False]


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)*$", "a?" * 40 + "a" * 40, "a*a*a*a*a*b", "(a|a)" * 30, r"\p{Letter}", "(", r"(a)\1"]
)
def test_a_pattern_that_could_take_long_or_does_not_compile_is_not_run(pattern: Any) -> None:
    assert plan({"type": "string", "pattern": pattern}).pattern is None


@pytest.mark.parametrize("pattern", ["^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "^[A-Z]{3}$", r"^[^@\s]+@[^@\s]+\.[a-z]+$"])
def test_an_ordinary_pattern_is(pattern: Any) -> None:
    assert plan({"type": "string", "pattern": pattern}).pattern is not None
