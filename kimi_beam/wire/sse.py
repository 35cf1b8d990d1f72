"""Joins the server-sent events of a streamed answer into the completion that an unstreamed reply would hold.

Both forms are read: OpenAI's chunks (``choices[].delta``) and the older ``response`` of Workers AI. An event may hold
the same text in both; then the delta is used. ``usage`` may be in every chunk, and the last one counts (bug reports).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kimi_beam.wire.envelopes import read_json
from kimi_beam.wire.parsed_values import text_of

MEDIA_TYPE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Streamed:
    """The joined content of a stream.

    Attributes:
        result: The completion as in an unstreamed reply: ``choices`` and ``usage``, or the older ``response``.
        errors: Cloudflare's ``errors`` or OpenAI's ``error``, if an event holds one; else None.
        is_whole: Whether the stream has its end, and did not break off.
        has_begun: Whether the model had begun to answer, so that tokens were spent.
    """

    result: dict[str, Any]
    errors: Any
    is_whole: bool
    has_begun: bool = True

    @property
    def text(self) -> str | None:
        """What the model has written so far: its answer, or else its reasoning; None if it has written nothing."""
        choices = self.result.get("choices")
        message = choices[0]["message"] if choices else {"content": self.result.get("response")}
        calls = "".join(call["function"]["arguments"] for call in message.get("tool_calls") or ())
        return message.get("content") or calls or message.get("reasoning_content") or message.get("reasoning") or None


def assemble(body: bytes) -> Streamed:
    """Joins the events of a stream, complete or not."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    result: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    calls: dict[Any, dict[str, Any]] = {}
    finish: str | None = None
    errors: Any = None
    in_chunks = is_done = False
    for data in _data(body):
        if data.strip() == b"[DONE]":
            is_done = True
            continue
        event = read_json(data)
        if not isinstance(event, dict):
            continue
        errors = event.get("errors") or event.get("error")
        if errors:
            break
        for key in ("id", "created", "model"):
            if event.get(key) is not None:
                result[key] = event[key]
        if isinstance(event.get("usage"), dict):
            result["usage"] = event["usage"]
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(choice, dict):
            in_chunks = True
            finish = choice["finish_reason"] if isinstance(choice.get("finish_reason"), str) else finish
            delta = choice.get("delta") or choice.get("message")
            if isinstance(delta, dict):
                _add(delta, texts, calls)
        if isinstance(event.get("response"), str):
            texts.setdefault("response", []).append(event["response"])
    joined = {key: "".join(pieces) for key, pieces in texts.items()}
    has_begun = not errors or bool(calls) or any(joined.values())
    if not in_chunks:
        return Streamed({**result, "response": joined.get("response", "")}, errors, is_done and not errors, has_begun)
    response = joined.pop("response", None)
    message |= joined
    if response and not message["content"] and not calls:
        message["content"] = response
    if calls:
        message["tool_calls"] = list(calls.values())
    result["choices"] = [{"index": 0, "finish_reason": finish, "message": message}]
    return Streamed(result, errors, (is_done or finish is not None) and not errors, has_begun)


def _data(body: bytes) -> Iterator[bytes]:
    """The data of each event: its lines of ``data:``. An empty line ends an event (SSE specification)."""
    lines: list[bytes] = []
    for line in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif not line and lines:
            yield b"\n".join(lines)
            lines = []
    if lines:
        yield b"\n".join(lines)


def _add(delta: dict[str, Any], texts: dict[str, list[str]], calls: dict[Any, dict[str, Any]]) -> None:
    for key in ("content", "parsed", "refusal", "reasoning", "reasoning_content"):
        if isinstance(delta.get(key), (str, list)):
            texts.setdefault(key, []).append(text_of(delta[key]))
    pieces = delta.get("tool_calls")
    for piece in pieces if isinstance(pieces, list) else ():
        if not isinstance(piece, dict):
            continue
        function = piece.get("function")
        index = piece.get("index")
        if type(index) is not int:  # some servers send whole calls without an index, and the id tells them apart
            index = piece["id"] if isinstance(piece.get("id"), str) else next(reversed(calls), 0)
        call = calls.setdefault(
            index,
            {"id": piece.get("id"), "type": "function", "function": {"name": "", "arguments": ""}},
        )
        if isinstance(function, dict):
            if isinstance(function.get("arguments"), str):
                call["function"]["arguments"] += function["arguments"]
            if isinstance(function.get("name"), str):  # some servers repeat it in each piece
                call["function"]["name"] = function["name"]
