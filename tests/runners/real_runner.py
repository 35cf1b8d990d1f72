"""What is run on every real runner: a stream into files, and the real receipts through `pipelines/extract.py`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.window import FixedWindows
from appearing_files import check_account
from conftest import ROOT
from harness import QUICK, RECEIPT, read_dataset, receipts, run_extract, run_redrive, service
from long_invoices import INVOICE, answer, invoice

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator

_APART = 0.05
"""Seconds between two documents of a stream."""


@contextlib.contextmanager
def ended_by_a_kind_kill() -> Iterator[None]:
    """Lets SIGTERM end the tests as Ctrl-C does, so that they end what they have started."""

    def end(number: int, _: object) -> NoReturn:
        pytest.exit("ended by a signal", 128 + number)

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


def _document(index: int) -> kb.Document:
    return kb.Document("empty", "") if index == 7 else receipts(1, start=index)[0]


def stream(
    directory: Path, count: int, *, runner: str | None, options: Sequence[str], events: kb.Events | None = None
) -> dict[str, Any]:
    """Lets documents come one after another, as unbounded input, and counts what is in the files when it has ended.

    They come in windows that the watermark has long passed when the answers come.

    Returns:
        What the emulator counted.
    """
    start = time.time()
    behaviour = Behaviour(event_queues=(events.queue,) if events is not None else ())
    with Emulator(latency=2.0, seed=5, behaviour=behaviour) as emulator:
        with beam.Pipeline(runner=runner, options=PipelineOptions([*options, "--streaming"])) as pipeline:
            came_in = pipeline | PeriodicImpulse(
                start_timestamp=start,
                stop_timestamp=start + count * _APART,
                fire_interval=_APART,
                data=list(range(count)),
            )
            windowed = came_in | beam.WindowInto(FixedWindows(1))
            documents = windowed | beam.Map(_document).with_output_types(kb.Document)
            assert not documents.is_bounded
            results = documents | kb.Extract(
                RECEIPT,
                service=service(emulator.base_url),
                polling=QUICK,
                batching=kb.Batching(max_wait=0.2, max_items=7),
                events=events,
            )
            rolling = kb.Rolling(max_seconds=1)
            write = kb.WriteStream(str(directory), RECEIPT, model="m", rolling=rolling, documents=documents)
            (results.extractions, results.dead_letters) | write
        stats = emulator.stats()
    rows = [
        row for path in directory.glob("extractions/*/*/*.parquet") for row in pq.ParquetFile(path).read().to_pylist()
    ]
    paths = directory.glob("dead-letters/*/*/*.jsonl")
    letters = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
    assert Counter(row["_document_id"] for row in rows) == Counter(f"doc-{i}" for i in range(count) if i != 7)
    assert [(letter["document_id"], letter["code"]) for letter in letters] == [("empty", "empty_document")]
    assert (stats["items"], stats["paid_twice"]) == (count - 1, 0)
    check_account(directory, count)
    for row in rows:
        index, came_from = int(row["_document_id"].removeprefix("doc-")), row["_provenance"]
        assert came_from["event_time"].timestamp() == pytest.approx(start + index * _APART, abs=1e-3)
        assert came_from["window_start"] <= came_from["event_time"] < came_from["window_end"]
        assert came_from["window_end"] - came_from["window_start"] == timedelta(seconds=1)
    return stats


def synchronous(directory: Path, *, runner: str | None, options: Sequence[str]) -> None:
    """Asks for each document in a request of its own: without state, with a reshuffle between bundles."""
    documents = [*receipts(60), *receipts(2), kb.Document("empty", "")]
    with Emulator(latency=0.05, seed=4) as emulator:
        where = service(emulator.base_url, api="run")
        outcome = run_extract(documents, emulator.base_url, directory, runner=runner, options=options, where=where)
        stats = emulator.stats()
    assert outcome.ids == Counter(d.id for d in documents)
    assert outcome.codes == {"duplicate_id": 4, "empty_document": 1}
    assert (stats["documents"], stats["paid_twice"]) == (58, 0)


def long_documents(directory: Path, *, runner: str | None, options: Sequence[str]) -> None:
    """Asks for long documents in parts, beside one that is short: each leaves once, with the rows of all its parts."""
    made = [invoice(rows) for rows in (3, 40, 400)]
    with Emulator(answer=answer, latency=0.05) as emulator:
        documents = [one.document for one in made]
        outcome = run_extract(
            documents, emulator.base_url, directory, runner=runner, options=options, schema=INVOICE, chunk_tokens=1_000
        )
        stats = emulator.stats()
    assert outcome.letters == []
    assert outcome.ids == Counter(one.document.id for one in made)
    found = {row["_document_id"]: {name: row[name] for name in INVOICE["properties"]} for row in outcome.rows}
    assert found == {one.document.id: one.gold for one in made}
    parts = [row["_provenance"]["parts"] or 1 for row in outcome.rows]
    assert (stats["items"], stats["paid_twice"]) == (sum(parts), 0)
    assert max(parts) > 5


def redriven(directory: Path, *, runner: str | None, options: Sequence[str]) -> None:
    """Runs dead letters again: what was in flight is polled by whoever has a part of it, and one is left."""
    ahead = [0.0]
    with Emulator(latency=1000.0, clock=lambda: time.time() + ahead[0]) as emulator:
        documents = [*receipts(60), kb.Document("empty", "")]
        first = run_extract(documents, emulator.base_url, directory / "first", polling=kb.Polling(deadline=0.3))
        assert first.codes == {"deadline": 60, "empty_document": 1}
        ahead[0] = 2000.0
        where = service(emulator.base_url)
        second = run_redrive(directory / "first", where, directory / "second", runner=runner, options=options)
        stats = emulator.stats()
    assert second.ids == Counter(d.id for d in receipts(60))
    assert len(second.rows) == 60
    assert second.summary["left"] == {"empty_document": 1}
    assert (stats["submits"], stats["items"]) == (1, 60)


def extract_receipts(shared_data: Path, directory: Path, options: Sequence[str]) -> None:
    """Puts the 342 receipts through the program and counts them; answers that were mixed up would match no gold."""
    source = shared_data / "documents" / "sroie" / "sroie.jsonl"
    with Emulator(latency=0.3, seed=6) as emulator:
        code, said = _launched(
            [
                *(sys.executable, ROOT / "pipelines" / "extract.py"),
                *("--input", source, "--schema", ROOT / "schemas" / "receipt.json"),
                *("--output", directory / "out", "--base-url", emulator.base_url, *options),
            ]
        )
        stats = emulator.stats()
    assert code == 0, said[-5_000:]
    outcome = read_dataset(directory / "out")
    expected = Counter(json.loads(line)["id"] for line in source.read_bytes().splitlines())
    assert outcome.ids == expected
    assert outcome.summary["documents"] == expected.total() == 342
    assert (stats["items"], stats["paid_twice"]) == (342, 0)
    right = sum(row["total"] == json.loads(row["_metadata"])["gold"]["total"] for row in outcome.rows)
    assert right > 250, f"only {right} totals are their own receipt's"


def _launched(command: Sequence[object]) -> tuple[int, str]:
    """Runs a program to its end; if the tests end before it, it may end what it has started itself."""
    words = [str(word) for word in command]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        try:
            said, _ = program.communicate()
        except BaseException:
            program.send_signal(signal.SIGINT)
            try:
                program.wait(60)
            except subprocess.TimeoutExpired:
                program.kill()
            raise
    return program.returncode, said
