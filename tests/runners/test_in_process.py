"""The in-process runners, whose state and timers differ: nothing is lost, doubled or paid for twice on any of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from conservation import check, check_together, made
from harness import IN_PROCESS_RUNNERS, RECEIPT, receipts, run_extract, service

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.report import metrics


@pytest.mark.parametrize("name", IN_PROCESS_RUNNERS)
def test_each_document_leaves_once_and_is_paid_for_once(name: str, tmp_path: Path) -> None:
    runner, options = IN_PROCESS_RUNNERS[name]
    documents = [*receipts(200), *receipts(3), kb.Document("empty", "")]
    with Emulator(latency=0.2, seed=1) as emulator:
        outcome = run_extract(
            documents,
            emulator.base_url,
            tmp_path,
            runner=runner,
            options=options,
            batching=kb.Batching(max_items=20),
            max_in_flight=4,
        )
        stats = emulator.stats()
    assert outcome.ids == Counter(d.id for d in documents)
    assert outcome.codes == {"duplicate_id": 6, "empty_document": 1}
    assert len(outcome.rows) == 197
    assert (stats["items"], stats["paid_twice"]) == (197, 0)
    assert stats["most_jobs_in_flight"] <= 8, "more jobs in flight than two shards of four may have"


@pytest.mark.parametrize("name", ["2 processes", "bundle based"])
def test_whatever_goes_wrong_each_document_leaves_once(name: str, tmp_path: Path) -> None:
    runner, options = IN_PROCESS_RUNNERS[name]
    check_together([made(seed) for seed in range(5)], tmp_path, runner=runner, options=options)


@pytest.mark.parametrize("seed", range(2))
def test_nor_is_any_lost_by_the_runner_that_beam_chooses(seed: int, tmp_path: Path) -> None:
    check(made(seed), tmp_path, runner=None)


@pytest.mark.parametrize("api", ["batch", "run"])
def test_what_a_reshuffle_is_given_is_what_it_gives(api: str, tmp_path: Path) -> None:
    """Flink hands on what the one coder wrote for the other to read."""
    (tmp_path / "a.txt").write_text("a")
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    documents = pipeline | kb.ReadDocuments(str(tmp_path / "*.txt"))
    results = documents | kb.Extract(RECEIPT, service=service("http://127.0.0.1:1", api=api))
    results.extractions | kb.WriteParquet(str(tmp_path / "rows"), RECEIPT)
    parts = pipeline.to_runner_api().components
    reshuffles = [t for t in parts.transforms.values() if t.spec.urn == "beam:transform:reshuffle:v1"]
    assert reshuffles
    for reshuffle in reshuffles:
        ((given,), (gives,)) = reshuffle.inputs.values(), reshuffle.outputs.values()
        coders = [parts.coders[parts.pcollections[name].coder_id] for name in (given, gives)]
        assert coders[0] == coders[1], f"{reshuffle.unique_name} changes the coder"


@pytest.mark.parametrize("api", ["batch", "run"])
def test_the_runner_counts_what_came_in_and_what_left(api: str) -> None:
    with Emulator(latency=0.05, seed=1) as emulator:
        pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
        documents = pipeline | beam.Create([*receipts(30), *receipts(2), kb.Document("empty", "")], reshuffle=False)
        documents | kb.Extract(RECEIPT, service=service(emulator.base_url, api=api))
        result = pipeline.run()
        result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace(metrics.NAMESPACE))["counters"]
    counted = {one.key.metric.name: one.result for one in found}
    names = metrics.DOCUMENTS, metrics.EXTRACTIONS, metrics.DEAD_LETTERS
    assert [counted[name] for name in names] == [33, 28, 5]
