"""Pictures in office files and web pages: a file that is only a picture is no empty document."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable
from types import ModuleType

import docx
import openpyxl
import pptx
import pytest
from openpyxl.drawing.image import Image as SheetImage
from PIL import Image
from pptx.util import Inches

from kimi_beam.input.readers.content import Page, PageChoice, ReadOptions, UnreadableError
from kimi_beam.input.readers.office.opendocument import opendocument
from kimi_beam.input.readers.office.slides import slides
from kimi_beam.input.readers.office.spreadsheets import spreadsheets
from kimi_beam.input.readers.office.word import word
from kimi_beam.input.readers.pictures.embedded_pictures import pages_with_pictures
from kimi_beam.input.readers.web import web_pages

LONG = "A page with more than a few words on it. " * 10


def png(width: int = 600, height: int = 800, shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height), shade).save(file, "PNG")
    return file.getvalue()


def _docx(text: str, picture: bytes) -> bytes:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].add_run().add_picture(io.BytesIO(png(shade=9)))
    document.add_paragraph(text).add_run().add_picture(io.BytesIO(picture))
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def _pptx(text: str, picture: bytes) -> bytes:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    slide.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = text
    slide.shapes.add_picture(io.BytesIO(picture), 0, 0)
    file = io.BytesIO()
    presentation.save(file)
    return file.getvalue()


def _xlsx(text: str, picture: bytes) -> bytes:
    workbook = openpyxl.Workbook()
    workbook.active["A1"] = text or None
    workbook.active.add_image(SheetImage(io.BytesIO(picture)), "B2")
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def _odt(text: str, picture: bytes) -> bytes:
    names = " ".join(
        f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for prefix, name in {"office": "office", "text": "text", "draw": "drawing"}.items()
    )
    frame = '<draw:frame><draw:image xlink:href="Pictures/a.png"/></draw:frame>'
    body = f"<office:body><office:text><text:p>{text}{frame}</text:p></office:text></office:body>"
    link = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("content.xml", f"<office:document-content {names} {link}>{body}</office:document-content>")
        archive.writestr("Pictures/a.png", picture)
    return file.getvalue()


def _html(text: str, picture: bytes) -> bytes:
    return f'<p>{text}<img src="data:image/png;base64,{base64.b64encode(picture).decode()}">'.encode()


KINDS: dict[str, tuple[ModuleType, Callable[[str, bytes], bytes]]] = {
    "docx": (word, _docx),
    "pptx": (slides, _pptx),
    "xlsx": (spreadsheets, _xlsx),
    "odt": (opendocument, _odt),
    "html": (web_pages, _html),
}


def pages(kind: str, text: str, picture: bytes, choice: PageChoice = "auto") -> tuple[Page, ...]:
    reader, make = KINDS[kind]
    found: tuple[Page, ...] = reader.read(make(text, picture), ReadOptions(pages=choice)).pages
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_sent_where_there_is_next_to_no_text_or_the_user_asks_for_it(kind: str) -> None:
    scan = png()
    sent = {
        name: [page.picture.content for page in found if page.picture]
        for name, found in {
            "alone": pages(kind, "", scan),
            "with few words": pages(kind, "see", scan),
            "with a text": pages(kind, LONG, scan),
            "with a text, asked for": pages(kind, LONG, scan, "both"),
            "not wanted": pages(kind, "", scan, "text"),
            "a logo": pages(kind, "", png(200, 60)),
        }.items()
    }
    assert sent == {
        "alone": [scan],
        "with few words": [scan],
        "with a text": [],
        "with a text, asked for": [scan],
        "not wanted": [],
        "a logo": [],
    }
    assert "see" in pages(kind, "see", scan)[0].text


def test_each_picture_is_sent_once_and_in_order_and_no_more_than_pages_are_allowed() -> None:
    first, second = png(shade=1), png(shade=2)
    options = ReadOptions(max_pages=3)
    found = pages_with_pictures(["one", "two"], {0: [first, second], 1: [first]}, options)
    assert [(page.text, page.picture and page.picture.content) for page in found] == [
        ("one", first),
        ("", second),
        ("two", None),
    ]
    with pytest.raises(UnreadableError) as failed:
        pages_with_pictures([""], {0: [png(shade=shade) for shade in range(4)]}, options)
    assert failed.value.code == "too_many_pages"


def test_a_file_that_is_only_a_damaged_picture_is_no_empty_document() -> None:
    damaged = png()[:300].ljust(30_000, b"x")
    with pytest.raises(UnreadableError, match="holds no text, and a picture that") as failed:
        pages_with_pictures([""], {0: [damaged]}, ReadOptions())
    assert failed.value.code == "damaged"
    assert pages_with_pictures(["text"], {0: [damaged]}, ReadOptions()) == (Page("text"),)
