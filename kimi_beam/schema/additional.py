"""Values that typed cells cannot hold: kept in ``_additional`` under their JSON Pointers, and put back when read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from kimi_beam.schema import jsontext

Place: TypeAlias = Callable[[int], "tuple[int, str]"]
"""A function that gives the row and the JSON Pointer of a column's n-th value."""


def pointer(parent: str, token: str | int) -> str:
    """The JSON Pointer of a child (RFC 6901)."""
    return f"{parent}/{str(token).replace('~', '~0').replace('/', '~1')}"


def at_root(index: int) -> tuple[int, str]:
    """The row and pointer of a whole instance, the n-th of a batch."""
    return index, ""


def member(parent: Place, token: str | int) -> Place:
    """The places of one member of a column of objects."""

    def place(index: int) -> tuple[int, str]:
        row, at = parent(index)
        return row, pointer(at, token)

    return place


def entry(parent: Place, starts: Sequence[int], keys: Sequence[str] | None) -> Place:
    """The places of the items of a column of lists, or of the entries of a column of maps.

    Args:
        parent: The places of the lists or maps.
        starts: The index of each list's first item among the items of all lists.
        keys: The key of each entry of maps; None for lists, whose items are numbered.
    """

    def place(index: int) -> tuple[int, str]:
        # Of several lists that start at the same index all but the last are empty, so the last one has the item.
        owner = bisect_right(starts, index) - 1
        row, at = parent(owner)
        return row, pointer(at, index - starts[owner] if keys is None else keys[index])

    return place


class Additional:
    """The values of a batch that its typed cells do not hold.

    Attributes:
        rest: By row, a mapping of JSON Pointer to value: the content of ``_additional``.
        suspects: Rows with a value of a wrong type for its column. Either the instance is invalid, or the schema allows
            more than its columns do; the validator decides.
        refused: By row, the pointer, keyword and reason of a value that may not be set aside, so that the row fails.
    """

    def __init__(self) -> None:
        self.rest: dict[int, dict[str, Any]] = {}
        self.suspects: set[int] = set()
        self.refused: dict[int, tuple[str, str, str]] = {}

    def set_aside(self, location: tuple[int, str], value: Any, *, suspect: bool) -> None:
        """Keeps a value in ``_additional`` because its cell cannot hold it.

        Args:
            location: The row and the JSON Pointer of the value.
            value: The value.
            suspect: Whether the value may make the instance invalid.
        """
        row, at = location
        self.rest.setdefault(row, {})[at] = value
        if suspect:
            self.suspects.add(row)

    def without_text(self) -> Iterator[tuple[int, str]]:
        """The rows whose values cannot be written as JSON, each with the reason."""
        for row, values in self.rest.items():
            try:
                jsontext.dumps(values)
            except (TypeError, ValueError, RecursionError) as e:
                yield row, f"has no JSON text: {e}"

    def add(self, other: Additional) -> None:
        """Adds the values of another batch part."""
        for row, values in other.rest.items():
            self.rest.setdefault(row, {}).update(values)
        self.suspects |= other.suspects
        for row, reason in other.refused.items():
            self.refused.setdefault(row, reason)

    def refuse(self, location: tuple[int, str], keyword: str, reason: str) -> None:
        """Fails a row; the first reason given for a row is kept."""
        self.refused.setdefault(location[0], (location[1], keyword, reason))


def put_back(instance: Any, rest: dict[str, Any]) -> Any:
    """Puts the values of ``_additional`` back into the instance that was read from the typed columns.

    Raises:
        ValueError: A pointer leads nowhere, so the values belong to another instance.
    """
    if "" in rest:
        return rest[""]
    for at, value in rest.items():
        try:
            _put(instance, at.split("/")[1:], value)
        except (LookupError, ValueError, TypeError):
            raise ValueError(f"the JSON Pointer {at!r} leads nowhere in its row") from None
    return instance


def _put(container: Any, tokens: list[str], value: Any) -> None:
    *way, last = (token.replace("~1", "/").replace("~0", "~") for token in tokens)
    for token in way:
        container = container[int(token)] if isinstance(container, list) else container[token]
    if not isinstance(container, list):
        container[last] = value
        return
    index = int(last)
    # Items beyond the cells of a tuple follow each other, so the list grows one by one.
    container.extend([None] * (index + 1 - len(container)))
    container[index] = value
