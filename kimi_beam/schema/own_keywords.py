"""Checks the keywords that are our own and say how values are treated: ``x-merge`` and ``x-compare``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kimi_beam.errors import SchemaError
from kimi_beam.schema import compare_rules, merge_rules
from kimi_beam.schema.spelling import inner_schemas

_TYPES_OF: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "x-merge": merge_rules.TYPES_OF,
    "x-compare": compare_rules.TYPES_OF,
}
"""By keyword, each value that it may have, with the types that this is for; empty if it is for all."""


def check_own_keywords(schema: Any) -> None:
    """Checks our own keywords wherever they stand in a schema.

    Raises:
        SchemaError: There is no such value, or it does not fit the type of its property.
    """
    waiting: list[tuple[str, Any]] = [("", schema)]
    while waiting:
        path, one = waiting.pop()
        if not isinstance(one, Mapping):
            continue
        for keyword in _TYPES_OF.keys() & one.keys():
            _check(one, path or "/", keyword)
        waiting += [("/".join((path, *keys)), inner) for keys, inner in inner_schemas(one)]


def _check(schema: Mapping[str, Any], path: str, keyword: str) -> None:
    value, types_of = schema[keyword], _TYPES_OF[keyword]
    if not isinstance(value, str) or value not in types_of:
        raise SchemaError(f"{keyword} at '{path}': {value!r:.60} is none of {', '.join(types_of)}")
    types = schema.get("type")
    named = {types} if isinstance(types, str) else set(types) if isinstance(types, list) else set()
    wanted = types_of[value]
    if named - {"null"} and wanted and named.isdisjoint(wanted):
        raise SchemaError(f"{keyword} at '{path}': {value!r} is for the type {wanted[0]}, which this is not")
