"""Damaged files end no worker: each is read or refused with a reason, in time and within bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mutated_files import GOOD, mutated_files
from reading_law import check_that_each_is_read_or_refused, readers

from kimi_beam.input import reading_process

EACH = 150
"""How many files of each kind are read here. `make bench` reads 2,000 (`tests/benchmarks/bench_mutated_files.py`)."""


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
