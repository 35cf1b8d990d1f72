"""Several answers for each document: what they cost, what a vote makes right, and that none is paid for twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from harness import QUICK, RECEIPT, read_dataset, receipts, run_extract, service
from long_invoices import INVOICE, Invoice, answer, invoice
from written_runs import write_gold

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.output.evaluate import evaluate
from kimi_beam.output.review_queue import review_queue

SCHEMA = {key: one for key, one in INVOICE.items() if key != "x-check"}


def made() -> list[Invoice]:
    invoices = [invoice(20, seed=seed) for seed in range(20)]
    return [Invoice(kb.Document(f"in-{n}", one.document.text), one.gold) for n, one in enumerate(invoices)]


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_vote_of_three_makes_most_errors_right_and_costs_what_was_billed(api: Any, tmp_path: Path) -> None:
    invoices = made()
    gold = write_gold(tmp_path / "gold.jsonl", [{"id": one.document.id, "gold": one.gold} for one in invoices])
    wrong = {}
    for samples in (1, 3):
        out = tmp_path / f"out-{samples}"
        with Emulator(answer=answer, faults="wrong_leaf=0.1", seed=1) as emulator:
            where = service(emulator.base_url, api=api)
            documents = [one.document for one in invoices]
            outcome = run_extract(
                documents, "", out, where=where, schema=SCHEMA, ground=True, repairs=0, samples=samples
            )
            billed = emulator.stats()
        assert len(outcome.rows) == len(invoices)
        assert not outcome.letters
        assert billed["items"] + billed["runs"] == samples * len(invoices)
        for name in ("prompt_tokens", "completion_tokens"):
            assert (
                sum(row["_provenance"][name] for row in outcome.rows) == billed[name] == outcome.summary["usage"][name]
            )
        assert {row["_provenance"]["attempts"] for row in outcome.rows} == {samples}
        score = evaluate(str(out), str(gold)).overall
        assert score.recall is not None
        wrong[samples] = 1 - score.recall
    assert wrong[1] > 0.08
    assert wrong[3] <= 0.03


def test_where_answers_differ_is_told_and_comes_first_in_the_queue(tmp_path: Path) -> None:
    invoices = made()
    with Emulator(answer=answer, faults="wrong_leaf=0.1", seed=2) as emulator:
        documents = [one.document for one in invoices]
        outcome = run_extract(documents, emulator.base_url, tmp_path / "out", schema=SCHEMA, repairs=0, samples=3)
    golds = {one.document.id: one.gold for one in invoices}
    wrong = {
        (row["_document_id"], f"/lines/{n}/{key}")
        for row in outcome.rows
        for n, line in enumerate(row["lines"])
        for key, value in line.items()
        if golds[row["_document_id"]]["lines"][n][key] != value
    }
    assert len(wrong) > 10
    told = {
        (row["_document_id"], at)
        for row in outcome.rows
        for at in json.loads(row["_provenance"]["samples"])["disagreements"]
    }
    assert len(wrong & told) >= 0.9 * len(wrong), "what two of three misread alike cannot be told"
    lines = review_queue(str(tmp_path / "out")).lines
    first = {(one.document_id, one.pointer) for one in lines[: len(lines) // 10]}
    assert len(first & wrong) >= 0.9 * len(wrong), "without grounding, by disagreement alone"


def test_further_answers_are_in_the_journal_and_only_they_are_paid_for_later(tmp_path: Path) -> None:
    documents, journal = receipts(12), str(tmp_path / "journal")
    with Emulator() as emulator:
        counts = []
        for number, samples in enumerate((1, 3, 3, 4, 1)):
            out = tmp_path / f"out-{number}"
            outcome = run_extract(documents, emulator.base_url, out, journal=journal, samples=samples)
            assert outcome.ids == {document.id: 1 for document in documents}
            assert not outcome.letters
            counts.append(emulator.stats()["items"])
    assert counts == [12, 36, 36, 48, 48]


@pytest.mark.parametrize("api", ["batch", "run"])
def test_each_document_leaves_once_whatever_becomes_of_its_further_answers(api: Any, tmp_path: Path) -> None:
    documents = receipts(60)
    faults = "all=0.05,rate_limit=0.05:0,rate_limit_date=0.05:0,never_ends=0,failed_item=0.2"
    with Emulator(seed=4, faults=faults) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(documents, "", tmp_path / "out", where=where, samples=3)
    assert outcome.ids == {document.id: 1 for document in documents}
    voted = [json.loads(row["_provenance"]["samples"]) for row in outcome.rows]
    assert {one["asked"] for one in voted} == {3}
    assert {one["answers"] for one in voted} >= {2, 3}, "a further answer that failed has no vote"


def test_a_further_answer_that_never_comes_costs_no_row(tmp_path: Path) -> None:
    def unsure(messages: Any, _: Any) -> str:
        seen.append(str(messages[-1]["content"]))
        return '{"company": "Shop", "total": 1.5}' if seen.count(seen[-1]) == 1 else "no JSON"

    seen: list[str] = []
    with Emulator(answer=unsure) as emulator:
        outcome = run_extract(receipts(5), emulator.base_url, tmp_path / "out", samples=3)
    assert len(outcome.rows) == 5
    for row in outcome.rows:
        assert json.loads(row["_provenance"]["samples"]) == {
            "asked": 3, "answers": 1, "disagreements": {}, "left_out": 0
        }  # fmt: skip


@pytest.mark.parametrize("redact", [None, "email"])
def test_files_that_are_read_again_and_redacted_values_are_voted_on_too(redact: str | None, tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    for number in range(3):
        filler = "".join(f"line {n} of receipt {number}\n" for n in range(1_200))
        (inputs / f"{number}.txt").write_text(f"COMPANY: shop{number}@example.com\n{filler}TOTAL: {number}.50\n")
    with Emulator() as emulator:
        extract = kb.Extract(RECEIPT, service=service(emulator.base_url), samples=3, redact=redact, polling=QUICK)
        with beam.Pipeline() as pipeline:
            results = pipeline | kb.ReadDocuments(str(inputs / "*.txt")) | extract
            write = kb.WriteDataset(str(tmp_path / "out"), RECEIPT, model="m")
            (results.extractions, results.dead_letters) | write
        assert emulator.stats()["items"] == 9
    rows = read_dataset(tmp_path / "out").rows
    assert {(row["company"], row["total"]) for row in rows} == {(f"shop{n}@example.com", n + 0.5) for n in range(3)}
    assert all(json.loads(row["_provenance"]["samples"])["answers"] == 3 for row in rows)


def test_a_document_that_is_asked_for_in_parts_is_asked_for_once(tmp_path: Path) -> None:
    long = invoice(120, seed=5)
    with Emulator(answer=answer) as emulator:
        outcome = run_extract(
            [long.document], emulator.base_url, tmp_path / "out", schema=SCHEMA, chunk_tokens=800, samples=3
        )
        parts = outcome.rows[0]["_provenance"]["parts"]
        assert emulator.stats()["items"] == parts > 1
    assert outcome.rows[0]["_provenance"]["samples"] is None
