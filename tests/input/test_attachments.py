"""Files in a file become documents of their own, each read by its own kind, with the parent's id in their metadata."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pictures
from mutated_files import pdf

from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import Part
from kimi_beam.input.read_parts import read_part
from kimi_beam.input.readers.content import Attachment, Content, Page
from kimi_beam.types.document import Document


def zipped(**members: bytes) -> bytes:
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w") as opened:
        for name, content in members.items():
            opened.writestr(name.replace("_", "."), content)
    return f.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    f = io.BytesIO()
    with tarfile.open(fileobj=f, mode="w:gz") as opened:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        opened.addfile(info, io.BytesIO(content))
    return f.getvalue()


def read(tmp_path: Path, attachments: tuple[Attachment, ...], **reading: object) -> list[Document]:
    """The documents of a letter with attachments, and of letters within it, which are read by a reader of our own."""
    path = tmp_path / "a.letter"
    path.write_bytes(b"LETTER")

    def reader(content: bytes, _: str) -> Content | None:
        if not content.startswith(b"LETTER"):
            return None
        inner = (Attachment("inner.letter", b"LETTER" + content[7:]),) if content.startswith(b"LETTERL") else ()
        return Content((Page("Dear Sir"),), {}, (), attachments if content == b"LETTER" else inner)

    return list(read_part(Part(str(path)), Reading(reader=reader, **reading)))  # type: ignore[arg-type]


def test_each_attachment_is_read_by_its_own_kind(tmp_path: Path) -> None:
    letter, invoice, picture, note, row, *others = read(
        tmp_path,
        (
            Attachment("invoice.pdf", pdf()),
            Attachment("logo", pictures.png()),
            Attachment("note.txt", b"Total: 3.10"),
            Attachment("rows.csv", b"id,text\n7,Total: 9\n"),
            Attachment("more.zip", zipped(a_txt=b"one", b_txt=b"two")),
            Attachment("", b"%PDF-1.7 cut off"),
        ),
    )
    name = letter.id
    assert (letter.text, "parent" in letter.metadata) == ("Dear Sir", False)
    assert (invoice.id, invoice.metadata["parent"], invoice.metadata["name"]) == (f"{name}#1", name, "invoice.pdf")
    assert (invoice.metadata["media_type"], invoice.metadata["pages"]) == ("application/pdf", 2)
    assert (picture.id, len(picture.images)) == (f"{name}#2", 1)
    assert (note.id, note.text) == (f"{name}#3", "Total: 3.10")
    assert (row.id, row.text, row.metadata["parent"]) == ("7", "Total: 9", name)
    assert [(d.id, d.text) for d in others[:2]] == [(f"{name}#5!/a.txt", "one"), (f"{name}#5!/b.txt", "two")]
    assert others[2].failure is not None
    assert (others[2].id, others[2].failure.code) == (f"{name}#6", "damaged")
    assert len(others) == 3
    assert {document.metadata["parent"] for document in others} == {name}
    assert {document.source for document in (letter, invoice, picture, note)} == {name}


def test_an_attachment_of_an_unknown_kind_costs_itself_alone_or_is_passed_over(tmp_path: Path) -> None:
    attachments = (Attachment("setup.exe", b"MZ\x90\0"), Attachment("note.txt", b"text"))
    _, unknown, note = read(tmp_path, attachments)
    assert unknown.failure is not None
    assert (unknown.failure.code, note.text) == ("unknown_kind", "text")
    assert [document.id.rpartition("#")[2] for document in read(tmp_path, attachments, skip_unknown=True)[1:]] == ["2"]


def test_letters_within_letters_are_read_to_a_depth(tmp_path: Path) -> None:
    deep = Attachment("deep.letter", b"LETTER" + b"L" * 9)
    documents = read(tmp_path, (deep, Attachment("note.txt", b"text")))
    assert [document.id.partition("#")[2] for document in documents] == ["", "1", "1#1", "1#1#1", "1#1#1#1", "2"]
    assert [document.failure and document.failure.code for document in documents][-2:] == ["nested_too_deep", None]
    assert documents[2].metadata["parent"] == documents[1].id


def test_a_compressed_attachment_is_unpacked_and_read_by_its_own_kind(tmp_path: Path) -> None:
    _, invoice, note, line, member = read(
        tmp_path,
        (
            Attachment("invoice.pdf.gz", gzip.compress(pdf())),
            Attachment("note.txt.XZ", lzma.compress(b"Total: 3.10")),
            Attachment("lines.jsonl.gz", gzip.compress(b'{"id":"7","text":"Total: 9"}\n')),
            Attachment("more.tgz", tarred("a.txt", b"one")),
        ),
    )
    assert invoice.metadata["media_type"] == "application/pdf", invoice.failure
    assert (note.text, line.text, member.text) == ("Total: 3.10", "Total: 9", "one")
    assert member.id.endswith("a.letter#4!/a.txt")


def test_a_damaged_attachment_of_any_kind_costs_itself_alone(tmp_path: Path) -> None:
    noise = bytes(range(7, 256)) * 9
    names = ("a.parquet", "a.tar", "a.zip", "a.docx", "a.eml", "a.xlsx", "a.txt.gz", "a.jsonl.xz", "a.tgz", "a.pdf")
    damaged = tuple(Attachment(name, noise) for name in names)
    letter, *others, last = read(tmp_path, (*damaged, Attachment("note.txt", b"text")))
    assert (letter.failure, last.text) == (None, "text")
    codes = {document.id: document.failure and document.failure.code for document in others}
    assert codes == {f"{letter.id}#{number}": "damaged" for number in range(1, len(damaged) + 1)}


def test_an_attachment_that_unpacks_to_very_much_is_not_unpacked_and_costs_itself_alone(tmp_path: Path) -> None:
    bomb, large = gzip.compress(bytes(60 << 20)), gzip.compress(bytes(range(256)) * 200)
    attachments = (Attachment("a.txt.gz", bomb), Attachment("b.txt.gz", large), Attachment("note.txt", b"text"))
    _, first, second, note = read(tmp_path, attachments, max_document_bytes=50_000)
    assert [document.failure and document.failure.code for document in (first, second, note)] == [
        "too_large",
        "too_large",
        None,
    ]
    _, first, *_ = read(tmp_path, attachments)
    assert first.failure is not None
    assert first.failure.code == "compression_bomb"
