"""Simplifies a schema for the service: closed, without references, and with only the keywords that JSON mode accepts.

Each subschema has one ``type``; several types, null among them, become an ``anyOf`` with one type each. A list of types
and ``nullable: true`` were refused with 5024 each time, after 6 to 28 s, while ``anyOf`` with null was accepted, also
around an enum (observed on llama-3.3-70b in August 2026, not on Kimi).

This form only guides the model: every answer is validated here by the full schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kimi_beam.schema import jsontext
from kimi_beam.schema.find_shapes import Shapes
from kimi_beam.schema.shapes import ALL, NULL, Shape, Term, joined, kind_of

_ATTEMPTS = ((24, 1), (24, 0), (8, 0), (6, 0), (5, 0), (4, 0), (3, 0), (2, 0), (1, 0))
_MAX_PLACES = 1_500
_ORDER = ("string", "integer", "number", "boolean", "object", "array", "null")
_OF_KIND = {
    "string": ("pattern", "minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
}
_WITH_OFFSET = {
    "date-time": "date and time with an offset from UTC, such as 2026-03-01T12:30:00+01:00",
    "time": "time with an offset from UTC, such as 12:30:00+01:00",
}
_LOCAL = {
    "date-time": "date and time as stated, without an offset, such as 2026-03-01T12:30:00",
    "time": "time of day as stated, without an offset, such as 12:30:00",
}
_ABOUT = ("description", "examples", "default")


def name_of(schema: Any) -> str:
    """The title of a schema, reduced to the characters that the service allows in a name."""
    title = schema.get("title") if isinstance(schema, dict) else None
    return re.sub(r"[^A-Za-z0-9_-]+", "_", title)[:64] if isinstance(title, str) and title else "extraction"


def response_format(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """``response_format`` in OpenAI's form: ``{name, schema, strict}`` under ``json_schema``."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def nullable_form(shapes: Shapes, root: Term) -> dict[str, Any]:
    """The simplified schema in which all properties are required, and optional ones may be null."""
    return _form(shapes, root, unions=True)


def plain_form(shapes: Shapes, root: Term) -> dict[str, Any]:
    """The simplified schema without unions.

    A place that allows several types, null among them, has no ``type``; optional properties are not required.
    """
    return _form(shapes, root, unions=False)


class _TooManyError(Exception):
    """The simplified schema becomes too large at this depth of recursion."""


def _form(shapes: Shapes, root: Term, *, unions: bool) -> dict[str, Any]:
    for depth, repeats in _ATTEMPTS:
        try:
            writer = _Writer(shapes, depth, repeats, _MAX_PLACES, unions=unions)
            return writer.simplified(root, (), None, optional=False)
        except _TooManyError:
            continue
    # As a last resort only the root's own properties are listed, however many there are.
    return _Writer(shapes, 1, 0, None, unions=unions).simplified(root, (), None, optional=False)


class _Writer:
    def __init__(self, shapes: Shapes, depth: int, repeats: int, max_places: int | None, *, unions: bool) -> None:
        self._shapes, self._unions = shapes, unions
        self._depth, self._repeats, self._max_places = depth, repeats, max_places
        self._places = 0

    def simplified(self, term: Term, above: tuple[Shape, ...], name: str | None, *, optional: bool) -> dict[str, Any]:
        """The simplified schema of one place.

        Args:
            term: The place.
            above: The shapes of the places that contain this one, from the root down.
            name: The property's name, None for items and for the root.
            optional: Whether the property may be absent, so that null is allowed in its place.
        """
        self._places += 1
        if self._max_places is not None and self._places > self._max_places:
            raise _TooManyError
        shape = self._shapes.of(term)
        kinds = shape.likely
        if shape.format == "decimal" and "number" in kinds:
            kinds -= {"string"}  # both are valid answers, and asking for one of them needs no union
        if shape.kinds == NULL:
            return {"type": "null", **self._about(shape, name)}
        null = bool(kinds) and ((optional and self._unions) or (shape.null and shape.kinds != ALL and not optional))
        types = [kind for kind in _ORDER if kind in kinds or (kind == "null" and null)]
        about = self._about(shape, name)
        if "string" in kinds and not shape.values:
            about = self._with_time_described(about, shape.format)
        if shape.values:
            return self._of_values(types, shape.values, about)
        if len(types) > 1 and self._unions:
            return {**about, "anyOf": [self._of_type(kind, shape, above) for kind in types]}
        if len(types) == 1:
            return {"type": types[0], **about, **self._of_kind(types[0], shape, above)}
        found = dict(about)
        for kind in sorted(kinds, key=_ORDER.index):
            found.update(self._of_kind(kind, shape, above))
        return _with_types_described(found, types)

    def _of_values(self, types: list[str], values: tuple[Any, ...], about: dict[str, Any]) -> dict[str, Any]:
        """The simplified schema of a place with a closed list of values."""
        of_type = {kind: [value for value in values if _is_of(kind, value)] for kind in types}
        named = {kind: found for kind, found in of_type.items() if found and kind != "null"}
        null = "null" in types
        if not named:  # no listed value has an allowed type, so that at most null is left
            return {"type": "null", **about} if null else about
        if len(named) == 1 and not null:
            ((kind, found),) = named.items()
            return {"type": kind, **about, "enum": found}
        if self._unions:
            branches = [{"type": kind, "enum": found} for kind, found in named.items()]
            return {**about, "anyOf": [*branches, *([{"type": "null"}] if null else [])]}
        listed = [value for found in named.values() for value in found]
        return _with_types_described({**about, "enum": [*listed, *([None] if null else [])]}, types)

    def _of_type(self, kind: str, shape: Shape, above: tuple[Shape, ...]) -> dict[str, Any]:
        return {"type": kind, **self._of_kind(kind, shape, above)}

    def _local(self, format_: str | None) -> str | None:
        """The description of a local date-time or time for the model; None for every other format."""
        name = (format_ or "").removesuffix("-local")
        is_local = self._shapes.local_times or name != format_
        return _LOCAL.get(name) if is_local else None

    def _with_time_described(self, about: dict[str, Any], format_: str | None) -> dict[str, Any]:
        """Adds the spelling of local times to the description, because a model does not know it from ``format``."""
        spelling = self._local(format_)
        if spelling is None and self._shapes.asserts_formats:
            spelling = _WITH_OFFSET.get(format_ or "")
        if spelling is None:
            return about
        description = about.get("description")
        return {**about, "description": (f"{description} " if isinstance(description, str) else "") + f"({spelling})"}

    @staticmethod
    def _about(shape: Shape, name: str | None) -> dict[str, Any]:
        found = {key: shape.facets[key] for key in _ABOUT if key in shape.facets}
        if found.get("default", 0) is None:
            del found["default"]
        title = shape.facets.get("title")
        # Pydantic makes each property's title from its name; such a title is left out.
        if isinstance(title, str) and _plain(title) != _plain(name or ""):
            found = {"title": title, **found}
        return found

    def _of_kind(self, kind: str, shape: Shape, above: tuple[Shape, ...]) -> dict[str, Any]:
        found = {key: shape.facets[key] for key in _OF_KIND.get(kind, ()) if key in shape.facets}
        # The service would take the format of a local time for the one with an offset, or does not know it.
        if kind == "string" and shape.format and self._local(shape.format) is None:
            found["format"] = shape.format
        if kind in ("integer", "number"):
            found.update(_bounds(shape))
        if kind in ("object", "array"):
            repeats = sum(1 for other in above if not shape.sources.isdisjoint(other.sources))
            if repeats <= self._repeats and len(above) < self._depth:
                found.update(getattr(self, f"_{kind}")(shape, (*above, shape)))
        return found

    def _object(self, shape: Shape, above: tuple[Shape, ...]) -> dict[str, Any]:
        if not shape.members:
            if isinstance(shape.rest, Term):
                return {"additionalProperties": self.simplified(shape.rest, above, None, optional=False)}
            return {} if shape.rest else {"properties": {}, "additionalProperties": False}
        properties = {}
        required = []
        for name, term in shape.members.items():
            inner = self._shapes.of(term)
            if not inner.kinds:
                continue  # its schema is false, so the property is never present
            always = name in shape.required
            properties[name] = self.simplified(term, above, name, optional=not always)
            if self._unions or always:
                required.append(name)
        if isinstance(shape.rest, Term):
            # A required property without a schema of its own is described by a pattern or `additionalProperties`.
            for name in sorted(shape.required - shape.members.keys()):
                properties[name] = self.simplified(shape.rest, above, name, optional=False)
                required.append(name)
        return {"properties": properties, "required": required, "additionalProperties": False}

    def _array(self, shape: Shape, above: tuple[Shape, ...]) -> dict[str, Any]:
        terms = [*shape.prefix, *([shape.items] if shape.items else [])]
        if not terms:
            return {}
        found: dict[str, Any] = {"items": self.simplified(joined("either", terms), above, None, optional=False)}
        if shape.prefix and shape.closed_items:
            found["maxItems"] = len(shape.prefix)
        return found


def _is_of(kind: str, value: Any) -> bool:
    """Whether a value has a JSON type; an integer is a number too."""
    found = kind_of(value)
    return found == kind or (found == "integer" and kind == "number")


def _with_types_described(found: dict[str, Any], types: list[str]) -> dict[str, Any]:
    """Adds the types to the description in words, as one ``type`` cannot name several."""
    if types:
        description = found.get("description")
        found["description"] = (f"{description} " if isinstance(description, str) else "") + f"({' or '.join(types)})"
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _bounds(shape: Shape) -> Mapping[str, Any]:
    found = {"minimum": shape.low, "maximum": shape.high, "multipleOf": shape.step}
    bounds: dict[str, Any] = {
        key: int(number)
        if number == number.to_integral_value() and abs(number) < 10**30
        else jsontext.float_or_decimal(number)
        for key, number in found.items()
        if number is not None
    }
    for inclusive, key in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if key in shape.facets:
            bounds[key] = shape.facets[key]
            if bounds.get(inclusive) == bounds[key]:
                del bounds[inclusive]
    return bounds
