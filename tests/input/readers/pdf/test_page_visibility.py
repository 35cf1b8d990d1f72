"""Text that nobody sees is kept out of a page's text and listed; text that is seen never is."""

from __future__ import annotations

import io
from pathlib import Path

import pypdf
import pytest
from made_pdfs import (
    LINE,
    SECRET,
    SEEN,
    UNSEEN,
    VISIBLE_LINES,
    Draw,
    beside_ordinary_text,
    made_pdf,
    ordinary_page,
    scanned_page,
)
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    FloatObject,
    NameObject,
    NumberObject,
    RectangleObject,
    TextStringObject,
)
from reportlab.pdfgen.canvas import Canvas

from kimi_beam.input.readers.content import Content, ReadOptions
from kimi_beam.input.readers.pdf import pdf


def _read(content: bytes) -> Content:
    return pdf.read(content, ReadOptions())


@pytest.mark.parametrize("name", UNSEEN)
def test_a_text_that_nobody_sees_is_not_shown_and_is_listed_with_the_reason(name: str) -> None:
    draw, reason = UNSEEN[name]
    found = _read(beside_ordinary_text(draw))
    assert [(hidden.text, hidden.reason, hidden.page) for hidden in found.hidden] == [(SECRET, reason, 1)]
    (page,) = found.pages
    assert page.picture is None
    assert "HIDDEN" not in page.text
    assert page.text.count(LINE) == VISIBLE_LINES


@pytest.mark.parametrize("name", SEEN)
def test_a_text_that_is_seen_is_no_hidden_text(name: str) -> None:
    found = _read(beside_ordinary_text(SEEN[name]))
    assert not found.hidden
    (page,) = found.pages
    assert page.picture is None
    assert page.text.count(SECRET) == 1
    assert page.text.count(LINE) >= VISIBLE_LINES


def test_a_text_that_is_hidden_in_two_ways_is_listed_once() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFillColorRGB(1, 1, 1)
        canvas.drawString(60, 900, SECRET)

    found = _read(beside_ordinary_text(draw))
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [(SECRET, "off the page")]


def test_half_of_a_text_under_a_cover_is_hidden_and_the_other_half_is_not() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(60, 300, "Total: 99.00 EUR of which nothing is owed")
        canvas.setFillColorRGB(1, 1, 1)
        canvas.rect(150, 290, 300, 40, fill=1, stroke=0)

    found = _read(beside_ordinary_text(draw))
    assert "Total: 99.00 EUR" in found.pages[0].text
    assert "nothing" not in found.pages[0].text
    (hidden,) = found.hidden
    assert hidden.text.endswith("nothing is owed")


def test_a_text_on_a_layer_that_is_off_is_hidden_and_on_one_that_is_on_is_not() -> None:
    on, off = (_with_layer(is_off=is_off) for is_off in (False, True))
    assert SECRET in _read(on).pages[0].text
    assert not _read(on).hidden
    found = _read(off)
    assert SECRET not in found.pages[0].text
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [(SECRET, "on a layer that is off")]


def test_a_text_in_letters_without_a_shape_is_hidden() -> None:
    found = _read(_with_blank_letters())
    assert SECRET not in found.pages[0].text
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [(SECRET, "in letters without a shape")]


def test_a_text_under_a_white_annotation_is_hidden() -> None:
    writer = pypdf.PdfWriter(
        clone_from=io.BytesIO(beside_ordinary_text(lambda canvas: canvas.drawString(60, 300, SECRET)))
    )
    appearance = DecodedStreamObject()
    appearance.set_data(b"1 g 0 0 300 40 re f")
    appearance.update(
        {
            NameObject("/Type"): NameObject("/XObject"),
            NameObject("/Subtype"): NameObject("/Form"),
            NameObject("/BBox"): RectangleObject((0, 0, 300, 40)),
        }
    )
    cover = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Annot"),
            NameObject("/Subtype"): NameObject("/Square"),
            NameObject("/Rect"): RectangleObject((50, 290, 350, 330)),
            NameObject("/AP"): DictionaryObject({NameObject("/N"): writer._add_object(appearance)}),
        }
    )
    writer.pages[0][NameObject("/Annots")] = ArrayObject([writer._add_object(cover)])
    found = _read(_written(writer))
    assert SECRET not in found.pages[0].text
    assert [hidden.text for hidden in found.hidden] == [SECRET]


def test_the_text_that_a_program_recognised_under_a_scan_is_no_hidden_text() -> None:
    found = _read(made_pdf(_recognised_scan, ordinary_page))
    assert not found.hidden
    scan, page = found.pages
    assert scan.picture is not None
    assert scan.text == ""
    assert page.picture is None


def test_the_recognised_text_of_a_scan_is_its_text_where_texts_are_asked_for() -> None:
    found = pdf.read(made_pdf(_recognised_scan), ReadOptions(pages="text"))
    assert found.pages[0].text.count(LINE) == VISIBLE_LINES
    assert found.pages[0].picture is None
    assert not found.hidden


def test_a_hidden_text_on_a_scan_that_has_a_visible_text_is_listed() -> None:
    def draw(canvas: Canvas) -> None:
        scanned_page(canvas)
        ordinary_page(canvas)
        UNSEEN["render mode 3"][0](canvas)

    found = _read(made_pdf(draw))
    assert [hidden.text for hidden in found.hidden] == [SECRET]
    assert found.pages[0].text.count(LINE) == VISIBLE_LINES


def test_no_real_pdf_has_a_hidden_text(shared_data: Path) -> None:
    files = sorted(shared_data.glob("documents/*/pdf/*.pdf"))
    assert len(files) >= 19
    found = {file.name: hidden for file in files if (hidden := _read(file.read_bytes()).hidden)}
    assert not found


def _recognised_scan(canvas: Canvas) -> None:
    scanned_page(canvas)
    text = canvas.beginText(60, 780)
    text.setTextRenderMode(3)
    for index in range(VISIBLE_LINES):
        text.textLine(f"{index + 1}. {LINE}")
    canvas.drawText(text)


def _with_layer(*, is_off: bool) -> bytes:
    """A page whose last text is in a layer (optional content)."""
    draw: Draw = ordinary_page
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(made_pdf(draw)))
    layer = writer._add_object(
        DictionaryObject({NameObject("/Type"): NameObject("/OCG"), NameObject("/Name"): TextStringObject("Layer")})
    )
    page = writer.pages[0]
    page["/Resources"][NameObject("/Properties")] = DictionaryObject({NameObject("/MC0"): layer})  # type: ignore[index]
    _add_content(writer, f"/OC /MC0 BDC BT /F1 11 Tf 60 300 Td ({SECRET}) Tj ET EMC")
    choice = DictionaryObject({NameObject("/ON"): ArrayObject(), NameObject("/OFF"): ArrayObject([layer] * is_off)})
    writer._root_object[NameObject("/OCProperties")] = DictionaryObject(
        {NameObject("/OCGs"): ArrayObject([layer]), NameObject("/D"): choice}
    )
    return _written(writer)


def _with_blank_letters() -> bytes:
    """A page whose last text is in a font of its own, all of whose letters are empty."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(made_pdf(ordinary_page)))
    empty = DecodedStreamObject()
    empty.set_data(b"600 0 d0")
    glyph = writer._add_object(empty)
    names = {letter: {"-": "hyphen", "4": "four", "2": "two"}.get(letter, letter) for letter in sorted(set(SECRET))}
    letters = [part for letter, name in names.items() for part in (NumberObject(ord(letter)), NameObject(f"/{name}"))]
    font = {
        "/Type": NameObject("/Font"),
        "/Subtype": NameObject("/Type3"),
        "/FontBBox": RectangleObject((0, 0, 1000, 1000)),
        "/FontMatrix": ArrayObject([FloatObject(number) for number in (0.001, 0, 0, 0.001, 0, 0)]),
        "/CharProcs": DictionaryObject({NameObject(f"/{name}"): glyph for name in names.values()}),
        "/Encoding": DictionaryObject({NameObject("/Differences"): ArrayObject(letters)}),
        "/FirstChar": NumberObject(32),
        "/LastChar": NumberObject(126),
        "/Widths": ArrayObject([NumberObject(600)] * 95),
        "/Resources": DictionaryObject(),
    }
    page = writer.pages[0]
    fonts = page["/Resources"]["/Font"]  # type: ignore[index]
    fonts[NameObject("/T3")] = writer._add_object(DictionaryObject({NameObject(k): v for k, v in font.items()}))
    _add_content(writer, f"BT /T3 11 Tf 60 300 Td ({SECRET}) Tj ET")
    return _written(writer)


def _add_content(writer: pypdf.PdfWriter, drawing: str) -> None:
    page = writer.pages[0]
    content = page.get_contents()
    assert content is not None
    longer = DecodedStreamObject()
    longer.set_data(content.get_data() + drawing.encode())
    page[NameObject("/Contents")] = writer._add_object(longer)


def _written(writer: pypdf.PdfWriter) -> bytes:
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()
