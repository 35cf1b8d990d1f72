"""Standard input: its kind is recognised by its first bytes."""

from __future__ import annotations

import gzip
import io
import sys
import zipfile
from pathlib import Path

import pictures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import read_dataset

from kimi_beam.cli import main

LINE = b'{"id": "d", "text": "COMPANY: A Ltd\\nTOTAL: 1.50"}\n'


class _Stdin:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def _table() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": ["d"], "text": ["TOTAL: 1.50"]}), out)
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "TOTAL: 1.50")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (LINE, {"d"}),
        (b"\n" + LINE, {"d"}),
        (b"\xef\xbb\xbf" + LINE, {"d"}),
        (LINE.decode().encode("utf-16"), {"d"}),
        (gzip.compress(LINE, mtime=0), {"d"}),
        (_table(), {"d"}),
        (b"TOTAL: 1.50\n", {"stdin.txt"}),
        (pictures.png(), {"stdin.png"}),
        (gzip.compress(b"TOTAL: 1.50\n", mtime=0), {"stdin.txt.gz"}),
        (_zip(), {"a.txt"}),
        (b"{broken\n" + LINE, {"stdin.jsonl#1", "d"}),
    ],
)
def test_standard_input_is_read_by_its_content(
    content: bytes, ids: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.json").write_text('{"type": "object", "properties": {"total": {"type": "number"}}}')
    monkeypatch.setattr(sys, "stdin", _Stdin(content))
    arguments = ["--schema", str(tmp_path / "s.json"), "--output", str(tmp_path / "out"), "--emulator"]
    assert main(["extract", "-", *arguments]) == 0
    assert {Path(key).name for key in read_dataset(tmp_path / "out").ids} == ids


def test_nothing_on_standard_input_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.json").write_text('{"type": "object", "properties": {"total": {"type": "number"}}}')
    monkeypatch.setattr(sys, "stdin", _Stdin(b""))
    assert main(["extract", "-", "--schema", str(tmp_path / "s.json"), "--output", str(tmp_path), "--emulator"]) == 2
    assert "standard input is empty" in capsys.readouterr().err
