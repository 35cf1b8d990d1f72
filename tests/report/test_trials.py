"""A way of asking that has not worked yet is tried with one batch; the others are not paid for meanwhile."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from apache_beam.testing import test_stream
from harness import QUICK, packed, receipts, run_extract, service
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Asked, Scripted, reply
from stream_worker import Worker
from streams_through_beam import _arrived, stream_through

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.emulator.server import BASE_PATH
from kimi_beam.errors import UnmetSchemaError
from kimi_beam.report.outcomes import Outcomes
from kimi_beam.report.trials import LEASE, FormClaims, Trials
from kimi_beam.request.batches import Spent
from kimi_beam.types.answer import Usage

BATCH = 10
A_TRIAL = BATCH + 1
"""Documents that a form may be tried with: a shard's last batch may hold a single one, which is not enough to tell."""
SMALL = kb.Batching(max_items=BATCH)
OPTIONAL = {
    "title": "Receipt",
    "type": "object",
    "properties": {"company": {"type": "string"}, "total": {"type": "number"}},
    "required": ["company"],
    "additionalProperties": False,
}
"""Its first form says "or null" by a union; the second leaves the property out of ``required`` and has no union."""


class Forms:
    """What a service was asked, each document by the form in which it was asked for it.

    Attributes:
        asked: By form, in the order of their first use: how often each document was asked for.
    """

    def __init__(self) -> None:
        self.asked: dict[str, Counter[str]] = {}

    @property
    def documents(self) -> list[int]:
        return [len(counts) for counts in self.asked.values()]

    @property
    def most(self) -> int:
        """The most often that one document was asked for in one form."""
        return max(max(counts.values()) for counts in self.asked.values())

    def note(self, asked: Asked) -> None:
        body = asked.json
        for request in body.get("requests", []):
            form = json.dumps(request["response_format"])
            self.asked.setdefault(form, Counter())[request["messages"][-1]["content"]] += 1


@contextmanager
def watched(emulator: Emulator) -> Iterator[tuple[str, Forms]]:
    """The URL of a proxy before an emulator, and what was asked through it."""
    forms = Forms()

    def forward(asked: Asked) -> bytes:
        kept = {name: asked.headers[name] for name in ("authorization", "content-type") if name in asked.headers}
        root = emulator.base_url.removesuffix(BASE_PATH)
        request = urllib.request.Request(root + asked.path, data=asked.body, headers=kept, method=asked.method)
        try:
            with urllib.request.urlopen(request) as came:
                return reply(came.read(), came.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return reply(refused.read(), refused.code)

    async def answer(asked: Asked) -> bytes:
        forms.note(asked)
        return await asyncio.to_thread(forward, asked)

    with Scripted(answer) as server:
        yield server.url + BASE_PATH, forms


# ------------------------------------------------------------------------------------------------ in real pipelines


@pytest.mark.parametrize("shards", [1, 4])
def test_no_form_works_and_only_one_batch_was_paid_for_in_each_but_the_first(shards: int, tmp_path: Path) -> None:
    with (
        Emulator(faults="error_code=1:5024", latency=0.3) as emulator,
        watched(emulator) as (url, forms),
        pytest.raises(UnmetSchemaError, match="5024"),
    ):
        run_extract(receipts(120), url, tmp_path, schema=OPTIONAL, batching=SMALL, shards=shards)
    first, *later = forms.documents
    assert first <= 120
    assert later == [BATCH, BATCH] if shards == 1 else max(later) <= A_TRIAL
    assert forms.most == 1


@pytest.mark.parametrize("shards", [1, 4])
def test_the_second_form_works_and_each_document_is_asked_for_once_in_each_of_the_two(
    shards: int, tmp_path: Path
) -> None:
    documents = receipts(120)
    with Emulator(behaviour=Behaviour(union_types="refused"), latency=0.3) as emulator:
        with watched(emulator) as (url, forms):
            outcome = run_extract(documents, url, tmp_path, schema=OPTIONAL, batching=SMALL, shards=shards)
        stats = emulator.stats()
    assert outcome.ids == Counter(d.id for d in documents)
    assert outcome.letters == []
    assert forms.documents == [120, 120]
    assert forms.most == 1
    assert stats["paid_twice"] == 0


@pytest.mark.parametrize("shards", [1, 4])
def test_the_third_form_works_and_the_second_is_tried_with_one_batch(shards: int, tmp_path: Path) -> None:
    documents = receipts(120)
    with Emulator(faults="json_mode=1", latency=0.3) as emulator, watched(emulator) as (url, forms):
        outcome = run_extract(documents, url, tmp_path, schema=OPTIONAL, batching=SMALL, shards=shards)
    assert outcome.ids == Counter(d.id for d in documents)
    assert outcome.letters == []
    first, second, third = forms.documents
    assert (first, third) == (120, 120)
    assert 1 <= second <= A_TRIAL
    assert forms.most == 1


def test_a_runner_without_state_tries_one_batch_too(tmp_path: Path) -> None:
    documents = receipts(60)
    with Emulator(faults="json_mode=1", latency=0.3) as emulator, watched(emulator) as (url, forms):
        outcome = run_extract(
            documents,
            url,
            tmp_path,
            schema=OPTIONAL,
            batching=SMALL,
            shards=3,
            runner="DirectRunner",
            options=["--direct_running_mode=multi_threading", "--direct_num_workers=3"],
        )
    assert outcome.ids == Counter(d.id for d in documents)
    assert outcome.letters == []
    first, second, third = forms.documents
    assert (first, third) == (60, 60)
    assert 1 <= second <= A_TRIAL


def test_a_stream_tries_one_batch_and_all_its_documents_leave() -> None:
    documents = receipts(60)
    stream = test_stream.TestStream().add_elements(documents).advance_watermark_to_infinity()
    with Emulator(faults="json_mode=1", latency=0.2) as emulator, watched(emulator) as (url, forms):
        stream_through(stream, service(url), shards=3, batching=kb.Batching(max_items=BATCH, max_wait=0.1))
    assert Counter(e.document_id for name, e in _arrived if name == "row") == Counter(d.id for d in documents)
    assert [name for name, _ in _arrived if name == "letter"] == []
    assert len(forms.documents) == 2, "the harness's schema is sent twice in the same words"
    assert forms.documents[1] == 60
    assert sum(next(iter(forms.asked.values())).values()) <= 60 + A_TRIAL


@pytest.mark.parametrize("fault", ["failed_job", "expired", "failed_item"])
def test_a_trial_that_comes_to_nothing_stops_nobody(fault: str, tmp_path: Path) -> None:
    """Half of the jobs are lost, those on trial among them: every document leaves all the same."""
    documents = receipts(120)
    with Emulator(faults=f"json_mode=1,{fault}=0.5", seed=3, latency=0.1) as emulator:
        outcome = run_extract(
            documents, emulator.base_url, tmp_path, batching=SMALL, shards=3, polling=replace(QUICK, deadline=5.0)
        )
        assert emulator.stats()["faults"].get(fault)
    assert outcome.ids == Counter(d.id for d in documents)
    assert outcome.rows


def test_a_new_process_that_finds_batches_of_a_later_form_in_state_tries_one_of_them_first() -> None:
    """The outcomes are lost with a worker, and its state is not."""
    documents = receipts(6)
    with Emulator(latency=0.3) as emulator, watched(emulator) as (url, forms):
        worker = Worker(url, None)
        for at in (0, 2, 4):
            worker.put(packed(documents[at : at + 2], worker.settings, form=1, spent=[Spent(Usage(), 1)] * 2))
            worker.admit()
        assert worker.jobs == [2]
        worker.act()
        assert forms.documents == [2]
        worker.finish()
    assert worker.left == Counter(document.text for document in documents)
    assert (forms.documents, forms.most) == ([6], 1)


# ------------------------------------------------------------------------------------------------ the rules


def turn(outcomes: Outcomes, shard: str, counts: Sequence[int] = (), now: float = 0.0) -> FormClaims:
    return FormClaims(outcomes.trials, outcomes.is_on_trial, shard, lambda: Counter(counts), now)


def test_the_first_form_is_not_on_trial_until_a_document_was_unmet_in_it() -> None:
    outcomes = Outcomes()
    assert [outcomes.is_on_trial(form) for form in range(3)] == [False, True, True]
    assert all(turn(outcomes, "a", [0] * n).claim(0) for n in range(50))
    outcomes.count_form(0, unmet=1)
    assert outcomes.is_on_trial(0)
    assert not turn(outcomes, "a", [0]).claim(0)
    assert turn(outcomes, "b").claim(0)
    outcomes.count_form(0, met=1)
    assert not outcomes.is_on_trial(0)
    assert turn(outcomes, "a", [0, 0]).claim(0)


def test_one_batch_of_all_shards_tries_a_form() -> None:
    outcomes = Outcomes()
    mine = turn(outcomes, "a")
    assert [mine.is_closed(1), mine.claim(1), mine.is_closed(1), mine.claim(1)] == [False, True, True, False]
    assert turn(outcomes, "b").is_closed(1)
    assert not turn(outcomes, "b").claim(1)
    assert turn(outcomes, "b").claim(2), "each form has a trial of its own"
    assert not turn(outcomes, "a", [1]).claim(1), "its own batch is known by the state"
    assert turn(outcomes, "a").claim(1), "a claim whose bundle failed does not stop the shard itself"


def test_a_trial_that_has_ended_makes_room() -> None:
    outcomes = Outcomes()
    assert turn(outcomes, "a").claim(1)
    assert outcomes.trials.has_claims("a")
    outcomes.trials.renew("a", Counter({1: 1}), 10.0)
    assert turn(outcomes, "b", now=10.0).is_closed(1)
    outcomes.trials.renew("a", Counter({0: 7}), 11.0)
    assert not outcomes.trials.has_claims("a")
    assert turn(outcomes, "b", now=11.0).claim(1)


def test_a_claim_ends_unless_its_shard_renews_it() -> None:
    outcomes = Outcomes()
    assert turn(outcomes, "a").claim(1)
    assert turn(outcomes, "b", now=LEASE - 1).is_closed(1)
    outcomes.trials.renew("a", Counter({1: 1}), LEASE - 1)
    assert turn(outcomes, "b", now=2 * LEASE - 2).is_closed(1)
    assert turn(outcomes, "b", now=2 * LEASE - 1).claim(1)


def test_trials_that_show_nothing_let_twice_as_many_try() -> None:
    outcomes = Outcomes()
    for width in (1, 2, 4, 8):
        taken = [turn(outcomes, f"shard {n}").claim(1) for n in range(10)]
        assert taken.count(True) == width
        outcomes.ended_without_verdict(1)
        for n in range(10):
            outcomes.trials.renew(f"shard {n}", Counter(), 0.0)
    outcomes.count_form(2, met=1)
    outcomes.ended_without_verdict(2)
    for _ in range(1_000):
        outcomes.ended_without_verdict(1)
    assert outcomes.trials.allowed(1, "a", 0.0) < 1 << 20


@settings(derandomize=True, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "end"])), max_size=40))
def test_never_more_than_one_is_in_flight_and_one_always_may_be(steps: list[tuple[str, Any]]) -> None:
    trials, held = Trials(), Counter[str]()
    for now, (shard, step) in enumerate(steps):
        if step == "take":
            free = not held.total()
            assert trials.claim(1, shard, held[shard] + 1, float(now)) is free
            held[shard] += free
        else:
            held[shard] = 0
            trials.renew(shard, {}, float(now))
        assert held.total() <= 1
