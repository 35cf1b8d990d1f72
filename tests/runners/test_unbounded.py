"""Input that does not end: real-time timers admit and poll, and the drain takes what is left when it ends after all."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from harness import QUICK, RECEIPT, receipts, service

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator

_arrived: list[tuple[str, object]] = []


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
