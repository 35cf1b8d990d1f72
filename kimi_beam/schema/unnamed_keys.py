"""Compares an instance with the members that its schema names: finds unnamed keys, removes nulls that mean absent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kimi_beam.schema.find_shapes import Shapes
from kimi_beam.schema.shapes import Shape, Term
from kimi_beam.schema.violations import Violation, violation

_MOST = 100
_COUNT_MEMBERS = frozenset(
    {"minProperties", "maxProperties", "dependentRequired", "dependentSchemas", "dependencies", "if", "not"}
)
_NAMES = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")


def counts_members(schemas: Iterable[Any]) -> bool:
    """Whether any of the schemas has a keyword that depends on which members are present, such as ``minProperties``."""
    waiting: list[tuple[Any, bool]] = [(schema, False) for schema in schemas]
    while waiting:
        value, are_names = waiting.pop()
        if isinstance(value, dict):
            if not are_names and not _COUNT_MEMBERS.isdisjoint(value):
                return True
            waiting += [(one, not are_names and key in _NAMES) for key, one in value.items()]
        elif isinstance(value, list):
            waiting += [(one, False) for one in value]
    return False


def unnamed_keys(shapes: Shapes, root: Term, instance: Any) -> list[Violation]:
    """A violation for each key that the schema allows but does not name, for at most the first hundred.

    A key also counts as named if ``patternProperties`` or ``additionalProperties`` describe it, or if its object has no
    named member at all.
    """
    found: list[Violation] = []
    waiting: list[tuple[Term, Any, tuple[str | int, ...]]] = [(root, instance, ())]
    while waiting and len(found) < _MOST:
        term, value, at = waiting.pop()
        shape = shapes.of(term)
        if isinstance(value, dict) and shape.members and not isinstance(shape.rest, Term):
            found += [
                violation(at, "additionalProperties", f"{key!r} is not named by the schema, which is closed")
                for key in value
                if key not in shape.members
            ]
        waiting += [(inner, item, (*at, token)) for inner, item, token in _inside(shape, value)]
    return found[:_MOST]


def _inside(shape: Shape, value: Any) -> Iterator[tuple[Term, Any, str | int]]:
    """The term, value and key of each member or item that the schema describes."""
    if isinstance(value, dict):
        for key, item in value.items():
            term = shape.members.get(key, shape.rest)
            if isinstance(term, Term) and isinstance(item, (dict, list)):
                yield term, item, key
    elif isinstance(value, list):
        for index, item in enumerate(value):
            part = shape.prefix[index] if index < len(shape.prefix) else shape.items
            if part is not None and isinstance(item, (dict, list)):
                yield part, item, index


def remove_absent_nulls(shapes: Shapes, term: Term, value: Any, *, nullable: bool) -> tuple[Any, int]:
    """Removes the nulls of optional members, and counts them.

    Args:
        shapes: The schema's shapes.
        term: The place of the value.
        value: The value, which is not changed.
        nullable: Whether to remove nulls also where the schema allows null.
    """
    if not isinstance(value, (dict, list)):
        return value, 0
    shape = shapes.of(term)
    removed = 0
    new: Any = value
    for inner, item, token in list(_inside(shape, value)):
        changed, count = remove_absent_nulls(shapes, inner, item, nullable=nullable)
        if count:
            new = value.copy() if new is value else new
            new[token] = changed
            removed += count
    if isinstance(value, dict):
        absent = [key for key, item in value.items() if item is None and key in shape.members]
        gone = {k for k in absent if k not in shape.required and (nullable or not shapes.of(shape.members[k]).null)}
        if gone:
            new = {key: item for key, item in new.items() if key not in gone}
            removed += len(gone)
    return new, removed
