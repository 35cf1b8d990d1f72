"""The size of an answer: a bound in tokens, estimated from the schema, for ``max_completion_tokens``.

The bound stops an answer that repeats itself without end. It must never cut a good one, which would have been paid for
in vain, so each estimate here is generous and the sum is doubled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kimi_beam.schema import jsontext

LEAST = 2_048
"""The smallest bound, in tokens."""
MOST = 16_384
"""The largest bound for a model that does not think, in tokens."""
WITH_THINKING = 32_000
"""The smallest bound for a model that thinks, in tokens, as thinking counts against it. A client in production sends
this with K2.6 (LangChain: at least 4,096)."""

_BYTES_PER_TOKEN = 3
"""Assumed for JSON: with its figures and names it has shorter tokens than prose."""
_TEXT = 100
"""Tokens of a string without ``maxLength``, or of a value without a type."""
_SCALAR = 16
"""Tokens of a number, a boolean or null."""
_ITEMS = 40
"""Items of an array without a smaller ``maxItems``."""
_KEYS = 10
"""Keys of an object that the schema allows but does not name."""
_DEPTH = 12
"""How deep the schema is followed; a recursive one has no end."""


@dataclass(frozen=True, slots=True)
class _Root:
    """The whole schema, with the tokens of the subschemas that were counted already.

    Without that memory, references that branch would be counted exponentially often.
    """

    schema: Any
    counted: dict[tuple[int, int], int] = field(default_factory=dict)


def answer_tokens(schema: Any) -> int:
    """The ``max_completion_tokens`` for instances of a schema, between `LEAST` and `MOST`."""
    return max(LEAST, min(MOST, 2 * _tokens(schema, _Root(schema), _DEPTH)))


def _tokens(schema: Any, root: _Root, depth: int) -> int:
    """The tokens of a large instance. Counting stops at about `MOST`, so that no schema takes long."""
    if not isinstance(schema, Mapping) or depth == 0:
        return _TEXT
    key = (id(schema), depth)
    if key not in root.counted:
        root.counted[key] = _count(schema, root, depth)
    return root.counted[key]


def _count(schema: Mapping[str, Any], root: _Root, depth: int) -> int:
    if "const" in schema or isinstance(schema.get("enum"), list):
        values = schema["enum"] if "const" not in schema else [schema["const"]]
        return max((len(jsontext.dumps_any(value)) for value in values), default=0) // _BYTES_PER_TOKEN + 2
    if isinstance(schema.get("$ref"), str):
        return _tokens(resolve(schema["$ref"], root.schema), root, depth - 1)
    total = 0
    for keyword in ("allOf", "anyOf", "oneOf"):
        parts = schema.get(keyword)
        if isinstance(parts, list) and parts:
            sizes = [_tokens(part, root, depth - 1) for part in parts[:50]]
            total += sum(sizes) if keyword == "allOf" else max(sizes)
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        for name, part in properties.items():
            total += len(str(name)) // _BYTES_PER_TOKEN + 4 + _tokens(part, root, depth - 1)
            if total > MOST:
                return MOST
    total += _items(schema, root, depth)
    patterns = schema.get("patternProperties")
    others = [schema.get("additionalProperties"), *(patterns.values() if isinstance(patterns, Mapping) else ())]
    total += sum(_KEYS * (8 + _tokens(part, root, depth - 1)) for part in others if isinstance(part, Mapping))
    return min(MOST, total or _leaf(schema))


def _items(schema: Mapping[str, Any], root: _Root, depth: int) -> int:
    total = 0
    for keyword in ("prefixItems", "items"):
        part = schema.get(keyword)
        if isinstance(part, list):
            total += sum(_tokens(item, root, depth - 1) for item in part[:50])
        elif isinstance(part, Mapping):
            most = schema.get("maxItems")
            times = most if isinstance(most, int) and 0 <= most < _ITEMS else _ITEMS
            total += times * (2 + _tokens(part, root, depth - 1))
    return total


def _leaf(schema: Mapping[str, Any]) -> int:
    types = schema.get("type")
    if isinstance(types, str) and types != "string" and types not in ("object", "array"):
        return _SCALAR
    longest = schema.get("maxLength")
    return min(MOST, longest // _BYTES_PER_TOKEN + 2) if isinstance(longest, int) and longest >= 0 else _TEXT


def resolve(reference: Any, root: Any) -> Any:
    """The subschema that a reference within the schema (``#/…``) points to; None if it points nowhere."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    value = root
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
