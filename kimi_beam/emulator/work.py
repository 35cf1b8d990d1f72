"""Checks one chat request and turns it into a `Task`; answers a task with a completion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

import orjson

from kimi_beam.emulator import jsonmode, prefixes, thinking, tokens, tool_calls, vision
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.catalogue import MODELS
from kimi_beam.emulator.chat import Wanted, document_in, is_correction, question, text_of, wanted
from kimi_beam.emulator.compression import pack, unpack
from kimi_beam.emulator.damage import shorten, spoil
from kimi_beam.emulator.faults import Faults
from kimi_beam.emulator.leaf_faults import LeafDraws, WrongLeaf
from kimi_beam.emulator.refusals import BadInput, Refused
from kimi_beam.emulator.replies import Completion, ToolCall

Answer = Callable[[list[Any], "dict[str, Any] | None"], str]
"""A replacement for the rule-based model: takes messages and JSON Schema (or None), returns the answer's text."""

_ROLES: Final = ("developer", "system", "user", "assistant", "tool", "function")
_RANGES: Final = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "n": (1, 128),
    "top_logprobs": (0, 20),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One chat to be answered.

    Attributes:
        body: The request as sent; compressed JSON while it waits in the queue.
        reference: ``external_reference``, None when none was sent.
        key: The key of the document: the hash of the last user message's content, without a correction.
        correction: The hash of the whole chat, if it shows the model an answer that was refused; else empty.
        prompt_tokens: Estimated tokens of all messages, images and tools.
        blocks: The names of the prompt's blocks in the prefix cache; dropped after the lookup.
        structured: Whether a ``json_schema`` was asked for.
        fault: The item's fault, None for none.
        occurrence: How often the document was asked for before.
        cached_tokens: How much of the prompt came from the prefix cache.
        refusal: Code and message if it is refused, else None.
    """

    body: Mapping[str, Any] | bytes
    reference: str | None
    key: str
    correction: str = ""
    prompt_tokens: int = 0
    blocks: tuple[int, ...] = ()
    structured: bool = False
    fault: str | None = None
    occurrence: int = 0
    cached_tokens: int = 0
    refusal: tuple[int, str] | None = None

    def packed(self) -> Task:
        """Return the task with its request compressed, because a hundred thousand waiting tasks must fit into memory.

        Raises:
            BadInput: It is nested too deeply.
        """
        if isinstance(self.body, bytes):
            return self
        return replace(self, body=pack(_encoded(self.body)))

    def request(self) -> Mapping[str, Any]:
        """Return the request as sent."""
        body = self.body
        if not isinstance(body, bytes):
            return body
        value: dict[str, Any] = orjson.loads(unpack(body))
        return value


def read(body: Mapping[str, Any], model: str, behaviour: Behaviour, *, is_synchronous: bool = True) -> Task:
    """Check one request and make its task. Unknown fields are ignored [documented: allowed].

    Args:
        body: The request.
        model: The model that was asked for.
        behaviour: The choices where the service is not documented.
        is_synchronous: Whether it is a synchronous request. In a job, a refusal of the model fails only this item
            [assumed], while an error against the input schema fails the whole submit.

    Raises:
        BadInput: The request does not fit the input schema; for example it has neither a prompt nor a message.
        Refused: The model refuses the request.
    """
    messages = _messages(body)
    _check_messages(messages, behaviour)
    reference = body.get("external_reference")
    if reference is not None and not isinstance(reference, str):
        raise BadInput("Type mismatch of '/external_reference', 'string' not in 'object'")
    _check_ranges(body)
    thinking.check(body)
    _encoded(body.get("response_format"))
    key = _digest(question(messages))
    correction = _digest(messages) if is_correction(messages) else ""
    try:
        if not is_synchronous:
            vision.check_queued(messages, behaviour.queue_images)
        _check_model(body, messages, model, behaviour)
        names, count = prefixes.blocks(_pieces(messages, body.get("tools"), behaviour.image_tokens))
        _check_context(model, count)
    except BadInput:
        raise
    except Refused as refusal:
        if is_synchronous:
            raise
        return Task(body, reference, key, correction, refusal=(refusal.code, refusal.message))
    structured = jsonmode.form(body.get("response_format")) is not None
    return Task(body, reference, key, correction, count, names, structured)


def write(
    task: Task,
    *,
    completion_id: str,
    model: str,
    behaviour: Behaviour,
    answer: Answer | None,
    faults: Faults,
    seed: int,
) -> Completion:
    """Answer a task, and spoil the answer if it has a fault.

    Args:
        task: The task.
        completion_id: 32 hex digits.
        model: The model that was asked for.
        behaviour: The choices where the service is not documented.
        answer: The function that replaces the rule-based model; None keeps the model.
        faults: How often each value of an answer is made wrong.
        seed: Decides which values are.

    Raises:
        Refused: 8006, a forced tool call does not fit into the token limit.
    """
    request = task.request()
    messages = _messages(request)
    thinks = thinking.is_on(request, model, behaviour.thinking_switch)
    declared = tool_calls.read(request)

    def words(want: Wanted) -> str:
        if answer is not None:
            return answer(messages, want.schema if isinstance(want.schema, dict) else None)
        from kimi_beam.emulator.rules import model as rules  # not for an emulator whose answers come from elsewhere

        return rules.answer(messages, want, tool_calls.results(messages))

    def arguments(function: tool_calls.Function) -> str:
        known = isinstance(function.parameters, Mapping) and function.parameters.get("properties")
        return words(Wanted("schema", function.parameters)) if known else "{}"

    def fills(function: tool_calls.Function) -> bool:
        needed = tool_calls.required(function)
        if not needed or answer is not None:
            return False
        given = orjson.loads(arguments(function))
        return isinstance(given, dict) and all(given.get(name) is not None for name in needed)

    binding = behaviour.required_tools == "enforced" or not thinks
    calls = tool_calls.chosen(declared, messages, binding=binding, fills=fills)
    rule = request.get("response_format")
    want = wanted(messages, rule, enforce=jsonmode.enforced(rule, behaviour))
    if calls:
        want = Wanted("schema", calls[0].parameters)
    content = arguments(calls[0]) if calls else words(want)
    wrong: tuple[WrongLeaf, ...] = ()
    if faults.has_wrong_leaves and want.kind == "schema":
        from kimi_beam.emulator.rules.plan import plan  # for an emulator that is told to answer wrongly alone
        from kimi_beam.emulator.rules.wrong_values import with_wrong_values

        draws = LeafDraws(faults.probability, seed, task.key, task.occurrence)
        shown = document_in(text_of(question(messages)))
        content, wrong = with_wrong_values(content, plan(want.schema), shown, draws.draw)
    reasoning = thinking.text(behaviour.reasoning_tokens) if thinks else None
    count = tokens.estimate(content) + tokens.estimate(reasoning or "")
    good = Completion(completion_id, content, "stop", task.prompt_tokens, count, task.cached_tokens, reasoning)
    good = replace(good, wrong_leaves=wrong)
    spoilt = spoil(good, task.fault, want.schema)
    limit = request.get("max_completion_tokens", request.get("max_tokens"))
    done = shorten(spoilt, limit)
    if not calls:
        return done
    if done is not spoilt and declared.choice == "named":
        raise Refused(8006)
    return _calling(done, [(call.name, arguments(call)) for call in calls[1:]], calls[0].name)


def _calling(completion: Completion, others: Sequence[tuple[str, str]], name: str) -> Completion:
    """Turn an answer into tool calls, next to which the content is null [documented: release notes 2026-02-17]."""
    if completion.content is None:
        return completion
    pairs = [(name, completion.content), *(others if completion.finish_reason == "stop" else ())]
    made = tuple(
        ToolCall(f"call_{_digest(f'{completion.id}:{n}')[:24]}", function, text)
        for n, (function, text) in enumerate(pairs)
    )
    count = completion.completion_tokens + sum(tokens.estimate(text) for _, text in pairs[1:])
    reason = "tool_calls" if completion.finish_reason == "stop" else completion.finish_reason
    return replace(completion, content=None, finish_reason=reason, completion_tokens=count, tool_calls=made)


def _messages(body: Mapping[str, Any]) -> list[Any]:
    messages = body.get("messages")
    if messages is None and isinstance(body.get("prompt"), str):
        return [{"role": "user", "content": body["prompt"]}]
    if messages is None:
        raise BadInput(
            "oneOf at '/' not met, 0 matches: required properties at '/' are 'prompt', "
            "required properties at '/' are 'messages'"
        )
    if not isinstance(messages, list) or not messages:
        raise BadInput("oneOf at '/' not met, 0 matches: '/messages' must be an array of at least 1 item")
    return messages


def _check_messages(messages: list[Any], behaviour: Behaviour) -> None:
    for number, message in enumerate(messages):
        place = f"oneOf at '/' not met, 0 matches: at '/messages/{number}' "
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadInput(f"{place}required properties are 'role,content'")
        if message["role"] not in _ROLES:
            raise BadInput(f"{place}'role' must be one of {', '.join(_ROLES)}")
        if message["role"] == "tool" and not isinstance(message.get("tool_call_id"), str):
            raise BadInput(f"{place}required properties are 'tool_call_id'")
        if message.get("content") is None and behaviour.null_content == "refused" and "content" in message:
            raise BadInput(f"{place}'/content' type mismatch, 'string' not in 'null'")


def _check_model(body: Mapping[str, Any], messages: Sequence[Any], model: str, behaviour: Behaviour) -> None:
    """Check the request against the limits of the model, which the input schema does not know."""
    declared = tool_calls.read(body)
    vision.check(messages, behaviour.image_urls)
    if behaviour.image_texts == "refused":
        vision.check_texts(messages)
    jsonmode.check(body.get("response_format"), model, behaviour)
    if declared.choice == "named" and thinking.is_switched(body) and behaviour.forced_tool_with_switch == "error":
        raise Refused(8005)


def _check_context(model: str, count: int) -> None:
    """Refuse a prompt that is too long [documented: an error; observed: the message; assumed: the code]."""
    if model in MODELS and count > (context := MODELS[model].context):
        words = f"maximum context length is {context} tokens, your prompt contains at least {count} input tokens"
        raise Refused(3030, f"AiError: AiError: This model's {words}")


def _check_ranges(body: Mapping[str, Any]) -> None:
    """Check numbers as the input schema does [documented]."""
    for name, (low, high) in _RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise BadInput(f"'/{name}' must be a number from {low} to {high}")


def _pieces(messages: Sequence[Mapping[str, Any]], declared: object, image_tokens: int) -> Iterator[tuple[str, bytes]]:
    """Yield the pieces of a prompt in the order in which a model reads them: the tools, then turn by turn."""
    if declared:
        yield "tools", _encoded(declared)
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else (content,):
            if isinstance(part, Mapping) and part.get("type") == "image_url":
                name = blake2b(vision.address(part).encode("utf-8", "surrogatepass"), digest_size=16).digest()
                size = image_tokens * tokens.BYTES_PER_TOKEN
                yield "image", (name * (1 + size // len(name)))[:size]
            else:
                text = text_of(part if isinstance(part, str) else [part])
                yield str(message.get("role")), text.encode("utf-8", "surrogatepass")
        if message.get("tool_calls"):
            yield "calls", _encoded(message["tool_calls"])


def _digest(value: object) -> str:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else _encoded(value)
    return blake2b(data, digest_size=16).hexdigest()


def _encoded(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:  # orjson reads deeper nesting than it writes
        raise BadInput(f"too deeply nested: {error}") from None
