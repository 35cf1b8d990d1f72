"""Puts the values of a second answer in place of those that were refused in the first one, and of no others.

A model that is asked again may also change what was right. So of the second answer only the refused values are taken,
and members that the first one lacks, if that makes a valid answer; otherwise it is taken as a whole. Each difference is
named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from kimi_beam.schema import jsontext
from kimi_beam.schema.additional import pointer

_LACKING = frozenset({"required", "dependentRequired", "minProperties"})
_SURPLUS = frozenset({"additionalProperties", "unevaluatedProperties", "maxProperties"})
"""Keywords by which an object has too few members, or too many, while the others may be right."""


def value_at(value: Any, at: str) -> Any:
    """The value at a JSON Pointer; None if there is none."""
    for token in at.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(name)] if isinstance(value, list) else value[name]
        except (LookupError, TypeError, ValueError):
            return None
    return value


def with_refused_from(first: Any, second: Any, refused: Mapping[str, Set[str]]) -> Any:
    """The first answer, with its refused values, and members that it lacks, as the second answer has them.

    Args:
        first: The answer that was refused.
        second: The answer to the second request.
        refused: The JSON Pointers of the refused values, each with the keywords that it violates.
    """
    return _mixed(first, second, "", refused)


def _mixed(first: Any, second: Any, at: str, refused: Mapping[str, Set[str]]) -> Any:
    keywords = refused.get(at, frozenset())
    if isinstance(first, dict) and isinstance(second, dict) and keywords <= _LACKING | _SURPLUS:
        mixed = {
            key: _mixed(value, second[key], pointer(at, key), refused) if key in second else value
            for key, value in first.items()
            if key in second or keywords.isdisjoint(_SURPLUS)
        }
        return {**mixed, **{key: value for key, value in second.items() if key not in first}}
    if keywords:
        return second
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [_mixed(one, other, pointer(at, index), refused) for index, (one, other) in pairs]
    return first


def differences(first: Any, second: Any) -> Iterator[str]:
    """The JSON Pointers of values that differ: of the innermost ones, and of lists of another length as a whole."""
    waiting = [(first, second, "")]
    while waiting:
        one, other, at = waiting.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            keys = [key for key in {**one, **other} if key not in one or key not in other]
            yield from (pointer(at, key) for key in keys)
            waiting += [(one[key], other[key], pointer(at, key)) for key in one if key in other]
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            waiting += [(a, b, pointer(at, index)) for index, (a, b) in enumerate(zip(one, other, strict=True))]
        elif not jsontext.same(one, other):
            yield at


def places(value: Any, other: Any, path: tuple[str, ...], at: str = "") -> Iterator[str]:
    """The JSON Pointers of the values at a path, in an answer of which another one is to be compared.

    Args:
        value: The answer.
        other: The other answer. A list that is none of the same length there is one place, as its items cannot be
            compared.
        path: The names that lead to the values (`SumCheck.paths`).
        at: Where the answer stands.
    """
    if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        for index, (one, another) in enumerate(zip(value, other, strict=True)):
            yield from places(one, another, path, pointer(at, index))
    elif path and isinstance(value, Mapping):
        inner = other.get(path[0]) if isinstance(other, Mapping) else None
        yield from places(value.get(path[0]), inner, path[1:], pointer(at, path[0]))
    else:
        yield at
