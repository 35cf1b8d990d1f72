"""Every document leaves exactly once, as a row or as a dead letter, whatever the service does on the wire."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from both_paths import both_paths
from conservation import Case, check
from harness import HASTY, receipts, run_extract
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kimi_beam as kb
from kimi_beam.emulator import FAULTS, Behaviour, Emulator

_behaviours = st.builds(
    Behaviour,
    array=st.sampled_from(["results", "responses"]),
    order=st.sampled_from(["shuffled", "submitted"]),
    item_failure=st.sampled_from(["error", "result", "missing"]),
    job_failure=st.sampled_from(["error", "status"]),
    cached_tokens=st.sampled_from(["job", "item"]),
)
_elsewhere = {"stream_error", "stream_cut", "lost_event", "doubled_event", "late_event"}
"""Faults that cannot strike a queue that is polled."""
_faults = st.dictionaries(
    st.sampled_from(sorted(FAULTS.keys() - _elsewhere)), st.sampled_from([0.1, 0.3, 0.6]), max_size=6
)
_texts = st.one_of(
    st.integers(0, 10_000).map(lambda i: f"COMPANY: Shop {i} Ltd\nTOTAL: {i}.50"),
    st.text(max_size=60),
    st.just("``` a fence of its own\nTOTAL: 1.00 ````"),
)
_ids = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["twice", "thrice", "é", "a/b"]))


def test_documents_in_are_rows_and_dead_letters_out() -> None:
    with both_paths("rows", "dead letters", "faults", "duplicates", "jobs", "held", at_least=2) as taken:

        @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
        @given(
            documents=st.lists(st.builds(kb.Document, _ids, _texts), max_size=40),
            faults=_faults,
            behaviour=_behaviours,
            seed=st.integers(0, 1 << 30),
            batching=st.builds(kb.Batching, max_items=st.sampled_from([1, 3, 250])),
            shards=st.integers(1, 3),
            max_in_flight=st.sampled_from([1, 4, 64]),
        )
        def law(
            documents: list[kb.Document],
            faults: dict[str, float],
            behaviour: Behaviour,
            seed: int,
            batching: kb.Batching,
            shards: int,
            max_in_flight: int,
        ) -> None:
            case = Case(documents, faults, behaviour, seed, batching, shards, max_in_flight)
            with tempfile.TemporaryDirectory() as directory:
                taken.update(check(case, Path(directory)))

        law()


def test_every_fault_at_once_loses_nothing(tmp_path: Path) -> None:
    documents = receipts(300)
    with Emulator(seed=11, faults="all=0.08") as emulator:
        packed = kb.Batching(max_items=10)
        outcome = run_extract(documents, emulator.base_url, tmp_path, batching=packed, polling=HASTY)
    assert outcome.ids == Counter(d.id for d in documents)
    assert outcome.rows, "no document got through at all"
    assert len(outcome.codes) >= 4, "the faults hardly struck: this test would not see them mishandled"


def test_without_faults_each_document_is_paid_for_once_and_is_its_own_row(tmp_path: Path) -> None:
    documents = receipts(1_000)
    with Emulator(seed=3) as emulator:
        outcome = run_extract(documents, emulator.base_url, tmp_path, batching=kb.Batching(max_items=100), shards=2)
        stats = emulator.stats()
    assert outcome.letters == []
    assert {r["_document_id"]: (r["company"], r["total"]) for r in outcome.rows} == {
        f"doc-{i}": (f"Shop {i} Ltd", i + 0.5) for i in range(1_000)
    }, "an answer was matched to another document"
    assert (stats["items"], stats["paid_twice"]) == (1_000, 0)
    assert stats["submits"] <= 12, "batches are not filled"
