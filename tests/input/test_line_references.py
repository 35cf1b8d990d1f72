"""A large line of JSON travels as its place in the file, and is the same document when it is read again."""

from __future__ import annotations

import gzip
import json
import random
import re
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from harness import RECEIPT, receipts, run_extract, service

from kimi_beam.emulator import Emulator
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import Part
from kimi_beam.input.file_references import WORTH_READING_TWICE, read_again
from kimi_beam.input.read_parts import read_part
from kimi_beam.types.document import Document

LONG = 'Größe: 3 µm; "a\\b"\t'


def line(number: int, size: int, **more: Any) -> dict[str, Any]:
    text = f"{number} " + LONG * (size // len(LONG) + 1)
    return {"id": f"d{number}", "text": text[:size], **more}


def written(path: Path, lines: list[dict[str, Any]], *, encoding: str = "utf-8", end: str = "\n") -> Path:
    path.write_bytes("".join(f"{json.dumps(one, ensure_ascii=False)}{end}" for one in lines).encode(encoding))
    return path


def read(path: Path | Part, **reading: Any) -> list[Document]:
    part = path if isinstance(path, Part) else Part(str(path))
    return list(read_part(part, Reading(**reading)))


def assert_read_again_alike(documents: list[Document]) -> None:
    """Each large document is read again as it was, from a reference without its text."""
    references = [document.as_reference("00" * 16) if document.file else document for document in documents]
    assert all(
        not one.text and not one.images for one, document in zip(references, documents, strict=True) if document.file
    )
    assert read_again(references) == documents


@pytest.mark.parametrize(
    ("reading", "encoding", "end"),
    [
        ({}, "utf-8", "\n"),
        ({}, "utf-8", "\r\n"),
        ({}, "utf-8-sig", "\n"),
        ({"text_field": "body", "id_field": "key"}, "utf-8", "\n"),
        ({"text_field": "*"}, "utf-8", "\n"),
        ({"id_field": "#"}, "utf-8", "\n"),
        ({"encoding": "cp1252"}, "cp1252", "\n"),
    ],
)
def test_a_large_line_is_read_again_as_it_was(reading: dict[str, str], encoding: str, end: str, tmp_path: Path) -> None:
    lines = [line(number, size) for number, size in enumerate((40_000, 30, 20_000, 17_000))]
    lines += [line(4, 30_000, shop=7, day="Ä"), line(5, 10, images=["data:image/png;base64," + "A" * 20_000])]
    if "body" in reading.values():
        lines = [{"key": one.pop("id"), "body": one.pop("text"), **one} for one in lines]
    documents = read(written(tmp_path / "a.jsonl", lines, encoding=encoding, end=end), **reading)
    assert [document.failure for document in documents] == [None] * 6
    assert [document.file is not None for document in documents] == [True, False, True, True, True, True]
    assert [document.picture_count for document in documents] == [0, 0, 0, 0, 0, 1]
    assert_read_again_alike(documents)


@pytest.mark.parametrize("has_metadata", [False, True])
def test_a_line_is_found_again_wherever_the_file_is_cut(has_metadata: bool, tmp_path: Path) -> None:
    """The fast path reads texts alone; the careful one lines with metadata, among empty ones and such that fail."""
    made = random.Random(3)
    path = tmp_path / "a.jsonl"
    more = {"n": 1} if has_metadata else {}
    lines = [json.dumps(line(number, made.choice([5, 900, 16_384, 50_000]), **more)).encode() for number in range(120)]
    if has_metadata:
        lines[7], lines[40], lines[41] = b"", b"no JSON" * 4_000, b"  "
    path.write_bytes(b"\n".join(lines) + b"\n")
    size = path.stat().st_size
    edges = [0, *sorted(made.sample(range(1, size), 6)), size]
    found = [document for a, b in pairwise(edges) for document in read(Part(str(path), a, b))]
    good = [document for document in found if document.failure is None]
    assert len(good) == 117 if has_metadata else 120
    assert [document.id for document in good] == [
        f"d{number}" for number in range(120) if not has_metadata or number not in (7, 40, 41)
    ]
    large = [document for document in good if len(document.text) >= WORTH_READING_TWICE]
    assert len(large) > 40
    assert all(document.file is not None for document in large)
    assert_read_again_alike(good)


def test_a_line_that_has_changed_is_said_to_be_another(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [line(0, 20_000), line(1, 20_000)])
    references = [document.as_reference("") for document in read(path)]
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"1 Gr', b'"2 Gr'))
    first, second = read_again(references)
    assert first.failure is None
    assert second.failure is not None
    assert (second.failure.code, second.text[:2]) == ("file_changed", "2 ")
    for content in (before[:30_000], b"x" + before, None):
        path.write_bytes(content) if content is not None else path.unlink()
        last = read_again(references)[1]
        assert last.failure is not None
        assert (last.failure.code, last.text) == ("file_changed", "")


def test_lines_that_have_no_place_in_a_file_travel_whole(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.jsonl", [line(0, 40_000), line(1, 40_000, shop=1)]).read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "c.jsonl").write_bytes(plain.decode().encode("utf-16"))
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("a.jsonl", plain)
    for name in ("b.jsonl.gz", "c.jsonl", "d.zip"):
        documents = read(tmp_path / name)
        assert [(len(document.text), document.file) for document in documents] == [(40_000, None)] * 2


@pytest.mark.parametrize("api", ["batch", "run"])
def test_large_lines_are_sent_whole_and_dead_letters_hold_them(api: str, tmp_path: Path) -> None:
    lines = [{"id": one.id, "text": one.text + "\nNOTE " + "x" * 20_000, "n": 1} for one in receipts(6)]
    lines[4]["text"] = "unreadable " * 3_000
    path = written(tmp_path / "a.jsonl", lines)
    documents = read(path)
    assert all(document.file for document in documents)

    def answer(messages: Any, schema: Any) -> str:
        found = re.search(r"TOTAL: ([\d.]+)\s+NOTE x{20000}$", messages[-1]["content"], re.MULTILINE)
        return json.dumps({"company": "Shop", "total": float(found[1])}) if found else "no JSON"

    with Emulator(answer=answer) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(documents, "", tmp_path / "out", schema=RECEIPT, where=where)
    assert outcome.ids == {one["id"]: 1 for one in lines}
    (letter,) = outcome.letters
    assert (letter["document_id"], letter["document"]["text"]) == (lines[4]["id"], lines[4]["text"])
    assert {row["total"] for row in outcome.rows} == {0.5, 1.5, 2.5, 3.5, 5.5}
