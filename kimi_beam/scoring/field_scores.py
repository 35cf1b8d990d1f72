"""`FieldScore`: precision, recall and their kin of one field, or of all of them, out of counted values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kimi_beam.scoring.intervals import wilson
from kimi_beam.scoring.leaf_verdicts import ERRORS, Kind


@dataclass(frozen=True, slots=True)
class FieldScore:
    """The score of a field, or of all fields together.

    A value counts as predicted where the answer's is not null, and as gold where the gold's is not null. A share
    without anything to count is None: the precision of a field without any value on either side.

    Attributes:
        right: How many values are right.
        predicted: How many values the answers have.
        support: How many values the gold has.
        errors: How many errors there are of each of the five kinds.
        exact: In how many documents the field is right as a whole: each value of the gold, and none beside them.
        documents: How many documents were scored.
        right_nulls: At how many places neither the answer nor the gold has a value.
        gold_nulls: At how many places the gold has none.
        answered_nulls: At how many places the answers have none.
    """

    right: int
    predicted: int
    support: int
    errors: dict[str, int]
    exact: int
    documents: int
    right_nulls: int
    gold_nulls: int
    answered_nulls: int

    @classmethod
    def of(cls, counts: Sequence[int], *, exact: int, documents: int) -> FieldScore:
        """The score of counted values.

        Args:
            counts: How many values there are of each `Kind`.
            exact: In how many documents all of them are right.
            documents: How many documents were scored.
        """
        errors = {name: sum(counts[kind] for kind in kinds) for name, kinds in ERRORS.items()}
        right, misread = counts[Kind.RIGHT], counts[Kind.MISREAD]
        extra = errors["fabricated"] + errors["invented_item"] + errors["invented_field"]
        return cls(
            right=right,
            predicted=right + misread + extra,
            support=right + misread + errors["unfound"],
            errors=errors,
            exact=exact,
            documents=documents,
            right_nulls=counts[Kind.RIGHT_NULL],
            gold_nulls=counts[Kind.RIGHT_NULL] + counts[Kind.FABRICATED] + counts[Kind.GOLD_NULL],
            answered_nulls=counts[Kind.RIGHT_NULL] + counts[Kind.UNFOUND] + counts[Kind.ANSWERED_NULL],
        )

    @property
    def precision(self) -> float | None:
        """The share of the answers' values that are right."""
        return _share(self.right, self.predicted, self.predicted + self.support)

    @property
    def recall(self) -> float | None:
        """The share of the gold's values that were found and are right."""
        return _share(self.right, self.support, self.predicted + self.support)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall."""
        return _share(2 * self.right, self.predicted + self.support)

    @property
    def accuracy(self) -> float | None:
        """The share of right values among all that the gold or an answer has: nulls have no place here."""
        return _share(self.right, self._places)

    @property
    def accuracy_with_nulls(self) -> float | None:
        """The same where a null that is right counts as a right value."""
        return _share(self.right + self.right_nulls, self._places + self.right_nulls)

    @property
    def f1_with_nulls(self) -> float | None:
        """The F1 where nulls count as values on both sides, and a null that is right as a right one."""
        values = self.predicted + self.answered_nulls + self.support + self.gold_nulls
        return _share(2 * (self.right + self.right_nulls), values)

    @property
    def _places(self) -> int:
        return self.right + sum(self.errors.values())

    def to_json(self) -> dict[str, Any]:
        """The score as a JSON object."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "exact": _share(self.exact, self.documents),
            "support": self.support,
            "errors": self.errors,
            "right": self.right,
            "predicted": self.predicted,
            "right_nulls": self.right_nulls,
            "gold_nulls": self.gold_nulls,
            "accuracy": self.accuracy,
            "accuracy_with_nulls": self.accuracy_with_nulls,
            "f1_with_nulls": self.f1_with_nulls,
            "intervals": {
                "precision": wilson(self.right, self.predicted),
                "recall": wilson(self.right, self.support),
                "exact": wilson(self.exact, self.documents),
            },
        }


def _share(part: int, whole: int, anything: int | None = None) -> float | None:
    """A share; 0 of nothing is 0 if there is anything to count on the other side, else None."""
    if whole:
        return part / whole
    return 0.0 if anything else None
