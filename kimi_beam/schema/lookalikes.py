"""Refuses values that look like a JSON Schema: a wrapper around one, bare properties, an example answer, a misspelling.

JSON Schema allows unknown keys and ignores them. So all of these would compile, every answer would be valid, and every
document would be paid for. A schema is refused if its root or one of its subschemas restricts nothing because of such a
key. Other keys that look misspelt are doubts: they are shown and stop nothing. ``{}`` and true are accepted, because
they allow anything on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any
from urllib.parse import unquote

from kimi_beam.schema.additional import pointer
from kimi_beam.schema.spelling import (
    DESCRIBING,
    TYPE_ALIASES,
    asserts,
    describes,
    fits,
    inner_schemas,
    likely_keyword,
    unknown_keys,
)

_MOST_PLACES = 50_000
_MOST_DOUBTS = 20
_DEFINITIONS = ("$defs", "definitions")
_CLOSING = ("additionalProperties", "unevaluatedProperties")
_TELLS_THE_MODEL = ("description", "examples", "default", "example")
_WRAPPERS = ("schema", "json_schema", "parameters", "input_schema", "inputSchema", "response_schema", "responseSchema")
_API_DESCRIPTIONS = {
    "openapi": "an OpenAPI document",
    "swagger": "a Swagger document",
    "asyncapi": "an AsyncAPI document",
}


def refusal(schema: Any) -> str | None:
    """Why a JSON value that compiles as a schema is refused, in one line; None if it is accepted."""
    if not isinstance(schema, dict):
        return _of_another_kind(schema)
    if not all(isinstance(key, str) for key in schema):
        return "it has a key that is no string"
    if not schema or describes(schema):
        return next(chain(_empty_subschemas(schema), empty_targets(schema, _references(schema))), None)
    if unknown_keys(schema):
        return _of_unknown_keys(schema)
    if asserts(schema) or any(key in schema for key in ("type", "properties", "items")):
        return None  # a keyword with a wrong value is better explained by the validator
    names = [f"#/{keyword}/{name}" for keyword in _DEFINITIONS for name in _names(schema.get(keyword))]
    if names:
        return (
            "it holds definitions and says nothing of the answer: refer to one of them, such as "
            f'"$ref": "{names[0]}"{_others(names[1:])}'
        )
    if inside := _where(schema, objects_only=True):
        return f"it looks like {_wrapper(schema)}: the schema itself seems to stand at '{inside}'. Give that alone"
    if not any(key in schema for key in _TELLS_THE_MODEL):
        return f"it says nothing of the answer: {_listed(list(schema))} alone. To take any JSON, give {{}} or true"
    return None


def empty_targets(document: Any, references: Iterable[str]) -> Iterator[str]:
    """Why parts of a document that are referred to are no schemas, one line for each such part.

    Args:
        document: A JSON value that holds schemas.
        references: References to its parts: ``#`` and a JSON Pointer, or ``#`` alone. Other references are ignored.
    """
    for reference in dict.fromkeys(references):
        target = _target(document, reference) if reference[:2] in ("#", "#/") else None
        if isinstance(target, dict) and target and not describes(target) and _strange(target):
            yield f"at '{reference[1:] or '/'}', which is referred to: {_of_unknown_keys(target)}"


def _target(document: Any, reference: str) -> Any:
    for token in reference.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and key.isdecimal() and int(key) < len(document):
            document = document[int(key)]
        else:
            document = document.get(key) if isinstance(document, dict) else None
    return document


def doubts(schema: Any) -> list[str]:
    """The keys of a schema that look misspelt and are therefore ignored: a line for each, at most 20."""
    found: list[str] = []
    for path, place, _ in _subschemas(schema) if isinstance(schema, dict) else ():
        for key in _strange(place):
            keyword = likely_keyword(key)
            if keyword is not None and keyword not in place and fits(keyword, place[key]):
                found.append(f"{key!r} at '{path or '/'}' is no keyword and is not heeded: {keyword!r}?")
            elif isinstance(place.get("properties"), dict) and describes(place[key]) and key not in place["properties"]:
                found.append(f"{key!r} at '{path or '/'}' is not heeded: it stands beside \"properties\", not in it")
        if len(found) >= _MOST_DOUBTS:
            break
    return found[:_MOST_DOUBTS]


# ------------------------------------------------------------------------------------------------ the root


def _of_another_kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, list):
        schemas = sum(isinstance(one, dict) and bool(describes(one)) for one in value)
        if schemas:
            return f"it is an array of {len(value)}, not an object: give one of them, the first being at '/0'"
        inside = _where(value)
        return "it is an array, not an object" + (f": a schema seems to stand at '{inside}'" if inside else "")
    if isinstance(value, str):
        again = " (it was written as JSON twice)" if value.lstrip()[:1] in ("{", "[") else ""
        return f"it is a string, not an object{again}"
    return f"it is {'null' if value is None else 'a number'}, not an object"


def _of_unknown_keys(schema: dict[str, Any]) -> str:
    """What an object whose keys restrict no values seems to be, for the refusal."""
    for key, words in _API_DESCRIPTIONS.items():
        if key in schema:
            return f"it looks like {words}{_components(schema)}"
    strange = unknown_keys(schema)
    kind = schema.get("type")
    if isinstance(kind, str) and kind in ("record", "enum", "fixed", "map", "error") and not describes(schema):
        return "it looks like an Avro schema: write it as a JSON Schema"
    objects = [key for key in strange if isinstance(schema[key], dict)]
    wrapped = _where(schema, objects_only=True)
    bare = [key for key in strange if describes(schema[key])]
    is_wrapper = len(bare) == 1 and (bare[0] in _WRAPPERS or "properties" in schema[bare[0]])
    if len(bare) == len(strange) and not is_wrapper:
        misspelt = next((hint for hint in map(likely_keyword, strange) if hint), None)
        if misspelt is None or len(strange) > 1:
            return (
                f"it looks like bare properties ({_listed(strange)}): write "
                '{"type": "object", "properties": {…}} around them'
            )
    for key in strange:
        keyword = likely_keyword(key)
        if keyword is not None and fits(keyword, schema[key]):
            return f"none of its keys says which values there are: {key!r} is no keyword, {keyword!r} is"
    if wrapped:
        return f"it looks like {_wrapper(schema)}: the schema itself seems to stand at '{wrapped}'. Give that alone"
    if objects and (inside := _where(schema)):
        return f"none of its keys ({_listed(strange)}) is a keyword: a schema seems to stand at '{inside}'"
    return (
        f"it looks like an example answer, not a schema: none of its keys ({_listed(strange)}) is a keyword of JSON "
        'Schema. Write {"type": "object", "properties": {…}} with a schema for each key'
    )


def _wrapper(schema: dict[str, Any]) -> str:
    if schema.get("type") == "function" or "parameters" in schema or "input_schema" in schema or "tools" in schema:
        return "the declaration of a function or tool"
    if "json_schema" in schema or schema.get("type") == "json_schema" or "response_format" in schema:
        return "a response_format"
    if "strict" in schema or "name" in schema:
        return "OpenAI's wrapper around a schema"
    return "something around a schema"


def _components(schema: dict[str, Any]) -> str:
    components = schema.get("components")
    held = components.get("schemas") if isinstance(components, dict) else None
    path = "/components/schemas" if held else "/definitions"
    names = _names(held or schema.get("definitions"))
    if not names:
        return ", not like a schema"
    return (
        f": its schemas stand under '{path}' ({_listed(names)}). Give one of them: a file beside it that says "
        f'{{"$ref": "FILE#{path}/{names[0]}"}} does'
    )


def _where(value: Any, *, objects_only: bool = False) -> str | None:
    """The JSON Pointer of the topmost schema inside a value that is no schema; schemas of objects come first.

    Args:
        value: A JSON value.
        objects_only: Whether to find only schemas of objects, and references to a definition.
    """
    waiting: list[tuple[str, Any]] = [("", value)]
    first: str | None = None
    for path, one in waiting:  # a search breadth first: the list grows while it is read
        if path and isinstance(one, dict):
            members = one.get("properties")
            if (isinstance(members, dict) and fits("properties", members)) or isinstance(one.get("$ref"), str):
                return path
            if any(key in one for key in ("allOf", "anyOf", "oneOf")) and describes(one):
                return path
            if one.get("type") in ("object", "array") and describes(one):
                return path
            if first is None and describes(one):
                first = path
        if len(waiting) < 5_000 and path.count("/") < 8:
            inner = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
            waiting += [(pointer(path, key), sub) for key, sub in inner if isinstance(sub, (dict, list))]
    return None if objects_only else first


# ------------------------------------------------------------------------------------------------ each place


def _empty_subschemas(schema: dict[str, Any]) -> Iterator[str]:
    referred: list[str] | None = None
    for path, place, is_definition in _subschemas(schema):
        if not _strange(place):
            continue
        reason = _misspelling(place)
        if reason is None and not is_definition and (bare := _bare(place)):
            # A part that the schema itself refers to is known to its author not to be a keyword.
            referred = list(_references(schema)) if referred is None else referred
            if not any(one.startswith(f"#{pointer(path, key)}") for one in referred for key in bare):
                reason = _would_stand(path, place, bare)
        if reason is None and not is_definition and path and _is_example(place):
            reason = f"it looks like an example, not a schema: none of its keys ({_listed(list(place))}) is a keyword"
        if reason is not None:
            yield f"at '{path or '/'}': {reason}"


def _misspelling(place: dict[str, Any]) -> str | None:
    """The misspelt keyword because of which a place restricts nothing, or nothing but the type."""
    silent, content = not asserts(place), _has_content(place)
    for key in _strange(place):
        keyword = likely_keyword(key)
        if keyword is None or keyword in place or not fits(keyword, place[key]):
            keyword = None
        if keyword is not None and (silent or (keyword in DESCRIBING and not content)):
            return f"{key!r} is no keyword of JSON Schema and would not be heeded: {keyword!r} is"
        if silent and key in TYPE_ALIASES and isinstance(place[key], str):
            return f"{key!r} is no keyword of JSON Schema and would not be heeded: 'type' is"
    return None


def _has_content(place: dict[str, Any]) -> bool:
    return describes({key: value for key, value in place.items() if key != "type"})


def _bare(place: dict[str, Any]) -> list[str]:
    """The unknown keys that hold schemas, of an object or array whose members or items are not described otherwise."""
    kinds = place.get("type", "object")
    # `additionalProperties: false` and the like do not describe the properties themselves, so they are ignored here.
    described = {key: value for key, value in place.items() if value is not False or key not in _CLOSING}
    if _has_content(described) or not {"object", "array"} & set(kinds if isinstance(kinds, list) else [str(kinds)]):
        return []
    return [key for key in _strange(place) if _holds_schemas(place[key])]


def _is_example(place: dict[str, Any]) -> bool:
    """Whether an object has several keys, of which none belongs to a schema, so that it looks like an answer."""
    return len(place) > 1 and len(_strange(place)) == len(place)


def _would_stand(path: str, place: dict[str, Any], bare: list[str]) -> str:
    if place.get("type") == "array":
        return f'{_listed(bare)} would not be heeded: the schema of the items stands under "items"'
    if len(bare) == 1 and isinstance(place[bare[0]], dict) and isinstance(place[bare[0]].get("properties"), dict):
        return f"{bare[0]!r} would not be heeded, though it holds the schema as it seems: give that alone"
    described = f'{_listed(bare)} would not be heeded: properties stand under "properties"'
    if not describes(place[bare[0]]) and (inside := _where(place[bare[0]], objects_only=True)):
        described += f" (a schema seems to stand at '{pointer(path, bare[0])}{inside}')"
    return described


def _holds_schemas(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return describes(value) or (bool(inner) and all(map(describes, inner))) or bool(_where(value, objects_only=True))


def _references(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(one.get("$ref"), str):
                yield unquote(one["$ref"])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _strange(place: dict[str, Any]) -> list[str]:
    """Keys that are no keywords. A leading ``_`` disables a keyword on purpose and is accepted."""
    return [key for key in unknown_keys(place) if not key.startswith("_")]


def _subschemas(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Each place with its JSON Pointer, and whether it is a definition, which may hold others."""
    waiting: list[tuple[str, Any, bool]] = [("", schema, False)]
    for _ in range(_MOST_PLACES):
        if not waiting:
            return
        path, place, is_definition = waiting.pop()
        if not isinstance(place, dict):
            continue
        yield path, place, is_definition
        inner = []
        for tokens, one in inner_schemas(place):
            below = path
            for token in tokens:
                below = pointer(below, token)
            if tokens[0] != "not":
                inner.append((below, one, tokens[0] in _DEFINITIONS))
        waiting += reversed(inner)


# ------------------------------------------------------------------------------------------------ words


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, dict) else []


def _listed(names: list[str], most: int = 5) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:most])
    return f"{shown}, …" if len(names) > most else shown


def _others(names: list[str]) -> str:
    return f" (there are {len(names) + 1})" if names else ""
