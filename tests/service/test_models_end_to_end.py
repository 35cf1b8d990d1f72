"""Which model is asked, which one answered, and what happens where its queue is gone."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from apache_beam.testing import test_stream
from harness import receipts, run_extract, service
from scripted import Asked, Scripted, answered, error
from streams_through_beam import _arrived, stream_through

import kimi_beam as kb
from kimi_beam import cli
from kimi_beam.commands.preflight import check_service
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.errors import ConfigError

K2_5 = "@cf/moonshotai/kimi-k2.5"
K2_7 = "@cf/moonshotai/kimi-k2.7-code"


def test_a_deprecated_model_works_by_name_and_warns() -> None:
    with pytest.warns(UserWarning, match=r"k2\.5 is deprecated: served by kimi-k2\.6"):
        kb.Extract({}, service=service("http://x", model=K2_5))
    with pytest.warns(UserWarning, match=r"queue is gone"):
        kb.Extract({}, service=service("http://x", model=K2_5, api="run"))


@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize("status", [400, 405])
def test_without_a_queue_and_without_leave_the_job_ends_before_anything_is_paid(status: Any, tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(no_queue_status=status)) as emulator:
        where = service(emulator.base_url, model=K2_7)
        with pytest.raises(ConfigError) as told:
            check_service(where)
        with pytest.raises(Exception, match="8007"):
            run_extract(receipts(3), "", tmp_path, where=where)
        assert emulator.stats()["documents"] == 0
    assert "\n" not in str(told.value)
    assert "--api run" in str(told.value)


@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize("runner", ["FnApiRunner", "BundleBasedDirectRunner"])
@pytest.mark.parametrize("model", [K2_5, K2_7])
def test_with_leave_every_document_is_asked_for_synchronously(model: str, runner: str, tmp_path: Path) -> None:
    documents = [*receipts(50), *receipts(2), kb.Document("empty", "")]
    with Emulator(faults="json_mode=0.3,error_500=0.1", seed=3) as emulator:
        where = service(emulator.base_url, model=model, fallback_api="run")
        doubt = check_service(where).doubt
        packed = kb.Batching(max_items=10)
        outcome = run_extract(documents, "", tmp_path, where=where, runner=runner, batching=packed)
        stats = emulator.stats()
    assert doubt is not None
    assert "no batch queue" in doubt
    assert outcome.ids == Counter(d.id for d in documents)
    assert outcome.codes == {"duplicate_id": 4, "empty_document": 1}
    assert (stats["submits"], stats["documents"], stats["paid_twice"]) == (0, 48, 0)
    assert outcome.summary["usage"]["prompt_tokens"] == stats["prompt_tokens"]
    assert {(r["_provenance"]["model_asked"], r["_provenance"]["request_id"]) for r in outcome.rows} == {(model, None)}


def test_leave_to_run_does_not_touch_a_model_that_has_a_queue(tmp_path: Path) -> None:
    with Emulator() as emulator:
        where = service(emulator.base_url, fallback_api="run")
        assert not check_service(where).doubt
        assert len(run_extract(receipts(10), "", tmp_path, where=where).rows) == 10
        stats = emulator.stats()
    assert (stats["submits"], stats["runs"]) == (1, 0)


@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_a_stream_whose_model_has_no_queue_is_asked_for_synchronously() -> None:
    stream = test_stream.TestStream().add_elements(receipts(10)).advance_watermark_to_infinity()
    with Emulator() as emulator:
        stream_through(stream, service(emulator.base_url, model=K2_5, fallback_api="run"))
        stats = emulator.stats()
    assert [name for name, _ in _arrived] == ["row"] * 10
    assert (stats["submits"], stats["documents"], stats["paid_twice"]) == (0, 10, 0)


def test_a_stream_without_a_queue_outlives_a_token_that_is_turned_away_in_between() -> None:
    refused: list[Asked] = []

    def answer(asked: Asked) -> bytes:
        if "queueRequest=true" in asked.path:
            return error(8007, 400, "AiError: This model does not support request queuing")
        refused.append(asked)
        return error(10000, 401) if len(refused) <= 30 else answered()

    stream = test_stream.TestStream().add_elements(receipts(3)).advance_watermark_to_infinity()
    with Scripted(answer) as server:
        stream_through(stream, service(server.url, model="@cf/other/model", fallback_api="run"))
    assert [name for name, _ in _arrived] == ["row"] * 3


def test_the_fallback_keeps_to_the_same_bound_and_gateway(tmp_path: Path) -> None:
    async def answer(asked: Asked) -> bytes:
        if "queueRequest=true" in asked.path:
            return error(8007, 400, "AiError: This model does not support request queuing")
        await asyncio.sleep(0.02)
        return answered()

    with Scripted(answer) as server:
        where = service(server.url, fallback_api="run", gateway=kb.Gateway("mine", cache_ttl=300))
        outcome = run_extract(receipts(20), "", tmp_path, where=where, max_concurrency=2)
    assert len(outcome.rows) == 20
    assert server.most_in_flight == 2
    ran = [asked for asked in server.asked if "queueRequest" not in asked.path]
    assert {(a.headers["cf-aig-gateway-id"], a.headers.get("cf-aig-cache-ttl")) for a in ran} == {("mine", "300")}
    assert not any("cf-aig-skip-cache" in asked.headers for asked in ran)


@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_both_models_are_recorded_the_asked_and_the_answering(api: str, tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(k2_5_queue="alias")) as emulator:
        where = service(emulator.base_url, model=K2_5, api=api)
        outcome = run_extract(receipts(3), "", tmp_path, where=where)
    (row, *_) = outcome.rows
    assert row["_provenance"]["model_asked"] == K2_5
    assert "emulator" in row["_provenance"]["model_answered"]
    assert outcome.summary["model"] == K2_5


def test_the_models_are_listed_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    shown = capsys.readouterr().out
    assert cli.main(["models", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_id = {model["id"]: model for model in told}
    assert by_id["@cf/moonshotai/kimi-k2.6"]["queue"] is True
    assert by_id[K2_5]["queue"] is False
    assert "deprecated" in by_id[K2_5]["note"]
    assert by_id[K2_7]["thinking_off"] is None
    assert by_id["@cf/moonshotai/kimi-k2.6"]["usd_per_million"] == {"prompt": 0.95, "cached": 0.16, "completion": 4.0}
    for model in told:
        assert model["id"] in shown
        assert f"{model['context']:,}" in shown
