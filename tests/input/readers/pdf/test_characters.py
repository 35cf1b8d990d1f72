"""Which text object draws each letter of a page, which PDFium is asked for by words, not letter by letter."""

from __future__ import annotations

import random
from itertools import repeat
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pytest
from both_paths import both_paths
from made_invoices import made_invoice
from made_pdfs import made_pdf
from reportlab.pdfgen.canvas import Canvas

from kimi_beam.input.readers.pdf import characters
from kimi_beam.input.readers.pdf.pdfium_calls import address_of


def words_in_pieces(canvas: Canvas) -> None:
    """Words of which some are drawn in two pieces or three, so that two objects meet within them."""
    chance = random.Random(5)
    for line in range(30):
        text = canvas.beginText(60, 780 - 16 * line)
        for _ in range(8):
            for _ in range(chance.choice((1, 1, 2, 3))):
                text.textOut("".join(chance.choices("abcdefi", k=chance.randint(1, 4))))
            text.textOut(" ")
        canvas.drawText(text)


def test_letters_are_of_the_objects_that_pdfium_names_when_it_is_asked_about_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    ask = characters._asked

    def counted(page: Any, letters: characters.Integers) -> characters.Integers:
        asked.append(len(letters))
        return ask(page, letters)

    monkeypatch.setattr(characters, "_asked", counted)
    with both_paths("told by the ends of a word", "asked for", at_least=500) as taken:
        for content in (made_pdf(words_in_pieces), *(made_invoice(seed).content for seed in range(6))):
            document = pdfium.PdfDocument(content)
            for page in document:
                text_page = page.get_textpage()
                address = address_of(text_page)
                text = [chr(characters._unicode(address, index)) for index in range(text_page.count_chars())]
                letters = np.array([index for index, letter in enumerate(text) if not letter.isspace()], np.int64)
                asked.clear()
                found = characters.text_objects(address, letters)
                assert found.tolist() == list(map(characters._text_object, repeat(address), letters.tolist()))
                taken["asked for"] += asked[-1]
                taken["told by the ends of a word"] += len(letters) - asked[-1]
            document.close()


def test_a_page_without_a_letter_has_no_text_object() -> None:
    text_page = pdfium.PdfDocument(made_pdf(lambda canvas: None))[0].get_textpage()
    assert not len(characters.characters(text_page))
    assert not len(characters.text_objects(address_of(text_page), np.zeros(0, np.int64)))
