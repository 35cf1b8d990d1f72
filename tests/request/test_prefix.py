"""Prefix caching: what is sent before the document is the same bytes always, and what the cache saved is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from harness import RECEIPT, receipts, run_extract, service
from prefixes import APIS, FORMS, before_the_document, prefixes
from scripted import Asked, Scripted, answered, completion, reply

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator

HERE = Path(__file__).parent


def test_a_thousand_documents_in_three_processes_and_runs_share_one_prefix() -> None:
    own = prefixes(1000)
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", "import json, prefixes; print(json.dumps(prefixes.prefixes(50)))"],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join(map(str, (HERE, *HERE.parents[:2]))),
            },
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout) == own, f"the prefix is another in a process with seed {seed}"
    for prefix in map(bytes.fromhex, own):
        for varies in (b"text 0", b"id 0", b"ref-0", b'"n":'):
            assert varies not in prefix


@pytest.mark.parametrize("api", APIS)
def test_on_the_wire_every_request_of_two_runs_begins_alike(api: str, tmp_path: Path) -> None:
    def answer(asked: Asked) -> bytes:
        if "requests" in asked.json:
            names = [request["external_reference"] for request in asked.json["requests"]]
            return reply({"result": {"status": "queued", "request_id": json.dumps(names)}, "success": True})
        if "request_id" in asked.json:
            names = json.loads(asked.json["request_id"])
            items = [
                {"index": n, "success": True, "external_reference": r, "result": completion()}
                for n, r in enumerate(names)
            ]
            return reply({"result": {"results": items}, "success": True})
        return answered()

    with Scripted(answer) as server:
        for run in ("one", "two"):
            where = service(server.url, api=api)
            assert len(run_extract(receipts(40), "", tmp_path / run, where=where, shards=2).rows) == 40
    found = [asked.body for asked in server.asked if b"request_id" not in asked.body]
    if api == "batch":
        # orjson keeps the order of keys and writes as compactly as the client: a request's own bytes again.
        found = [orjson.dumps(request) for body in found for request in orjson.loads(body)["requests"]]
    assert len(found) == 80
    assert len({before_the_document(body) for body in found}) == 1
    assert len({asked.headers["x-session-affinity"] for asked in server.asked}) == 1


def test_equal_prefixes_go_to_one_instance_and_others_to_another(tmp_path: Path) -> None:
    with Scripted(lambda _: answered()) as server:
        where = service(server.url, api="run")
        for name, changes in (
            ("a", {}),
            ("b", {}),
            ("c", {"instructions": "Other words."}),
            ("d", {"schema": {**RECEIPT, "title": "Other"}}),
        ):
            run_extract(receipts(3), "", tmp_path / name, where=where, **changes)
        ids = [asked.headers["x-session-affinity"] for asked in server.asked]
    assert len(ids) == 12
    assert len(set(ids[:6])) == 1, "the same prefix has another name in another run"
    assert len({ids[0], ids[6], ids[9]}) == 3


@pytest.mark.parametrize("options", [("--direct_num_workers=2", "--direct_running_mode=multi_processing")])
def test_processes_of_one_machine_ask_one_instance(options: tuple[str, ...], tmp_path: Path) -> None:
    with Scripted(lambda _: answered()) as server:
        where = service(server.url, api="run")
        packed = kb.Batching(max_items=5)
        outcome = run_extract(receipts(40), "", tmp_path, where=where, options=options, batching=packed)
    assert len(outcome.rows) == 40
    assert len({asked.headers["x-session-affinity"] for asked in server.asked}) == 1


LONG = "Read carefully. " * 400


def test_affinity_makes_the_cache_hit_where_there_are_many_instances(tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(instances=8)) as emulator:
        where = service(emulator.base_url, api="run")
        outcome = run_extract(receipts(50), "", tmp_path, where=where, instructions=LONG, max_concurrency=1)
    spent = outcome.summary["usage"]
    assert spent["cached_tokens"] > 0.9 * spent["prompt_tokens"], "requests are spread over the instances"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("api", "told"), [("batch", "job"), ("batch", "item"), ("run", "job"), ("chat", "job")], ids=lambda v: str(v)
)
def test_cached_tokens_are_read_wherever_they_stand_and_priced(api: str, told: Any, form: Any, tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(cached_tokens=told)) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(
            receipts(30), "", tmp_path, where=where, instructions=LONG, structured_output=form, max_concurrency=1
        )
        stats = emulator.stats()
    spent = outcome.summary["usage"]
    assert spent["prompt_tokens"] == stats["prompt_tokens"]
    assert 0.8 * spent["prompt_tokens"] < spent["cached_tokens"] < spent["prompt_tokens"]
    assert sum(r["_provenance"]["cached_tokens"] for r in outcome.rows) == spent["cached_tokens"]
    assert all(r["_provenance"]["cached_tokens"] <= r["_provenance"]["prompt_tokens"] for r in outcome.rows)
    fresh = spent["prompt_tokens"] - spent["cached_tokens"]
    cost = (fresh * 0.95 + spent["cached_tokens"] * 0.16 + spent["completion_tokens"] * 4.0) / 1e6
    assert outcome.summary["would_have_cost_usd"] == pytest.approx(cost, abs=1e-6)
    assert outcome.summary["cache_saved_usd"] == 0, "the emulator is paid nothing, so nothing is saved"


@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}, {"cached_tokens": "9"}, "absent"])
def test_a_usage_that_says_nothing_of_the_cache_counts_none(details: Any, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": details}
    if details == "absent":
        del usage["prompt_tokens_details"]
    with Scripted(lambda _: answered(usage=usage)) as server:
        outcome = run_extract(receipts(2), "", tmp_path, where=service(server.url, api="run"))
    assert outcome.summary["usage"] == {"prompt_tokens": 200, "cached_tokens": 0, "completion_tokens": 10}
    assert outcome.summary["cache_saved_usd"] == 0
