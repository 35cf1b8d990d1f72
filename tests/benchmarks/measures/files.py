"""Files by the thousand: what a page costs beside PDFium alone, and the memory of long texts and of scans.

Memory is that of the whole process tree, the resident sets of all its processes added up.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from ..clients import best, with_service
from ..processes import Usage, run
from ..report import Row
from ..service import Running
from . import Bench

_CHUNK_TOKENS = 4_000
_MOST_A_PAGE = 6.0
"""Milliseconds of CPU that reading a page of a dense table may take on a machine that does nothing else."""
_MOST_MEMORY = 1_500.0
"""MB of all processes together that no run of files may take."""
_PDFIUM = """
import sys
from pathlib import Path
import pypdfium2
pages = 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    document = pypdfium2.PdfDocument(path)
    for page in document:
        page.get_textpage().get_text_bounded()
    pages += len(document)
print(pages)
"""


def pages_of_pdfs(bench: Bench) -> Iterator[Row]:
    """PDFs in a whole run, less what the run costs without pages to read, beside PDFium alone."""
    few, many = bench.sizes.pdfs
    runs: dict[int, list[Usage]] = {few: [], many: []}
    texts: dict[int, list[Usage]] = {few: [], many: []}
    bare: dict[int, list[Usage]] = {few: [], many: []}
    for number in range(bench.sizes.rounds):
        for count in (few, many):
            directory = bench.clients.files("pdf", count)
            bare[count].append(run([sys.executable, "-c", _PDFIUM, directory], bench.clients.directory))
            runs[count].append(_extract(bench, "pdf", count))
            texts[count].append(_extract(bench, "text", count))
            used = runs[count][-1], texts[count][-1], bare[count][-1]
            seconds = ", ".join(f"{one.cpu:.1f}" for one in used)
            bench.say(f"{count:,} PDFs, round {number + 1}: {seconds} s CPU (PDFs, their texts, PDFium alone)")
    pages = [int(bare[count][0].said) for count in (few, many)]
    more = pages[1] - pages[0]
    of_pdfs, of_texts, alone = (
        (best(found[many]).cpu - best(found[few]).cpu) / more * 1e3 for found in (runs, texts, bare)
    )
    together = best(runs[many]).together / 1e6
    detail = {"ms of all": of_pdfs, "ms of the same texts": of_texts, "MB of all processes": together}
    measure, reading = f"each further page of PDFs, {many:,} PDFs", of_pdfs - of_texts
    yield Row("pdf_page", measure, "PDFium alone", reading, alone, "ms CPU a page", None, detail)
    yield Row("pdf_page_bound", measure, f"{_MOST_A_PAGE:g} ms", reading, _MOST_A_PAGE, "ms CPU a page", 1.0)


def long_texts(bench: Bench) -> Iterator[Row]:
    """Texts of 200 kB, whole and in parts."""
    count = bench.sizes.long_texts
    whole = _extract(bench, "long", count)
    yield _memory(bench, "long", f"{count:,} texts of 200 kB, whole", whole)
    in_parts = _extract(bench, "long", count, f"--chunk-tokens={_CHUNK_TOKENS}")
    yield _memory(bench, "long_parts", f"{count:,} texts of 200 kB, in parts of {_CHUNK_TOKENS:,} tokens", in_parts)


def scans(bench: Bench) -> Iterator[Row]:
    """Scans of ten pages."""
    count = bench.sizes.scans
    yield _memory(bench, "scans", f"{count:,} scans of 10 pages", _extract(bench, "scans", count))


def _memory(bench: Bench, name: str, measure: str, used: Usage) -> Row:
    bench.say(f"{measure}: {used.cpu:.1f} s CPU, {used.wall:.1f} s, {used.together / 1e6:.0f} MB")
    detail = {"s CPU": used.cpu, "s wall": used.wall, "MB of the largest process": used.peak / 1e6}
    return Row(f"memory_{name}", f"memory of all processes, {measure}", "1.5 GB", used.together / 1e6, _MOST_MEMORY,
               "MB", 1.0, detail)  # fmt: skip


def _extract(bench: Bench, kind: str, count: int, *options: str) -> Usage:
    def client(count: int, asked: Running) -> Usage:
        return bench.clients.extract_files(kind, count, asked, *options)

    return with_service(client, count)[0]
