"""How fast PDFs are read, and how well their rows are kept: `make bench`. Ratios of one run, by the process's CPU.

Beside it: PDFium alone, which gives the text without layout, and pypdf's layout mode, which gives rows of tables.
"""

from __future__ import annotations

import gc
import io
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pypdf
import pypdfium2 as pdfium
import pytest
from line_items import Figures, figures, invoices, total
from made_invoices import made_invoice

from kimi_beam.input.readers.content import ReadOptions
from kimi_beam.input.readers.pdf import pdf

ROUNDS = 7
Read = Callable[[bytes], list[str]]


def ours(content: bytes) -> list[str]:
    """Rows, columns, and no hidden text."""
    return [page.text for page in pdf.read(content, ReadOptions()).pages]


def ours_with_boxes(content: bytes) -> list[str]:
    """The same, with the place of each character."""
    return [page.text for page in pdf.read(content, ReadOptions(keeps_boxes=True)).pages]


def bare_pdfium(content: bytes) -> list[str]:
    """The text as PDFium gives it."""
    with pdfium.PdfDocument(content) as document:
        return [page.get_textpage().get_text_bounded() for page in document]


def pypdf_layout(content: bytes) -> list[str]:
    """The text as pypdf lays it out."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    return [page.extract_text(extraction_mode="layout") for page in pypdf.PdfReader(io.BytesIO(content)).pages]


def _milliseconds(readers: list[Read], contents: list[bytes]) -> dict[str, float]:
    """The CPU time of a page by each reader, the best of some rounds, one reader after the other in each round."""
    best: dict[str, float] = {}
    pages = sum(len(bare_pdfium(content)) for content in contents)
    for _ in range(ROUNDS):
        for reader in readers:
            gc.collect()
            began = time.process_time()
            for content in contents:
                reader(content)
            taken = (time.process_time() - began) / pages * 1e3
            best[reader.__name__] = min(best.get(reader.__name__, taken), taken)
    return best


def _say(text: str) -> None:
    sys.stdout.write(f"\n  {text}")


def _say_figures(name: str, found: Figures) -> None:
    row_a, row_b = found.row_a / found.items, found.row_b / found.items
    rows = f"row A {row_a:.1%}, row B {row_b:.1%} of {found.items}, {found.merged} merged"
    _say(f"{name}: {rows}, {found.recall:.2%} of the words")


def test_real_invoices_are_read_three_times_as_fast_as_by_pypdf_and_better(shared_data: Path) -> None:
    records = list(invoices(shared_data))
    readers: list[Read] = [ours, ours_with_boxes, bare_pdfium, pypdf_layout]
    taken = _milliseconds(readers, [content for _, content in records])
    for name, milliseconds in taken.items():
        _say(f"{name}: {milliseconds:.2f} ms a page, {1e3 / milliseconds:.0f} pages a CPU second")
    for reader in readers:
        found = total(figures(record, "\n".join(reader(content))) for record, content in records)
        _say_figures(reader.__name__, found)
    assert 3 * taken["ours"] <= taken["pypdf_layout"]
    assert taken["ours_with_boxes"] <= 1.3 * taken["ours"]


def test_made_invoices_keep_their_rows_better_than_by_pypdf() -> None:
    made = [made_invoice(seed) for seed in range(100)]
    for reader in (ours, bare_pdfium, pypdf_layout):
        found = total(figures(invoice.record, "\n".join(reader(invoice.content))) for invoice in made)
        _say_figures(reader.__name__, found)


if __name__ == "__main__":
    sys.exit(pytest.main(["-s", "-q", __file__]))
