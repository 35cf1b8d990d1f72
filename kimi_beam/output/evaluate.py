"""`evaluate`: scores the output of a run against gold, perhaps beside another output of the same documents."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kimi_beam.errors import ConfigError, InputError
from kimi_beam.input.gold_records import GoldRecord, group_name, read_gold
from kimi_beam.output.written_answers import Output, WrittenRun, answers_of, written_runs
from kimi_beam.schema import SchemaSource
from kimi_beam.scoring.compared_places import Place, places_of
from kimi_beam.scoring.document_scores import MISSING, AnswerAndGold, DocumentScore, score
from kimi_beam.scoring.evaluation import Comparison, Evaluation
from kimi_beam.scoring.field_scores import FieldScore
from kimi_beam.scoring.intervals import Counts, paired_bootstrap
from kimi_beam.scoring.tallies import Tally

RESAMPLES = 2_000
"""How often the documents are drawn for the difference of two outputs, unless the user says otherwise."""


def evaluate(
    output: Output,
    gold: str | os.PathLike[str],
    *,
    gold_field: str = "gold",
    id_field: str = "id",
    by: str | None = None,
    schema: SchemaSource | None = None,
    compare: Output | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Scores the output of a run against gold.

    Each document of the gold is scored: one with a dead letter, or with nothing at all, counts as one without a value.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     results = pipeline | kb.ReadDocuments("in/*.txt") | kb.Extract("receipt.json", service=service)
        ...     _ = results | kb.WriteDataset("out6", "receipt.json", model=service.model)
        >>> _ = Path("gold.jsonl").write_text('{"id": "in/receipt-1.txt", "gold": {"total": 24.80}}')
        >>> found = kb.evaluate("out6", "gold.jsonl")
        >>> found.documents, found.overall.f1, found.fields["/total"].support
        (1, 1.0, 1)

    Args:
        output: The directory that ``kimi-beam extract``, or `WriteDataset`, has written. Several are those of a run and
            of the redrives of what failed in it, in the order of time: a row counts wherever it is.
        gold: A file of JSON lines, each with a document's id and what is right for it.
        gold_field: The key of what is right. A value ``{"$any": ["9.00", "9"]}`` in it accepts any of these.
        id_field: The key of the id.
        by: A key of the gold's lines, or of the documents' metadata, by whose values the score is also given in slices.
        schema: The schema of the rows, which may have other ``x-compare`` than the one they were made with. None: the
            one that is written in the output.
        compare: Another output, scored against the same gold.
        seed: The seed of the bootstrap that says how sure the difference of the two outputs is.
        resamples: How often that draws the documents.

    Raises:
        InputError: The output or the gold cannot be read, or they have no field in common.
        SchemaError: The output's schema cannot be used.
        ConfigError: `resamples` is less than 1.
    """
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}: at least 1")
    first = written_runs(output, schema)
    second = None if compare is None else written_runs(compare, schema)
    records = read_gold(os.fspath(gold), gold_field=gold_field, id_field=id_field, by=by)
    root = places_of(first[0].schema)
    scored = _Scored(root, keeps_counts=second is not None)
    without_gold = scored.add_all(first, records, by)
    found = replace(scored.tally.evaluation(root), without_gold=without_gold)
    _check_fields(found, root, first[0], os.fspath(gold))
    if second is None:
        return found
    others = _Scored(root, keeps_counts=True)
    others_without = others.add_all(second, records, by)
    beside = replace(others.tally.evaluation(root), without_gold=others_without)
    return replace(found, comparison=_compared(scored, others, found, beside, seed, resamples))


def each_document(
    output: Output,
    gold: str,
    *,
    gold_field: str,
    id_field: str,
    schema: SchemaSource | None,
) -> tuple[Place, Iterator[AnswerAndGold]]:
    """The documents of the gold with their answers, as `evaluate` scores them, and the places of their schema.

    Args:
        output: As for `evaluate`.
        gold: As for `evaluate`.
        gold_field: As for `evaluate`.
        id_field: As for `evaluate`.
        schema: As for `evaluate`.

    Raises:
        InputError: The output or the gold cannot be read.
    """
    runs = written_runs(output, schema)
    records = read_gold(gold, gold_field=gold_field, id_field=id_field)
    return places_of(runs[0].schema), _documents(runs, records, None, [])


@dataclass
class _Scored:
    """The documents of one output, scored.

    Attributes:
        root: The places of the schema.
        keeps_counts: Whether the counts of each document are kept, for the bootstrap.
        tally: The sums.
        counts: By document and field: right values, predicted values, values of the gold.
    """

    root: Place
    keeps_counts: bool
    tally: Tally = field(default_factory=Tally)
    counts: dict[str, dict[str, tuple[int, int, int]]] = field(default_factory=dict)

    def add_all(self, runs: Sequence[WrittenRun], records: Mapping[str, GoldRecord], by: str | None) -> tuple[str, ...]:
        """Scores all documents of the gold.

        Returns:
            The ids of the documents of the output that have no gold.
        """
        without_gold: list[str] = []
        for document in _documents(runs, records, by, without_gold):
            found = score(document, self.root)
            self.tally.add(found)
            if self.keeps_counts:
                self.counts[found.document_id] = _triples(found)
        return tuple(without_gold)


def _documents(
    runs: Sequence[WrittenRun], records: Mapping[str, GoldRecord], by: str | None, without_gold: list[str]
) -> Iterator[AnswerAndGold]:
    """The documents of the gold with their answers.

    Args:
        runs: The output.
        records: The gold by id.
        by: The key of the slices.
        without_gold: Receives the ids of documents of the output that have no gold.
    """
    open_records = dict(records)
    for one in answers_of(runs):
        record = open_records.pop(one.document_id, None)
        if record is None:
            without_gold.append(one.document_id)
            continue
        group = record.group
        if by is not None and group is None:
            group = group_name(one.metadata.get(by)) or ""
        yield AnswerAndGold(one.document_id, record.gold, one.answer, one.outcome, group)
    for record in open_records.values():
        group = None if by is None else record.group or ""
        yield AnswerAndGold(record.document_id, record.gold, None, MISSING, group)


def _triples(found: DocumentScore) -> dict[str, tuple[int, int, int]]:
    scores = ((name, FieldScore.of(counts, exact=0, documents=1)) for name, counts in found.counts.items())
    return {name: (one.right, one.predicted, one.support) for name, one in scores}


def _check_fields(found: Evaluation, root: Place, run: WrittenRun, gold: str) -> None:
    """Refuses a gold none of whose fields the schema has: it is of another schema, or at another key."""
    of_gold = [name for name, one in found.fields.items() if one.support]
    if of_gold and root.leaves and not set(of_gold) & set(root.leaves):
        raise InputError(
            f"{gold} and {run.directory} have no field in common: the gold has {', '.join(of_gold[:5])}, and the rows' "
            f"schema {', '.join(root.leaves[:5])}. Is it the gold of another schema, or at another key (--gold-field)?"
        )


def _compared(
    first: _Scored, second: _Scored, found: Evaluation, beside: Evaluation, seed: int, resamples: int
) -> Comparison:
    """How much a second output differs from the first, and how sure that is."""
    names = list(dict.fromkeys((*found.fields, *beside.fields)))
    ids = sorted(first.counts)
    differences = paired_bootstrap(
        _table(first, ids, names), _table(second, ids, names), seed=seed, resamples=resamples
    )
    overall, *others = differences
    return Comparison(beside, overall, dict(zip(names, others, strict=True)), seed, resamples)


def _table(scored: _Scored, ids: list[str], names: list[str]) -> Counts:
    """The counts of documents by field; those of all fields together come first."""
    column = {name: index for index, name in enumerate(names, 1)}
    table = np.zeros((len(ids), len(names) + 1, 3), np.int64)
    for row, document_id in enumerate(ids):
        for name, triple in scored.counts[document_id].items():
            if name in column:
                table[row, column[name]] = triple
    table[:, 0] = table[:, 1:].sum(axis=1)
    return table
