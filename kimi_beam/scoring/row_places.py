"""Where the values of the items of lists stand beside each other: each item has a row of the text, as a table has."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kimi_beam.scoring.answer_leaves import AnswerLeaf

_FOUND = frozenset(("exact", "normalised", "number", "date"))
_NEAR = 40
"""A value that is no more characters away than this from the others of its item stands in the item's row."""
_FEWEST_NEIGHBOURS = 2
_FEWEST_IN_ROW = 3
"""From so many values on that were found the row of an item is told, as one that stands elsewhere is outvoted."""


class Place(NamedTuple):
    """Where a value stands in its document: what the column `_grounding` says of it."""

    match: str
    start: int | None
    end: int | None
    candidates: int

    @property
    def is_found(self) -> bool:
        """Whether the value stands in the text, as it is or in another spelling."""
        return self.match in _FOUND and self.start is not None


class _Value(NamedTuple):
    """A value of an item that was found."""

    field: str
    pointer: str
    start: int
    end: int | None


class _Away(NamedTuple):
    """How far a value stands from where its field stands in a row, in characters."""

    own: int
    """In the row of its item."""
    nearest: int
    """In the row that is the nearest one."""


class RowPlaces:
    """The places of the values of one answer, by the items of its lists.

    Args:
        leaves: The leaves of the answer.
        places: Where they stand, by their JSON Pointers.
    """

    def __init__(self, leaves: Sequence[AnswerLeaf], places: Mapping[str, Place]) -> None:
        self._items: defaultdict[str, list[_Value]] = defaultdict(list)
        for leaf in leaves:
            place = places.get(leaf.pointer)
            if leaf.item and place is not None and place.is_found and place.start is not None:
                self._items[leaf.item].append(_Value(leaf.field, leaf.pointer, place.start, place.end))
        values = [one for found in self._items.values() for one in found]
        self._away = dict(_told(_by_list(self._items)))
        self._sharing: defaultdict[tuple[str, int, int | None], list[str]] = defaultdict(list)
        for one in values:
            self._sharing[one.field, one.start, one.end].append(one.pointer)
        self._count = Counter(one.field for one in values)
        self._shared = Counter(one.field for one in values if len(self._sharing[one.field, one.start, one.end]) > 1)
        self._strayed = Counter(one.field for one in values if self._has_strayed(one.pointer))

    def signals(self, leaf: AnswerLeaf, place: Place) -> Iterator[tuple[str, float]]:
        """What the places of the other values say of a value, each signal with its degree from 0 to 1.

        Args:
            leaf: The value.
            place: Where it stands.
        """
        if not leaf.item or place.start is None or not place.is_found:
            return
        if self._has_strayed(leaf.pointer):
            # Where the values of a field stand in other rows as a rule, the table is no table of rows.
            yield "other_row", (1 - self._strayed[leaf.field] / self._count[leaf.field]) ** 2
        sharing = self._sharing[leaf.field, place.start, place.end]
        if len(sharing) > 1 and not self._is_owner(leaf.pointer, sharing):
            # Of a column whose value is printed once for all rows, all share it.
            yield "same_place", 1 - self._shared[leaf.field] / self._count[leaf.field]
        others = [one.start for one in self._items[leaf.item] if one.pointer != leaf.pointer]
        if len(others) >= _FEWEST_NEIGHBOURS:
            first, last = min(others), max(others)
            away = self._away.get(leaf.pointer)
            distance = max(first - place.start, place.start - last) if away is None else away.own
            if distance > max(_NEAR, last - first):
                yield "apart", 1.0

    def _has_strayed(self, pointer: str) -> bool:
        """Whether a value stands in another row than its item; False if nobody knows."""
        away = self._away.get(pointer)
        return away is not None and away.nearest < away.own

    def _is_owner(self, pointer: str, sharing: Sequence[str]) -> bool:
        """Whether a value stands in its own row, and others that share its place do not."""
        is_at_home = pointer in self._away and not self._has_strayed(pointer)
        return is_at_home and any(map(self._has_strayed, sharing))


def _told(lists: Iterable[Sequence[Sequence[_Value]]]) -> Iterator[tuple[str, _Away]]:
    """The pointers of the values whose items have known rows, each with how far away it stands."""
    for items in lists:
        rows = [found for found in items if len(found) >= _FEWEST_IN_ROW]
        starts = [_middle(one.start for one in found) for found in rows]
        offsets: dict[str, int] = {}
        # A column stands as far from the start of each row; by its columns the start of a row is told again.
        for _ in range(2):
            away: defaultdict[str, list[int]] = defaultdict(list)
            for start, found in zip(starts, rows, strict=True):
                for one in found:
                    away[one.field].append(one.start - start)
            offsets = {name: _middle(each) for name, each in away.items()}
            starts = [_middle(one.start - offsets[one.field] for one in found) for found in rows]
        ordered = sorted(starts)
        for start, found in zip(starts, rows, strict=True):
            for one in found:
                at = one.start - offsets[one.field]
                yield one.pointer, _Away(abs(at - start), _nearest(ordered, at))


def _by_list(items: Mapping[str, list[_Value]]) -> Iterable[list[list[_Value]]]:
    """The items by their list: those of one list are the rows of one table."""
    found: defaultdict[str, list[list[_Value]]] = defaultdict(list)
    for at, values in items.items():
        found[at.rpartition("/")[0]].append(values)
    return found.values()


def _middle(numbers: Iterable[int]) -> int:
    """The median; of two in the middle the lesser."""
    ordered = sorted(numbers)
    return ordered[(len(ordered) - 1) // 2]


def _nearest(ordered: Sequence[int], at: int) -> int:
    """How far the nearest of some numbers is."""
    index = bisect_left(ordered, at)
    return min(abs(at - one) for one in ordered[max(0, index - 1) : index + 1])
