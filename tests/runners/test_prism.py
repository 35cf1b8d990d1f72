"""Prism, Beam's portable runner in one binary: nothing is lost or doubled on it. `make test-prism` brings it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.transforms.window import FixedWindows
from appearing_files import files_that_appear
from budgets import check_budget
from conservation import check, made
from real_runner import ended_by_a_kind_kill, extract_receipts, long_documents, redriven, stream, synchronous
from several_extracts import SHAPES, check_shape
from windowed import run_windowed

import kimi_beam as kb
from kimi_beam.errors import ConfigError

pytestmark = pytest.mark.skipif("KIMI_BEAM_PRISM" not in os.environ, reason="`make test-prism` brings it and runs this")


@pytest.fixture(scope="module")
def prism() -> Iterator[list[str]]:
    """Beam's options."""
    binary = Path(os.environ["KIMI_BEAM_PRISM"])
    assert os.access(binary, os.X_OK), f"no Prism at {binary}"
    with ended_by_a_kind_kill():
        yield [f"--prism_location={binary}"]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_goes_wrong_each_document_leaves_once(prism: list[str], seed: int, tmp_path: Path) -> None:
    check(made(seed), tmp_path, runner="PrismRunner", options=prism)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_extract_of_a_pipeline_gives_each_document_once(prism: list[str], shape: str, tmp_path: Path) -> None:
    check_shape(SHAPES[shape], tmp_path, runner="PrismRunner", options=prism)


def test_windows_that_it_would_lose_are_refused_when_the_pipeline_is_built(prism: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"PrismRunner would drop results .* WindowInto\(GlobalWindows"):
        run_windowed(tmp_path, FixedWindows(3_600), runner="PrismRunner", options=prism)


def test_a_stream_is_written_to_files_and_each_document_leaves_once(prism: list[str], tmp_path: Path) -> None:
    stream(tmp_path, 40, runner="PrismRunner", options=prism)


def test_the_answers_of_a_stream_are_fetched_once_when_their_events_come(prism: list[str], tmp_path: Path) -> None:
    stats = stream(tmp_path, 40, runner="PrismRunner", options=prism, events=kb.Events("f1" * 16, interval=0.2))
    assert stats["polls"] == stats["submits"]
    assert stats["events"]["acknowledged"] == stats["events"]["sent"]


def test_files_that_appear_are_read_once_and_written_by_their_time(prism: list[str], tmp_path: Path) -> None:
    files_that_appear(tmp_path, ["--runner=PrismRunner", *prism])


def test_synchronous_requests_lose_nothing_either(prism: list[str], tmp_path: Path) -> None:
    synchronous(tmp_path, runner="PrismRunner", options=prism)


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_run_keeps_to_its_budget_and_uses_it_up(prism: list[str], api: str, tmp_path: Path) -> None:
    check_budget(tmp_path, runner="PrismRunner", options=prism, api=api)


def test_long_documents_are_put_together_of_their_parts(prism: list[str], tmp_path: Path) -> None:
    long_documents(tmp_path, runner="PrismRunner", options=prism)


def test_dead_letters_are_run_again(prism: list[str], tmp_path: Path) -> None:
    redriven(tmp_path, runner="PrismRunner", options=prism)


def test_the_receipts_go_through_the_program_that_one_launches(
    prism: list[str], shared_data: Path, tmp_path: Path
) -> None:
    extract_receipts(shared_data, tmp_path, ["--runner=PrismRunner", *prism])
