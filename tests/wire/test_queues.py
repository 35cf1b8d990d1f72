"""The protocol of Queues: recorded exchanges decode as documented, and a reply of any shape decodes to a value."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from exchanges import NOW, WIRE, bodies, exchanges, json_values, reply_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.wire.envelopes import HttpReply, NoReply
from kimi_beam.wire.protocol import Trouble
from kimi_beam.wire.queues import Message, decode_ack, decode_pull, encode_ack, encode_pull

QUEUE = "f1c3a8e05b9d42e7a6d0b1c2d3e4f506"


def _assert_trouble(trouble: Any, expected: dict[str, Any]) -> None:
    assert isinstance(trouble, Trouble)
    assert trouble.error is not None
    assert (trouble.error.status, trouble.error.code) == (expected["status"], expected["code"])
    assert trouble.error.retry_after == expected["retry_after"]


@exchanges("pull")
def test_a_pull_is_what_the_contract_says(exchange: dict[str, Any]) -> None:
    body, expected = exchange["request"]["body"], exchange["expect"]
    assert json.loads(encode_pull(body["visibility_timeout_ms"] / 1000, body["batch_size"])) == body
    pulled = decode_pull(reply_of(exchange), NOW)
    if expected["outcome"] == "messages":
        assert pulled == [Message(**message) for message in expected["messages"]]
    else:
        _assert_trouble(pulled, expected)


@exchanges("ack")
def test_an_acknowledgement_is_what_the_contract_says(exchange: dict[str, Any]) -> None:
    body, expected = exchange["request"]["body"], exchange["expect"]
    acks = [part["lease_id"] for part in body["acks"]]
    retries = [part["lease_id"] for part in body["retries"]]
    assert json.loads(encode_ack(acks, retries)) == body
    answered = decode_ack(reply_of(exchange), NOW)
    if expected["outcome"] == "taken":
        assert answered is None
    else:
        _assert_trouble(answered, expected)


@pytest.mark.parametrize("action", ["pull", "ack"])
def test_requests_go_to_the_path_that_the_contract_names(action: Any) -> None:
    service = WorkersAI("0123456789abcdef0123456789abcdef")
    (path,) = {exchange["request"]["path"] for exchange in WIRE if exchange["kind"] == action}
    assert service.messages_url(QUEUE, action) == f"https://api.cloudflare.com{path}"


@settings(derandomize=True, max_examples=400)
@given(st.one_of(bodies, json_values.map(lambda v: json.dumps(v).encode())), st.sampled_from([200, 204, 404, 500]))
def test_a_reply_of_any_shape_is_messages_or_trouble(body: bytes, status: int) -> None:
    pulled = decode_pull(HttpReply(status, body), NOW)
    assert isinstance(pulled, Trouble) or all(isinstance(message, Message) for message in pulled)
    answered = decode_ack(HttpReply(status, body), NOW)
    assert answered is None or isinstance(answered, Trouble)
    assert status == 200 or status == 204 or isinstance(answered, Trouble)


@settings(derandomize=True, max_examples=400)
@given(st.one_of(json_values, json_values.map(lambda v: b64encode(json.dumps(v).encode()).decode())), json_values)
def test_a_message_of_any_body_can_be_answered(body: Any, attempts: Any) -> None:
    reply = {"success": True, "result": {"messages": [{"lease_id": "l", "body": body, "attempts": attempts}]}}
    (message,) = decode_pull(HttpReply(200, json.dumps(reply).encode()), NOW)  # type: ignore[misc]
    assert message.lease_id == "l"
    assert type(message.attempts) is int
    assert message.request_id is None or isinstance(message.request_id, str)


def test_no_reply_is_trouble_and_a_message_without_a_lease_is_none() -> None:
    assert decode_pull(NoReply(sent=True, message="cut"), NOW) == Trouble("cut")
    assert decode_ack(NoReply(sent=False, message="refused"), NOW) == Trouble("refused")
    reply = {"result": {"messages": [{"body": "x"}, {"lease_id": ""}, 7]}, "success": True}
    assert decode_pull(HttpReply(200, json.dumps(reply).encode()), NOW) == []
