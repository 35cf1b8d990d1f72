"""`Row`: an answer, or an item of a list in it, as its single values by place, and its lists as rows of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

from kimi_beam.schema.additional import pointer
from kimi_beam.scoring.compared_places import Place

ANY_OF = "$any"
"""The key of an object in a gold that lists accepted values: ``{"$any": ["9.00", "9"]}``."""

_DEEPEST = 20
"""Items of lists that are this deep in others are compared position by position, so that the way down stays short."""

Address: TypeAlias = "Place | tuple[str, Place]"
"""Where a value stands in its row: its place; with the keys and positions on the way where the place does not say them
all, as in a map."""


class GoldError(ValueError):
    """A gold cannot be read; the message says where, and why."""


class Accepted:
    """Several values that a gold accepts at one place.

    Attributes:
        keys: What the accepted values are compared by.
        is_optional: Whether no value is accepted too.
    """

    __slots__ = ("is_optional", "keys")

    def __init__(self, keys: frozenset[Hashable], *, is_optional: bool) -> None:
        self.keys, self.is_optional = keys, is_optional


class Row:
    """The values of an answer, or of a list's item.

    Args:
        place: Where it stands.
        at: Its JSON Pointer in the answer.
        depth: In how many lists, one in another, it stands.

    Attributes:
        named: What each single value is compared by, by address. Of a gold it may be `Accepted`.
        lists: The items of each list.
        has_choice: Whether a value is `Accepted`, here or in a list.
    """

    def __init__(self, place: Place, at: str, depth: int = 0) -> None:
        self.place, self.at = place, at
        self.depth = depth
        self.named: dict[Address, Hashable] = {}
        self.lists: dict[Address, list[Row]] = {}
        self.has_choice = False

    @cached_property
    def size(self) -> int:
        """How many single values the row has, those of its lists included."""
        return len(self.named) + sum(item.size for items in self.lists.values() for item in items)

    @cached_property
    def rows(self) -> int:
        """How many rows this is, with those of its lists."""
        return 1 + sum(item.rows for items in self.lists.values() for item in items)

    @cached_property
    def pairs(self) -> frozenset[tuple[Address, Hashable]]:
        """The single values with their addresses."""
        return frozenset(self.named.items())

    @cached_property
    def content(self) -> Hashable:
        """Equal for rows with the same values, in whatever order their lists are."""
        if not self.lists:
            return self.pairs
        lists = ((at, frozenset(Counter(one.content for one in rows).items())) for at, rows in self.lists.items())
        return self.pairs, frozenset(lists)

    @cached_property
    def order(self) -> tuple[Any, ...]:
        """Sorts rows by their values, so that nothing depends on the order in which they came."""
        own = sorted((shown_address(at), _shown_key(key)) for at, key in self.named.items())
        lists = sorted((shown_address(at), sorted(one.order for one in rows)) for at, rows in self.lists.items())
        return tuple(own), tuple(lists)

    def pointer_to(self, address: Address) -> str:
        """The JSON Pointer of a value in its answer."""
        within = address[0] if isinstance(address, tuple) else address.pointer[len(self.place.pointer) :]
        return self.at + within


def shown_address(address: Address) -> str:
    """An address as a string, by which addresses are sorted."""
    return address[0] if isinstance(address, tuple) else address.pointer


def _shown_key(key: Hashable) -> str:
    return repr(sorted(map(repr, key.keys))) if isinstance(key, Accepted) else repr(key)


def row_of(answer: Any, place: Place) -> Row:
    """An answer as a row."""
    row = Row(place, "")
    _Reader(row, is_gold=False).read(answer, place, None)
    return row


def gold_row_of(gold: Any, place: Place) -> Row:
    """A gold as a row.

    Raises:
        GoldError: Accepted values are not listed as single values.
    """
    row = Row(place, "")
    _Reader(row, is_gold=True).read(gold, place, None)
    return row


class _Reader:
    """Puts values into a row."""

    __slots__ = ("_is_gold", "_row")

    def __init__(self, row: Row, *, is_gold: bool) -> None:
        self._row, self._is_gold = row, is_gold

    def read(self, value: Any, place: Place, way: str | None) -> None:
        """Reads one value.

        Args:
            value: The value.
            place: Where it stands.
            way: The pointer from the row to it; None if the place says it.
        """
        if place.is_ignored:
            return
        kind = type(value)
        if kind is dict:
            if self._is_gold and ANY_OF in value and len(value) == 1:
                self._read_choice(value[ANY_OF], place, way)
                return
            for name, one in value.items():
                if one is None:
                    continue
                inner = place.member(name)
                if inner is None:
                    self.read(one, place.values, pointer(self._way(place, way), name))
                else:
                    self.read(one, inner, way if way is None else pointer(way, name))
        elif kind is list:
            self._read_list(value, place, way)
        elif value is not None:
            self._row.named[place if way is None else (way, place)] = place.read(value)

    def _way(self, place: Place, way: str | None) -> str:
        return place.pointer[len(self._row.place.pointer) :] if way is None else way

    def _read_list(self, items: Sequence[Any], place: Place, way: str | None) -> None:
        here = self._way(place, way)
        rows: list[Row] = []
        for index, item in enumerate(items):
            at = pointer(here, index)
            position = place.position(index)
            if position is not None:
                self.read(item, position, way if way is None else at)
            elif place.is_ordered or self._row.depth >= _DEEPEST:
                self.read(item, place.items, at)
            elif item is not None:
                row = Row(place.items, self._row.at + at, self._row.depth + 1)
                _Reader(row, is_gold=self._is_gold).read(item, place.items, None)
                self._row.has_choice |= row.has_choice
                if row.named or row.lists:  # an item without any value says nothing
                    rows.append(row)
        if rows:
            self._row.lists[place if way is None else (way, place)] = rows

    def _read_choice(self, listed: Any, place: Place, way: str | None) -> None:
        at = self._row.at + self._way(place, way)
        if not isinstance(listed, list) or not any(one is not None for one in listed):
            raise GoldError(f"{at or '/'}: {ANY_OF} lists the accepted values, at least one that is not null")
        if any(isinstance(one, (dict, list)) for one in listed):
            raise GoldError(f"{at or '/'}: {ANY_OF} lists single values, no objects or arrays")
        keys = frozenset(place.read(one) for one in listed if one is not None)
        self._row.named[place if way is None else (way, place)] = Accepted(keys, is_optional=None in listed)
        self._row.has_choice = True


def value_at(answer: Any, at: str) -> Any:
    """The value of an answer at a JSON Pointer that `Row.pointer_to` gave."""
    for token in at.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        answer = answer[int(name)] if isinstance(answer, list) else answer[name]
    return answer


def listed_addresses(*rows: Mapping[Address, list[Row]]) -> Iterator[Address]:
    """The addresses of the lists of some rows, each once."""
    yield from dict.fromkeys(address for one in rows for address in one)
