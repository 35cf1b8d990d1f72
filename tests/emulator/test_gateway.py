"""AI Gateway in its three forms, accounts and plans, limits a minute, and the catalogue."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from kimi_beam.emulator import Behaviour

from .peer import K2_6, SIGNED, UUID, Peer, events, failure, item, refusal, serving

GATEWAY = {"cf-aig-gateway-id": "mine"}
NO_CACHE = {**GATEWAY, "cf-aig-skip-cache": "true"}
CHAT = {"messages": [{"role": "user", "content": "one two"}]}


def older(peer: Peer, path: str, body: object, gateway: str = "mine", **headers: str) -> httpx.Response:
    url = f"{peer.emulator.gateway_url}/{'a' * 32}/{gateway}/{path}"
    return peer.http.post(url, json=body, headers={"Authorization": "Bearer secret", **headers})


def test_a_request_through_a_gateway_is_logged() -> None:
    with serving() as peer:
        reply = peer.run("one two", headers=NO_CACHE)
        assert reply.headers["cf-aig-cache-status"] == "MISS"
        assert re.fullmatch("[0-9a-f]{32}", reply.headers["cf-aig-log-id"])
        assert re.fullmatch(UUID, reply.headers["cf-ai-req-id"])
        assert "cf-aig-log-id" not in peer.run("one two").headers
        assert refusal(peer.run(messages=[], headers=GATEWAY)) == (400, 5006)
        assert len(events(peer.run("one two", stream=True, headers=GATEWAY))) > 3


def test_a_client_that_forgets_to_skip_the_cache_polls_for_ever() -> None:
    with serving(latency=10) as peer:
        request_id = peer.submit(item(), headers=GATEWAY)
        body = {"request_id": request_id}
        assert peer.post(body, headers=GATEWAY).headers["cf-aig-cache-status"] == "MISS"
        peer.clock.now += 10
        stale = peer.post(body, headers=GATEWAY)
        assert stale.headers["cf-aig-cache-status"] == "HIT"
        assert stale.json()["result"]["status"] == "queued"
        assert "results" in peer.post(body, headers=NO_CACHE).json()["result"]
        assert "results" in peer.post(body).json()["result"]
        # An equal submit is answered from the cache as well: no second job.
        assert peer.submit(item(), headers=GATEWAY) == request_id
        assert peer.emulator.stats()["submits"] == 1
        assert "results" in peer.post(body, headers={"cf-aig-gateway-id": "other"}).json()["result"]


def test_how_long_the_cache_keeps_and_by_which_key() -> Any:
    def status(**headers: str) -> str:
        found: str = peer.run("one two", headers={**GATEWAY, **headers}).headers["cf-aig-cache-status"]
        return found

    with serving(behaviour=Behaviour(gateway_cache=0)) as peer:
        assert [status(), status()] == ["MISS", "MISS"]
        ttl = {"cf-aig-cache-ttl": "120"}
        assert [status(**ttl), status(**ttl)] == ["MISS", "HIT"]
        peer.clock.now += 120
        assert status(**ttl) == "MISS"
        short = {"cf-aig-cache-ttl": "1", "cf-aig-cache-key": "k"}
        assert [status(**short), status(**short)] == ["MISS", "HIT"]  # no entry lives less than a minute
        assert peer.emulator.stats()["runs"] == 5


def test_gateways_that_do_not_exist_and_one_that_asks_for_a_token() -> None:
    with serving(behaviour=Behaviour(gateways=("mine",), gateway_token="gate")) as peer:
        assert refusal(peer.run(headers={"cf-aig-gateway-id": "other"})) == (400, 2001)
        assert refusal(older(peer, f"workers-ai/{K2_6}", CHAT, gateway="other")) == (400, 2001)
        assert refusal(peer.run(headers=GATEWAY)) == (401, 2009)
        wrong = {**GATEWAY, "cf-aig-authorization": "Bearer secret"}
        assert refusal(peer.run(headers=wrong)) == (401, 2009)
        right = {"cf-aig-authorization": "Bearer gate"}
        assert peer.run(headers={**GATEWAY, **right}).status_code == 200
        assert peer.run(headers={"cf-aig-gateway-id": "default", **right}).status_code == 200
        assert peer.run().status_code == 200  # past the gateway


def test_the_older_host() -> None:
    with serving() as peer:
        run = older(peer, f"workers-ai/{K2_6}", CHAT)
        assert run.json()["result"]["model"] == SIGNED
        assert "cf-aig-log-id" in run.headers
        chat = older(peer, "workers-ai/v1/chat/completions", {"model": K2_6, **CHAT})
        assert (chat.json()["object"], chat.json()["model"]) == ("chat.completion", SIGNED)
        compat = older(peer, "compat/chat/completions", {"model": f"workers-ai/{K2_6}", **CHAT})
        assert compat.json()["model"] == SIGNED
        assert refusal(older(peer, "compat/chat/completions", {"model": K2_6, **CHAT})) == (400, 2008)
        queued = older(peer, f"workers-ai/{K2_6}?queueRequest=true", {"requests": [CHAT]})
        request_id = queued.json()["result"]["request_id"]
        done = older(peer, f"workers-ai/{K2_6}?queueRequest=true", {"request_id": request_id})
        assert len(done.json()["result"]["results"]) == 1
        assert peer.poll(request_id).status_code == 200  # the same queue


def test_the_generic_form_needs_a_gateway() -> None:
    with serving() as peer:
        url = f"{peer.emulator.base_url}/accounts/{'a' * 32}/ai/run"
        headers = {"Authorization": "Bearer secret"}
        body = {"model": K2_6, "input": CHAT}
        assert refusal(peer.http.post(url, json=body, headers=headers)) == (400, 2001)
        reply = peer.http.post(url, json=body, headers={**headers, **GATEWAY})
        assert reply.json()["result"]["model"] == SIGNED
        assert refusal(peer.http.post(url, json={"model": K2_6}, headers={**headers, **GATEWAY})) == (400, 5006)


def test_a_gateway_gives_up_where_it_was_told_to() -> None:
    with serving(latency=0.5) as peer:
        assert refusal(peer.run(headers={**GATEWAY, "cf-aig-request-timeout": "20"})) == (504, 2014)
        assert peer.run(headers={**GATEWAY, "cf-aig-request-timeout": "20000"}).status_code == 200


# Accounts, plans, limits


def test_accounts_and_plans() -> None:
    with serving(behaviour=Behaviour(accounts=("a" * 32,), plan="free")) as peer:
        assert refusal(peer.run()) == (403, 5035)
        assert refusal(peer.run(model="@cf/nobody/nothing")) == (400, 5007)
        url = f"{peer.emulator.base_url}/accounts/{'b' * 32}/ai"
        headers = {"Authorization": "Bearer secret"}
        assert refusal(peer.http.post(f"{url}/run/{K2_6}", json=CHAT, headers=headers)) == (404, 7003)
        assert refusal(peer.http.get(f"{url}/models/search", headers=headers)) == (404, 7003)


def test_runs_and_the_queue_have_limits_of_their_own() -> None:
    behaviour = Behaviour(requests_per_minute=2, batch_requests_per_minute=1)
    with serving(behaviour=behaviour) as peer:
        peer.clock.now = 60_000_030.5  # half a minute before the next
        first = peer.run()
        assert first.headers["ratelimit"] == '"default";r=1;t=30'
        assert first.headers["ratelimit-policy"] == '"default";q=2;w=60'
        assert "retry-after" not in first.headers
        assert peer.chat().headers["ratelimit"] == '"default";r=0;t=30'
        over = peer.run()
        message = "AiError: AiError: inference request per min rate reached"
        assert (over.status_code, over.json()) == (429, failure(3021, message))
        assert (over.headers["ratelimit"], over.headers["retry-after"]) == ('"default";r=0;t=30', "30")
        assert peer.run(model="@cf/moonshotai/kimi-k2.5").status_code == 200  # each model has its own
        request_id = peer.submit(item())
        assert refusal(peer.poll(request_id)) == (429, 3021)
        peer.clock.now += 30
        assert peer.run().headers["ratelimit"] == '"default";r=1;t=60'
        assert peer.poll(request_id).headers["ratelimit-policy"] == '"default";q=1;w=60'
    with serving() as peer:
        assert "ratelimit" not in peer.run().headers


# The catalogue


def catalogue(peer: Peer, kind: str, **query: str) -> httpx.Response:
    url = f"{peer.emulator.base_url}/accounts/{'a' * 32}/ai/models/{kind}"
    return peer.http.get(url, params=query, headers={"Authorization": "Bearer secret"})


def test_the_catalogue_says_who_has_the_queue() -> Any:
    def properties(model: dict[str, Any]) -> dict[str, Any]:
        return {p["property_id"]: p["value"] for p in model["properties"]}

    with serving() as peer:
        value = catalogue(peer, "search").json()
        queues = {model["name"]: properties(model)["async_queue"] for model in value["result"]}
        assert queues == {
            "@cf/moonshotai/kimi-k2.5": "false",
            "@cf/moonshotai/kimi-k2.6": "true",
            "@cf/moonshotai/kimi-k2.7-code": "false",
        }
        assert (value["success"], value["result_info"]["total_count"]) == (True, 3)
        (found,) = catalogue(peer, "search", search="K2.6", task="Text Generation").json()["result"]
        assert properties(found)["context_window"] == "262144"
        assert [price["price"] for price in properties(found)["price"]] == [0.95, 0.16, 4.0]
        assert catalogue(peer, "search", task="Text Embeddings").json()["result"] == []
        page = catalogue(peer, "search", per_page="2", page="2").json()
        assert ([m["name"][-4:] for m in page["result"]], page["result_info"]["count"]) == (["code"], 1)
        denied = peer.http.get(f"{peer.emulator.base_url}/accounts/a/ai/models/search")
        assert refusal(denied) == (401, 10000)


@pytest.mark.parametrize(("model", "forms"), [(K2_6, 2), ("@cf/moonshotai/kimi-k2.5", 1)])
def test_a_models_schema(model: Any, forms: Any) -> None:
    with serving() as peer:
        schema = catalogue(peer, "schema", model=model).json()["result"]
        assert len(schema["input"]["anyOf"]) == forms
        assert "choices" in schema["output"]["required"]
        assert refusal(catalogue(peer, "schema", model="@cf/nobody/nothing")) == (400, 5007)
        assert refusal(catalogue(peer, "schema")) == (400, 5007)
