"""Votes on several answers for one document, value by value: what most of them say counts, and of a tie the first.

Items of lists are told from each other by their values and not by their number: those of each answer are paired with
those of the others by the best assignment, as a score pairs them with gold. An item stays that most answers have.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kimi_beam.schema import jsontext
from kimi_beam.schema.additional import pointer
from kimi_beam.scoring.compared_places import Place
from kimi_beam.scoring.flat_rows import Row, row_of
from kimi_beam.scoring.row_pairing import pair

_ABSENT: Final = object()
_MOST_NAMED = 1_000
"""So many values on which answers disagree are named."""


@dataclass(frozen=True, slots=True)
class Voted:
    """What several answers say together.

    Attributes:
        value: The answer.
        disagreements: The JSON Pointers of its values on which not all agree, each with how many answers have the
            value that counts.
        left_out: How many items of lists were left out because most answers do not have them.
    """

    value: Any
    disagreements: Mapping[str, int]
    left_out: int


def vote(answers: Sequence[Any], root: Place) -> Voted:
    """What several answers for one document say together.

    Args:
        answers: The answers as JSON values, the first one first; at least one.
        root: The places of their schema.
    """
    ballot = _Ballot(len(answers))
    value = ballot.value(answers, root, "")
    named = sorted(ballot.disagreements.items(), key=lambda one: one[1])[:_MOST_NAMED]
    return Voted(value, dict(named), ballot.left_out)


@dataclass
class _Ballot:
    voters: int
    disagreements: dict[str, int] = field(default_factory=dict)
    left_out: int = 0

    def value(self, values: Sequence[Any], place: Place, at: str) -> Any:
        """What counts at one place; `_ABSENT` if most answers have nothing there.

        Args:
            values: What the answers have there that have the object or item around it.
            place: The place.
            at: Its JSON Pointer.
        """
        chosen = _most([_kind(one, place) for one in values])
        agreeing = [values[index] for index in chosen]
        first = agreeing[0]
        if isinstance(first, dict):
            return self._object(agreeing, place, at)
        if isinstance(first, list):
            return self._list(agreeing, place, at)
        if len(agreeing) < self.voters:
            self.disagreements[at] = len(agreeing)
        return first

    def _object(self, values: Sequence[Mapping[str, Any]], place: Place, at: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in dict.fromkeys(name for one in values for name in one):
            inner = place.member(name) or place.values
            value = self.value([one.get(name, _ABSENT) for one in values], inner, pointer(at, name))
            if value is not _ABSENT:
                found[name] = value
        return found

    def _list(self, lists: Sequence[Sequence[Any]], place: Place, at: str) -> list[Any]:
        if place.is_ordered or place.position(0) is not None:
            most = _most(list(map(len, lists)))
            lists = [lists[index] for index in most]
            return [
                self.value(items, place.position(index) or place.items, pointer(at, index))
                for index, items in enumerate(zip(*lists, strict=True))
            ]
        found: list[Any] = []
        for items in _paired(lists, place.items):
            is_of_most = 2 * len(items) > len(lists)
            is_tie = 2 * len(items) == len(lists) and 0 in items
            if is_of_most or is_tie:
                found.append(self.value(list(items.values()), place.items, pointer(at, len(found))))
            else:
                self.left_out += 1
        return found


def _most(keys: Sequence[Hashable]) -> list[int]:
    """The indices of the key that most have; of several such keys, that of the first index."""
    where: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        where.setdefault(key, []).append(index)
    return max(where.values(), key=len)


def _kind(value: Any, place: Place) -> Hashable:
    """What has to be equal for two answers to agree: the single value, or that there is an object or a list."""
    if value is None or value is _ABSENT:
        return None
    if isinstance(value, (dict, list)):
        return type(value)
    read: Callable[[Any], Hashable] = place.read
    return jsontext.canonical(value) if place.is_ignored else ("value", read(value))


def _paired(lists: Sequence[Sequence[Any]], place: Place) -> list[dict[int, Any]]:
    """The items of several lists that belong together, each group by the index of its list, in the lists' order."""
    groups: list[dict[int, Any]] = []
    heads: list[Row] = []
    for number, items in enumerate(lists):
        rows = [row_of(item, place) for item in items]
        partner = {one.answered: one.gold for one in pair(heads, rows).pairs}
        # An item that no other answer has stands behind the one that it follows in its own.
        behind = -1
        added = list[tuple[int, dict[int, Any], Row]]()
        for index, item in enumerate(items):
            if index in partner:
                behind = partner[index]
                groups[behind][number] = item
            else:
                added.append((behind, {number: item}, rows[index]))
        for position, group, row in reversed(added):
            groups.insert(position + 1, group)
            heads.insert(position + 1, row)
    return groups
