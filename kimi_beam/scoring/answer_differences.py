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
    found: list[AnswerDifference] = []
    for one in verdicts(row_of(first, root), row_of(second, root)):
        if (change := _BY_KIND.get(one.kind)) is not None:
            in_first, in_second = _pointers(one)
            pointer = (in_first if in_first is not None else in_second) or ""
            values = _value_at(first, in_first), _value_at(second, in_second)
            found.append(AnswerDifference(change, one.place.pointer, pointer, *values))
    return found


def wrong_values(gold: Any, answer: Any, root: Place) -> list[WrongValue]:
    """The errors of an answer.

    Args:
        gold: What is right.
        answer: The answer.
        root: The places of the schema.

    Raises:
        GoldError: The gold cannot be read.
    """
    found: list[WrongValue] = []
    for one in verdicts(gold_row_of(gold, root), row_of(answer, root)):
        if (error := _ERROR_BY_KIND.get(one.kind)) is not None:
            in_gold, in_answer = _pointers(one)
            pointer = (in_answer if in_answer is not None else in_gold) or ""
            values = _value_at(gold, in_gold), _value_at(answer, in_answer)
            found.append(WrongValue(error, one.place.pointer, pointer, *values))
    return found


def _pointers(verdict: Verdict) -> tuple[str | None, str | None]:
    """Where the value of a verdict stands in the gold, and in the answer; None where there is none."""
    change = _BY_KIND[verdict.kind]
    in_gold = None if change == "new" or verdict.gold is None else verdict.gold.pointer_to(verdict.address)
    in_answer = None if change == "gone" or verdict.answered is None else verdict.answered.pointer_to(verdict.address)
    return in_gold, in_answer


def _value_at(value: Any, pointer: str | None) -> Any:
    return None if pointer is None else value_at(value, pointer)
