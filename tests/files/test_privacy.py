"""Permissions: which local users may read the files of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ACCOUNT, RECEIPT, receipts

from kimi_beam import cli
from kimi_beam.emulator import Emulator


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(directory: Path) -> set[str]:
    return {oct(path.stat().st_mode & 0o777) for path in directory.rglob("*") if path.is_file()}


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    (tmp_path / "schema.json").write_text(json.dumps(RECEIPT))
    lines = [json.dumps({"id": d.id, "text": d.text}) for d in receipts(3)]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    with Emulator() as emulator:
        words = ["extract", str(tmp_path / "docs.jsonl"), "--schema", str(tmp_path / "schema.json")]
        words += ["--output", str(tmp_path / "out"), "--base-url", emulator.base_url, *options]
        assert cli.main(words) == 0


@pytest.mark.parametrize("where", ["out/_journal", "elsewhere/deep/journal"])
def test_a_new_journal_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    run(tmp_path, monkeypatch, *(() if where.startswith("out") else ("--journal", str(tmp_path / where))))
    journal = tmp_path / where
    assert oct(journal.stat().st_mode & 0o777) == "0o700"
    assert modes(journal) == {"0o600"}
    assert oct(journal.parent.stat().st_mode & 0o777) == "0o755", "what is not the journal is as the umask says"
    assert oct((tmp_path / "out" / "summary.json").stat().st_mode & 0o777) == "0o644"


def test_a_journal_that_others_may_look_into_stays_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "shared"
    journal.mkdir(mode=0o750)
    run(tmp_path, monkeypatch, "--journal", str(journal))
    assert oct(journal.stat().st_mode & 0o777) == "0o750"
    assert modes(journal) == {"0o644"}
