"""The synchronous APIs: each document leaves once and is paid for once, and as many are in flight as may be."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing import test_stream
from apache_beam.transforms.window import TimestampedValue
from counting import most_within
from harness import IN_PROCESS_RUNNERS, QUICK, RECEIPT, receipts, run_extract, service
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import Asked, Scripted, answered, error
from streams_through_beam import _arrived, stream_through

import kimi_beam as kb
from kimi_beam.emulator import FAULTS, Behaviour, Emulator
from kimi_beam.network import pacing, shared_clients

APIS = ("run", "chat", "openai")
FORMS = ("schema", "bare", "prompt", "tool")
EVERY_FAULT = "all=0.06,rate_limit=0.06:0,rate_limit_date=0.06:0"
ANSWERED = f"{EVERY_FAULT},drop_after_accept=0,stream_cut=0"
"""Faults that leave it certain whether a request was paid for."""


def reach(emulator: Emulator, api: str, **changes: Any) -> kb.WorkersAI:
    if api == "openai":
        return kb.WorkersAI(model="kimi", openai_url=emulator.openai_url, **changes)
    return service(emulator.base_url, api=api, **changes)


# ------------------------------------------------------------------------------------------------ conservation


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("api", APIS)
def test_whatever_goes_wrong_each_document_leaves_once(api: str, form: Any, tmp_path: Path) -> None:
    documents = receipts(120)
    with Emulator(seed=5, faults=EVERY_FAULT) as emulator:
        where = reach(emulator, api)
        outcome = run_extract(documents, "", tmp_path, where=where, structured_output=form)
        stats = emulator.stats()
    assert outcome.ids == Counter(d.id for d in documents), "a document was lost or doubled"
    assert len(outcome.rows) > 60, "hardly a document got through"
    assert len(stats["faults"]) >= 8, "the faults hardly struck: this test would not see them mishandled"
    assert stats["paid_twice"] == stats["documents_paid_more_than_once"], "a document was paid for three times"
    assert outcome.summary["documents"] == 120
    assert outcome.summary["dead_letters"] == outcome.codes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("api", APIS)
def test_what_was_answered_is_never_paid_for_again(api: str, form: Any, tmp_path: Path) -> None:
    documents = receipts(120)
    with Emulator(seed=6, faults=ANSWERED) as emulator:
        outcome = run_extract(documents, "", tmp_path, where=reach(emulator, api), structured_output=form)
        stats = emulator.stats()
    assert outcome.ids == Counter(d.id for d in documents)
    assert stats["paid_twice"] == 0
    spent = outcome.summary["usage"]
    assert spent["prompt_tokens"] == stats["prompt_tokens"], "tokens were billed that no row and no dead letter states"
    assert spent["completion_tokens"] == stats["completion_tokens"]


@pytest.mark.parametrize(("fault", "form"), [("drop_after_accept", "schema"), ("stream_cut", "prompt")])
@pytest.mark.parametrize("api", APIS)
def test_without_a_word_a_request_is_repeated_once_and_then_given_up(
    api: str, fault: str, form: Any, tmp_path: Path
) -> None:
    documents = receipts(10)
    with Emulator(faults=f"{fault}=1") as emulator:
        outcome = run_extract(documents, "", tmp_path, where=reach(emulator, api), structured_output=form)
        stats = emulator.stats()
    assert outcome.codes == {"unknown_submit": 10}
    assert (stats["documents"], stats["paid_twice"]) == (10, 10), "each is asked for twice, and never a third time"
    assert {(letter["attempts"], letter["retryable"]) for letter in outcome.letters} == {(2, True)}


@pytest.mark.parametrize("api", APIS)
def test_an_error_in_a_stream_was_not_paid_for_and_is_tried_again(api: str, tmp_path: Path) -> None:
    with Emulator(seed=1, faults="stream_error=0.5") as emulator:
        outcome = run_extract(receipts(30), "", tmp_path, where=reach(emulator, api), structured_output="prompt")
        stats = emulator.stats()
    assert stats["faults"]["stream_error"] > 5
    assert (len(outcome.rows), outcome.letters, stats["paid_twice"]) == (30, [], 0)


_behaviours = st.builds(
    Behaviour,
    streaming=st.sampled_from(["events", "ignored"]),
    stream_usage=st.sampled_from(["every", "asked"]),
    stream_closing=st.sampled_from(["run", "always", "never"]),
    stream_echo=st.booleans(),
    openai_errors=st.sampled_from(["envelope", "openai"]),
    reasoning_field=st.sampled_from(["reasoning_content", "reasoning", "both"]),
    thinking_switch=st.sampled_from(["any", "documented", "ignored"]),
    forced_tool_with_switch=st.sampled_from(["accepted", "error"]),
    schema_forms=st.sampled_from(["both", "openai", "bare"]),
    union_types=st.sampled_from(["accepted", "refused"]),
    enforce_schema=st.booleans(),
)
_faults = st.dictionaries(st.sampled_from(sorted(FAULTS)), st.sampled_from([0.1, 0.3, 0.6]), max_size=5)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    ids=st.lists(st.one_of(st.text(min_size=1, max_size=4), st.just("twice")), max_size=25),
    faults=_faults,
    behaviour=_behaviours,
    seed=st.integers(0, 1 << 30),
    api=st.sampled_from(APIS),
    form=st.sampled_from(FORMS),
    max_concurrency=st.sampled_from([1, 3, 64]),
    deadline=st.sampled_from([1.0, 120.0]),
)
def test_documents_in_are_rows_and_dead_letters_out(
    ids: list[str],
    faults: dict[str, float],
    behaviour: Behaviour,
    seed: int,
    api: str,
    form: Any,
    max_concurrency: int,
    deadline: float,
) -> None:
    documents = [kb.Document(name, f"COMPANY: Shop {n} Ltd\nTOTAL: {n}.50") for n, name in enumerate(ids)]
    spec = ",".join(f"{name}={chance}{':0' if 'rate_limit' in name else ''}" for name, chance in faults.items())
    if form == "tool" and behaviour.forced_tool_with_switch == "error":
        deadline = 1.0  # no request is ever answered, and documents one after the other would each wait for it
    with tempfile.TemporaryDirectory() as directory, Emulator(seed=seed, faults=spec, behaviour=behaviour) as emulator:
        where, polling = reach(emulator, api), kb.Polling(first=0.005, ceiling=0.02, deadline=deadline)
        settings = {"where": where, "structured_output": form, "max_concurrency": max_concurrency, "polling": polling}
        outcome = run_extract(documents, "", Path(directory), **settings)
        stats = emulator.stats()
    assert outcome.ids == Counter(ids), "a document was lost or doubled"
    repeated = {i for i, count in Counter(ids).items() if count > 1}
    assert Counter(d["document_id"] for d in outcome.letters if d["code"] == "duplicate_id") == Counter(
        i for i in ids if i in repeated
    )
    # What is not answered by the deadline may be asked for again.
    if deadline > 1.0 and not {"drop_after_accept", "stream_cut"} & faults.keys():
        assert stats["paid_twice"] == 0


# ------------------------------------------------------------------------------------------------ runners


@pytest.mark.parametrize("name", IN_PROCESS_RUNNERS)
def test_each_runner_pays_for_each_document_once(name: str, tmp_path: Path) -> None:
    runner, options = IN_PROCESS_RUNNERS[name]
    documents = [*receipts(200), *receipts(3), kb.Document("empty", "")]
    with Emulator(latency=0.05, seed=1) as emulator:
        outcome = run_extract(
            documents,
            "",
            tmp_path,
            where=reach(emulator, "run"),
            runner=runner,
            options=options,
            batching=kb.Batching(max_items=20),
        )
        stats = emulator.stats()
    assert outcome.ids == Counter(d.id for d in documents)
    assert outcome.codes == {"duplicate_id": 6, "empty_document": 1}
    assert {r["_document_id"]: r["total"] for r in outcome.rows} == {f"doc-{i}": i + 0.5 for i in range(3, 200)}
    assert (stats["runs"], stats["documents"], stats["paid_twice"]) == (197, 197, 0)


@pytest.mark.parametrize("windowed", [False, True])
def test_each_document_of_a_stream_leaves_once(windowed: bool) -> None:
    documents = [*receipts(30), kb.Document("empty", "")]
    stream = test_stream.TestStream()
    for start in range(0, len(documents), 10):
        stream.advance_watermark_to(start)
        stream.add_elements([TimestampedValue(d, start) for d in documents[start : start + 10]])
    stream.advance_watermark_to_infinity()
    with Emulator(latency=0.02) as emulator:
        stream_through(stream, reach(emulator, "run"), windowed=windowed, shards=2)
        stats = emulator.stats()
    rows = [e for name, e in _arrived if name == "row"]
    letters = [e for name, e in _arrived if name == "letter"]
    assert Counter(r.document_id for r in rows) == Counter(f"doc-{i}" for i in range(30))
    assert [(d.document.id, d.failure.code) for d in letters] == [("empty", "empty_document")]
    assert (stats["runs"], stats["paid_twice"]) == (30, 0)


def test_a_stream_outlives_a_token_that_is_turned_away() -> None:
    seen: list[Asked] = []

    def answer(asked: Asked) -> bytes:
        seen.append(asked)
        return error(10000, 401) if len(seen) <= 20 else answered()

    stream = test_stream.TestStream().add_elements(receipts(5)).advance_watermark_to_infinity()
    with Scripted(answer) as server:
        stream_through(stream, service(server.url, api="run"))
    assert [name for name, _ in _arrived] == ["row"] * 5


# ------------------------------------------------------------------------------------------------ duplicates, bounds


def test_duplicates_are_found_before_anything_is_sent(tmp_path: Path) -> None:
    documents = [*receipts(3), *receipts(3), kb.Document("blank", " \n")]
    with Emulator() as emulator:
        outcome = run_extract(documents, "", tmp_path, where=reach(emulator, "run"), shards=3)
        assert emulator.stats()["runs"] == 0
    assert outcome.codes == {"duplicate_id": 6, "empty_document": 1}


@pytest.mark.parametrize("bound", [1, 7])
def test_as_many_requests_are_in_flight_as_may_be_and_no_more(bound: int, tmp_path: Path) -> None:
    async def answer(_: Asked) -> bytes:
        await asyncio.sleep(0.02)
        return answered()

    with Scripted(answer) as server:
        where = service(server.url, api="run")
        outcome = run_extract(receipts(60), "", tmp_path, where=where, max_concurrency=bound)
    assert len(outcome.rows) == 60
    assert server.most_in_flight == bound
    assert server.connections <= bound, "a connection for each request: each pays for a handshake"


def test_workers_of_one_process_share_one_client_and_its_bound(tmp_path: Path) -> None:
    async def answer(_: Asked) -> bytes:
        await asyncio.sleep(0.02)
        return answered()

    with Scripted(answer) as server:
        outcome = run_extract(
            receipts(100),
            "",
            tmp_path,
            where=service(server.url, api="run"),
            max_concurrency=5,
            batching=kb.Batching(max_items=10),
            options=("--direct_num_workers=4", "--direct_running_mode=multi_threading"),
        )
    assert len(outcome.rows) == 100
    assert server.most_in_flight == 5, "each worker thread takes the bound for itself"
    assert server.connections <= 5, "each worker thread has connections of its own"
    left = [
        one for one in shared_clients._clients.values() if server.url in one.service.root
    ]  # not what another test has left
    assert not left, "a client outlives its users"


def test_two_steps_of_a_process_together_keep_to_the_requests_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account is counted, not the step: two schemas asked of one model share its limit."""
    monkeypatch.setattr(pacing, "MINUTE", 1.0)
    with Scripted(lambda _: answered()) as server:
        where = service(server.url, api="run", requests_per_minute=6)
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            came_in = pipeline | beam.Create(receipts(12))
            for name, schema in (("one", RECEIPT), ("other", {**RECEIPT, "title": "Other"})):
                _ = came_in | name >> kb.Extract(schema, service=where, polling=QUICK)
        times = [asked.at for asked in server.asked]
    assert len(times) == 24
    assert max(times) - min(times) >= 2.7, "no limit was kept at all"
    assert most_within(times, 0.9) <= 6


def test_cloudflares_own_hosts_are_asked_20_times_a_minute_and_others_as_fast_as_they_like() -> None:
    assert kb.WorkersAI("a" * 32, api="run").pace == 20
    assert kb.WorkersAI("a" * 32, api="run", gateway=kb.Gateway("g", in_url=True)).pace == 20
    assert kb.WorkersAI("a" * 32, api="run", requests_per_minute=50).pace == 50
    assert kb.WorkersAI("a" * 32, api="run", requests_per_minute=0).pace is None
    assert service("http://127.0.0.1:1/client/v4", api="run").pace is None
    assert kb.WorkersAI(model="m", openai_url="http://127.0.0.1:1/v1").pace is None
