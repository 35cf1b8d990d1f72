"""The single values of an answer one by one, with the places where the schema expects one and the answer has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kimi_beam.scoring.compared_places import Place
from kimi_beam.scoring.flat_rows import Row, gold_row_of, row_of, value_at
from kimi_beam.scoring.leaf_verdicts import ERRORS, verdicts

_WRONG = frozenset(kind for kinds in ERRORS.values() for kind in kinds)


class AnswerLeaf(NamedTuple):
    """A single value of an answer, or a place without one."""

    pointer: str
    """Its JSON Pointer in the answer."""
    field: str
    """The JSON Pointer of its field, with ``*`` for any index."""
    value: Any
    """The value; None if there is none."""
    item: str
    """The JSON Pointer of the list's item that it belongs to; empty if it is in no list."""


def answer_leaves(answer: Any, root: Place) -> Iterator[AnswerLeaf]:
    """The leaves of an answer, without those that are not compared (``"x-compare": "ignore"``).

    Args:
        answer: The answer.
        root: The places of its schema.
    """
    yield from _leaves(answer, row_of(answer, root))


def _leaves(answer: Any, row: Row) -> Iterator[AnswerLeaf]:
    for address in row.named:
        place = address[1] if isinstance(address, tuple) else address
        at = row.pointer_to(address)
        yield AnswerLeaf(at, place.pointer, value_at(answer, at), row.at)
    for slot in row.place.slots:
        if slot not in row.named:
            yield AnswerLeaf(row.pointer_to(slot), slot.pointer, None, row.at)
    for items in row.lists.values():
        for item in items:
            yield from _leaves(answer, item)


def wrong_leaves(gold: Any, answer: Any, root: Place) -> frozenset[str]:
    """The pointers of the leaves of an answer that are wrong, those included that lack a value of the gold.

    Args:
        gold: What is right.
        answer: The answer.
        root: The places of the schema.

    Raises:
        GoldError: The gold cannot be read.
    """
    found = verdicts(gold_row_of(gold, root), row_of(answer, root))
    return frozenset(
        one.answered.pointer_to(one.address) for one in found if one.kind in _WRONG and one.answered is not None
    )
