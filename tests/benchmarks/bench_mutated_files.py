"""Damaged files by the hundred: what becomes of them, and what they take. `make bench` prints it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from mutated_files import mutated_files
from reading_law import check_that_each_is_read_or_refused, peak_bytes, readers

from kimi_beam.input import reading_process
from kimi_beam.input.file_parts import Part
from kimi_beam.input.read_parts import read_part

COUNTS = {".pdf": 700, ".docx": 500, ".tiff": 400, ".zip": 400}


def test_what_becomes_of_damaged_archives(tmp_path: Path) -> None:
    begun = time.monotonic()
    outcomes: Counter[str] = Counter()
    for number, content in enumerate(mutated_files(".zip", COUNTS[".zip"], seed=2)):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        documents = list(read_part(Part(str(path))))
        assert documents, f"file {number} has left neither a document nor a reason"
        outcomes.update(document.failure.code if document.failure else "read" for document in documents)
    counted = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    print(f"\n.zip: documents {counted}, in {time.monotonic() - begun:.1f} s")  # noqa: T201


@pytest.mark.parametrize("suffix", readers())
def test_what_becomes_of_damaged_files(suffix: str) -> None:
    begun = time.monotonic()
    outcomes = check_that_each_is_read_or_refused(suffix, mutated_files(suffix, COUNTS[suffix], seed=2))
    took = time.monotonic() - begun
    peak = peak_bytes() >> 20
    reading_process.end_all()
    counted = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    print(f"\n{suffix}: {counted}, in {took:.1f} s; the largest process that lives has held {peak} MB")  # noqa: T201
