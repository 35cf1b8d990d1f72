"""A real Flink cluster, in batch and in streaming mode: nothing is lost or doubled. `make test-flink` brings it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from apache_beam.transforms.window import FixedWindows
from appearing_files import Stream, files_that_appear, names
from budgets import CAP, billed, check_budget, run_with_budget
from conftest import ROOT
from conservation import check, made
from faults import unheard
from flink_cluster import FlinkCluster
from harness import receipts, run_extract
from real_runner import ended_by_a_kind_kill, extract_receipts, long_documents, redriven, stream, synchronous
from several_extracts import chain, check_shape, three
from windowed import EXPECTED, GROUPS, run_windowed

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.journal.files import contents
from kimi_beam.journal.records import Journaling

pytestmark = pytest.mark.skipif("KIMI_BEAM_FLINK" not in os.environ, reason="`make test-flink` brings it and runs this")

MODES = {
    "batch": [],
    "streaming": ["--streaming"],
    # Without the last, a job with checkpoints goes on for ever after its input has ended.
    "with checkpoints": ["--streaming", "--checkpointing_interval=1000", "--shutdown_sources_after_idle_ms=500"],
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    jars, job_server = Path(os.environ["KIMI_BEAM_FLINK"]), Path(os.environ["KIMI_BEAM_FLINK_JOB_SERVER"])
    assert list(jars.glob("flink-dist-*.jar")), f"no Flink in {jars}"
    assert job_server.is_file(), f"no job server at {job_server}"
    path = [ROOT, ROOT / "tests", ROOT / "tests" / "runners"]
    directory = tmp_path_factory.mktemp("flink") / "cluster"
    # Each job is over before a second compiler would have paid for itself.
    java = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    with ended_by_a_kind_kill(), FlinkCluster(jars, job_server, directory, path, java=java) as cluster:
        yield cluster


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", MODES)
def test_whatever_goes_wrong_each_document_leaves_once(
    cluster: FlinkCluster, mode: str, seed: int, tmp_path: Path
) -> None:
    check(made(seed), tmp_path, runner=None, options=[*cluster.options, *MODES[mode]])


def test_a_stream_is_written_to_files_and_each_document_leaves_once(cluster: FlinkCluster, tmp_path: Path) -> None:
    stream(tmp_path, 40, runner=None, options=cluster.options)


@pytest.mark.parametrize("mode", MODES)
def test_each_extract_of_a_pipeline_gives_each_document_once(cluster: FlinkCluster, mode: str, tmp_path: Path) -> None:
    options = [*cluster.options, *MODES[mode]]
    check_shape(chain, tmp_path / "chain", runner=None, options=options)
    check_shape(three, tmp_path / "three", runner=None, options=options)


def test_results_are_in_the_windows_of_their_documents(cluster: FlinkCluster, tmp_path: Path) -> None:
    results = run_windowed(tmp_path, FixedWindows(3_600), runner=None, options=cluster.options)  # type: ignore[arg-type]
    assert results == (EXPECTED, GROUPS)


def test_workers_of_two_machines_share_a_queue_of_events(cluster: FlinkCluster, tmp_path: Path) -> None:
    shared = kb.Events("f1" * 16, interval=0.2, safety_net=5.0)
    stats = stream(tmp_path, 40, runner=None, options=cluster.options, events=shared)
    assert stats["events"]["delivered"] > 0


# Without the second, what a bundle gives out that a checkpoint ends lies in Flink until the next element comes by.
CHECKPOINTS = "--checkpointing_interval=1000", "--finish_bundle_before_checkpointing"


@pytest.fixture
def stopping(cluster: FlinkCluster) -> Iterator[None]:
    """Leaves no job of a stream behind, whatever becomes of the test."""
    try:
        yield
    finally:
        cluster.cancel()


stops = pytest.mark.usefixtures("stopping")


@stops
def test_files_that_appear_are_read_once_and_written_by_their_time(cluster: FlinkCluster, tmp_path: Path) -> None:
    files_that_appear(tmp_path, [*cluster.options, *CHECKPOINTS], end=cluster.cancel)


@stops
def test_a_stream_stopped_with_a_savepoint_goes_on_where_it_was(cluster: FlinkCluster, tmp_path: Path) -> None:
    with Emulator(latency=4.0, seed=9) as emulator:
        # Without a journal of the first run, what is in flight is known to the savepoint alone.
        stream = Stream(tmp_path, emulator.base_url, [*cluster.options, *CHECKPOINTS])
        stream.put_receipts(20)
        with stream.running("--journal", str(tmp_path / "first")):
            stream.wait_for(20)
            stream.put_receipts(10, start=20)
            stream.wait_until("in flight", lambda: emulator.stats()["items"] == 30)
            savepoint = cluster.stop_with_savepoint()
        assert stream.left.total() == 20, "nothing was in flight when it was stopped"
        stream.put_receipts(5, start=30)
        with stream.running("--journal", str(tmp_path / "second"), f"--savepoint_path={savepoint}"):
            stream.wait_for(35)
            stream.put_receipts(5, start=35)
            stream.wait_for(40)
        cluster.cancel()
        stream.check(emulator, names(40), asked=40)


@stops
def test_a_stream_whose_task_manager_is_killed_writes_nothing_twice(cluster: FlinkCluster, tmp_path: Path) -> None:
    with Emulator(latency=1.0, seed=10) as emulator:
        stream = Stream(tmp_path, emulator.base_url, [*cluster.options, *CHECKPOINTS])
        stream.put_receipts(20)
        with stream.running():
            stream.wait_for(20)
            stream.wait_until("checkpointed", lambda: cluster.checkpoints() > 0)
            for number in (0, 1):
                stream.put_receipts(20, start=20 + 20 * number)
                stream.wait_until("submitted", lambda number=number: emulator.stats()["items"] >= 40 + 20 * number)  # type: ignore[misc]
                cluster.replace_task_manager(number)
            stream.wait_for(60)
            stream.put_receipts(5, start=60)
            stream.wait_for(65)
        cluster.cancel()
        stream.check(emulator, names(65), asked=65)


@pytest.mark.parametrize("mode", ["batch", "with checkpoints"])
def test_synchronous_requests_lose_nothing_either(cluster: FlinkCluster, mode: str, tmp_path: Path) -> None:
    synchronous(tmp_path, runner=None, options=[*cluster.options, *MODES[mode]])


@pytest.mark.parametrize("moment", range(int(os.environ.get("KIMI_BEAM_MOMENTS", "2"))))
def test_a_task_manager_killed_at_work_costs_nothing(cluster: FlinkCluster, moment: int, tmp_path: Path) -> None:
    """Flink goes back to its last checkpoint, which knows nothing of what has been submitted since."""
    documents = receipts(120)
    with Emulator(latency=3.0, seed=moment) as emulator, ThreadPoolExecutor(1) as executor:
        running = executor.submit(
            run_extract,
            documents,
            emulator.base_url,
            tmp_path / "out",
            runner=None,
            options=[*cluster.options, *MODES["with checkpoints"]],
            batching=kb.Batching(max_items=5),
            max_in_flight=4,
            polling=kb.Polling(first=0.1, factor=1.5, ceiling=0.5, deadline=120.0),
            journal=Journaling(str(tmp_path / "journal"), grace=1.0),
        )
        counter, count = ("polls", 20 * moment) if moment % 2 else ("submits", 2 + 2 * moment)
        while emulator.stats()[counter] < count:
            assert not running.done(), "it was done before the TaskManager was killed"
            time.sleep(0.01)
        # Here, not in a thread: what is started ends with the thread that has started it.
        cluster.replace_task_manager(moment // 2 % 2)
        outcome = running.result()
        stats = emulator.stats()
    assert outcome.ids == Counter(d.id for d in documents), "a document was lost or doubled"
    assert len(outcome.rows) == 120
    assert contents(str(tmp_path / "journal"))["  submitted again"] == 0
    assert stats["paid_twice"] <= unheard(tmp_path / "journal"), "what was known to be accepted was submitted again"


@pytest.mark.parametrize("api", ["batch", "run"])
@pytest.mark.parametrize("mode", ["batch", "with checkpoints"])
def test_a_run_on_two_task_managers_keeps_to_its_budget_and_uses_it_up(
    cluster: FlinkCluster, mode: str, api: str, tmp_path: Path
) -> None:
    options = [*cluster.options, *MODES[mode]]
    check_budget(tmp_path, runner=None, options=options, shares=2, shards=2, api=api, cap=2 * CAP, count=150)


@pytest.mark.parametrize("moment", range(2))
def test_a_run_whose_task_manager_is_killed_keeps_to_its_budget(
    cluster: FlinkCluster, moment: int, tmp_path: Path
) -> None:
    """Flink goes back to its last checkpoint, which knows nothing of what has been reserved and spent since."""
    cap = 0.03
    with Emulator(latency=1.0, seed=moment) as emulator, ThreadPoolExecutor(1) as executor:
        running = executor.submit(
            run_with_budget,
            emulator,
            tmp_path,
            "out",
            count=200,
            max_cost=cap,
            runner=None,
            options=[*cluster.options, *MODES["with checkpoints"]],
            shards=2,
            batching=kb.Batching(max_items=3),
            journal=Journaling(str(tmp_path / "journal"), grace=1.0),
        )
        while emulator.stats()["submits"] < 4 + 4 * moment:
            assert not running.done(), "it was done before the TaskManager was killed"
            time.sleep(0.01)
        cluster.replace_task_manager(moment)
        outcome = running.result()
        spent, stats = billed(emulator), emulator.stats()
    assert outcome.ids == Counter(f"doc-{i}" for i in range(200)), "a document was lost or doubled"
    assert "budget" in outcome.codes
    assert spent <= cap
    assert spent > cap / 2, "what was in flight when it was killed was not settled"
    assert stats["paid_twice"] <= unheard(tmp_path / "journal")


@pytest.mark.parametrize("mode", ["batch", "with checkpoints"])
def test_long_documents_are_put_together_of_their_parts(cluster: FlinkCluster, mode: str, tmp_path: Path) -> None:
    long_documents(tmp_path, runner=None, options=[*cluster.options, *MODES[mode]])


@pytest.mark.parametrize("mode", ["batch", "with checkpoints"])
def test_dead_letters_are_run_again(cluster: FlinkCluster, mode: str, tmp_path: Path) -> None:
    redriven(tmp_path, runner=None, options=[*cluster.options, *MODES[mode]])


@pytest.mark.parametrize("mode", MODES)
def test_the_receipts_go_through_the_program_that_one_launches(
    cluster: FlinkCluster, mode: str, shared_data: Path, tmp_path: Path
) -> None:
    extract_receipts(shared_data, tmp_path, [*cluster.options, *MODES[mode]])
    assert len(cluster.busy_task_managers()) == 2, "the work was not spread over both TaskManagers"
