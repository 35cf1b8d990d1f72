"""`max_cost`: what is billed never exceeds it, and what was not sent is paid for once, later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from budgets import CAP, MOST_OF_ONE, PRICE, SETTINGS, billed, check_budget, run_with_budget
from command_processes import Program
from harness import ACCOUNT, IN_PROCESS_RUNNERS, RECEIPT, receipts, run_extract, run_redrive, service
from long_invoices import INVOICE, answer, invoice
from moments import Standing
from running_cli import mistake

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.journal.spending_files import SpendingFiles
from kimi_beam.service.budget import Budget


@pytest.mark.parametrize(
    ("api", "name"),
    [
        ("batch", "one worker"),
        ("batch", "2 threads"),
        ("batch", "2 processes"),
        ("run", "2 threads"),
        ("run", "2 processes"),
    ],
)
def test_a_run_keeps_to_its_budget_and_uses_it_up(api: str, name: str, tmp_path: Path) -> None:
    runner, options = IN_PROCESS_RUNNERS[name]
    check_budget(tmp_path, runner=runner, options=options, shares=2 if name == "2 processes" else 1, api=api)


@pytest.mark.parametrize("api", ["batch", "chat"])
def test_redrive_finishes_what_there_was_no_money_for_and_each_is_paid_for_once(api: Any, tmp_path: Path) -> None:
    with Emulator(seed=2) as emulator:
        first = run_with_budget(emulator, tmp_path, "first", count=80, api=api)
        letters = str(tmp_path / "first" / "dead-letters-*.jsonl")
        where = service(emulator.base_url, api=api)
        left = {letter["document_id"] for letter in first.letters}
        assert all(letter["retryable"] for letter in first.letters)
        again = run_redrive(
            letters, where, tmp_path / "again", journal=str(tmp_path / "journal"), max_cost=5.0, **SETTINGS
        )
        assert {row["_document_id"] for row in again.rows} == left
        assert (emulator.stats()["documents"], emulator.stats()["paid_twice"]) == (80, 0)


def test_what_the_journal_has_costs_nothing_and_leaves_though_the_budget_is_spent(tmp_path: Path) -> None:
    with Emulator(seed=3) as emulator:
        run_with_budget(emulator, tmp_path, "first", count=40, max_cost=None)
        spent = billed(emulator)
        second = run_with_budget(emulator, tmp_path, "second", count=60, max_cost=spent + MOST_OF_ONE / 4)
        assert billed(emulator) == spent, "what a run without a budget has spent did not count"
    assert len(second.rows) == 40
    assert second.codes == {"budget": 20}


FAULTS = {
    "refused answers": "invalid=0.3,truncated=0.2,stubborn=0.3",
    "other forms": "json_mode=0.3",
    "busy": "rate_limit=0.2:0,error_500=0.1,capacity=0.1",
    "lost replies": "drop_after_accept=0.2,drop_before_accept=0.1,error_502_bare=0.1",
    "odd jobs": "missing_item=0.2,failed_item=0.2,partial_reply=0.3",
    "broken streams": "stream_cut=0.2,stream_error=0.2",
}


@pytest.mark.parametrize(
    ("api", "faults"),
    [
        *(("batch", faults) for faults in FAULTS if faults != "broken streams"),
        *(("run", faults) for faults in ("refused answers", "lost replies", "broken streams")),
    ],
)
def test_repairs_other_forms_and_repeated_requests_stay_within_the_budget(
    api: str, faults: str, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"structured_output": "prompt"} if faults == "broken streams" else {}
    with Emulator(seed=4, faults=FAULTS[faults]) as emulator:
        outcome = run_with_budget(emulator, tmp_path, "out", count=60, api=api, **changes)
        spent = billed(emulator)
    assert sum(outcome.ids.values()) == len(outcome.ids) == 60
    assert spent <= CAP
    assert "budget" in outcome.codes


def _command(directory: Path, emulator: Emulator, *more: object) -> list[str]:
    lines = [json.dumps({"id": d.id, "text": d.text}) for d in receipts(100)]
    (directory / "docs.jsonl").write_text("\n".join(lines) + "\n")
    (directory / "schema.json").write_text(json.dumps(RECEIPT))
    words = (
        "extract", directory / "docs.jsonl", "--schema", directory / "schema.json", "--output", directory / "out",
        "--base-url", emulator.base_url, "--poll-interval", "0.05:0.1", "--max-completion-tokens", 64, *more,
    )  # fmt: skip
    return [str(word) for word in words]


def _kill(command: list[str], directory: Path, is_moment: Callable[[], bool]) -> None:
    victim = Program(command, directory)
    while not is_moment():
        victim.process.join(0.01)
        assert victim.process.is_alive(), "the run ended before it could be killed"
    victim.kill()


def test_kill_9_in_the_middle_and_the_same_command_again_stay_within_the_budget_together(tmp_path: Path) -> None:
    cap, out = 0.008, tmp_path / "out"
    with Emulator(latency=0.1, seed=6) as emulator:
        command = _command(tmp_path, emulator, "--max-cost", cap)
        for documents in (3, 6):

            def is_moment(documents: int = documents) -> bool:
                """Whether a job is in flight and its ticket is on the disk, so that no submit is unknown."""
                standing = Standing.of(out)
                return emulator.stats()["documents"] >= documents and bool(standing.tickets) and not standing.intents

            _kill(command, tmp_path, is_moment)
        code, _, err = Program(command, tmp_path).end()
        assert (code, "--max-cost" in err) == (3, True), err
        spent, stats = billed(emulator), emulator.stats()
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["documents"], set(summary["dead_letters"])) == (100, {"budget"})
    kept = summary["budget"]
    assert kept["spent_usd"] == pytest.approx(spent, abs=1e-6), "a job that was gone on with was not settled"
    assert kept["reserved_usd"] == 0
    assert cap - MOST_OF_ONE < spent <= cap
    assert stats["paid_twice"] == 0


def test_what_a_killed_run_had_in_flight_synchronously_counts_as_it_was_reserved(tmp_path: Path) -> None:
    cap = 0.15
    with Emulator(latency=0.1, seed=6) as emulator:
        command = _command(tmp_path, emulator, "--max-cost", cap, "--api", "run", "--max-concurrency", 2)
        _kill(command, tmp_path, lambda: emulator.stats()["documents"] >= 6)
        code, _, err = Program(command, tmp_path).end()
        assert code == 0, err
        spent = billed(emulator)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["extractions"] == 100
    kept = summary["budget"]
    assert kept["reserved_usd"] > 0, "nothing was in flight when it was killed"
    assert spent <= kept["spent_usd"] + kept["reserved_usd"] <= kept["max_cost_usd"] == cap


def test_an_unknown_price_or_no_journal_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    with Emulator() as emulator:
        command = _command(tmp_path, emulator, "--max-cost", 1)
        assert "price of @cf/other is not known" in mistake(*command, "--model", "@cf/other", capsys=capsys)
        assert "needs a journal" in mistake(*command, "--no-journal", capsys=capsys)
        for wrong in ("0", "-1", "nan", "inf", "five"):
            assert "dollars" in mistake(*command[:-1], wrong, capsys=capsys)
        assert emulator.stats()["submits"] == 0


def test_a_price_of_the_users_own_decides_what_the_budget_suffices_for(tmp_path: Path) -> None:
    dear = kb.Price(95.0, 16.0, 400.0)
    with Emulator(seed=7) as emulator:
        outcome = run_with_budget(emulator, tmp_path, "out", count=60, price=dear, max_cost=CAP * 100)
        assert billed(emulator) * 100 <= CAP * 100
    assert 0 < outcome.codes["budget"] < 60


def test_documents_in_parts_and_pictures_are_reserved_for_as_they_are(tmp_path: Path) -> None:
    made = [invoice(rows) for rows in (3, 40, 200)]
    with Emulator(answer=answer, seed=8) as emulator:
        settings: dict[str, Any] = {"schema": INVOICE, "chunk_tokens": 1_000, "journal": str(tmp_path / "journal")}
        documents = [one.document for one in made]
        outcome = run_extract(documents, emulator.base_url, tmp_path / "whole", max_cost=0.08, **settings)
        assert sum(outcome.ids.values()) == len(made)
        assert outcome.codes["budget"]
        assert 0 < billed(emulator) <= 0.08
        again = run_extract(documents, emulator.base_url, tmp_path / "again", max_cost=5.0, **settings)
        assert len(again.rows) == len(made)
        assert emulator.stats()["paid_twice"] == 0, "a part that was paid for was paid for again"


def test_what_a_run_without_a_budget_left_in_the_queue_counts_before_anything_new_is_sent(tmp_path: Path) -> None:
    """New documents come first in line, so that they could spend what those in flight are going to cost."""
    with Emulator(latency=1.0, seed=9) as emulator:
        hasty = kb.Polling(0.05, 1.5, 0.1, deadline=0.3)
        first = run_with_budget(emulator, tmp_path, "first", count=30, max_cost=None, polling=hasty)
        assert first.codes == {"deadline": 30}
        cap = 30 * MOST_OF_ONE
        outcome = run_extract(
            receipts(60, start=30) + receipts(30),
            "",
            tmp_path / "second",
            where=service(emulator.base_url),
            journal=str(tmp_path / "journal"),
            max_cost=cap,
            **{**SETTINGS, "batching": kb.Batching(max_items=5)},
        )
        spent, stats = billed(emulator), emulator.stats()
    assert spent <= cap
    assert stats["paid_twice"] == 0
    assert {row["_document_id"] for row in outcome.rows} >= {f"doc-{i}" for i in range(30)}
    assert sum(outcome.ids.values()) == len(outcome.ids) == 90


def look_up(name: str) -> str:
    """Looks a shop up."""
    return name.upper()


@pytest.mark.parametrize("kind", ["functions", "no queue"])
def test_function_calls_and_the_way_around_a_missing_queue_are_reserved_and_settled(kind: str, tmp_path: Path) -> None:
    with Emulator(seed=11) as emulator:
        changes: dict[str, Any] = {"journal": str(tmp_path / "journal"), "max_cost": CAP, "price": PRICE, **SETTINGS}
        if kind == "functions":
            where = service(emulator.base_url, api="run")
            changes |= {"tools": [look_up], "instructions": "Use look_up."}
        else:
            where = service(emulator.base_url, model="@cf/moonshotai/kimi-k2.7-code", fallback_api="run")
        outcome = run_extract(receipts(60), "", tmp_path / "out", where=where, **changes)
        spent, stats = billed(emulator), emulator.stats()
    assert sum(outcome.ids.values()) == len(outcome.ids) == 60
    assert outcome.codes["budget"]
    assert outcome.rows, outcome.codes
    assert (stats["runs"] > len(outcome.rows)) is (kind == "functions"), "no function was called"
    assert spent <= CAP
    kept = Budget(1, "", 1, SpendingFiles(str(tmp_path / "journal"))).spending
    assert kept.spent == pytest.approx(spent, abs=1e-6)
    assert kept.reserved == 0
