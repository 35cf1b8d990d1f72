"""Trouble of the account, spent quotas, waits by the service's own word, and bundles that fail: synchronously."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from itertools import chain
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing import test_stream
from harness import HASTY, QUICK, RECEIPT, extract_settings, packed, receipts, run_extract, service
from patience import HANGS
from scripted import Asked, Scripted, answered, completion, error, reply
from streams_through_beam import _arrived, stream_through

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.errors import AccountError
from kimi_beam.journal.records import ANSWERS_SUFFIX, Journaling
from kimi_beam.network import pacing, shared_clients
from kimi_beam.report.outcomes import OutcomesHandle
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.synchronous.runs import DocumentsInFlight
from kimi_beam.transforms.request import Request
from kimi_beam.types.reply import Reply

PROMPT = Prompt(OutputSchema(RECEIPT), api="run")
ACCOUNT_TROUBLE = [(10000, 401), (9106, 400), (5035, 403), (3042, 404), (5007, 400), (3041, 403), (3023, 403)]
ACCOUNT_TROUBLE += [(5016, 403), (5018, 403), (5028, 410), (2001, 400), (7003, 404), (2009, 401)]


# ------------------------------------------------------------------------------------------------ account


@pytest.mark.parametrize(
    ("code", "status", "api"), [*((*one, "run") for one in ACCOUNT_TROUBLE), (10000, 401, "chat"), (5035, 403, "chat")]
)
def test_account_trouble_ends_a_bounded_job_in_one_line(code: int, status: int, api: str, tmp_path: Path) -> None:
    with Scripted(lambda _: error(code, status)) as server:
        where = service(server.url, api=api)
        with pytest.raises(Exception, match=r"turned .* away") as told:
            run_extract(receipts(200), "", tmp_path, where=where, max_concurrency=4)
        assert len(server.asked) <= 16, "it goes on asking"
    line = next(line for line in str(told.value).splitlines() if "turned" in line)
    assert f"code {code}" in line
    assert not list(tmp_path.glob("*.parquet")), "a run that failed looks finished"


def test_account_trouble_in_the_middle_names_no_file_and_loses_nothing_silently(tmp_path: Path) -> None:
    count = iter(range(1000))
    with Scripted(lambda _: answered() if next(count) < 30 else error(5035, 403)) as server:
        with pytest.raises(Exception, match="5035"):
            run_extract(receipts(100), "", tmp_path, where=service(server.url, api="run"), max_concurrency=4)
        assert len(server.asked) < 50
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize(("code", "status"), [(5035, 403), (3042, 404)])
def test_a_stream_keeps_trying(code: int, status: int) -> None:
    count = iter(range(1000))
    stream = test_stream.TestStream().add_elements(receipts(3)).advance_watermark_to_infinity()
    with Scripted(lambda _: error(code, status) if next(count) < 18 else answered()) as server:
        stream_through(stream, service(server.url, api="run"))
    assert [name for name, _ in _arrived] == ["row"] * 3


# ------------------------------------------------------------------------------------------------ quota


@pytest.mark.parametrize("api", ["run", "chat"])
@pytest.mark.parametrize("code", [3036, 4006])
def test_a_spent_quota_gives_the_rest_up_after_few_requests(code: int, api: str, tmp_path: Path) -> None:
    count = iter(range(1000))
    with Scripted(lambda _: answered() if next(count) < 20 else error(code, 429)) as server:
        where = service(server.url, api=api)
        outcome = run_extract(receipts(300), "", tmp_path, where=where, max_concurrency=5)
        assert len(server.asked) <= 30, "each document is sent to be refused"
    assert outcome.ids == Counter(f"doc-{i}" for i in range(300))
    assert len(outcome.rows) == 20
    assert outcome.codes == {"quota_exhausted": 280}
    assert all(letter["retryable"] for letter in outcome.letters)
    assert str(code) in outcome.letters[0]["message"]


def test_who_waits_for_the_pace_when_the_quota_ends_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "MINUTE", 0.5)
    with Scripted(lambda _: error(3036, 429)) as server:
        where = service(server.url, api="run", requests_per_minute=3)
        outcome = run_extract(receipts(40), "", tmp_path, where=where)
        assert len(server.asked) <= 6, "what waited is still sent, a minute's worth at a time"
    assert outcome.codes == {"quota_exhausted": 40}


def test_a_request_without_a_word_and_then_a_spent_quota_may_have_been_paid_for(tmp_path: Path) -> None:
    """It is not said to be "not sent": whoever runs it again should know."""
    count = iter(range(1000))
    with Scripted(lambda _: None if next(count) == 0 else error(3036, 429)) as server:
        where = service(server.url, api="run")
        outcome = run_extract(receipts(1), "", tmp_path, where=where)
    assert outcome.codes == {"unknown_submit": 1}
    assert outcome.letters[0]["retryable"]


# ------------------------------------------------------------------------------------------------ waits


@pytest.mark.parametrize("form", ["seconds", "date", "ratelimit"])
def test_the_services_own_word_on_waiting_holds_every_request(form: str, tmp_path: Path) -> None:
    told: list[float] = []

    def answer(asked: Asked) -> bytes:
        if told:
            return answered()
        told.append(asked.at)
        if form == "date":
            # A whole second, as HTTP dates have no fractions: between one and two seconds from now.
            return error(3021, 429, retry_after=formatdate(int(time.time()) + 2, usegmt=True))
        return error(3021, 429, **({"retry_after": "1"} if form == "seconds" else {"ratelimit": '"default";r=0;t=1'}))

    with Scripted(answer) as server:
        where = service(server.url, api="run")
        outcome = run_extract(receipts(20), "", tmp_path, where=where, max_concurrency=1)
    assert len(outcome.rows) == 20
    assert len(server.asked) == 21
    assert server.asked[1].at - told[0] >= 0.95, "it came back sooner than it was told to"


def test_a_spent_ratelimit_on_a_good_answer_holds_the_others(tmp_path: Path) -> None:
    count = iter(range(1000))

    def answer(_: Asked) -> bytes:
        body = {"result": completion(), "success": True}
        return reply(body, ratelimit='"default";r=0;t=1') if next(count) == 2 else answered()

    with Scripted(answer) as server:
        where = service(server.url, api="run")
        outcome = run_extract(receipts(6), "", tmp_path, where=where, max_concurrency=1)
        times = [asked.at for asked in server.asked]
    assert len(outcome.rows) == 6
    assert times[3] - times[2] >= 0.95
    assert times[2] - times[0] < times[3] - times[2], "whatever came before was held as well"


def test_a_capacity_error_uses_up_no_attempt_and_the_deadline_ends_it(tmp_path: Path) -> None:
    with Scripted(lambda _: error(3040, 429)) as server:
        outcome = run_extract(receipts(3), "", tmp_path, where=service(server.url, api="run"), polling=HASTY)
        assert len(server.asked) > 3 * 5
    assert outcome.codes == {"refused": 3}
    assert {letter["attempts"] for letter in outcome.letters} == {0}
    assert all("until the deadline" in letter["message"] for letter in outcome.letters)


@pytest.mark.parametrize("header", [{"retry_after": "86400"}, {"ratelimit": '"default";r=0;t=86400'}])
@pytest.mark.parametrize("api", ["run", "batch", "poll"])
def test_a_wait_beyond_the_deadline_is_not_waited_for(api: str, header: dict[str, str], tmp_path: Path) -> None:
    """A day's wait by a confused gateway must not hold a run whose deadline is two seconds."""

    def poll_later(asked: Asked) -> bytes:
        if "request_id" in asked.json:
            return error(3021, 429, **header)
        return reply({"result": {"status": "queued", "request_id": "job"}, "success": True})

    told = {"run": "refused", "batch": "refused", "poll": "deadline"}[api]
    with Scripted(poll_later if api == "poll" else lambda _: error(3021, 429, **header)) as server:
        where = service(server.url, api="run" if api == "run" else "batch")
        outcome = within(HANGS, lambda: run_extract(receipts(3), "", tmp_path, where=where, polling=HASTY))
    assert outcome.codes == {told: 3}


def within(seconds: float, function: Any) -> Any:
    """What a function gives, if it ends in time."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, f"not done after {seconds} s"
    return found[0]


def test_a_service_that_is_not_there_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    where = service("http://127.0.0.1:9/client/v4", api="run")
    outcome = run_extract(receipts(3), "", tmp_path, where=where, polling=HASTY)
    assert outcome.codes == {"unreachable": 3}
    assert {letter["attempts"] for letter in outcome.letters} == {0}


def test_trouble_of_the_service_is_tried_five_times_at_least_and_ends_at_the_deadline(tmp_path: Path) -> None:
    with Scripted(lambda _: error(8005, 500)) as server:
        where = service(server.url, api="run")
        outcome = within(HANGS, lambda: run_extract(receipts(2), "", tmp_path, where=where, polling=HASTY))
        assert len(server.asked) >= 10
    assert outcome.codes == {"refused": 2}
    assert {letter["retryable"] for letter in outcome.letters} == {True}


@pytest.mark.parametrize(
    ("code", "status", "becomes"),
    [(5006, 400, "refused"), (3030, 400, "refused"), (3006, 413, "too_large"), (8001, 400, "refused")],
)
def test_what_is_refused_for_good_is_asked_once(code: int, status: int, becomes: str, tmp_path: Path) -> None:
    with Scripted(lambda _: error(code, status)) as server:
        outcome = run_extract(receipts(4), "", tmp_path, where=service(server.url, api="run"))
        assert len(server.asked) == 4
    assert outcome.codes == {becomes: 4}
    assert {letter["retryable"] for letter in outcome.letters} == {False}


# ------------------------------------------------------------------------------------------------ bundles that fail


def batch(documents: list[kb.Document], url: str = "http://127.0.0.1:1") -> bytes:
    """A batch; the journal's keys in it are those of a service, which is another at each URL."""
    return packed(documents, extract_settings(service(url, api="run")))


def work(step: Request, *batches: bytes) -> list[Reply]:
    """One bundle."""
    step.start_bundle()
    found = [r for element in batches for replies in step.process(element) for r in replies]
    return found + [reply for value in step.finish_bundle() for reply in value.value]


def step(url: str, *, max_concurrency: int = 4, journal: Path | None = None, **changes: Any) -> Request:
    journaling = None if journal is None else Journaling(str(journal))
    asked = extract_settings(service(url, api="run", **changes), max_concurrency=max_concurrency, journaling=journaling)
    made = Request(asked, OutcomesHandle(), 1, bounded=True)
    made.setup()
    return made


def test_a_bundle_that_failed_leaves_nothing_behind_in_the_instance_that_is_used_again() -> None:
    good = threading.Event()
    count = iter(range(1000))

    def answer(_: Asked) -> bytes:
        return answered() if next(count) < 10 or good.is_set() else error(5035, 403)

    with Scripted(answer) as server:
        one = step(server.url)
        with pytest.raises(AccountError):
            work(one, batch(receipts(40)))
        good.set()
        replies = work(one, batch(receipts(40)))
        one.teardown()
    assert Counter(r.document.id for r in replies) == Counter(f"doc-{i}" for i in range(40)), (
        "answers of the failed bundle came out of the next one"
    )


@pytest.mark.parametrize("count", [2, 80], ids=["while a bundle ends", "while documents wait for a place"])
def test_an_answer_is_in_the_journal_while_others_are_waited_for(count: int, tmp_path: Path) -> None:
    """A worker that is killed then has no more to pay again than what was in flight."""
    numbers, deadline = iter(range(1000)), time.monotonic() + HANGS

    async def answer(_: Asked) -> bytes:
        if next(numbers) > 0:
            while not list(tmp_path.rglob(f"*{ANSWERS_SUFFIX}")) and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
        return answered()

    with Scripted(answer) as server:
        one = step(server.url, max_concurrency=2, journal=tmp_path)
        replies = work(one, batch(receipts(count)))
        one.teardown()
    assert time.monotonic() < deadline, "an answer is kept in memory until a hundred are there"
    assert Counter(r.document.id for r in replies) == Counter(f"doc-{i}" for i in range(count))


def test_what_was_answered_in_a_bundle_that_is_dropped_is_not_asked_again(tmp_path: Path) -> None:
    with Scripted(lambda _: answered()) as server:
        one = step(server.url, max_concurrency=8, journal=tmp_path)
        one.start_bundle()
        assert list(one.process(batch(receipts(8), server.url))) == []
        while one._in_flight._unsettled:
            time.sleep(0.01)
        replies = work(one, batch(receipts(8), server.url))  # the runner tries the bundle again
        one.teardown()
        assert len(server.asked) == 8, "paid for twice"
    assert Counter(r.document.id for r in replies) == Counter(f"doc-{i}" for i in range(8))


def test_places_come_back_from_a_bundle_that_was_dropped_in_flight() -> None:
    hold = threading.Event()

    async def answer(_: Asked) -> bytes:
        while not hold.is_set():
            await asyncio.sleep(0.01)
        return answered()

    with Scripted(answer) as server:
        one = step(server.url, max_concurrency=3)
        for _ in range(5):  # bundles whose other steps failed: never finished
            one.start_bundle()
            assert list(one.process(batch(receipts(3)))) == []
        hold.set()
        replies = work(one, batch(receipts(30)))
        connection = one._client
        one.teardown()
    assert len(replies) == 30, "the places of dropped requests are lost: the step would wait for ever"
    assert connection.slots._value == 3


def test_one_of_two_instances_may_leave_while_the_other_works() -> None:
    with Scripted(lambda _: answered()) as server:
        one, other = step(server.url), step(server.url)
        assert one._client is other._client
        assert len(work(one, batch(receipts(5)))) == 5
        one.teardown()
        assert len(work(other, batch(receipts(5)))) == 5, "the first to leave closed the client of both"
        connection = other._client
        other.teardown()
        assert connection not in shared_clients._clients.values()
        again = step(server.url)
        assert len(work(again, batch(receipts(5)))) == 5
        again.teardown()


def test_an_instance_whose_set_up_failed_can_be_torn_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    asked = extract_settings(service("http://x", api="run", token_from="env:NOWHERE"))
    made = Request(asked, OutcomesHandle(), 1, bounded=True)
    with pytest.raises(Exception, match="NOWHERE"):
        made.setup()
    made.teardown()


def test_no_more_documents_are_taken_in_than_can_soon_be_sent() -> None:
    hold = threading.Event()

    async def answer(_: Asked) -> bytes:
        while not hold.is_set():
            await asyncio.sleep(0.01)
        return answered()

    with Scripted(answer) as server:
        connection = shared_clients.connect(service(server.url, api="run"), b"", 2)
        in_flight, taken_in = DocumentsInFlight(connection, PROMPT, QUICK, halts=True), 0
        came = list[Reply]()

        def hand_in() -> None:
            nonlocal taken_in
            for _ in range(10):
                came.extend(chain.from_iterable(in_flight.put(receipts(8))))
                taken_in += 1

        with ThreadPoolExecutor(1) as pool:
            handing_in = pool.submit(hand_in)
            while taken_in < 3 or len(server.asked) < 2:
                time.sleep(0.01)
            time.sleep(0.3)
            assert taken_in == 3, "documents pile up in memory, with their pictures"
            hold.set()
            handing_in.result()
        came.extend(chain.from_iterable(in_flight.drain()))
        assert len(came) == 80
        shared_clients.disconnect(connection)


def test_what_is_dropped_is_no_longer_asked_for() -> None:
    with Scripted(lambda _: error(3040, 429)) as server:
        where = service(server.url, api="run")
        connection = shared_clients.connect(where, b"", 8)
        in_flight = DocumentsInFlight(connection, PROMPT, QUICK, halts=True)
        assert list(in_flight.put(receipts(8))) == []
        while not server.asked:
            time.sleep(0.01)
        in_flight.cancel()
        while connection.slots._value < 8:
            time.sleep(0.01)
        time.sleep(0.5)  # what was sent before arrives
        before = len(server.asked)
        time.sleep(0.5)
        assert len(server.asked) == before, "requests of a failed bundle go on, and are paid for"
        shared_clients.disconnect(connection)


def test_a_pipeline_whose_other_step_fails_ends(tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("another step's fault")

    with Emulator() as emulator:
        where = service(emulator.base_url, api="run")
        pipeline = beam.Pipeline(runner="FnApiRunner")
        results = pipeline | beam.Create(receipts(300)) | kb.Extract(RECEIPT, service=where, max_concurrency=4)
        _ = results.extractions | beam.Map(fail)
        with pytest.raises(Exception, match="another step"):
            pipeline.run()
        outcome = run_extract(receipts(50), "", tmp_path, where=where, max_concurrency=4)
    assert len(outcome.rows) == 50, "the next run of the process finds no free place"
