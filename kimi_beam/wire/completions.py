"""Decodes answers of the model: the items of a finished job, and the replies to synchronous requests.

Replies are untrusted: a reply of any shape decodes to one of the values below, and no reply raises an exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from kimi_beam.columnar import Results, Tokens, transposed
from kimi_beam.schema import jsontext
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.failure import Code, Failure
from kimi_beam.wire.envelopes import (
    Exchange,
    HttpReply,
    NoReply,
    Refused,
    Unknown,
    Unsent,
    bare_error,
    error_of,
    excerpt,
    openai_error_of,
    read_json,
    reason,
    result_of,
    stated_error,
    unworded,
)
from kimi_beam.wire.parsed_values import as_raw, refusal_in, text_of
from kimi_beam.wire.service_errors import ERRORS, Remedy, ServiceError
from kimi_beam.wire.sse import MEDIA_TYPE, assemble
from kimi_beam.wire.usage import END_OF_TIME, Stated, count, decode_usage

MOST_RAW = 1 << 20
"""How many bytes are kept of a reply that has no known form, but may be an answer that was paid for."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call that the model asks for.

    Attributes:
        id: The id of the call, which is sent back with its result.
        name: The name of the function.
        arguments: The arguments as JSON text, as the model wrote them.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """A reply of the model that asks for function calls instead of answering.

    Attributes:
        calls: The calls that the model asks for.
        text: The text that the model wrote beside them.
        reasoning: The model's reasoning, which is sent back in the assistant's turn and never used as the answer.
    """

    calls: tuple[ToolCall, ...]
    text: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The reply to a synchronous request: an answer or a failure, and the tokens, None if the reply states none."""

    result: Completion | Failure | ToolCalls
    usage: Usage | None


RunResult: TypeAlias = Answered | Refused | Unknown | Unsent

# ------------------------------------------------------------------------------------------------ synchronous


def decode_run(
    exchange: Exchange, now: float, *, answer_tool: str | None = None, calls_tools: bool = False
) -> RunResult:
    """Decodes the reply to a synchronous request, streamed or not.

    Args:
        exchange: The reply, or the lack of one.
        now: The time in Unix seconds; a ``Retry-After`` date is converted to seconds from then.
        answer_tool: The function whose arguments are the answer; None if the text is the answer.
        calls_tools: Whether the model may call functions before it answers.
    """
    if isinstance(exchange, NoReply):
        return Unknown(exchange.message) if exchange.sent else Unsent(exchange.message)
    if 300 <= exchange.status < 400:
        return Refused(bare_error(exchange, now))
    if _is_stream(exchange):
        return _streamed(exchange, now, answer_tool, calls_tools)
    body = read_json(exchange.body)
    error = error_of(exchange, body, now)
    if error is None and (exchange.status >= 400 or "choices" not in result_of(body)):
        if isinstance(body, dict) and body.get("object") == "error" and "error" not in body:
            body = {"error": body}  # the form of older vLLM and of FastChat
        stated = body.get("error") if isinstance(body, dict) else None
        status = exchange.status if exchange.status >= 400 else _status_in(stated)
        error = openai_error_of(replace(exchange, status=status), body, now)
    if error is not None:
        return Refused(error)
    if not 200 <= exchange.status < 300:
        return unworded(exchange, now)
    result = result_of(body)
    if not isinstance(result.get("choices"), list) and "response" not in result:
        raw = exchange.body[:MOST_RAW].decode("utf-8", "replace")
        return Unknown(f"a reply that is no chat completion: {excerpt(exchange.body)}", raw=raw or None)
    return _answered(result, exchange, answer_tool, calls_tools)


def _is_stream(reply: HttpReply) -> bool:
    """Whether the body is a stream by its first characters: some servers label plain JSON as ``text/event-stream``."""
    body = reply.body[:64].lstrip()
    return body.startswith((b"data:", b"event:", b":")) or (
        reply.content_type.lower().startswith(MEDIA_TYPE) and not body.startswith(b"{")
    )


def _streamed(exchange: HttpReply, now: float, answer_tool: str | None, calls_tools: bool) -> RunResult:
    stream = assemble(exchange.body)
    usage = decode_usage(stream.result.get("usage"))
    if stream.errors and stream.has_begun:
        return Unknown(f"an error in the middle of the stream: {reason(stream.errors)}", usage, stream.text)
    if stream.errors:
        error = (
            stated_error(stream.errors, exchange, now)
            if isinstance(stream.errors, list)
            else openai_error_of(replace(exchange, status=_status_in(stream.errors)), {"error": stream.errors}, now)
        )
        return Refused(error) if error else Unknown(f"an error in the stream: {excerpt(exchange.body)}")
    if not stream.is_whole:
        return Unknown(f"the stream broke off: {excerpt(exchange.body[-200:])}", usage, stream.text)
    return _answered(stream.result, exchange, answer_tool, calls_tools)


def _status_in(error: Any) -> int:
    """The status of an error inside a stream (vLLM: ``code``), as HTTP's own status was sent before the error."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if type(code) is int and 400 <= code < 600 else 500


def _answered(result: Mapping[str, Any], reply: HttpReply, answer_tool: str | None, calls_tools: bool) -> Answered:
    usage = Usage() if reply.from_cache else decode_usage(result.get("usage"))
    return Answered(decode_completion(result, answer_tool=answer_tool, calls_tools=calls_tools), usage)


# ------------------------------------------------------------------------------------------------ queued


def decode_items(items: Sequence[Any], *, answer_tool: str | None = None) -> tuple[Results, Stated]:
    """Decodes the items of a finished job: see `decode_item`.

    Args:
        items: One item for each request, None for a missing one.
        answer_tool: The function whose arguments are the answers; None if the texts are the answers.
    """
    rows: list[tuple[str | None, str | None, int | None, str | None, int, int, int]] = []
    failures: dict[int, Failure] = {}
    silent: list[int] = []
    for index, item in enumerate(items):
        result, usage = decode_item(item, answer_tool=answer_tool)
        tokens = (0, 0, 0) if usage is None else (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
        if usage is None:
            silent.append(index)
        if isinstance(result, Completion):
            rows.append((result.text, result.finish_reason, result.created, result.model, *tokens))
        else:
            rows.append((None, None, None, None, *tokens))
            failures[index] = result
    texts, finish_reasons, created, models, prompt, cached, completion = transposed(rows, 7)
    results = Results(texts, finish_reasons, created, models, failures)
    return results, Stated(Tokens(prompt, cached, completion), silent)


def decode_item(item: Any, *, answer_tool: str | None = None) -> tuple[Completion | Failure, Usage | None]:
    """Decodes one item of a finished job: an answer or a failure, and the tokens, None if the item states none."""
    if item is None:
        return Failure("infer", "missing_item", "the service sent no answer for this document", retryable=True), None
    if not isinstance(item, dict):
        return _malformed(f"no item: {reason(item)}", item), None
    result = item.get("result")
    usage = decode_usage(result.get("usage")) if isinstance(result, dict) else None
    if (
        not isinstance(result, dict)
        or item.get("success") is False
        or (result.get("errors") and "choices" not in result)
    ):
        return _failed_item(item, result), usage
    completion = decode_completion(result, answer_tool=answer_tool)
    if isinstance(completion, ToolCalls):  # only synchronous requests have turns
        return _unexpected_call(completion), usage
    return completion, usage


def _failed_item(item: Mapping[str, Any], result: Any) -> Failure:
    stated = item.get("error") or item.get("errors") or (result.get("errors") if isinstance(result, dict) else None)
    errors = stated if isinstance(stated, list) and stated else [stated]
    message = reason(stated or result)
    if not isinstance(errors[0], dict) or type(errors[0].get("code")) not in (int, str):
        failure = Failure("infer", "item_failed", f"the service failed this item: {message}", retryable=True)
    else:
        failure = failure_of(stated_error(errors, HttpReply(0, b""), 0.0), "the service failed this item")
    is_answer = not isinstance(result, dict) or "choices" in result or "response" in result
    return replace(failure, raw=as_raw(result)) if is_answer else failure


FAILURES: Mapping[int, Code] = {
    5023: "json_mode_unsupported",
    5024: "json_mode_unmet",
    5025: "json_mode_unsupported",
    8006: "truncated",
}
"""Codes of the service that have a failure code of their own; all others are ``item_failed`` or ``refused``."""


def failure_of(error: ServiceError, prefix: str, code: Code = "item_failed") -> Failure:
    """The failure of a document about which the service reported an error.

    Args:
        error: The error.
        prefix: The beginning of the failure's message.
        code: The failure code of errors that have none of their own in `FAILURES`.
    """
    if not error.concerns_image:
        code = FAILURES.get(error.code or 0, code)
    # An item has no HTTP status, so that an unknown code may be a passing error (5001: an internal error, event page).
    retryable = error.remedy not in (Remedy.NEVER, Remedy.SPLIT) or error.code not in ERRORS
    return Failure("infer", code, f"{prefix}: {error}", retryable=retryable)


# ------------------------------------------------------------------------------------------------ completions


def decode_completion(
    result: Mapping[str, Any], *, answer_tool: str | None = None, calls_tools: bool = False
) -> Completion | Failure | ToolCalls:
    """Decodes a chat completion to its text, or to the reason why it has none. Reasoning is never read as the answer.

    The ``raw`` of a failure holds what the model wrote, or else its reasoning, because it was paid for.
    """
    if "choices" not in result and result.get("response") is not None:
        return _classic(result)
    choices = result.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = _message(choice)
    if not isinstance(choice, dict) or message is None:
        return _malformed(f"no chat completion: {reason(result)}", result)
    try:
        text = _text(message, result.get("response"))
    except (TypeError, RecursionError):
        return _malformed("the answer is nested too deep to be read", message)
    calls = _tool_calls(message["tool_calls"]) if message.get("tool_calls") else ()
    answer = next((call.arguments for call in calls if call.name == answer_tool), None) if answer_tool else None
    raw = answer or text or None
    reasoning = _reasoning(message)
    finish = choice.get("finish_reason")
    if finish == "length":
        cut = "the answer was cut at max_completion_tokens: a higher limit helps unless it repeats itself"
        why = cut if raw else "all tokens went into thinking"
        return Failure("infer", "truncated", why, raw=raw or reasoning or _written(text, calls))
    if finish == "content_filter":
        return Failure("infer", "content_filter", "the service filtered the answer", raw=raw or reasoning or None)
    refusal = message.get("refusal") or refusal_in(message.get("content"))
    if refusal:
        why = f"the model refused: {reason(refusal)}"
        return Failure("infer", "refusal", why, raw=raw or as_raw(refusal))
    if answer is None and (calls or (not text and finish in ("tool_calls", "function_call"))):
        called = ToolCalls(calls, text, reasoning)
        if calls and calls_tools:
            return called
        return _unexpected_call(called, message.get("tool_calls") or message.get("function_call"))
    if not (raw or "").strip():
        if reasoning.strip():
            why = "the answer is empty: all that the model wrote stands in its reasoning"
            return Failure("infer", "answer_in_reasoning", why, retryable=True, raw=reasoning)
        return Failure("infer", "empty_answer", "the answer is empty", retryable=True, raw=_unread(message) or raw)
    model = result.get("model")
    return Completion(
        raw or "",
        finish if isinstance(finish, str) else None,
        _created(result.get("created")),
        model if isinstance(model, str) else None,
    )


def _message(choice: Any) -> Mapping[str, Any] | None:
    """The message of a choice. In the older completions endpoint a choice has a text instead (documented: OpenAI)."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if isinstance(message, dict):
        return message
    return {"content": choice["text"]} if isinstance(choice, dict) and isinstance(choice.get("text"), str) else None


def _text(message: Mapping[str, Any], response: Any) -> str:
    """The answer in a message: ``content``, else ``parsed`` (OpenAI's clients), else ``response`` (the older form).

    Raises:
        TypeError, RecursionError: The answer is nested too deep.
    """
    text = text_of(message.get("content"))
    for value in (message.get("parsed"), response):
        if not text.strip() or (isinstance(value, (dict, list)) and "{" not in text and "[" not in text):
            text = text_of(value) or text
    return text


def _unread(message: Mapping[str, Any]) -> str | None:
    """The other fields of a message without an answer, which may hold one in an unknown form."""
    return as_raw({key: value for key, value in message.items() if key != "role" and _holds_more(value)})


def _holds_more(value: Any) -> bool:
    return bool(value.strip() if isinstance(value, str) else value)


def _reasoning(message: Mapping[str, Any]) -> str:
    try:
        return text_of(message.get("reasoning_content") or message.get("reasoning"))
    except (TypeError, RecursionError):
        return ""


def _malformed(message: str, value: Any) -> Failure:
    return Failure("infer", "malformed_item", message, retryable=True, raw=as_raw(value))


def _tool_calls(listed: Any) -> tuple[ToolCall, ...]:
    found = []
    for number, call in enumerate(listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            continue
        arguments = function.get("arguments")
        if not isinstance(arguments, str):  # some servers parse them
            try:
                arguments = jsontext.dumps(arguments).decode()
            except (TypeError, ValueError, RecursionError):
                arguments = ""
        name = call.get("id")
        found.append(
            ToolCall(name if isinstance(name, str) and name else f"call_{number}", function["name"], arguments)
        )
    return tuple(found)


def _unexpected_call(called: ToolCalls, stated: Any = None) -> Failure:
    """The failure of an answer that calls a function although none was offered.

    Args:
        called: The calls that could be decoded.
        stated: The calls as they were sent, used if none could be decoded.
    """
    name = called.calls[0].name if called.calls else "a function"
    message = f"the model called {reason(name)} where an answer was asked for"
    return Failure("infer", "tool_call", message, raw=_written(called.text, called.calls) or as_raw(stated))


def _written(text: str, calls: Sequence[ToolCall]) -> str | None:
    """All that the model wrote as one text; JSON if there are several texts and calls."""
    if len(calls) + bool(text) > 1:
        return as_raw({"text": text, "calls": [{"name": call.name, "arguments": call.arguments} for call in calls]})
    return text or (calls[0].arguments if calls else None) or None


def _created(seconds: Any) -> int | None:
    """A time in Unix seconds before the year 10000; None for anything else."""
    number = count(seconds)
    return number if 0 < number < END_OF_TIME else None


def _classic(result: Mapping[str, Any]) -> Completion | Failure:
    """Decodes the form of older models, ``response``: a string, or a parsed JSON value (JSON mode page)."""
    response = result["response"]
    try:
        text = text_of(response)
    except (TypeError, RecursionError):
        return _malformed("the answer is nested too deep to be read", response)
    if not text.strip():
        return Failure("infer", "empty_answer", "the answer is empty", retryable=True, raw=text or None)
    return Completion(text, None, None, None)
