"""A JSON Schema read once: references resolved, alternatives sorted out, labels prepared.

The result is small and plain, whatever the schema was: depth and size are bounded, recursion is cut, a keyword of a
wrong type is ignored. A schema is untrusted, so its ``pattern`` is run only when it cannot take long.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import orjson

from kimi_beam.emulator.rules.document_kinds import kind_named
from kimi_beam.emulator.rules.labels import Label, label_for
from kimi_beam.emulator.rules.lexicon import words

_DEPTH: Final = 16
_NODES: Final = 2_000
_HOPS: Final = 10_000  # references and allOf members followed in one schema, 12 behind one another
_PATTERN_CHARACTERS: Final = 200  # longest pattern that is used
_MATCHED_CHARACTERS: Final = 48  # longest value it is run on
_MOST_WAYS: Final = 10_000_000
_LOOP = re.compile(r"\)[*+{]|\\[1-9]|\(\?P=")
_UNBOUNDED = re.compile(r"(?<!\\)[*+]|\{\d*,\d*\}")
_OPTIONAL = re.compile(r"(?<![\\(])\?")


@dataclass(frozen=True)
class Choice:
    """A member of an enumeration, and the words a document may have for it."""

    value: Any
    names: tuple[str, ...]


@dataclass(frozen=True)
class Node:
    """What a schema asks for at one place.

    Attributes:
        kind: object, array, string, number, integer, boolean, choice, variants, any or null.
        nullable: Whether null is allowed.
        fixed: Whether it is one constant: known without a document.
        choices: For ``choice``.
        properties: For ``object``.
        items: For ``array``; None when it may hold anything.
        variants: For ``variants``: alternatives of which one is to fit.
        format: Of a string.
        pattern: Of a string; None when there is none or it is not safe to run.
        kinds: For ``choice``: what kind of document each member names; empty when it is not about that.
        length: Fewest and most characters of a string, or items of an array.
        bounds: Smallest and largest number, and whether these two are themselves excluded.
    """

    kind: str
    nullable: bool = False
    fixed: bool = False
    choices: tuple[Choice, ...] = ()
    properties: tuple[Property, ...] = ()
    items: Node | None = None
    variants: tuple[Node, ...] = ()
    format: str = ""
    pattern: re.Pattern[str] | None = None
    length: tuple[float, float] = (0, math.inf)
    kinds: tuple[str | None, ...] = ()
    bounds: tuple[float, float, bool, bool] = (-math.inf, math.inf, False, False)

    def accepts_text(self, text: str) -> bool:
        """Whether a string satisfies length and pattern; a value too long to be tried is let through."""
        if not self.length[0] <= len(text) <= self.length[1]:
            return False
        return self.pattern is None or len(text) > _MATCHED_CHARACTERS or self.pattern.search(text) is not None

    def accepts_number(self, number: float) -> bool:
        """Whether a number lies within the bounds."""
        low, high, above, below = self.bounds
        return low <= number <= high and not (above and number == low) and not (below and number == high)


@dataclass(frozen=True)
class Property:
    """A property of an object."""

    name: str
    node: Node
    required: bool
    label: Label = field(repr=False)


def plan(schema: object) -> Node:
    """Return the plan of a schema; equal schemas are read once.

    Args:
        schema: Any JSON value; what is not a schema asks for anything.
    """
    try:
        return _plan(orjson.dumps(schema))
    except orjson.JSONEncodeError:  # nested too deeply to be worth reading
        return Node("any")


@lru_cache(maxsize=128)
def _plan(encoded: bytes) -> Node:
    schema = orjson.loads(encoded)
    return _Reader(schema).node(schema, 0, words("")) or Node("any")


class _Reader:
    def __init__(self, root: object) -> None:
        self._root = root
        self._left = _NODES
        self._hops = _HOPS

    def node(self, schema: object, depth: int, context: tuple[str, ...]) -> Node | None:
        """Return the node of a schema; None when nothing fits it, or where it is cut."""
        self._left -= 1
        if self._left < 0 or depth > _DEPTH or schema is False:
            return None
        if not isinstance(schema, Mapping):
            return Node("any", nullable=True)
        flat = self._flatten(schema)
        if "const" in flat:
            return _choice([flat["const"]], fixed=True)
        alternatives = flat.get("anyOf") or flat.get("oneOf")
        if isinstance(alternatives, list) and alternatives:
            rest = {key: value for key, value in flat.items() if key not in ("anyOf", "oneOf")}
            return self._alternatives([self._merge(rest, self._flatten(a)) for a in alternatives], depth, context)
        if isinstance(flat.get("enum"), list):
            return _choice(flat["enum"])
        kinds = flat.get("type")
        if isinstance(kinds, list):
            many = [{**flat, "type": kind} for kind in kinds if isinstance(kind, str)]
            return self._alternatives(many, depth, context) if many else None
        nullable = flat.get("nullable") is True
        if kinds is None:
            shape = "object" if "properties" in flat else "array" if "items" in flat else "any"
        else:
            shape = kinds if isinstance(kinds, str) else "any"
        return self._typed(shape, flat, nullable, depth, context)

    def _typed(
        self, kind: str, schema: Mapping[str, Any], nullable: bool, depth: int, context: tuple[str, ...]
    ) -> Node:
        if kind == "null":
            return Node("null", nullable=True)
        if kind == "object":
            return Node(kind, nullable, properties=self._properties(schema, depth, context))
        if kind == "array":
            items = self.node(schema.get("items", True), depth + 1, context)
            return Node(kind, nullable, items=items, length=_range(schema, "minItems", "maxItems"))
        if kind in ("number", "integer"):
            return Node(kind, nullable, bounds=_bounds(schema))
        if kind == "boolean":
            return Node(kind, nullable)
        form = schema.get("format")
        return Node(
            "string" if kind == "string" else "any",
            nullable or kind != "string",
            format=form if isinstance(form, str) else "",
            pattern=_safe_pattern(schema.get("pattern")),
            length=_range(schema, "minLength", "maxLength"),
        )

    def _properties(self, schema: Mapping[str, Any], depth: int, context: tuple[str, ...]) -> tuple[Property, ...]:
        rules = schema.get("properties")
        if not isinstance(rules, Mapping):
            return ()
        required = schema.get("required")
        names = set(filter(_is_text, required)) if isinstance(required, list) else set()
        properties = []
        for name, rule in rules.items():
            own = words(name)
            node = self.node(rule, depth + 1, own)
            if node is None:
                continue
            flat = self._flatten(rule) if isinstance(rule, Mapping) else {}
            title, description = flat.get("title"), flat.get("description")
            if node.kind == "string" and not node.format and _is_local_time(description):
                node = replace(node, format="date-time-local")
            label = label_for(
                name,
                title=title[:200] if isinstance(title, str) else "",
                description=description[:500] if isinstance(description, str) else "",
                form=node.format or next((v.format for v in node.variants if v.format), ""),
                kind=node.kind,
                context=context,
            )
            properties.append(Property(name, node, name in names, label))
        return tuple(properties)

    def _alternatives(self, schemas: Sequence[Mapping[str, Any]], depth: int, context: tuple[str, ...]) -> Node | None:
        nodes = [node for schema in schemas if (node := self.node(schema, depth + 1, context)) is not None]
        nullable = any(node.nullable for node in nodes)
        nodes = [node for node in nodes if node.kind != "null"]
        if not nodes:
            return Node("null", nullable=True) if nullable else None
        if all(node.kind == "choice" for node in nodes):
            choices = tuple(choice for node in nodes for choice in node.choices)
            titled = zip(schemas, nodes, strict=False) if len(schemas) == len(nodes) else ()
            names = [_titled(node.choices[0], schema) for schema, node in titled if len(node.choices) == 1]
            choices = tuple(names) if len(names) == len(choices) else choices
            return Node("choice", nullable, choices=choices, kinds=_kinds(choices))
        if len(nodes) > 1:
            return Node("variants", nullable, variants=tuple(nodes[:6]))
        only = nodes[0]
        return replace(only, nullable=nullable)

    def _flatten(self, schema: object, depth: int = 0) -> dict[str, Any]:
        """Follow ``$ref`` and take ``allOf`` together, as far as that is reasonable."""
        self._hops -= 1
        if not isinstance(schema, Mapping) or depth > 12 or self._hops < 0:
            return {}
        flat = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        parts = list(schema["allOf"]) if isinstance(schema.get("allOf"), list) else []
        if isinstance(schema.get("$ref"), str):
            parts.append(self._target(schema["$ref"]))
        for part in parts:
            flat = self._merge(self._flatten(part, depth + 1), flat)
        return flat

    def _merge(self, base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
        merged = {**base, **over}
        below, above = base.get("properties"), over.get("properties")
        if isinstance(below, dict) and isinstance(above, dict):
            merged["properties"] = {**below, **above}
        needed, also = base.get("required"), over.get("required")
        if isinstance(needed, list) and isinstance(also, list):
            merged["required"] = [*needed, *also]
        return merged

    def _target(self, reference: str) -> object:
        """Return what a reference within the document points at; others are not followed."""
        if not reference.startswith("#"):
            return {}
        here = self._root
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~").replace("%20", " ")
            if isinstance(here, Mapping):
                here = here.get(step)
            elif isinstance(here, list) and step.isdecimal() and int(step) < len(here):
                here = here[int(step)]
            else:
                return {}
        return here if reference == "#" or "/" in reference else {}


def _is_local_time(description: object) -> bool:
    """Whether a description asks for a date and time without an offset: JSON Schema has no format for one."""
    return isinstance(description, str) and all(
        part in description.lower() for part in ("date and time", "without an offset")
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _choice(values: Sequence[object], *, fixed: bool = False) -> Node:
    choices = tuple(Choice(value, _names(value)) for value in values[:500] if value is not None)
    nullable = None in values
    if not choices:
        return Node("null", nullable=True)
    return Node("choice", nullable, fixed and not nullable, choices, kinds=_kinds(choices))


def _kinds(choices: Sequence[Choice]) -> tuple[str | None, ...]:
    """Return the kind of document that each member names, if two of them are such and no two are the same."""
    kinds = tuple(kind_named(choice.value) for choice in choices[:50])
    named = [kind for kind in kinds if kind]
    return kinds if len(named) >= 2 and len(set(named)) == len(named) else ()


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ()
    text = str(value).lower()
    return tuple(dict.fromkeys(filter(None, (text, " ".join(words(str(value)))))))


def _titled(choice: Choice, schema: Mapping[str, Any]) -> Choice:
    title = schema.get("title")
    return Choice(choice.value, (*choice.names, title.lower())) if isinstance(title, str) and title else choice


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _range(schema: Mapping[str, Any], low: str, high: str) -> tuple[float, float]:
    least, most = _number(schema.get(low)), _number(schema.get(high))
    return (0 if least is None else least), (math.inf if most is None else most)


def _bounds(schema: Mapping[str, Any]) -> tuple[float, float, bool, bool]:
    """Read minimum and maximum; ``exclusiveMinimum`` is a number, or true in draft 4."""
    low, high = _range({"a": schema.get("minimum", -math.inf), "b": schema.get("maximum")}, "a", "b")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    excluded_low, excluded_high = above is True, below is True
    if (limit := _number(above)) is not None and limit >= low:
        low, excluded_low = limit, True
    if (limit := _number(below)) is not None and limit <= high:
        high, excluded_high = limit, True
    return low, high, excluded_low, excluded_high


def _safe_pattern(pattern: object) -> re.Pattern[str] | None:
    """Compile a pattern that cannot take long on a short value; Python's engine can neither be stopped nor timed.

    A repeated group may take exponential time and is refused. For the rest, the ways to match are bounded by
    multiplying what each repetition, option and alternative can choose between.
    """
    if not isinstance(pattern, str) or len(pattern) > _PATTERN_CHARACTERS or _LOOP.search(pattern):
        return None
    starts = 1 if pattern.startswith("^") else _MATCHED_CHARACTERS
    repeated = _MATCHED_CHARACTERS ** len(_UNBOUNDED.findall(pattern))
    optional = 2 ** len(_OPTIONAL.findall(pattern))
    alternatives = (1 + pattern.count("|")) ** (1 + pattern.count("("))
    if starts * repeated * optional * alternatives > _MOST_WAYS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a syntax that will change its meaning some day
            return re.compile(pattern)
    except (re.error, OverflowError, RecursionError):  # ECMA syntax that Python lacks
        return None
