"""Server-sent events, and what else a synchronous request may meet."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from kimi_beam.emulator import Behaviour

from .peer import FORM_A, K2_6, NOTE, SIGNED, content, events, item, message, refusal, serving


def joined(parts: list[Any], field: str) -> str:
    return "".join(part["choices"][0]["delta"].get(field) or "" for part in parts if part.get("choices"))


def test_a_stream_of_a_run_is_the_captured_one() -> None:
    with serving() as peer:
        first, *rest, last, closing = events(peer.run("one two", stream=True))
        completion_id, padding = first.pop("id"), first.pop("p")
        assert re.fullmatch("[0-9a-f]{32}", completion_id)
        assert re.fullmatch("[a-z]+", padding)
        delta = {"role": "assistant", "content": ""}
        assert first == {
            "object": "chat.completion.chunk",
            "created": 1_784_180_000,
            "model": SIGNED,
            "choices": [{"index": 0, "delta": delta, "finish_reason": None, "logprobs": None, "token_ids": None}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 0, "total_tokens": 2},
        }
        assert {part["id"] for part in rest} == {completion_id}
        assert joined(rest, "reasoning_content") == NOTE
        assert joined(rest, "content") == 'A text of 2 words that begins with "one two".'
        assert {part["choices"][0]["finish_reason"] for part in rest} == {None}
        assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
        # 45 bytes of answer and 32 of reasoning
        usage = {
            "prompt_tokens": 2,
            "completion_tokens": 20,
            "total_tokens": 22,
            "prompt_tokens_details": {"cached_tokens": 0},
        }
        assert last["usage"] == usage
        assert closing == {"response": "", "usage": usage}
        counts = [part["usage"]["completion_tokens"] for part in rest]
        assert counts == sorted(counts)


def test_what_a_stream_may_do_otherwise() -> None:
    with serving(behaviour=Behaviour(streaming="ignored")) as peer:
        reply = peer.run("one two", stream=True)
        assert reply.headers["content-type"] == "application/json"
        assert message(reply)["content"] == 'A text of 2 words that begins with "one two".'
    with serving(behaviour=Behaviour(stream_usage="asked", stream_closing="never", reasoning_field="both")) as peer:
        parts = events(peer.run("one two", stream=True))
        assert not any("usage" in part for part in parts)
        assert joined(parts, "reasoning") == joined(parts, "reasoning_content") == NOTE
        last = events(peer.run("one two", stream=True, stream_options={"include_usage": True}))[-1]
        assert (last["choices"], last["usage"]["total_tokens"]) == ([], 22)
    with serving(behaviour=Behaviour(stream_closing="always", stream_echo=True)) as peer:
        *parts, closing = events(peer.chat(stream=True))
        assert closing["response"] == ""
        assert "".join(part.get("response", "") for part in parts) == joined(parts, "content") != ""


@pytest.mark.parametrize("url", ["run", "chat"])
def test_a_stream_with_a_schema_is_5023_and_with_json_object_is_not(url: Any) -> None:
    with serving() as peer:
        ask = peer.run if url == "run" else peer.chat
        assert refusal(ask(stream=True, response_format=FORM_A)) == (400, 5023)
        parts = events(ask(stream=True, response_format={"type": "json_object"}))
        assert json.loads(joined(parts, "content")) == {"total": "9.00"}


def test_an_error_is_the_first_event_and_a_stream_breaks_off() -> None:
    with serving(faults="stream_error=1") as peer:
        reply = peer.run(stream=True)
        assert reply.status_code == 200
        data, end = reply.text.split("\n\n")
        error = {"message": "AiError: AiError: Capacity temporarily exceeded, please try again.", "code": 3040}
        assert json.loads(data.removeprefix("data: "))["errors"] == [error]
        assert end == ""
        assert peer.emulator.stats()["documents"] == 0
        assert peer.run().status_code == 200  # not a stream
    with serving(faults="stream_cut=1") as peer:
        url = f"{peer.emulator.openai_url}/chat/completions"
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
        with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
            peer.http.post(url, json=body)
        assert peer.emulator.stats()["runs"] == 1


def test_a_streams_first_byte_does_not_wait_for_its_last() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with serving(latency=600.0) as peer:
        url = f"{peer.emulator.openai_url}/chat/completions"
        with peer.http.stream("POST", url, json=body) as reply:
            assert next(reply.iter_lines())
    with serving(latency=0.4) as peer:
        start = time.monotonic()
        peer.http.post(f"{peer.emulator.openai_url}/chat/completions", json=body)
        assert time.monotonic() - start >= 0.4


def test_a_long_run_is_cut_off_and_a_long_stream_is_not() -> None:
    with serving(latency=0.2, behaviour=Behaviour(cut_off=0.1)) as peer:
        reply = peer.run()
        assert refusal(reply) == (408, 3046)
        assert reply.json()["errors"][0]["message"].startswith("AiError: AiError: Request timeout (")
        assert len(events(peer.run(stream=True))) > 3


def test_a_busy_model_refuses_who_would_rather_not_wait() -> None:
    with serving(latency=1.0, behaviour=Behaviour(capacity=1)) as peer, ThreadPoolExecutor(2) as threads:
        first = threads.submit(peer.run)
        while not peer.emulator.stats()["runs"]:
            time.sleep(0.005)
        waiting = threads.submit(peer.run)
        assert refusal(peer.run(options={"rejectIfBusy": True})) == (429, 3040)
        assert [first.result().status_code, waiting.result().status_code] == [200, 200]
        assert peer.run(options={"rejectIfBusy": True}).status_code == 200
        assert refusal(peer.run(options=3)) == (400, 5006)


# OpenAI's form


def test_chat_completions_have_no_envelope_and_their_errors_do() -> None:
    with serving() as peer:
        value = peer.chat(response_format=FORM_A).json()
        assert re.fullmatch("[0-9a-f]{32}", value.pop("id"))
        assert value == {
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
        }
        assert refusal(peer.chat(model="@cf/nobody/nothing")) == (400, 5007)
        assert refusal(peer.chat(model=None)) == (400, 5007)
        assert refusal(peer.chat(model=7)) == (400, 5006)
        assert refusal(peer.chat(messages=[])) == (400, 5006)
        models = peer.http.get(f"{peer.emulator.base_url}/accounts/a/ai/v1/models")
        assert refusal(models) == (405, 7001)
        assert "response" not in events(peer.chat(stream=True))[-1]


def test_errors_of_chat_completions_in_openais_form() -> None:
    with serving(behaviour=Behaviour(openai_errors="openai")) as peer:
        reply = peer.chat(messages=[])
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert error["code"] == "invalid_prompt"
        assert error["message"].startswith("AiError: Bad input: Error: ")
        assert refusal(peer.run(messages=[])) == (400, 5006)


def test_a_server_that_is_not_cloudflares() -> None:
    with serving() as peer:
        url = peer.emulator.openai_url
        ids = [model["id"] for model in peer.http.get(f"{url}/models").json()["data"]]
        assert K2_6 in ids
        body = {"model": "llama3", "messages": [{"role": "user", "content": "x"}]}
        reply = peer.http.post(f"{url}/chat/completions", json=body)  # no token at all
        assert reply.json()["model"] == "llama3 (emulator: rule-based, not Kimi)"
        with_schema = {**body, "stream": True, "response_format": FORM_A}
        parts = events(peer.http.post(f"{url}/chat/completions", json=with_schema))
        assert "p" not in parts[0]
        assert "usage" not in parts[0]
        assert joined(parts, "content") == "{}"
        error = peer.http.post(f"{url}/chat/completions", json={"model": "llama3"})
        assert (error.status_code, error.json()["error"]["code"]) == (400, "invalid_prompt")
    with serving(token="right", behaviour=Behaviour(openai_models=("llama3",))) as peer:
        url = peer.emulator.openai_url
        assert peer.http.get(f"{url}/models").status_code == 401
        assert peer.http.post(f"{url}/chat/completions", json=body).json()["error"]["code"] == "invalid_api_key"
        headers = {"Authorization": "Bearer right"}
        assert peer.chat(url, model="llama3", headers=headers).status_code == 200
        reply = peer.chat(url, model="other", headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
        models = peer.http.get(f"{url}/models", headers=headers).json()
        assert [model["id"] for model in models["data"]] == ["llama3"]


def test_any_internal_code_can_be_met() -> None:
    statuses = {3036: 429, 3046: 408, 5028: 410, 3042: 404, 2014: 504}
    for code, status in statuses.items():
        with serving(faults=f"error_code=1:{code}") as peer:
            assert refusal(peer.run()) == (status, code)
            assert refusal(peer.post({"requests": [item()]})) == (status, code)


def test_neurons_are_told_with_answers_only() -> None:
    with serving() as peer:
        # 6 tokens in at 0.95 and 18 out at 4.00 dollars a million, 0.011 dollars a thousand neurons
        assert float(peer.run(response_format=FORM_A).headers["cf-ai-neurons"]) == pytest.approx(7.063636)
        assert "cf-ai-neurons" not in peer.run(messages=[]).headers


def test_the_queue_ignores_stream() -> None:
    with serving() as peer:
        (part,) = peer.results(peer.submit(item(stream=False), model=K2_6))
        assert content(part) == '{"company":"Corner Cafe","total":"9.00"}'
