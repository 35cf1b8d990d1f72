"""`Evaluation`: what scoring an output against gold has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from kimi_beam.scoring.field_scores import FieldScore
from kimi_beam.scoring.intervals import Difference

_SHOWN = 20
"""How many confusions, and documents without gold, the JSON form has."""


@dataclass(frozen=True, slots=True, order=True)
class WorstDocument:
    """One of the documents with the lowest F1.

    Attributes:
        f1: Its F1.
        document_id: Its id.
        outcome: ``row``, the code of its dead letter, or ``missing``.
        score: The score of all its values.
    """

    f1: float
    document_id: str
    outcome: str
    score: FieldScore = field(compare=False)


class MeanAccuracy(NamedTuple):
    """The mean over documents of the share of right values among all that the gold or the answer has."""

    without_nulls: float
    """Nulls have no place: the convention of omni-extract-bench."""
    with_nulls: float
    """A null that is right counts as a right value, as in ExtractBench."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A second output beside the first, scored against the same gold.

    Attributes:
        second: The score of the second output.
        overall: By how much its F1 differs, and how sure that is.
        fields: The same by field.
        seed: The seed of the bootstrap.
        resamples: How often the documents were drawn.
    """

    second: Evaluation
    overall: Difference
    fields: Mapping[str, Difference]
    seed: int
    resamples: int

    def to_json(self) -> dict[str, Any]:
        """The comparison as a JSON object."""
        return {
            "second": self.second.to_json(),
            "overall": self.overall._asdict(),
            "fields": {name: one._asdict() for name, one in self.fields.items()},
            "seed": self.seed,
            "resamples": self.resamples,
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The score of an output against gold.

    Example:
        >>> scores = kb.CombineScores({"properties": {"total": {"type": "number"}}})
        >>> tally = scores.add_input(scores.create_accumulator(), kb.AnswerAndGold("a", {"total": 9}, {"total": 8}))
        >>> found = scores.extract_output(tally)
        >>> found.documents, found.overall.precision, found.fields["/total"].errors["misread"]
        (1, 0.0, 1)

    Attributes:
        documents: How many documents the gold has: all are scored, answered or not.
        outcomes: How many of them became rows (``row``), dead letters (by their codes), or nothing (``missing``).
        fields: The score of each field, by its JSON Pointer with ``*`` for any index, in the order of the schema.
        overall: The score of all values together.
        mean_accuracy: The mean over documents, by both conventions for nulls.
        nearly_paired: How many lists have so many items that differ that another pairing of them might score higher.
        worst: The documents with the lowest F1 that are not exact, the worst first.
        confusions: How often a value was taken for another, where the schema lists the values: by field, value of the
            gold and value of the answer, both as JSON. The most frequent first.
        swaps: How often a field has the value that another field has in the gold: by both. The most frequent first.
        groups: The scores of slices, by their value.
        without_gold: The ids of documents of the output that have no gold. They are not scored.
        comparison: A second output beside this one; None if none was named.
    """

    documents: int
    outcomes: Mapping[str, int]
    fields: Mapping[str, FieldScore]
    overall: FieldScore
    mean_accuracy: MeanAccuracy
    nearly_paired: int
    worst: tuple[WorstDocument, ...]
    confusions: Mapping[tuple[str, str, str], int]
    swaps: Mapping[tuple[str, str], int]
    groups: Mapping[str, Evaluation]
    without_gold: tuple[str, ...] = ()
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """The evaluation as a JSON object, with the first of long lists."""
        found: dict[str, Any] = {
            "documents": self.documents,
            "fields": {name: one.to_json() for name, one in self.fields.items()},
            "overall": {**self.overall.to_json(), "mean_accuracy": self.mean_accuracy._asdict()},
            "outcomes": dict(self.outcomes),
            "without_gold": {"documents": len(self.without_gold), "ids": self.without_gold[:_SHOWN]},
            "nearly_paired_lists": self.nearly_paired,
            "worst": [
                {"id": one.document_id, "outcome": one.outcome, "f1": one.f1, "errors": one.score.errors}
                for one in self.worst
            ],
            "confusions": [
                {"field": name, "gold": gold, "answer": answer, "count": count}
                for (name, gold, answer), count in islice(self.confusions.items(), _SHOWN)
            ],
            "swaps": [
                {"field": name, "has_the_value_of": other, "count": count}
                for (name, other), count in islice(self.swaps.items(), _SHOWN)
            ],
        }
        if self.groups:
            found["slices"] = {
                name: {key: value for key, value in one.to_json().items() if key in _OF_SLICES}
                for name, one in self.groups.items()
            }
        if self.comparison is not None:
            found["compare"] = self.comparison.to_json()
        return found


_OF_SLICES = ("documents", "fields", "overall", "outcomes")
