"""The schema for a part of a document: the same as that of the whole, but nothing in it is required.

A part holds some of the values, so that whatever counts members or items, or depends on which of them are there, cannot
be asked of it. The types and spellings of values are: an answer with a wrong one is asked for again, for that part
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LEFT_OUT = frozenset(
    {
        "required", "minItems", "minProperties", "contains", "minContains", "maxContains", "uniqueItems",
        "dependentRequired", "dependentSchemas", "dependencies", "if", "then", "else", "not", "x-check",
    }
)  # fmt: skip
_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMAS = (
    "items", "additionalProperties", "additionalItems", "propertyNames", "unevaluatedProperties", "unevaluatedItems"
)  # fmt: skip


def for_parts(schema: Any) -> Any:
    """The schema of a part.

    Args:
        schema: The JSON Schema of the whole document. It is not changed.
    """
    if not isinstance(schema, Mapping):
        return schema
    found = {key: _inner(key, value) for key, value in schema.items() if key not in _LEFT_OUT}
    branches = found.pop("oneOf", None)
    if isinstance(branches, list):  # without required members, one object may fit several branches
        if "anyOf" in found:
            found["allOf"] = [*(found.get("allOf") or ()), {"anyOf": branches}]
        else:
            found["anyOf"] = branches
    return found


def _inner(keyword: str, value: Any) -> Any:
    if keyword in _OF_SCHEMAS and isinstance(value, Mapping):
        return {name: for_parts(one) for name, one in value.items()}
    if isinstance(value, list) and (keyword in _LISTS or keyword == "items"):
        return [for_parts(one) for one in value]
    return for_parts(value) if keyword in _SCHEMAS else value
