"""Which values differ, one by one: of two runs' answers, or of an answer and its gold."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from kimi_beam.scoring.compared_places import Place
from kimi_beam.scoring.flat_rows import gold_row_of, row_of, value_at
from kimi_beam.scoring.leaf_verdicts import ERRORS, Kind, Verdict, verdicts

Change: TypeAlias = Literal["changed", "gone", "new"]
"""Whether both runs have a value, or the first alone, or the second alone."""
CHANGES: tuple[Change, ...] = get_args(Change)
"""All of them."""

_BY_KIND: dict[Kind, Change] = {
    Kind.MISREAD: "changed",
    Kind.UNFOUND: "gone",
    Kind.MISSED_ITEM: "gone",
    Kind.FABRICATED: "new",
    Kind.INVENTED_ITEM: "new",
    Kind.INVENTED_FIELD: "new",
}
_FIRST, _SECOND = 0, 1
_ERROR_BY_KIND = {kind: name for name, kinds in ERRORS.items() for kind in kinds}


class AnswerDifference(NamedTuple):
    """One value that differs."""

    change: Change
    field: str
    """The JSON Pointer of the field, with ``*`` for any index."""
    pointer: str
    """The JSON Pointer of the value: in the first answer, or in the second if only that has one."""
    first: Any
    """The first answer's value; None if it has none."""
    second: Any
    """The second answer's value; None if it has none."""


class WrongValue(NamedTuple):
    """One value of an answer, or of the gold, that is an error."""

    error: str
    """Its kind: ``misread``, ``unfound``, ``fabricated``, ``invented_item`` or ``invented_field``."""
    field: str
    """The JSON Pointer of the field, with ``*`` for any index."""
    pointer: str
    """The JSON Pointer of the value: in the answer, or in the gold if only that has one."""
    gold: Any
    """The gold's value; None if it has none."""
    answer: Any
    """The answer's value; None if it has none."""


def answer_differences(first: Any, second: Any, root: Place) -> list[AnswerDifference]:
    """The values in which two answers differ. Items of lists are told apart by what they hold, not by their position.

    Args:
        first: An answer.
        second: Another answer.
        root: The places of their schema.
    """
    found = verdicts(row_of(first, root), row_of(second, root))
    return [
        AnswerDifference(_BY_KIND[one.kind], *_place_and_values(one, first, second, _FIRST))
        for one in found
        if one.kind in _BY_KIND
    ]


def wrong_values(gold: Any, answer: Any, root: Place) -> list[WrongValue]:
    """The errors of an answer.

    Args:
        gold: What is right.
        answer: The answer.
        root: The places of the schema.

    Raises:
        GoldError: The gold cannot be read.
    """
    found = verdicts(gold_row_of(gold, root), row_of(answer, root))
    return [
        WrongValue(_ERROR_BY_KIND[one.kind], *_place_and_values(one, gold, answer, _SECOND))
        for one in found
        if one.kind in _ERROR_BY_KIND
    ]


def _place_and_values(verdict: Verdict, first: Any, second: Any, pointer_of: int) -> tuple[str, str, Any, Any]:
    """The pointer of the field, that of the value, and the value in both.

    Args:
        verdict: What became of the value.
        first: The first answer, or the gold.
        second: The second answer.
        pointer_of: Of which of both the value's pointer is, 0 or 1, if both have one.
    """
    change = _BY_KIND[verdict.kind]
    pointers = (
        None if change == "new" or verdict.gold is None else verdict.gold.pointer_to(verdict.address),
        None if change == "gone" or verdict.answered is None else verdict.answered.pointer_to(verdict.address),
    )
    preferred = pointers[pointer_of]
    pointer = preferred if preferred is not None else pointers[1 - pointer_of]
    return verdict.place.pointer, pointer or "", _value_at(first, pointers[0]), _value_at(second, pointers[1])


def _value_at(value: Any, pointer: str | None) -> Any:
    return None if pointer is None else value_at(value, pointer)
