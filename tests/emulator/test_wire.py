"""Every shape the service answers, over a real port, against literals written out from the wire contract."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from kimi_beam.emulator import FAULTS, Behaviour
from kimi_beam.emulator.leaf_faults import LEAF_FAULTS

from .peer import K2_6, NOTE, OK, SCHEMA, SIGNED, UUID, content, failure, item, serving

# Batch


def test_submit_pending_and_done() -> Any:
    with serving(latency=10, seed=1) as peer:
        submitted = peer.post({"requests": [item(reference="rec-0001")]})
        assert submitted.status_code == 200
        assert re.fullmatch(UUID, submitted.headers["cf-ai-req-id"])
        request_id = submitted.json()["result"]["request_id"]
        assert re.fullmatch(UUID, request_id)

        def pending(status: str) -> dict[str, Any]:
            return {"result": {"status": status, "request_id": request_id, "model": K2_6}, **OK}

        assert submitted.json() == pending("queued")
        assert peer.poll(request_id).json() == pending("queued")
        peer.clock.now += 5
        assert peer.poll(request_id, query="").json() == pending("running")
        peer.clock.now += 5
        done = peer.poll(request_id)
        assert done.status_code == 200
        value = done.json()
        completion_id = value["result"]["results"][0]["result"].pop("id")
        assert re.fullmatch("[0-9a-f]{32}", completion_id)
        prompt, completion = 7, 18  # 26 bytes of prompt; 39 of answer and 32 of reasoning: four bytes a token
        assert value == {
            "result": {
                "results": [
                    {
                        "index": 0,
                        "success": True,
                        "external_reference": "rec-0001",
                        "result": {
                            "object": "chat.completion",
                            "created": 1_784_180_010,
                            "model": SIGNED,
                            "metadata": {"weight_version": "default"},
                            "choices": [
                                {
                                    "index": 0,
                                    "finish_reason": "stop",
                                    "logprobs": None,
                                    "matched_stop": 163586,
                                    "message": {
                                        "role": "assistant",
                                        "content": '{"company":"Corner Cafe","total":"9.00"}',
                                        "reasoning_content": NOTE,
                                        "tool_calls": None,
                                    },
                                }
                            ],
                            "usage": {
                                "prompt_tokens": prompt - 1,
                                "completion_tokens": completion,
                                "total_tokens": prompt - 1 + completion,
                                "prompt_tokens_details": None,
                            },
                        },
                    }
                ],
                "usage": {
                    "prompt_tokens": prompt - 1,
                    "completion_tokens": completion,
                    "total_tokens": prompt - 1 + completion,
                    "prompt_tokens_details": {"cached_tokens": 0},
                },
            },
            **OK,
        }
        peer.clock.now += 1000
        assert peer.poll(request_id).content == done.content


def test_the_reference_is_absent_where_none_was_sent_and_order_is_not_that_of_the_submit() -> None:
    with serving(seed=1) as peer:
        parts = peer.results(peer.submit(*(item(f"Shop {n}\nTotal: {n}.00") for n in range(20))))
        indexes = [part["index"] for part in parts]
        assert sorted(indexes) == list(range(20)) != indexes
        assert not any("external_reference" in part for part in parts)
        assert all(json.loads(content(part))["total"] == f"{part['index']}.00" for part in parts)
    with serving(seed=1) as again, serving(seed=2) as other:
        items = [item(f"Shop {n}\nTotal: {n}.00") for n in range(20)]
        assert [part["index"] for part in again.results(again.submit(*items))] == indexes
        assert [part["index"] for part in other.results(other.submit(*items))] != indexes


def test_unknown_expired_foreign_and_odd_request_ids() -> None:
    unknown = "6283595c-babb-4dd6-b8a7-f796876f490f"
    missing = failure(5504, f"AiError: AiError: Request not found in queue ({unknown})")
    with serving() as peer:
        reply = peer.poll(unknown)
        assert (reply.status_code, reply.json()) == (404, missing)
        request_id = peer.submit(item())
        assert peer.poll(request_id, model="@cf/moonshotai/kimi-k2.5", query="").status_code == 404
        peer.clock.now += 24 * 3600 - 1
        assert peer.poll(request_id).status_code == 200
        peer.clock.now += 1
        assert peer.poll(request_id).json()["errors"][0]["code"] == 5504
        assert peer.poll(7).status_code == 404  # type: ignore[arg-type]
    with serving(behaviour=Behaviour(unknown_id_status=400)) as peer:
        assert peer.poll(unknown).status_code == 400


def test_a_body_without_requests_is_accepted_and_dies_later() -> None:
    with serving() as peer:
        reply = peer.post(item())
        assert reply.status_code == 200
        request_id = reply.json()["result"]["request_id"]
        dead = peer.poll(request_id)
        message = f"AiError: AiError: 1 validation error for VllmBatchRequest ({request_id})"
        assert (dead.status_code, dead.json()) == (500, failure(3030, message))
        assert peer.emulator.stats()["documents"] == 0
    with serving(behaviour=Behaviour(job_failure="status")) as peer:
        request_id = peer.post(item()).json()["result"]["request_id"]
        error = {"code": 3030, "message": "1 validation error for VllmBatchRequest"}
        result = {"status": "error", "request_id": request_id, "model": K2_6, "error": error}
        assert peer.poll(request_id).json() == {"result": result, **OK}


def test_too_large_a_body_is_accepted_and_never_finishes() -> None:
    large = item("x" * 10_000_000)
    with serving() as peer:
        request_id = peer.submit(large)
        peer.clock.now += 23 * 3600
        assert peer.poll(request_id).json()["result"]["status"] == "queued"
        peer.clock.now += 3600
        assert peer.poll(request_id).json()["errors"][0]["code"] == 5504
        assert peer.emulator.stats()["documents"] == 0
        assert peer.post(large, query="").status_code == 413
    with serving(behaviour=Behaviour(oversize="refused", size_limit=1000)) as peer:
        reply = peer.post({"requests": [item("x" * 1000)]})
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (413, 3006)


def test_the_alternatives_of_what_is_not_documented() -> None:
    with serving(behaviour=Behaviour(array="responses", order="submitted")) as peer:
        result = peer.poll(peer.submit(item(), item(reference="r"))).json()["result"]
        assert "results" not in result
        assert [(p["id"], p["success"], p["external_reference"]) for p in result["responses"]] == [
            (0, True, None),
            (1, True, "r"),
        ]
        assert "index" not in result["responses"][0]
    with serving(behaviour=Behaviour(empty_requests="accepted")) as peer:
        assert peer.results(peer.submit()) == []
    with serving(behaviour=Behaviour(no_queue_status=405)) as peer:
        assert peer.post({"requests": [item()]}, model="@cf/moonshotai/kimi-k2.7-code").status_code == 405
    with serving(behaviour=Behaviour(k2_5_queue="alias")) as peer:
        reply = peer.post({"requests": [item()]}, model="@cf/moonshotai/kimi-k2.5").json()
        assert reply["result"]["model"] == "@cf/moonshotai/kimi-k2.5"
        done = peer.poll(reply["result"]["request_id"], model="@cf/moonshotai/kimi-k2.5").json()
        signed = "@cf/moonshotai/kimi-k2.5 (emulator: rule-based, not Kimi)"
        assert done["result"]["results"][0]["result"]["model"] == signed
    with serving(behaviour=Behaviour(enforce_schema=False)) as peer:
        (part,) = peer.results(peer.submit(item()))
        assert json.loads(content(part)) == {"total": "9.00"}


def test_equal_prefixes_are_cached_and_reported_for_the_job_or_each_item() -> None:
    system = {"role": "system", "content": "s" * 4 * 130}
    items = [{"messages": [system, {"role": "user", "content": f"Total: {n}"}]} for n in range(3)]
    with serving() as peer:
        result = peer.poll(peer.submit(*items)).json()["result"]
        assert result["usage"]["prompt_tokens_details"] == {"cached_tokens": 2 * 128}
        assert {p["result"]["usage"]["prompt_tokens_details"] for p in result["results"]} == {None}
    with serving(behaviour=Behaviour(cached_tokens="item", order="submitted")) as peer:
        parts = peer.results(peer.submit(*items))
        details = [part["result"]["usage"]["prompt_tokens_details"]["cached_tokens"] for part in parts]
        assert details == [0, 128, 128]


def test_the_limit_of_tokens_cuts_the_answer() -> None:
    with serving(behaviour=Behaviour(order="submitted")) as peer:
        cut, none, whole = peer.results(
            peer.submit(item(max_completion_tokens=10), item(max_tokens=8), item(max_tokens=4096))
        )
        assert content(cut) == '{"compan'
        assert cut["result"]["choices"][0]["finish_reason"] == "length"
        assert cut["result"]["choices"][0]["matched_stop"] is None
        assert cut["result"]["usage"]["completion_tokens"] == 10
        assert content(none) is None
        assert content(whole) == '{"company":"Corner Cafe","total":"9.00"}'


# Synchronous


def test_a_synchronous_run() -> None:
    with serving() as peer:
        reply = peer.post(item(), query="")
        value = reply.json()
        assert re.fullmatch("[0-9a-f]{32}", value["result"].pop("id"))
        assert value == {
            "result": {
                "object": "chat.completion",
                "created": 1_784_180_000,
                "model": SIGNED,
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "logprobs": None,
                        "message": {
                            "role": "assistant",
                            "content": '{"company":"Corner Cafe","total":"9.00"}',
                            "reasoning_content": NOTE,
                            "tool_calls": None,
                        },
                    }
                ],
                "usage": {
                    "prompt_tokens": 6,
                    "completion_tokens": 18,
                    "total_tokens": 24,
                    "prompt_tokens_details": {"cached_tokens": 0},
                },
            },
            **OK,
        }
        assert peer.emulator.stats()["runs"] == 1


@pytest.mark.parametrize("model", ["@cf/moonshotai/kimi-k2.5", "@cf/moonshotai/kimi-k2.7-code"])
def test_models_without_a_queue_still_run(model: Any) -> None:
    with serving() as peer:
        signed = f"{model} (emulator: rule-based, not Kimi)"
        assert peer.post(item(), query="", model=model).json()["result"]["model"] == signed
        reply = peer.post({"requests": [item()]}, model=model)
        message = "AiError: AiError: This model does not support request queuing"
        assert (reply.status_code, reply.json()) == (400, failure(8007, message))


def test_a_prompt_does_as_well_as_messages_and_the_model_may_be_escaped() -> None:
    with serving() as peer:
        reply = peer.post({"prompt": "hello"}, query="", model="%40cf%2Fmoonshotai%2Fkimi-k2.6")
        assert reply.json()["result"]["choices"][0]["message"]["content"].startswith("A text of 1 words")


# The literal exchanges of tests/wire: the emulator's replies have the same keys, types and numbers of errors

WIRE = {
    exchange["name"]: exchange
    for path in sorted((Path(__file__).parent.parent / "wire").glob("*.json"))
    if (exchange := json.loads(path.read_text()))["kind"] in ("run", "chat", "stream")
}
# What an emulator is started with to answer an exchange's own request as the exchange says.
MAKES: dict[str, dict[str, Any]] = {
    "run done on K2.6": {},
    "run with all tokens spent on thinking": {"faults": "empty=1"},
    "run that called the function it was told to": {},
    "run that wants a function called": {},
    "run refused per minute": {"behaviour": Behaviour(requests_per_minute=0)},
    "run refused for capacity": {"faults": "capacity=1"},
    "run timed out": {"faults": "error_code=1:3046"},
    "run refused because JSON mode could not be met": {"faults": "json_mode=1"},
    "run refused because the model has no JSON Schema mode": {"behaviour": Behaviour(without_json_schema=(K2_6,))},
    "run whose function ran out of tokens": {},
    "run refused for its image": {},
    "run refused without the paid plan": {"behaviour": Behaviour(plan="free")},
    "chat done without an envelope": {},
    "chat refused in the envelope for its model": {},
    "chat refused in the openai form": {"behaviour": Behaviour(openai_errors="openai")},
    "chat refused by a gateway that is missing": {"behaviour": Behaviour(gateways=())},
    "stream of a run": {},
    "stream with the text twice and the reasoning in both places": {
        "behaviour": Behaviour(stream_echo=True, reasoning_field="both")
    },
    "stream of a function call": {},
    "stream with its usage in a last chunk": {"behaviour": Behaviour(stream_usage="asked")},
    "stream that begins with an error": {"faults": "stream_error=1"},
    "stream that broke off": {"faults": "stream_cut=1"},
    "stream refused with a schema": {},
    "stream answered in one piece": {"behaviour": Behaviour(streaming="ignored")},
}
OTHER_MODELS = {"run done in the older form", "stream in the older form"}  # no Kimi answers so


def shape(value: Any) -> Any:
    """Keys and types, without what they hold; of a list which shapes there are."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape(item), sort_keys=True) for item in value})
    return type(value).__name__


def shape_of_body(body: str) -> Any:
    if not body.startswith("data: "):
        return shape(json.loads(body))
    parts = [part.removeprefix("data: ") for part in body.split("\n\n") if part]
    ends = parts[-1] == "[DONE]"
    return shape([json.loads(part) for part in parts[: len(parts) - ends]]), ends


def test_every_exchange_of_a_synchronous_request_is_either_made_or_no_kimis() -> None:
    assert set(WIRE) == set(MAKES) | OTHER_MODELS


@pytest.mark.parametrize("name", MAKES)
def test_a_synchronous_exchange_is_made_as_it_is_written(name: Any) -> None:
    request, reply = WIRE[name]["request"], WIRE[name]["reply"]
    with serving(**MAKES[name]) as peer:
        url = peer.emulator.base_url + request["path"].removeprefix("/client/v4")
        headers = {"Authorization": "Bearer secret"}
        if "gateway" in name:
            headers["cf-aig-gateway-id"] = "nowhere"
        body = json.loads(json.dumps(request["body"]).replace("\\u2026", "postcode: 10115 lookup_city"))
        pieces: list[bytes] = []
        with (
            suppress(httpx.NetworkError, httpx.RemoteProtocolError),
            peer.http.stream("POST", url, json=body, headers=headers) as made,
        ):
            pieces.extend(made.iter_bytes())
    assert made.status_code == reply["status"]
    told = {key: made.headers.get(key, "").partition(";")[0] for key in ("content-type",)}
    assert told == {"content-type": reply["headers"]["content-type"]}
    assert {"cf-ai-req-id", "retry-after", "ratelimit"} & set(reply["headers"]) <= set(made.headers)
    expected = reply["body"] if isinstance(reply["body"], str) else json.dumps(reply["body"])
    content = b"".join(pieces).decode()
    if "openai form" in name:  # OpenAI's own pages have two more, which the one report leaves out
        error = json.loads(content)["error"]
        assert (error.pop("type"), error.pop("param")) == ("invalid_request_error", None)
        content = json.dumps({"error": error})
    assert shape_of_body(content) == shape_of_body(expected)
    codes = [error["code"] for error in reply["body"].get("errors", [])] if isinstance(reply["body"], dict) else []
    assert not codes or [error["code"] for error in json.loads(content)["errors"]] == codes


# Refusals


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (b"{", ""),
        (b"[]", ""),
        (b'"x"', "?queueRequest=true"),
        (b"[" * 100_000, ""),
        (b'{"a":' * 500 + b"1" + b"}" * 500, ""),
        ({}, ""),
        ({"messages": []}, ""),
        ({"messages": "hi"}, ""),
        ({"messages": ["hi"]}, ""),
        ({"messages": [{"content": "no role"}]}, ""),
        ({}, "?queueRequest=true"),
        ({"requests": []}, "?queueRequest=true"),
        ({"requests": {}}, "?queueRequest=true"),
        ({"requests": ["x"]}, "?queueRequest=true"),
        ({"requests": [{}]}, "?queueRequest=true"),
        ({"requests": [{**item(), "external_reference": 7}]}, "?queueRequest=true"),
        ({"requests": [item()]}, ""),
    ],
)
def test_bad_bodies(body: Any, query: Any) -> None:
    with serving() as peer:
        reply = peer.post(body, query=query)
        assert reply.status_code == 400
        (error,) = reply.json()["errors"]
        assert error["code"] == 5006
        assert error["message"].startswith("AiError: Bad input: Error: ")


def test_missing_messages_has_the_documented_message() -> None:
    with serving() as peer:
        assert "oneOf at '/' not met" in peer.post({}, query="").json()["errors"][0]["message"]


def test_a_schema_nested_too_deeply_is_refused_and_an_odd_one_is_not() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"items": deep}
    body = json.dumps({"requests": [item(response_format={"type": "json_schema", "json_schema": deep})]}).encode()
    with serving() as peer:
        assert peer.post(body).json()["errors"][0]["code"] == 5006
        for odd in (True, 7, {"type": 3}, {"$ref": "#"}, {"properties": {"a": {"pattern": "(a+)+$"}}}):
            request_id = peer.submit(
                item("a: " + "a" * 60, response_format={"type": "json_schema", "json_schema": odd})
            )
            assert peer.results(request_id)[0]["success"]


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [("@cf/moonshotai/kimi-k3", 403, 5018), ("@cf/nobody/nothing", 400, 5007), ("", 400, 5007)],
)
def test_models_that_are_not_offered(model: Any, status: Any, code: Any) -> None:
    with serving() as peer:
        reply = peer.post({"requests": [item()]}, model=model)
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (status, code)


def test_authentication() -> None:
    with serving() as peer:
        url = f"{peer.emulator.base_url}/accounts/any-id/ai/run/{K2_6}"
        denied = failure(10000, "Authentication error")
        reply = peer.http.post(url, json=item())
        assert (reply.status_code, reply.json()) == (401, denied)
        for malformed in ("Basic abc", "Bearer", "token"):
            reply = peer.http.post(url, json=item(), headers={"Authorization": malformed})
            assert (reply.status_code, reply.json()["errors"][0]["code"]) == (400, 9106)
        assert peer.http.post(url, json=item(), headers={"X-Auth-Key": "k", "X-Auth-Email": "e"}).status_code == 200
    with serving(token="right") as peer:
        assert peer.post(item(), query="", headers={"Authorization": "Bearer right"}).status_code == 200
        assert peer.post(item(), query="", headers={"Authorization": "Bearer wrong"}).json() == denied
        headers = {"X-Auth-Key": "k", "X-Auth-Email": "e"}
        url = f"{peer.emulator.base_url}/accounts/any-id/ai/run/{K2_6}"
        assert peer.http.post(url, json=item(), headers=headers).status_code == 401


def test_wrong_routes_and_methods() -> None:
    with serving() as peer:
        root = peer.emulator.base_url
        reply = peer.http.get(f"{root}/accounts/a/ai/run/{K2_6}")
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (405, 7001)
        reply = peer.http.post(f"{root}/nowhere")
        assert (reply.status_code, reply.json()) == (400, failure(7000, "No route for that URI"))
        assert re.fullmatch(UUID, reply.headers["cf-ai-req-id"])


def test_a_limit_of_requests_a_minute() -> None:
    with serving(behaviour=Behaviour(requests_per_minute=2)) as peer:
        peer.clock.now = 60_000_030.5  # half a minute before the next
        assert [peer.post(item(), query="").status_code for _ in range(3)] == [200, 200, 429]
        reply = peer.post(item(), query="")
        message = "AiError: AiError: inference request per min rate reached"
        assert (reply.headers["retry-after"], reply.json()) == ("30", failure(3021, message))
        peer.clock.now += 30
        assert peer.post(item(), query="").status_code == 200


# Faults


def test_faults_of_a_whole_request() -> None:
    with serving(faults="rate_limit=1:2") as peer:
        reply = peer.post({"requests": [item()]})
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "2")
        assert reply.json()["errors"][0]["code"] == 3021
    with serving(faults="rate_limit_date=1:30") as peer:
        reply = peer.post({"request_id": "x"})
        assert parsedate_to_datetime(reply.headers["retry-after"]).timestamp() == int(peer.clock.now) + 30
    with serving(faults="capacity=1") as peer:
        reply = peer.post(item(), query="")
        message = "AiError: AiError: Capacity temporarily exceeded, please try again."
        assert (reply.status_code, reply.json()) == (429, failure(3040, message))
    with serving(faults="error_500=1") as peer:
        reply = peer.post({"requests": [item()]})
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (500, 8005)
    with serving(faults="error_502_bare=1") as peer:
        reply = peer.post({"requests": [item()]})
        assert (reply.status_code, reply.headers["content-type"]) == (502, "text/html; charset=utf-8")
        assert reply.text.startswith("<html>")
        assert peer.emulator.stats()["submits"] == 0


@pytest.mark.parametrize(("fault", "accepted"), [("drop_before_accept", 0), ("drop_after_accept", 1)])
@pytest.mark.parametrize("query", ["?queueRequest=true", ""])
def test_a_dropped_connection_is_really_dropped(fault: Any, accepted: Any, query: Any) -> None:
    with serving(faults=f"{fault}=1") as peer:
        with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
            peer.post({"requests": [item()]} if query else item(), query=query)
        stats = peer.emulator.stats()
        assert stats["submits"] + stats["runs"] == stats["documents"] == accepted
        assert stats["faults"] == {fault: 1}


@pytest.mark.parametrize("fault", ["never_ends", "expired", "failed_job"])
def test_faults_of_a_job(fault: Any) -> None:
    with serving(faults=f"{fault}=1") as peer:
        request_id = peer.submit(item())
        reply = peer.poll(request_id)
        seen = (reply.status_code, reply.json()["result"].get("status"), [e["code"] for e in reply.json()["errors"]])
        assert (
            seen
            == {"never_ends": (200, "queued", []), "expired": (404, None, [5504]), "failed_job": (500, None, [5001])}[
                fault
            ]
        )
        assert peer.emulator.stats()["documents"] == 0


def test_faults_of_an_items_place() -> Any:
    def parts(fault: str, **options: Any) -> list[dict[str, Any]]:
        with serving(faults=f"{fault}=1", **options) as peer:
            return peer.results(peer.submit(item(reference="r")))

    assert parts("missing_item") == []
    one, two = parts("doubled_item")
    assert one == two
    known, stranger = sorted(parts("unknown_reference"), key=lambda part: part["index"])
    assert (known["external_reference"], known["success"]) == ("r", True)
    assert stranger["external_reference"].startswith("nobody-sent-")
    error = {"code": 3030, "message": "AiError: the request could not be processed"}
    assert parts("failed_item") == [{"index": 0, "success": False, "error": error, "external_reference": "r"}]
    in_result = parts("failed_item", behaviour=Behaviour(item_failure="result"))
    assert in_result == [{"index": 0, "success": False, "result": {"errors": [error]}, "external_reference": "r"}]
    assert parts("failed_item", behaviour=Behaviour(item_failure="missing")) == []


@pytest.mark.parametrize("query", ["?queueRequest=true", ""])
def test_faults_of_an_answers_text(query: Any) -> Any:
    good = '{"company":"Corner Cafe","total":"9.00"}'

    def answered(fault: str) -> tuple[Any, str]:
        with serving(faults=f"{fault}=1") as peer:
            if query:
                result = peer.results(peer.submit(item()))[0]["result"]
            else:
                result = peer.post(item(), query="").json()["result"]
            assert peer.emulator.stats()["faults"] == {fault: 1}
            assert result["choices"][0]["message"]["reasoning_content"] == NOTE
            return result["choices"][0]["message"]["content"], result["choices"][0]["finish_reason"]

    assert answered("fenced") == (f"```json\n{good}\n```", "stop")
    text, reason = answered("prose")
    assert good in text
    assert not text.startswith("{")
    assert reason == "stop"
    text, reason = answered("truncated")
    assert good.startswith(text)
    assert text != good
    assert reason == "length"
    assert answered("empty") == (None, "length")
    text, reason = answered("invalid")
    assert (json.loads(text), reason) == ({"total": "9.00"}, "stop")


def test_a_failed_item_of_a_synchronous_run() -> None:
    with serving(faults="failed_item=1") as peer:
        reply = peer.post(item(), query="")
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (500, 8005)


def test_under_all_faults_every_one_is_seen_and_a_run_can_be_repeated() -> Any:
    def run() -> dict[str, Any]:
        with serving(seed=5, faults="all=0.25", behaviour=Behaviour(event_queues=("q",))) as peer:
            for n in range(500):
                with suppress(httpx.NetworkError, httpx.RemoteProtocolError):
                    peer.post({"prompt": f"Shop {n}", "stream": True}, query="")
                with suppress(httpx.NetworkError, httpx.RemoteProtocolError):
                    peer.post(item(f"```document\nShop {n}\n```\n```problems\nno total\n```"), query="")
                try:
                    reply = peer.post({"requests": [item(f"Shop {n}\nTotal: {n}.00"), item(f"Stall {n}")]})
                    if reply.status_code == 200:
                        for _ in range(5):  # many a poll fails, and some faults strike those that find a finished job
                            peer.poll(reply.json()["result"]["request_id"])
                except (httpx.NetworkError, httpx.RemoteProtocolError):
                    pass
            return peer.emulator.stats()

    first = run()
    assert set(first["faults"]) == set(FAULTS) - set(LEAF_FAULTS), "all does not name those of single values"
    assert first == run()


# What it counts, and what a test may replace


def test_statistics_say_what_was_paid_twice() -> None:
    with serving(latency=10) as peer:
        first, second = item("Total: 1"), item("Total: 2")
        peer.submit(first, second)
        peer.submit(first)
        again = peer.submit(first)
        root = peer.emulator.base_url.removesuffix("/client/v4")
        stats = peer.http.get(f"{root}/stats").json()
        expected = {
            "submits": 3,
            "items": 4,
            "polls": 0,
            "runs": 0,
            "conversions": 0,
            "throttled": 0,
            "documents": 2,
            "documents_paid_more_than_once": 1,
            "paid_twice": 2,
            "jobs_in_flight": 3,
            "most_jobs_in_flight": 3,
            "faults": {},
            "events": dict.fromkeys(("pulls", "acks", "sent", "delivered", "acknowledged", "handed_back"), 0),
            "prompt_tokens": 8,
            "cached_tokens": 0,
            "completion_tokens": 0,
        }
        assert stats == expected == peer.emulator.stats()
        peer.clock.now += 10
        assert len(peer.results(again)) == 1
        stats = peer.emulator.stats()
        assert (stats["polls"], stats["jobs_in_flight"], stats["most_jobs_in_flight"]) == (1, 0, 3)
        assert stats["completion_tokens"] > 0
        assert peer.http.post(f"{root}/reset").json()["documents"] == 0
        assert len(peer.results(again)) == 1


def test_a_function_can_answer_instead_of_the_rules() -> Any:
    asked = []

    def answer(messages: list[Any], schema: dict[str, Any] | None) -> str:
        asked.append((messages, schema))
        if messages[0]["content"] == "bad":
            raise ValueError("no such luck")
        return "my own"

    with serving(answer=answer, behaviour=Behaviour(order="submitted")) as peer:
        good, bad = peer.results(peer.submit(item("good"), {"messages": [{"role": "user", "content": "bad"}]}))
        assert content(good) == "my own"
        assert good["result"]["model"] == f"{K2_6} (emulator)"
        assert peer.post(item("good"), query="").json()["result"]["model"] == f"{K2_6} (emulator)"
        assert bad["error"]["message"] == "AiError: ValueError('no such luck')"
        assert asked[0] == ([{"role": "user", "content": "good"}], SCHEMA)
        assert [schema for _, schema in asked] == [SCHEMA, None, SCHEMA]
        assert peer.post(item("bad"), query="").json()["errors"][0]["code"] == 8005
