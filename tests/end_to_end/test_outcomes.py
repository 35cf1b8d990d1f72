"""What is seen after a few documents is not paid for with all: a schema that cannot be met, and --stop-after."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from harness import ACCOUNT, QUICK, RECEIPT, Outcome, receipts, run_extract, run_redrive, service
from scripted import Asked, Scripted, error

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.errors import ConfigError, UnmetSchemaError
from kimi_beam.report.outcomes import FIRST, Outcomes, OutcomesHandle, StopAfter
from kimi_beam.types.failure import Failure

BAD = Failure("validate", "schema_violation", "x")
UNREAD = Failure("read", "not_json", "x")
UNSENT = Failure("submit", "quota_exhausted", "x")
_SENSELESS = [(0, False), (-1, False), (0, True), (101, True), (float("nan"), True)]


def test_so_many_failed_documents_are_enough() -> None:
    outcomes = Outcomes(StopAfter(5))
    outcomes.count_settled(1_000, [BAD] * 4 + [UNREAD] * 50 + [UNSENT] * 50)
    assert outcomes.stopped is None, "what was never sent says nothing of what is sent"
    outcomes.count_settled(0, [BAD])
    assert outcomes.stopped is not None
    assert (outcomes.stopped.code, outcomes.stopped.retryable) == ("stopped", True)
    assert "5 of the first 1005 documents failed" in outcomes.stopped.message
    outcomes.count_settled(10_000, [])
    assert outcomes.stopped is not None, "what was in flight does not begin it again"


def test_a_share_is_one_of_the_first_two_hundred_or_more() -> None:
    outcomes = Outcomes(StopAfter(50, is_share=True))
    outcomes.count_settled(0, [BAD] * (FIRST // 2 - 1))
    outcomes.count_settled(FIRST // 2, [])
    assert outcomes.stopped is None
    outcomes.count_settled(0, [BAD])
    assert outcomes.stopped is not None
    assert Outcomes().stopped is None


@pytest.mark.parametrize(
    ("number", "is_share"), [(0, False), (-1, False), (0, True), (101, True), (float("nan"), True)]
)
def test_a_bound_that_makes_no_sense_is_refused(number: float, is_share: bool) -> None:
    with pytest.raises(ConfigError, match="stop_after"):
        StopAfter(number, is_share)


def test_a_bound_is_a_number_or_a_share() -> None:
    assert StopAfter.of(200) == StopAfter(200)
    assert StopAfter.of("2.5%") == StopAfter(2.5, is_share=True)
    for wrong in ("", "%", "a few", "0"):
        with pytest.raises(ConfigError, match="stop_after"):
            StopAfter.of(wrong)


def test_a_way_of_asking_is_refused_after_two_documents_and_none_that_it_was_met_for() -> None:
    outcomes = Outcomes()
    outcomes.count_form(0, unmet=1)
    assert outcomes.first_form(3) == 0
    outcomes.count_form(0, unmet=1)
    assert outcomes.first_form(3) == 1
    outcomes.count_form(1, unmet=250)
    assert outcomes.first_form(3) == 2
    outcomes.count_form(0, met=1)
    assert outcomes.first_form(3) == 0, "an answer that came late shows that it can be met"
    outcomes.count_form(2, unmet=2)
    outcomes.check_forms(3)
    with pytest.raises(UnmetSchemaError, match="5024"):
        outcomes.check_forms(0)


def test_each_extract_has_outcomes_of_its_own() -> None:
    outcomes_handle = OutcomesHandle()
    assert outcomes_handle.outcomes is outcomes_handle.outcomes
    assert outcomes_handle.outcomes is not OutcomesHandle().outcomes


# ------------------------------------------------------------------------------------------------ in real pipelines


SMALL = kb.Batching(max_items=10)


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_schema_form_that_is_never_met_is_tried_with_few_and_the_others_go_by_what_works(
    api: str, tmp_path: Path
) -> None:
    """json_mode strikes wherever a json_schema is asked for: only the prompt alone works."""
    with Emulator(faults="json_mode=1", latency=0.3) as emulator:
        outcome = run_extract(
            receipts(300),
            "",
            tmp_path / "out",
            where=service(emulator.base_url, api=api),
            batching=SMALL,
            max_in_flight=2,
            max_concurrency=4,
        )
        unmet = emulator.stats()["faults"]["json_mode"]
    assert len(outcome.rows) == 300
    assert outcome.ids.total() == 300
    assert unmet <= (60 if api == "batch" else 20), "each document was asked in each form: 600"


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_schema_that_cannot_be_met_at_all_ends_the_run_in_one_line(
    api: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    documents = tmp_path / "in.jsonl"
    documents.write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(200)))
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(RECEIPT))
    with Emulator(faults="error_code=1:5024") as emulator:
        code = run_command(
            documents,
            *("--schema", schema, "--output", tmp_path / "out", "--base-url", emulator.base_url, "--api", api),
            *("--no-preflight", "--max-concurrency", 4, "--poll-interval", "0.05:0.2"),
        )
        struck = emulator.stats()["faults"]["error_code"]
    err = capsys.readouterr().err.strip()
    assert code == 1
    assert "cannot meet this schema (5024)" in err.splitlines()[-1]
    assert struck < 60, "each document was asked for in each form"


def run_command(*words: object) -> int:
    from kimi_beam.cli import main

    return main(["extract", *map(str, words)])


def bad(messages: list[Any], schema: Any) -> str:
    return '{"company": 5}'


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_run_whose_first_documents_fail_stops_sending_and_the_others_can_be_run_again(
    api: str, tmp_path: Path
) -> None:
    with Emulator(answer=bad, latency=0.2) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(
            receipts(300),
            "",
            tmp_path / "out",
            where=where,
            batching=SMALL,
            max_in_flight=2,
            max_concurrency=4,
            stop_after=20,
        )
    assert outcome.ids.total() == 300
    assert set(outcome.codes) == {"schema_violation", "stopped"}
    assert 20 <= outcome.codes["schema_violation"] < 200
    stopped = [letter for letter in outcome.letters if letter["code"] == "stopped"]
    assert all(letter["retryable"] and letter["attempts"] == 0 for letter in stopped)
    with Emulator() as emulator:
        mended = service(emulator.base_url, api=api)
        again: Outcome = run_redrive(tmp_path / "out", mended, tmp_path / "again", polling=QUICK)
    assert len(again.rows) == 300


def test_the_first_documents_are_waited_for_before_the_others_are_submitted(tmp_path: Path) -> None:
    with Emulator(answer=bad, latency=0.2) as emulator:
        where = service(emulator.base_url)
        outcome = run_extract(receipts(300), "", tmp_path / "out", where=where, batching=SMALL, stop_after=20)
    assert outcome.ids.total() == 300
    assert 20 <= outcome.codes["schema_violation"] < 60, "all was submitted before anything was known"


def test_documents_that_do_not_fail_go_on_all_at_once_after_the_first_ones(tmp_path: Path) -> None:
    with Emulator(latency=0.2) as emulator:
        where = service(emulator.base_url)
        outcome = run_extract(receipts(300), "", tmp_path / "out", where=where, batching=SMALL, stop_after=20)
    assert len(outcome.rows) == 300


def test_enough_is_in_flight_until_the_first_are_settled() -> None:
    outcomes = Outcomes(StopAfter(5))
    assert [outcomes.waits_for_first(count) for count in (0, 4, 5, 500)] == [False, False, True, True]
    outcomes.count_settled(2, [])
    assert [outcomes.waits_for_first(count) for count in (2, 3)] == [False, True]
    outcomes.count_settled(2, [BAD])
    assert not outcomes.waits_for_first(500), "five are known"
    assert not Outcomes().waits_for_first(500), "no bound was named"
    assert Outcomes(StopAfter(50, is_share=True)).waits_for_first(FIRST)


def test_the_command_stops_with_code_3_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    documents = tmp_path / "in.jsonl"
    documents.write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(1_000)))
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(RECEIPT))
    with Emulator(answer=bad) as emulator:
        code = run_command(
            documents,
            *("--schema", schema, "--output", tmp_path / "out", "--base-url", emulator.base_url),
            *("--poll-interval", "0.05:0.2", "--max-in-flight", 1, "--stop-after", "100%"),
        )
        assert emulator.stats()["submits"] == 2, "the first batch, and its refused answers once more"
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 3
    assert "750 of 1000 documents were not sent" in err
    assert "redrive" in err


def test_no_more_submits_are_in_the_air_than_the_user_allows(tmp_path: Path) -> None:
    async def answer(asked: Asked) -> bytes:
        await asyncio.sleep(0.1)
        return error(5006, 400)

    with Scripted(answer) as server:
        outcome = run_extract(
            receipts(10), server.url, tmp_path / "out", batching=kb.Batching(max_items=1), max_submits_at_once=2
        )
        assert len(server.asked) == 10
        assert server.most_in_flight == 2
    assert outcome.codes == {"refused": 10}
