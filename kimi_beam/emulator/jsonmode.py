"""JSON mode: decides whether a ``response_format`` is enforced, ignored or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.chat import unwrap
from kimi_beam.emulator.refusals import BadInput, Refused

_MOST_NODES: Final = 20_000
_UNIONS: Final = ("anyOf", "oneOf")


def form(response_format: object) -> Literal["openai", "bare"] | None:
    """Return which form it is: A, ``{name, schema, strict}``; or B, the bare schema; None for anything else."""
    if not isinstance(response_format, Mapping) or response_format.get("type") != "json_schema":
        return None
    written = response_format.get("json_schema")
    return "bare" if unwrap(written) is written else "openai"


def enforced(response_format: object, behaviour: Behaviour) -> bool:
    """Whether the schema of a response format shapes the answer."""
    return behaviour.enforce_schema and behaviour.schema_forms in ("both", form(response_format))


def check(response_format: object, model: str, behaviour: Behaviour) -> None:
    """Check a response format.

    Raises:
        BadInput: The type does not exist.
        Refused: 5025, the model has no JSON Schema mode [observed]; 5024, it cannot meet the schema [observed].
    """
    if response_format is None:
        return
    kinds = ("text", "json_object", "json_schema")
    if not isinstance(response_format, Mapping) or response_format.get("type") not in kinds:
        raise BadInput(f"'/response_format/type' must be one of {', '.join(kinds)}")
    if form(response_format) is None:
        return
    if model in behaviour.without_json_schema:
        raise Refused(5025)
    if behaviour.union_types == "accepted" or not enforced(response_format, behaviour):
        return
    any_of = behaviour.union_types == "any_of"
    if has_union(unwrap(response_format.get("json_schema")), any_of_counts=not any_of):
        raise not_met(behaviour)


def not_met(behaviour: Behaviour) -> Refused:
    """Return the refusal 5024 [documented: the text; observed: the code]."""
    return Refused(5024, status=behaviour.json_mode_status)


def has_union(schema: object, *, any_of_counts: bool = True) -> bool:
    """Whether a schema has a list of types or ``nullable: true`` anywhere, or ``anyOf`` or ``oneOf`` if they count."""
    left: list[Any] = [schema]
    for _ in range(_MOST_NODES):
        if not left:
            return False
        node = left.pop()
        if isinstance(node, list):
            left += node
        elif isinstance(node, Mapping):
            if isinstance(node.get("type"), list) or node.get("nullable") is True:
                return True
            if any_of_counts and any(isinstance(node.get(key), list) for key in _UNIONS):
                return True
            left += (value for key, value in node.items() if key not in ("enum", "const", "default", "examples"))
    return True  # a schema that is too large for this search counts as too dense to be met
