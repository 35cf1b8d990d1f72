"""`Extract` itself notices what a runner loses, in a pipeline of the user's own that counts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from harness import QUICK, RECEIPT, receipts, service

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.errors import ConservationError
from kimi_beam.transforms import extract
from kimi_beam.transforms.conservation import _compare


def _two_extracts(directory: Path, **settings: Any) -> None:
    with Emulator(latency=0.05) as emulator:
        where = service(emulator.base_url)
        with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
            documents = pipeline | beam.Create(receipts(7), reshuffle=False)
            for name in ("First", "Second"):
                results = documents | name >> kb.Extract(RECEIPT, service=where, polling=QUICK, **settings)
                results.extractions | f"{name}Rows" >> kb.WriteParquet(str(directory / name), RECEIPT)


def test_a_runner_that_loses_timers_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With timers of one name FnApiRunner loses those of one step (see test_timers.py), and says nothing."""
    monkeypatch.setattr(extract, "with_own_timers", lambda do_fn, owner: do_fn)
    with pytest.raises((ConservationError, RuntimeError), match=r"(First|Second): 7 documents came in and 0 left"):
        _two_extracts(tmp_path)


@pytest.mark.parametrize("record_batches", [False, True])
def test_a_runner_that_keeps_all_does_not(record_batches: bool, tmp_path: Path) -> None:
    _two_extracts(tmp_path, record_batches=record_batches)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("counts", [[(3, 0), (0, 2), (0, 1)], []])
def test_sums_that_are_equal_are_no_error(counts: list[tuple[int, int]]) -> None:
    assert _compare(("", counts or [(0, 0)]), "Extract") == ()


def test_documents_that_were_doubled_are_noticed_too() -> None:
    with pytest.raises(ConservationError, match="Extract: 3 documents came in and 4 left"):
        _compare(("", [(3, 0), (0, 4)]), "Extract")
