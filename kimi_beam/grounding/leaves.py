"""The leaves of an answer: its strings, numbers and booleans, and which items of lists they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kimi_beam.grounding.ladder import NOWHERE, Found
from kimi_beam.grounding.number_spellings import Span
from kimi_beam.schema.additional import pointer
from kimi_beam.schema.places import Places
from kimi_beam.schema.shapes import Term


@dataclass(slots=True)
class Leaf:
    """A value of an answer that is neither null nor an object nor a list.

    Attributes:
        path: Its JSON Pointer.
        value: The value.
        is_choice: Whether it is chosen from a list of the schema, or true or false, so that no text has to state it.
        found: Where it stands.
        span: The place that was chosen; None if there is none.
        candidates: At how many places it may stand that nothing tells apart.
    """

    path: str
    value: Any
    is_choice: bool
    found: Found = NOWHERE
    span: Span | None = None
    candidates: int = 0


@dataclass(slots=True)
class Group:
    """An answer, or an item of a list in it.

    Attributes:
        leaves: Its leaves that are in no list.
        lists: Its lists, each as the groups of its items.
    """

    leaves: list[Leaf] = field(default_factory=list)
    lists: list[list[Group]] = field(default_factory=list)

    def all(self) -> Iterator[Leaf]:
        """Its leaves, then those of its lists."""
        yield from self.leaves
        for items in self.lists:
            for item in items:
                yield from item.all()


class Leaves(NamedTuple):
    """The leaves of an answer."""

    each: list[Leaf]
    """All of them, in the order of the answer."""
    root: Group
    """The same leaves by the items of lists."""


def leaves_of(answer: Any, places: Places) -> Leaves:
    """The leaves of an answer.

    Args:
        answer: The answer.
        places: The places of its schema.
    """
    found = Leaves([], Group())
    _add(found.each, found.root, answer, "", places.root, places)
    return found


def _add(each: list[Leaf], group: Group, value: Any, path: str, place: Term | None, places: Places) -> None:
    if value is None:
        return
    if isinstance(value, Mapping):
        for name, one in value.items():
            _add(each, group, one, pointer(path, name), places.member(place, name), places)
    elif isinstance(value, list):
        items = [Group() for _ in value]
        for index, (item, one) in enumerate(zip(items, value, strict=True)):
            _add(each, item, one, pointer(path, index), places.item(place, index), places)
        group.lists.append(items)
    else:
        leaf = Leaf(path, value, isinstance(value, bool) or places.is_choice(place))
        each.append(leaf)
        group.leaves.append(leaf)
