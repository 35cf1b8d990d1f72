"""How likely each value of an answer is wrong, by what can be computed: where it stands, conflicts, checks, repairs.

Nobody asks the model how sure it is. Each signal is a share from 0 to 1, and signals add up as independent ones do:
one more never makes a value look better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kimi_beam.scoring.answer_leaves import AnswerLeaf
from kimi_beam.scoring.row_places import Place, RowPlaces

MATCH_SIGNALS: Final[Mapping[str, float]] = {
    "none": 0.9,
    "near": 0.9,
    "example": 0.9,
    "hidden": 0.8,
    "unverified": 0.2,
    "derived": 0.03,
    "metadata": 0.02,
    "date": 0.02,
    "number": 0.02,
    "normalised": 0.02,
    "exact": 0.01,
}
"""How likely a value is wrong that stands so in its document (the kinds of match of `Grounding`)."""
SIGNALS: Final[Mapping[str, float]] = {
    "disagreement": 0.9,
    "conflict": 0.5,
    "asked_again": 0.3,
    "failed_check": 0.9,
    "other_row": 0.6,
    "same_place": 0.4,
    "apart": 0.3,
    "usually_found": 0.6,
    "usually_there": 0.5,
    "unlike_others": 0.4,
    "coerced": 0.1,
    "ambiguous": 0.1,
    "not_grounded": 0.05,
    "null": 0.02,
}
"""How much each other signal adds; of those that are a matter of degree, how much at most."""
INCOMPLETE: Final = 0.9
"""How likely an answer lacks a row where its text shows more rows than it has."""
LEFT_OUT: Final = 0.3
"""How likely it lacks one where a few of several answers have a row that most have not."""
_SURE_OF_HABITS = 5
"""So many values of a field count as wrong before any is seen, so that few values make no habit."""


@dataclass(slots=True)
class FieldHabits:
    """How the values of one field are in a whole output.

    Attributes:
        values: How many there are.
        found: How many of them stand in the text.
        nulls: At how many places there is none.
        figures: How many are texts of digits without any letter, such as amounts and most dates.
    """

    values: int = 0
    found: int = 0
    nulls: int = 0
    figures: int = 0

    def add(self, leaf: AnswerLeaf, place: Place | None) -> None:
        """Counts a leaf."""
        if leaf.value is None:
            self.nulls += 1
            return
        self.values += 1
        self.found += place is not None and place.is_found
        self.figures += isinstance(leaf.value, str) and _is_figure(leaf.value)

    @property
    def found_share(self) -> float:
        """The share of the values that stand in the text."""
        return self.found / (self.values + _SURE_OF_HABITS)

    @property
    def figure_share(self) -> float:
        """The share of the values that are texts of digits."""
        return self.figures / (self.values + _SURE_OF_HABITS)

    @property
    def there_share(self) -> float:
        """The share of the places that have a value."""
        return self.values / (self.values + self.nulls + _SURE_OF_HABITS)


@dataclass(frozen=True, slots=True)
class RowEvidence:
    """What is known of one row beside its values.

    Attributes:
        places: Where its values stand, by their JSON Pointers; None if nobody has looked.
        conflicts: The pointers of what two parts of the document state differently.
        coerced: The pointers of values that were repaired by the schema.
        asked_again: The pointers of what another answer has changed.
        disagreements: The pointers of values on which several answers differ, each with how far: 1 if no two say the
            same, 0 if all do.
        failed: The fields of equations (``x-check``) that are not fulfilled, as ``line_items.total``.
    """

    places: Mapping[str, Place] | None = None
    conflicts: Sequence[str] = ()
    coerced: Sequence[str] = ()
    asked_again: Sequence[str] = ()
    disagreements: Mapping[str, float] = field(default_factory=dict)
    failed: frozenset[str] = field(default_factory=frozenset)


def row_signals(
    leaves: Sequence[AnswerLeaf], evidence: RowEvidence, habits: Mapping[str, FieldHabits]
) -> Iterator[tuple[AnswerLeaf, dict[str, float]]]:
    """The signals of each leaf of a row, by name.

    Args:
        leaves: The leaves of the row.
        evidence: What is known of the row.
        habits: How the values of each field are in the whole output.
    """
    rows = None if evidence.places is None else RowPlaces(leaves, evidence.places)
    in_failed = sum(_dotted(leaf.field) in evidence.failed for leaf in leaves) if evidence.failed else 0
    for leaf in leaves:
        found = dict[str, float]()
        habit = habits.get(leaf.field, FieldHabits())
        if leaf.value is None:
            found["null"] = SIGNALS["null"]
            found["usually_there"] = SIGNALS["usually_there"] * habit.there_share**2
        elif rows is None or (place := (evidence.places or {}).get(leaf.pointer)) is None:
            found["not_grounded"] = SIGNALS["not_grounded"]
        else:
            found |= _signals_of_place(leaf, place, habit)
            found |= {name: SIGNALS[name] * degree for name, degree in rows.signals(leaf, place)}
        if isinstance(leaf.value, str) and 2 * habit.figures > habit.values and not _is_figure(leaf.value):
            found["unlike_others"] = SIGNALS["unlike_others"] * habit.figure_share**2
        found |= {name: SIGNALS[name] for name in _marks(leaf, evidence)}
        if leaf.pointer in evidence.disagreements:
            found["disagreement"] = SIGNALS["disagreement"] * evidence.disagreements[leaf.pointer]
        if _dotted(leaf.field) in evidence.failed:
            # At least one value of the equation is wrong, and nobody knows which.
            found["failed_check"] = SIGNALS["failed_check"] / in_failed
        yield leaf, {name: round(share, 4) for name, share in found.items() if share > 0}


def risk(signals: Mapping[str, float]) -> float:
    """How likely a value with some signals is wrong: one less the product of what each leaves."""
    left = 1.0
    for share in signals.values():
        left *= 1.0 - share
    return round(1.0 - left, 4)


def _is_figure(text: str) -> bool:
    """Whether a text has digits and no letter."""
    return any(map(str.isdecimal, text)) and not any(map(str.isalpha, text))


def _signals_of_place(leaf: AnswerLeaf, place: Place, habit: FieldHabits) -> dict[str, float]:
    found = {place.match: MATCH_SIGNALS.get(place.match, SIGNALS["not_grounded"])}
    if place.match == "derived" and not isinstance(leaf.value, bool):
        found["usually_found"] = SIGNALS["usually_found"] * habit.found_share**2
    if place.candidates > 1:
        found["ambiguous"] = SIGNALS["ambiguous"] * (1 - 1 / place.candidates)
    return found


def _marks(leaf: AnswerLeaf, evidence: RowEvidence) -> Iterator[str]:
    if _is_in(leaf.pointer, evidence.conflicts):
        yield "conflict"
    if _is_in(leaf.pointer, evidence.asked_again):
        yield "asked_again"
    if _is_in(leaf.pointer, evidence.coerced):
        yield "coerced"


def _is_in(pointer: str, others: Sequence[str]) -> bool:
    """Whether a place is one of some others, or inside of one."""
    return any(pointer == other or pointer.startswith(f"{other}/") for other in others)


def _dotted(field_pointer: str) -> str:
    """The name by which an equation calls a field: without what stands for the indices of items."""
    return ".".join(part for part in field_pointer.split("/")[1:] if part != "*")


def as_places(grounding: Sequence[Mapping[str, Any]] | None) -> dict[str, Place] | None:
    """The column `_grounding` of one row by pointer; None if the row has none."""
    if grounding is None:
        return None
    return {one["path"]: Place(one["match"], one["start"], one["end"], one["candidates"] or 0) for one in grounding}
