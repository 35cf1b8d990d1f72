"""`kimi-beam read`: what the model would see of each document, a line each, without an account and without a schema."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pictures
import pytest
from mutated_files import archive, pdf, tiff, word
from patience import HANGS
from running_cli import mistake, run

from kimi_beam.input import reading_process


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    directory = tmp_path / "in"
    directory.mkdir()
    (directory / "a.pdf").write_bytes(pdf())
    (directory / "b.docx").write_bytes(word())
    (directory / "c.tiff").write_bytes(tiff())
    (directory / "d.png").write_bytes(pictures.png())
    (directory / "e.txt").write_text("Total: 24.80\n")
    (directory / "f.pdf").write_bytes(pdf()[:300])
    (directory / "g.jsonl").write_text('{"id":"line","text":"Total: 3.10","shop":7}\nno JSON\n')
    (directory / "h.zip").write_bytes(archive())
    return directory


def read(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[list[dict[str, Any]], str]:
    code, out, err = run("read", *words, capsys=capsys)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()], err


def test_each_document_is_a_line_that_says_what_the_model_would_see(
    inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, err = read(capsys, inputs)
    names = [*(inputs / name for name in ("a.pdf", "b.docx", "c.tiff", "d.png", "e.txt", "f.pdf")), "line"]
    members = [f"{inputs / 'h.zip'}!/in/receipt-{number}.txt" for number in range(3)]
    assert [line["id"] for line in lines] == [*map(str, names), f"{inputs / 'g.jsonl'}#2", *members]
    keys = ["id", "text", "images", "image_positions", "metadata", "hidden_text", "failure"]
    assert {tuple(line) for line in lines} == {tuple(keys)}
    a_pdf, a_word, scan, picture, text, damaged, line, no_json, *_ = lines
    assert a_pdf["text"].splitlines()[3].startswith("3")
    assert (a_pdf["metadata"]["pages"], a_pdf["metadata"]["title"]) == (2, "An invoice")
    assert a_word["text"].startswith("# Invoice 4711")
    assert [image["media_type"] for image in scan["images"]] == ["image/png"] * 3
    assert picture["images"] == [{"media_type": "image/png", "bytes": len(pictures.png())}]
    assert (text["text"], text["failure"], text["hidden_text"]) == ("Total: 24.80\n", None, [])
    assert (damaged["failure"]["code"], damaged["text"]) == ("damaged", "")
    assert (line["text"], line["metadata"]) == ("Total: 3.10", {"shop": 7})
    assert no_json["failure"]["code"] == "not_json"
    assert "9 documents read, 2 that cannot be read (1 damaged, 1 not_json)" in err


def test_what_would_be_refused_before_it_is_sent_is_said_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in {"a.txt": b"", "b.png": b"", "c.webp": b"no picture", "d.txt": b"Total: 3.10"}.items():
        (tmp_path / name).write_bytes(content)
    lines, err = read(capsys, tmp_path)
    codes = [line["failure"] and line["failure"]["code"] for line in lines]
    assert codes == ["empty_document", "bad_image", "bad_image", None]
    assert "1 documents read, 3 that cannot be read (2 bad_image, 1 empty_document)" in err


def test_the_lines_with_images_are_input_for_extract(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "out" / "read.jsonl"
    code, out, err = run("read", inputs / "c.tiff", "--images", "--output", written, capsys=capsys)
    assert (code, out) == (0, ""), err
    assert [path.name for path in written.parent.iterdir()] == ["read.jsonl"], "staged files are left"
    (line,) = map(json.loads, written.read_text().splitlines())
    again, _ = read(capsys, written, "--images")
    assert again[0]["images"] == line["images"]
    assert len(line["images"]) == 3


def test_the_options_of_reading_are_those_of_extract(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (first,), _ = read(capsys, inputs / "a.pdf", "--pages", "image")
    assert first["text"].splitlines() == ["[page 1: a picture]", "", "[page 2: a picture]"]
    assert [image["media_type"] for image in first["images"]] == ["image/jpeg"] * 2
    lines, _ = read(capsys, inputs / "g.jsonl", "--text-field", "shop", "--id-field", "text", "--limit", 1)
    assert [line["id"] for line in lines] == ["Total: 3.10"]


def test_a_limit_reads_no_more_than_it_says(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(read(capsys, inputs, "--limit", 2)[0]) == 2
    assert read(capsys, inputs, "--limit", 0)[0] == []


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Stdin:
        buffer = io.BytesIO(b"Total: 24.80\n")

    monkeypatch.setattr(sys, "stdin", Stdin)
    (line,), _ = read(capsys, "-")
    assert line["text"] == "Total: 24.80\n"


@pytest.mark.parametrize(
    "words",
    [
        ("no/such/file.txt",),
        (),
        ("in.log",),
        ("in.txt", "--encoding", "klingon"),
        ("in.txt", "--password-from", "env:NOT_SET"),
        ("in.txt", "--output", "in.txt/below.jsonl"),
        ("in.txt", "--schema", "s.json"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("text")
    Path("in.log").write_text("text")
    mistake("read", *words, capsys=capsys)


def test_what_could_control_a_terminal_is_printed_as_an_escape_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "a\u202eb\u009bc\U000e0001d é 中"
    (tmp_path / "a.txt").write_text(text)
    code, out, _ = run("read", tmp_path / "a.txt", capsys=capsys)
    assert code == 0
    assert out.rstrip("\n").isprintable()
    assert "é 中" in out
    assert json.loads(out)["text"] == text


def test_a_reader_that_closes_the_pipe_early_causes_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "many.jsonl").write_text("".join(f'{{"id":"{n}","text":"{"x" * 999}"}}\n' for n in range(2_000)))
    words = f"{sys.executable} -m kimi_beam.cli read {tmp_path / 'many.jsonl'} | head -1 | wc -l"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=HANGS, check=False)
    assert (done.stdout.split(), done.stderr) == (["1"], "")


def test_no_file_is_left_of_a_run_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.pdf").write_bytes(pdf())
    reading_process.end_all()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # no PDF can be read
    code, _, err = run("read", tmp_path / "*.*", "--output", tmp_path / "out" / "read.jsonl", capsys=capsys)
    assert (code, "/nowhere/python" in err) == (1, True)
    assert list((tmp_path / "out").iterdir()) == []
