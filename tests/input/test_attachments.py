"""Files in a file become documents of their own, each read by its own kind, with the parent's id in their metadata."""

from __future__ import annotations

import io
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
