"""Damaged files end no worker: each is read or refused with a reason, in time and within bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from harness import QUICK, RECEIPT, read_dataset, service
from mutated_files import GOOD, mutated_files
from reading_law import check_that_each_is_read_or_refused, readers

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.input import reading_process

EACH = 150
"""How many files of each kind are read here. `make bench` reads 2,000 (`tests/benchmarks/bench_mutated_files.py`)."""

IN_A_RUN = 30
"""How many of each kind go through a pipeline."""
_OF_MEMBERS = ("not_utf8", "not_text", "empty_document", "unknown_kind", "unreadable", "too_large")
"""What becomes of members of a damaged zip whose name or text was hit."""


@pytest.fixture(autouse=True, scope="module")
def ended_processes() -> Iterator[None]:
    yield
    reading_process.end_all()


@pytest.mark.parametrize("suffix", readers())
def test_each_damaged_file_is_read_or_refused_within_its_limits(suffix: str) -> None:
    outcomes = check_that_each_is_read_or_refused(suffix, mutated_files(suffix, EACH, seed=1))
    assert sum(outcomes.values()) == EACH
    assert outcomes["read"] < EACH, "the files are not damaged"


@pytest.mark.parametrize("suffix", readers())
def test_the_files_that_are_damaged_are_good_before(suffix: str) -> None:
    good = [make() for make in GOOD[suffix]]
    assert check_that_each_is_read_or_refused(suffix, good) == {"read": len(good)}


def test_each_damaged_file_of_a_run_is_a_row_or_a_dead_letter(tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    for suffix in GOOD:
        for number, content in enumerate(mutated_files(suffix, IN_A_RUN, seed=3)):
            (inputs / f"{number:02}{suffix}").write_bytes(content)
    with Emulator() as emulator, beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        documents = pipeline | kb.ReadDocuments(str(inputs))
        results = documents | kb.Extract(RECEIPT, service=service(emulator.base_url), polling=QUICK)
        write = kb.WriteDataset(str(tmp_path / "out"), RECEIPT, model="m", documents=documents)
        (results.extractions, results.dead_letters) | write
    outcome = read_dataset(tmp_path / "out")
    assert max(outcome.ids.values()) == 1, "a document has left twice"
    files = Counter(name.partition("!/")[0] for name in outcome.ids)
    assert set(files) == {str(path) for path in inputs.iterdir()}, "a file is neither a row nor a dead letter"
    assert {count for path, count in files.items() if not path.endswith(".zip")} == {1}
    assert {"damaged"} <= set(outcome.codes) <= {"damaged", "encrypted", "compression_bomb", *_OF_MEMBERS}
    assert len(outcome.rows) > IN_A_RUN, "hardly any file was good enough to be read"
