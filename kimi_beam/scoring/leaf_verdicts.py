"""Compares one answer with its gold, value by value: what is right, and each error by its kind."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from kimi_beam.scoring.compared_places import Place
from kimi_beam.scoring.flat_rows import Accepted, Address, Row, listed_addresses
from kimi_beam.scoring.row_pairing import is_right, pair


class Kind(IntEnum):
    """What became of one value, or of one place without a value."""

    RIGHT = 0
    MISREAD = 1
    """Both have a value, and they differ."""
    UNFOUND = 2
    """The gold has a value, and the answer none there."""
    FABRICATED = 3
    """The answer has a value where the gold has none."""
    INVENTED_ITEM = 4
    """A value in an item that is none of the gold's list."""
    INVENTED_FIELD = 5
    """A value under a name that the schema does not have."""
    RIGHT_NULL = 6
    """Neither has a value."""
    MISSED_ITEM = 7
    """A value of the gold in an item that the answer lacks; it is unfound too."""
    GOLD_NULL = 8
    """A place without a value in an item that the answer lacks."""
    ANSWERED_NULL = 9
    """A place without a value in an item that is none of the gold's list."""
    NEARLY_PAIRED = 10
    """A list in which so many items differ that another pairing of them may have more right values."""


ERRORS = {
    "misread": (Kind.MISREAD,),
    "unfound": (Kind.UNFOUND, Kind.MISSED_ITEM),
    "fabricated": (Kind.FABRICATED,),
    "invented_item": (Kind.INVENTED_ITEM,),
    "invented_field": (Kind.INVENTED_FIELD,),
}
"""The five kinds of errors, by the names that they have in results."""


class Verdict(NamedTuple):
    """What became of one value, or of one place without a value."""

    kind: Kind
    place: Place
    address: Address
    gold: Row | None
    """The gold's row that the place is in; None if there is none."""
    answered: Row | None
    """The answer's row; None if there is none."""


def verdicts(gold: Row, answered: Row | None) -> Iterator[Verdict]:
    """Compares an answer with its gold. Each value of either comes once, and each place where neither has one.

    Args:
        gold: The gold, or the item of its list.
        answered: The answer; None if there is none.
    """
    if answered is None:
        yield from _missed(gold)
        return
    yield from _own_values(gold, answered)
    for address in listed_addresses(gold.lists, answered.lists):
        golds, others = gold.lists.get(address, []), answered.lists.get(address, [])
        found = pair(golds, others)
        if not found.is_exact:
            place = address[1] if isinstance(address, tuple) else address
            yield Verdict(Kind.NEARLY_PAIRED, place, address, gold, answered)
        partner = {one.gold: one.answered for one in found.pairs}
        for index, row in enumerate(golds):
            yield from verdicts(row, others[partner[index]] if index in partner else None)
        paired = set(partner.values())
        for index, row in enumerate(others):
            if index not in paired:
                yield from _invented(row)


def _own_values(gold: Row, answered: Row) -> Iterator[Verdict]:
    """The values of two rows, without those of their lists."""
    golds, others = gold.named, answered.named
    slots = gold.place.slots
    seen = 0
    for slot in slots:
        key, other = golds.get(slot), others.get(slot)
        if key is None:
            if other is None:
                yield Verdict(Kind.RIGHT_NULL, slot, slot, gold, answered)
                continue
            kind = Kind.FABRICATED
            seen += 1
        elif other is None:
            kind = _unfound(key)
            seen += 1
        else:
            kind = Kind.RIGHT if is_right(key, other) else Kind.MISREAD
            seen += 2
        yield Verdict(kind, slot, slot, gold, answered)
    if seen == len(golds) + len(others):
        return
    for address in dict.fromkeys((*golds, *others)):
        if address in slots:
            continue
        place = address[1] if isinstance(address, tuple) else address
        if address not in golds:
            kind = Kind.FABRICATED if place.is_described else Kind.INVENTED_FIELD
        elif address not in others:
            kind = _unfound(golds[address])
        else:
            kind = Kind.RIGHT if is_right(golds[address], others[address]) else Kind.MISREAD
        yield Verdict(kind, place, address, gold, answered)


def _unfound(key: object) -> Kind:
    return Kind.RIGHT_NULL if type(key) is Accepted and key.is_optional else Kind.UNFOUND


def _missed(row: Row) -> Iterator[Verdict]:
    """The values of a gold's row that the answer lacks."""
    for address, key in row.named.items():
        place = address[1] if isinstance(address, tuple) else address
        is_null = type(key) is Accepted and key.is_optional
        yield Verdict(Kind.GOLD_NULL if is_null else Kind.MISSED_ITEM, place, address, row, None)
    for slot in row.place.slots:
        if slot not in row.named:
            yield Verdict(Kind.GOLD_NULL, slot, slot, row, None)
    for items in row.lists.values():
        for item in items:
            yield from _missed(item)


def _invented(row: Row) -> Iterator[Verdict]:
    """The values of an answer's row that the gold lacks."""
    for address in row.named:
        place = address[1] if isinstance(address, tuple) else address
        yield Verdict(Kind.INVENTED_ITEM, place, address, None, row)
    for slot in row.place.slots:
        if slot not in row.named:
            yield Verdict(Kind.ANSWERED_NULL, slot, slot, None, row)
    for items in row.lists.values():
        for item in items:
            yield from _invented(item)
