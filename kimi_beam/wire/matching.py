"""The items of a finished job brought back to the requests that they answer, and what about that is doubtful.

Each request carries an ``external_reference`` of ours, which the service is documented to echo. Beside it an item has
a number: ``index`` on K2.6 (captured), ``id`` by the pages. Nobody documents what that number counts, so a reference
decides wherever there is one, and a number is believed only where the job's own numbers show that they count our
requests from 0.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from kimi_beam.wire.usual_reply import UsualItems, agree

_REFERENCE = itemgetter("external_reference")


def references(batch_id: str, count: int) -> list[str]:
    """The ``external_reference`` of each request of a batch: unique within the run, the same when it is sent again."""
    begin = f"{batch_id}-"
    return [begin + number for number in _numbers(count)]


@functools.lru_cache(maxsize=8)
def _numbers(count: int) -> list[str]:
    return list(map(str, range(count)))


@dataclass(frozen=True, slots=True)
class Matched:
    """The items of a job by request.

    Attributes:
        items: For each request its item, None where there is none.
        surplus: How many items answered no request, or one that had its item already.
        disputed: Places of the requests whose item has their reference and the number of another request.
        unplaced: Why items without a reference were given to no request, in one line; empty where that did not happen.
        is_foreign: Whether there are items, and each of them has the reference of a request that is not ours.
    """

    items: Sequence[Any | None]
    surplus: int = 0
    disputed: frozenset[int] = frozenset()
    unplaced: str = ""
    is_foreign: bool = False


def match(items: Sequence[Any], references: Sequence[str]) -> Matched:
    """Brings the items of a job back to the requests: by ``external_reference``, else by number.

    An item whose reference is none of ours is a stranger and answers nothing, whatever its number says. Of several
    items for one request the first that succeeded counts. Items without a reference are matched by number only where
    all numbers of the job are whole, stand once, lie in the range of the requests, and either both the first and the
    last of the range are there or an item with a reference confirms the count; for numbers that begin at 1 would give
    each document its neighbour's answer.

    Args:
        items: As the service sent them.
        references: Ours, in the order of the requests.
    """
    with contextlib.suppress(KeyError, TypeError, IndexError, AttributeError):
        if list(map(_REFERENCE, items)) == references and agree([number_of(item) for item in items]):
            return Matched(list(items))  # each once and in order, as captured
    position = {reference: place for place, reference in enumerate(references)}
    by_place: list[tuple[int, Any]] = []
    unreferenced: list[Mapping[str, Any]] = []
    strangers = 0
    for item in items:
        reference = _reference_of(item) if isinstance(item, dict) else None
        if isinstance(item, dict) and (reference is None or reference == ""):
            unreferenced.append(item)
        elif isinstance(reference, str) and reference in position:
            by_place.append((position[reference], item))
        else:
            strangers += isinstance(item, dict)
    disputed = _disputed([(place, number_of(item)) for place, item in by_place], len(references))
    unplaced = ""
    if unreferenced:
        unplaced = _doubt(unreferenced, by_place, disputed, len(references))
        if not unplaced:
            numbered = ((number_of(item), item) for item in unreferenced)
            by_place += [(number, item) for number, item in numbered if number is not None]
    found: list[Any | None] = [None] * len(references)
    for place, item in by_place:
        before = found[place]
        if before is None or (before.get("success") is False and item.get("success") is not False):
            found[place] = item
    placed = sum(item is not None for item in found)
    is_foreign = 0 < strangers == len(items)
    return Matched(found, len(items) - placed, frozenset(disputed), unplaced, is_foreign)


def _reference_of(item: Mapping[str, Any]) -> Any:
    """The reference that an item echoes: beside its result, or in it; None where there is none."""
    reference = item.get("external_reference")
    if reference is None or reference == "":
        result = item.get("result")
        reference = result.get("external_reference") if isinstance(result, dict) else None
    return reference


def lacking(items: Sequence[Any], references: Sequence[str]) -> Matched | None:
    """What is not usual about the items of a job; None where each request has its item and nothing is doubtful."""
    if isinstance(items, UsualItems) and items.by_column(references) is not None:
        return None
    matched = match(items, references)
    return matched if None in matched.items or matched.disputed else None


def number_of(item: Mapping[str, Any]) -> Any:
    """What an item says its number is: ``index``, or ``id`` where it has none; None where it says nothing."""
    number = item.get("index")
    return item.get("id") if number is None else number


def _disputed(numbered: Iterable[tuple[int, Any]], count: int) -> set[int]:
    """The places whose item has the number of another request, unless the numbers are ours but begin at 1 or -1."""
    numbers = [(place, number) for place, number in numbered if type(number) is int]
    for first, beyond in ((1, count), (-1, -1)):
        if any(number == beyond for _, number in numbers) and all(number == place + first for place, number in numbers):
            return set()
    return {place for place, number in numbers if number != place}


def _doubt(
    unreferenced: Sequence[Mapping[str, Any]],
    referenced: Sequence[tuple[int, Any]],
    disputed: set[int],
    count: int,
) -> str:
    """Why items without a reference cannot be matched by their numbers, in one line; empty where they can."""
    told = "the service sent answers without our references"
    numbers = [number for number in map(number_of, unreferenced) if number is not None]
    if not numbers:
        return f"{told} and without a number"
    if any(type(number) is not int for number in numbers):
        return f"{told}, and their numbers are not whole numbers"
    low, high = min(numbers), max(numbers)
    if low < 0 or high >= count:
        return f"{told}, numbered from {low} to {high} where 0 to {count - 1} were asked for"
    if _stands_twice([*unreferenced, *(item for _, item in referenced)]):
        return f"{told}, and two of them have one number"
    confirmed = [number_of(item) == place for place, item in referenced if type(number_of(item)) is int]
    if disputed or not all(confirmed):
        return f"{told}, and the references of others contradict their numbers"
    if not confirmed and not (low == 0 and high == count - 1):
        return f"{told}, numbered from {low} to {high} of {count}, so that it cannot be told what they count from"
    return ""


def _stands_twice(items: Iterable[Mapping[str, Any]]) -> bool:
    """Whether two items that are not the same one sent twice have one number."""
    first: dict[int, Mapping[str, Any]] = {}
    for item in items:
        number = number_of(item)
        if type(number) is int and first.setdefault(number, item) != item:
            return True
    return False
