"""What reading office files and web pages costs, beside the libraries that one would take otherwise, in the same run.

`make bench` prints it. The ratios are asserted, because seconds depend on the machine and on what else it does.
"""

from __future__ import annotations

import datetime
import io
import time
from collections.abc import Callable

import docx
import openpyxl
from selectolax.lexbor import LexborHTMLParser

from kimi_beam.input.readers.content import DEFAULT_OPTIONS
from kimi_beam.input.readers.office.spreadsheets import spreadsheets
from kimi_beam.input.readers.office.word import word
from kimi_beam.input.readers.web import web_pages

ROUNDS = 15


def _docx() -> bytes:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "ACME Ltd, IBAN DE02 1203 0000 0000 2020 51"
    for number in range(40):
        document.add_paragraph(f"Paragraph {number} says something about the delivery of these items.")
    table = document.add_table(rows=100, cols=4)
    for number, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"cell {number}"
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def _xlsx() -> bytes:
    workbook = openpyxl.Workbook()
    for number in range(5_000):
        workbook.active.append([number, f"Item {number}", number * 1.5, datetime.date(2026, 1, 1 + number % 28)])
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def _html() -> bytes:
    rows = "".join(f"<tr><td>{n}</td><td>Item {n}</td><td>2</td><td>{n}.50</td></tr>" for n in range(100))
    texts = "".join(f"<p>Paragraph <b>number</b> {n} says something.</p>" for n in range(40))
    return f"<style>th {{background: #036; color: #fff}}</style>{texts}<table>{rows}</table>".encode()


def _with_python_docx(content: bytes) -> list[str]:
    document = docx.Document(io.BytesIO(content))
    texts = [paragraph.text for paragraph in document.paragraphs]
    return texts + [cell.text for row in document.tables[0].rows for cell in row.cells]


def _with_openpyxl(content: bytes) -> list[tuple[object, ...]]:
    sheet = openpyxl.load_workbook(io.BytesIO(content), read_only=True).worksheets[0]
    return list(sheet.iter_rows(values_only=True))


def _seconds(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The least CPU seconds of several calls."""
    least = float("inf")
    for _ in range(rounds):
        begun = time.process_time()
        call()
        least = min(least, time.process_time() - begun)
    return least


def _report(name: str, ours: float, other: str, theirs: float) -> None:
    print(f"\n{name}: {ours * 1e3:.1f} ms; {other} {theirs * 1e3:.1f} ms, {theirs / ours:.2f} times as much")  # noqa: T201


def test_a_word_document_is_read_in_less_than_half_of_what_python_docx_takes() -> None:
    content = _docx()
    ours = _seconds(lambda: word.read(content, DEFAULT_OPTIONS))
    theirs = _seconds(lambda: _with_python_docx(content), 5)
    _report("DOCX, 40 paragraphs and a table of 100 rows", ours, "python-docx", theirs)
    assert theirs > 2 * ours


def test_a_workbook_is_read_in_less_than_a_third_of_what_openpyxl_takes() -> None:
    content = _xlsx()
    ours = _seconds(lambda: spreadsheets.read(content, DEFAULT_OPTIONS))
    theirs = _seconds(lambda: _with_openpyxl(content), 5)
    _report("XLSX, 5,000 rows of 4 cells", ours, "openpyxl", theirs)
    assert theirs > 3 * ours


def test_a_web_page_is_read_in_few_times_what_its_parsing_takes() -> None:
    content = _html()
    ours = _seconds(lambda: web_pages.read(content, DEFAULT_OPTIONS))
    bare = _seconds(lambda: LexborHTMLParser(content.decode()).text())
    _report("HTML, 40 paragraphs and a table of 100 rows", ours, "selectolax's text without lines and looks", bare)
    assert ours < 40 * bare
