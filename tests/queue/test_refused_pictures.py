"""A queue that takes no pictures: documents with some are asked about synchronously, or their dead letters say how."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import pictures
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from harness import QUICK, RECEIPT, receipts, run_extract, service

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.report import metrics
from kimi_beam.types.document import Layout


def documents(count: int) -> list[kb.Document]:
    """Receipts, every second one with a picture amid its text."""
    made = []
    for number, receipt in enumerate(receipts(count)):
        picture = (pictures.uri(pictures.png(b"%d" % number)),) if number % 2 else ()
        layout = Layout((0, 5), (5,)) if picture else None
        made.append(kb.Document(receipt.id, receipt.text, picture, layout=layout))
    return made


@pytest.mark.parametrize("queue_images", ["refused", "failed"])
def test_documents_with_pictures_are_asked_synchronously_where_that_is_allowed(
    queue_images: Literal["refused", "failed"], tmp_path: Path
) -> None:
    with Emulator(behaviour=Behaviour(queue_images=queue_images)) as emulator:
        where = service(emulator.base_url, fallback_api="run")
        outcome = run_extract(documents(10), "", tmp_path, where=where)
        runs = emulator.stats()["runs"]
    assert (len(outcome.rows), outcome.letters) == (10, [])
    assert runs == 5, "one for each document with a picture, and none for the others"
    provenance = [row["_provenance"] for row in outcome.rows]
    assert sorted(one["request_id"] is None for one in provenance) == [False] * 5 + [True] * 5


@pytest.mark.parametrize("queue_images", ["refused", "failed"])
def test_a_dead_letter_says_that_the_queue_may_take_no_pictures(
    queue_images: Literal["refused", "failed"], tmp_path: Path
) -> None:
    with Emulator(behaviour=Behaviour(queue_images=queue_images)) as emulator:
        outcome = run_extract(documents(10), "", tmp_path, where=service(emulator.base_url))
    code = "refused" if queue_images == "refused" else "item_failed"
    assert (len(outcome.rows), outcome.codes) == (5, {code: 5})
    for letter in outcome.letters:
        assert letter["document"]["images"]
        assert "--fallback-api run" in letter["message"]


@pytest.mark.parametrize("api", ["batch", "run"])
def test_as_many_pictures_are_sent_as_were_read(api: Any) -> None:
    with Emulator() as emulator:
        pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
        came_in = pipeline | beam.Create(documents(10), reshuffle=False)
        came_in | kb.Extract(RECEIPT, service=service(emulator.base_url, api=api), polling=QUICK)
        result = pipeline.run()
        found = result.metrics().query(MetricsFilter().with_namespace(metrics.NAMESPACE))["counters"]
    counters = {counter.key.metric.name: counter.committed for counter in found}
    assert (counters["extractions"], counters["pictures"], counters["pictures_sent"]) == (10, 5, 5)
