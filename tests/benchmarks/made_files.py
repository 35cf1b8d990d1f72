"""Files of which a run reads thousands: long texts, scans and PDFs with text, each made in about a millisecond.

Each is another file, and says what its answer is: the number of the file, and the clauses that stand in its text. Of a
scan nothing is read, so that its answer is how many pictures were sent.
"""

from __future__ import annotations

import io
import random
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pypdfium2
from PIL import Image, ImageChops, ImageDraw
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

SCHEMA: dict[str, Any] = {
    "title": "File",
    "type": "object",
    "properties": {
        "number": {"type": ["string", "null"]},
        "pictures": {"type": ["integer", "null"], "x-merge": "sum"},
        "clauses": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "amount": {"type": "number"}},
                "required": ["name", "amount"],
            },
        },
    },
    "required": ["number", "pictures", "clauses"],
}
LONG_BYTES = 200_000
_PARAGRAPHS, _PARAGRAPH_BYTES, _BETWEEN_CLAUSES = 8_000, 1_000, 20
_SCANS, _SCAN_SIZE = 12, (1240, 1754)
_NUMBER = "FILE-0000000"
_CLAUSE = re.compile(r"CLAUSE (c-\d+): EUR (\d+\.\d\d)")
_FILE = re.compile(r"FILE-\d+")
_PART = re.compile(r"^```part\n(.*)\n```$", re.DOTALL | re.MULTILINE)


def write_long_texts(directory: Path, count: int) -> None:
    """Texts of 200,000 bytes, of paragraphs of words that compress about as prose does."""
    chance = random.Random(1)
    paragraphs = _paragraphs()
    for index in range(count):
        pieces, size, clauses = [f"{_numbered(index)}\n"], len(_NUMBER) + 1, 0
        while size < LONG_BYTES:
            piece = chance.choice(paragraphs)
            if len(pieces) % _BETWEEN_CLAUSES == 0:
                clauses += 1
                piece = f"CLAUSE c-{clauses}: EUR {chance.randint(100, 99_999) / 100:.2f}\n{piece}"
            pieces.append(piece)
            size += len(piece) + 1
        (directory / f"{index:05}.txt").write_text("\n".join(pieces)[:LONG_BYTES])


def write_scans(directory: Path, count: int, pages: int = 10) -> None:
    """PDFs whose pages are pictures, A4 in grey at 150 dpi."""
    pool, chance = _scanned_pages(), random.Random(2)
    for index in range(count):
        (directory / f"{index:05}.pdf").write_bytes(_pdf_of_pictures(chance.choices(pool, k=pages), index))


def write_pdfs(directory: Path, count: int) -> None:
    """PDFs of one to three pages with text, in six layouts."""
    for index in range(count):
        template = _template(index % 6)
        (directory / f"{index:05}.pdf").write_bytes(template.replace(_NUMBER.encode(), _numbered(index).encode()))


def write_texts_of(pdfs: Path, directory: Path) -> None:
    """The text of each PDF of a directory, as PDFium gives it."""
    for path in sorted(pdfs.iterdir()):
        with pypdfium2.PdfDocument(path) as document:
            texts = [page.get_textpage().get_text_bounded() for page in document]
        (directory / f"{path.stem}.txt").write_text("\n\n".join(texts))


WRITERS: Mapping[str, Callable[[Path, int], None]] = {
    "long": write_long_texts,
    "scans": write_scans,
    "pdf": write_pdfs,
}


def answer(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the service answers: the file's number, its pictures, and the clauses of the text or part."""
    content = messages[-1]["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    part = _PART.search(text)
    own = part[1] if part else text
    number = _FILE.search(own)
    pictures = sum(block["type"] == "image_url" for block in blocks)
    clauses = [{"name": name, "amount": float(amount)} for name, amount in _CLAUSE.findall(own)]
    return orjson.dumps({"number": number and number[0], "pictures": pictures, "clauses": clauses}).decode()


def _numbered(index: int) -> str:
    return f"FILE-{index:07}"


@cache
def _paragraphs() -> list[str]:
    chance = random.Random(3)
    words = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 10))) for _ in range(3_000)]
    found = []
    for _ in range(_PARAGRAPHS):
        sentences: list[str] = []
        while sum(map(len, sentences)) < _PARAGRAPH_BYTES:
            sentences.append(" ".join(chance.choices(words, k=12)).capitalize() + ".")
        found.append(" ".join(sentences) + "\n")
    return found


@cache
def _scanned_pages() -> list[bytes]:
    """Pages of a letter with the noise of a scanner, as JPEG."""
    chance, noise = random.Random(4), Image.effect_noise(_SCAN_SIZE, 30)
    found = []
    for _ in range(_SCANS):
        page = Image.new("L", _SCAN_SIZE, 235)
        draw = ImageDraw.Draw(page)
        for line in range(44):
            text = "".join(chance.choices(string.ascii_letters + "     ", k=130))
            draw.text((110, 120 + 30 * line), text, fill=40)
        noise = ImageChops.offset(noise, 101, 211)  # to make noise takes long
        noisy = Image.blend(page, noise, 0.05)
        file = io.BytesIO()
        noisy.save(file, "JPEG", quality=75)
        found.append(file.getvalue())
    return found


def _pdf_of_pictures(pages: Sequence[bytes], number: int) -> bytes:
    """A PDF that shows one JPEG on each page, written by hand because a library takes ten times as long."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>"]
    kids = " ".join(f"{3 + 3 * index} 0 R" for index in range(len(pages)))
    objects.append(f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode())
    for index, jpeg in enumerate(pages):
        first = 3 + 3 * index
        box = f"/MediaBox[0 0 {A4[0]:.2f} {A4[1]:.2f}]"
        used = f"/Resources<</XObject<</I {first + 2} 0 R>>>>/Contents {first + 1} 0 R"
        objects.append(f"<</Type/Page/Parent 2 0 R{box}{used}>>".encode())
        shown = f"q {A4[0]:.2f} 0 0 {A4[1]:.2f} 0 0 cm /I Do Q".encode()
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(shown), shown))
        size = f"/Width {_SCAN_SIZE[0]}/Height {_SCAN_SIZE[1]}"
        kind = f"<</Type/XObject/Subtype/Image{size}/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/DCTDecode"
        objects.append(f"{kind}/Length {len(jpeg)}>>stream\n".encode() + jpeg + b"\nendstream")
    file = bytearray(f"%PDF-1.4\n% scan {number}\n".encode())
    places = []
    for index, content in enumerate(objects, 1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (index, content)
    table = len(file)
    file += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    file += b"".join(b"%010d 00000 n \n" % place for place in places)
    file += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(file)


@cache
def _template(layout: int) -> bytes:
    """An invoice, uncompressed, so that its number can be replaced by another of the same length."""
    file, chance = io.BytesIO(), random.Random(layout)
    canvas = Canvas(file, pagesize=A4, pageCompression=0, invariant=True)
    font = ("Helvetica", "Times-Roman", "Courier")[layout % 3]
    for page in range(layout % 3 + 1):
        canvas.setFont(font, 9 + layout % 2)
        canvas.drawString(60, 800, f"Invoice {_NUMBER}, page {page + 1}")
        for clause, line in enumerate(_rows(chance), 1):
            height = 780 - 16 * clause
            for place, cell in zip((60, 90, 330, 400, 480), (str(clause), *line), strict=True):
                canvas.drawString(place, height, cell)
        canvas.drawString(60, 60, f"CLAUSE c-{page + 1}: EUR {chance.randint(100, 99_999) / 100:.2f}")
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def _rows(chance: random.Random) -> Iterator[tuple[str, str, str, str]]:
    """Rows of a table: name, quantity, price and total."""
    for _ in range(40):
        name = " ".join("".join(chance.choices(string.ascii_lowercase, k=7)) for _ in range(3))
        quantity, cents = chance.randint(1, 20), chance.randint(100, 99_999)
        yield name, str(quantity), f"{cents / 100:.2f}", f"{quantity * cents / 100:.2f}"
