"""The protocol of Cloudflare Queues for a pull consumer, and the batch events that it delivers.

Sources: queues/configuration/pull-consumers and workers-ai/platform/event-subscriptions (2026-04-21). Replies are
untrusted: a reply of any shape decodes to one of the values below, and no reply raises an exception.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kimi_beam.wire.envelopes import Exchange, NoReply, bare_error, error_of, read_json, result_of
from kimi_beam.wire.protocol import Trouble

MOST_MESSAGES = 100
"""The most messages that one pull may ask for."""

_BATCH = "cf.workersAi.model.batch."


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is leased to this process.

    Attributes:
        lease_id: The id by which it is acknowledged or handed back.
        attempts: How often it was delivered, this time included.
        request_id: The id of the job that the event is about; None if it is no batch event.
        has_ended: Whether the job has succeeded or failed; False if it is only queued.
    """

    lease_id: str
    attempts: int
    request_id: str | None
    has_ended: bool


def encode_pull(lease: float, most: int = MOST_MESSAGES) -> bytes:
    """The body of a pull.

    Args:
        lease: Seconds after which an unacknowledged message is delivered again.
        most: The most messages to deliver.
    """
    # The documentation calls the field visibility_timeout, but Cloudflare's own clients send visibility_timeout_ms.
    return orjson.dumps({"batch_size": most, "visibility_timeout_ms": round(lease * 1000)})


def encode_ack(acks: Sequence[str], retries: Sequence[str]) -> bytes:
    """The body of an acknowledgement.

    Args:
        acks: The leases of messages that are done with.
        retries: The leases of messages that are handed back, to be delivered again at once.
    """
    return orjson.dumps(
        {"acks": [{"lease_id": lease} for lease in acks], "retries": [{"lease_id": lease} for lease in retries]}
    )


def decode_pull(exchange: Exchange, now: float) -> list[Message] | Trouble:
    """Decodes the messages of a pull. A message without a lease id cannot be acknowledged and is left out."""
    result = _result(exchange, now)
    if isinstance(result, Trouble):
        return result
    messages = result.get("messages")
    if not isinstance(messages, list):
        return Trouble("a reply without messages")
    decoded = (_message(message) for message in messages)
    return [message for message in decoded if message is not None]


def decode_ack(exchange: Exchange, now: float) -> Trouble | None:
    """Decodes the reply to an acknowledgement; None if it succeeded."""
    result = _result(exchange, now)
    return result if isinstance(result, Trouble) else None


def _result(exchange: Exchange, now: float) -> Any:
    if isinstance(exchange, NoReply):
        return Trouble(exchange.message)
    body = read_json(exchange.body)
    error = error_of(exchange, body, now)
    if error is None and not 200 <= exchange.status < 300:
        error = bare_error(exchange, now)
    return Trouble(str(error), error) if error is not None else result_of(body)


def _message(message: Any) -> Message | None:
    if not isinstance(message, dict):
        return None
    lease, attempts = message.get("lease_id"), message.get("attempts")
    if not isinstance(lease, str) or not lease:
        return None
    request_id, has_ended = _job_of(message.get("body"))
    return Message(lease, attempts if type(attempts) is int else 1, request_id, has_ended)


def _job_of(body: Any) -> tuple[str | None, bool]:
    """The id of the job that an event is about, None if it is no batch event; and whether the job has ended."""
    event = _event(body)
    kind = event.get("type")
    payload = event.get("payload")
    request_id = payload.get("requestId") if isinstance(payload, dict) else None
    if not isinstance(kind, str) or not kind.startswith(_BATCH) or not isinstance(request_id, str):
        return None, False
    return request_id, kind.removeprefix(_BATCH) in ("succeeded", "failed")


def _event(body: Any) -> dict[str, Any]:
    """The event in a message: JSON in base64 by the text of the documentation, plain JSON by its example."""
    if isinstance(body, str):
        try:
            body = read_json(b64decode(body, validate=True))
        except (binascii.Error, ValueError):
            body = read_json(body.encode("utf-8", "replace"))
    return body if isinstance(body, dict) else {}
