"""Finds contradictions in a schema, by which no answer can be valid and every document would be paid for in vain.

Each contradiction that is reported is proved; many others are not found. A required property that the schema does not
describe is one too: the schema that is sent is closed, so that the model is never asked for it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jsonschema_rs

from kimi_beam.schema import jsontext
from kimi_beam.schema.additional import pointer
from kimi_beam.schema.find_shapes import Shapes
from kimi_beam.schema.keywords import decimal_of
from kimi_beam.schema.references import Node
from kimi_beam.schema.shapes import ALL, Shape, Term, schema_term
from kimi_beam.schema.violations import VALIDATORS

_DEEPEST = 25
_MOST_PLACES = 3_000
_MOST_VALUES = 200
_ELSEWHERE = (
    "$ref", "$dynamicRef", "$recursiveRef", "allOf", "$schema", "$id", "id", "$anchor", "$dynamicAnchor",
    "$recursiveAnchor", "$defs", "definitions",
)  # fmt: skip
"""Keywords that are left out when a value is validated against a schema's own keywords alone."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A place for which no value is valid.

    Attributes:
        path: The place's JSON Pointer in the answer, with ``*`` for any item.
        reason: The proof in words.
        is_certain: Whether every answer has this place, so that no answer is valid. If not, only answers that have the
            place are invalid.
    """

    path: str
    reason: str
    is_certain: bool

    def __str__(self) -> str:
        return f"at '{self.path or '/'}': {self.reason}"


def contradictions(shapes: Shapes, root: Term, draft: str, *, formats: bool) -> Iterator[Contradiction]:
    """The places of a schema for which no value is valid.

    Args:
        shapes: The schema's shapes.
        root: The schema's root.
        draft: The schema's draft, by whose rules values are validated.
        formats: Whether ``format`` asserts.
    """
    return _Search(shapes, draft, formats=formats).contradictions(root, "", (), set(), is_certain=True)


class _Search:
    def __init__(self, shapes: Shapes, draft: str, *, formats: bool) -> None:
        self._shapes, self._draft, self._formats = shapes, draft, formats
        self._places = 0

    def contradictions(
        self, term: Term, path: str, above: tuple[Term, ...], seen: set[Term], *, is_certain: bool
    ) -> Iterator[Contradiction]:
        """The contradictions at a place and below it; if the place itself is contradictory, only this one.

        Args:
            term: The place.
            path: Its JSON Pointer.
            above: The places above this one whose every value contains it.
            seen: The places that have been searched already.
            is_certain: Whether every answer has the place.
        """
        self._places += 1
        if term in above:
            yield Contradiction(path, "it contains itself, always, without an end", is_certain)
            return
        if term in seen or len(above) > _DEEPEST or self._places > _MOST_PLACES or term.how == "maybe":
            return
        seen.add(term)
        above = (*above, term)
        shape = self._shapes.of(term)
        if not shape.kinds or shape.values == ():
            yield Contradiction(path, _no_kinds(term), is_certain)
            return
        if term.how == "either":
            branches = [next(self._certain(part, path, above, seen), None) for part in term.parts]
            if all(branches) and branches[0] is not None:
                yield Contradiction(branches[0].path, branches[0].reason, is_certain)
            return
        nodes = [node for part in _parts(term) for node in _conjuncts(part)]
        reason = self._own_reason(nodes, shape)
        if reason is not None:
            yield Contradiction(path, reason, is_certain)
            return
        for choice in _choices(nodes):
            branches = [next(self._certain(schema_term(branch), path, above, seen), None) for branch in choice]
            if all(branches) and branches[0] is not None:
                yield Contradiction(branches[0].path, branches[0].reason, is_certain)
                return
        for inner, token, is_always in _inside(shape):
            inside = above if is_always else ()
            below = pointer(path, token)
            yield from self.contradictions(inner, below, inside, seen, is_certain=is_certain and is_always)

    def _certain(self, term: Term, path: str, above: tuple[Term, ...], seen: set[Term]) -> Iterator[Contradiction]:
        return (one for one in self.contradictions(term, path, above, set(seen), is_certain=True) if one.is_certain)

    def _own_reason(self, nodes: Sequence[Node], shape: Shape) -> str | None:
        """Why no value can fit all of these schemas, which apply to one place."""
        kinds = shape.kinds
        reason = None
        if _is_object(shape):
            reason = _objects_reason(nodes, shape)
            for choice in _choices(nodes):
                reasons = [_objects_reason([*nodes, *_conjuncts(branch)], shape) for branch in choice]
                if all(reasons):
                    reason = reason or reasons[0]
        elif kinds <= {"integer", "number"}:
            reason = _numbers_reason(nodes, is_whole="number" not in kinds)
        elif kinds == {"string"}:
            reason = _crossed(nodes, "minLength", "maxLength")
        elif kinds == {"array"}:
            reason = _arrays_reason(nodes, shape) or self._unique_items_reason(nodes, shape)
        return reason or (self._values_reason(nodes, shape.values) if shape.values else None)

    def _unique_items_reason(self, nodes: Sequence[Node], shape: Shape) -> str | None:
        least = max(_numbers(nodes, "minItems"), default=0)
        unique = any(node.schema.get("uniqueItems") is True for node in nodes)
        values = self._shapes.of(shape.items).values if shape.items is not None and not shape.prefix else None
        if unique and values and least > len(values):
            return f"minItems is {least}, the items are unique, and there are {len(values)} values for them"
        return None

    def _values_reason(self, nodes: Sequence[Node], values: Sequence[Any]) -> str | None:
        """Why none of the listed values (``enum``, ``const``) is valid; None if one may be."""
        if len(values) > _MOST_VALUES:
            return None
        validators = []
        for node in nodes:
            own = {key: value for key, value in node.schema.items() if key not in _ELSEWHERE}
            if not own.keys() <= {"enum", "const", "type"} and b'ef"' not in jsontext.dumps_any(own):
                try:
                    make = VALIDATORS[self._draft]
                    validators.append(make(own, validate_formats=self._formats, offline=True))
                except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError):
                    return None
        if any(all(validator.is_valid(value) for validator in validators) for value in values):
            return None
        return f"none of its values ({_listed(values)}) is allowed by the rest of what it says"


def _is_object(shape: Shape) -> bool:
    """Whether the model is asked for objects only: `sent` writes ``object`` also if the schema only implies it."""
    return shape.likely == {"object"} and (shape.kinds == ALL or not shape.null)


# ------------------------------------------------------------------------------------------------ kinds of values


def _objects_reason(nodes: Sequence[Node], shape: Shape) -> str | None:
    required = _required(nodes)
    for node in nodes:
        properties = _mapping(node, "properties")
        patterns = _mapping(node, "patternProperties")
        for name in required:
            if properties.get(name) is False:
                return f"{name!r} is required and never valid"
            closed = node.schema.get("additionalProperties") is False
            if closed and name not in properties and not _matches(patterns, name):
                return f"{name!r} is required, and additionalProperties forbids it{_nearest(name, properties)}"
    if shape.members and shape.rest is True:
        for name in required:
            if name not in shape.members:
                return f"{name!r} is required, and no property is called so{_nearest(name, shape.members)}"
    least = max(_numbers(nodes, "minProperties"), default=0)
    for node in nodes:
        closed = node.schema.get("additionalProperties") is False and not _mapping(node, "patternProperties")
        if closed and least > len(_mapping(node, "properties")):
            return (
                f"minProperties is {least}, and there are no more than {len(_mapping(node, 'properties'))} properties"
            )
    most = min(_numbers(nodes, "maxProperties"), default=None)
    if most is not None and len(required) > most:
        return f"{len(required)} properties are required, and maxProperties is {most}"
    return _crossed(nodes, "minProperties", "maxProperties")


def _required(nodes: Sequence[Node]) -> dict[str, None]:
    """The names of required properties, and of those that they require in turn (``dependentRequired``)."""
    required = {name: None for node in nodes for name in _list(node, "required") if isinstance(name, str)}
    waiting = list(required)
    while waiting:
        name = waiting.pop()
        for node in nodes:
            for keyword in ("dependentRequired", "dependencies"):
                needed = _mapping(node, keyword).get(name)
                more = [one for one in needed if one not in required] if isinstance(needed, list) else []
                required.update(dict.fromkeys(more))
                waiting += more
    return required


def _arrays_reason(nodes: Sequence[Node], shape: Shape) -> str | None:
    least = max(_numbers(nodes, "minItems"), default=0)
    if shape.closed_items and least > len(shape.prefix):
        return f"minItems is {least}, and there are no more than {len(shape.prefix)} items"
    return _crossed(nodes, "minItems", "maxItems")


def _crossed(nodes: Iterable[Node], least: str, most: str) -> str | None:
    low, high = max(_numbers(nodes, least), default=None), min(_numbers(nodes, most), default=None)
    if low is not None and high is not None and low > high:
        return f"{least} {_shown(low)} is above {most} {_shown(high)}"
    return None


def _numbers_reason(nodes: Sequence[Node], *, is_whole: bool) -> str | None:
    lows = [(number, False) for number in _numbers(nodes, "minimum")]
    highs = [(number, False) for number in _numbers(nodes, "maximum")]
    for node in nodes:
        for exclusive, inclusive, bounds in (
            ("exclusiveMinimum", "minimum", lows),
            ("exclusiveMaximum", "maximum", highs),
        ):
            given = node.schema.get(exclusive)
            bound = _fraction(node.schema.get(inclusive) if given is True else given)
            if bound is not None:
                bounds.append((bound, True))
    if not lows or not highs:
        return None
    low, high = max(lows), min(highs, key=lambda bound: (bound[0], not bound[1]))
    if low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1])):
        return f"no number is at least {_shown(low[0])} and at most {_shown(high[0])}{_excluding(low, high)}"
    steps = [step for step in _numbers(nodes, "multipleOf") if step > 0] + ([Fraction(1)] if is_whole else [])
    for step in steps:
        first, last = math.ceil(low[0] / step), math.floor(high[0] / step)
        first += low[1] and first * step == low[0]
        last -= high[1] and last * step == high[0]
        if first > last:
            kind = "whole number" if step == 1 else f"multiple of {_shown(step)}"
            return f"no {kind} is from {_shown(low[0])} to {_shown(high[0])}{_excluding(low, high)}"
    return None


def _no_kinds(term: Term) -> str:
    nodes = [node for part in _parts(term) for node in _conjuncts(part)]
    if any(node.schema.get("enum") == [] for node in nodes):
        return "enum has no value"
    if any("enum" in node.schema or "const" in node.schema for node in nodes):
        return "its values are not of its type, or contradict each other"
    return "no value is valid: its types contradict each other" if nodes else "no value is valid"


# ------------------------------------------------------------------------------------------------ the parts of a schema


def _parts(term: Term) -> list[Node]:
    if term.how == "schema":
        return [node for node in term.parts if isinstance(node.schema, dict)]
    return [node for part in term.parts if part.how in ("schema", "both") for node in _parts(part)]


def _conjuncts(node: Node) -> list[Node]:
    """The schemas that apply together with a schema: itself, the targets of its references, and its ``allOf``."""
    found: dict[Any, Node] = {}
    waiting = [node]
    while waiting and len(found) < 200:
        one = waiting.pop()
        if not isinstance(one.schema, dict) or one.key in found:
            continue
        targets = [target for target in one.targets() if target is not None]
        if "$ref" in one.schema and not one.siblings_count:
            waiting += targets
            continue
        found[one.key] = one
        waiting += targets
        waiting += [one.child(sub) for sub in _list(one, "allOf")]
    return list(found.values())


def _choices(nodes: Iterable[Node]) -> Iterator[list[Node]]:
    """The branches of each ``anyOf`` and ``oneOf``."""
    for node in nodes:
        for keyword in ("anyOf", "oneOf"):
            branches = _list(node, keyword)
            if branches:
                yield [node.child(branch) for branch in branches]


def _inside(shape: Shape) -> Iterator[tuple[Term, str, bool]]:
    """The places directly below one: term, pointer token, and whether every value of this place has it."""
    if _is_object(shape):
        for name, term in shape.members.items():
            yield term, name, name in shape.required
    elif shape.kinds == {"array"}:
        for index, term in enumerate(shape.prefix):
            yield term, str(index), index < shape.least
        if shape.items is not None:
            yield shape.items, "*", shape.least > len(shape.prefix)


def _list(node: Node, keyword: str) -> list[Any]:
    value = node.schema.get(keyword) if isinstance(node.schema, dict) else None
    return value if isinstance(value, list) else []


def _mapping(node: Node, keyword: str) -> dict[str, Any]:
    value = node.schema.get(keyword)
    return value if isinstance(value, dict) else {}


def _numbers(nodes: Iterable[Node], keyword: str) -> list[Fraction]:
    found = (_fraction(node.schema.get(keyword)) for node in nodes)
    return [number for number in found if number is not None]


def _fraction(number: Any) -> Fraction | None:
    exact = decimal_of(number)
    return None if exact is None else Fraction(exact)


def _matches(patterns: Iterable[str], name: str) -> bool:
    """Whether a pattern may match a name. One that Python cannot compile may match any name."""
    for pattern in patterns:
        try:
            if re.search(pattern, name):
                return True
        except (re.error, RecursionError, OverflowError):
            return True
    return False


# ------------------------------------------------------------------------------------------------ words


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names)[:500], 1)
    return f": {near[0]!r}?" if near else ""


def _shown(number: Fraction) -> str:
    return str(number.numerator) if number.denominator == 1 else str(float(number))


def _excluding(low: tuple[Fraction, bool], high: tuple[Fraction, bool]) -> str:
    return ", which the bounds exclude" if low[1] or high[1] else ""


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(jsontext.dumps_any(value).decode()[:40] for value in values[:3])
    return f"{shown}, …" if len(values) > 3 else shown
