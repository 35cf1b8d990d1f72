"""Rewrites OpenAPI's ``nullable: true``, which no draft of JSON Schema knows, as a type that allows null."""

from __future__ import annotations

from typing import Any

from kimi_beam.errors import SchemaError
from kimi_beam.schema import jsontext

_KEYWORDS = ("nullable", "x-nullable")
"""The keyword of OpenAPI 3.0, and its predecessor in Swagger 2.0."""
_NAMES = (
    "properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies", "schemas",
)  # fmt: skip
"""Keywords whose value maps names to schemas; ``schemas`` is the one in an OpenAPI document's components."""
_VALUES = ("enum", "const", "default", "examples", "example")
_MOVED = ("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "not", "if", "then", "else")
_NULL = {"type": "null"}


def with_nulls(schema: Any) -> Any:
    """Rewrites each subschema that has ``nullable: true``.

    JSON Pointers into the schema stay right, except into the branches of an ``allOf``, ``anyOf`` or ``oneOf`` that is
    nullable itself.

    Args:
        schema: A JSON Schema, or a document that holds some.

    Returns:
        The rewritten schema; the same object if nothing in it is nullable.


    Raises:
        SchemaError: ``nullable`` is neither true nor false.
    """
    if not any(f'"{keyword}"'.encode() in jsontext.dumps_any(schema) for keyword in _KEYWORDS):
        return schema
    return _rewritten(schema, are_names=False)


def _rewritten(value: Any, *, are_names: bool) -> Any:
    if isinstance(value, list):
        items = [_rewritten(one, are_names=False) for one in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if not isinstance(value, dict):
        return value
    found = {
        key: one if not are_names and key in _VALUES else _rewritten(one, are_names=not are_names and key in _NAMES)
        for key, one in value.items()
    }
    if not are_names and any(keyword in value for keyword in _KEYWORDS):
        for keyword in _KEYWORDS:
            if "type" in value and not isinstance(value.get(keyword, True), bool):
                raise SchemaError(f"not a valid JSON Schema: {keyword!r} is {value[keyword]!r}, neither true nor false")
        if any(value.get(keyword) is True for keyword in _KEYWORDS):
            return _or_null(found)
    return found if any(found[key] is not value[key] for key in found) else value


def _or_null(place: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in place.items() if key not in _KEYWORDS}
    moved = {key: kept.pop(key) for key in _MOVED if key in kept}
    types = kept.get("type")
    if isinstance(types, (str, list)):
        named = [types] if isinstance(types, str) else types
        kept["type"] = named if "null" in named else [*named, "null"]
    if "const" in kept:
        kept["enum"] = [kept.pop("const")]
    if isinstance(kept.get("enum"), list):
        kept["enum"] = kept["enum"] if None in kept["enum"] else [*kept["enum"], None]
    if moved:
        branches = moved["anyOf"] if moved.keys() == {"anyOf"} and isinstance(moved["anyOf"], list) else [moved]
        kept["anyOf"] = [*branches, _NULL]
    return kept
