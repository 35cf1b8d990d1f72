"""A directory of everything: each file is a row, a dead letter with a reason, or named as skipped; nothing hangs."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import docx
import openpyxl
import pictures
import pptx
import pyarrow as pa
import pyarrow.parquet as pq
import pypdf
import pytest
from harness import read_dataset
from pillow_pictures import bomb, picture
from reportlab.pdfgen.canvas import Canvas
from running_cli import SCHEMA, mistake, run

RECEIPT = "ACME Ltd\nTotal: 3.10 EUR\n"


def zipped(members: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return written.getvalue()


def parquet(ids: list[str]) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table({"id": ids, "text": [RECEIPT] * len(ids)}), written)
    return written.getvalue()


def mail() -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.org", "me@example.org", "Your receipt"
    message.set_content(RECEIPT)
    return message.as_bytes()


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    """What a library writes into a file."""
    written = io.BytesIO()
    save(written)
    return written.getvalue()


def pdf() -> bytes:
    written = io.BytesIO()
    page = Canvas(written)
    for number, line in enumerate(RECEIPT.splitlines()):
        page.drawString(72, 700 - 20 * number, line)
    page.save()
    return written.getvalue()


def encrypted_pdf() -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf()))
    writer.encrypt("secret", algorithm="RC4-128")
    return saved(writer.write)


def word() -> bytes:
    document = docx.Document()
    document.add_paragraph(RECEIPT)
    return saved(document.save)


def slides() -> bytes:
    presentation = pptx.Presentation()
    presentation.slides.add_slide(presentation.slide_layouts[5]).shapes.title.text = RECEIPT
    return saved(presentation.save)


def workbook() -> bytes:
    book = openpyxl.Workbook()
    book.active.append(["ACME Ltd", "Total", 3.1])
    return saved(book.save)


def opendocument() -> bytes:
    names = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    names += 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
    body = f"<office:body><office:text><text:p>{RECEIPT}</text:p></office:text></office:body>"
    content = f"<office:document-content {names}>{body}</office:document-content>"
    return zipped({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": content.encode()})


def lines(*ids: str) -> bytes:
    return b"".join(json.dumps({"id": one, "text": RECEIPT}).encode() + b"\n" for one in ids)


TEXT = RECEIPT.encode()
PAGE = f"<!DOCTYPE html><html><body><p>{RECEIPT}</p></body></html>".encode()
PNG, JPEG = pictures.EACH["image/png"], pictures.EACH["image/jpeg"]
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)

FILES: dict[str, tuple[bytes, dict[str, str]]] = {
    # the file, its content, and of each document in it the end of its id and its code, or "row"
    "plain.txt": (TEXT, {"": "row"}),
    "with space.txt": (TEXT, {"": "row"}),
    'it\'s "quoted".txt': (TEXT, {"": "row"}),
    "50% #1 & more?.txt": (TEXT, {"": "row"}),
    "[scan]*{1}.txt": (TEXT, {"": "row"}),
    "emoji 🧾 größe.txt": (TEXT, {"": "row"}),
    "line\nfeed.txt": (TEXT, {"": "row"}),
    "back\\slash.txt": (TEXT, {"": "row"}),
    "SHOUT.TXT": (TEXT, {"": "row"}),
    "notes.md": (TEXT, {"": "row"}),
    "data.xml": (b"<receipt><total>3.10</total></receipt>", {"": "row"}),
    "README": (TEXT, {"": "row"}),
    "letter 1.5": (TEXT, {"": "row"}),
    "utf16.txt": (RECEIPT.encode("utf-16"), {"": "row"}),
    "packed.txt.gz": (gzip.compress(TEXT), {"": "row"}),
    "packed.md.bz2": (bz2.compress(TEXT), {"": "row"}),
    "packed.png.gz": (gzip.compress(PNG), {"": "row"}),
    "scan.png": (PNG, {"": "row"}),
    "SCAN.JPG": (JPEG, {"": "row"}),
    "scan.webp": (pictures.EACH["image/webp"], {"": "row"}),
    "scan.gif": (pictures.EACH["image/gif"], {"": "row"}),
    "picture": (PNG, {"": "row"}),
    "really a png.txt": (PNG, {"": "row"}),
    "really a jpeg.png": (JPEG, {"": "row"}),
    "page.html": (PAGE, {"": "row"}),
    "page": (PAGE, {"": "row"}),
    "lines.jsonl": (lines("l1", "l2") + b"no json\n", {"l1": "row", "l2": "row", "#3": "not_json"}),
    "lines.NDJSON": (lines("n1"), {"n1": "row"}),
    "lines without suffix": (lines("w1"), {"w1": "row"}),
    "lines.jsonl.gz": (gzip.compress(lines("g1")), {"g1": "row"}),
    "really lines.pdf": (lines("x1"), {"": "damaged"}),
    "table.parquet": (parquet(["p1", "p2"]), {"p1": "row", "p2": "row"}),
    "table.csv": (b"id,text\nc1,Total: 3.10\nc2,a,b\n", {"c1": "row", "#2": "ragged_row"}),
    "table.tsv": (b"id\ttext\nt1\tTotal: 3.10\n", {"t1": "row"}),
    "no text.csv": (b"number,letter\n1,x\n", {"": "missing_text"}),
    "archive.zip": (zipped({"a.txt": TEXT, "b.log": b"x", "c.jsonl": lines("z1")}), {"!/a.txt": "row", "z1": "row"}),
    "archive.tar.gz": (tarred({"d/a.txt": TEXT, "../b.txt": TEXT}), {"!/d/a.txt": "row", "!/../b.txt": "row"}),
    "really a zip.docx": (zipped({"a.txt": TEXT}), {"!/a.txt": "row"}),
    "bomb.zip": (zipped({"zeros.txt": b"\0" * (20 << 20)}), {"!/zeros.txt": "compression_bomb"}),
    "empty.txt": (b"", {"": "empty_document"}),
    "empty.png": (b"", {"": "bad_image"}),
    "empty": (b"", {"": "empty_document"}),
    "empty.jsonl": (b"", {}),
    "empty.pdf": (b"", {"": "damaged"}),
    "empty.zip": (b"", {"": "damaged"}),
    "empty.parquet": (b"", {"#0-": "unreadable"}),
    "empty.docx": (b"", {"": "damaged"}),
    "cut.zip": (zipped({"a.txt": os.urandom(999)})[:500], {"": "damaged"}),
    "cut.txt.gz": (gzip.compress(os.urandom(999))[:500], {"": "unreadable"}),
    "cut.png": (PNG[: len(PNG) // 2], {"": "bad_image"}),
    "really a page.pdf": (PAGE, {"": "damaged"}),
    "program.txt": (b"\x7fELF\2\1\1" + bytes(99), {"": "not_text"}),
    "cp1252.txt": ("Größe".encode("cp1252"), {"": "not_utf8"}),
    "mail.eml": (mail(), {"": "row"}),
    "letter.pdf": (pdf(), {"": "row"}),
    "LETTER.PDF": (pdf(), {"": "row"}),
    "really a pdf.txt": (pdf(), {"": "row"}),
    "pdf": (pdf(), {"": "row"}),
    "letter.pdf.xz": (lzma.compress(pdf()), {"": "row"}),
    "cut.pdf": (pdf()[:700], {"": "damaged"}),
    "secret.pdf": (encrypted_pdf(), {"": "encrypted"}),
    "letter.docx": (word(), {"": "row"}),
    "really a docx.zip": (word(), {"": "row"}),
    "slides.pptx": (slides(), {"": "row"}),
    "book.xlsx": (workbook(), {"": "row"}),
    "text.odt": (opendocument(), {"": "row"}),
    "office.zip": (zipped({"a.docx": word(), "b.pdf": pdf()}), {"!/a.docx": "row", "!/b.pdf": "row"}),
    "scan.tif": (picture("TIFF"), {"": "row"}),
    "scan.bmp": (picture("BMP"), {"": "row"}),
    "turned.jpg": (picture("JPEG", orientation=6), {"": "row"}),
    "bomb.png": (bomb(50_000, 50_000), {"": "too_many_pixels"}),
    # what is of no kind
    "program.exe": (b"MZ" + bytes(99), {}),
    "run.log": (TEXT, {}),
    "data.json": (b"{}", {}),
    "download.pdf.part": (b"x", {}),
    "letter.doc": (OLE, {}),
    "noise": (bytes(range(256)), {}),
    "archive.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), {}),
    # what is hidden
    ".hidden.txt": (TEXT, {}),
    "_SUCCESS": (b"", {}),
}
UNKNOWN = ("program.exe", "run.log", "data.json", "download.pdf.part", "letter.doc", "noise", "archive.7z")


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    source = tmp_path / "in [1]"
    (source / "below" / "deeper").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for name, (content, _) in FILES.items():
        (source / name).write_bytes(content)
    (source / "below" / "deeper" / "plain.txt").write_bytes(TEXT)
    (tmp_path / "outside" / "linked.txt").write_bytes(TEXT)
    (source / "link.txt").symlink_to(source / "plain.txt")
    (source / "to nowhere.txt").symlink_to("nowhere")
    (source / "to itself").symlink_to("to itself")
    (source / "below" / "loop").symlink_to(source)
    (source / "outside").symlink_to(tmp_path / "outside")
    os.mkfifo(source / "pipe")
    os.mkfifo(source / "pipe.txt")
    return source


def test_each_file_is_a_row_a_dead_letter_or_named_as_passed_over(
    everything: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ("--schema", SCHEMA, "--emulator", "--api", "run", "--output", tmp_path / "out")
    code, _, err = run("extract", everything, *rest, "--skip-unknown", capsys=capsys)
    assert code == 0, err
    expected: dict[str, str] = {}
    for name, (_, documents) in FILES.items():
        for end, code_or_row in documents.items():
            path = f"{everything}/{name}"
            expected[f"{path}{end}" if not end or end[0] in "#!" else end] = code_or_row
    for name in ("below/deeper/plain.txt", "link.txt", "outside/linked.txt"):
        expected[f"{everything}/{name}"] = "row"
    for name in ("to nowhere.txt", "to itself"):
        expected[f"{everything}/{name}"] = "unreadable"
    outcome = read_dataset(tmp_path / "out")
    found = {row["_document_id"]: "row" for row in outcome.rows}
    found |= {letter["document_id"]: letter["code"] for letter in outcome.letters}
    assert found == expected
    assert len(outcome.rows) + len(outcome.letters) == len(expected) == outcome.summary["documents"]
    assert all(letter["message"] for letter in outcome.letters)
    passed_over = sorted(f"{everything}/{name}" for name in (*UNKNOWN, "pipe", "pipe.txt", "archive.zip!/b.log"))
    assert outcome.summary["skipped_names"] == passed_over
    assert outcome.summary["skipped_files"] == len(passed_over)
    assert "passes over 9 files of kinds that cannot be read: " in err
    assert all(f"{everything}/{name}" in err for name in (*UNKNOWN, "pipe"))


def test_what_cannot_be_read_is_refused_by_name_before_anything_is_spent(
    everything: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ("--schema", SCHEMA, "--emulator", "--output", tmp_path / "out")
    err = mistake("extract", everything, *rest, capsys=capsys)
    assert f"and 4 more of {len(FILES) - 2 + 7} files match" in err
    assert "--skip-unknown" in err
    assert f"{everything}/archive.7z, {everything}/data.json" in err
    for name in ("pipe", "pipe.txt"):
        assert "is of a kind that cannot be read" in mistake("extract", everything / name, *rest, capsys=capsys)
    assert not (tmp_path / "out").exists()
