"""The shapes of every answer the service gives, as plain values: no state, no time of its own.

Field names and order follow a live K2.6 job captured on 2026-07-16 [observed] where nothing else is said. One value is
never the service's: ``model`` of a completion says who wrote it (`signed`), so that no answer can pass for Kimi's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

Json = dict[str, Any]

_NOTE = "rule-based stand-in, not a model"


@dataclass(frozen=True)
class Reply:
    """One HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


@dataclass(frozen=True)
class Completion:
    """What was written for one item.

    Attributes:
        id: 32 hex digits [observed].
        content: The answer; None when nothing but reasoning came.
        finish_reason: ``stop`` or ``length``.
        prompt_tokens: Estimated tokens of the prompt.
        completion_tokens: Estimated tokens of content and reasoning.
        cached_tokens: Part of ``prompt_tokens`` that came from the prefix cache.
        reasoning: What stands in ``reasoning_content``.
    """

    id: str
    content: str | None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning: str = _NOTE


def success(result: Json) -> Reply:
    """Wrap a result in Cloudflare's envelope [documented: get-started/rest-api]."""
    return Reply(200, orjson.dumps({"result": result, "success": True, "errors": [], "messages": []}))


def failure(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Wrap an error in the envelope [observed: bug reports; ``result`` is sometimes null there]."""
    body: Json = {"errors": [{"message": message, "code": code}], "success": False, "result": {}, "messages": []}
    return Reply(status, orjson.dumps(body), headers or {})


def bad_gateway() -> Reply:
    """Answer as an edge does that never reached the service: 502, HTML, no envelope [observed: SDK retry lists]."""
    page = b"<html>\n<head><title>502 Bad Gateway</title></head>\n<body><h1>502 Bad Gateway</h1></body>\n</html>\n"
    return Reply(502, page, media_type="text/html")


def pending(request_id: str, model: str, status: str) -> Json:
    """Make the result of a submit, and of a poll before the job is done [documented; observed]."""
    return {"status": status, "request_id": request_id, "model": model}


def signed(model: str, *, rule_based: bool) -> str:
    """Return the ``model`` of a completion: the id that was asked for, and that it did not write this.

    Args:
        model: The id that was asked for.
        rule_based: Whether the rules of this package answered; False when a function of the caller did.
    """
    return f"{model} (emulator: rule-based, not Kimi)" if rule_based else f"{model} (emulator)"


def chat_completion(completion: Completion, *, model: str, created: int) -> Json:
    """Make the result of a synchronous run [documented: output schema; values assumed]."""
    return _completion(completion, model=model, created=created, details={"cached_tokens": completion.cached_tokens})


def batch_completion(completion: Completion, *, model: str, created: int, cached_per_item: bool) -> Json:
    """Make an item's result in a finished job: ``prompt_tokens_details`` is null there [observed]."""
    details = {"cached_tokens": completion.cached_tokens} if cached_per_item else None
    value = _completion(completion, model=model, created=created, details=details)
    choice = value["choices"][0]
    return {
        **{key: value[key] for key in ("id", "object", "created", "model")},
        "metadata": {"weight_version": "default"},
        "choices": [
            {
                "index": 0,
                "finish_reason": choice["finish_reason"],
                "logprobs": None,
                # The stop token's id in the capture; a cut answer met none.
                "matched_stop": 163586 if choice["finish_reason"] == "stop" else None,
                "message": choice["message"],
            }
        ],
        "usage": value["usage"],
    }


def usage(completions: Iterable[Completion]) -> Json:
    """Sum the usage of a job; only here are cached tokens reported [observed]."""
    prompt = answer = cached = 0
    for completion in completions:
        prompt += completion.prompt_tokens
        answer += completion.completion_tokens
        cached += completion.cached_tokens
    return _usage(prompt, answer, {"cached_tokens": cached})


def item(position: int, reference: str | None, *, array: str, result: Json | None, error: Json | None = None) -> Json:
    """Make one element of a finished job's array.

    Args:
        position: Where the item stood in ``requests``.
        reference: The ``external_reference`` that was sent; None when none was: then ``results`` has no such key
            [observed] and ``responses`` has null [documented].
        array: ``results`` or ``responses``.
        result: The chat completion, or None when the item failed without a result.
        error: The reason of a failure; None is success or a failure told in ``result``.
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


def _completion(completion: Completion, *, model: str, created: int, details: Json | None) -> Json:
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
                    "content": completion.content,
                    "reasoning_content": completion.reasoning,
                    "tool_calls": None,
                },
            }
        ],
        "usage": _usage(completion.prompt_tokens, completion.completion_tokens, details),
    }


def _usage(prompt: int, answer: int, details: Json | None) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": details,
    }
