"""The schema for a part of a document: the same as that of the whole, but nothing in it is required.

A part holds some of the values, so that whatever counts members or items, or depends on which of them are there, cannot
be asked of it. The types and spellings of values are: an answer with a wrong one is asked for again, for that part
alone.

A reference may lead into what is left out, as ``{"$ref": "#/if/properties/total"}`` does. All that is left out then
stands among the definitions of its place, and the references are rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

_LEFT_OUT = frozenset(
    {
        "required", "minItems", "minProperties", "contains", "minContains", "maxContains", "uniqueItems",
        "dependentRequired", "dependentSchemas", "dependencies", "if", "then", "else", "not", "x-check",
    }
)  # fmt: skip
_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMAS = (
    "items", "additionalProperties", "additionalItems", "propertyNames", "unevaluatedProperties", "unevaluatedItems"
)  # fmt: skip
_MOVED_SCHEMAS = ("contains", "if", "then", "else", "not")
_MOVED_MAPS = ("dependentSchemas", "dependencies")
_MOVED_LISTS = ("oneOf",)
_NAMES = ("$id", "id", "$anchor", "$dynamicAnchor")
_REFERENCES = ("$ref", "$dynamicRef")


def for_parts(schema: Any, documents: Mapping[str, Any], draft: str) -> tuple[Any, dict[str, Any]]:
    """The schema of a part.

    Args:
        schema: The JSON Schema of the whole document. It is not changed.
        documents: The other schemas that it refers to, by URI.
        draft: The draft of the schema, as `kimi_beam.schema.references.draft_of` names it.

    Returns:
        The schema of a part, and the other schemas as they are for parts.
    """
    everything = [schema, *documents.values()]
    keeps = any(map(_leads_into_the_left_out, everything))
    make = _PartSchema(("definitions" if draft in ("4", "6", "7") else "$defs") if keeps else None)
    return make.of(schema), {uri: make.of(document) for uri, document in documents.items()}


@dataclass(frozen=True)
class _PartSchema:
    """Makes schemas of parts.

    Attributes:
        definitions: The keyword under which what is left out stays, so that references find it; None if none does.
    """

    definitions: str | None

    def of(self, schema: Any) -> Any:
        """The schema for a part, of the schema of the whole."""
        if not isinstance(schema, Mapping):
            return schema
        found = {key: self._inner(key, value) for key, value in schema.items() if key not in _LEFT_OUT}
        branches = found.pop("oneOf", None)
        if isinstance(branches, list):  # without required members, one object may fit several branches
            if "anyOf" in found:
                found["allOf"] = [*(found.get("allOf") or ()), {"anyOf": branches}]
            else:
                found["anyOf"] = branches
        if self.definitions is not None and (moved := {name: self.of(one) for name, one in _moved(schema)}):
            found[self.definitions] = {**(found.get(self.definitions) or {}), **moved}
        return found

    def _inner(self, keyword: str, value: Any) -> Any:
        if keyword in _OF_SCHEMAS and isinstance(value, Mapping):
            return {name: self.of(one) for name, one in value.items()}
        if isinstance(value, list) and (keyword in _LISTS or keyword == "items"):
            return [self.of(one) for one in value]
        if self.definitions is not None and keyword in _REFERENCES and isinstance(value, str):
            return self._moved_reference(value)
        return self.of(value) if keyword in _SCHEMAS else value

    def _moved_reference(self, reference: str) -> str:
        """A reference to where its target stands in the schema for parts."""
        uri, mark, fragment = reference.partition("#")
        if not fragment.startswith("/"):
            return reference
        steps: list[str] = []
        for keyword, keys in _places(fragment):
            is_moved = keyword in (*_MOVED_SCHEMAS, *_MOVED_MAPS, *_MOVED_LISTS)
            steps += [str(self.definitions), _name(keyword, *keys)] if is_moved else [keyword, *keys]
        return f"{uri}{mark}/{'/'.join(quote(_escaped(step)) for step in steps)}"


def _moved(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas inside a schema that are left out or stand elsewhere for parts, each with its name there."""
    for keyword in _MOVED_SCHEMAS:
        if keyword in schema:
            yield _name(keyword), schema[keyword]
    for keyword in _MOVED_MAPS:
        if isinstance(inner := schema.get(keyword), Mapping):
            yield from (
                (_name(keyword, str(key)), one) for key, one in inner.items() if isinstance(one, (Mapping, bool))
            )
    for keyword in _MOVED_LISTS:
        if isinstance(inner := schema.get(keyword), list):
            yield from ((_name(keyword, str(index)), one) for index, one in enumerate(inner))


def _name(keyword: str, *keys: str) -> str:
    return "-".join(("x", keyword, *keys))


def _leads_into_the_left_out(schema: Any) -> bool:
    """Whether a reference may lead into what is left out: by its place there, or by a name that is given there."""
    waiting = [(schema, False)]
    while waiting:
        one, is_left_out = waiting.pop()
        if isinstance(one, list):
            waiting += [(inner, is_left_out) for inner in one]
        if not isinstance(one, Mapping):
            continue
        for key, value in one.items():
            if key in _REFERENCES and isinstance(value, str):
                moved = (*_MOVED_SCHEMAS, *_MOVED_MAPS, *_MOVED_LISTS)
                if any(keyword in moved for keyword, _ in _places(value.partition("#")[2])):
                    return True
            if is_left_out and key in _NAMES and isinstance(value, str):
                return True
            waiting.append((value, is_left_out or key in _MOVED_SCHEMAS or key in _MOVED_MAPS))
    return False


def _places(pointer: str) -> Iterator[tuple[str, list[str]]]:
    """The keywords that a JSON pointer goes through, each with the key or index that follows it."""
    tokens = [_unescaped(unquote(token)) for token in pointer.split("/")[1:]]
    position = 0
    while position < len(tokens):
        keyword = tokens[position]
        has_key = keyword in _OF_SCHEMAS or keyword in _LISTS or keyword in _MOVED_MAPS
        has_index = keyword == "items" and tokens[position + 1 : position + 2] and tokens[position + 1].isdecimal()
        end = position + (2 if has_key or has_index else 1)
        yield keyword, tokens[position + 1 : end]
        position = end


def _escaped(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")


def _unescaped(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")
