"""Which values of an answer have to stand in the document, and what becomes of one that does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from kimi_beam.errors import ConfigError
from kimi_beam.schema.places import Places
from kimi_beam.schema.shapes import Term

ALL = "all"
"""The demand that names every value."""
_NULL = ":null"
"""What stands behind a field whose value becomes null instead of making its document a dead letter."""
_SHOWN_FIELDS = 12
Token: TypeAlias = str | Literal[0]
"""A key, or 0 for any item of an array."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A field whose values have to stand in the document.

    Attributes:
        path: The keys that lead to it, and 0 for each array; empty for the whole answer.
        becomes_null: Whether a value that stands nowhere becomes null.
    """

    path: tuple[Token, ...]
    becomes_null: bool = False

    def names(self, path: Sequence[str]) -> bool:
        """Whether a value is the field or inside of it.

        Args:
            path: The parts of its JSON Pointer, with the index of each item.
        """
        if len(path) < len(self.path):
            return False
        return all(
            part.isdecimal() if token == 0 else part == token for token, part in zip(self.path, path, strict=False)
        )


def demands_of(fields: Sequence[str], places: Places) -> tuple[Demand, ...]:
    """The demands of fields as a user writes them.

    Args:
        fields: ``all``, or properties: ``total``, ``seller.vat_id``, ``items.amount`` or ``/items/*/amount``; each
            perhaps with ``:null`` behind it.
        places: The places of the schema.

    Raises:
        ConfigError: A field is not in the schema, or is to become null and may not.
    """
    return tuple(_demand(field.strip(), places) for field in fields)


def _demand(written: str, places: Places) -> Demand:
    becomes_null = written.endswith(_NULL)
    field = written.removesuffix(_NULL)
    if not field:
        raise ConfigError("require_grounding: a field has no name")
    if field == ALL and places.member(places.root, ALL) is None:
        return Demand((), becomes_null)
    path: list[Token] = []
    place: Term | None = places.root
    parts = [_unescaped(part) for part in field[1:].split("/")] if field.startswith("/") else field.split(".")
    for part in parts:
        place = _into_items(place, path, places)
        if part == "*" and path and path[-1] == 0:
            continue
        inner = places.member(place, part)
        if inner is None:
            raise ConfigError(
                f"require_grounding: {field!r} is not in the schema: {part!r} is none of {_keys(place, places)}"
            )
        path.append(part)
        place = inner
    if becomes_null and place is not None and not _may_be_null(place, places):
        raise ConfigError(f"require_grounding: {written!r}: by the schema {field!r} may not be null")
    return Demand(tuple(path), becomes_null)


def _into_items(place: Term | None, path: list[Token], places: Places) -> Term | None:
    """The place of the innermost items, if a place is that of an array."""
    while place is not None and not places.shape(place).members and (items := places.item(place)) is not None:
        path.append(0)
        place = items
    return place


def _may_be_null(place: Term, places: Places) -> bool:
    """Whether a value may be null; of an object or array, whether any value in it may be."""
    shape = places.shape(place)
    if shape.members or shape.items is not None:
        return True
    return shape.null


def _keys(place: Term | None, places: Places) -> str:
    keys = list(places.shape(place).members) if place is not None else []
    more = f" and {len(keys) - _SHOWN_FIELDS} more" if len(keys) > _SHOWN_FIELDS else ""
    return f"{', '.join(keys[:_SHOWN_FIELDS])}{more}" if keys else "no properties"


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def parts_of(pointer: str) -> list[str]:
    """The parts of a JSON Pointer."""
    return [_unescaped(part) for part in pointer.split("/")[1:]]


def with_null(answer: Any, path: Sequence[str]) -> Any:
    """The answer with null at a place, sharing all that lies beside it with the one that is given."""
    if not path:
        return None
    head, rest = path[0], path[1:]
    if isinstance(answer, list):
        index = int(head)
        return [*answer[:index], with_null(answer[index], rest), *answer[index + 1 :]]
    return {**answer, head: with_null(answer[head], rest)}


def nullable(path: Sequence[str], places: Places) -> bool:
    """Whether the schema lets the value at a place of an answer be null."""
    place: Term | None = places.root
    for part in path:
        if place is None:
            return False
        is_item = part.isdecimal() and part not in places.shape(place).members
        place = places.item(place, int(part)) if is_item and places.item(place) else places.member(place, part)
    return place is not None and places.shape(place).null


def unmet(paths: Sequence[str], demands: Sequence[Demand]) -> Iterator[tuple[str, bool]]:
    """Of values that stand nowhere, those that have to stand in the document, and whether each may become null.

    Args:
        paths: The JSON Pointers of the values.
        demands: What has to stand there. Where two name a value, the one with the longer path counts.
    """
    for pointer in paths:
        parts = parts_of(pointer)
        naming = [demand for demand in demands if demand.names(parts)]
        if naming:
            yield pointer, max(naming, key=lambda demand: len(demand.path)).becomes_null
