"""Flow control: a shard that is told to wait slows its whole process, and a job's rate is split over its shards."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from counting import most_within
from harness import QUICK, RECEIPT, extract_settings, receipts, run_extract, service
from scripted import Asked, Scripted, answered, completion, error, reply
from streams_through_beam import _arrived, stream_through

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.network import pacing, shared_clients
from kimi_beam.network.allowance import Allowance, Quota, SendSlots, WaitingLine
from kimi_beam.network.pacing import Gate, Window
from kimi_beam.report.outcomes import OutcomesHandle
from kimi_beam.request import batches
from kimi_beam.request.checks import prepare
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.transforms.dispatch import DispatchAtOnce
from kimi_beam.transforms.request import Request
from kimi_beam.transforms.runner_traits import is_one_process
from kimi_beam.wire.service_errors import ServiceError, renewal

PROMPT = Prompt(OutputSchema(RECEIPT), api="run")
PATIENT = kb.Polling(first=0.02, factor=1.5, ceiling=1.0, deadline=600.0)

# ------------------------------------------------------------------------------------------------ too busy, end to end


def busy(behaviour: Behaviour, directory: Path, api: str, count: int, **extract: Any) -> dict[str, Any]:
    """What the emulator counted while documents went through a service that has too little room for them."""
    with Emulator(latency=0.1, behaviour=behaviour) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(receipts(count), "", directory, where=where, polling=PATIENT, **extract)
        stats = emulator.stats()
    assert outcome.ids == Counter(f"doc-{i}" for i in range(count)), "a document was lost or doubled"
    assert outcome.codes == {}, "a refusal for the moment was taken for a failed attempt"
    assert {row["_provenance"]["attempts"] for row in outcome.rows} == {1}
    assert stats["paid_twice"] == 0
    return stats


@pytest.fixture
def without_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """All wait when one is told so, and then all come back."""

    def throttled(self: Window, sent: float, now: float, in_flight: int) -> Window:
        return self if sent < self.shrunk_at else replace(self, shrunk_at=now, in_a_row=self.in_a_row + 1)

    monkeypatch.setattr(Window, "throttled", throttled)


FULL = Behaviour(capacity=4, over_capacity="refused")
EACH_MINUTE = Behaviour(requests_per_minute=30, minute=1.0, limit_headers=False)
QUEUE_EACH_MINUTE = Behaviour(batch_requests_per_minute=30, minute=1.0, limit_headers=False)


@pytest.mark.parametrize("behaviour", [FULL, EACH_MINUTE], ids=["at-once", "a-minute"])
def test_a_service_with_too_little_room_is_seldom_asked_in_vain(behaviour: Behaviour, tmp_path: Path) -> None:
    stats = busy(behaviour, tmp_path, "run", 150)
    assert stats["runs"] == 150
    assert 0 < stats["throttled"] <= 1.5 * stats["runs"]


@pytest.mark.usefixtures("without_a_window")
def test_without_a_window_it_would_be_asked_in_vain_many_times(tmp_path: Path) -> None:
    assert busy(FULL, tmp_path, "run", 60)["throttled"] > 3 * 60


@pytest.mark.parametrize("shards", [1, 3])
def test_the_queue_with_too_little_room_is_seldom_asked_in_vain(shards: int, tmp_path: Path) -> None:
    batches = kb.Batching(max_items=3)
    stats = busy(QUEUE_EACH_MINUTE, tmp_path, "batch", 120, batching=batches, shards=shards)
    assert stats["items"] == 120
    assert 0 < stats["throttled"] <= 1.5 * (stats["submits"] + stats["polls"])


def test_a_service_that_takes_all_is_never_asked_in_vain_and_all_at_once(tmp_path: Path) -> None:
    async def answer(_: Asked) -> bytes:
        await together(server, 64)
        return answered()

    with Scripted(answer) as server:
        outcome = run_extract(receipts(200), "", tmp_path, where=service(server.url, api="run"))
    assert len(outcome.rows) == len(server.asked) == 200
    assert server.most_in_flight == 64


async def together(server: Scripted, count: int) -> None:
    """Waits until so many requests were in flight at once; not for ever, lest a test hang that should fail."""
    for _ in range(1_000):
        if server.most_in_flight >= count:
            return
        await asyncio.sleep(0.01)


# ------------------------------------------------------------------------------------------------ a spent quota


def refused_submit(asked: Asked) -> bytes:
    return error(3036, 429)


def test_a_quota_that_one_shard_finds_spent_is_spent_for_all_of_the_process(tmp_path: Path) -> None:
    with Scripted(refused_submit) as server:
        batches = kb.Batching(max_items=2)
        outcome = run_extract(receipts(200), server.url, tmp_path, batching=batches, shards=5)
        assert len(server.asked) <= 8, "each shard asks for itself"
    assert outcome.codes == {"quota_exhausted": 200}
    assert {letter["retryable"] for letter in outcome.letters} == {True}
    assert {letter["attempts"] for letter in outcome.letters} == {0}


@pytest.mark.parametrize("api", ["run", "batch"])
def test_a_stream_that_found_the_quota_spent_asks_no_more_today(api: str) -> None:
    stream = test_stream.TestStream()
    for start in range(0, 60, 5):
        stream.add_elements(receipts(5, start)).advance_processing_time(1e6)
    stream.advance_watermark_to_infinity()
    with Scripted(refused_submit) as server:
        stream_through(stream, service(server.url, api=api), shards=3, batching=kb.Batching(max_items=5, max_wait=0.0))
        asked = len(server.asked)
    assert Counter(name for name, _ in _arrived) == {"letter": 60}
    assert {letter.failure.code for _, letter in _arrived} == {"quota_exhausted"}
    assert asked <= 8, "each bundle asks anew"


def test_the_next_run_of_the_process_asks_anew(tmp_path: Path) -> None:
    """Meanwhile the account may have got another plan."""
    count = itertools.count()
    with Scripted(lambda _: error(4006, 429) if next(count) == 0 else answered()) as server:
        where = service(server.url, api="run")
        first = run_extract(receipts(3), "", tmp_path / "first", where=where, max_concurrency=1)
        then = run_extract(receipts(3), "", tmp_path / "then", where=where, max_concurrency=1)
    assert (first.codes, len(then.rows)) == ({"quota_exhausted": 3}, 3)


def test_a_spent_quota_is_renewed_at_midnight_in_utc() -> None:
    quota, error = Quota(), ServiceError(429, 3036, "spent")
    assert quota.spent_error(0.0) is None
    quota.mark_spent(error, renewal(1_784_180_523.0))
    assert quota.spent_error(1_784_246_399.9) == error
    assert quota.spent_error(1_784_246_400.0) is None


# ------------------------------------------------------------------------------------------------ a shared rate


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[float]]:
    """When requests were sent, by the pace that they had to keep to."""
    times: dict[int, list[float]] = defaultdict(list)

    class Recorded(pacing.Pace):
        def sent(self, now: float) -> None:
            if self._per_minute:
                times[id(self)].append(now)
            super().sent(now)

    monkeypatch.setattr(pacing, "Pace", Recorded)
    return times


def limited(**changes: Any) -> Allowance:
    return Allowance(service("http://127.0.0.1:1", requests_per_minute=20, **changes))


def share(allowance: Allowance) -> Fraction:
    (one,) = {gate.pace.share for gate in (allowance.runs.gate, allowance.submits, allowance.polls)}
    return one


def test_a_process_has_the_parts_of_the_shards_that_it_holds() -> None:
    allowance = limited()
    assert share(allowance) == 1
    allowance.claim_share("step", "0", 4)
    allowance.claim_share("step", "0", 4)
    assert share(allowance) == Fraction(1, 4)
    allowance.claim_share("step", "3", 4)
    assert share(allowance) == Fraction(1, 2)
    allowance.claim_share("other step", "3", 4)
    assert share(allowance) == Fraction(1, 2), "the steps of a pipeline have one limit between them"
    allowance.release_share("step", "0")
    allowance.release_share("step", "3")
    assert share(allowance) == Fraction(1, 4), "a process without a shard at the moment still has the share of one"
    allowance.forget_step("step")
    allowance.forget_step("other step")
    assert share(allowance) == 1


def step(url: str, shards: int, **changes: Any) -> Request:
    where = service(url, api="run", **changes)
    made = Request(extract_settings(where, max_concurrency=8), OutcomesHandle(), shards, bounded=True)
    made.setup()
    return made


def test_a_bundle_keeps_to_its_part_and_two_of_a_process_to_theirs(
    monkeypatch: pytest.MonkeyPatch, paced: dict[int, list[float]]
) -> None:
    monkeypatch.setattr(pacing, "MINUTE", 0.5)
    with Scripted(lambda _: answered()) as server:
        one, other = (step(server.url, 4, requests_per_minute=8) for _ in range(2))
        one.start_bundle()
        list(one.process(batches.encode([prepare(d, PROMPT) for d in receipts(6)])))
        assert sum(len(value.value) for value in one.finish_bundle()) == 6
        (sent,) = paced.values()
        assert len(sent) == 6
        assert most_within(sent, 0.4999) == 2, "a fourth of 8"
        one.start_bundle()
        other.start_bundle()
        assert share(one._client.allowance) == Fraction(1, 2)
        other.teardown()
        assert share(one._client.allowance) == Fraction(1, 4)
        list(one.finish_bundle())
        one.teardown()
        assert not shared_clients._clients.values()


def test_a_shard_keeps_to_its_part_of_the_submits(
    monkeypatch: pytest.MonkeyPatch, paced: dict[int, list[float]]
) -> None:
    monkeypatch.setattr(pacing, "MINUTE", 0.5)
    with Scripted(lambda asked: queued(asked, lambda _: True)) as server:
        asked = extract_settings(service(server.url, requests_per_minute=8), batching=kb.Batching(max_items=1))
        shard = DispatchAtOnce(asked, OutcomesHandle(), 4)
        shard.setup()
        replies = list(shard.process(("0", [batches.encode([prepare(d, asked.prompt)]) for d in receipts(6)])))
        shard.teardown()
    assert sum(map(len, replies)) == 6
    (submits,) = paced.values()
    assert len(submits) == 6
    assert most_within(submits, 0.4999) == 2, "a fourth of 8"


@pytest.mark.parametrize(
    ("runner", "options", "alone"),
    [
        ("FnApiRunner", (), True),
        ("FnApiRunner", ("--direct_num_workers=4", "--direct_running_mode=multi_threading"), True),
        ("FnApiRunner", ("--direct_num_workers=4", "--direct_running_mode=multi_processing"), False),
        ("BundleBasedDirectRunner", (), True),
        ("PrismRunner", (), False),
    ],
)
def test_a_process_on_its_own_is_known_by_its_runner(runner: str, options: tuple[str, ...], alone: bool) -> None:
    assert is_one_process(beam.Pipeline(runner=runner, options=PipelineOptions(list(options)))) is alone


def queued(asked: Asked, ready: Callable[[str], bool]) -> bytes:
    """The queue: each submit is a job of one document's name."""
    if "request_id" not in asked.json:
        (request,) = asked.json["requests"]
        return reply({"result": {"status": "queued", "request_id": request["external_reference"]}, "success": True})
    name = asked.json["request_id"]
    if not ready(name):
        return reply({"result": {"status": "queued", "request_id": name}, "success": True})
    item = {"index": 0, "success": True, "external_reference": name, "result": completion()}
    return reply({"result": {"results": [item]}, "success": True})


def test_shards_of_one_process_share_the_submits_of_a_minute(
    monkeypatch: pytest.MonkeyPatch, paced: dict[int, list[float]], tmp_path: Path
) -> None:
    monkeypatch.setattr(pacing, "MINUTE", 1.0)
    with Scripted(lambda asked: queued(asked, lambda _: True)) as server:
        where = service(server.url, requests_per_minute=6)
        batches = kb.Batching(max_items=1)
        outcome = run_extract(receipts(15), "", tmp_path, where=where, batching=batches, shards=3)
        (submits,) = paced.values()
    assert len(outcome.rows) == sum("requests" in asked.json for asked in server.asked) == 15
    assert most_within(submits, 0.9999) == 6, "its shards together have all of it, and no more"


def test_polls_keep_to_their_limit_and_the_job_that_waited_longest_is_polled_first(
    monkeypatch: pytest.MonkeyPatch, paced: dict[int, list[float]], tmp_path: Path
) -> None:
    monkeypatch.setattr(pacing, "MINUTE", 0.5)
    monkeypatch.setattr(kb.WorkersAI, "poll_pace", 10)
    polls: Counter[str] = Counter()

    def ready(name: str) -> bool:
        polls[name] += 1
        return polls[name] >= 3

    with Scripted(lambda asked: queued(asked, ready)) as server:
        batches, polling = kb.Batching(max_items=1), kb.Polling(first=0.05, ceiling=0.1, deadline=600.0)
        outcome = run_extract(receipts(30), server.url, tmp_path, batching=batches, polling=polling)
        order = [asked.json["request_id"] for asked in server.asked if "request_id" in asked.json]
    assert len(outcome.rows) == 30
    (times,) = paced.values()
    assert len(times) == len(order) == 90
    assert most_within(times, 0.4999) == 10
    assert len(set(order[:30])) == 30, "some are polled again before others were polled at all"


def test_a_ticket_is_polled_once_an_interval_and_all_that_are_due_at_once(tmp_path: Path) -> None:
    polls: dict[str, list[float]] = defaultdict(list)

    async def answer(asked: Asked) -> bytes:
        if name := asked.json.get("request_id"):
            polls[name].append(asked.at)
            await together(server, 8)
        return queued(asked, lambda name: len(polls[name]) >= 4)

    polling = kb.Polling(first=0.3, factor=1.0, ceiling=0.3, deadline=600.0)
    with Scripted(answer) as server:
        batches = kb.Batching(max_items=1)
        outcome = run_extract(receipts(20), server.url, tmp_path, batching=batches, polling=polling)
    assert len(outcome.rows) == 20
    assert {len(times) for times in polls.values()} == {4}
    assert server.most_in_flight >= 8, "those that were submitted at once are polled one after the other"
    for times in polls.values():
        assert all(later - earlier >= 0.8 * 0.3 for earlier, later in itertools.pairwise(times))


def test_the_queue_of_cloudflares_own_hosts_is_asked_less_than_its_api_allows() -> None:
    """1,200 requests in 5 minutes of a token, and then none for 5."""
    here = kb.WorkersAI("a" * 32)
    assert here.submit_pace is not None
    assert here.poll_pace is not None
    assert 5 * (here.submit_pace + here.poll_pace) < 1_200
    assert here.poll_pace <= 120, "2 a second"
    assert kb.WorkersAI("a" * 32, requests_per_minute=7).submit_pace == 7
    free = kb.WorkersAI("a" * 32, requests_per_minute=0)
    own = service("http://127.0.0.1:1/client/v4")
    assert {free.submit_pace, free.poll_pace, own.submit_pace, own.poll_pace} == {None}


# ------------------------------------------------------------------------------------------------ in line


def test_requests_pass_in_order_and_one_that_leaves_the_line_frees_its_slot() -> None:
    async def scene() -> None:
        gate = Gate()
        line = WaitingLine(gate)
        first = line.join()
        gate.throttled(0.0, math.inf, lambda k: -math.inf)  # a window of one
        second, third, fourth = line.join(), line.join(), line.join()
        assert [t.done() for t in (first, second, third, fourth)] == [True, False, False, False]
        line.leave(third)
        line.leave(first)
        assert [t.done() for t in (second, fourth)] == [True, False]
        again = line.join(at_front=True)
        line.leave(second)
        assert [t.done() for t in (again, fourth)] == [True, False], "it went to the end of the line"
        line.leave(again)
        assert fourth.done()
        line.leave(fourth)
        assert gate.in_flight == 0, "a slot was lost"

    asyncio.run(scene())


def test_a_line_moves_when_its_gate_is_no_longer_blocked() -> None:
    async def scene() -> list[float]:
        line = WaitingLine(Gate())
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.1
        line.gate.block_until(until)
        turns = [line.join() for _ in range(3)]
        assert not any(turn.done() for turn in turns)
        await asyncio.wait_for(asyncio.gather(*turns), 30)
        return [until, loop.time()]

    until, now = asyncio.run(scene())
    assert now >= until


def test_slots_are_limited_by_the_window_and_released_whatever_happens() -> None:
    gate = Gate()
    with SendSlots(gate, 5, QUICK, "job") as slots:
        assert (slots.count, slots.retry_at(100.0)) == (5, 0)
        gate.throttled(math.inf, 0.0, lambda k: -math.inf)

    def fail() -> None:
        with SendSlots(gate, 8, QUICK, "job") as slots:
            assert slots.count == 3
            assert 100.0 < slots.retry_at(100.0) <= 100.0 + QUICK.first
            raise RuntimeError("another step's fault")

    with pytest.raises(RuntimeError):
        fail()
    assert gate.in_flight == 0
