"""docs/scores.md: what stands there of the rules is what they reach, and a token has the service scored instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import score_table
from benchmarks.score_table import PAGE, SETS, extracted_score, overall_row
from harness import ACCOUNT

from kimi_beam.emulator import Emulator


def test_the_scores_in_the_docs_are_those_that_the_rules_reach(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = extracted_score(SETS[0], shared_data / "documents", tmp_path, ["--emulator"])
    capsys.readouterr()
    assert (found.documents, found.outcomes) == (342, {"row": 342})
    assert overall_row(SETS[0], found) in PAGE.read_text().splitlines(), "make score writes docs/scores.md anew"
    assert found.overall.f1 is not None
    assert 0.5 < found.overall.f1 < 0.99
    assert found.fields["/address"].errors["misread"] > 50  # joined from several lines, as the rules seldom do


def test_whoever_has_a_token_scores_the_service_by_the_same_command(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "a-token")
    _copy_first(shared_data / "documents", tmp_path / "documents", 4)
    page, before = tmp_path / "scores.md", "<!-- rules -->\nkept\n<!-- end of rules -->\n<!-- kimi -->\n"
    page.write_text(before + "no figures yet\n<!-- end of kimi -->\nafter\n")
    monkeypatch.setattr(score_table, "PAGE", page)
    with Emulator() as emulator:
        assert score_table.main(["--base-url", emulator.base_url, "--repairs", "0"], tmp_path) == 0
        assert emulator.stats()["documents"] == 12
    assert "Kimi, for money" in capsys.readouterr().err
    text = page.read_text()
    assert text.startswith(f"{before}\nkimi-beam extract --base-url")
    assert text.endswith("<!-- end of kimi -->\nafter\n")
    assert "no figures yet" not in text
    rows = [line for line in text.splitlines() if line.startswith(tuple(f"| {one.name} | 4 |" for one in SETS))]
    assert len(rows) == 3


def _copy_first(source: Path, target: Path, count: int) -> None:
    """Copies so many documents of each set, and their schema."""
    for one in SETS:
        some, all_ = target / one.path, source / one.path
        some.parent.mkdir(parents=True)
        some.write_bytes(b"".join(all_.read_bytes().splitlines(keepends=True)[:count]))
        some.with_name("gold.schema.json").write_bytes(all_.with_name("gold.schema.json").read_bytes())
