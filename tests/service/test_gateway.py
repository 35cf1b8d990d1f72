"""AI Gateway from end to end: both forms, their headers, and a cache that must never answer a poll."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness import ACCOUNT, QUICK, receipts, run_extract, service
from scripted import Asked, Scripted, answered, completion, error, reply

import kimi_beam as kb
from kimi_beam.commands.preflight import check_service
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.errors import ConfigError

APIS = ("batch", "run", "chat")


def behind(emulator: Emulator, *, in_url: bool, api: Any = "batch", **gateway: Any) -> kb.WorkersAI:
    if in_url:
        gateway.update(in_url=True, host=emulator.gateway_url)
        return kb.WorkersAI(ACCOUNT, api=api, gateway=kb.Gateway("mine", **gateway), token_from="env:TOKEN")
    return service(emulator.base_url, api=api, gateway=kb.Gateway("mine", **gateway))


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t0ken")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("in_url", [False, True], ids=["header", "url"])
def test_documents_go_through_a_gateway_whose_cache_is_on(api: str, in_url: bool, tmp_path: Path) -> None:
    """A poll without skip-cache would be answered with the first "queued" until the deadline."""
    behaviour = Behaviour(gateways=("mine",), gateway_cache=3600)
    with Emulator(latency=2.0 if api == "batch" else 0.15, behaviour=behaviour) as emulator:
        where = behind(emulator, in_url=in_url, api=api)
        assert not check_service(where).doubt
        outcome = run_extract(receipts(30), "", tmp_path, where=where, batching=kb.Batching(max_items=10))
        stats = emulator.stats()
    assert (len(outcome.rows), outcome.letters) == (30, [])
    assert (stats["documents"], stats["paid_twice"]) == (30, 0)
    assert (stats["polls"] > 4) == (api == "batch")


def script(asked: Asked) -> bytes:
    """A queue whose jobs are done at the first poll, and runs."""
    if b"external_reference" in asked.body and "queueRequest=true" in asked.path:
        names = [request["external_reference"] for request in asked.json["requests"]]
        return reply({"result": {"status": "queued", "request_id": json.dumps(names)}, "success": True})
    if "request_id" in asked.json:
        names = json.loads(asked.json["request_id"])
        items = [
            {"index": n, "success": True, "external_reference": name, "result": completion()}
            for n, name in enumerate(names)
        ]
        return reply({"result": {"results": items}, "success": True})
    return answered()


@pytest.mark.parametrize("api", APIS)
def test_the_gateways_headers_are_those_of_its_pages(api: str, tmp_path: Path) -> None:
    gateway = kb.Gateway("mine", metadata={"team": "é", "run": 7, "dry": True}, cache_ttl=120, token_from="env:TOKEN")
    with Scripted(script) as server:
        where = service(server.url, api=api, gateway=gateway)
        outcome = run_extract(receipts(5), "", tmp_path, where=where)
    assert len(outcome.rows) == 5
    queued = api == "batch"
    for asked in server.asked:
        told = asked.headers
        assert told["cf-aig-gateway-id"] == "mine"
        assert json.loads(told["cf-aig-metadata"]) == {"team": "é", "run": 7, "dry": True}
        assert told["cf-aig-authorization"] == "Bearer t0ken"
        assert told["cf-aig-max-attempts"] == "1", "the gateway may send again, and have paid for again, what failed"
        assert told.get("cf-aig-skip-cache") == ("true" if queued else None)
        assert told.get("cf-aig-cache-ttl") == (None if queued else "120")
    paths = {
        "batch": f"/accounts/{ACCOUNT}/ai/run/@cf/moonshotai/kimi-k2.6?queueRequest=true",
        "run": f"/accounts/{ACCOUNT}/ai/run/@cf/moonshotai/kimi-k2.6",
        "chat": f"/accounts/{ACCOUNT}/ai/v1/chat/completions",
    }
    assert {asked.path for asked in server.asked} == {paths[api]}


@pytest.mark.parametrize("api", APIS)
def test_in_the_older_form_the_gateway_stands_in_the_url_alone(api: str, tmp_path: Path) -> None:
    with Scripted(script) as server:
        gateway = kb.Gateway("mine", in_url=True, host=f"{server.url}/v1/", skip_cache=True)
        where = kb.WorkersAI(ACCOUNT, api=api, gateway=gateway)  # type: ignore[arg-type]
        assert len(run_extract(receipts(5), "", tmp_path, where=where).rows) == 5
    root = f"/v1/{ACCOUNT}/mine/workers-ai"
    paths = {
        "batch": f"{root}/@cf/moonshotai/kimi-k2.6?queueRequest=true",
        "run": f"{root}/@cf/moonshotai/kimi-k2.6",
        "chat": f"{root}/v1/chat/completions",
    }
    assert {asked.path for asked in server.asked} == {paths[api]}
    assert all("cf-aig-gateway-id" not in asked.headers for asked in server.asked)
    assert {asked.headers["cf-aig-skip-cache"] for asked in server.asked} == {"true"}


def test_without_a_gateway_nothing_is_said_of_one(tmp_path: Path) -> None:
    with Scripted(script) as server:
        run_extract(receipts(2), "", tmp_path, where=service(server.url, api="run"))
    assert not [name for asked in server.asked for name in asked.headers if name.startswith("cf-aig")]


def test_an_answer_from_the_gateways_cache_costs_no_tokens(tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(gateways=("mine",), gateway_cache=0)) as emulator:
        paid, kept, fresh = (
            run_extract(receipts(10), "", tmp_path / name, where=behind(emulator, in_url=False, api="run", **gateway))
            for name, gateway in (
                ("paid", {"cache_ttl": 600}),
                ("kept", {"cache_ttl": 600}),
                ("fresh", {"skip_cache": True}),
            )
        )
        stats = emulator.stats()
    assert [len(outcome.rows) for outcome in (paid, kept, fresh)] == [10, 10, 10]
    assert paid.summary["usage"]["prompt_tokens"] > 0
    assert set(kept.summary["usage"].values()) == {0}, "what the cache answered is counted as if it were billed"
    assert kept.summary["cost_usd"] == 0
    assert fresh.summary["usage"]["prompt_tokens"] == paid.summary["usage"]["prompt_tokens"]
    assert stats["runs"] == 20


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("in_url", [False, True], ids=["header", "url"])
def test_a_gateway_that_does_not_exist_ends_the_job_in_one_line(api: str, in_url: bool, tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(gateways=("another",))) as emulator:
        where = behind(emulator, in_url=in_url, api=api)
        with pytest.raises(ConfigError) as told:
            check_service(where)
        with pytest.raises(Exception, match="2001"):
            run_extract(receipts(3), "", tmp_path, where=where)
        assert emulator.stats()["documents"] == 0
    assert "2001" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("api", APIS)
def test_an_authenticated_gateway_gets_its_own_token(api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE", "gate-t0ken")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "api-t0ken")
    behaviour = Behaviour(gateways=("mine",), gateway_token="gate-t0ken")
    with Emulator(token="api-t0ken", behaviour=behaviour) as emulator:
        where = behind(emulator, in_url=False, api=api, token_from="env:GATE")
        assert not check_service(where).doubt
        assert len(run_extract(receipts(3), "", tmp_path / "a", where=where).rows) == 3
        without = behind(emulator, in_url=False, api=api)
        with pytest.raises(ConfigError):
            check_service(without)
        assert emulator.stats()["documents"] == 3
    assert "gate-t0ken" not in repr(where)


def test_a_gateways_token_that_is_renewed_is_read_again(tmp_path: Path) -> None:
    place = tmp_path / "token"
    place.write_text("old")

    def answer(asked: Asked) -> bytes:
        if asked.headers["cf-aig-authorization"] == "Bearer old":
            place.write_text("new")
            return error(2009, 401)
        return answered()

    with Scripted(answer) as server:
        gateway = kb.Gateway("mine", token_from=f"file:{place}")
        where = service(server.url, api="run", gateway=gateway)
        outcome = run_extract(receipts(5), "", tmp_path / "out", where=where, max_concurrency=1)
    assert len(outcome.rows) == 5
    assert len(server.asked) == 6


def test_a_gateway_that_times_out_may_have_let_the_request_pass(tmp_path: Path) -> None:
    with Scripted(lambda _: error(2014, 504)) as server:
        where = service(server.url, api="run", gateway="mine")
        outcome = run_extract(receipts(4), "", tmp_path, where=where, polling=QUICK)
    assert outcome.codes == {"unknown_submit": 4}
    assert len(server.asked) == 8, "it may have been paid for each time"


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "a/b"},
        {"id": ".."},
        {"id": "a", "cache_ttl": 59},
        {"id": "a", "cache_ttl": 31 * 86_400 + 1},
        {"id": "a", "metadata": {str(n): n for n in range(6)}},
        {"id": "a", "metadata": {"a": {"b": 1}}},
        {"id": "a", "host": "ftp://x"},
        {"id": "a", "host": "https://user:secret@x/v1"},
    ],
)
def test_a_gateway_that_cannot_be_is_refused_before_anything_runs(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="gateway"):
        kb.Gateway(**wrong)
