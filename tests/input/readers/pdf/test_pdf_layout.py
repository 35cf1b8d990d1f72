"""The text of a page keeps what the eye sees: rows on a line, columns one after the other, turned pages upright."""

from __future__ import annotations

import io
import logging
import random
import re
from pathlib import Path

import numpy as np
import pypdf
import pytest
import reportlab
from hypothesis import given, settings
from hypothesis import strategies as st
from line_items import figures, invoices, total
from made_invoices import made_invoice
from made_pdfs import lines_page, made_pdf
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from kimi_beam.grounding.character_boxes import decode_boxes
from kimi_beam.input.readers.content import ReadOptions
from kimi_beam.input.readers.pdf import pdf

SENTENCE = [
    "the",
    "committee",
    "has",
    "measured",
    "every",
    "clause",
    "of",
    "the",
    "agreement",
    "with",
    "care",
    "and",
    "found",
    "that",
    "the",
    "parties",
    "under",
    "it",
    "may",
    "end",
    "their",
    "work",
    "within",
    "thirty",
    "days",
    "of",
    "a",
    "notice",
    "which",
    "has",
    "to",
    "be",
    "given",
    "in",
    "writing",
    "to",
    "the",
    "other",
    "side",
]


def _text(content: bytes) -> str:
    found = pdf.read(content, ReadOptions())
    assert not found.hidden
    return "\n\n".join(page.text for page in found.pages)


# ------------------------------------------------------------------------------------------------ rows of tables


def test_a_row_is_on_one_line_with_its_cells_below_the_heads_of_their_columns() -> None:
    def draw(canvas: Canvas) -> None:
        for y, cells in ((700, ("Item", "Qty", "Price", "Total")), (680, ("Chair", "2", "70.00", "140.00"))):
            for x, cell in zip((60, 300, 400, 500), cells, strict=True):
                canvas.drawString(x, y, cell)
        canvas.drawString(60, 660, "Desk")
        canvas.drawString(500, 660, "80.00")

    assert _text(made_pdf(draw)).split("\n") == [
        "Item    Qty   Price   Total",
        "Chair   2     70.00   140.00",
        "Desk                  80.00",
    ]


@pytest.mark.parametrize("offset", [0, 3, 6.5])
def test_the_wrapped_name_of_an_item_is_on_the_line_of_its_amounts(offset: float) -> None:
    """Whether the amounts stand beside the first line of the name or, centred, between its two lines."""
    rows = [
        ("Office chair with", "adjustable arms", "2", "70.00", "140.00"),
        ("Desk of solid", "oak", "1", "80.00", "80.00"),
    ]

    def draw(canvas: Canvas) -> None:
        for index, (first, second, *amounts) in enumerate(rows):
            y = 700 - 40 * index
            canvas.drawString(60, y, first)
            canvas.drawString(60, y - 13, second)
            for x, amount in zip((300, 400, 500), amounts, strict=True):
                canvas.drawRightString(x, y - offset, amount)

    assert [" ".join(line.split()) for line in _text(made_pdf(draw)).split("\n") if line] == [
        "Office chair with adjustable arms 2 70.00 140.00",
        "Desk of solid oak 1 80.00 80.00",
    ]


def test_amounts_beside_the_second_of_three_lines_of_a_name_are_on_a_line_with_its_beginning() -> None:
    def draw(canvas: Canvas) -> None:
        for index in range(3):
            y = 700 - 60 * index
            for line, text in enumerate((f"Chair {index} made of", "beech and covered", "with blue wool")):
                canvas.drawString(60, y - 13 * line, text)
            canvas.drawString(300, y - 13, f"{index + 2}")
            canvas.drawString(400, y - 13, f"{index}1.50")
            canvas.drawString(500, y - 13, f"{index}99.00")

    lines = [" ".join(line.split()) for line in _text(made_pdf(draw)).split("\n") if line]
    assert lines == [
        f"Chair {index} made of beech and covered with blue wool {index + 2} {index}1.50 {index}99.00"
        for index in range(3)
    ]


def test_a_name_below_an_article_number_belongs_to_its_row_though_it_reaches_below_the_quantity() -> None:
    def draw(canvas: Canvas) -> None:
        for index in range(2):
            y = 700 - 60 * index
            for x, text in ((40, f"{index}260331811362"), (230, "27,5000 h"), (340, "10,5000"), (500, "288,75")):
                canvas.drawString(x, y, text)
            canvas.drawString(40, y - 13, f"K652{index}")
            canvas.drawString(130, y - 13, f"Picker {index} 1250032 in hall")
            canvas.drawString(130, y - 26, f"Ordered by Mr Mayer of the department of goods for order {index}")

    lines = [" ".join(line.split()) for line in _text(made_pdf(draw)).split("\n") if line]
    assert [line for line in lines if "288,75" in line] == [
        f"{index}260331811362 K652{index} Picker {index} 1250032 in hall 27,5000 h 10,5000 288,75" for index in range(2)
    ]
    assert [line for line in lines if line.startswith("Ordered by")] == [
        f"Ordered by Mr Mayer of the department of goods for order {index}" for index in range(2)
    ]


def test_a_heading_between_two_rows_is_no_part_of_the_row_above_it() -> None:
    def draw(canvas: Canvas) -> None:
        for y, name in ((700, "Olive oil"), (670, "Office chair")):
            for x, cell in zip((60, 300, 400, 500), (name, "1", "70.00", "70.00"), strict=True):
                canvas.drawString(x, y, cell)
        canvas.setFont("Helvetica-Bold", 11)
        canvas.drawString(60, 685, "Furniture")

    lines = [" ".join(line.split()) for line in _text(made_pdf(draw)).split("\n") if line]
    assert lines == ["Olive oil 1 70.00 70.00", "Furniture", "Office chair 1 70.00 70.00"]


def test_labels_and_their_values_are_no_rows_of_a_table() -> None:
    texts = [
        *((60, 700, "Number"), (150, 700, "4711"), (300, 700, "Customer"), (400, 700, "99")),
        *((60, 686, "Date"), (150, 686, "7 May 2014"), (300, 686, "Amount"), (400, 686, "12.00")),
    ]
    lines = [" ".join(line.split()) for line in _text(made_pdf(lines_page(texts))).split("\n") if line]
    assert lines == ["Number 4711 Customer 99", "Date 7 May 2014 Amount 12.00"]


@settings(max_examples=60)
@given(
    count=st.integers(1, 30),
    leading=st.floats(11, 30),
    size=st.sampled_from([7, 9, 11]),
    names=st.lists(
        st.sampled_from(["Chair", "Desk of oak", "Lamp, blue", "Cable 3 m", "Service"]), min_size=1, max_size=5
    ),
)
def test_every_row_of_a_table_is_a_line_of_its_own_in_the_order_of_the_page(
    count: int, leading: float, size: int, names: list[str]
) -> None:
    rows = [(names[index % len(names)], f"{index + 1}", f"{index}.50", f"{index * 7}.25") for index in range(count)]
    leading = min(leading, 700 / count)

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", size)
        for index, row in enumerate(rows):
            for x, cell in zip((60, 300, 400, 500), row, strict=True):
                canvas.drawString(x, 780 - leading * index, cell)

    lines = [" ".join(line.split()) for line in _text(made_pdf(draw)).split("\n") if line]
    assert lines == [" ".join(row) for row in rows]


def test_the_rows_of_made_invoices_are_kept_whatever_their_layout() -> None:
    first = random.randrange(1_000_000)
    made = [made_invoice(seed) for seed in range(first, first + 25)]
    ours = total(figures(invoice.record, _text(invoice.content)) for invoice in made)
    assert ours.row_a >= 0.98 * ours.items, f"seeds from {first}"
    assert ours.row_b >= 0.85 * ours.items, f"seeds from {first}"
    assert ours.recall >= 0.995, f"seeds from {first}"
    assert not ours.merged, f"seeds from {first}"


# ------------------------------------------------------------------------------------------------ columns


@pytest.mark.parametrize("columns", [2, 3])
@pytest.mark.parametrize("is_even", [True, False])
def test_columns_are_read_one_after_the_other(columns: int, is_even: bool) -> None:
    """Also where the lines of the columns do not stand beside each other."""
    words = [_words_of_column(index, columns) for index in range(columns)]

    def draw(canvas: Canvas) -> None:
        canvas.drawCentredString(A4[0] / 2, 800, "A title over all columns")
        canvas.setFont("Helvetica", 9)
        width = 500 / columns
        for index, column in enumerate(words):
            for number, line in enumerate(_wrapped(canvas, column, width - 15)):
                canvas.drawString(50 + width * index, 770 - 12 * number - (0 if is_even else 4 * index), line)
        canvas.drawString(50, 40, "A footer")

    assert _text(made_pdf(draw)).split() == [
        "A",
        "title",
        "over",
        "all",
        "columns",
        *(word for column in words for word in column),
        "A",
        "footer",
    ]


@pytest.mark.parametrize("columns", [2, 3])
@pytest.mark.parametrize("is_even", [True, False])
def test_columns_less_than_a_letter_apart_are_read_one_after_the_other(columns: int, is_even: bool) -> None:
    """Lines are justified, so that the gaps between words are often as wide as those between the columns."""
    words = [_words_of_column(index, columns) for index in range(columns)]

    def draw(canvas: Canvas) -> None:
        canvas.drawCentredString(A4[0] / 2, 800, "A title over all columns")
        canvas.setFont("Helvetica", 9)
        width = 500 / columns
        for index, column in enumerate(words):
            for number, line in enumerate(_wrapped(canvas, column, width - 7)):
                x, y = 50 + width * index, 770 - 12 * number - (0 if is_even else 4 * index)
                _draw_justified(canvas, line, x, y, width - 7)

    text = _text(made_pdf(draw)).split()
    assert text == ["A", "title", "over", "all", "columns", *(word for column in words for word in column)]


def _draw_justified(canvas: Canvas, line: str, x: float, y: float, width: float) -> None:
    words = line.split()
    free = width - sum(canvas.stringWidth(word, "Helvetica", 9) for word in words)
    gap = min(free / max(len(words) - 1, 1), 12.0)
    for word in words:
        canvas.drawString(x, y, word)
        x += canvas.stringWidth(word, "Helvetica", 9) + gap


def test_a_table_whose_columns_are_less_than_a_letter_apart_keeps_its_rows() -> None:
    """Its second column begins at one edge in every line, as that of a text does."""
    names = ["Garden chair of oak", "Table with two drawers", "Bench for the hall", "Lamp of green glass"] * 3
    units = ["piece", "set of four", "piece", "box"] * 3

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 9)
        widest = max(canvas.stringWidth(name, "Helvetica", 9) for name in names)
        for row, (name, unit) in enumerate(zip(names, units, strict=True)):
            canvas.drawString(50, 700 - 12 * row, name)
            canvas.drawString(50 + widest + 6, 700 - 12 * row, unit)
            canvas.drawRightString(300, 700 - 12 * row, f"{row + 1}.50")

    rows = [" ".join(line.split()) for line in _text(made_pdf(draw)).split("\n")]
    assert rows == [f"{name} {unit} {row + 1}.50" for row, (name, unit) in enumerate(zip(names, units, strict=True))]


@pytest.mark.parametrize("lines", ["below rows", "around cells", "none"])
def test_a_table_whose_cells_are_running_text_is_read_row_by_row(lines: str) -> None:
    cells = [[f"left{row}", *SENTENCE[: 30 - 3 * row]] for row in range(4)]
    others = [[f"right{row}", *SENTENCE[row : 20 + 7 * row]] for row in range(4)]

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 9)
        y = 760
        for pair in zip(cells, others, strict=True):
            texts = [_wrapped(canvas, words, 225) for words in pair]
            for column, text in enumerate(texts):
                for number, line in enumerate(text):
                    canvas.drawString(50 + 250 * column, y - 12 * number, line)
            end = y - 12 * max(map(len, texts))
            if lines == "below rows":
                canvas.line(48, end + 3, 545, end + 3)
            elif lines == "around cells":
                for x in (48, 298):
                    canvas.rect(x, end + 3, 249, y + 10 - end - 3)
            y = end - 6

    read = _text(made_pdf(draw)).split()
    assert read == [word for pair in zip(cells, others, strict=True) for words in pair for word in words]


def test_paragraphs_of_two_columns_that_begin_at_one_height_by_chance_make_no_table() -> None:
    """They do so once; their other paragraphs begin where they may."""
    columns = [
        [[f"p{column}{number}", *SENTENCE[:size]] for number, size in enumerate(sizes)]
        for column, sizes in enumerate(((40, 30, 44, 20, 38), (40, 36, 20, 44, 30)))
    ]

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 9)
        for column, paragraphs in enumerate(columns):
            y = 760
            for words in paragraphs:
                for line in _wrapped(canvas, words, 225):
                    canvas.drawString(50 + 250 * column, y, line)
                    y -= 12
                y -= 6

    read = _text(made_pdf(draw)).split()
    assert read == [word for paragraphs in columns for words in paragraphs for word in words]


def test_a_table_between_two_columns_of_text_keeps_its_rows() -> None:
    left, right = (_words_of_column(index, 2) for index in range(2))

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 9)
        for index, column in enumerate((left, right)):
            for number, line in enumerate(_wrapped(canvas, column, 235)):
                canvas.drawString(50 + 250 * index, 770 - 12 * number, line)
        for row in range(4):
            for x, cell in zip((50, 250, 350, 450), (f"Item {row}", "2", f"{row}.50", f"{row}1.00"), strict=True):
                canvas.drawString(x, 300 - 12 * row, cell)

    text = _text(made_pdf(draw))
    assert text.split()[: len(left) + len(right)] == [*left, *right]
    rows = [" ".join(line.split()) for line in text.split("\n") if line.startswith("Item")]
    assert rows == [f"Item {row} 2 {row}.50 {row}1.00" for row in range(4)]


def _words_of_column(index: int, columns: int) -> list[str]:
    return [f"begin{index}", *SENTENCE * (6 // columns), f"end{index}"]


def _wrapped(canvas: Canvas, words: list[str], width: float) -> list[str]:
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if canvas.stringWidth(longer, "Helvetica", 9) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


# ------------------------------------------------------------------------------------------------ turned pages


@pytest.mark.parametrize("turned", [90, 180, 270])
@pytest.mark.parametrize("by_the_page", [True, False])
def test_a_turned_page_is_read_upright(turned: int, by_the_page: bool) -> None:
    rows = ["First row   1.00", "Second row  2.00", "Third row   3.00"]

    def draw(canvas: Canvas) -> None:
        if by_the_page:
            canvas.setPageRotation(turned)
        else:
            canvas.translate(300, 400)
            canvas.rotate(turned)
            canvas.translate(-200, -100)
        for index, row in enumerate(rows):
            canvas.drawString(60, 150 - 16 * index, row)

    lines = _text(made_pdf(draw)).split("\n")
    assert [" ".join(line.split()) for line in lines] == [" ".join(row.split()) for row in rows]


def test_text_that_runs_another_way_follows_the_text_of_the_page() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.saveState()
        canvas.rotate(90)
        canvas.drawString(300, -30, "A note on the margin")
        canvas.restoreState()
        for index in range(4):
            canvas.drawString(60, 700 - 16 * index, f"Line {index} of the page itself")

    lines = _text(made_pdf(draw)).split("\n")
    assert lines == [*(f"Line {index} of the page itself" for index in range(4)), "", "A note on the margin"]


# ------------------------------------------------------------------------------------------------ words and lines


def test_a_raised_letter_is_on_the_line_of_its_word() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(60, 700, "An area of 12 m")
        canvas.setFont("Helvetica", 6)
        canvas.drawString(60 + canvas.stringWidth("An area of 12 m", "Helvetica", 11), 704, "2")
        canvas.setFont("Helvetica", 11)
        canvas.drawString(60, 686, "and CO")
        canvas.setFont("Helvetica", 6)
        canvas.drawString(60 + canvas.stringWidth("and CO", "Helvetica", 11), 684, "2")

    assert _text(made_pdf(draw)).split("\n") == ["An area of 12 m2", "and CO2"]


def test_a_raised_mark_behind_an_amount_makes_no_other_amount_of_it() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(60, 700, "Total 1,234.50")
        canvas.setFont("Helvetica", 6)
        canvas.drawString(60 + canvas.stringWidth("Total 1,234.50", "Helvetica", 11), 704, "1")

    assert _text(made_pdf(draw)) == "Total 1,234.50 1"


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_words_in_a_font_that_does_not_say_how_high_it_is_are_not_torn_apart(turned: int) -> None:
    """LibreOffice writes such fonts: a box that ends where the letter ends puts the ``y`` below the line."""
    pdfmetrics.registerFont(TTFont("Vera", Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"))
    text = "Body of a copy, happily typed by us"

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Vera", 11)
        canvas.drawString(60, 700, text)

    content, count = re.subn(rb"(?<=/Descent )-240\.2344", b"0        ", made_pdf(draw))
    assert count == 1
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(content))
    writer.pages[0].rotate(turned)
    file = io.BytesIO()
    writer.write(file)
    found = pdf.read(file.getvalue(), ReadOptions(keeps_boxes=True)).pages[0]
    assert found.text == text
    assert found.boxes is not None
    boxes = decode_boxes(found.boxes, len(text)).places[[index for index, letter in enumerate(text) if letter != " "]]
    assert np.ptp(boxes, axis=0)[0 if turned % 180 else 1] < 0.2  # all letters stand on one line


def test_a_text_that_is_drawn_twice_to_make_it_bold_is_read_once() -> None:
    def draw(canvas: Canvas) -> None:
        for shift in (0, 0.3, 0.6):
            canvas.drawString(60 + shift, 700, "Total due")
            canvas.drawString(200 + shift, 700, "12.00")

    assert _text(made_pdf(draw)).split() == ["Total", "due", "12.00"]


def test_letters_that_are_drawn_one_by_one_are_words() -> None:
    def draw(canvas: Canvas) -> None:
        x = 60.0
        for letter in "Invoice number 4711":
            if letter != " ":
                canvas.drawString(x, 700, letter)
            x += canvas.stringWidth(letter, "Helvetica", 11)

    assert _text(made_pdf(draw)) == "Invoice number 4711"


def test_the_order_in_which_a_page_is_drawn_does_not_matter() -> None:
    lines = [(60.0, 700.0 - 16 * index, f"Line {index} of the page") for index in range(10)]
    assert _text(made_pdf(lines_page(lines[::-1]))) == _text(made_pdf(lines_page(lines)))


# ------------------------------------------------------------------------------------------------ headers and footers


def test_headers_and_footers_are_kept_once_and_what_differs_is_kept() -> None:
    def page(number: int) -> str:
        return f"Page {number} of 6"

    def draw(number: int) -> list[tuple[float, float, str]]:
        return [
            (60, 800, "ACME GmbH, Musterstadt"),
            *((60.0, 700.0 - 16 * index, f"Row {index} of all pages") for index in range(3)),
            (60, 640, f"Row of page {number}"),
            (60, 60, page(number)),
            (60, 40, "IBAN DE12 3456"),
        ]

    found = pdf.read(made_pdf(*(lines_page(draw(number)) for number in range(1, 7))), ReadOptions())
    texts = [page.text for page in found.pages]
    assert "".join(texts).count("ACME GmbH") == 1
    assert texts[0].startswith("ACME GmbH")
    assert "".join(texts).count("IBAN DE12 3456") == 1
    for number, text in enumerate(texts, 1):
        assert page(number) in text
        assert f"Row of page {number}" in text


def test_the_heads_of_columns_and_equal_rows_stay_on_every_page() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(60, 800, "ACME GmbH")
        for y, cells in ((780, ("Item", "Qty", "Price", "Total")), (760, ("Chair", "2", "70.00", "140.00"))):
            for x, cell in zip((60, 300, 400, 500), cells, strict=True):
                canvas.drawString(x, y, cell)

    text = _text(made_pdf(*[draw] * 6))
    assert text.count("ACME GmbH") == 1
    assert text.count("Price") == text.count("140.00") == 6


def test_a_file_of_few_pages_keeps_what_they_have_in_common() -> None:
    draw = lines_page([(60, 800, "ACME GmbH"), (60, 700, "A line")])
    assert _text(made_pdf(draw, draw, draw)).count("ACME GmbH") == 3


# ------------------------------------------------------------------------------------------------ real invoices


def test_the_rows_of_real_invoices_are_kept_and_no_word_is_lost(shared_data: Path) -> None:
    found = [(record, _text(content)) for record, content in invoices(shared_data)]
    ours = total(figures(record, text) for record, text in found)
    assert ours.items >= 30
    assert ours.row_a >= 0.98 * ours.items
    assert ours.row_b >= 0.85 * ours.items
    assert ours.recall >= 0.995
    theirs = total(figures(record, _pypdf_text(content)) for record, content in invoices(shared_data))
    assert ours.merged <= theirs.merged


def _pypdf_text(content: bytes) -> str:
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    pages = pypdf.PdfReader(io.BytesIO(content)).pages
    return "\n".join(page.extract_text(extraction_mode="layout") for page in pages)
