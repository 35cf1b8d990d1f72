"""Two `Extract`s of one pipeline that ask the same and share a journal: what one has paid for, the other takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from harness import receipts
from several_extracts import Built, fork, three

import kimi_beam as kb
from kimi_beam.emulator import Emulator


@pytest.mark.parametrize("shape", [fork, three])
@pytest.mark.parametrize("api", ["batch", "run"])
def test_what_one_extract_has_asked_the_other_does_not_pay_for(shape: object, api: str, tmp_path: Path) -> None:
    assert _items(shape, api, receipts(12), tmp_path) == 12


@pytest.mark.parametrize("shards", [1, 3])
def test_documents_of_one_text_are_still_each_answered(shards: int, tmp_path: Path) -> None:
    """Of a submit that another has made each document takes one answer, however many have its text."""
    same = [kb.Document(f"doc-{i}", f"COMPANY: Shop {i % 3} Ltd\nTOTAL: 1.00\n") for i in range(9)]
    assert _items(fork, "batch", same, tmp_path, shards=shards, batching=kb.Batching(max_items=4)) <= 9


def _items(shape: object, api: str, documents: list[kb.Document], directory: Path, **extract: object) -> int:
    """Runs a shape with one journal for all, and counts what the service was asked."""
    assert callable(shape)
    with Emulator(latency=0.1, seed=2) as emulator:
        built = Built(directory, emulator.base_url, {"journal": str(directory / "journal"), **extract}, api=api)
        with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
            shape(built, pipeline | beam.Create(documents, reshuffle=False))
        stats = emulator.stats()
    expected = Counter(document.id for document in documents)
    for name in built.names:
        assert built.left(name) == (expected, Counter()), f"Extract {name!r} lost or doubled documents"
    return int(stats["items"] if api == "batch" else stats["runs"])
