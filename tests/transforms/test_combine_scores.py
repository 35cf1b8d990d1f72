"""`CombineScores` gives in a pipeline what scoring all documents at once gives, however they are bundled."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from harness import IN_PROCESS_RUNNERS
from random_answers import SCHEMA, answer, gold

import kimi_beam as kb
from kimi_beam.beam_extensions.element_types import ElementTypeError


def _documents(count: int) -> list[kb.AnswerAndGold]:
    chance = random.Random(21)
    found = []
    for index in range(count):
        right, outcome = gold(chance), chance.choice(("row", "row", "row", "refusal"))
        answered = answer(right, chance) if outcome == "row" else None
        found.append(kb.AnswerAndGold(f"d{index}", right, answered, outcome, chance.choice("ab")))
    return found


def _at_once(documents: Sequence[kb.AnswerAndGold]) -> kb.Evaluation:
    scores = kb.CombineScores(SCHEMA)
    tally = scores.create_accumulator()
    for document in documents:
        tally = scores.add_input(tally, document)
    return scores.extract_output(tally)


@pytest.mark.parametrize("runner", ["one worker", "2 in memory", "bundle based"])
def test_every_runner_gives_the_same_score(runner: str, tmp_path: Path) -> None:
    documents = _documents(60)
    expected = _at_once(documents)
    name, options = IN_PROCESS_RUNNERS[runner]

    def save(found: kb.Evaluation) -> None:
        (tmp_path / "found").write_text(repr(found))

    with beam.Pipeline(name, options=PipelineOptions(list(options))) as pipeline:
        _ = (
            pipeline
            | beam.Create(documents)
            | beam.Reshuffle()
            | beam.CombineGlobally(kb.CombineScores(SCHEMA))
            | beam.Map(save)
        )
    assert (tmp_path / "found").read_text() == repr(expected)
    assert expected.documents == 60


def test_a_score_for_each_key_is_that_of_its_documents(tmp_path: Path) -> None:
    documents = _documents(40)
    expected = {key: _at_once([one for one in documents if one.group == key]) for key in "ab"}

    def save(keyed: tuple[str, kb.Evaluation]) -> None:
        (tmp_path / keyed[0]).write_text(repr(keyed[1]))

    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        keyed = pipeline | beam.Create(documents) | beam.WithKeys(lambda one: one.group)
        _ = keyed | beam.CombinePerKey(kb.CombineScores(SCHEMA)) | beam.Map(save)
    assert {key: (tmp_path / key).read_text() for key in "ab"} == {key: repr(one) for key, one in expected.items()}


def test_the_answers_of_extract_are_scored_in_the_same_pipeline(tmp_path: Path) -> None:
    """As the page says: gold and results meet by id, and a document without a row counts."""
    from harness import RECEIPT, receipts, service

    from kimi_beam.emulator import Emulator

    golds = [(f"doc-{index}", {"company": f"Shop {index} Ltd", "total": index + 0.5}) for index in range(6)]

    def paired(joined: tuple[str, dict[str, list[Any]]]) -> list[kb.AnswerAndGold]:
        name, found = joined
        if not found["gold"]:
            return []
        if found["row"]:
            return [kb.AnswerAndGold(name, found["gold"][0], found["row"][0])]
        return [kb.AnswerAndGold(name, found["gold"][0], outcome=(found["dead"] or ["missing"])[0])]

    def save(found: kb.Evaluation) -> None:
        (tmp_path / "found").write_text(repr((found.outcomes, found.overall.support, found.fields["/total"].recall)))

    with Emulator() as emulator, beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        documents = pipeline | beam.Create([*receipts(4), kb.Document("doc-4", "")], reshuffle=False)
        results = documents | kb.Extract(RECEIPT, service=service(emulator.base_url))
        rows = results.extractions | "Answers" >> beam.Map(lambda row: (row.document_id, row.fields))
        dead = results.dead_letters | "Codes" >> beam.Map(lambda one: (one.document.id, one.failure.code))
        right = pipeline | "Gold" >> beam.Create(golds)
        joined = {"gold": right, "row": rows, "dead": dead} | beam.CoGroupByKey()
        scored = joined | beam.FlatMap(paired) | beam.CombineGlobally(kb.CombineScores(RECEIPT))
        _ = scored | "Save" >> beam.Map(save)
    outcomes = {"empty_document": 1, "missing": 1, "row": 4}
    assert (tmp_path / "found").read_text() == repr((outcomes, 12, 4 / 6))


def test_rows_without_their_gold_are_refused_in_a_sentence() -> None:
    with pytest.raises(ElementTypeError, match=r"AnswerAndGold.*pair each answer with its gold first"):
        kb.CombineScores(SCHEMA).add_input(kb.CombineScores(SCHEMA).create_accumulator(), {"id": "a"})  # type: ignore[arg-type]
