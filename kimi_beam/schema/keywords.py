"""Reads the shape of one schema object, without its references and the schemas that it is combined with."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kimi_beam.schema.references import Node
from kimi_beam.schema.shapes import ALL, Rest, Shape, Term, joined, kind_of, schema_term

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
FACETS = (
    "title", "description", "examples", "default", "pattern", "minLength", "maxLength", "minItems", "maxItems",
    "uniqueItems", "x-complete", "x-merge", "x-compare",
)  # fmt: skip
"""Keywords that do not affect the column, but what is sent to the model, how the answers of parts are merged, or how
answers are compared."""
_EXCLUSIVE = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))


def own_shape(node: Node) -> Shape:
    """The shape of one schema object, without its references and the schemas that it is combined with."""
    schema = node.schema
    values = _values(schema)
    kinds = _kinds(schema)
    if values is not None:
        admitted = kinds | ({"integer"} if "number" in kinds else set())
        values = tuple(value for value in values if kind_of(value) in admitted)
        kinds = frozenset(map(kind_of, values))
    elif kinds == {"number"} and _multiple_of_one(schema):
        kinds = frozenset({"integer"})
    elif {"number", "null"} == kinds and _multiple_of_one(schema):
        kinds = frozenset({"integer", "null"})
    prefix, items, closed = _items(node)
    integers_only = "number" not in kinds
    low, high = _bounds(schema, integers=integers_only)
    required = schema.get("required")
    form = schema.get("format")
    if str(schema.get("contentEncoding")).lower() == "base64":
        form = "byte"
    arrow = schema.get("x-arrow-type")
    facets = {key: schema[key] for key in FACETS if key in schema}
    if not integers_only:
        facets.update(_exclusive(schema))
    return Shape(
        kinds,
        frozenset(_IMPLIED[key] for key in schema if key in _IMPLIED and key != "required")
        | (frozenset({"object"}) if isinstance(required, list) else frozenset()),
        values,
        form if isinstance(form, str) else None,
        low,
        high,
        decimal_of(schema.get("multipleOf")),
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
        frozenset(required if isinstance(required, list) else ()),
    )


def _mapping(schema: Mapping[str, Any], keyword: str) -> dict[str, Any]:
    value = schema.get(keyword)
    return value if isinstance(value, dict) else {}


def _kinds(schema: Mapping[str, Any]) -> frozenset[str]:
    kind = schema.get("type")
    return frozenset([kind] if isinstance(kind, str) else kind if isinstance(kind, list) else ALL) & ALL


def _multiple_of_one(schema: Mapping[str, Any]) -> bool:
    step = decimal_of(schema.get("multipleOf"))
    return step is not None and step == step.to_integral_value()


def _values(schema: Mapping[str, Any]) -> tuple[Any, ...] | None:
    if "const" in schema:
        return (schema["const"],)
    return tuple(schema["enum"]) if isinstance(schema.get("enum"), list) else None


def decimal_of(number: Any) -> Decimal | None:
    """A number in a schema as a decimal with all its digits; None if it is no number or out of the decimals' range."""
    if isinstance(number, bool) or not isinstance(number, (int, float, Decimal)):
        return None
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    return exact if exact.is_finite() and abs(exact.adjusted()) < 400 else None


def _exclusive(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The exclusive bounds as numbers. In draft 4 they are booleans that make the inclusive bound exclusive."""
    found = {
        key: schema.get(inclusive) if schema.get(key) is True else schema.get(key) for key, inclusive in _EXCLUSIVE
    }
    return {key: number for key, number in found.items() if decimal_of(number) is not None}


def _bounds(schema: Mapping[str, Any], *, integers: bool) -> tuple[Decimal | None, Decimal | None]:
    """Inclusive bounds. For integers an exclusive bound becomes the next integer inside it."""
    low, high = decimal_of(schema.get("minimum")), decimal_of(schema.get("maximum"))
    exclusive = _exclusive(schema)
    above, below = decimal_of(exclusive.get("exclusiveMinimum")), decimal_of(exclusive.get("exclusiveMaximum"))
    if above is not None:
        low = above if low is None else max(low, above)
    if below is not None:
        high = below if high is None else min(high, below)
    if integers and above is not None and low == above and _is_integer(above):
        low = above + 1
    if integers and below is not None and high == below and _is_integer(below):
        high = below - 1
    return low, high


def _is_integer(number: Decimal) -> bool:
    return abs(number) < 10**25 and number == number.to_integral_value()


def _rest(node: Node) -> Rest:
    schema = node.schema
    patterns = [node.child(sub) for sub in _mapping(schema, "patternProperties").values()]
    more = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
    terms = [schema_term(pattern) for pattern in patterns if pattern.schema is not False]
    if isinstance(more, dict) and more:
        terms.append(schema_term(node.child(more)))
    elif more is not False:
        # Keys that match no pattern may hold anything, but the patterns' schemas are still the best guess for a column.
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
