"""`review_queue`: the values of an output, those first that are most likely wrong, for a person to look at."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from kimi_beam.errors import ConfigError, InputError
from kimi_beam.output.written_answers import Output, WrittenAnswer, WrittenRun, answers_of, written_runs
from kimi_beam.results.rows import GROUNDING
from kimi_beam.schema import OutputSchema, SchemaSource, jsontext
from kimi_beam.scoring.answer_leaves import AnswerLeaf, answer_leaves, wrong_leaves
from kimi_beam.scoring.calibration import Calibration, JudgedLeaf
from kimi_beam.scoring.compared_places import places_of
from kimi_beam.scoring.document_scores import ROW
from kimi_beam.scoring.flat_rows import GoldError
from kimi_beam.scoring.review_signals import (
    INCOMPLETE,
    LEFT_OUT,
    FieldHabits,
    RowEvidence,
    as_places,
    risk,
    row_signals,
)

_PROVENANCE = "_provenance"
_COLUMNS = (_PROVENANCE, GROUNDING)
_OF_THE_SCHEMA = frozenset(("number", "integer", "array_of_one", "enum", "date"))
"""The repairs that changed one value so that it fits the schema."""


class Proof(NamedTuple):
    """A value as it is spelt in a text, by which another text is told from it: the last one of its row."""

    start: int
    end: int
    value: str


@dataclass(frozen=True, slots=True)
class ReviewLine:
    """One value of an output, or one place without a value.

    Example:
        >>> line = kb.ReviewLine("receipt-1", "/total", "/total", 42.80, 0.9, {"none": 0.9})
        >>> line.to_json()["signals"], line.expected_errors
        ({'none': 0.9}, 0.9)

    Attributes:
        document_id: The id of its document.
        pointer: Its JSON Pointer in the answer; empty for the answer as a whole, which may lack rows.
        field: The JSON Pointer of its field, with ``*`` for any index.
        value: The value; None if there is none.
        expected_errors: How likely it is wrong, from 0 to 1.
        signals: What that comes from: the share of each signal by its name.
        place: Its entry of the column ``_grounding`` without its path; None if it has none.
        note: What a person should know beside it; empty for most.
        source: The path that its document was read from; empty if it was read from none.
        quote: The text around its place, as `kimi_beam.output.review_quotes` gives it; None if nobody has asked.
        proof: A value of its row that stands in the document's text as it is spelt; None if there is none.
    """

    document_id: str
    pointer: str
    field: str
    value: Any
    expected_errors: float
    signals: Mapping[str, float]
    place: Mapping[str, Any] | None = None
    note: str = ""
    source: str = ""
    quote: Mapping[str, str] | None = None
    proof: Proof | None = None

    def to_json(self) -> dict[str, Any]:
        """The line as a JSON object."""
        found = {
            "id": self.document_id,
            "pointer": self.pointer,
            "field": self.field,
            "value": self.value,
            "expected_errors": self.expected_errors,
            "signals": self.signals,
            "place": self.place,
            "source": self.source or None,
        }
        quote = {} if self.quote is None else {"quote": self.quote}
        return {**found, **quote, **({"note": self.note} if self.note else {})}


@dataclass(frozen=True, slots=True)
class ReviewQueue:
    """The values of an output in the order in which a person should look at them.

    Example:
        >>> line = kb.ReviewLine("receipt-1", "/total", "/total", 42.80, 0.9, {"none": 0.9})
        >>> queue = kb.ReviewQueue((line,), left_off=3, expected_errors=1.1, not_grounded=0, failed={"truncated": 2})
        >>> [(one.pointer, one.value) for one in queue.lines], queue.expected_errors
        ([('/total', 42.8)], 1.1)

    Attributes:
        lines: The lines, the greatest `ReviewLine.expected_errors` first; equal ones in the order of the output.
        left_off: How many more there are.
        expected_errors: The sum over all of them, those that were left off included.
        not_grounded: In how many rows nobody has looked where the values stand.
        failed: How many documents have no row, by the code of their dead letter. They are not in the queue.
    """

    lines: tuple[ReviewLine, ...]
    left_off: int
    expected_errors: float
    not_grounded: int
    failed: Mapping[str, int]


def review_queue(
    output: Output,
    *,
    top: int | None = None,
    schema: SchemaSource | None = None,
    calibration: Calibration | None = None,
) -> ReviewQueue:
    """The values of an output, those first that are most likely wrong.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     extract = kb.Extract("receipt.json", service=service, ground=True)
        ...     results = pipeline | kb.ReadDocuments("in/*.txt") | extract
        ...     _ = results | kb.WriteDataset("out7", "receipt.json", model=service.model)
        >>> queue = kb.review_queue("out7", top=10)
        >>> [(line.document_id, line.pointer, line.value, line.expected_errors) for line in queue.lines]
        [('in/receipt-1.txt', '/total', 24.8, 0.02)]

    Args:
        output: The directory that ``kimi-beam extract``, or `WriteDataset`, has written; or those of a run and of the
            redrives of what failed in it, in the order of time. It is read twice.
        top: How many lines. None: all, which are in memory together.
        schema: The schema of the rows. None: the one that is written in the output.
        calibration: Makes probabilities of the shares. None: they are the shares of the signals.

    Raises:
        InputError: The output cannot be read.
        SchemaError: The output's schema cannot be used.
        ConfigError: `top` is less than 1.
    """
    if top is not None and top < 1:
        raise ConfigError(f"top is {top}: at least 1")
    runs = written_runs(output, schema)
    seen = _Seen(runs[0].schema, calibration)
    habits = seen.habits(runs)
    found = seen.lines(runs, habits)
    lines = sorted(found, key=_expected, reverse=True) if top is None else heapq.nlargest(top, found, key=_expected)
    return ReviewQueue(tuple(lines), seen.count - len(lines), round(seen.total, 2), seen.not_grounded, seen.failed)


def _expected(line: ReviewLine) -> tuple[float, float]:
    return line.expected_errors, risk(line.signals)


def judged_lines(output: Output, golds: Mapping[str, Any], schema: SchemaSource | None) -> Iterator[JudgedLeaf]:
    """Each value of the rows that have gold, with what the queue says of it and whether it is wrong.

    Args:
        output: As for `review_queue`.
        golds: What is right, by id.
        schema: As for `review_queue`.

    Raises:
        InputError: The output or a gold cannot be read.
    """
    runs = written_runs(output, schema)
    seen = _Seen(runs[0].schema)
    habits = seen.habits(runs)
    for row in answers_of(runs, _COLUMNS):
        if row.outcome == ROW and row.document_id in golds:
            wrong = seen.wrong(row, golds[row.document_id])
            for line in seen.lines_of(row, habits):
                if line.field or line.pointer:
                    yield JudgedLeaf(row.document_id, line.expected_errors, line.pointer in wrong)


RowReview: TypeAlias = "Callable[[WrittenAnswer], Iterator[ReviewLine]]"
"""Gives the lines of one row, which was read with the columns ``_provenance`` and ``_grounding``."""


def row_review(schema: OutputSchema, habits: Mapping[str, FieldHabits]) -> RowReview:
    """What gives the lines of single rows.

    Args:
        schema: The schema of the rows.
        habits: How the values of each field are in the whole output.
    """
    seen = _Seen(schema)
    return lambda row: seen.lines_of(row, habits)


@dataclass
class _Seen:
    """What was seen of an output while it was read.

    Attributes:
        schema: The schema of its rows.
        calibration: As for `review_queue`.
        count: How many lines there are.
        total: The sum of their expected errors.
        not_grounded: As in `ReviewQueue`.
        failed: As in `ReviewQueue`.
    """

    schema: OutputSchema
    calibration: Calibration | None = None
    count: int = 0
    total: float = 0.0
    not_grounded: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._root = places_of(self.schema)

    def habits(self, runs: Sequence[WrittenRun]) -> Mapping[str, FieldHabits]:
        """How the values of each field are in the whole output."""
        found: defaultdict[str, FieldHabits] = defaultdict(FieldHabits)
        for one in answers_of(runs, _COLUMNS):
            if one.outcome != ROW:
                self.failed[one.outcome] += 1
                continue
            places = as_places(one.beside.get(GROUNDING))
            self.not_grounded += places is None
            for leaf in answer_leaves(one.answer, self._root):
                found[leaf.field].add(leaf, None if places is None else places.get(leaf.pointer))
        return found

    def lines(self, runs: Sequence[WrittenRun], habits: Mapping[str, FieldHabits]) -> Iterator[ReviewLine]:
        """The lines of all rows, in the order of the output."""
        for one in answers_of(runs, _COLUMNS):
            if one.outcome == ROW:
                for line in self.lines_of(one, habits):
                    self.count += 1
                    self.total += line.expected_errors
                    yield line

    def wrong(self, row: WrittenAnswer, gold: Any) -> frozenset[str]:
        """The pointers of what is wrong in a row."""
        try:
            return wrong_leaves(gold, row.answer, self._root)
        except GoldError as e:
            raise InputError(f"the gold of {row.document_id!r}: {e}") from None

    def lines_of(self, row: WrittenAnswer, habits: Mapping[str, FieldHabits]) -> Iterator[ReviewLine]:
        """The lines of one row."""
        provenance = row.beside.get(_PROVENANCE) or {}
        grounding = row.beside.get(GROUNDING)
        source = provenance.get("source") or ""
        unmet = [check for check in self.schema.sum_checks if check.problem(row.answer) is not None]
        lacking = _without(provenance.get("incomplete") or "", [check.text for check in unmet])
        samples = jsontext.loads(provenance.get("samples") or "null") or {}
        whole, notes = {}, []
        if lacking:
            whole["incomplete"] = INCOMPLETE
            notes.append(lacking)
        if left_out := samples.get("left_out", 0):
            whole["left_out"] = LEFT_OUT
            notes.append(f"{left_out} items of lists are left out, which most of the answers do not have")
        if whole:
            yield ReviewLine(row.document_id, "", "", None, risk(whole), whole, note="; ".join(notes), source=source)
        repairs = provenance.get("repairs") or ()
        evidence = RowEvidence(
            places=as_places(grounding),
            conflicts=[one["at"] for one in jsontext.loads(provenance.get("conflicts") or "[]")],
            coerced=_paths(repairs, _OF_THE_SCHEMA),
            asked_again=_paths(repairs, frozenset(("asked_again",))),
            disagreements=_disagreements(samples),
            failed=frozenset(path for check in unmet for path in check.paths),
        )
        entries = {one["path"]: one for one in grounding or ()}
        leaves = list(answer_leaves(row.answer, self._root))
        proof = _proof(leaves, entries)
        for leaf, signals in row_signals(leaves, evidence, habits):
            entry = entries.get(leaf.pointer)
            place = None if entry is None else {name: one for name, one in entry.items() if name != "path"}
            expected = risk(signals)
            if self.calibration is not None:
                expected = self.calibration.probability(expected)
            yield ReviewLine(row.document_id, *leaf[:3], expected, signals, place, source=source, proof=proof)


def _disagreements(samples: Mapping[str, Any]) -> dict[str, float]:
    """How far the answers differ, by the pointers of the values on which they do."""
    voters = samples.get("answers", 1)
    return {at: (voters - agreeing) / (voters - 1) for at, agreeing in samples.get("disagreements", {}).items()}


def _proof(leaves: Iterable[AnswerLeaf], entries: Mapping[str, Mapping[str, Any]]) -> Proof | None:
    found = (
        Proof(entry["start"], entry["end"], leaf.value)
        for leaf in leaves
        if isinstance(leaf.value, str) and (entry := entries.get(leaf.pointer)) and entry["match"] == "exact"
    )
    return max(found, default=None)


def _paths(repairs: Iterable[Mapping[str, Any]], kinds: frozenset[str]) -> list[str]:
    return [one["path"] for one in repairs if one["path"] is not None and one["kind"] in kinds]


def _without(incomplete: str, equations: Sequence[str]) -> str:
    """Why an answer may lack something, without the equations, whose values have a signal of their own."""
    reasons = (reason for reason in incomplete.split("; ") if reason)
    return "; ".join(reason for reason in reasons if not any(reason.startswith(f"{one}: ") for one in equations))
