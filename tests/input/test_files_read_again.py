"""A large document that a reader makes travels by reference, and is the same when its file is read again."""

from __future__ import annotations

import gzip
import io
import json
import random
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from harness import RECEIPT, extract_settings, run_extract, service
from mutated_files import many_pages, pdf
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import Part
from kimi_beam.input.file_references import read_again
from kimi_beam.input.kept_readings import FileKey, KeptReadings, ReadFile
from kimi_beam.input.read_parts import read_part
from kimi_beam.input.readers.content import Content
from kimi_beam.input.reading_process import read_in_child
from kimi_beam.journal.recorder import Keys
from kimi_beam.types.document import Document

KEY = "00" * 16


def scan(pages: int, seed: int = 0) -> bytes:
    """Noisy pages, which compress badly, as those of a scanner do."""
    f = io.BytesIO()
    canvas = Canvas(f, invariant=True)
    for page in range(pages):
        noise = random.Random(f"{seed}/{page}").randbytes(300 * 400)
        picture = io.BytesIO()
        Image.frombytes("L", (300, 400), noise).save(picture, "PNG")
        canvas.drawImage(ImageReader(picture), 0, 0, 595, 842)
        canvas.showPage()
    canvas.save()
    return f.getvalue()


def first(path: Path, **reading: object) -> Document:
    (document,) = read_part(Part(str(path)), Reading(**reading))  # type: ignore[arg-type]
    return document


def again(document: Document) -> Document:
    reference = document.as_reference(KEY)
    assert reference.is_reference
    assert reference.layout is None
    (found,) = read_again([reference])
    return found


@pytest.mark.parametrize(
    "reading",
    [
        {},
        {"pages": "both", "hidden_text": "keep"},
        {"pages": "image", "password_from": "env:A_PASSWORD"},
    ],
)
def test_a_file_that_is_read_again_gives_the_same_document(
    reading: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_PASSWORD", "CANARY")
    path = tmp_path / "a.pdf"
    path.write_bytes(scan(2))
    document = first(path, **reading)
    assert document.failure is None
    assert document.file is not None
    assert document.file.pictures == len(document.images) == 2
    assert "CANARY" not in document.file.reading
    found = again(document)
    assert found == document
    assert found.layout == document.layout


def test_a_text_is_carried_where_reading_it_again_would_cost_more(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf())
    assert first(path).file is None
    path.write_bytes(many_pages(1, 150))
    document = first(path)
    assert document.file is not None, "a text of 300 kB waits in the runner's state"
    assert again(document) == document


def test_a_text_in_an_encoding_that_the_user_named_is_read_in_it_again(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Größe: 3 µm\n".encode("cp1252") * 2_000)
    document = first(path, encoding="cp1252")
    assert document.file is not None
    assert again(document) == document


def test_a_file_that_has_changed_is_said_to_be_another(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(scan(1))
    document = first(path)
    path.write_bytes(scan(1, seed=2))
    found = again(document)
    assert found.failure is not None
    assert (found.failure.code, len(found.images)) == ("file_changed", 1)
    path.write_bytes(scan(1)[:2_000])
    found = again(document)
    assert found.failure is not None
    assert (found.failure.code, found.images) == ("file_changed", ())


def test_a_reference_has_the_journals_key_of_its_document(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(scan(2))
    settings = extract_settings(service("http://127.0.0.1:9"))
    keys, document = Keys(settings.prompt, settings.service), first(path)
    assert keys.of(again(document)) == keys.of(document)


@pytest.mark.parametrize("api", ["batch", "run"])
def test_scans_travel_by_reference_and_are_sent_whole(api: str, tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    for number in range(3):
        (inputs / f"{number}.pdf").write_bytes(scan(3, number))
    seen: list[int] = []

    def answer(messages: list[dict[str, object]], _: object) -> str:
        content = messages[-1]["content"]
        assert isinstance(content, list)
        seen.append(sum(part["type"] == "image_url" for part in content))
        return json.dumps({"company": "Shop", "total": 1})

    with Emulator(answer=answer) as emulator:
        documents = [document for number in range(3) for document in read_part(Part(str(inputs / f"{number}.pdf")))]
        assert all(document.file for document in documents)
        outcome = run_extract(documents, "", tmp_path / "out", where=service(emulator.base_url, api=api))
    assert (len(outcome.rows), outcome.letters) == (3, [])
    assert seen == [3, 3, 3]
    assert [json.loads(row["_metadata"])["pages"] for row in outcome.rows] == [3, 3, 3]


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_scan_whose_parts_are_sent_one_after_the_other_is_not_read_again_for_each(
    api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(scan(6, seed=len(api)))
    readings: list[str] = []

    def counted(reader: str, *rest: Any) -> Content:
        readings.append(reader)
        return read_in_child(reader, *rest)

    monkeypatch.setattr("kimi_beam.input.document_of_file.read_in_child", counted)
    document = first(path)
    with Emulator(answer=lambda *_: json.dumps({"company": "Shop", "total": 1})) as emulator:
        one_by_one: dict[str, Any] = {"batching": kb.Batching(max_items=1), "chunk_tokens": 4_000}
        outcome = run_extract([document], "", tmp_path / "out", where=service(emulator.base_url, api=api), **one_by_one)
        assert emulator.stats()["submits" if api == "batch" else "runs"] >= 6
    assert [row["_provenance"]["parts"] for row in outcome.rows] == [6]
    assert len(readings) == 2, "at first, and once more for all of its parts"


def test_a_process_keeps_what_it_read_last_within_bounds() -> None:
    kept, large = KeptReadings(), "x" * (20 << 20)
    keys = [FileKey(str(number), ".pdf", "") for number in range(3)]
    for key in keys:
        kept.keep(key, ReadFile("text", (large,), None))
        assert kept.get(keys[0]) is not None, "what is used is let go of"
    assert [kept.get(key) is not None for key in keys] == [True, False, True]
    alone = FileKey("larger than the bound", ".pdf", "")
    kept.keep(alone, ReadFile("", (large,) * 4, None))
    assert [kept.get(key) is not None for key in (*keys, alone)] == [False, False, False, True]


def test_a_dead_letter_of_a_reference_holds_its_pictures_and_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(scan(2))
    document = first(path, pages="both")
    with Emulator(answer=lambda *_: "no JSON") as emulator:
        outcome = run_extract([document], emulator.base_url, tmp_path / "out", schema=RECEIPT)
    (letter,) = outcome.letters
    assert letter["document"]["images"] == list(document.images)
    assert letter["document"]["layout"] == {"page_starts": [0, 21], "image_positions": [0, 21], "boxes": None}


# ------------------------------------------------------------------------------------------------ members of a zip


def zipped(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of names that stand twice
        for name, content in members:
            archive.writestr(name, content)
    return path


def members_of(path: Path, **reading: object) -> list[Document]:
    return list(read_part(Part(str(path)), Reading(**reading)))  # type: ignore[arg-type]


LONG = [f"{number} ".encode() * 9_000 for number in range(4)]


def test_large_members_of_a_zip_are_read_again_from_it(tmp_path: Path) -> None:
    members = [("./in/a.txt", LONG[0]), ("in/short.txt", b"short"), ("b.pdf", scan(1)), ("/in/a.txt", LONG[1])]
    path = zipped(tmp_path / "a.zip", [*members, ("c.txt", LONG[2]), ("c.txt", LONG[3])])
    documents = members_of(path)
    assert [document.file is not None for document in documents] == [True, False, True, True, True, True]
    assert [again(document) for document in documents if document.file] == [d for d in documents if d.file]


def test_members_that_cannot_be_read_again_at_little_cost_travel_whole(tmp_path: Path) -> None:
    nested = zipped(tmp_path / "inner.zip", [("a.txt", LONG[0])]).read_bytes()
    outer = zipped(tmp_path / "a.zip", [("inner.zip", nested), ("b.txt.gz", gzip.compress(LONG[1]))])
    many = zipped(tmp_path / "b.zip", [(f"{number}.txt", b"x") for number in range(2_000)] + [("long.txt", LONG[0])])
    for document in (*members_of(outer), *members_of(many)):
        assert (document.failure, document.file) == (None, None)
        assert document.text


def test_a_zip_that_has_changed_costs_its_members_alone(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", [("a.txt", LONG[0]), ("b.txt", LONG[1])])
    first_of, second = members_of(path)
    zipped(path, [("a.txt", LONG[0]), ("b.txt", LONG[2])])
    assert again(first_of) == first_of
    assert [document.failure and document.failure.code for document in map(again, (first_of, second))] == [
        None,
        "file_changed",
    ]
    for content in (b"no zip any more", zipped(tmp_path / "short.zip", [("a.txt", LONG[0])]).read_bytes(), None):
        path.write_bytes(content) if content is not None else path.unlink()
        found = again(second)
        assert found.failure is not None
        assert (found.failure.code, found.text) == ("file_changed", "")
