"""The emulator answers two real clients: OpenAI's Python SDK and Cloudflare's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kimi_beam.emulator import Behaviour, Emulator

from .peer import FORM_A, K2_6, NOTE, SCHEMA, SIGNED

cloudflare = pytest.importorskip("cloudflare")
openai = pytest.importorskip("openai")

ACCOUNT = "a" * 32
CHAT: list[Any] = [{"role": "user", "content": "Corner Cafe\nTotal: 9.00"}]
ANSWER = {"company": "Corner Cafe", "total": "9.00"}
TOOL: Any = {"type": "function", "function": {"name": "receipt", "parameters": SCHEMA}}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(token="secret") as emulator:
        yield emulator


@pytest.fixture(params=["workers-ai", "elsewhere"])
def client(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Any]:
    url = f"{emulator.base_url}/accounts/x/ai/v1" if request.param == "workers-ai" else emulator.openai_url
    http = openai.DefaultHttpxClient(trust_env=False)  # a proxy of the environment would be asked for 127.0.0.1
    with openai.OpenAI(base_url=url, api_key="secret", http_client=http, max_retries=0) as client:
        yield client


def test_openai_chat_completions(client: Any) -> None:
    done = client.chat.completions.create(model=K2_6, messages=CHAT, max_completion_tokens=100)
    assert done.model == SIGNED
    assert done.choices[0].finish_reason == "stop"
    assert done.choices[0].message.content == 'A text of 4 words that begins with "Corner Cafe".'
    assert done.choices[0].message.reasoning_content == NOTE
    assert done.usage.prompt_tokens_details.cached_tokens == 0
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens


def test_openai_streaming(client: Any) -> None:
    options = {"include_usage": True}
    with client.chat.completions.create(model=K2_6, messages=CHAT, stream=True, stream_options=options) as stream:
        chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == 'A text of 4 words that begins with "Corner Cafe".'
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
    assert chunks[-1].usage.prompt_tokens == 6


def test_openai_streaming_helper(client: Any) -> None:
    with client.chat.completions.stream(model=K2_6, messages=CHAT, tools=[TOOL]) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments) == ANSWER


def test_openai_tools(client: Any) -> None:
    forced: Any = {"type": "function", "function": {"name": "receipt"}}
    done = client.chat.completions.create(model=K2_6, messages=CHAT, tools=[TOOL], tool_choice=forced)
    (call,) = done.choices[0].message.tool_calls
    assert (done.choices[0].finish_reason, call.type, call.function.name) == ("tool_calls", "function", "receipt")
    assert json.loads(call.function.arguments) == ANSWER
    turns = [
        *CHAT,
        {"role": "assistant", "content": "", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "stored"},
    ]
    done = client.chat.completions.create(model=K2_6, messages=turns, tools=[TOOL])
    assert (done.choices[0].finish_reason, done.choices[0].message.tool_calls) == ("stop", None)


def test_openai_json_schema(client: Any) -> None:
    done = client.chat.completions.create(model=K2_6, messages=CHAT, response_format=FORM_A)
    assert json.loads(done.choices[0].message.content) == ANSWER


def test_openai_errors(emulator: Any, client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=K2_6, messages=[])
    assert "Bad input" in caught.value.response.text
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").chat.completions.create(model=K2_6, messages=CHAT)
    if client.base_url.path.startswith("/client"):
        with pytest.raises(openai.APIStatusError) as refused:
            client.models.list()
        assert refused.value.status_code == 405
    else:
        assert K2_6 in [model.id for model in client.models.list()]


def test_openai_retries_where_it_is_told_to_wait() -> None:
    with (
        Emulator(faults="rate_limit=0.7:0", seed=3) as emulator,
        openai.OpenAI(
            base_url=f"{emulator.base_url}/accounts/x/ai/v1",
            api_key="t",
            http_client=openai.DefaultHttpxClient(trust_env=False),
            max_retries=9,
        ) as client,
    ):
        assert client.chat.completions.create(model=K2_6, messages=CHAT).model == SIGNED
        assert emulator.stats()["faults"]["rate_limit"] > 0


@pytest.fixture
def official(emulator: Emulator) -> Iterator[Any]:
    http = cloudflare.DefaultHttpxClient(trust_env=False)
    with cloudflare.Cloudflare(
        base_url=emulator.base_url, api_token="secret", http_client=http, max_retries=0
    ) as client:
        yield client


def test_cloudflare_run(official: Any) -> None:
    done = official.ai.run(
        K2_6, account_id=ACCOUNT, messages=CHAT, response_format=FORM_A, extra_body={"max_completion_tokens": 100}
    )
    assert done["model"] == SIGNED
    assert json.loads(done["choices"][0]["message"]["content"]) == ANSWER
    assert done["usage"]["prompt_tokens"] == 6


def test_cloudflare_run_errors(official: Any) -> None:
    with pytest.raises(cloudflare.BadRequestError) as caught:
        official.ai.run("@cf/nobody/nothing", account_id=ACCOUNT, messages=CHAT)
    assert [error.code for error in caught.value.errors] == [5007]
    with pytest.raises(cloudflare.AuthenticationError):
        official.with_options(api_token="wrong").ai.run(K2_6, account_id=ACCOUNT, messages=CHAT)


def test_cloudflare_queue_and_catalogue(official: Any) -> None:
    queue = {"extra_query": {"queueRequest": "true"}, "account_id": ACCOUNT}
    submitted = official.ai.run(K2_6, extra_body={"requests": [{"messages": CHAT}]}, **queue)
    assert submitted["status"] == "queued"
    done = official.ai.run(K2_6, extra_body={"request_id": submitted["request_id"]}, **queue)
    assert [part["index"] for part in done["results"]] == [0]
    found = official.ai.models.list(account_id=ACCOUNT, search="k2.6")
    assert [model["name"] for model in found.result] == [K2_6]
    schema = official.ai.models.schema.get(account_id=ACCOUNT, model=K2_6)
    assert (schema.input.type, schema.output.type) == ("object", "object")


def test_cloudflare_limits() -> None:
    with (
        Emulator(behaviour=Behaviour(requests_per_minute=0)) as emulator,
        cloudflare.Cloudflare(
            base_url=emulator.base_url,
            api_token="t",
            http_client=cloudflare.DefaultHttpxClient(trust_env=False),
            max_retries=0,
        ) as client,
        pytest.raises(cloudflare.RateLimitError),
    ):
        client.ai.run(K2_6, account_id=ACCOUNT, messages=CHAT)
