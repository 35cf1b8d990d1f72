"""Matches the items of a finished job with the requests that they answer, and reports doubtful matches.

Each request carries an ``external_reference`` of ours, which the service is documented to echo. An item also has a
number: ``index`` on K2.6 (captured), ``id`` in the documentation. It is undocumented what that number counts. So if an
item has a reference, the reference decides; and a number is trusted only if the numbers of the whole job show that they
count our requests from 0.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from kimi_beam.wire.usual_reply import UsualItems, are_in_order

_REFERENCE = itemgetter("external_reference")


def references(batch_id: str, count: int) -> list[str]:
    """The ``external_reference`` of each request of a batch: unique in the run, and the same in a second submit."""
    begin = f"{batch_id}-"
    return [begin + number for number in _numbers(count)]


@functools.lru_cache(maxsize=8)
def _numbers(count: int) -> list[str]:
    return list(map(str, range(count)))


@dataclass(frozen=True, slots=True)
class Matched:
    """The items of a job by request.

    Attributes:
        items: The item of each request, None if it is missing.
        surplus: How many items answer no request, or one that has its item already.
        disputed: Indices of the requests whose item has their reference but the number of another request.
        unmatched_reason: Why items without a reference could not be matched, in one line; empty if none is unmatched.
        is_foreign: Whether there are items, and all of them have references of requests that are not ours.
    """

    items: Sequence[Any | None]
    surplus: int = 0
    disputed: frozenset[int] = frozenset()
    unmatched_reason: str = ""
    is_foreign: bool = False


def match(items: Sequence[Any], references: Sequence[str]) -> Matched:
    """Matches the items of a job with its requests: by ``external_reference``, or else by number.

    An item whose reference is none of ours answers nothing, whatever its number is. Of several items for one request
    the first successful one counts. Numbers that begin at 1 would give each document its neighbour's answer. So items
    without a reference are matched by number only if all numbers of the job are integers in the range of the requests
    and unique, and if either the first and the last number of the range occur or an item with a reference confirms how
    they count.

    Args:
        items: The items as the service sent them.
        references: Our references in the order of the requests.
    """
    with contextlib.suppress(KeyError, TypeError, IndexError, AttributeError):
        if list(map(_REFERENCE, items)) == references and are_in_order([number_of(item) for item in items]):
            return Matched(list(items))  # the usual case: each item once and in order, as captured
    index_of = {reference: index for index, reference in enumerate(references)}
    by_index: list[tuple[int, Any]] = []
    unreferenced: list[Mapping[str, Any]] = []
    strangers = 0
    for item in items:
        reference = _reference_of(item) if isinstance(item, dict) else None
        if isinstance(item, dict) and (reference is None or reference == ""):
            unreferenced.append(item)
        elif isinstance(reference, str) and reference in index_of:
            by_index.append((index_of[reference], item))
        else:
            strangers += isinstance(item, dict)
    disputed = _disputed([(index, number_of(item)) for index, item in by_index], len(references))
    unmatched_reason = ""
    if unreferenced:
        unmatched_reason = _doubt(unreferenced, by_index, disputed, len(references))
        if not unmatched_reason:
            numbered = ((number_of(item), item) for item in unreferenced)
            by_index += [(number, item) for number, item in numbered if number is not None]
    found: list[Any | None] = [None] * len(references)
    for index, item in by_index:
        before = found[index]
        if before is None or (before.get("success") is False and item.get("success") is not False):
            found[index] = item
    placed = sum(item is not None for item in found)
    is_foreign = 0 < strangers == len(items)
    return Matched(found, len(items) - placed, frozenset(disputed), unmatched_reason, is_foreign)


def _reference_of(item: Mapping[str, Any]) -> Any:
    """The reference that an item echoes, beside its result or inside it; None if it has none."""
    reference = item.get("external_reference")
    if reference is None or reference == "":
        result = item.get("result")
        reference = result.get("external_reference") if isinstance(result, dict) else None
    return reference


def unusual_match(items: Sequence[Any], references: Sequence[str]) -> Matched | None:
    """The match, if a request lacks its item or an item is disputed; None if neither is the case."""
    if isinstance(items, UsualItems) and items.by_column(references) is not None:
        return None
    matched = match(items, references)
    return matched if None in matched.items or matched.disputed else None


def number_of(item: Mapping[str, Any]) -> Any:
    """The number of an item: ``index``, or else ``id``; None if it has neither."""
    number = item.get("index")
    return item.get("id") if number is None else number


def _disputed(numbered: Iterable[tuple[int, Any]], count: int) -> set[int]:
    """The indices whose item has another request's number, unless all numbers are merely counted from 1 or from -1."""
    numbers = [(index, number) for index, number in numbered if type(number) is int]
    for first, beyond in ((1, count), (-1, -1)):
        if any(number == beyond for _, number in numbers) and all(number == index + first for index, number in numbers):
            return set()
    return {index for index, number in numbers if number != index}


def _doubt(
    unreferenced: Sequence[Mapping[str, Any]],
    referenced: Sequence[tuple[int, Any]],
    disputed: set[int],
    count: int,
) -> str:
    """Why items without a reference cannot be matched by their numbers, in one line; empty if they can."""
    problem = "the service sent answers without our references"
    numbers = [number for number in map(number_of, unreferenced) if number is not None]
    if not numbers:
        return f"{problem} and without a number"
    if any(type(number) is not int for number in numbers):
        return f"{problem}, and their numbers are not whole numbers"
    low, high = min(numbers), max(numbers)
    if low < 0 or high >= count:
        return f"{problem}, numbered from {low} to {high} where 0 to {count - 1} were asked for"
    if _is_repeated([*unreferenced, *(item for _, item in referenced)]):
        return f"{problem}, and two of them have one number"
    confirmed = [number_of(item) == index for index, item in referenced if type(number_of(item)) is int]
    if disputed or not all(confirmed):
        return f"{problem}, and the references of others contradict their numbers"
    if not confirmed and not (low == 0 and high == count - 1):
        return f"{problem}, numbered from {low} to {high} of {count}, so that it cannot be told what they count from"
    return ""


def _is_repeated(items: Iterable[Mapping[str, Any]]) -> bool:
    """Whether two different items have the same number; the same item sent twice does not count."""
    first: dict[int, Mapping[str, Any]] = {}
    for item in items:
        number = number_of(item)
        if type(number) is int and first.setdefault(number, item) != item:
            return True
    return False
