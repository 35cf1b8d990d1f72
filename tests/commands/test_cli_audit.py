"""`kimi-beam audit`: its output and exit codes for a stream's documents."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from patience import HANGS
from stream_files import document, write, write_deliveries

from kimi_beam import cli


def audit(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, int], list[list[str]]]:
    """Runs the command: its exit code, its counts, and the documents that it names."""
    code = cli.main(["audit", *map(str, words)])
    lines = capsys.readouterr().out.splitlines()
    named = [line.split("\t") for line in lines if "\t" in line]
    counts = [line.rsplit(None, 1) for line in lines if "\t" not in line]
    return code, {name.strip(): int(count) for name, count in counts}, named


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Six documents that came in, all of which have left."""
    write_deliveries(tmp_path, [document(n) for n in range(1, 7)])
    write(tmp_path, "extractions", [1, 2, 4, 5])
    write(tmp_path, "dead-letters", [3, 6])
    return tmp_path


def test_each_document_has_left_once(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, counts, named = audit(capsys, out)
    assert (code, named) == (0, [])
    assert counts == {
        "came in": 6,
        "rows": 4,
        "dead letters": 2,
        "in flight": 0,
        "neither": 0,
        "twice": 0,
        "both": 0,
        "never came in": 0,
    }


def test_documents_that_have_not_left_are_named_and_young_ones_are_in_flight(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_deliveries(out, [replace(document(7), id="a\x1b[31m\tb")])
    code, counts, ((what, _, name, source, delivery),) = audit(capsys, out)
    assert (code, counts["neither"], what) == (1, 1, "neither")
    assert (name, source, delivery) == (r"a\x1b[31m\tb", "in", f"{7:032x}"), "a control character reached the terminal"
    for age in ("1h", "99999999d", "1e300"):
        code, counts, named = audit(capsys, out, "--older-than", age)
        assert (code, counts["neither"], counts["in flight"], named) == (0, 0, 1, [])


def test_doubled_rows_and_rows_without_a_delivery_are_counted(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (double,) = out.glob("extractions/*/*/*.parquet")
    (double.parent / "copied.parquet").write_bytes(double.read_bytes())
    day = double.parents[1] / "of-another-partition.parquet"  # as a job that was started with --partition day has it
    day.write_bytes(double.read_bytes())
    write(out, "extractions", [8])
    code, counts, named = audit(capsys, out)
    assert code == 1
    assert (counts["rows"], counts["twice"], counts["never came in"], counts["both"]) == (13, 4, 1, 0)
    assert sorted((what, name) for what, _, name, *_ in named) == [("twice", f"doc-{n}") for n in (1, 2, 4, 5)]


def test_files_that_no_document_came_from_are_named(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name, content in (("read.txt", "a"), ("lost.txt", "b"), ("empty.jsonl", ""), (".hidden.txt", "c")):
        (inputs / name).write_text(content)
    write_deliveries(out, [replace(document(2), source=str(inputs / "read.txt"), arrival=document(9).arrival)])
    write(out, "dead-letters", [9])
    code, counts, named = audit(capsys, out, "--input", inputs / "*")
    assert (code, counts["files not read"]) == (1, 1)
    assert ["not read", str(inputs / "lost.txt")] in named


def test_a_directory_without_an_account_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(directory: Path) -> str:
        assert cli.main(["audit", str(directory)]) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        return err

    assert f"there is no {tmp_path / 'nowhere'}" in said(tmp_path / "nowhere")
    assert f"{tmp_path} holds no result of a stream" in said(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    assert f"{tmp_path} is the result of a run that has ended" in said(tmp_path)
    assert f"its counts are in {tmp_path / 'summary.json'}" in said(tmp_path)


def test_the_error_about_a_stream_without_deliveries_says_so(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(out / "documents")
    assert cli.main(["audit", str(out)]) == 2
    assert "but not what came in" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["documents", "extractions", "dead-letters"])
def test_a_file_that_is_damaged_is_named(kind: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (damaged,) = out.glob(f"{kind}/*/*/part-*")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert cli.main(["audit", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"kimi-beam: cannot read {damaged}: ")


def test_a_reader_that_closes_the_pipe_early_causes_no_traceback(tmp_path: Path) -> None:
    write_deliveries(tmp_path, [replace(document(n), id="d" * 200) for n in range(5_000)])
    words = f"{sys.executable} -m kimi_beam.cli audit {tmp_path} | head -1"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=HANGS, check=False)
    assert (done.stdout.split(), done.stderr) == (["came", "in", "5000"], "")
