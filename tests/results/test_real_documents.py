"""Real receipts, end to end: all are accounted for, and each answer is its own document's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from harness import read_dataset

from kimi_beam import cli
from kimi_beam.emulator import Emulator


def test_all_342_receipts_are_accounted_for(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receipts = shared_data / "documents" / "sroie" / "sroie.jsonl"
    schema = ROOT / "schemas" / "receipt.json"
    code = cli.main(["extract", str(receipts), "--schema", str(schema), "--emulator", "--output", str(tmp_path / "o")])
    assert code == 0, capsys.readouterr().err
    outcome = read_dataset(tmp_path / "o")
    expected = [json.loads(line)["id"] for line in receipts.read_bytes().splitlines()]
    assert sorted(outcome.ids.elements()) == sorted(expected)
    assert outcome.summary["documents"] == 342
    equal = dict.fromkeys(("company", "date", "address", "total"), 0)
    for row in outcome.rows:
        gold = json.loads(row["_metadata"])["gold"]
        for field in equal:
            equal[field] += row[field] == gold[field]
    # The stand-in's rules find most of them; answers that were mixed up would find next to none.
    assert equal["date"] > 300, equal
    assert equal["company"] > 250, equal
    assert equal["total"] > 250, equal
    assert equal["address"] > 150, equal


def test_the_program_to_copy_runs(tmp_path: Path) -> None:
    with Emulator() as emulator:
        done = subprocess.run(
            [
                *(sys.executable, ROOT / "pipelines" / "extract.py"),
                *("--input", ROOT / "pipelines" / "samples" / "receipt-*.txt"),
                *("--schema", "schemas.business_document:BusinessDocument", "--base-url", emulator.base_url),
                *("--output", tmp_path / "out", "--runner", "FnApiRunner"),
            ],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    outcome = read_dataset(tmp_path / "out")
    assert outcome.summary["documents"] == len(list((ROOT / "pipelines" / "samples").glob("receipt-*.txt")))
