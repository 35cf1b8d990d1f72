"""`Extract` itself notices what a runner loses, in a pipeline of the user's own that counts nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from harness import QUICK, RECEIPT, receipts, run_extract, service

import kimi_beam as kb
from kimi_beam.columnar import Replies
from kimi_beam.emulator import Emulator
from kimi_beam.errors import ConservationError
from kimi_beam.transforms import ask_model, extract
from kimi_beam.transforms.conservation import _compare
from kimi_beam.transforms.settle import Settle
from kimi_beam.types.reply import Reply


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
    monkeypatch.setattr(ask_model, "with_own_timers", lambda do_fn, owner: do_fn)
    with pytest.raises((ConservationError, RuntimeError), match=r"(First|Second): 7 documents came in and 0 left"):
        _two_extracts(tmp_path)


class _Watched(Settle):
    """Notes of each document that is handed on whether the digest of its id came with it."""

    known: ClassVar[list[bool]] = []

    def process(self, element: Sequence[Reply]) -> Iterator[Any]:
        self.known += [Replies.of(element).documents.digests is not None] * len(element)  # type: ignore[misc]
        yield from super().process(element)


@pytest.mark.parametrize("record_batches", [False, True])
def test_a_runner_that_keeps_all_does_not(
    record_batches: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no id is hashed a second time for it."""
    monkeypatch.setattr(extract, "Settle", _Watched)
    _Watched.known.clear()
    _two_extracts(tmp_path, record_batches=record_batches)
    assert len(list(tmp_path.iterdir())) == 2
    assert _Watched.known == [True] * 14


class _Careless(Settle):
    """Stands for a runner that loses the first thing that it hands on, and hands on the next twice."""

    def setup(self) -> None:
        self._times = iter((0, 2))

    def process(self, element: Sequence[Reply]) -> Iterator[Any]:
        for _ in range(next(self._times, 1)):
            yield from super().process(element)


class _CarelessWithinAJob(Settle):
    """Stands for code that mixes up the replies of one job: the first is lost and the second is doubled."""

    def process(self, element: Sequence[Reply]) -> Iterator[Any]:
        yield from super().process([element[1], *element[1:]])


@pytest.mark.parametrize("record_batches", [False, True])
@pytest.mark.parametrize(("careless", "max_items"), [(_Careless, 1), (_CarelessWithinAJob, 250)])
def test_one_document_that_is_lost_and_another_that_is_doubled_do_not_make_up_for_each_other(
    careless: type[_Careless], max_items: int, record_batches: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "Settle", careless)
    # One job at a time, as the answers of several may be handed on as one thing.
    more: dict[str, Any] = {"batching": kb.Batching(max_items=max_items), "max_in_flight": 1}
    told = "7 documents came in and as many left, but not the same: the runner lost some and doubled others"
    with pytest.raises((ConservationError, RuntimeError), match=f"(First|Second): {told}"):
        _two_extracts(tmp_path, record_batches=record_batches, **more)


@pytest.mark.parametrize(
    "counts",
    [
        [(3, 12, 0, 0), (0, 0, 2, 5), (0, 0, 1, 7)],
        [(0, 0, 0, 0)],
        [(2, 5, 0, 0), (0, 0, 1, (1 << 63) - 1), (0, 0, 1, 6)],  # sums are taken modulo 2⁶³
    ],
)
def test_sums_that_are_equal_are_no_error(counts: list[tuple[int, int, int, int]]) -> None:
    assert _compare(("", counts), "Extract") == ()


def test_documents_that_were_doubled_are_noticed_too() -> None:
    with pytest.raises(ConservationError, match="Extract: 3 documents came in and 4 left"):
        _compare(("", [(3, 12, 0, 0), (0, 0, 4, 12)]), "Extract")


DOCUMENTS = [
    *receipts(20),
    kb.Document("blank", ""),
    kb.Document("twice", "COMPANY: A\nTOTAL: 1.00\n"),
    kb.Document("twice", "COMPANY: B\nTOTAL: 2.00\n"),
    kb.Document("half a pair \ud800", "COMPANY: C\nTOTAL: 3.00\n"),
    kb.Document("", "COMPANY: D\nTOTAL: 4.00\n"),
    kb.Document(17, "COMPANY: E\nTOTAL: 5.00\n"),  # type: ignore[arg-type]
    kb.Document("picture", "", ("data:image/png;base64,!",)),
]
"""What leaves under its id, what leaves twice by right, and what leaves under another id than it came in by."""


@pytest.mark.parametrize(("api", "shards", "journal"), [("batch", 1, False), ("batch", 3, True), ("run", 1, True)])
def test_whatever_becomes_of_a_document_its_id_adds_up(api: Any, shards: int, journal: bool, tmp_path: Path) -> None:
    more = {"journal": str(tmp_path / "journal")} if journal else {}
    for output in ("first", "again") if journal else ("first",):
        with Emulator(latency=0.05, seed=3, faults="missing_item=0.1,prose=0.1,truncated=0.1,invalid=0.1") as emulator:
            where = service(emulator.base_url, api=api)
            outcome = run_extract(DOCUMENTS, "", tmp_path / output, where=where, shards=shards, **more)
        assert outcome.ids.total() == len(DOCUMENTS)
        assert {"empty_document", "duplicate_id", "not_utf8", "missing_id"} <= outcome.codes.keys()
