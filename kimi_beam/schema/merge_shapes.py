"""Merges shapes: `both` for ``allOf`` and references, `either` for ``anyOf``, ``oneOf`` and conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from kimi_beam.schema.shapes import ALL, ANY, NEVER, NULL, Rest, Shape, Term, joined


def both(one: Shape, other: Shape, *, hint: bool = False) -> Shape:
    """The shape of values that fit both shapes.

    Args:
        one: A shape.
        other: Another shape.
        hint: Whether `other` holds only under a condition. It then names members, and describes values about which
            `one` says nothing, but narrows nothing.
    """
    if one is ANY or other is ANY:
        return other if one is ANY else one
    if hint and not (one.kinds == ALL and not one.implied):
        members = _members(one, other, hint=True) if "object" in one.likely else one.members
        sources, needed = one.sources | other.sources, one.needed | other.needed
        return replace(one, members=members, sources=sources, needed=needed)
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
        one.needed | other.needed,
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
    """The shape of values that fit at least one of the shapes."""
    shapes = [shape for shape in shapes if shape.kinds]
    if not shapes:
        return NEVER
    if len(shapes) == 1:
        return shapes[0]
    kinds = frozenset().union(*(shape.kinds for shape in shapes))
    telling = [shape for shape in shapes if shape.kinds != NULL]
    implied = [shape.implied if shape.kinds == ALL else shape.kinds - NULL for shape in telling]
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
        frozenset().union(*(shape.needed for shape in telling)),
    )


def _either_values(shapes: list[Shape]) -> tuple[Any, ...] | None:
    values: list[Any] = []
    for shape in shapes:
        if shape.kinds == NULL:
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
        # If a branch does not name the member, another part of the schema may describe it.
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
