"""What a schema says about the values at one place: its kinds, members, items, bounds; ``allOf`` and unions folded in.

A `Shape` is what is known, not all that the schema asks: the validator decides what is valid, a shape which column is
best. What it says of kinds, of required members and of null is never narrower than the schema, so that a null cell has
one meaning; everything else may err, as a value that does not fit its column is kept beside it.
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
    """A place: one schema, or what several come to. Equal terms have equal shapes.

    Attributes:
        how: ``schema``: the one node; ``both``: all parts hold; ``either``: one of them does; ``maybe``: the only part
            holds in some cases, so that it tells of values that nothing else tells of.
        parts: The node, or the terms.
    """

    how: Literal["schema", "both", "either", "maybe"]
    parts: tuple[Any, ...]
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        # Once: terms are nested, and asked for it often.
        object.__setattr__(self, "_hash", hash((self.how, self.parts)))

    def __hash__(self) -> int:
        return self._hash


Rest: TypeAlias = "Term | bool"
"""What keys that are not named may hold: a term, True for anything, False where there is none."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of the values at one place.

    Attributes:
        kinds: The JSON types that occur; all where the schema does not say.
        implied: The types that the keywords speak of, where `kinds` is all.
        values: The only values, from ``enum`` and ``const``; None where there are others.
        format: ``format``, or ``byte`` for ``contentEncoding: base64``; None where there is none.
        low: Smallest number, inclusive; None without bound.
        high: Largest number, inclusive; None without bound.
        step: What numbers are a multiple of; None where nothing is said.
        members: The named members of an object, in order.
        required: Which of them are always there.
        rest: The members that are not named.
        prefix: The terms of an array's first items.
        items: The term of the items, or of those after the prefix; None where nothing is said.
        least: How many items an array has at least.
        closed_items: Whether nothing follows the prefix.
        arrow: ``x-arrow-type``; None where it is left to us.
        facets: Keywords of `FACETS`.
        needed: Which of the members are there in some case at least, as one branch of a union requires them.
        sources: The schemas that this was read from, to notice a place that contains itself.
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
        """The types, null apart, that are worth a column; number includes integer."""
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
    """What several places come to, each counted once."""
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
