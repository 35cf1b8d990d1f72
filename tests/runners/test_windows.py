"""Documents in windows: of input that ends each result is in its document's window, or the pipeline is not built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders.coders import IntervalWindowCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import (
    FixedWindows,
    IntervalWindow,
    NonMergingWindowFn,
    Sessions,
    SlidingWindows,
    TimestampedValue,
    WindowFn,
)
from harness import QUICK, RECEIPT, receipts, service
from windowed import EXPECTED, GROUPS, NameWindows, lines_of, run_windowed

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.errors import ConfigError


@pytest.mark.parametrize("api", ["batch", "run"])
def test_each_result_is_in_the_window_of_its_document(api: str, tmp_path: Path) -> None:
    assert run_windowed(tmp_path, FixedWindows(3_600), api=api) == (EXPECTED, GROUPS)


def test_and_in_that_of_its_session(tmp_path: Path) -> None:
    assert run_windowed(tmp_path, Sessions(1_800))[1] == GROUPS


def test_documents_without_a_timestamp_keep_their_window_too(tmp_path: Path) -> None:
    with Emulator(latency=0.05) as emulator, beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        documents = pipeline | beam.Create(receipts(3)) | beam.WindowInto(FixedWindows(10))
        results = documents | kb.Extract(RECEIPT, service=service(emulator.base_url), polling=QUICK)
        lines = results.extractions | beam.ParDo(NameWindows()).with_output_types(str)
        lines | beam.io.WriteToText(str(tmp_path / "lines"))
    found = lines_of(tmp_path, "lines")
    assert len(found) == 3
    assert len({line.partition(" ")[2] for line in found}) == 1


@pytest.mark.parametrize("is_bounded", [True, False])
def test_a_document_in_several_windows_is_refused_before_anything_is_paid_for(is_bounded: bool) -> None:
    pipeline = beam.Pipeline("FnApiRunner", options=PipelineOptions([]))
    documents = pipeline | beam.Create(receipts(1)) | beam.WindowInto(SlidingWindows(60, 20))
    documents.is_bounded = is_bounded
    with pytest.raises(ConfigError, match=r"SlidingWindows, each in 3 windows at once, .* WindowInto after Extract"):
        documents | kb.Extract(RECEIPT, service=service("http://127.0.0.1:1"))


@pytest.mark.parametrize("windows", [SlidingWindows(120, 100, offset=50), SlidingWindows(110, 100, offset=20)])
def test_windows_that_overlap_at_some_moments_only_are_refused_too(windows: SlidingWindows) -> None:
    pipeline = beam.Pipeline("FnApiRunner", options=PipelineOptions([]))
    documents = pipeline | beam.Create(receipts(1)) | beam.WindowInto(windows)
    with pytest.raises(ConfigError, match="each in 2 windows at once"):
        documents | kb.Extract(RECEIPT, service=service("http://127.0.0.1:1"))


def test_a_document_that_is_asked_for_again_is_in_the_windows_of_the_second_extract(tmp_path: Path) -> None:
    empty = [TimestampedValue(kb.Document(f"doc-{i}", "", source="made"), 40 * i) for i in range(6)]
    with Emulator(latency=0.05) as emulator, beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        documents = (
            pipeline | beam.Create(empty) | beam.Map(lambda document: document) | beam.WindowInto(FixedWindows(100))
        )
        where = service(emulator.base_url)
        letters = (documents | "A" >> kb.Extract(RECEIPT, service=where, polling=QUICK)).dead_letters
        mended = (
            letters | beam.Map(_mended).with_output_types(kb.Document) | "W" >> beam.WindowInto(FixedWindows(1_000))
        )
        results = mended | "B" >> kb.Extract(RECEIPT, service=where, polling=QUICK)
        lines = results.extractions | beam.ParDo(NameWindows()).with_output_types(str)
        lines | beam.io.WriteToText(str(tmp_path / "lines"))
    assert sorted(lines_of(tmp_path, "lines")) == [f"doc-{i} 0-1000 {40 * i}" for i in range(6)]


def _mended(letter: kb.DeadLetter) -> kb.Document:
    return replace(letter.document, text="COMPANY: Mended Ltd\nTOTAL: 1.00\n", failure=None)


def test_record_batches_of_many_windows_are_refused() -> None:
    pipeline = beam.Pipeline("FnApiRunner", options=PipelineOptions([]))
    documents = pipeline | beam.Create(receipts(1)) | beam.WindowInto(FixedWindows(60))
    with pytest.raises(ConfigError, match="record_batches is for the global window"):
        documents | kb.Extract(RECEIPT, service=service("http://127.0.0.1:1"), record_batches=True)


class ByText(NonMergingWindowFn):  # type: ignore[misc]
    """A user's own function, which looks at the document, each in its way."""

    def __init__(self, looks: Callable[[Any], int]) -> None:
        self._looks = looks

    def assign(self, context: WindowFn.AssignContext) -> list[IntervalWindow]:
        return [IntervalWindow(i, i + 1) for i in range(self._looks(context.element))]

    def get_window_coder(self) -> IntervalWindowCoder:
        return IntervalWindowCoder()


@pytest.mark.parametrize("is_bounded", [True, False])
@pytest.mark.parametrize("looks", [lambda d: len(d.text), lambda d: len(getattr(d, "text", "x"))])
def test_windows_that_are_chosen_by_the_document_are_refused(looks: Callable[[Any], int], is_bounded: bool) -> None:
    pipeline = beam.Pipeline("FnApiRunner", options=PipelineOptions([]))
    documents = pipeline | beam.Create(receipts(1)) | beam.WindowInto(ByText(looks))
    documents.is_bounded = is_bounded
    with pytest.raises(ConfigError, match=r"ByText does not choose windows by a timestamp alone, .* WindowInto after"):
        documents | kb.Extract(RECEIPT, service=service("http://127.0.0.1:1"))
