"""The places of a schema as answers are compared by them: where a value counts, how it is read, and under which name.

Places are made when a value first comes to them, because a schema may contain itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from kimi_beam.schema import OutputSchema
from kimi_beam.schema.additional import pointer
from kimi_beam.schema.compare_rules import CompareRules
from kimi_beam.schema.shapes import ANY, Shape, Term
from kimi_beam.scoring.comparable_values import Reading, reading_of

EACH = "*"
"""Stands in a pointer for the index of a list's item, and for a key that comes from the document."""


class Place:
    """One place: a property, the items of a list, the values of a map, or what a schema does not describe.

    Args:
        rules: What the schema says.
        term: The name of the place in the schema; None if the schema does not describe it.
        at: The JSON Pointer of the place, with `EACH` for any index.
        around: The terms of the places around this one.

    Attributes:
        pointer: `at`.
        is_described: Whether the schema describes the place.
        is_ignored: Whether nothing here is compared (``"x-compare": "ignore"``).
        is_ordered: Whether a list's items here are compared position by position.
        is_closed: Whether the schema lists the values that may stand here, as ``enum`` and booleans do.
        read: What a value is compared by.
    """

    def __init__(self, rules: CompareRules, term: Term | None, at: str, around: frozenset[Term] = frozenset()) -> None:
        shape = ANY if term is None else rules.shape(term)
        rule = rules.rule(shape)
        self._rules, self._shape, self._around = rules, shape, around if term is None else around | {term}
        self.pointer = at
        self.is_described = term is not None
        self.is_ignored, self.is_ordered = rule == "ignore", rule == "ordered"
        self.is_closed = shape.values is not None or shape.likely == {"boolean"}
        self.read: Reading = reading_of(shape, rule)
        self._members: dict[str, Place] = {}
        self._positions: dict[int, Place] = {}

    def __repr__(self) -> str:
        return f"Place({self.pointer!r})"

    def _inner(self, term: Term | None, token: str | int) -> Place:
        return Place(self._rules, term, pointer(self.pointer, token), self._around)

    def member(self, name: str) -> Place | None:
        """The place of an object's property; None if the key is one of a map's, which are all in `values`."""
        found = self._members.get(name)
        if found is None:
            term = self._shape.members.get(name)
            if term is None and isinstance(self._shape.rest, Term):
                return None
            found = self._members[name] = self._inner(term, name)
        return found

    @cached_property
    def values(self) -> Place:
        """The place of a map's values."""
        return self._inner(self._shape.rest if isinstance(self._shape.rest, Term) else None, EACH)

    @cached_property
    def items(self) -> Place:
        """The place of a list's items."""
        return self._inner(self._shape.items, EACH)

    def position(self, index: int) -> Place | None:
        """The place of an item that stands at a position of its own, as in a tuple; None for one of `items`."""
        if index >= len(self._shape.prefix):
            return None
        if index not in self._positions:
            self._positions[index] = self._inner(self._shape.prefix[index], index)
        return self._positions[index]

    @cached_property
    def slots(self) -> tuple[Place, ...]:
        """The places of single values that the schema describes here and in the objects here, but not in lists.

        Where one of them has no value it is null. A schema that contains itself is followed once.
        """
        return tuple(self._find_slots())

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """The pointers of the single values that the schema describes, those in lists included, in its order."""
        return tuple(dict.fromkeys(self._find_leaves()))

    def _find_leaves(self) -> Iterator[str]:
        if self.is_ignored:
            return
        if _holds_values(self._shape):
            yield self.pointer
        for term, inner in self._inner_places():
            if term not in self._around:
                yield from inner._find_leaves()

    def _inner_places(self) -> Iterator[tuple[Term, Place]]:
        """All places inside this one that the schema describes, with their terms."""
        for name, term in self._shape.members.items():
            if (inner := self.member(name)) is not None:
                yield term, inner
        if isinstance(self._shape.rest, Term):
            yield self._shape.rest, self.values
        for index, term in enumerate(self._shape.prefix):
            if (inner := self.position(index)) is not None:
                yield term, inner
        if self._shape.items is not None:
            yield self._shape.items, self.items

    def _find_slots(self) -> Iterator[Place]:
        if self.is_ignored:
            return
        if _holds_values(self._shape):
            yield self
        for name, term in self._shape.members.items():
            if term not in self._around and (inner := self.member(name)) is not None:
                yield from inner._find_slots()


def _holds_values(shape: Shape) -> bool:
    """Whether single values alone may stand at a place, neither objects nor lists."""
    return bool(shape.likely) and not shape.likely & {"object", "array"}


def places_of(schema: OutputSchema) -> Place:
    """The place of a schema's whole answers."""
    return Place(schema.compare_rules, schema.compare_rules.root, "")
