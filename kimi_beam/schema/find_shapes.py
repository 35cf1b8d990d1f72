"""`Shapes`: finds the shape of each place, follows references, and merges ``allOf``, unions and conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kimi_beam.schema.keywords import own_shape
from kimi_beam.schema.merge_shapes import both, either
from kimi_beam.schema.references import Node
from kimi_beam.schema.shapes import ALL, ANY, NEVER, Shape, Term, schema_term

_MAX_NESTED = 150


class Shapes:
    """The shapes of one schema's places, each computed once.

    Args:
        formats: Whether ``format`` asserts. ``local``: it does, but date-times and times may lack an offset from UTC.
    """

    def __init__(self, formats: bool | str = True) -> None:
        self.asserts_formats, self.local_times = bool(formats), formats == "local"
        self._found: dict[Term, Shape] = {}
        self._open: set[Term] = set()

    def of(self, term: Term) -> Shape:
        """The shape of a place. A reference that leads back to itself adds nothing to it."""
        if term in self._found:
            return self._found[term]
        if term in self._open or len(self._open) > _MAX_NESTED:
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
        for part in term.parts:
            if part.how != "maybe":
                shape = both(shape, self.of(part))
        # Of two conditions one or the other holds, not both. A shape that only names members says nothing of values.
        cases = [self.of(part) for part in term.parts if part.how == "maybe"]
        telling = [case for case in cases if case.kinds != ALL or case.implied]
        return both(shape, either(telling or cases), hint=True) if cases else shape

    def _schema(self, node: Node) -> Shape:
        schema = node.schema
        if schema is False or schema == {"not": {}}:
            return NEVER
        if not isinstance(schema, dict):
            return ANY
        targets = [ANY if target is None else self.of(schema_term(target)) for target in node.targets()]
        if "$ref" in schema and not node.siblings_count:
            return targets[0] if targets else ANY
        shape = own_shape(node)
        if shape.values is not None and shape.kinds & {"object", "array"}:
            shape = both(shape, own_shape(node.child(_of_values(shape.values))))
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
            always = schema["if"]
            cases = ("then",) if always is True else ("else",) if always is False else ("then", "else")
            shape = both(shape, either([inner(schema.get(keyword, True)) for keyword in cases]))
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


def _of_values(values: tuple[Any, ...]) -> dict[str, Any]:
    """A schema with the members and items of constant values (``enum``, ``const``)."""
    objects = [value for value in values if isinstance(value, dict)]
    names = dict.fromkeys(name for value in objects for name in value)
    return {
        "properties": {name: {"enum": [value[name] for value in objects if name in value]} for name in names},
        "required": [name for name in names if all(name in value for value in objects)],
        "items": {"enum": [item for value in values if isinstance(value, list) for item in value]},
    }
