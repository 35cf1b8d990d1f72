"""Writes a completion as server-sent events, one chunk after another.

The form of a chunk is that of a captured stream [observed]; its optional parts are chosen by `Behaviour`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import orjson

from kimi_beam.emulator import tokens
from kimi_beam.emulator.replies import Completion, Json, ReasoningField, thought, tool_call, usage_of

MEDIA_TYPE: Final = "text/event-stream"
DONE: Final = b"data: [DONE]\n\n"
_CHARACTERS: Final = 16  # of text in a chunk


@dataclass(frozen=True)
class Style:
    """The optional parts of a stream.

    Attributes:
        reasoning_field: The field that holds reasoning.
        usage: Whether usage is on every chunk, in one last chunk without choices, or nowhere.
        closing: Whether an event in the form of older models precedes the end.
        echo: Whether text is repeated as ``response``.
        padding: Whether chunks have random padding.
    """

    reasoning_field: ReasoningField = "reasoning_content"
    usage: str = "every"
    closing: bool = True
    echo: bool = False
    padding: bool = True


def events(completion: Completion, *, model: str, created: int, style: Style) -> tuple[bytes, ...]:
    """Return the events of a completion, with the one that ends the stream.

    Args:
        completion: The answer.
        model: The model that the chunks name.
        created: The time in Unix seconds that the chunks name.
        style: The optional parts of the stream.
    """
    total = usage_of(
        completion.prompt_tokens, completion.completion_tokens, {"cached_tokens": completion.cached_tokens}
    )
    found: list[bytes] = []
    deltas = list(_deltas(completion, style.reasoning_field))
    written = 0
    for number, (delta, text) in enumerate(deltas):
        last = number == len(deltas) - 1
        written += tokens.estimate(text)
        chunk = _chunk(completion, model, created)
        finish = completion.finish_reason if last else None
        chunk["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None, "token_ids": None}]
        if style.usage == "every":
            so_far = {
                "prompt_tokens": completion.prompt_tokens,
                "completion_tokens": min(written, completion.completion_tokens),
                "total_tokens": completion.prompt_tokens + min(written, completion.completion_tokens),
            }
            chunk["usage"] = total if last else so_far
        if style.echo and isinstance(delta.get("content"), str):
            chunk["response"] = delta["content"]
        if style.padding:
            chunk["p"] = _padding(f"{completion.id}:{number}")
        found.append(event(chunk))
    if style.usage == "last":
        found.append(event({**_chunk(completion, model, created), "choices": [], "usage": total}))
    if style.closing:
        found.append(event({"response": "", "usage": total}))
    return (*found, DONE)


def event(value: Json) -> bytes:
    """Return one event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _chunk(completion: Completion, model: str, created: int) -> Json:
    return {"id": completion.id, "object": "chat.completion.chunk", "created": created, "model": model}


def _deltas(completion: Completion, reasoning_field: ReasoningField) -> Iterator[tuple[Json, str]]:
    """Yield every delta and its text. The first one has the role; the last one has the finish reason and no text."""
    yield {"role": "assistant", "content": ""}, ""
    for text in _cut(completion.reasoning or ""):
        yield thought(text, reasoning_field), text
    for text in _cut(completion.content or ""):
        yield {"content": text}, text
    for index, call in enumerate(completion.tool_calls):
        whole = tool_call(call)
        head = {**whole, "index": index, "function": {"name": call.name, "arguments": ""}}
        yield {"tool_calls": [head]}, ""
        for text in _cut(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": text}}]}, text
    yield {}, ""


def _cut(text: str) -> Iterator[str]:
    return (text[n : n + _CHARACTERS] for n in range(0, len(text), _CHARACTERS))


def _padding(key: str) -> str:
    """Return a varying number of letters, so that the size of an event does not reveal its text."""
    digest = blake2b(key.encode(), digest_size=16).digest()
    return "".join(chr(ord("a") + byte % 26) for byte in digest[: 1 + digest[0] % 16])
