"""About how many tokens an answer has, by its schema and the rows that its document shows.

`answer_size` says how many it may have at most, so that none is cut off. This one is for an estimate of the cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kimi_beam.request.token_counts import likely_tokens
from kimi_beam.schema import jsontext

_TEXT = 10
"""Tokens of a text: a name, a date or an address, and sometimes a whole clause."""
_NUMBER = 5
_WORD = 1
"""Tokens of a boolean or null."""
_NULLS = 0.25
"""How often a value that may be null is null."""
_MARKS = 3
"""Tokens of the marks around a member: quotation marks, colon and comma."""
_ITEMS = 2
"""Items of a list whose number the text does not show."""
_MEMBERS = 2
"""Members of an object whose names the schema leaves open."""
_DEPTH = 10


def likely_answer(schema: Any, rows: int, depth: int = _DEPTH) -> float:
    """About the tokens of an answer.

    Args:
        schema: The schema as it is sent, which has no references.
        rows: The lines of the document that look like rows of a table: so many items has a list of objects.
        depth: So deep it is looked into.
    """
    if not isinstance(schema, Mapping) or depth == 0:
        return _TEXT
    if "const" in schema or schema.get("enum"):
        values = schema["enum"] if "const" not in schema else [schema["const"]]
        return sum(likely_tokens(jsontext.dumps_any(value).decode()) for value in values) / len(values)
    if branches := schema.get("anyOf"):
        sizes = [likely_answer(branch, rows, depth - 1) for branch in branches]
        return (1 - _NULLS) * max(sizes) + _NULLS * min(sizes)
    types = schema.get("type")
    kinds = [types] if isinstance(types, str) else list(types or ())
    if "properties" in schema or "object" in kinds:
        return _of_object(schema, rows, depth)
    if "items" in schema or "array" in kinds:
        return _of_list(schema, rows, depth)
    if "string" in kinds or not kinds:
        longest = schema.get("maxLength")
        return min(_TEXT, longest) if isinstance(longest, int) else _TEXT
    return _NUMBER if {"number", "integer"} & set(kinds) else _WORD


def _of_object(schema: Mapping[str, Any], rows: int, depth: int) -> float:
    members = schema.get("properties") or {}
    total = 2 + sum(
        likely_tokens(str(name)) + _MARKS + likely_answer(member, rows, depth - 1) for name, member in members.items()
    )
    others = schema.get("additionalProperties")
    if isinstance(others, Mapping) and others:
        total += _MEMBERS * (_MARKS + _TEXT + likely_answer(others, rows, depth - 1))
    return total


def _of_list(schema: Mapping[str, Any], rows: int, depth: int) -> float:
    items = schema.get("items")
    branches = [items, *(items.get("anyOf") or ())] if isinstance(items, Mapping) else []
    is_of_objects = any(isinstance(branch, Mapping) and branch.get("properties") for branch in branches)
    count, most = (rows if is_of_objects else _ITEMS), schema.get("maxItems")
    if isinstance(most, int):
        count = min(count, most)
    # A list in an item of a list has no rows of its own.
    return 2 + count * (1 + likely_answer(items, _ITEMS, depth - 1))
