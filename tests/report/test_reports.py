"""What a pipeline of one's own says by `logging`: how far it is, and each kind of trouble once a minute."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from harness import ACCOUNT, HASTY, QUICK, receipts, run_extract, service
from scripted import Asked, Scripted, answered, error, reply

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.report import logging_reports, metrics
from kimi_beam.report.logging_reports import Reports
from kimi_beam.report.progress import Flight, Progress
from kimi_beam.wire.envelopes import Refused, Unknown, Unsent
from kimi_beam.wire.protocol import Accepted, Done, Failed, Gone, Pending, Trouble
from kimi_beam.wire.service_errors import ServiceError

BUSY = Refused(ServiceError(429, 3040, "so busy"))


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "kimi_beam"):
        yield caplog


def lines(log: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [one.getMessage() for one in log.records if one.levelno == level and one.name.startswith("kimi_beam")]


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    logging_reports.REPORTS._next.clear()
    logging_reports.REPORTS._suppressed.clear()


# ------------------------------------------------------------------------------------------------ by a clock


def test_progress_is_logged_at_first_and_then_once_a_minute(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    counts = Progress()
    told = Reports(counts, clock)
    told.progress()
    assert not lines(log, logging.INFO), "nothing has happened"
    counts.count(metrics.DOCUMENTS, 7)
    counts.set_in_flight("0", Flight(2, 2))
    for _ in range(100):
        told.progress()
    assert lines(log, logging.INFO) == ["in this process: 7 documents in, 0 settled, 2 batches in flight"]
    counts.count(metrics.EXTRACTIONS, 5)
    clock.now += 59.9
    told.progress()
    assert len(lines(log, logging.INFO)) == 1
    clock.now += 0.2
    told.progress()
    assert lines(log, logging.INFO)[1:] == ["in this process: 7 documents in, 5 settled, 2 batches in flight"]


def test_each_kind_of_trouble_is_logged_once_a_minute_with_how_often(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    told = Reports(Progress(), clock)
    for _ in range(1_000):
        told.log_trouble("submit", BUSY)
        told.log_trouble("submit", Unknown("the server hung up"))
    assert len(lines(log, logging.WARNING)) == 2
    clock.now += 61
    told.log_trouble("submit", BUSY)
    told.log_trouble("submit", Unsent("refused"))
    third, fourth = lines(log, logging.WARNING)[2:]
    assert "(999 more of this kind" in third
    assert "more of this kind" not in fourth


@pytest.mark.parametrize(
    ("asked", "result", "words"),
    [
        ("submit", BUSY, "come back later: it is asked more slowly, and no document is lost"),
        ("poll", Trouble("429", ServiceError(429, 3021, "x")), "come back later"),
        ("submit", Refused(ServiceError(500, 8005, "x")), "repeated later"),
        ("request", Refused(ServiceError(408, 3007, "x")), "paid for twice"),
        ("submit", Unknown("hung up"), "may have been paid for"),
        ("request", Unknown("hung up"), "may have been paid for"),
        ("submit", Unsent("no route"), "cannot be reached"),
        ("submit", Refused(ServiceError(429, 3036, "x")), "quota is spent"),
        ("request", Refused(ServiceError(401, 10000, "x")), "turned away"),
        ("poll", Trouble("401", ServiceError(401, 10000, "x")), "turned away"),
        ("submit", Refused(ServiceError(413, 3006, "x")), "too large"),
        ("submit", Refused(ServiceError(400, 5006, "x")), "refused for good"),
        ("request", Refused(ServiceError(400, 5024, "x")), "another form"),
        ("poll", Gone("5504"), "submitted once more"),
        ("poll", Failed("5001"), "become dead letters"),
        ("poll", Trouble("half a reply"), "polled again"),
        ("poll", Trouble("500", ServiceError(500, None, "x")), "polled again"),
    ],
)
def test_a_line_about_trouble_says_what_happens_next(
    asked: Any, result: Any, words: str, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    assert Reports(Progress(), clock).log_trouble(asked, result) is result
    (line,) = lines(log, logging.WARNING)
    assert words in line


@pytest.mark.parametrize("result", [Accepted("id"), Pending(), Done([], None)])
def test_a_good_reply_logs_nothing(result: Any, clock: Clock, log: pytest.LogCaptureFixture) -> None:
    Reports(Progress(), clock).log_trouble("poll", result)
    assert not lines(log, logging.WARNING)


def test_the_services_words_cannot_steer_a_terminal_or_fill_a_log(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    Reports(Progress(), clock).log_trouble("submit", Unknown("\x1b[2J\nline\x07\u202e \ud800" + "x" * 10_000))
    (line,) = lines(log, logging.WARNING)
    assert line.isprintable()
    assert len(line) < 600
    assert r"\x1b[2J line\x07" in line


# ------------------------------------------------------------------------------------------------ in a pipeline


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ("rate_limit=0.5:0", "come back later"),
        ("capacity=0.5", "come back later"),
        ("drop_after_accept=0.7", "may have been paid for"),
        ("error_500=0.4", "repeated later"),
        ("expired=0.6", "does not know a job any more"),
        ("failed_job=0.5", "polled again"),
    ],
)
def test_a_pipeline_in_trouble_says_so(faults: str, words: str, tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    with Emulator(seed=3, faults=faults) as emulator:
        batching = kb.Batching(max_items=4)
        outcome = run_extract(receipts(40), emulator.base_url, tmp_path, batching=batching, polling=HASTY)
    assert sum(outcome.ids.values()) == 40
    assert any(words in line for line in lines(log, logging.WARNING)), lines(log, logging.WARNING)
    assert any("documents in" in line for line in lines(log, logging.INFO))
    assert len(log.records) < 30, "a line for each time"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: error(3040, 429), "come back later"),
        (lambda: None, "may have been paid for"),
        (lambda: error(8005, 500), "repeated later"),
    ],
)
def test_a_synchronous_pipeline_in_trouble_says_so(
    answer: Any, words: str, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    count = iter(range(1_000))
    with Scripted(lambda _: answer() if next(count) < 3 else answered()) as server:
        run_extract(receipts(9), "", tmp_path, where=service(server.url, api="run"), polling=QUICK, max_concurrency=2)
    assert any(words in line for line in lines(log, logging.WARNING)), lines(log, logging.WARNING)
    assert any("documents in" in line for line in lines(log, logging.INFO))


def test_a_service_that_cannot_be_reached_is_logged(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    outcome = run_extract(receipts(3), "http://127.0.0.1:9", tmp_path, polling=HASTY)
    assert outcome.codes == {"unreachable": 3}
    assert any("cannot be reached" in line for line in lines(log, logging.WARNING))


def test_a_run_that_goes_well_warns_of_nothing(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    with Emulator() as emulator:
        run_extract(receipts(30), emulator.base_url, tmp_path)
    assert not lines(log, logging.WARNING)


def test_neither_a_document_nor_a_token_is_logged(
    tmp_path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "a-secret-token")
    count = iter(range(1_000))

    def echo(asked: Asked) -> bytes:
        if next(count) > 2:
            return answered()
        told = {"success": False, "errors": [{"code": 8005, "message": asked.headers.get("authorization", "")}]}
        return reply(told, 500, cf_ai_req_id=asked.headers.get("authorization", "none"))

    with Scripted(echo) as server:
        where = service(server.url, api="run")
        run_extract([kb.Document("a", "words of a document")], "", tmp_path, where=where)
    assert lines(log, logging.WARNING)
    assert "a-secret-token" not in log.text
    assert "words of" not in log.text


@pytest.mark.parametrize("more", [[], ["--verbose"]], ids=["quiet", "verbose"])
def test_the_command_line_says_it_in_its_own_lines_alone(more: list[str], tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(6)))
    with Emulator(seed=3, latency=6.0, faults="rate_limit=0.5:0") as emulator:
        command = [sys.executable, "-m", "kimi_beam.cli", "extract", str(tmp_path / "in.jsonl"), *more]
        command += ["--schema", str(ROOT / "schemas" / "receipt.json"), "--output", str(tmp_path / "out")]
        command += ["--base-url", emulator.base_url, "--poll-interval", "0.2:0.5"]
        environment = {**os.environ, "CLOUDFLARE_ACCOUNT_ID": ACCOUNT, "CLOUDFLARE_API_TOKEN": "t"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "6 documents in" in done.stderr
    assert "in this process" not in done.stderr
    assert "come back later" not in done.stderr
