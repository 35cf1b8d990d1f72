"""What reading PDFs costs in a whole run, beside the same texts and beside PDFium alone. `make bench` prints it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pypdfium2

sys.path.insert(0, str(Path(__file__).parent.parent))

from conftest import ROOT
from harness import read_dataset
from mutated_files import many_pages

FILES, PAGES = 240, 3
BARE = """
import sys
from pathlib import Path
import pypdfium2
for path in sorted(Path(sys.argv[1]).glob("*.pdf")):
    document = pypdfium2.PdfDocument(path)
    for page in document:
        page.get_textpage().get_text_bounded()
"""


def test_what_reading_adds_to_a_run(tmp_path: Path) -> None:
    pdfs, texts = tmp_path / "pdfs", tmp_path / "texts"
    pdfs.mkdir()
    texts.mkdir()
    for number in range(FILES):
        content = many_pages(number, PAGES)
        (pdfs / f"{number:03}.pdf").write_bytes(content)
        pages = [page.get_textpage().get_text_bounded() for page in pypdfium2.PdfDocument(content)]
        (texts / f"{number:03}.txt").write_text("\n\n".join(pages))
    bare = _cpu_seconds([sys.executable, "-c", BARE, str(pdfs)])
    of_texts = _cpu_seconds(_extract(texts, tmp_path / "out-texts"))
    of_pdfs = _cpu_seconds(_extract(pdfs, tmp_path / "out-pdfs"))
    assert len(read_dataset(tmp_path / "out-pdfs").rows) == FILES
    a_page = 1000 / (FILES * PAGES)
    print(  # noqa: T201
        f"\n{FILES} PDFs of {PAGES} pages, CPU ms a page: {of_pdfs * a_page:.2f} in a run, of which reading is "
        f"{(of_pdfs - of_texts) * a_page:.2f} (the same texts: {of_texts * a_page:.2f}); "
        f"PDFium alone with its start: {bare * a_page:.2f}"
    )


def _extract(inputs: Path, out: Path) -> list[str]:
    schema = str(ROOT / "schemas" / "receipt.json")
    words = ["extract", str(inputs), "--schema", schema, "--emulator", "--no-journal", "--output", str(out)]
    return [sys.executable, "-m", "kimi_beam.cli", *words]


def _cpu_seconds(command: Sequence[str]) -> float:
    """The CPU time of a command and all processes that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
