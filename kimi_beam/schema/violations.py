"""The validator of a schema, made by `jsonschema-rs`, and the violations that it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

import jsonschema_rs

from kimi_beam.errors import SchemaError
from kimi_beam.schema.additional import pointer
from kimi_beam.schema.references import Scope, draft_of, unresolved
from kimi_beam.schema.source import Definition, line
from kimi_beam.schema.temporal import is_local_date_time, is_local_time

VALIDATORS = {
    "4": jsonschema_rs.Draft4Validator,
    "6": jsonschema_rs.Draft6Validator,
    "7": jsonschema_rs.Draft7Validator,
    "2019-09": jsonschema_rs.Draft201909Validator,
    "2020-12": jsonschema_rs.Draft202012Validator,
}


Formats: TypeAlias = "bool | Literal['local']"
"""Whether ``format`` asserts. ``local``: it does, but date-times and times may lack an offset."""

_RFC_3339 = {
    name: jsonschema_rs.validator_for({"format": name}, validate_formats=True, offline=True)
    for name in ("date-time", "time")
}
_OWN_FORMATS: dict[str, Callable[[str], bool]] = {"date-time-local": is_local_date_time, "time-local": is_local_time}
"""Formats from the OpenAPI Initiative's registry, which no draft of JSON Schema has."""
_LOCAL_FORMATS: dict[str, Callable[[str], bool]] = {
    **_OWN_FORMATS,
    "date-time": lambda text: is_local_date_time(text) or _RFC_3339["date-time"].is_valid(text),
    "time": lambda text: is_local_time(text) or _RFC_3339["time"].is_valid(text),
}


def is_of_format(name: str, value: Any, *, formats: Formats) -> bool:
    """Whether a value has a ``format``, by the same check as the validator of `compiled`."""
    own = _LOCAL_FORMATS if formats == "local" else _OWN_FORMATS
    if name in own:
        return not isinstance(value, str) or own[name](value)
    return bool(_validator_of_format(name).is_valid(value))


@cache
def _validator_of_format(name: str) -> Any:
    return jsonschema_rs.validator_for({"format": name}, validate_formats=True, offline=True)


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which an instance violates the schema.

    Attributes:
        path: JSON Pointer of the offending value in the instance; empty for the whole.
        keyword: The JSON Schema keyword that is violated; ``validator`` for a pydantic model's own checks.
        message: The violation as one line for a person.
    """

    path: str
    keyword: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or '(the answer)'}: {self.message} ({self.keyword})"


def violation(path: Iterable[str | int], keyword: str, message: str) -> Violation:
    """Makes a violation whose message is cut to one line of bounded length."""
    at = ""
    for token in path:
        at = pointer(at, token)
    return Violation(line(at, 200), keyword, line(message, 300))


def compiled(
    schema: Definition, draft: str | None, documents: Mapping[str, Any], scope: Callable[[], Scope], *, formats: Formats
) -> Any:
    """Compiles the validator of a schema.

    Args:
        schema: The schema.
        draft: Its draft; None: as its ``$schema`` says, else 2020-12.
        documents: The other schemas that it may refer to, by URI.
        scope: Returns the resolver of its references; called only for an error message.
        formats: Whether ``format`` asserts, and whether date-times and times may then lack an offset.

    Raises:
        SchemaError: The schema is invalid; the message names the path in it.
    """
    # From 0.61 on jsonschema-rs lets a named draft override ``$schema`` and its vocabularies. A custom metaschema of
    # the same draft is kept nevertheless, because it may leave keywords out.
    own = documents.get(str(schema.get("$schema")).rstrip("#")) if isinstance(schema, dict) else None
    if draft is None or (own is not None and draft_of(own) == draft):
        make = jsonschema_rs.validator_for
    else:
        make = VALIDATORS[draft]
    asserts, own_formats = bool(formats), _LOCAL_FORMATS if formats == "local" else _OWN_FORMATS
    try:
        if not documents:
            return make(schema, validate_formats=asserts, formats=own_formats, offline=True)

        def retrieve(uri: str) -> Any:
            if uri not in documents:
                raise ValueError(f"{uri} is not in the registry")
            return documents[uri]

        return make(schema, validate_formats=asserts, formats=own_formats, retriever=retrieve)
    except jsonschema_rs.ValidationError as e:
        at = "".join(pointer("", token) for token in e.instance_path)
        if not at and isinstance(schema, dict) and e.message.startswith("Unknown meta-schema"):
            raise SchemaError(
                f"$schema names no draft of JSON Schema: {line(str(schema['$schema']), 100)!r}. Name one there, or say "
                f"which one it is (draft=): {', '.join(VALIDATORS)}"
            ) from None
        lost = None if at else unresolved(scope())
        raise SchemaError(f"not a valid JSON Schema: at '{lost or at or '/'}': {line(e.message, 300)}") from None
    except (ValueError, TypeError, jsonschema_rs.ReferencingError) as e:
        raise SchemaError(f"not a usable JSON Schema: {line(str(e), 300)}") from None


def first_of(validator: Any, instance: Any) -> Violation | None:
    """The first violation, found in bounded memory; None if the instance is valid."""
    try:
        validator.validate(instance)
    except jsonschema_rs.ValidationError as e:
        return violation(e.instance_path, e.kind.name, e.message)
    return None


def all_of(validator: Any, instance: Any) -> list[Violation]:
    """All violations; an empty list if the instance is valid."""
    return [violation(e.instance_path, e.kind.name, e.message) for e in validator.iter_errors(instance)]
