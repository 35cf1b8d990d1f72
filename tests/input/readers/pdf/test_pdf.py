"""What the reader of PDFs shows of each page, what it knows of the file, and how it refuses one."""

from __future__ import annotations

import contextlib
import io
import random
import sys
from pathlib import Path

import numpy as np
import pypdf
import pytest
import reportlab
from made_pdfs import (
    LINE,
    VISIBLE_LINES,
    Draw,
    lines_page,
    made_pdf,
    noisy_picture,
    ordinary_page,
    scanned_page,
)
from PIL import Image
from pypdf.annotations import FreeText
from pypdf.generic import ArrayObject, BooleanObject, DictionaryObject, NameObject, StreamObject
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from kimi_beam.grounding.character_boxes import decode_boxes
from kimi_beam.input.readers.content import Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.pdf import pdf


def _read(content: bytes, options: ReadOptions | None = None) -> Content:
    return pdf.read(content, options or ReadOptions())


def _refusal(content: bytes, options: ReadOptions | None = None) -> tuple[str, str]:
    with pytest.raises(UnreadableError) as refused:
        _read(content, options)
    assert "\n" not in refused.value.message
    return refused.value.code, refused.value.message


# ------------------------------------------------------------------------------------------------ text or picture


def test_a_page_without_text_is_a_picture_and_one_with_text_is_a_text() -> None:
    scan, page = _read(made_pdf(scanned_page, ordinary_page)).pages
    assert scan.text == ""
    assert scan.picture is not None
    assert page.picture is None
    assert page.text.count(LINE) == VISIBLE_LINES


def test_a_scan_with_a_page_number_is_a_picture() -> None:
    def draw(canvas: Canvas) -> None:
        scanned_page(canvas)
        canvas.drawString(280, 20, "Page 3 of 7")

    (page,) = _read(made_pdf(draw)).pages
    assert page.picture is not None
    assert page.text == ""


def test_a_page_whose_letters_are_unknown_is_a_picture() -> None:
    (page,) = _read(_with_unknown_letters()).pages
    assert page.picture is not None
    assert page.text == ""


def test_a_page_whose_letters_are_drawn_as_shapes_is_a_picture() -> None:
    def draw(canvas: Canvas) -> None:
        for index in range(600):
            canvas.circle(60 + 15 * (index % 30), 700 - 20 * (index // 30), 3, fill=1)
        canvas.drawString(280, 20, "3")

    (page,) = _read(made_pdf(draw)).pages
    assert page.picture is not None


def test_an_empty_page_is_neither_text_nor_picture() -> None:
    def white(canvas: Canvas) -> None:
        canvas.setFillColorRGB(1, 1, 1)
        canvas.rect(0, 0, *A4, fill=1, stroke=0)

    for page in _read(made_pdf(lambda canvas: None, white)).pages:
        assert page.text == ""
        assert page.picture is None


@pytest.mark.parametrize(
    ("choice", "texts", "pictures"),
    [("auto", [False, True], [True, False]), ("text", [False, True], [False, False]),
     ("image", [False, False], [True, True]), ("both", [False, True], [True, True])],
)  # fmt: skip
def test_the_user_chooses_texts_or_pictures(choice: str, texts: list[bool], pictures: list[bool]) -> None:
    options = ReadOptions(pages=choice)  # type: ignore[arg-type]
    pages = _read(made_pdf(scanned_page, ordinary_page), options).pages
    assert [bool(page.text) for page in pages] == texts
    assert [page.picture is not None for page in pages] == pictures


def test_a_scan_is_sent_in_grey_and_a_page_in_colour_each_at_150_dpi() -> None:
    def grey_scan(canvas: Canvas) -> None:
        canvas.drawImage(ImageReader(Image.linear_gradient("L")), 0, 0, *A4)

    scan, page = _read(made_pdf(grey_scan, ordinary_page), ReadOptions(pages="image")).pages
    assert scan.picture is not None
    assert page.picture is not None
    assert (scan.picture.media_type, page.picture.media_type) == ("image/png", "image/jpeg")
    for picture in (scan.picture, page.picture):
        image = Image.open(io.BytesIO(picture.content))
        assert image.size == (picture.width, picture.height)
        assert abs(picture.width - A4[0] / 72 * 150) <= 1
    assert Image.open(io.BytesIO(scan.picture.content)).mode == "L"


def test_a_scan_with_noise_is_no_larger_than_a_photograph() -> None:
    """PNG keeps each grain of the noise, at twice the bytes and six times the CPU of JPEG."""

    def noisy(canvas: Canvas) -> None:
        paper = Image.blend(Image.linear_gradient("L").resize((620, 877)), Image.effect_noise((620, 877), 40), 0.1)
        canvas.drawImage(ImageReader(paper), 0, 0, *A4)

    (scan,) = _read(made_pdf(noisy)).pages
    assert scan.picture is not None
    assert scan.picture.media_type == "image/jpeg"
    assert Image.open(io.BytesIO(scan.picture.content)).mode == "L"


def test_a_huge_page_is_a_picture_of_bounded_size() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawImage(noisy_picture(), 0, 0, 14_400, 14_400)

    (page,) = _read(made_pdf(draw, size=(14_400, 14_400))).pages
    assert page.picture is not None
    assert max(page.picture.width, page.picture.height) == ReadOptions().longest_side
    assert len(page.picture.content) <= 1_000_000


def test_pictures_of_noise_stay_below_a_megabyte() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawImage(noisy_picture((1_300, 1_800)), 0, 0, *A4)

    (page,) = _read(made_pdf(draw)).pages
    assert page.picture is not None
    assert page.picture.media_type == "image/jpeg"
    assert len(page.picture.content) <= 1_000_000


# ------------------------------------------------------------------------------------------------ what is on the page


def test_filled_fields_and_written_notes_are_read() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(60, 700, "Name")
        canvas.acroForm.textfield(name="name", value="Erika Muster", x=120, y=690, width=200, height=20)
        canvas.acroForm.choice(
            name="plan", value="Large", options=["Small", "Large"], x=120, y=650, width=90, height=20
        )

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(made_pdf(draw)))
    writer.add_annotation(0, FreeText(text="Paid on 7 May", rect=(60, 500, 250, 540)))
    (page,) = _read(_written(writer)).pages
    for text in ("Name", "Erika Muster", "Large", "Paid on 7 May"):
        assert page.text.count(text) == 1
    assert "Small" not in page.text


def test_a_field_whose_value_has_no_appearance_is_read() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.acroForm.textfield(name="name", value="old", x=120, y=690, width=200, height=20)

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(made_pdf(draw)))
    writer.update_page_form_field_values(writer.pages[0], {"name": "Erika Muster"}, auto_regenerate=True)
    for field in writer.pages[0]["/Annots"]:  # type: ignore[attr-defined]
        field.get_object().pop("/AP", None)
    (page,) = _read(_written(writer)).pages
    assert page.text == "Erika Muster"


def test_files_inside_a_pdf_are_neither_text_nor_attachments() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(made_pdf(ordinary_page)))
    writer.add_attachment("factur-x.xml", b"<Invoice>GOLD</Invoice>")
    found = _read(_written(writer))
    assert not found.attachments
    assert "GOLD" not in found.pages[0].text


def test_title_author_and_the_order_of_pages_are_known() -> None:
    draws: list[Draw] = [lines_page([(60, 700, f"This is page number {number}")]) for number in (1, 2, 3)]
    found = _read(made_pdf(*draws, title="Rechnung Nº 4711", author="ACME"))
    assert [page.text for page in found.pages] == [f"This is page number {number}" for number in (1, 2, 3)]
    assert found.metadata["title"] == "Rechnung Nº 4711"
    assert found.metadata["author"] == "ACME"


# ------------------------------------------------------------------------------------------------ boxes


def test_each_character_has_its_place_on_the_page_as_it_is_shown() -> None:
    draw = lines_page([(60, 700, "Total due"), (400, 700, "12.00"), (60, 680, "Thank you")])
    (page,) = _read(made_pdf(draw), ReadOptions(keeps_boxes=True)).pages
    assert page.boxes is not None
    boxes = decode_boxes(page.boxes, len(page.text))
    assert len(boxes.places) == len(page.text)
    assert (boxes.width, boxes.height) == pytest.approx(A4, abs=0.1)
    start = page.text.index("12.00")
    box = boxes.around(start, start + len("12.00"))
    assert box is not None
    left, top, right, bottom = box
    width = Canvas(io.BytesIO()).stringWidth("12.00", "Helvetica", 11)
    assert (left, right) == pytest.approx((400, 400 + width), abs=0.3)
    assert top < A4[1] - 700 < bottom
    assert bottom - top == pytest.approx(1.17 * 11, abs=1)
    blank = [index for index, letter in enumerate(page.text) if letter.isspace()]
    assert boxes.around(blank[1], blank[1] + 1) is None or page.text[blank[1]] == " "


def test_the_box_of_a_text_holds_its_ink_and_nothing_beside_it_does() -> None:
    """On a turned page too: the ink is looked for on its picture."""
    rows = [(60.0, 700.0 - 40 * index, f"Value {index}") for index in range(5)]
    for turned in (0, 90, 180, 270):

        def draw(canvas: Canvas, turned: int = turned) -> None:
            canvas.setPageRotation(turned)
            lines_page([(x, y / 2, text) for x, y, text in rows])(canvas)

        (page,) = _read(made_pdf(draw), ReadOptions(keeps_boxes=True, pages="both")).pages
        assert page.boxes is not None
        assert page.picture is not None
        boxes, image = (
            decode_boxes(page.boxes, len(page.text)),
            Image.open(io.BytesIO(page.picture.content)).convert("L"),
        )
        ink = np.asarray(image) < 128
        scale = image.width / boxes.width
        for _, _, text in rows:
            start = page.text.index(text)
            box = boxes.around(start, start + len(text))
            assert box is not None
            left, top, right, bottom = (round(value * scale) for value in box)
            assert ink[top:bottom, left:right].sum() > 50
            ink[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = False
        assert not ink.any()


def test_boxes_are_kept_only_where_they_are_wanted_and_are_small() -> None:
    content = made_pdf(ordinary_page)
    assert _read(content).pages[0].boxes is None
    (page,) = _read(content, ReadOptions(keeps_boxes=True)).pages
    assert page.boxes is not None
    assert len(page.boxes) < 4 * len(page.text)


def test_boxes_fit_the_text_where_headers_are_left_out() -> None:
    draws = [lines_page([(60, 800, "ACME GmbH"), (60, 700, f"Page {number} itself")]) for number in range(5)]
    pages = _read(made_pdf(*draws), ReadOptions(keeps_boxes=True)).pages
    assert [page.text.count("ACME") for page in pages] == [1, 0, 0, 0, 0]
    for page in pages:
        assert page.boxes is not None
        boxes = decode_boxes(page.boxes, len(page.text))
        assert len(boxes.places) == len(page.text)
        box = boxes.around(page.text.index("itself"), len(page.text))
        assert box is not None
        assert box[1] < A4[1] - 700 < box[3]


# ------------------------------------------------------------------------------------------------ refusals


def test_an_encrypted_file_asks_for_its_password() -> None:
    content = _encrypted("secret")
    code, message = _refusal(content)
    assert code == "encrypted"
    assert "--password-from" in message
    code, message = _refusal(content, ReadOptions(password="wrong"))
    assert code == "encrypted"
    assert "--password-from" in message
    assert "wrong" not in message
    assert _read(content, ReadOptions(password="secret")).pages[0].text.count(LINE) == VISIBLE_LINES


def test_a_file_that_is_encrypted_for_its_owner_alone_is_read() -> None:
    assert _read(_encrypted("")).pages[0].text.count(LINE) == VISIBLE_LINES


@pytest.mark.parametrize(
    "content", [b"", b"\n\n  ", b"no PDF at all", b"%PDF-1.7\n", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF"]
)
def test_what_is_no_pdf_is_damaged(content: bytes) -> None:
    assert _refusal(content)[0] == "damaged"


def test_a_file_that_is_cut_off_is_damaged_wherever_it_is_cut() -> None:
    """PDFium repairs such a file and shows what is left, so that pages and rows would be missing without a word."""
    content = made_pdf(*[ordinary_page] * 5)
    for length in (len(content) // 2, len(content) * 9 // 10, content.rindex(b"startxref") - 1):
        assert _refusal(content[:length])[0] == "damaged"


def test_more_pages_than_are_wanted_are_too_many() -> None:
    content = made_pdf(*[ordinary_page] * 5)
    code, message = _refusal(content, ReadOptions(max_pages=4))
    assert code == "too_many_pages"
    assert "5 pages" in message
    assert len(_read(content, ReadOptions(max_pages=5)).pages) == 5


def test_a_file_that_lies_about_its_pages_has_those_that_it_has_or_is_refused() -> None:
    content = made_pdf(ordinary_page).replace(b"/Count 1", b"/Count 99999999")
    with contextlib.suppress(UnreadableError):
        assert len(_read(content).pages) == 1


def test_a_damaged_file_is_read_or_refused_with_a_code() -> None:
    """Whatever the damage: no other exception, and no half character."""
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    sources = [made_pdf(ordinary_page, scanned_page), _encrypted(""), _with_unknown_letters()]
    read, codes = 0, set()
    for round_ in range(60):
        content = bytearray(chance.choice(sources))
        for _ in range(chance.choice([1, 10, 100])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        try:
            found = _read(bytes(content), ReadOptions(keeps_boxes=True))
        except UnreadableError as refused:
            codes.add(refused.code)
            continue
        read += 1
        for page in found.pages:
            page.text.encode()
            assert page.boxes is None or len(decode_boxes(page.boxes, len(page.text)).places) == len(page.text), (
                seed,
                round_,
            )
    assert 0 < read < 60, seed
    assert codes <= {"damaged", "encrypted", "too_many_pages"}, seed


def test_files_that_are_embedded_in_a_pdf_are_named() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(made_pdf(ordinary_page)))
    writer.add_attachment("factur-x.xml", b"<x/>")
    writer.add_attachment("terms.pdf", made_pdf(ordinary_page))
    found = _read(_written(writer))
    assert found.metadata["attached_files"] == ["factur-x.xml", "terms.pdf"]
    assert not found.attachments


def test_a_form_whose_pages_only_adobe_makes_is_refused_and_one_with_pages_is_read() -> None:
    """The page of such a file asks to wait, and would be extracted as if it were all."""
    forms = {}
    for is_dynamic in (True, False):
        writer = pypdf.PdfWriter(clone_from=io.BytesIO(made_pdf(ordinary_page)))
        data = StreamObject()
        data.set_data(b"<xdp/>")
        form = DictionaryObject({NameObject("/Fields"): ArrayObject(), NameObject("/XFA"): writer._add_object(data)})
        writer.root_object[NameObject("/AcroForm")] = form
        writer.root_object[NameObject("/NeedsRendering")] = BooleanObject(is_dynamic)
        forms[is_dynamic] = _written(writer)
    assert _read(forms[False]).pages[0].text
    with pytest.raises(UnreadableError, match="is an XFA form") as refused:
        _read(forms[True])
    assert refused.value.code == "unreadable"


def _encrypted(password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(made_pdf(ordinary_page)))
    writer.encrypt(password, "the owner's", algorithm="RC4-128")
    return _written(writer)


def _with_unknown_letters() -> bytes:
    """A page in a font whose letters are not named: they are seen, but which they are is not known."""
    pdfmetrics.registerFont(TTFont("Vera", Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"))

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Vera", 11)
        for index in range(VISIBLE_LINES):
            canvas.drawString(60, 780 - 16 * index, "äöüß éèêë ñçøå àìòù")

    content = made_pdf(draw)
    assert "äöüß" in _read(content).pages[0].text
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(content))
    for font in writer.pages[0]["/Resources"]["/Font"].values():  # type: ignore[index]
        font.get_object().pop("/ToUnicode", None)
    return _written(writer)


def _written(writer: pypdf.PdfWriter) -> bytes:
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def test_without_pillow_texts_are_read_and_pictures_refused_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    text, scan = made_pdf(ordinary_page), made_pdf(scanned_page)
    for name in [name for name in sys.modules if name == "PIL" or name.startswith("PIL.")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert _read(text).pages[0].text.count(LINE) == VISIBLE_LINES
    code, message = _refusal(scan)
    assert code == "reader_failed"
    assert "pip install 'kimi-beam[documents]'" in message
