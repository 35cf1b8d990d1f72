"""Finished jobs that answer badly, in real pipelines: nobody gets another's answer, what was paid for is fetched."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness import HASTY, QUICK, Outcome, receipts, run_extract

from kimi_beam.emulator import Behaviour, Emulator

COUNT = 60


def totals(outcome: Outcome) -> dict[str, Any]:
    return {row["_document_id"]: row["total"] for row in outcome.rows}


RIGHT = {f"doc-{i}": i + 0.5 for i in range(COUNT)}


def asked(emulator: Emulator) -> int:
    items = emulator.stats()["items"]
    assert isinstance(items, int)
    return items


def test_a_poll_that_is_answered_with_another_jobs_reply_says_nothing(tmp_path: Path) -> None:
    with Emulator(faults="wrong_reply=0.7", seed=50) as emulator:
        outcome = run_extract(receipts(COUNT), emulator.base_url, tmp_path / "out", polling=QUICK)
        assert emulator.stats()["faults"]["wrong_reply"]
        assert totals(outcome) == RIGHT
        assert asked(emulator) == COUNT, "what lay ready was paid for again"


def test_another_jobs_replies_until_the_deadline_leave_a_request_that_is_still_open(tmp_path: Path) -> None:
    with Emulator(faults="wrong_reply=1", seed=4) as emulator:
        first = run_extract(receipts(COUNT), emulator.base_url, tmp_path / "out", polling=HASTY)
    assert first.codes == {"deadline": COUNT}
    for letter in first.letters:
        assert letter["retryable"]
        assert letter["open_request"]["request_id"] == letter["request_id"]
        assert "items of other jobs and none of this one" in letter["message"]


def test_items_that_a_second_reading_brings_are_no_missing_items(tmp_path: Path) -> None:
    with Emulator(faults="partial_reply=0.5", seed=14) as emulator:
        outcome = run_extract(receipts(COUNT), emulator.base_url, tmp_path / "out", polling=QUICK)
        assert emulator.stats()["faults"]["partial_reply"] == 1
        assert totals(outcome) == RIGHT
        assert asked(emulator) == COUNT
        usage = outcome.summary["usage"]
        assert usage["completion_tokens"] == emulator.stats()["completion_tokens"], "a token was counted twice"


def test_items_that_two_readings_lack_are_missing(tmp_path: Path) -> None:
    with Emulator(faults="missing_item=0.3", seed=3) as emulator:
        outcome = run_extract(receipts(COUNT), emulator.base_url, tmp_path / "out", polling=QUICK)
        missing = emulator.stats()["faults"]["missing_item"]
        assert outcome.codes == {"missing_item": missing}
        assert outcome.ids.total() == COUNT
        assert emulator.stats()["polls"] == 2
        assert outcome.summary["usage"]["prompt_tokens"] == emulator.stats()["prompt_tokens"]


def test_a_finished_job_without_results_is_read_again_until_they_are_there(tmp_path: Path) -> None:
    with Emulator(faults="null_results=0.8", seed=9) as emulator:
        outcome = run_extract(receipts(COUNT), emulator.base_url, tmp_path / "out", polling=QUICK)
        assert emulator.stats()["faults"]["null_results"]
        assert totals(outcome) == RIGHT


def test_a_finished_job_that_never_has_results_causes_a_warning_and_ends_as_no_results(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Emulator(faults="null_results=1") as emulator, caplog.at_level(logging.WARNING, logger="kimi_beam"):
        outcome = run_extract(receipts(COUNT), emulator.base_url, tmp_path / "out", polling=HASTY)
    assert outcome.codes == {"no_results": COUNT}
    assert all(letter["open_request"] and letter["retryable"] for letter in outcome.letters)
    told = [record.message for record in caplog.records if record.name == "kimi_beam"]
    assert len(told) == 1
    assert "sends no list of results" in told[0]


@pytest.mark.parametrize("index_from", [1, -1])
def test_numbers_that_begin_elsewhere_give_no_document_its_neighbours_answer(tmp_path: Path, index_from: Any) -> None:
    behaviour = Behaviour(references="dropped", index_from=index_from)
    with Emulator(behaviour=behaviour) as emulator:
        outcome = run_extract(receipts(COUNT), emulator.base_url, tmp_path / "out", polling=QUICK)
    assert outcome.rows == []
    assert outcome.codes == {"malformed_item": COUNT}


def test_without_references_our_own_count_is_enough(tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(references="dropped")) as emulator:
        assert totals(run_extract(receipts(COUNT), emulator.base_url, tmp_path / "out", polling=QUICK)) == RIGHT


def test_references_that_contradict_the_indices_are_counted_warned_of_once_and_given_up_on_demand(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Emulator(behaviour=Behaviour(references="shuffled"), seed=5) as emulator:
        with caplog.at_level(logging.WARNING, logger="kimi_beam"):
            kept = run_extract(receipts(COUNT), emulator.base_url, tmp_path / "kept", polling=QUICK)
        told = [record.message for record in caplog.records if record.name == "kimi_beam"]
        careful = replace(QUICK, on_mismatch="dead-letter")
        given_up = run_extract(receipts(COUNT), emulator.base_url, tmp_path / "given_up", polling=careful)
    assert len(kept.rows) == COUNT
    assert len(told) == 1
    assert "the reference of one document and the number of another" in told[0]
    mismatched = sum(RIGHT[name] != total for name, total in totals(kept).items())
    assert mismatched > COUNT / 2
    assert given_up.codes == {"malformed_item": mismatched}
    assert all(RIGHT[name] == total for name, total in totals(given_up).items())
    assert all(json.loads(letter["raw"]) for letter in given_up.letters)
