"""What a schema says about the values at one place: its kinds, members, items, bounds; ``allOf`` and unions folded in.

A `Shape` is what is known, not all that the schema asks: the validator decides what is valid, a shape which column is
best. What it says of kinds, of required members and of null is never narrower than the schema, so that a null cell has
one meaning; everything else may err, as a value that does not fit its column is kept beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from kimi_beam.references import Node

ALL = frozenset({"null", "boolean", "integer", "number", "string", "object", "array"})
_NULL = frozenset({"null"})
_IMPLIED = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "patternProperties": "object",
    "propertyNames": "object",
    "minProperties": "object",
    "maxProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "maxItems": "array",
    "uniqueItems": "array",
    "contains": "array",
    "pattern": "string",
    "minLength": "string",
    "maxLength": "string",
    "format": "string",
    "contentEncoding": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}
FACETS = ("title", "description", "examples", "default", "pattern", "minLength", "maxLength", "minItems", "maxItems")
"""Keywords that say nothing about a column and much to a model."""


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

    @property
    def likely(self) -> frozenset[str]:
        """The types, null apart, that are worth a column; number includes integer."""
        kinds = self.implied if self.kinds == ALL else self.kinds - _NULL
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


class Shapes:
    """The shapes of one schema's places, each found once."""

    def __init__(self) -> None:
        self._found: dict[Term, Shape] = {}
        self._open: set[Term] = set()

    def of(self, term: Term) -> Shape:
        """The shape of a place. A reference that leads back to itself adds nothing."""
        if term in self._found:
            return self._found[term]
        if term in self._open or len(self._open) > 150:
            return ANY
        self._open.add(term)
        try:
            shape = self._of(term)
        finally:
            self._open.discard(term)
        self._found[term] = shape
        return shape

    def _of(self, term: Term) -> Shape:
        if term.how == "schema":
            return self._schema(term.parts[0])
        if term.how == "maybe":
            return self.of(term.parts[0])
        if term.how == "either":
            return either([self.of(part) for part in term.parts])
        shape = ANY
        for part in sorted(term.parts, key=lambda part: part.how == "maybe"):
            shape = both(shape, self.of(part), hint=part.how == "maybe")
        return shape

    def _schema(self, node: Node) -> Shape:
        schema = node.schema
        if schema is False or schema == {"not": {}}:
            return NEVER
        if not isinstance(schema, dict):
            return ANY
        targets = [ANY if target is None else self.of(schema_term(target)) for target in node.targets()]
        if "$ref" in schema and not node.siblings_count:
            return targets[0] if targets else ANY
        shape = own(node)
        if shape.values is not None and shape.kinds & {"object", "array"}:
            shape = both(shape, own(node.child(_of_values(shape.values))))
        for target in targets:
            shape = both(shape, target)

        def inner(sub: Any) -> Shape:
            return self.of(schema_term(node.child(sub)))

        for sub in _list(schema, "allOf"):
            shape = both(shape, inner(sub))
        for keyword in ("anyOf", "oneOf"):
            if _list(schema, keyword):
                shape = both(shape, either([inner(sub) for sub in schema[keyword]]))
        if "if" in schema:
            shape = both(shape, either([inner(schema.get(keyword, True)) for keyword in ("then", "else")]))
        for sub in _dependents(schema):
            shape = both(shape, either([inner(sub), ANY]))
        return shape


def _dependents(schema: Mapping[str, Any]) -> list[Any]:
    return [
        sub
        for keyword in ("dependentSchemas", "dependencies")
        for sub in (schema[keyword].values() if isinstance(schema.get(keyword), dict) else ())
        if isinstance(sub, dict)
    ]


def _list(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


# ------------------------------------------------------------------------------------------------ one schema's own words


def own(node: Node) -> Shape:
    """What a schema says itself, without its references and the schemas that it is combined with."""
    schema = node.schema
    values = _values(schema)
    kinds = _kinds(schema)
    if values is not None:
        values = tuple(v for v in values if kind_of(v) in kinds or (kind_of(v) == "integer" and "number" in kinds))
        kinds = frozenset(map(kind_of, values))
    elif kinds == {"number"} and _multiple_of_one(schema):
        kinds = frozenset({"integer"})
    elif {"number", "null"} == kinds and _multiple_of_one(schema):
        kinds = frozenset({"integer", "null"})
    prefix, items, closed = _items(node)
    low, high = _bounds(schema)
    required = schema.get("required")
    form = schema.get("format")
    if str(schema.get("contentEncoding")).lower() == "base64":
        form = "byte"
    arrow = schema.get("x-arrow-type")
    facets = {key: schema[key] for key in FACETS if key in schema}
    return Shape(
        kinds,
        frozenset(_IMPLIED[key] for key in schema if key in _IMPLIED and key != "required")
        | (frozenset({"object"}) if isinstance(required, list) else frozenset()),
        values,
        form if isinstance(form, str) else None,
        low,
        high,
        _decimal(schema.get("multipleOf")),
        {name: schema_term(node.child(sub)) for name, sub in _mapping(schema, "properties").items()},
        frozenset(required if isinstance(required, list) else ()),
        _rest(node),
        prefix,
        items,
        schema["minItems"] if type(schema.get("minItems")) is int else 0,
        closed,
        arrow if isinstance(arrow, str) else None,
        facets,
        frozenset([node.key]),
    )


def _of_values(values: tuple[Any, ...]) -> dict[str, Any]:
    """A schema of the members and items that some constant values have."""
    objects = [value for value in values if isinstance(value, dict)]
    names = dict.fromkeys(name for value in objects for name in value)
    return {
        "properties": {name: {"enum": [value[name] for value in objects if name in value]} for name in names},
        "required": [name for name in names if all(name in value for value in objects)],
        "items": {"enum": [item for value in values if isinstance(value, list) for item in value]},
    }


def _mapping(schema: Mapping[str, Any], keyword: str) -> dict[str, Any]:
    value = schema.get(keyword)
    return value if isinstance(value, dict) else {}


def _kinds(schema: Mapping[str, Any]) -> frozenset[str]:
    kind = schema.get("type")
    return frozenset([kind] if isinstance(kind, str) else kind if isinstance(kind, list) else ALL) & ALL


def _multiple_of_one(schema: Mapping[str, Any]) -> bool:
    step = _decimal(schema.get("multipleOf"))
    return step is not None and step == step.to_integral_value()


def _values(schema: Mapping[str, Any]) -> tuple[Any, ...] | None:
    if "const" in schema:
        return (schema["const"],)
    return tuple(schema["enum"]) if isinstance(schema.get("enum"), list) else None


def kind_of(value: Any) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float, Decimal)):
        return "integer" if value == value and value % 1 == 0 else "number"
    return {str: "string", list: "array", dict: "object"}.get(type(value), "object")


def _decimal(number: Any) -> Decimal | None:
    if isinstance(number, bool) or not isinstance(number, (int, float, Decimal)):
        return None
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    return exact if exact.is_finite() and abs(exact.adjusted()) < 400 else None


def _bounds(schema: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Bounds as inclusive ones: an exclusive bound is taken for the next integer inside it where it is one."""
    low, high = _decimal(schema.get("minimum")), _decimal(schema.get("maximum"))
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")  # true in draft 4
    above_at = low if above is True else _decimal(above)
    below_at = high if below is True else _decimal(below)
    if above_at is not None:
        low = above_at if low is None else max(low, above_at)
    if below_at is not None:
        high = below_at if high is None else min(high, below_at)
    if above_at is not None and low == above_at and _whole(above_at):
        low = above_at + 1
    if below_at is not None and high == below_at and _whole(below_at):
        high = below_at - 1
    return low, high


def _whole(number: Decimal) -> bool:
    return abs(number) < 10**25 and number == number.to_integral_value()


def _rest(node: Node) -> Rest:
    schema = node.schema
    patterns = [node.child(sub) for sub in _mapping(schema, "patternProperties").values()]
    more = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
    terms = [schema_term(pattern) for pattern in patterns if pattern.schema is not False]
    if isinstance(more, dict) and more:
        terms.append(schema_term(node.child(more)))
    elif more is not False:
        # Beside patterns, keys that match none may still hold anything; what is said is said of those that match.
        return joined("either", terms) if terms else True
    return joined("either", terms) if terms else False


def _items(node: Node) -> tuple[tuple[Term, ...], Term | None, bool]:
    schema = node.schema
    prefix, items = schema.get("prefixItems"), schema.get("items")
    if isinstance(items, list):
        prefix, items = items, schema.get("additionalItems")
    elif items is None:
        items = schema.get("unevaluatedItems")
    terms = tuple(schema_term(node.child(sub)) for sub in prefix) if isinstance(prefix, list) else ()
    rest = schema_term(node.child(items)) if isinstance(items, dict) and items else None
    return terms, rest, items is False


# ------------------------------------------------------------------------------------------------ several shapes in one


def both(one: Shape, other: Shape, *, hint: bool = False) -> Shape:
    """What is known of values that both shapes describe.

    Args:
        one: A shape.
        other: Another.
        hint: The other holds in some cases only: it may name members, and tell of values that `one` says nothing of.
    """
    if one is ANY or other is ANY:
        return other if one is ANY else one
    if hint and not (one.kinds == ALL and not one.implied):
        members = _members(one, other, hint=True) if "object" in one.likely else one.members
        return replace(one, members=members, sources=one.sources | other.sources)
    kinds = _common(one.kinds, other.kinds)
    return Shape(
        kinds,
        one.implied | other.implied,
        _common_values(one.values, other.values),
        _format(one, other),
        _most(one.low, other.low, max),
        _most(one.high, other.high, min),
        _most(one.step, other.step, _coarser),
        _members(one, other, hint=False),
        one.required | other.required,
        _common_rest(one, other),
        one.prefix or other.prefix,
        joined("both", [t for t in (one.items, other.items) if t]) if one.items or other.items else None,
        max(one.least, other.least),
        one.closed_items or other.closed_items,
        one.arrow or other.arrow,
        {**other.facets, **one.facets},
        one.sources | other.sources,
    )


def _common(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    kinds = one & other
    if ("integer" in one and "number" in other) or ("number" in one and "integer" in other):
        kinds |= {"integer"}
    return kinds


def _common_values(one: tuple[Any, ...] | None, other: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    if len(one) * len(other) > 100_000:
        return one
    return tuple(value for value in one if value in other)


def _format(one: Shape, other: Shape) -> str | None:
    return one.format or other.format


def _most(one: Decimal | None, other: Decimal | None, choose: Callable[[Decimal, Decimal], Decimal]) -> Decimal | None:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)


def _coarser(one: Decimal, other: Decimal) -> Decimal:
    return one if one.as_tuple().exponent >= other.as_tuple().exponent else other  # type: ignore[operator]


def _members(one: Shape, other: Shape, *, hint: bool) -> dict[str, Term]:
    members = dict(one.members)
    for name, term in other.members.items():
        added = Term("maybe", (term,)) if hint and term.how != "maybe" else term
        members[name] = joined("both", [members[name], added]) if name in members else added
    return members


def _common_rest(one: Shape, other: Shape) -> Rest:
    if one.rest is False or other.rest is False:
        return False
    if one.rest is True or other.rest is True:
        return other.rest if one.rest is True else one.rest
    return joined("both", [one.rest, other.rest])


def either(shapes: list[Shape]) -> Shape:
    """What is known of values that one of the shapes describes."""
    shapes = [shape for shape in shapes if shape.kinds]
    if not shapes:
        return NEVER
    if len(shapes) == 1:
        return shapes[0]
    kinds = frozenset().union(*(shape.kinds for shape in shapes))
    telling = [shape for shape in shapes if shape.kinds != _NULL]
    implied = [shape.implied if shape.kinds == ALL else shape.kinds - _NULL for shape in telling]
    objects = [shape for shape in telling if "object" in shape.kinds]
    arrays = [shape for shape in telling if "array" in shape.kinds]
    numbers = [shape for shape in telling if shape.kinds & {"integer", "number"}]
    strings = [shape for shape in telling if "string" in shape.kinds]
    prefix, items = _either_items(arrays)
    return Shape(
        kinds,
        frozenset().union(*implied) if all(implied) else frozenset(),
        _either_values(shapes),
        _agreed([shape.format for shape in strings]),
        _widest([shape.low for shape in numbers], min),
        _widest([shape.high for shape in numbers], max),
        _widest([shape.step for shape in numbers], _finer),
        _either_members(objects),
        frozenset.intersection(*(shape.required for shape in objects)) if objects else frozenset(),
        _either_rest(objects),
        prefix,
        items,
        min((shape.least for shape in arrays), default=0),
        bool(arrays) and all(shape.closed_items for shape in arrays),
        _agreed([shape.arrow for shape in telling]),
        {key: value for key, value in telling[0].facets.items() if all(s.facets.get(key) == value for s in telling)}
        if telling
        else {},
        frozenset().union(*(shape.sources for shape in telling)),
    )


def _either_values(shapes: list[Shape]) -> tuple[Any, ...] | None:
    values: list[Any] = []
    for shape in shapes:
        if shape.kinds == _NULL:
            values.append(None)
        elif shape.values is None:
            return None
        else:
            values += shape.values
    return tuple(values)


def _agreed(found: list[str | None]) -> str | None:
    return found[0] if found and all(item == found[0] for item in found) else None


def _widest(found: list[Decimal | None], choose: Callable[[Decimal, Decimal], Decimal]) -> Decimal | None:
    widest: Decimal | None = None
    for item in found:
        if item is None:
            return None
        widest = item if widest is None else choose(widest, item)
    return widest


def _finer(one: Decimal, other: Decimal) -> Decimal:
    return one if _coarser(one, other) is other else other


def _either_members(objects: list[Shape]) -> dict[str, Term]:
    found: dict[str, list[Term]] = {}
    for shape in objects:
        for name, term in shape.members.items():
            found.setdefault(name, []).append(term)
    members = {}
    for name, terms in found.items():
        term = joined("either", terms)
        # Where a case does not name it, it may hold what another part of the schema says of it.
        everywhere = len(terms) == sum(shape.rest is not False or name in shape.members for shape in objects)
        members[name] = term if everywhere or term.how == "maybe" else Term("maybe", (term,))
    return members


def _either_rest(objects: list[Shape]) -> Rest:
    rests = [shape.rest for shape in objects]
    terms = [rest for rest in rests if isinstance(rest, Term)]
    if terms and not any(rest is True and not shape.members for rest, shape in zip(rests, objects, strict=True)):
        return joined("either", terms)
    return any(rest is True for rest in rests) if not terms else True


def _either_items(arrays: list[Shape]) -> tuple[tuple[Term, ...], Term | None]:
    if not any(shape.prefix for shape in arrays):
        items = [shape.items for shape in arrays if shape.items is not None]
        return (), joined("either", items) if items and len(items) == len(arrays) else None
    if len({len(shape.prefix) for shape in arrays}) == 1 and not any(shape.items for shape in arrays):
        return tuple(joined("either", terms) for terms in zip(*(s.prefix for s in arrays), strict=True)), None
    loose = any(shape.items is None and not shape.closed_items for shape in arrays)
    every = [t for shape in arrays for t in (*shape.prefix, *((shape.items,) if shape.items else ()))]
    return (), None if loose else joined("either", every)
