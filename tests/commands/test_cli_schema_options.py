"""`--closed` and `--formats`: their effect on the files that are written."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from harness import read_dataset
from scripted import Scripted, answered

from kimi_beam.cli import main

SCHEMA = {
    "type": "object",
    "properties": {"shop": {"type": "string"}, "at": {"type": "string", "format": "date-time"}},
    "required": ["shop", "at"],
}


def _run(answer: Any, directory: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Any:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "0" * 32)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    schema, document = directory / "s.json", directory / "d.txt"
    schema.write_text(json.dumps(SCHEMA))
    document.write_text("Shop A, 12:30")
    with Scripted(lambda _: answered(message={"content": json.dumps(answer)})) as server:
        where = ("--base-url", server.url, "--api", "run", "--no-preflight", "--structured-output", "bare")
        code = main(
            ["extract", str(document), "--schema", str(schema), "--output", str(directory / "o"), *where, *options]
        )
    assert code == 0
    return read_dataset(directory / "o")


def test_keys_that_the_schema_does_not_name_are_counted_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"shop": "A", "at": "2026-03-01T12:30:00Z", "till": 5}
    (tmp_path / "open").mkdir()
    kept = _run(answer, tmp_path / "open", monkeypatch)
    assert [json.loads(row["_additional"]) for row in kept.rows] == [{"/till": 5}]
    assert kept.summary["rows_with_unnamed_keys"] == 1
    assert "in 1 rows, kept in _additional (--closed refuses them)" in capsys.readouterr().out
    (tmp_path / "closed").mkdir()
    refused = _run(answer, tmp_path / "closed", monkeypatch, "--closed")
    assert refused.codes == {"schema_violation": 1}
    assert "'till' is not named by the schema, which is closed" in refused.letters[0]["message"]
    assert refused.summary["rows_with_unnamed_keys"] == 0


def test_local_times_are_dead_letters_or_local_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"shop": "A", "at": "2026-03-01T12:30:00"}
    (tmp_path / "strict").mkdir()
    strict = _run(answer, tmp_path / "strict", monkeypatch)
    assert strict.codes == {"schema_violation": 1}
    assert "--formats local" in strict.letters[0]["message"]
    (tmp_path / "local").mkdir()
    local = _run(answer, tmp_path / "local", monkeypatch, "--formats", "local")
    assert [row["at"] for row in local.rows] == [datetime(2026, 3, 1, 12, 30)]
    assert local.summary["rows_with_unnamed_keys"] == 0
    (tmp_path / "off").mkdir()
    off = _run(answer, tmp_path / "off", monkeypatch, "--formats", "off")
    assert [json.loads(row["_additional"]) for row in off.rows] == [{"/at": "2026-03-01T12:30:00"}]


def test_the_stand_in_gives_a_local_time_where_one_is_asked_for(tmp_path: Path) -> None:
    schema, document = tmp_path / "s.json", tmp_path / "d.txt"
    schema.write_text(json.dumps(SCHEMA).replace('"at"', '"date"'))
    document.write_text("Shop: ACME\nDate: 2026-03-01 12:30\n")
    out = tmp_path / "o"
    command = ["extract", str(document), "--schema", str(schema), "--output", str(out), "--emulator"]
    assert main([*command, "--formats", "local"]) == 0
    assert [row["date"] for row in read_dataset(out).rows] == [datetime(2026, 3, 1, 12, 30)]


def test_show_has_the_columns_of_the_formats_that_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = tmp_path / "s.json"
    schema.write_text(json.dumps(SCHEMA))
    assert main(["schema", "show", str(schema), "--formats", "local"]) == 0
    assert "timestamp[us]  " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["schema", "show", str(schema), "--formats", "lax"])
    assert "'lax' is none of strict, local, off" in capsys.readouterr().err
