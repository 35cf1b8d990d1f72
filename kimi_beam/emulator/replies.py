"""Builds the replies of the service as plain values, without state or a clock.

Unless stated otherwise, field names and their order follow a K2.6 job captured on 2026-07-16 [observed]. One value
always differs from the service's: the ``model`` of a completion says that the emulator wrote it (`signed`), so that no
answer can be taken for Kimi's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import orjson

from kimi_beam.emulator.leaf_faults import WrongLeaf
from kimi_beam.emulator.refusals import Refused

_OPENAI_ERRORS: Final = {
    400: ("invalid_request_error", "invalid_prompt"),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "permission_denied"),
    404: ("invalid_request_error", "not_found"),
    408: ("timeout", "timeout"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}

Json = dict[str, Any]
ReasoningField = Literal["reasoning_content", "reasoning", "both"]


@dataclass(frozen=True)
class Reply:
    """One HTTP answer.

    Attributes:
        status: HTTP status.
        body: The whole body, unless there are ``pieces``.
        headers: Headers in addition to those of every reply.
        media_type: Content type.
        error: Code and message of a failure; None for a success.
        pieces: The parts of a stream, in order.
        pause: Seconds before each part but the first.
        cut: Whether the connection is closed after the last part as if the network had failed.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    error: tuple[int, str] | None = None
    pieces: tuple[bytes, ...] = ()
    pause: float = 0.0
    cut: bool = False


@dataclass(frozen=True)
class ToolCall:
    """A function the model wants called; ``arguments`` is JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Completion:
    """The answer to one item.

    Attributes:
        id: 32 hex digits [observed].
        content: The text; None if there is only reasoning, or tool calls.
        finish_reason: ``stop``, ``length`` or ``tool_calls``.
        prompt_tokens: Estimated tokens of the prompt.
        completion_tokens: Estimated tokens of content and reasoning.
        cached_tokens: Part of ``prompt_tokens`` that came from the prefix cache.
        reasoning: The reasoning; None if thinking was off.
        tool_calls: The functions to call.
        is_parsed: Whether the content is sent as the JSON value that it is [observed: in one job beside strings].
        wrong_leaves: The values that a fault has made wrong.
    """

    id: str
    content: str | None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    is_parsed: bool = False
    wrong_leaves: tuple[WrongLeaf, ...] = ()


def success(result: Any, **more: Any) -> Reply:
    """Wrap a result in Cloudflare's envelope [documented: get-started/rest-api]."""
    return Reply(200, orjson.dumps({"result": result, "success": True, "errors": [], "messages": [], **more}))


def bare(result: Json) -> Reply:
    """Return a result without an envelope, as the OpenAI-compatible endpoints do [documented]."""
    return Reply(200, orjson.dumps(result))


def failure(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Wrap an error in the envelope [observed: bug reports; ``result`` is sometimes null there]."""
    body: Json = {"errors": [{"message": message, "code": code}], "success": False, "result": {}, "messages": []}
    return Reply(status, orjson.dumps(body), headers or {}, error=(code, message))


def refused(refusal: Refused) -> Reply:
    """Return the reply for a refusal."""
    return failure(refusal.status, refusal.code, refusal.message, refusal.headers)


def in_openai_form(reply: Reply) -> Reply:
    """Convert a failure to OpenAI's form [observed once on ``/ai/v1``; its codes are assumed]; successes stay."""
    if reply.error is None:
        return reply
    code, message = reply.error
    kind, name = _OPENAI_ERRORS.get(reply.status, ("server_error", "server_error"))
    name = "model_not_found" if code in (5007, 5018) else name
    error = {"message": message, "type": kind, "param": None, "code": name}
    status = 404 if code == 5007 else reply.status
    return replace(reply, status=status, body=orjson.dumps({"error": error}))


def bad_gateway() -> Reply:
    """Answer like an edge server that cannot reach the service: 502, HTML, no envelope [observed: SDK retry lists]."""
    page = b"<html>\n<head><title>502 Bad Gateway</title></head>\n<body><h1>502 Bad Gateway</h1></body>\n</html>\n"
    return Reply(502, page, media_type="text/html")


def pending(request_id: str, model: str, status: str) -> Json:
    """Make the result of a submit, and of a poll before the job is done [documented; observed]."""
    return {"status": status, "request_id": request_id, "model": model}


def signed(model: str, *, rule_based: bool) -> str:
    """Return the ``model`` of a completion: the id that was asked for, with a note that this model did not write it.

    Args:
        model: The id that was asked for.
        rule_based: Whether the rules of this package answered; False when a function of the caller did.
    """
    return f"{model} (emulator: rule-based, not Kimi)" if rule_based else f"{model} (emulator)"


def chat_completion(completion: Completion, *, model: str, created: int, reasoning_field: ReasoningField) -> Json:
    """Make the result of a synchronous run [documented: output schema; values assumed]."""
    details = {"cached_tokens": completion.cached_tokens}
    return _completion(completion, model, created, details, reasoning_field)


def batch_completion(
    completion: Completion, *, model: str, created: int, cached_per_item: bool, reasoning_field: ReasoningField
) -> Json:
    """Make an item's result in a finished job: ``prompt_tokens_details`` is null there [observed]."""
    details = {"cached_tokens": completion.cached_tokens} if cached_per_item else None
    value = _completion(completion, model, created, details, reasoning_field)
    choice = value["choices"][0]
    return {
        **{key: value[key] for key in ("id", "object", "created", "model")},
        "metadata": {"weight_version": "default"},
        "choices": [
            {
                "index": 0,
                "finish_reason": choice["finish_reason"],
                "logprobs": None,
                # The id of the stop token in the capture; a cut answer has none.
                "matched_stop": None if choice["finish_reason"] == "length" else 163586,
                "message": choice["message"],
            }
        ],
        "usage": value["usage"],
    }


def usage(completions: Iterable[Completion]) -> Json:
    """Add up the usage of a job. Cached tokens are reported only here [observed]."""
    prompt = answer = cached = 0
    for completion in completions:
        prompt += completion.prompt_tokens
        answer += completion.completion_tokens
        cached += completion.cached_tokens
    return usage_of(prompt, answer, {"cached_tokens": cached})


def item(position: int, reference: str | None, *, array: str, result: Json | None, error: Json | None = None) -> Json:
    """Make one element of a finished job's array.

    Args:
        position: The item's index in ``requests``.
        reference: The ``external_reference`` of the request. None if it had none; then ``results`` has no such key
            [observed] and ``responses`` has null [documented].
        array: ``results`` or ``responses``.
        result: The chat completion, or None if the item failed without a result.
        error: The error of a failure; None for a success, and for a failure that ``result`` reports.
    """
    failed = error is not None or result is None or "errors" in result
    reason = {} if error is None else {"error": error}
    answer = {} if result is None else {"result": result}
    if array == "responses":
        return {"id": position, **answer, "success": not failed, **reason, "external_reference": reference}
    echo = {} if reference is None else {"external_reference": reference}
    if failed:
        return {"index": position, "success": False, **reason, **answer, **echo}
    return {"index": position, "success": True, **echo, **answer}


def finished(items: Sequence[Json], *, array: str, usage: Json) -> Json:
    """Make the result of a finished job; it has no ``status`` [observed]."""
    return {array: list(items), "usage": usage}


def thought(text: str | None, reasoning_field: ReasoningField) -> Json:
    """Return the fields that hold reasoning."""
    names = ("reasoning", "reasoning_content") if reasoning_field == "both" else (reasoning_field,)
    return dict.fromkeys(names, text)


def tool_call(call: ToolCall) -> Json:
    """Make one element of ``tool_calls`` [documented: output schema]."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _parsed(content: str | None) -> Any:
    try:
        return orjson.loads(content or "null")
    except orjson.JSONDecodeError:
        return content


def _completion(
    completion: Completion, model: str, created: int, details: Json | None, reasoning_field: ReasoningField
) -> Json:
    return {
        "id": completion.id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": completion.finish_reason,
                "logprobs": None,
                "message": {
                    "role": "assistant",
                    "content": _parsed(completion.content) if completion.is_parsed else completion.content,
                    **thought(completion.reasoning, reasoning_field),
                    "tool_calls": [tool_call(call) for call in completion.tool_calls] or None,
                },
            }
        ],
        "usage": usage_of(completion.prompt_tokens, completion.completion_tokens, details),
    }


def usage_of(prompt: int, answer: int, details: Json | None) -> Json:
    """Make a ``usage``."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": details,
    }
