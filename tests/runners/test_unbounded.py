"""Input that does not end: real-time timers admit and poll, and the drain takes what is left when it ends after all."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from harness import QUICK, RECEIPT, receipts, service

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.stream.audit_files import reconcile_directory

_arrived: list[tuple[str, Any]] = []


class _Collect(beam.DoFn):
    """Keeps what arrives, in this process: grouping would depend on the watermark, which is what is tested."""

    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, element: object) -> None:
        _arrived.append((self._name, element))


@pytest.mark.parametrize("let_time_pass", [True, False], ids=["ticking", "drained"])
@pytest.mark.parametrize("windowed", [False, True])
def test_each_document_of_a_stream_leaves_once(let_time_pass: bool, windowed: bool) -> None:
    _arrived.clear()
    documents = [*receipts(30), kb.Document("empty", "")]
    stream = test_stream.TestStream()
    for start in range(0, len(documents), 10):
        stream.advance_watermark_to(start)
        stream.add_elements([TimestampedValue(d, start) for d in documents[start : start + 10]])
        if let_time_pass:
            # The timers are set by the real clock; the stream's begins at 0, so that this step passes them all.
            stream.advance_processing_time(1e10)
    stream.advance_watermark_to_infinity()
    with Emulator(latency=0.1) as emulator:
        options = PipelineOptions(streaming=True)
        with beam.Pipeline(runner="BundleBasedDirectRunner", options=options) as pipeline:
            came_in = pipeline | stream
            if windowed:
                came_in = came_in | beam.WindowInto(FixedWindows(5))
            assert not came_in.is_bounded
            results = came_in | kb.Extract(
                RECEIPT,
                service=service(emulator.base_url),
                polling=QUICK,
                batching=kb.Batching(max_wait=0.0, max_items=7),
                shards=2,
            )
            results.extractions | "Rows" >> beam.ParDo(_Collect("row"))
            results.dead_letters | "Letters" >> beam.ParDo(_Collect("letter"))
        stats = emulator.stats()
    rows = [e for name, e in _arrived if name == "row"]
    letters = [e for name, e in _arrived if name == "letter"]
    assert Counter(r.document_id for r in rows) == Counter(f"doc-{i}" for i in range(30))
    assert [(d.document.id, d.failure.code) for d in letters] == [("empty", "empty_document")]
    assert (stats["items"], stats["paid_twice"]) == (30, 0)


def test_an_answer_that_comes_after_its_window_has_ended_is_kept_by_a_grouping_and_in_the_files(tmp_path: Path) -> None:
    """With its document's own time it would be late, and dropped without a word: 5 of 5, measured."""
    _arrived.clear()
    stream = test_stream.TestStream().advance_watermark_to(0)
    stream = stream.add_elements([TimestampedValue(d, 1 + i) for i, d in enumerate(receipts(5))])
    # The window of all five ends at 10. Nothing has been asked yet: only the clock of processing time lets that happen.
    stream = stream.advance_watermark_to(10_000).advance_processing_time(1e10)
    streaming = PipelineOptions(["--streaming"])
    with Emulator(latency=0.1) as emulator, beam.Pipeline("BundleBasedDirectRunner", streaming) as pipeline:
        documents = pipeline | stream.advance_watermark_to_infinity() | beam.WindowInto(FixedWindows(10))
        results = documents | kb.Extract(RECEIPT, service=service(emulator.base_url), polling=QUICK)
        write = kb.WriteStream(str(tmp_path), RECEIPT, model="m", documents=documents)
        (results.extractions, results.dead_letters) | write
        (
            results.extractions
            | "Hours" >> beam.WindowInto(FixedWindows(3_600))  # without allowed lateness
            | beam.Map(lambda extraction: ("all", extraction.document_id)).with_output_types(tuple[str, str])
            | beam.GroupByKey()
            | beam.FlatMap(lambda group: group[1])
            | beam.ParDo(_Collect("grouped"))
        )
    assert Counter(i for _, i in _arrived) == Counter(f"doc-{i}" for i in range(5))
    written = [
        row
        for path in tmp_path.glob("extractions/event_date=1970-01-01/event_hour=00/*.parquet")
        for row in pq.ParquetFile(path).read().to_pylist()
    ]
    epoch = datetime.fromtimestamp(0, timezone.utc)
    assert {row["_document_id"]: row["_provenance"]["event_time"] for row in written} == {
        f"doc-{i}": epoch + timedelta(seconds=1 + i) for i in range(5)
    }
    found = reconcile_directory(str(tmp_path))
    assert (found.came_in, found.rows, found.adds_up) == (5, 5, True)
    for row in written:
        edges = row["_provenance"]["window_start"], row["_provenance"]["window_end"]
        assert edges == (epoch, epoch + timedelta(seconds=10))


def test_a_stream_outlives_a_token_that_is_turned_away(tmp_path: Path) -> None:
    _arrived.clear()
    place = tmp_path / "token"
    place.write_text("revoked")
    stream = test_stream.TestStream().add_elements(receipts(5)).advance_watermark_to_infinity()
    with Emulator(token="renewed") as emulator:
        renew = threading.Timer(0.7, place.write_text, ["renewed"])
        renew.start()
        with beam.Pipeline(runner="BundleBasedDirectRunner", options=PipelineOptions(streaming=True)) as pipeline:
            where = service(emulator.base_url, token_from=f"file:{place}")
            results = pipeline | stream | kb.Extract(RECEIPT, service=where, polling=QUICK)
            results.extractions | "Rows" >> beam.ParDo(_Collect("row"))
            results.dead_letters | "Letters" >> beam.ParDo(_Collect("letter"))
        renew.join()
        assert emulator.stats()["items"] == 5
    assert [name for name, _ in _arrived] == ["row"] * 5


def test_a_stream_that_brings_a_document_twice_ends_when_its_batch_is_refused() -> None:
    """Both halves of a batch of the same two documents have one name: they must not be in flight together."""
    _arrived.clear()
    twice = kb.Document("twice", "COMPANY: A Ltd\nTOTAL: 1.00")
    stream = test_stream.TestStream().add_elements([twice, twice, *receipts(2)]).advance_watermark_to_infinity()

    def answer(messages: list[dict[str, str]], _: object) -> str:
        return '{"company": null, "total": null}'

    with Emulator(answer=answer, behaviour=Behaviour(size_limit=3_000, oversize="refused")) as emulator:
        with beam.Pipeline(runner="BundleBasedDirectRunner", options=PipelineOptions(streaming=True)) as pipeline:
            results = pipeline | stream | kb.Extract(RECEIPT, service=service(emulator.base_url), polling=QUICK)
            results.extractions | "Rows" >> beam.ParDo(_Collect("row"))
            results.dead_letters | "Letters" >> beam.ParDo(_Collect("letter"))
        assert emulator.stats()["items"] == 4
    assert [name for name, _ in _arrived] == ["row"] * 4
