"""Documents in windows: of input that ends each result is in its document's window, or the pipeline is not built."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows, Sessions, SlidingWindows
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


def test_record_batches_of_many_windows_are_refused() -> None:
    pipeline = beam.Pipeline("FnApiRunner", options=PipelineOptions([]))
    documents = pipeline | beam.Create(receipts(1)) | beam.WindowInto(FixedWindows(60))
    with pytest.raises(ConfigError, match="record_batches is for the global window"):
        documents | kb.Extract(RECEIPT, service=service("http://127.0.0.1:1"), record_batches=True)
