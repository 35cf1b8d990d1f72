"""The service answers random requests with one of its forms of reply, and neither crashes nor hangs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_beam.emulator import Behaviour

from .peer import FORM_A, K2_6, SCHEMA, Peer, serving

_leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-3, 3) | st.text(max_size=8)
_json = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_part = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": _json}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": _json | st.fixed_dictionaries({"url": _json})}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.just({"url": "data:image/png;base64,AAAA"})}),
    _json,
)
_call = st.fixed_dictionaries({"id": _json, "function": _json | st.fixed_dictionaries({"name": _json})})
_message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant", "tool"])},
    optional={
        "content": st.text(max_size=40) | st.lists(_part, max_size=3) | _json,
        "tool_calls": st.lists(_call, max_size=2) | _json,
        "tool_call_id": st.text(max_size=4) | _json,
    },
)
_function = st.fixed_dictionaries(
    {"name": st.sampled_from(["f", "g"])}, optional={"parameters": st.just(SCHEMA) | _json}
)
_tool = st.fixed_dictionaries({"type": st.just("function"), "function": _function | _json})
_body = st.fixed_dictionaries(
    {"messages": st.lists(_message, max_size=4) | _json},
    optional={
        "tools": st.lists(_tool, max_size=2) | _json,
        "tool_choice": st.sampled_from(["none", "auto", "required", "any"])
        | st.just({"type": "function", "function": {"name": "f"}})
        | _json,
        "response_format": st.just(FORM_A) | st.just({"type": "json_object"}) | _json,
        "chat_template_kwargs": st.just({"thinking": False}) | _json,
        "reasoning_effort": _json,
        "stream": st.booleans() | _json,
        "stream_options": _json,
        "options": _json,
        "temperature": _json,
        "max_completion_tokens": st.integers(-2, 40) | _json,
        "external_reference": _json,
        "requests": _json,
        "request_id": _json,
        "model": st.just(K2_6) | _json,
    },
)


@pytest.fixture(scope="module")
def peers() -> Iterator[tuple[Peer, ...]]:
    strict = Behaviour(union_types="refused", required_tools="enforced", item_failure="result", null_content="accepted")
    with serving() as plain, serving(behaviour=strict) as other:
        yield plain, other


def understood(reply: Any) -> None:
    assert reply.status_code in (200, 400, 401, 403, 404, 405, 408, 413, 429, 500)
    if reply.headers["content-type"].startswith("text/event-stream"):
        assert reply.text.endswith("data: [DONE]\n\n")
        return
    value = orjson.loads(reply.content)
    if reply.status_code == 500:
        assert value["errors"][0]["code"] in (8005, 3030)
        assert "cannot identify" in value["errors"][0]["message"] or value["errors"][0]["code"] == 3030, value


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(body=_body, which=st.integers(0, 1))
def test_every_request_is_answered(peers: Any, body: Any, which: Any) -> None:
    peer = peers[which]
    understood(peer.post(body, query=""))
    understood(peer.chat(**body))
    understood(peer.chat(peer.emulator.openai_url, **body))
    understood(peer.post(body))
    item = {key: value for key, value in body.items() if key not in ("requests", "request_id")}
    reply = peer.post({"requests": [item]})
    understood(reply)
    if reply.status_code == 200:
        done = peer.poll(reply.json()["result"]["request_id"]).json()
        (part,) = done["result"]["results"]
        error = part.get("error") or part["result"].get("errors")
        assert part["success"] or error
        assert "Error(" not in str(error), "an item failed by an exception of Python"
