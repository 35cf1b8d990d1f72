"""Files of each kind that a hostile or careless sender might make: good ones, and copies that are damaged by a seed."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping

import docx
from PIL import Image, ImageDraw
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

LINES = [f"{n}  Umbrella, size {n % 7}, colour no. {n * 13 % 90}   2 x 4.50   {n * 9}.00" for n in range(40)]


def pdf(*, compressed: bool = True) -> bytes:
    """Two pages: a table and its total, and a picture beside a text."""
    f = io.BytesIO()
    canvas = Canvas(f, pagesize=A4, pageCompression=int(compressed), invariant=True)
    canvas.setTitle("An invoice")
    for number, line in enumerate(LINES):
        canvas.drawString(60, 780 - 16 * number, line)
    canvas.showPage()
    canvas.drawImage(ImageReader(io.BytesIO(png())), 60, 500, 200, 150)
    canvas.setFont("Times-Italic", 14)
    canvas.drawString(60, 460, "Delivered on 3 March")
    canvas.showPage()
    canvas.save()
    return f.getvalue()


def many_pages(number: int, pages: int) -> bytes:
    """An invoice of several pages, each another."""
    f = io.BytesIO()
    canvas = Canvas(f, pagesize=A4, invariant=True)
    for page in range(pages):
        canvas.drawString(60, 800, f"COMPANY: Shop {number} Ltd, page {page + 1}")
        for row, line in enumerate(LINES):
            canvas.drawString(60, 780 - 16 * row, f"{number}.{page} {line}")
        canvas.drawString(60, 100, f"TOTAL: {number}.50")
        canvas.showPage()
    canvas.save()
    return f.getvalue()


def word() -> bytes:
    """A paragraph and a table."""
    document = docx.Document()
    document.add_heading("Invoice 4711", 1)
    table = document.add_table(0, 3)
    for line in LINES[:10]:
        for cell, text in zip(table.add_row().cells, line.split("   "), strict=True):
            cell.text = text
    f = io.BytesIO()
    document.save(f)
    return f.getvalue()


def _scan(number: int) -> Image.Image:
    image = Image.new("L", (300, 200), 255)
    ImageDraw.Draw(image).text((10, 10), f"TOTAL {number}.50", fill=0)
    return image


def png() -> bytes:
    """A small scan."""
    f = io.BytesIO()
    _scan(1).save(f, "PNG")
    return f.getvalue()


def tiff(compression: str = "tiff_lzw") -> bytes:
    """Three pages of a fax."""
    f = io.BytesIO()
    first, *others = (_scan(number) for number in range(3))
    first.save(f, "TIFF", save_all=True, append_images=others, compression=compression)
    return f.getvalue()


def archive() -> bytes:
    """Three texts in a zip."""
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w", zipfile.ZIP_DEFLATED) as opened:
        for number in range(3):
            opened.writestr(f"in/receipt-{number}.txt", "\n".join(LINES) + f"\nTOTAL {number}.50")
    return f.getvalue()


GOOD: Mapping[str, tuple[Callable[[], bytes], ...]] = {
    ".pdf": (pdf, lambda: pdf(compressed=False)),
    ".docx": (word,),
    ".tiff": (tiff, lambda: tiff("raw"), lambda: tiff("jpeg")),
    ".zip": (archive,),
}
"""Good files by their suffix."""
_NUMBER = re.compile(rb"\d+")
_LARGE = (b"0", b"-1", b"65535", b"2147483647", b"4294967295", b"99999999999999999999")


def mutated(good: bytes, chance: random.Random) -> bytes:
    """A copy with one to six damages: bits, bytes, numbers, and pieces that are cut off, doubled or moved."""
    content = bytearray(good)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(content)) if content else 0
        size = chance.choice((1, 4, 16, 200))
        match chance.randrange(8):
            case 0 if content:
                content[at] ^= 1 << chance.randrange(8)
            case 1:
                content[at : at + size] = chance.randbytes(size)
            case 2:
                content[at : at + size] = b"\xff" * size
            case 3:
                content[at : at + size] = b""
            case 4:
                content[at:at] = content[at : at + size] * chance.randint(1, 50)
            case 5:
                other = chance.randrange(len(content)) if content else 0
                content[at : at + size] = content[other : other + size]
            case 6:
                found = [match.span() for match in _NUMBER.finditer(content[at : at + 4_000])]
                if found:
                    begin, end = chance.choice(found)
                    content[at + begin : at + end] = chance.choice(_LARGE)
            case 7 if chance.random() < 0.3:
                del content[at:]
    return bytes(content)


def mutated_inside(good: bytes, chance: random.Random) -> bytes:
    """A copy of a zip, or of an office file, one member of which is damaged before it is packed again."""
    f = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as opened, zipfile.ZipFile(f, "w", zipfile.ZIP_DEFLATED) as made:
        names = opened.namelist()
        damaged = chance.choice(names)
        for name in names:
            content = opened.read(name)
            made.writestr(name, mutated(content, chance) if name == damaged else content)
    return f.getvalue()


def mutated_files(suffix: str, count: int, seed: int) -> Iterator[bytes]:
    """Damaged copies of the good files of a suffix, the same for the same seed."""
    good = [make() for make in GOOD[suffix]]
    for number in range(count):
        chance = random.Random(f"{seed}/{suffix}/{number}")
        damage = mutated_inside if suffix in (".docx", ".zip") and number % 2 else mutated
        yield damage(good[number % len(good)], chance)
