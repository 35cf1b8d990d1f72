"""`Shape`: what a schema says about the values at one place, with ``allOf`` and unions merged.

A shape serves to choose a column; the validator alone decides what is valid. Its JSON types, required members and null
are never narrower than the schema's, so that a null cell has one meaning. Everything else may be imprecise, because a
value that does not fit its column is set aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from kimi_beam.schema.references import Node

ALL = frozenset({"null", "boolean", "integer", "number", "string", "object", "array"})
NULL = frozenset({"null"})


@dataclass(frozen=True, slots=True)
class Term:
    """The name of a place: one schema, or a combination of several. Equal terms have equal shapes.

    Attributes:
        how: ``schema``: one node; ``both``: all parts hold; ``either``: at least one of them holds; ``maybe``: the
            single part holds under a condition, and describes only values that no other part describes.
        parts: The node, or the terms that are combined.
    """

    how: Literal["schema", "both", "either", "maybe"]
    parts: tuple[Any, ...]
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        # Computed once, because terms are nested and hashed often.
        object.__setattr__(self, "_hash", hash((self.how, self.parts)))

    def __hash__(self) -> int:
        return self._hash


Rest: TypeAlias = "Term | bool"
"""The values of unnamed keys: a term; True if they may be anything; False if no unnamed key is allowed."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of the values at one place.

    Attributes:
        kinds: The JSON types that may occur; all of them if the schema does not say.
        implied: The types that the keywords apply to, for a schema without ``type``.
        values: The only possible values, from ``enum`` and ``const``; None if there is no such list.
        format: ``format``, or ``byte`` for ``contentEncoding: base64``; None if there is none.
        low: Smallest number, inclusive; None without bound.
        high: Largest number, inclusive; None without bound.
        step: ``multipleOf``; None if there is none.
        members: The named members of an object, in order.
        required: The names of the members that are always present.
        rest: The values of unnamed keys.
        prefix: The terms of an array's first items.
        items: The term of the items, or of those after the prefix; None if the schema does not say.
        least: ``minItems``.
        closed_items: Whether nothing may follow the prefix.
        arrow: ``x-arrow-type``; None if the column is chosen by the schema.
        facets: The keywords of `FACETS` that the schema has.
        needed: The names of members that at least one branch of a union requires.
        sources: The schemas that the shape was read from, by which a recursive place is noticed.
    """

    kinds: frozenset[str] = ALL
    implied: frozenset[str] = frozenset()
    values: tuple[Any, ...] | None = None
    format: str | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    step: Decimal | None = None
    members: Mapping[str, Term] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    rest: Rest = True
    prefix: tuple[Term, ...] = ()
    items: Term | None = None
    least: int = 0
    closed_items: bool = False
    arrow: str | None = None
    facets: Mapping[str, Any] = field(default_factory=dict)
    sources: frozenset[Any] = frozenset()
    needed: frozenset[str] = frozenset()

    @property
    def likely(self) -> frozenset[str]:
        """The types that get a column, without null; number includes integer."""
        kinds = self.implied if self.kinds == ALL else self.kinds - NULL
        return kinds - {"integer"} if "number" in kinds else kinds

    @property
    def null(self) -> bool:
        """Whether null may occur."""
        return "null" in self.kinds


ANY = Shape()
NEVER = Shape(kinds=frozenset())


def schema_term(node: Node) -> Term:
    """The place that one schema describes."""
    return Term("schema", (node,))


def joined(how: Literal["both", "either"], terms: Iterable[Term]) -> Term:
    """The term of several places combined, each of them once."""
    parts: dict[Term, None] = {}
    for term in terms:
        parts.update(dict.fromkeys(term.parts if term.how == how else (term,)))
    return next(iter(parts)) if len(parts) == 1 else Term(how, tuple(parts))


_KINDS: dict[Any, str] = {bool: "boolean", str: "string", list: "array", dict: "object"}


def kind_of(value: Any) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if type(value) is int:
        return "integer"
    if type(value) in (float, Decimal):
        whole = value.is_integer() if type(value) is float else value == value.to_integral_value()
        return "integer" if whole else "number"
    return _KINDS.get(type(value), "object")
