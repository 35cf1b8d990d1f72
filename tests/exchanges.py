"""Literal exchanges of the wire contract, and replies that are nearly like them: what tests of the wire share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.failure import Failure
from kimi_beam.wire.envelopes import HttpReply

NOW = 1_784_180_523.0
WIRE = [json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "wire").glob("*.json"))]


def exchanges(*kinds: str) -> pytest.MarkDecorator:
    chosen = [exchange for exchange in WIRE if exchange["kind"] in kinds]
    return pytest.mark.parametrize("exchange", chosen, ids=[exchange["name"] for exchange in chosen])


def reply_of(exchange: dict[str, Any]) -> HttpReply:
    reply = exchange["reply"]
    body, headers = reply["body"], reply["headers"]
    content = body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()
    if exchange["kind"] in ("submit", "poll"):
        return HttpReply(reply["status"], content, headers.get("retry-after"))
    return HttpReply(
        reply["status"],
        content,
        headers.get("retry-after"),
        headers.get("ratelimit"),
        headers.get("content-type", ""),
        headers.get("cf-ai-req-id", ""),
    )


def usage_of(expected: dict[str, int] | None) -> Usage | None:
    return None if expected is None else Usage(**expected)


def assert_answer(expected: dict[str, Any], got: Any) -> None:
    if "failure" in expected:
        assert isinstance(got, Failure)
        assert (got.stage, got.code, got.retryable) == ("infer", expected["failure"], expected["retryable"])
        assert "raw" not in expected or got.raw == expected["raw"]
        assert expected.get("says", "") in got.message
    else:
        assert isinstance(got, Completion)
        assert got.text == expected["text"] if "text" in expected else json.loads(got.text) == expected["json"]
        assert all(getattr(got, k) == expected[k] for k in ("finish_reason", "created", "model") if k in expected)


# ------------------------------------------------------------------------------------------------ and nearly like them


def _keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(key for item in value.values() for key in _keys_of(item))}
    return {key for item in value for key in _keys_of(item)} if isinstance(value, list) else set()


def events_of(exchange: dict[str, Any]) -> list[Any]:
    """The events of a stream, parsed, without its end."""
    lines = str(exchange["reply"]["body"]).split("\n\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


STREAMS = [exchange for exchange in WIRE if exchange["reply"]["headers"].get("content-type") == "text/event-stream"]
KEYS = sorted(
    _keys_of([exchange["reply"]["body"] for exchange in WIRE]) | _keys_of([events_of(stream) for stream in STREAMS])
)
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["queued", "error", "stop", "length", "tool_calls", "5504", "AiError: x", "\ud83d", "{}"]),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn, value: Any) -> Any:
    """A reply of the contract in which parts are missing or are something else."""
    fate = draw(st.integers(0, 19))
    if fate == 0:
        return draw(json_values)
    if isinstance(value, dict):
        return {key: draw(damaged(item)) for key, item in value.items() if draw(st.integers(0, 19))}
    if isinstance(value, list):
        return [draw(damaged(item)) for item in value if draw(st.integers(0, 9))]
    return value


def _stream_of(events: list[Any]) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)


streams = (
    st.sampled_from([events_of(stream) for stream in STREAMS])
    .flatmap(damaged)
    .map(lambda events: _stream_of(events) if isinstance(events, list) else b"")
)
bodies = st.one_of(
    st.binary(max_size=60),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([exchange["reply"]["body"] for exchange in WIRE])
    .flatmap(damaged)
    .map(lambda v: json.dumps(v).encode()),
    st.sampled_from(
        [
            b"",
            b"\xef\xbb\xbf{}",
            b"null",
            b"[" * 100_000,
            b'{"result":' * 100_000,
            b'{"choices":[' * 50_000,
            b'{"response":%s}' % (b"[" * 800 + b"]" * 800),
            b'{"response":%s}' % (b"9" * 5_000),
            b'{"choices":[{"message":{"content":"x"}}],"created":%s}' % (b"9" * 400),
            b'{"choices":[{"message":{"content":"\\ud83d"},"finish_reason":"stop"}],"created":1e999}',
            b"9" * 5_000,
            b"\xff\xfe{}",
        ]
    ),
)
