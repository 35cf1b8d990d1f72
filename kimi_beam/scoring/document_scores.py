"""`DocumentScore`: how many values of one document are right, and what the errors are, by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from kimi_beam.errors import InputError
from kimi_beam.schema import jsontext
from kimi_beam.scoring.compared_places import Place
from kimi_beam.scoring.flat_rows import Accepted, GoldError, gold_row_of, row_of
from kimi_beam.scoring.leaf_verdicts import Kind, Verdict, verdicts

MISSING = "missing"
"""The outcome of a document of which the output has neither a row nor a dead letter."""
ROW = "row"
"""The outcome of a document that became a row."""

KindCounts: TypeAlias = "list[int]"
"""How many values there are of each `Kind`, by its number."""


@dataclass(frozen=True, slots=True)
class AnswerAndGold:
    """One document to be scored.

    Example:
        >>> kb.AnswerAndGold("receipt-1", {"total": 24.8}, {"total": 24.8}).outcome
        'row'
        >>> kb.AnswerAndGold("receipt-2", {"total": {"$any": [3, 3.1]}}, outcome="schema_violation").answer is None
        True

    Attributes:
        document_id: Its id.
        gold: What is right, as a JSON value. Where several values are right, ``{"$any": [...]}`` lists them.
        answer: The answer, as a JSON value. It counts if `outcome` is ``row``.
        outcome: ``row`` if the document was answered; else the code of its dead letter, or ``missing``. Such a
            document counts as one without any value.
        group: The slice that it belongs to; None if there are no slices.
    """

    document_id: str
    gold: Any
    answer: Any = None
    outcome: str = ROW
    group: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """The score of one document.

    Attributes:
        document_id: Its id.
        outcome: ``row``, the code of its dead letter, or ``missing``.
        group: The slice that it belongs to, or None.
        counts: By field, a JSON Pointer with ``*`` for any index, how many values there are of each kind.
        confusions: How often a value was taken for another, where the schema lists the values: by field, value of the
            gold and value of the answer, both as JSON.
        swaps: How often a field has the value of another field of the same object: by both fields.
    """

    document_id: str
    outcome: str
    group: str | None
    counts: Mapping[str, KindCounts]
    confusions: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    swaps: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def is_answered(self) -> bool:
        """Whether the document became a row."""
        return self.outcome == ROW


def score(document: AnswerAndGold, root: Place) -> DocumentScore:
    """Scores one document.

    Args:
        document: The document.
        root: The places of its schema.

    Raises:
        InputError: Its gold cannot be read.
    """
    try:
        gold = gold_row_of(document.gold, root)
    except GoldError as e:
        raise InputError(f"the gold of {document.document_id!r} at {e}") from None
    answered = row_of(document.answer, root) if document.outcome == ROW else None
    counts: dict[str, KindCounts] = {}
    confusions: Counter[tuple[str, str, str]] = Counter()
    swaps: Counter[tuple[str, str]] = Counter()
    for verdict in verdicts(gold, answered):
        kind, place = verdict[0], verdict[1]
        of_field = counts.get(place.pointer)
        if of_field is None:
            of_field = counts[place.pointer] = [0] * len(Kind)
        of_field[kind] += 1
        if kind is Kind.MISREAD:
            _note_misread(verdict, confusions, swaps)
    return DocumentScore(document.document_id, document.outcome, document.group, counts, confusions, swaps)


def _note_misread(verdict: Verdict, confusions: Counter[tuple[str, str, str]], swaps: Counter[tuple[str, str]]) -> None:
    """Counts what a value was taken for, where that says something."""
    place, address, gold, answered = verdict.place, verdict.address, verdict.gold, verdict.answered
    assert gold is not None
    assert answered is not None
    key = answered.named[address]
    if place.is_closed:
        confusions[place.pointer, shown(gold.named[address]), shown(key)] += 1
        return
    places = (other[1] if isinstance(other, tuple) else other for other, value in gold.named.items() if value == key)
    # Of several the first by name, so that the order of an object's keys decides nothing.
    if (swapped := min((one.pointer for one in places), default=None)) is not None:
        swaps[place.pointer, swapped] += 1


def shown(key: Hashable) -> str:
    """What a value is compared by, as JSON."""
    if isinstance(key, Accepted):
        return " or ".join(sorted(map(shown, key.keys)))
    value = key[0] if isinstance(key, tuple) else key
    return jsontext.dumps_any(value).decode()
