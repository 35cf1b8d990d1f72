"""Tests that need data which is not part of the project are skipped without it, and fail where CI is set."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, data_at


def test_without_the_data_a_test_is_skipped_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="set KIMI_BEAM_SHARED to the directory that holds data/"):
        data_at(tmp_path / "data")


def test_without_the_data_a_test_fails_where_ci_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="set KIMI_BEAM_SHARED to the directory that holds data/"):
        data_at(tmp_path / "data")
    (tmp_path / "data").mkdir()
    assert data_at(tmp_path / "data") == tmp_path / "data"


def test_no_test_looks_for_the_data_by_itself() -> None:
    # `make score` is a command, and asks for its documents itself.
    own = {
        ROOT / "tests" / name for name in ("conftest.py", "end_to_end/test_shared_data.py", "benchmarks/score_table.py")
    }
    others = [path for path in (ROOT / "tests").rglob("*.py") if path not in own]
    assert len(others) > 50
    found = [path.name for path in others if any(w in path.read_text() for w in ("KIMI_BEAM_SHARED", "../shared"))]
    assert found == []
