"""What typed cells cannot hold: kept beside them under its JSON Pointer, and put back from there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Place: TypeAlias = Callable[[int], "tuple[int, str]"]
"""The row and the JSON Pointer of a column's n-th value."""


def pointer(parent: str, token: str | int) -> str:
    """The JSON Pointer of a child (RFC 6901)."""
    return f"{parent}/{str(token).replace('~', '~0').replace('/', '~1')}"


def at_root(index: int) -> tuple[int, str]:
    """The place of a whole instance."""
    return index, ""


def member(parent: Place, token: str | int) -> Place:
    """The place of one member of each of some objects."""

    def place(index: int) -> tuple[int, str]:
        row, at = parent(index)
        return row, pointer(at, token)

    return place


def entry(parent: Place, starts: Sequence[int], keys: Sequence[str] | None) -> Place:
    """The place of the items of some lists, or of the entries of some maps.

    Args:
        parent: The place of the lists.
        starts: Where each list starts among all items.
        keys: The key of each entry; None where an item's token is its position.
    """

    def place(index: int) -> tuple[int, str]:
        # The last list that starts here: those before it that start here too are empty.
        owner = bisect_right(starts, index) - 1
        row, at = parent(owner)
        return row, pointer(at, index - starts[owner] if keys is None else keys[index])

    return place


class Aside:
    """What the cells of a batch do not hold.

    Attributes:
        rest: By row, JSON Pointer → value.
        suspects: Rows with a value that no cell of its kind could hold: either the schema says more than its columns
            or the instance is not valid.
        refused: Rows with a value that may not stand aside: its pointer, the keyword, and why.
    """

    def __init__(self) -> None:
        self.rest: dict[int, dict[str, Any]] = {}
        self.suspects: set[int] = set()
        self.refused: dict[int, tuple[str, str, str]] = {}

    def set_aside(self, where: tuple[int, str], value: Any, *, suspect: bool) -> None:
        """Keeps a value beside its cell."""
        row, at = where
        self.rest.setdefault(row, {})[at] = value
        if suspect:
            self.suspects.add(row)

    def add(self, other: Aside) -> None:
        """Takes in what another one holds."""
        for row, values in other.rest.items():
            self.rest.setdefault(row, {}).update(values)
        self.suspects |= other.suspects
        for row, reason in other.refused.items():
            self.refused.setdefault(row, reason)

    def refuse(self, where: tuple[int, str], keyword: str, reason: str) -> None:
        """Gives up a row, whose first reason counts."""
        self.refused.setdefault(where[0], (where[1], keyword, reason))


def put_back(instance: Any, rest: dict[str, Any]) -> Any:
    """The instance with what stood beside its cells.

    Raises:
        ValueError: A pointer leads nowhere: the rest is of another instance.
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
    # Items of a tuple that has no cell for them come one after the other.
    container.extend([None] * (index + 1 - len(container)))
    container[index] = value
