"""Events instead of polls, through whole pipelines: each answer is fetched once, and none is lost with its event."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.transforms.window import TimestampedValue
from command_processes import Program
from conftest import ROOT
from conservation import check, made
from harness import RECEIPT, Outcome, read_dataset, receipts, run_extract, service
from patience import HANGS
from running_cli import run as run_cli

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.results.dead_letter_lines import encode

QUEUE = "f1" * 16
EVENTS = kb.Events(QUEUE, interval=0.1)
POLLING = kb.Polling(first=0.05, factor=1.5, ceiling=0.2, deadline=HANGS)
PACKED = kb.Batching(max_items=4, max_wait=0.0)


def emulator(**options: Any) -> Emulator:
    behaviour = options.pop("behaviour", Behaviour(event_queues=(QUEUE,)))
    return Emulator(behaviour=behaviour, **options)


def run(served: Emulator, directory: Path, documents: int = 60, **extract: Any) -> Outcome:
    extract = {"polling": POLLING, "batching": PACKED, "events": EVENTS, **extract}
    return run_extract(receipts(documents), served.base_url, directory, **extract)


def assert_all(outcome: Outcome, documents: int = 60) -> None:
    assert outcome.codes == {}
    assert outcome.ids == Counter(f"doc-{i}" for i in range(documents))


RUNNERS = [
    ("FnApiRunner", ()),
    ("FnApiRunner", ("--direct_num_workers", "2", "--direct_running_mode", "multi_threading")),
    ("BundleBasedDirectRunner", ()),
    (None, ()),
]


@pytest.mark.parametrize(("runner", "options"), RUNNERS)
def test_each_answer_is_fetched_once_and_its_event_acknowledged(runner: Any, options: Any, tmp_path: Path) -> None:
    with emulator(latency=1.5) as served:
        assert_all(run(served, tmp_path, runner=runner, options=options))
        stats = served.stats()
    assert stats["polls"] == stats["submits"] >= 15
    events = stats["events"]
    assert events["acknowledged"] == events["sent"] == 2 * stats["submits"]
    # A thread may pull the event of a job before another has heard that it was accepted.
    assert events["handed_back"] == 0 or "multi_threading" in options


def test_without_events_the_same_run_polls(tmp_path: Path) -> None:
    with emulator(latency=1.5) as served:
        assert_all(run(served, tmp_path, events=None))
        stats = served.stats()
    assert stats["polls"] > stats["submits"]
    assert stats["events"]["pulls"] == 0


def test_an_event_that_comes_twice_has_its_answer_fetched_once(tmp_path: Path) -> None:
    with emulator(latency=1.0, faults="doubled_event=0.7", seed=2) as served:
        assert_all(run(served, tmp_path))
        stats = served.stats()
    assert stats["faults"]["doubled_event"] > 5
    assert stats["polls"] == stats["submits"]
    assert stats["events"]["acknowledged"] == stats["events"]["sent"]


@pytest.mark.parametrize("lost", [0.3, 1.0])
@pytest.mark.parametrize("runner", ["FnApiRunner", "BundleBasedDirectRunner"])
def test_a_job_whose_event_was_lost_is_found_by_the_safety_net(lost: float, runner: str, tmp_path: Path) -> None:
    with emulator(latency=0.5, faults=f"lost_event={lost}", seed=4) as served:
        assert_all(run(served, tmp_path, runner=runner, events=kb.Events(QUEUE, interval=0.1, safety_net=2.0)))
        stats = served.stats()
    assert stats["faults"]["lost_event"] >= 1
    assert stats["paid_twice"] == 0


def test_a_late_event_is_acknowledged_when_it_comes(tmp_path: Path) -> None:
    with emulator(latency=0.3, faults="late_event=0.5:1.0", seed=1) as served:
        assert_all(run(served, tmp_path, events=kb.Events(QUEUE, interval=0.1, safety_net=0.3)))
        stats = served.stats()
    assert stats["faults"]["late_event"] > 3
    assert stats["events"]["handed_back"] == 0


def test_without_a_queue_to_pull_from_the_run_goes_on_by_polls(tmp_path: Path) -> None:
    with emulator(latency=0.5, behaviour=Behaviour()) as served:
        assert_all(run(served, tmp_path, events=kb.Events(QUEUE, interval=0.05)))
        assert served.stats()["paid_twice"] == 0


def test_the_event_of_a_failed_job_makes_it_due(tmp_path: Path) -> None:
    behaviour = Behaviour(event_queues=(QUEUE,), job_failure="status")
    with emulator(latency=0.5, faults="failed_job=1", behaviour=behaviour) as served:
        outcome = run(served, tmp_path, 12)
        stats = served.stats()
    assert outcome.codes == {"job_failed": 12}
    assert stats["polls"] == stats["submits"] == 3


@pytest.mark.parametrize("seed", range(4))
def test_documents_are_conserved_whatever_the_service_and_the_queue_do(seed: int, tmp_path: Path) -> None:
    case = made(seed)
    more = {"lost_event": 0.2, "doubled_event": 0.2, "late_event": 0.2}
    behaviour = replace(case.behaviour, event_queues=(QUEUE,))
    case = replace(case, faults={**case.faults, **more}, behaviour=behaviour)
    check(case, tmp_path, events=kb.Events(QUEUE, interval=0.05, safety_net=0.5))


# ------------------------------------------------------------------------------------------------ unbounded

_arrived: list[str] = []


class _Collect(beam.DoFn):
    """Keeps what arrives, in this process."""

    def process(self, element: Any) -> None:
        _arrived.append(element.document_id)


@pytest.mark.parametrize("let_time_pass", [True, False], ids=["ticking", "drained"])
@pytest.mark.parametrize(("faults", "once"), [("", True), ("doubled_event=0.5", True), ("lost_event=0.5", False)])
def test_each_document_of_a_stream_leaves_once(let_time_pass: bool, faults: str, once: bool) -> None:
    _arrived.clear()
    stream = test_stream.TestStream()
    for start in range(0, 30, 10):
        stream.advance_watermark_to(start)
        stream.add_elements([TimestampedValue(d, start) for d in receipts(10, start=start)])
        if let_time_pass:
            stream.advance_processing_time(1e10)
    stream.advance_watermark_to_infinity()
    with emulator(latency=0.5, faults=faults, seed=2) as served:
        options = PipelineOptions(streaming=True)
        with beam.Pipeline(runner="BundleBasedDirectRunner", options=options) as pipeline:
            results = (pipeline | stream) | kb.Extract(
                RECEIPT,
                service=service(served.base_url),
                polling=POLLING,
                batching=PACKED,
                events=EVENTS if once else kb.Events(QUEUE, interval=0.1, safety_net=1.0),
                shards=2,
            )
            results.extractions | beam.ParDo(_Collect())
        stats = served.stats()
    assert Counter(_arrived) == Counter(f"doc-{i}" for i in range(30))
    assert (stats["items"], stats["paid_twice"]) == (30, 0)
    if once:
        assert stats["polls"] == stats["submits"]
        assert stats["events"]["acknowledged"] == stats["events"]["sent"]


# ------------------------------------------------------------------------------------------------ programs


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[str, str]:
    documents, schema = tmp_path / "docs.jsonl", tmp_path / "schema.json"
    documents.write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(30)))
    schema.write_text(json.dumps(RECEIPT))
    return str(documents), str(schema)


def command(inputs: tuple[str, str], tmp_path: Path, *more: str) -> list[str]:
    documents, schema = inputs
    said = ["extract", documents, "--schema", schema, "--output", str(tmp_path / "out")]
    return [*said, "--poll-interval", "0.1:0.3", *more]


def launched(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=HANGS, check=False)


def test_the_event_of_a_run_that_was_killed_while_it_fetched_comes_again(
    inputs: tuple[str, str], tmp_path: Path
) -> None:
    ahead, fetching, killed = [0.0], threading.Event(), threading.Event()

    def answer(messages: object, schema: object) -> str:
        fetching.set()
        assert killed.wait(HANGS)
        return '{"company": "A", "total": 1}'

    with emulator(latency=0.5, answer=answer, clock=lambda: time.time() + ahead[0]) as served:
        words = command(inputs, tmp_path, "--base-url", served.base_url, "--events-queue", QUEUE)
        victim = Program(words, tmp_path)
        assert fetching.wait(HANGS)
        before = served.stats()["events"]
        victim.kill()
        killed.set()
        assert before["delivered"] > before["acknowledged"], "the event was not in the dead worker's hands"
        ahead[0] = 121.0
        code, _, err = Program(words, tmp_path).end()
        assert code == 0, err
        stats = served.stats()
    assert_all(read_dataset(tmp_path / "out"), 30)
    assert (stats["items"], stats["paid_twice"]) == (30, 0)
    assert stats["events"]["delivered"] > stats["events"]["sent"]
    assert stats["events"]["acknowledged"] == stats["events"]["sent"]


def test_the_program_that_is_launched_takes_a_queue(inputs: tuple[str, str], tmp_path: Path) -> None:
    documents, schema = inputs
    with emulator(latency=3.0) as served:
        words = [
            sys.executable,
            str(ROOT / "pipelines" / "extract.py"),
            "--runner",
            "FnApiRunner",
            "--input",
            documents,
        ]
        words += ["--schema", schema, "--output", str(tmp_path / "out"), "--base-url", served.base_url]
        done = launched([*words, "--events_queue", QUEUE])
        assert done.returncode == 0, done.stderr
        stats = served.stats()
    assert_all(read_dataset(tmp_path / "out"), 30)
    assert stats["polls"] == stats["submits"] == 1


def test_dead_letters_are_run_again_with_a_queue(inputs: tuple[str, str], tmp_path: Path) -> None:
    failure = kb.Failure("infer", "truncated", "m", retryable=True)
    letters = tmp_path / "letters.jsonl"
    letters.write_bytes(
        b"".join(encode(kb.DeadLetter(d, failure, 1, None, kb.Usage(), "m", "h", 0.0)) for d in receipts(30))
    )
    with emulator(latency=3.0) as served:
        words = [sys.executable, str(ROOT / "pipelines" / "redrive.py"), "--runner", "FnApiRunner"]
        words += ["--dead-letters", str(letters), "--schema", inputs[1], "--output", str(tmp_path / "out")]
        words += ["--base-url", served.base_url, "--journal", str(tmp_path / "journal")]
        done = launched([*words, "--events-queue", QUEUE])
        assert done.returncode == 0, done.stderr
        stats = served.stats()
    assert_all(read_dataset(tmp_path / "out"), 30)
    assert stats["polls"] == stats["submits"] == 1


def test_a_run_with_its_own_stand_in_has_a_queue_too(
    inputs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = command(inputs, tmp_path, "--emulator", "--events-queue", QUEUE)
    code, _, err = run_cli(*said, capsys=capsys)
    assert code == 0, err
    outcome = read_dataset(tmp_path / "out")
    assert_all(outcome, 30)
    assert outcome.summary["polls"] == 1
    assert outcome.summary["event_pulls"] >= 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--events-queue", "ab" * 16), "has no queue of this id"),
        (("--events-queue", "a b"), "32 hexadecimal digits"),
        (("--events-queue", QUEUE, "--api", "run"), "--api run has none"),
        (("--events-queue", QUEUE, "--gateway", "g", "--gateway-url", "http://127.0.0.1:1/v1"), "gateway's URL"),
    ],
)
def test_a_queue_that_cannot_be_used_is_refused_before_anything_is_paid_for(
    more: tuple[str, ...],
    says: str,
    inputs: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with emulator() as served:
        said = command(inputs, tmp_path, "--base-url", served.base_url, *more)
        code, _, err = run_cli(*said, capsys=capsys)
        assert served.stats()["submits"] == 0
    assert code == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_a_model_that_has_no_jobs_has_no_events_either(
    inputs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with emulator(behaviour=Behaviour()) as served:
        more = ("--model", "@cf/moonshotai/kimi-k2.7-code", "--fallback-api", "run", "--events-queue", QUEUE)
        said = command(inputs, tmp_path, "--base-url", served.base_url, *more)
        code, _, err = run_cli(*said, capsys=capsys)
        assert code == 0, err
        assert (served.stats()["runs"], served.stats()["events"]["pulls"]) == (30, 0)
    assert_all(read_dataset(tmp_path / "out"), 30)
