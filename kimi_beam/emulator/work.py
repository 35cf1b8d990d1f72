"""One item of work: what a request asks for, checked, and the completion that is written for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from kimi_beam.emulator import model, tokens
from kimi_beam.emulator.damage import shorten, spoil
from kimi_beam.emulator.prompt import last_user_content, text_of, wanted
from kimi_beam.emulator.replies import Completion

Answer = Callable[[list[Any], "dict[str, Any] | None"], str]
"""What may replace the rule-based model: messages and JSON Schema (None without one) to the answer's text."""

_CACHE_BLOCK: Final = 64  # tokens; "short inputs under one block do not count" [documented], the size is assumed


class BadInput(ValueError):  # noqa: N818 - it is the service's own word for it
    """A body that the model's input schema refuses: code 5006."""


@dataclass(frozen=True)
class Task:
    """One chat to be answered.

    Attributes:
        messages: The chat.
        response_format: What shape the answer is to have, as sent.
        limit: ``max_completion_tokens``, or its deprecated name ``max_tokens``.
        reference: ``external_reference``, None when none was sent.
        key: Names the document: the hash of the last user message's content.
        prefix: Names everything before that message, and the response format: what a prefix cache can hold.
        prompt_tokens: Estimated tokens of all messages.
        prefix_tokens: Those of ``prefix``, in whole blocks.
        fault: The item's fault, None for none.
        cached: Whether ``prefix`` was seen before.
    """

    messages: list[Any]
    response_format: Any
    limit: Any
    reference: str | None
    key: str
    prefix: bytes
    prompt_tokens: int
    prefix_tokens: int
    fault: str | None = None
    cached: bool = False


def read(body: Mapping[str, Any]) -> Task:
    """Check one request and take from it what matters here; unknown fields are ignored [documented: allowed].

    Raises:
        BadInput: It has neither a prompt nor at least one message, or an ``external_reference`` that is no string.
    """
    messages = body.get("messages")
    if messages is None and isinstance(body.get("prompt"), str):
        messages = [{"role": "user", "content": body["prompt"]}]
    if messages is None:
        raise BadInput(
            "oneOf at '/' not met, 0 matches: required properties at '/' are 'prompt', "
            "required properties at '/' are 'messages'"
        )
    if not isinstance(messages, list) or not messages:
        raise BadInput("oneOf at '/' not met, 0 matches: '/messages' must be an array of at least 1 item")
    if not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages):
        raise BadInput("oneOf at '/' not met, 0 matches: required properties at '/messages/0' are 'role,content'")
    reference = body.get("external_reference")
    if reference is not None and not isinstance(reference, str):
        raise BadInput("Type mismatch of '/external_reference', 'string' not in 'object'")
    counts = [tokens.estimate(text_of(message.get("content"))) for message in messages]
    before = sum(counts[:-1])
    return Task(
        messages=messages,
        response_format=body.get("response_format"),
        limit=body.get("max_completion_tokens", body.get("max_tokens")),
        reference=reference,
        key=_digest(last_user_content(messages)).hex(),
        prefix=_digest([messages[:-1], body.get("response_format")]),
        prompt_tokens=sum(counts),
        prefix_tokens=before - before % _CACHE_BLOCK,
    )


def write(task: Task, *, completion_id: str, enforce_schema: bool, answer: Answer | None) -> Completion:
    """Answer a task, and spoil the answer where its fault says so."""
    want = wanted(task.messages, task.response_format, enforce=enforce_schema)
    if answer is None:
        content = model.answer(task.messages, want)
    else:
        content = answer(task.messages, want.schema if isinstance(want.schema, dict) else None)
    good = Completion(completion_id, content, "stop", task.prompt_tokens, 0)
    count = tokens.estimate(content) + tokens.estimate(good.reasoning)
    cached = task.prefix_tokens if task.cached else 0
    good = Completion(completion_id, content, "stop", task.prompt_tokens, count, cached)
    return shorten(spoil(good, task.fault, want.schema), task.limit)


def _digest(value: object) -> bytes:
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
    else:
        try:
            data = orjson.dumps(value)
        except orjson.JSONEncodeError as error:  # deeper than it writes, though not deeper than it reads
            raise BadInput(f"too deeply nested: {error}") from None
    return blake2b(data, digest_size=16).digest()
