"""`--dry-run` says what a run will come to, and asks nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness import read_dataset, receipts
from running_cli import SCHEMA, run

from kimi_beam.emulator import Emulator


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID", raising=False)
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)


def lines(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(count)))
    return path


def estimate(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code, out, err = run(*arguments, "--dry-run", "--json", capsys=capsys)
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    for one in (*found["tokens"].values(), found["requests"], found["cost_usd"]):
        assert 0 <= one["low"] <= one["likely"] <= one["high"], found
    return found


def test_nothing_is_sent_and_no_token_is_needed_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = lines(tmp_path / "in.jsonl", 30)
    with Emulator(token="right-token") as emulator:
        where = ("--base-url", emulator.base_url, "--output", tmp_path / "out")
        code, out, err = run("extract", inputs, "--schema", SCHEMA, *where, "--dry-run", capsys=capsys)
        stats = emulator.stats()
    assert code == 0, err
    assert [stats[name] for name in ("submits", "polls", "runs", "items")] == [0, 0, 0, 0]
    assert "nothing was sent" in out
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    for name in ("documents", "prompt tokens", "cached tokens", "answer tokens", "cost", "first prompt, system:"):
        assert name in out
    assert receipts(1)[0].text.splitlines()[0] in out
    assert "company" in out.partition("columns:")[2]


def test_the_bill_of_the_rest_is_told_within_five_percent_by_the_answers_to_fifty_documents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, out = lines(tmp_path / "in.jsonl", 300), tmp_path / "out"
    with Emulator() as emulator:
        command = ("extract", inputs, "--schema", SCHEMA, "--base-url", emulator.base_url, "--output", out)
        assert run(*command, "--limit", 50, capsys=capsys)[0] == 0
        billed = emulator.stats()
        found = estimate(*command, capsys=capsys)
        assert emulator.stats()["submits"] == billed["submits"], "the estimate has sent something"
        assert found["documents"] == 300
        assert found["by_kind"] == {"jsonl": 300}
        assert found["by_state"] == {"new": 250, "recalled": 50}
        assert run(*command, "--overwrite", capsys=capsys)[0] == 0
        after = emulator.stats()
        assert estimate(*command, capsys=capsys)["cost_usd"]["high"] == 0, "what the journal has is free"
    for name in ("prompt", "completion"):
        bill = after[f"{name}_tokens"] - billed[f"{name}_tokens"]
        told = found["tokens"][name]
        assert told["low"] <= bill <= told["high"], (name, bill, told)
        assert abs(told["likely"] / bill - 1) <= 0.05, (name, bill, told)
    cached = after["cached_tokens"] - billed["cached_tokens"]
    assert found["tokens"]["cached"]["low"] <= cached <= found["tokens"]["cached"]["high"]
    billed_usd = sum(
        (after[f"{name}_tokens"] - billed[f"{name}_tokens"]) * dollars / 1e6
        for name, dollars in (("prompt", 0.95), ("cached", 0.16 - 0.95), ("completion", 4.00))
    )
    assert found["cost_usd"]["low"] <= billed_usd <= found["cost_usd"]["high"]
    assert abs(found["cost_usd"]["likely"] / billed_usd - 1) <= 0.15
    assert found["batches"] == 1
    assert len(read_dataset(out).rows) == 300


def test_a_large_input_is_told_by_a_sample_of_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [document.text for document in receipts(40)]
    directory = tmp_path / "in"
    directory.mkdir()
    for number in range(800):
        (directory / f"{number:04}.txt").write_text(texts[number % 40] * (1 + number % 5) + str(number))
    command = ("extract", directory, "--schema", SCHEMA, "--emulator", "--output", tmp_path / "out")
    found = estimate(*command, capsys=capsys)
    assert found["documents"] == 800
    assert found["documents_read"] < 320
    every = estimate(*command, "--limit", 800, capsys=capsys)
    assert every["documents_read"] == 800
    for name in ("prompt", "completion"):
        assert abs(found["tokens"][name]["likely"] / every["tokens"][name]["likely"] - 1) < 0.05, name


def test_the_first_prompt_holds_stand_ins_where_the_run_would_send_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("Pay to DE89 3704 0044 0532 0130 00, ask jane@example.org. Total 4.00")
    command = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--emulator", "--output", tmp_path / "out")
    _, shown, _ = run(*command, "--redact", "iban,email", "--dry-run", capsys=capsys)
    found = estimate(*command, "--redact", "iban,email", capsys=capsys)
    for printed in (shown, json.dumps(found["first_prompt"])):
        assert "0532" not in printed
        assert "jane@" not in printed
        assert "Total 4.00" in printed


def test_what_cannot_be_sent_is_counted_by_its_code_and_costs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "Total 4.00"}\n{"id": "b", "text": " "}\n{"id": 3}\n')
    command = ("extract", tmp_path / "in.jsonl", "--schema", SCHEMA, "--emulator", "--output", tmp_path / "out")
    found = estimate(*command, capsys=capsys)
    assert found["by_state"] == {"empty_document": 1, "missing_text": 1, "new": 1}
    assert found["requests"]["low"] == 1


def test_a_long_document_is_told_by_its_parts_and_further_answers_and_thinking_cost_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("The parties agree on what follows in this clause.\n" * 2_000)
    command = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--emulator", "--output", tmp_path / "out")
    whole = estimate(*command, capsys=capsys)
    parts = estimate(*command, "--chunk-tokens", 4000, capsys=capsys)
    assert (whole["requests"]["low"], parts["requests"]["low"]) == (1, pytest.approx(6, abs=2))
    assert parts["tokens"]["prompt"]["likely"] > 1.05 * whole["tokens"]["prompt"]["likely"]
    three = estimate(*command, "--samples", 3, capsys=capsys)
    assert three["tokens"]["completion"]["likely"] == pytest.approx(
        3 * whole["tokens"]["completion"]["likely"], rel=0.1
    )
    thinking = estimate(*command, "--thinking", capsys=capsys)
    assert thinking["tokens"]["completion"]["likely"] > 500 + whole["tokens"]["completion"]["likely"]


def test_dead_letters_are_told_as_documents_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs, out = lines(tmp_path / "in.jsonl", 12), tmp_path / "out"
    with Emulator(faults="missing_item=1") as emulator:
        where = ("--base-url", emulator.base_url)
        code, _, err = run("extract", inputs, "--schema", SCHEMA, "--output", out, *where, capsys=capsys)
        assert code == 0, err
        letters = len(read_dataset(out).letters)
        assert letters == 12
        command = ("redrive", out, "--schema", SCHEMA, "--output", tmp_path / "out2", *where)
        before = emulator.stats()["submits"]
        found = estimate(*command, capsys=capsys)
        assert emulator.stats()["submits"] == before
    assert found["documents"] == 12, read_dataset(out).codes
    assert not (tmp_path / "out2").exists()
