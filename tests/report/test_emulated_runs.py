"""Who answered, and what was paid: a stand-in's run never passes for Kimi's, and what may be paid twice is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness import RECEIPT, read_dataset, receipts
from scripted import Asked, Scripted, answered, error

from kimi_beam import cli
from kimi_beam.emulator import Emulator

STAND_IN = "@cf/moonshotai/kimi-k2.6 (emulator: rule-based, not Kimi)"


def extract(directory: Path, *flags: str, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str, str]:
    (directory / "s.json").write_text(json.dumps(RECEIPT))
    (directory / "in.jsonl").write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(6)))
    out = directory / "out"
    arguments = [str(directory / "in.jsonl"), "--schema", str(directory / "s.json"), "--output", str(out)]
    assert cli.main(["extract", *arguments, "--poll-interval", "0.02:0.1", *flags]) == 0
    said = capsys.readouterr()
    return read_dataset(out).summary, said.out, said.err


@pytest.mark.parametrize("way", ["--emulator", "--base-url", "--openai-url"])
def test_a_run_that_the_emulator_answered_says_so_everywhere(
    way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        where = {
            "--emulator": [way],
            "--base-url": [way, emulator.base_url],
            "--openai-url": [way, emulator.openai_url, "--model", "kimi", "--price", "1:1:1"],
        }[way]
        summary, out, err = extract(tmp_path, *where, capsys=capsys)
    model = STAND_IN if way != "--openai-url" else "kimi (emulator: rule-based, not Kimi)"
    assert summary["emulated"] is True
    assert summary["model_answered"] == {model: 6}
    assert summary["cost_usd"] == 0
    assert summary["would_have_cost_usd"] > 0
    assert err.count("this is not Kimi, and nothing is paid for") == 1
    (cost,) = [line for line in out.splitlines() if line.startswith("cost ")]
    would = f"{summary['model']} would have cost ${summary['would_have_cost_usd']:.4f}"
    assert cost.endswith(f"nothing: the emulator answered, which is not Kimi; {would}")
    assert f"answered by         {model}: 6" in out


def test_a_run_of_which_nothing_became_a_row_is_known_to_be_emulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(faults="invalid=1") as emulator:
        summary, out, _ = extract(tmp_path, "--base-url", emulator.base_url, "--repairs", "0", capsys=capsys)
    assert (summary["extractions"], summary["emulated"], summary["cost_usd"]) == (0, True, 0)
    assert "nothing: the emulator answered" in out


def test_another_service_is_paid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(asked: Asked) -> bytes:
        return error(5504, 404) if "queueRequest" in asked.path else answered()

    with Scripted(answer) as server:
        summary, out, err = extract(tmp_path, "--base-url", server.url, "--api", "run", capsys=capsys)
    assert (summary["emulated"], summary["model_answered"], summary["would_have_cost_usd"]) == (False, {"m": 6}, None)
    assert summary["cost_usd"] > 0
    assert f"cost                ${summary['cost_usd']:.4f}" in out
    assert "emulator" not in out + err


# ------------------------------------------------------------------------------------------------ paid twice


@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_what_may_have_been_paid_twice_is_counted_as_such(
    api: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service takes some requests and hangs up before it answers."""
    with Emulator(seed=3, faults="drop_after_accept=0.5") as emulator:
        flags = ("--base-url", emulator.base_url, "--api", api)
        summary, out, _ = extract(tmp_path, *flags, capsys=capsys)
        stats = emulator.stats()
    twice = summary["documents_maybe_paid_twice"]
    assert stats["paid_twice"] <= twice <= 6
    assert (summary["resubmits"] > 0) == (twice > 0)
    assert ("maybe paid twice" in out) == (twice > 0)


def test_a_job_that_is_submitted_again_at_its_deadline_counts_all_its_documents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(faults="never_ends=1") as emulator:
        flags = ("--base-url", emulator.base_url, "--deadline", "1", "--on-deadline", "resubmit")
        summary, out, _ = extract(tmp_path, *flags, capsys=capsys)
    assert (summary["submits"], summary["resubmits"], summary["documents_maybe_paid_twice"]) == (2, 1, 6)
    assert "maybe paid twice    6 documents" in out


def test_a_run_in_which_nothing_went_wrong_has_paid_for_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(faults="rate_limit=0.3:0") as emulator:
        summary, out, _ = extract(tmp_path, "--base-url", emulator.base_url, capsys=capsys)
    assert (summary["resubmits"], summary["documents_maybe_paid_twice"]) == (0, 0)
    assert "maybe paid twice" not in out
