"""Tool calls, synchronous and in the queue."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from kimi_beam.emulator import Behaviour

from .peer import FORM_A, NOTE, SCHEMA, content, events, message, refusal, serving

RECEIPT = {"type": "function", "function": {"name": "receipt", "parameters": SCHEMA}}
PLACE = {
    "type": "object",
    "properties": {"postcode": {"type": "string"}},
    "required": ["postcode"],
}
LOOKUP = {"type": "function", "function": {"name": "lookup_city", "description": "A city.", "parameters": PLACE}}
FORCED = {"type": "function", "function": {"name": "receipt"}}
DOCUMENT = "Corner Cafe\nTotal: 9.00"
ARGUMENTS = '{"company":"Corner Cafe","total":"9.00"}'
QUIET: dict[str, Any] = {"chat_template_kwargs": {"thinking": False}}


def names(found: dict[str, Any]) -> list[str]:
    return [call["function"]["name"] for call in found["tool_calls"] or ()]


def test_a_named_function_is_called_with_arguments_that_fill_its_parameters() -> None:
    with serving() as peer:
        reply = peer.run(DOCUMENT, tools=[LOOKUP, RECEIPT], tool_choice=FORCED)
        (choice,) = reply.json()["result"]["choices"]
        call_id = choice["message"]["tool_calls"][0].pop("id")
        assert re.fullmatch("call_[0-9a-f]{24}", call_id)
        assert choice == {
            "index": 0,
            "finish_reason": "tool_calls",
            "logprobs": None,
            "message": {
                "role": "assistant",
                "content": None,
                "reasoning_content": NOTE,
                "tool_calls": [{"type": "function", "function": {"name": "receipt", "arguments": ARGUMENTS}}],
            },
        }
        assert reply.json()["result"]["usage"]["completion_tokens"] == 18


def test_a_called_function_streams_its_name_and_then_its_arguments() -> None:
    with serving() as peer:
        parts = events(peer.chat(tools=[RECEIPT], tool_choice=FORCED, stream=True))
        calls = [c for part in parts for c in part["choices"][0]["delta"].get("tool_calls", [])]
        head, *rest = calls
        assert re.fullmatch("call_[0-9a-f]{24}", head.pop("id"))
        assert head == {"index": 0, "type": "function", "function": {"name": "receipt", "arguments": ""}}
        assert {(call["index"], *call["function"]) for call in rest} == {(0, "arguments")}
        assert "".join(call["function"]["arguments"] for call in rest) == ARGUMENTS
        assert parts[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_named_function_in_the_queue() -> None:
    with serving() as peer:
        chat = [{"role": "user", "content": DOCUMENT}]
        forced = {"messages": chat, "tools": [RECEIPT], "tool_choice": FORCED}
        (part,) = peer.results(peer.submit({**forced, "external_reference": "r"}))
        (choice,) = part["result"]["choices"]
        assert (choice["finish_reason"], choice["matched_stop"], choice["message"]["content"]) == (
            "tool_calls",
            163586,
            None,
        )
        assert choice["message"]["tool_calls"][0]["function"] == {"name": "receipt", "arguments": ARGUMENTS}
        (failed,) = peer.results(peer.submit({**forced, "max_completion_tokens": 12, "external_reference": "r"}))
        message = "AiError: AiError: The forced tool call did not fit into the token limit"
        error = {"code": 8006, "message": message}
        assert failed == {"index": 0, "success": False, "error": error, "external_reference": "r"}
        (failed,) = peer.results(peer.submit({**forced, "tool_choice": "any"}))
        assert (failed["success"], failed["error"]["code"]) == (False, 8001)


def test_the_choice_of_tools() -> None:
    with serving() as peer:
        both = [RECEIPT, LOOKUP]
        assert names(message(peer.run(DOCUMENT, tools=both, tool_choice="none"))) == []
        assert names(message(peer.run("hello", tools=both, tool_choice="auto"))) == []
        assert names(message(peer.run("hello, use lookup_city", tools=both))) == ["lookup_city"]
        assert names(message(peer.run("hello, use lookup_cities", tools=both))) == []
        text = f"{DOCUMENT}\nPostcode: 10115"
        assert names(message(peer.run(text, tools=both))) == ["receipt", "lookup_city"]
        assert names(message(peer.run(text, tools=both, parallel_tool_calls=False))) == ["receipt"]


def test_required_is_advice_while_the_model_thinks() -> None:
    with serving() as peer:
        assert names(message(peer.run("hello", tools=[LOOKUP], tool_choice="required"))) == []
        found = message(peer.run("hello", tools=[LOOKUP], tool_choice="required", **QUIET))
        assert names(found) == ["lookup_city"]
        assert found["reasoning_content"] is None
    with serving(behaviour=Behaviour(required_tools="enforced")) as peer:
        assert names(message(peer.run("hello", tools=[LOOKUP], tool_choice="required"))) == ["lookup_city"]


@pytest.mark.parametrize(
    "choice", ["any", "maybe", 7, {"type": "function"}, {"type": "function", "function": {"name": "nobody"}}]
)
def test_choices_that_do_not_exist_are_8001(choice: Any) -> None:
    with serving() as peer:
        assert refusal(peer.run(DOCUMENT, tools=[RECEIPT], tool_choice=choice)) == (400, 8001)


def test_tools_that_are_none() -> None:
    with serving() as peer:
        assert refusal(peer.run(DOCUMENT, tool_choice="required")) == (400, 8001)
        for tools in ({}, [7], [{"type": "function"}], [{"name": "receipt"}]):  # type: ignore[var-annotated]
            assert refusal(peer.run(DOCUMENT, tools=tools)) == (400, 5006)
        bare = {"type": "function", "function": {"name": "now"}}
        named = {"type": "function", "function": {"name": "now"}}
        found = message(peer.run(DOCUMENT, tools=[bare], tool_choice=named))
        assert found["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}


def test_too_small_a_limit_for_a_forced_tool_is_8006_and_for_another_a_cut_answer() -> None:
    with serving() as peer:
        assert refusal(peer.run(DOCUMENT, tools=[RECEIPT], tool_choice=FORCED, max_tokens=17)) == (400, 8006)
        assert peer.run(DOCUMENT, tools=[RECEIPT], tool_choice=FORCED, max_tokens=18).status_code == 200
        choice = peer.run(DOCUMENT, tools=[RECEIPT], max_tokens=12).json()["result"]["choices"][0]
        assert choice["finish_reason"] == "length"
        assert choice["message"]["tool_calls"][0]["function"]["arguments"] == ARGUMENTS[:16]
        choice = peer.run(DOCUMENT, tools=[RECEIPT], max_tokens=8).json()["result"]["choices"][0]
        assert (choice["finish_reason"], choice["message"]["tool_calls"]) == ("length", None)


def test_a_conversation_with_a_tool_ends_in_an_answer_that_uses_its_result() -> None:
    city = {"type": "object", "properties": {"total": {"type": "string"}, "city": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": city}}
    chat: list[dict[str, Any]] = [{"role": "user", "content": f"{DOCUMENT}\nPostcode: 10115"}]
    with serving() as peer:
        asked = message(peer.run(messages=chat, tools=[LOOKUP], response_format=form))
        (call,) = asked["tool_calls"]
        assert json.loads(call["function"]["arguments"]) == {"postcode": "10115"}
        chat += [
            {"role": "assistant", "content": "", "reasoning": "so", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": '{"city": "Berlin"}'},
        ]
        answered = message(peer.run(messages=chat, tools=[LOOKUP], response_format=form))
        assert answered["tool_calls"] is None
        assert json.loads(answered["content"]) == {"total": "9.00", "city": "Berlin"}


def test_null_content_is_refused_beside_tool_calls() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "receipt", "arguments": "{}"}}
    chat = [
        {"role": "user", "content": DOCUMENT},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ]
    with serving() as peer:
        assert refusal(peer.run(messages=chat)) == (400, 5006)
        assert peer.chat(peer.emulator.openai_url, messages=chat).status_code == 200
        lost = {"role": "tool", "content": "done"}
        assert refusal(peer.run(messages=[chat[0], lost])) == (400, 5006)
    with serving(behaviour=Behaviour(null_content="accepted")) as peer:
        assert peer.run(messages=chat).status_code == 200


def test_a_forced_tool_with_a_thinking_switch_fails_where_that_was_reported() -> None:
    with serving() as peer:
        assert peer.run(DOCUMENT, tools=[RECEIPT], tool_choice=FORCED, **QUIET).status_code == 200
    with serving(behaviour=Behaviour(forced_tool_with_switch="error")) as peer:
        assert refusal(peer.run(DOCUMENT, tools=[RECEIPT], tool_choice=FORCED, **QUIET)) == (500, 8005)
        assert peer.run(DOCUMENT, tools=[RECEIPT], tool_choice=FORCED).status_code == 200


@pytest.mark.parametrize("fault", ["truncated", "empty", "invalid"])
def test_faults_spoil_arguments_as_they_spoil_answers(fault: Any) -> None:
    with serving(faults=f"{fault}=1") as peer:
        choice = peer.run(DOCUMENT, tools=[RECEIPT], tool_choice=FORCED).json()["result"]["choices"][0]
        calls = choice["message"]["tool_calls"]
        seen = (choice["finish_reason"], calls and calls[0]["function"]["arguments"])
        expected = {
            "truncated": ("length", ARGUMENTS[: len(ARGUMENTS) // 2]),
            "empty": ("length", None),
            "invalid": ("tool_calls", '{"total":"9.00"}'),
        }
        assert seen == expected[fault]
        assert choice["message"]["content"] is None


def test_a_function_of_the_callers_fills_the_arguments() -> Any:
    def answer(messages: list[Any], schema: dict[str, Any] | None) -> str:
        return json.dumps(schema and sorted(schema["properties"]))

    with serving(answer=answer) as peer:
        found = message(peer.run(DOCUMENT, tools=[RECEIPT], tool_choice=FORCED))
        assert found["tool_calls"][0]["function"]["arguments"] == '["company", "total"]'
        assert message(peer.run(DOCUMENT, tools=[RECEIPT]))["content"] == "null"
        (part,) = peer.results(peer.submit({"messages": [{"role": "user", "content": "x"}], "response_format": FORM_A}))
        assert content(part) == '["company", "total"]'
