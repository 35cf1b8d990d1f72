"""The keywords of all drafts of JSON Schema, and a guess at the keyword that a misspelt key was meant to be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

TYPES = frozenset({"null", "boolean", "integer", "number", "string", "object", "array"})

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_LISTS_OF_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMAS = (
    "additionalProperties", "additionalItems", "propertyNames", "contains", "not", "if", "then", "else",
    "unevaluatedProperties", "unevaluatedItems",
)  # fmt: skip
_MAPS_OF_SCHEMAS = ("properties", "patternProperties", "dependentSchemas", "dependencies")
_DEFINITIONS = ("$defs", "definitions")
_NUMBERS = (
    "minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
    "maxProperties", "minContains", "maxContains",
)  # fmt: skip
_STRINGS = ("format", "pattern", "contentEncoding", "contentMediaType")

DESCRIBING = frozenset(
    ("type", "enum", "const", "items", *_REFERENCES, *_LISTS_OF_SCHEMAS, *_SCHEMAS, *_MAPS_OF_SCHEMAS)
)
"""Keywords that restrict values. An object that has one of them is meant as a schema."""
ASSERTING = DESCRIBING | {*_NUMBERS, *_STRINGS, "required", "exclusiveMinimum", "exclusiveMaximum", "uniqueItems"} | {
    "dependentRequired", "contentSchema",
}  # fmt: skip
"""Keywords that say anything at all about values."""
KNOWN = ASSERTING | {
    *_DEFINITIONS, "$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$comment",
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
    "nullable", "discriminator", "xml", "externalDocs", "example",
}  # fmt: skip
"""All known keys: these keywords, annotations, and the keys that OpenAPI adds."""

TYPE_ALIASES = ("bsonType", "dataType", "datatype", "data_type", "fieldType", "field_type", "valueType")
"""The names of ``type`` in other schema languages."""

_GUESSED = ASSERTING - {"const", "not", "if", "then", "else"}
"""Keywords that are guessed for a misspelt key. The others are too similar to ordinary words such as cost and note."""


def unknown_keys(schema: Mapping[str, Any]) -> list[str]:
    """The keys of a schema that are no keywords, except for extensions, which begin with ``x-``."""
    return [k for k in schema if isinstance(k, str) and k not in KNOWN and not k.lower().startswith("x-")]


def likely_keyword(key: str) -> str | None:
    """The keyword that a key is a misspelling of; None if it resembles none."""
    plain = _plain(key)
    for keyword in sorted(_GUESSED):
        if plain == _plain(keyword):
            return keyword
    if len(plain) < 3:
        return None
    found: tuple[int, str] | None = None
    for keyword in sorted(_GUESSED):
        other = _plain(keyword)
        most = 2 if len(other) > 5 else 1
        if keyword in _REFERENCES and not key.startswith("$"):
            continue  # href is an ordinary word, not a misspelt keyword
        if abs(len(plain) - len(other)) <= most:
            distance = _distance(plain, other)
            if distance <= most and (found is None or distance < found[0]):
                found = distance, keyword
    return found and found[1]


def fits(keyword: str, value: Any) -> bool:
    """Whether a keyword can have this value in some draft, and the value looks as if it was meant for it."""
    if keyword == "type":
        types = value if isinstance(value, list) else [value]
        return bool(types) and all(isinstance(kind, str) and kind in TYPES for kind in types)
    if keyword in _REFERENCES or keyword in _STRINGS:
        return isinstance(value, str) or (keyword == "$recursiveRef" and value is not None)
    if keyword in _MAPS_OF_SCHEMAS:
        return isinstance(value, dict) and (
            not value or any(plausible(one) or isinstance(one, list) for one in value.values())
        )
    if keyword in _LISTS_OF_SCHEMAS or (keyword == "items" and isinstance(value, list)):
        return isinstance(value, list) and bool(value) and all(map(plausible, value))
    if keyword in ("enum", "required"):
        return isinstance(value, list) and (keyword == "enum" or all(isinstance(one, str) for one in value))
    if keyword in _NUMBERS:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if keyword in _SCHEMAS or keyword == "items":
        return plausible(value)
    return True


def plausible(value: Any) -> bool:
    """Whether a value may be meant as a schema: a boolean, or an object that restricts values or has known keys."""
    if isinstance(value, bool):
        return True
    return isinstance(value, dict) and (
        asserts(value) or not unknown_keys(value) or any(key in value for key in TYPE_ALIASES)
    )


def asserts(schema: Mapping[str, Any]) -> bool:
    """Whether a schema says anything about values."""
    return any(key in ASSERTING and fits(key, value) for key, value in schema.items())


def describes(schema: Any) -> bool:
    """Whether a value is an object with a keyword that restricts values."""
    return isinstance(schema, dict) and any(key in DESCRIBING and fits(key, value) for key, value in schema.items())


def inner_schemas(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The subschemas directly inside a schema, each with the keys that lead to it."""
    for keyword, value in schema.items():
        if keyword in _MAPS_OF_SCHEMAS or keyword in _DEFINITIONS:
            for name, one in value.items() if isinstance(value, dict) else ():
                yield (keyword, str(name)), one
        elif isinstance(value, list):
            if keyword in _LISTS_OF_SCHEMAS or keyword == "items":
                for index, one in enumerate(value):
                    yield (keyword, str(index)), one
        elif keyword in _SCHEMAS or keyword in ("items", "contentSchema"):
            yield (keyword,), value


def _plain(key: str) -> str:
    return re.sub(r"[\W_]+", "", key).lower()


def _distance(one: str, other: str) -> int:
    """The edit distance of two words; to swap neighbouring letters counts as one edit."""
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, against in enumerate(other, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != against))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == against:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
