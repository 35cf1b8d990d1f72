"""Compares the outputs of two runs without gold: document by document, and field by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from kimi_beam.output.written_answers import WrittenAnswer, WrittenRun
from kimi_beam.scoring.answer_differences import AnswerDifference, Change, answer_differences
from kimi_beam.scoring.compared_places import Place, places_of
from kimi_beam.scoring.document_scores import MISSING, ROW


@dataclass(frozen=True)
class DocumentDifference:
    """One document that the two runs have not answered alike.

    Attributes:
        document_id: Its id.
        first: Its outcome in the first run: ``row``, the code of its dead letter, or ``missing``.
        second: Its outcome in the second run.
        values: The values that differ, if both are rows.
    """

    document_id: str
    first: str
    second: str
    values: list[AnswerDifference]


@dataclass
class RunDifferences:
    """The sums over documents, which grow while they are compared.

    Attributes:
        documents: How many documents the two runs have.
        same: How many of them they have answered alike.
        outcomes: How many have one outcome in the first run and another in the second: by both.
        fields: By field, in how many values the runs differ, by the way they do.
    """

    documents: int = 0
    same: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    fields: dict[str, Counter[Change]] = field(default_factory=dict)


def compare_runs(first: WrittenRun, second: WrittenRun, sums: RunDifferences) -> Iterator[DocumentDifference]:
    """The documents that two runs have not answered alike, in the order of the first run.

    The answers of the second run are held in memory. Values count as the same by the schema of the first.

    Args:
        first: A run.
        second: Another run.
        sums: Receives the sums.
    """
    root = places_of(first.schema)
    others = {one.document_id: one for one in second.answers()}
    for one in first.answers():
        found = _compared(one, others.pop(one.document_id, None), root, sums)
        if found is not None:
            yield found
    for other in others.values():
        sums.documents += 1
        sums.outcomes[MISSING, other.outcome] += 1
        yield DocumentDifference(other.document_id, MISSING, other.outcome, [])


def _compared(
    one: WrittenAnswer, other: WrittenAnswer | None, root: Place, sums: RunDifferences
) -> DocumentDifference | None:
    """Compares one document of both runs; None if they have answered it alike."""
    sums.documents += 1
    outcome = MISSING if other is None else other.outcome
    values: list[AnswerDifference] = []
    if other is not None and one.outcome == outcome == ROW:
        values = answer_differences(one.answer, other.answer, root)
    if one.outcome == outcome and not values:
        sums.same += 1
        return None
    if one.outcome != outcome:
        sums.outcomes[one.outcome, outcome] += 1
    for value in values:
        sums.fields.setdefault(value.field, Counter())[value.change] += 1
    return DocumentDifference(one.document_id, one.outcome, outcome, values)
