"""Answers are decoded: each kind of failure has its code, reasoning is never the answer, and no reply raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from exchanges import NOW, WIRE, assert_answer, bodies, damaged, exchanges, json_values, reply_of, streams, usage_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.results.judging import judge
from kimi_beam.results.settle_replies import Question, extractions, replies_of_batch, settle
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.extraction import Extraction
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket
from kimi_beam.wire.completions import (
    Answered,
    ToolCall,
    ToolCalls,
    decode_completion,
    decode_item,
    decode_run,
    failure_of,
)
from kimi_beam.wire.envelopes import HttpReply, NoReply, Refused, Unknown, Unsent
from kimi_beam.wire.service_errors import ERRORS, Remedy, ServiceError

SCHEMA = OutputSchema({"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]})
ASKED = Question(SCHEMA, "m")
LOOK = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q": 1}'}}
DOC = {"id": "c2", "type": "function", "function": {"name": "doc", "arguments": '{"total": 1}'}}


def completion(content: Any = '{"total": 1}', finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **more}}]
    }


def http(body: Any, status: int = 200, **more: Any) -> HttpReply:
    return HttpReply(status, body if isinstance(body, bytes) else json.dumps(body).encode(), **more)


def sse(*events: Any) -> HttpReply:
    body = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    return HttpReply(200, body, content_type="text/event-stream; charset=utf-8")


# ------------------------------------------------------------------------------------------------ literal exchanges


@exchanges("run", "chat", "stream")
def test_a_run_is_what_the_contract_says(exchange: dict[str, Any]) -> None:
    expected = exchange["expect"]
    result = decode_run(
        reply_of(exchange),
        NOW,
        answer_tool=expected.get("answer_tool"),
        calls_tools=expected.get("calls_tools", False),
    )
    if expected["outcome"] == "unknown":
        assert isinstance(result, Unknown)
    elif expected["outcome"] == "refused":
        assert isinstance(result, Refused)
        error = result.error
        assert (error.status, error.code) == (expected["status"], expected["code"])
        assert error.remedy is Remedy[expected["remedy"]]
        assert error.retry_after == expected["retry_after"]
        assert "message" not in expected or error.message == expected["message"]
        assert "AiError" not in str(error)
    else:
        assert isinstance(result, Answered)
        assert result.usage == usage_of(expected["usage"])
        if "calls" in expected:
            assert result.result == ToolCalls(
                tuple(ToolCall(*call) for call in expected["calls"]), reasoning=expected["reasoning"]
            )
        else:
            assert_answer(expected, result.result)


def test_there_are_exchanges_of_each_synchronous_kind_and_what_they_ask_is_of_the_contract() -> None:
    asked = [exchange for exchange in WIRE if exchange["kind"] in ("run", "chat", "stream")]
    assert len(asked) >= 20
    for exchange in asked:
        request = exchange["request"]
        assert request["path"].endswith("/ai/v1/chat/completions") is ("model" in request["body"])
        assert request["body"].get("stream", False) is (exchange["kind"] == "stream")


BOTH = r'{"text":"%s","calls":[{"name":"look","arguments":"{\"q\": 1}"}]}'

# ------------------------------------------------------------------------------------------------ each trouble its code


@pytest.mark.parametrize(
    ("result", "code", "retryable", "raw"),
    [
        # workers-ai.md 10, first rows, and 4
        (completion(None, "length", reasoning_content="I think"), "truncated", False, "I think"),
        (completion("", "length", reasoning="I think"), "truncated", False, "I think"),
        (completion('{"tot', "length"), "truncated", False, '{"tot'),
        (completion('{"total": 1}', "length"), "truncated", False, '{"total": 1}'),
        (completion(None), "empty_answer", True, None),
        (completion(""), "empty_answer", True, None),
        (completion(" \n\n "), "empty_answer", True, " \n\n "),
        (completion(None, "stop", reasoning_content='{"total": 1}'), "answer_in_reasoning", True, '{"total": 1}'),
        (completion(None, "stop", reasoning='{"total": 1}'), "answer_in_reasoning", True, '{"total": 1}'),
        (completion(None, "stop", refusal="I cannot."), "refusal", False, "I cannot."),
        (completion("half", "stop", refusal="I cannot."), "refusal", False, "half"),
        (completion(None, "content_filter"), "content_filter", False, None),
        (completion("half", "content_filter"), "content_filter", False, "half"),
        (completion(None, "tool_calls", tool_calls=[LOOK]), "tool_call", False, '{"q": 1}'),
        (completion("I look.", "tool_calls", tool_calls=[LOOK]), "tool_call", False, BOTH % "I look."),
        (completion('{"total": 1}', "stop", tool_calls=[LOOK]), "tool_call", False, BOTH % r"{\"total\": 1}"),
        (completion(None, "tool_calls", tool_calls=None), "tool_call", False, None),
        (completion(None, "function_call"), "tool_call", False, None),
        ({"choices": []}, "malformed_item", True, '{"choices":[]}'),
        ({"choices": None}, "malformed_item", True, '{"choices":null}'),
        ({"choices": [None]}, "malformed_item", True, '{"choices":[null]}'),
        ({"choices": [{"message": "x"}]}, "malformed_item", True, '{"choices":[{"message":"x"}]}'),
        ({}, "malformed_item", True, None),
        ({"response": None}, "malformed_item", True, '{"response":null}'),
        ({"response": ""}, "empty_answer", True, None),
    ],
)
def test_each_trouble_of_an_answer_has_a_code_of_its_own(
    result: dict[str, Any], code: str, retryable: bool, raw: str | None
) -> None:
    found = decode_completion(result)
    assert isinstance(found, Failure)
    assert (found.stage, found.code, found.retryable, found.raw) == ("infer", code, retryable, raw)
    assert found == decode_completion(result, answer_tool="doc"), "the answer's tool was not called"


@pytest.mark.parametrize(
    "text",
    [
        '{"total": 1}',
        '\n\n  {"total": 1}',
        '```json\n{"total": 1}\n```',
        '\n\n```json\n{"total": 1}\n```\n',
        'Here it is: {"total": 1} - as asked.',
        '{"total": 1}' + " " * 5_000,
        '<think>{"total": 7}</think>{"total": 1}',
    ],
)
def test_what_stands_around_an_answer_is_left_to_validation_which_takes_it_off(text: str) -> None:
    found = decode_completion(completion(text, reasoning_content='{"total": 7}'))
    assert isinstance(found, Completion)
    assert found.text == text
    judged = judge(found.text, SCHEMA)
    assert not isinstance(judged, Failure)
    assert judged.value == {"total": 1}


def test_a_copy_of_the_schema_is_not_data() -> None:
    found = decode_completion(completion(json.dumps(SCHEMA.response_format["json_schema"]["schema"])))
    assert isinstance(found, Completion)
    judged = judge(found.text, SCHEMA)
    assert isinstance(judged, Failure)
    assert judged.code == "schema_violation"


def test_content_parts_are_joined_and_others_left_out() -> None:
    parts = [{"type": "text", "text": '{"tot'}, {"type": "image"}, None, "x", {"text": 5}, {"text": 'al": 1}'}]
    found = decode_completion(completion(parts))
    assert isinstance(found, Completion)
    assert found.text == '{"total": 1}'


@pytest.mark.parametrize("response", ['{"total": 1}', {"total": 1}, [1, {"a": None}], ' {"total":1}', 5, False, {}, []])
def test_the_older_form_is_a_text_or_what_was_parsed_already(response: Any) -> None:
    found = decode_completion({"response": response, "tool_calls": []})
    assert isinstance(found, Completion)
    assert json.loads(found.text) == (json.loads(response) if isinstance(response, str) else response)
    assert (found.finish_reason, found.created, found.model) == (None, None, None)


# ------------------------------------------------------------------------------------------------ function calls


@pytest.mark.parametrize("finish", ["tool_calls", "stop", "function_call", None])
@pytest.mark.parametrize("calls", [[DOC], [LOOK, DOC], [DOC, LOOK]])
def test_the_arguments_of_the_answers_tool_are_the_answer_whatever_else_is_called(finish: Any, calls: Any) -> None:
    result = completion("I call.", finish, tool_calls=calls)
    for calls_tools in (False, True):
        found = decode_completion(result, answer_tool="doc", calls_tools=calls_tools)
        assert isinstance(found, Completion)
        assert found.text == '{"total": 1}'


def test_arguments_that_were_cut_are_truncated_and_kept() -> None:
    cut = {**DOC, "function": {"name": "doc", "arguments": '{"tot'}}
    found = decode_completion(completion(None, "length", tool_calls=[cut]), answer_tool="doc")
    assert isinstance(found, Failure)
    assert (found.code, found.raw) == ("truncated", '{"tot')


def test_a_model_that_answers_in_words_though_it_was_told_to_call_is_read() -> None:
    found = decode_completion(completion('{"total": 1}'), answer_tool="doc")
    assert isinstance(found, Completion)


def test_empty_arguments_are_an_empty_answer() -> None:
    empty = {**DOC, "function": {"name": "doc", "arguments": ""}}
    found = decode_completion(completion(None, "tool_calls", tool_calls=[empty]), answer_tool="doc")
    assert isinstance(found, Failure)
    assert found.code == "empty_answer"


def test_functions_are_called_only_where_they_were_offered() -> None:
    result = completion("Let me see.", "tool_calls", tool_calls=[LOOK, DOC], reasoning="Hm.")
    expected = ToolCalls(
        (ToolCall("c1", "look", '{"q": 1}'), ToolCall("c2", "doc", '{"total": 1}')), "Let me see.", "Hm."
    )
    assert decode_completion(result, calls_tools=True) == expected
    assert isinstance(decode_completion(result), Failure)
    queued, _ = decode_item({"index": 0, "result": result})
    assert isinstance(queued, Failure)
    assert queued.code == "tool_call"


def test_calls_in_odd_forms_are_read_or_left_out() -> None:
    parsed = {"function": {"name": "look", "arguments": {"q": 1}}}
    odd = [None, {}, {"function": None}, {"function": {"name": 5}}, "x", {"id": 7, **parsed}, {"id": "", **parsed}]
    found = decode_completion(completion(None, "tool_calls", tool_calls=odd), calls_tools=True)
    assert found == ToolCalls((ToolCall("call_5", "look", '{"q":1}'), ToolCall("call_6", "look", '{"q":1}')))
    for none in ([], "x", {}, 5, None, [None]):  # type: ignore[var-annotated]
        assert isinstance(decode_completion(completion(tool_calls=none), calls_tools=True), Completion)


# ------------------------------------------------------------------------------------------------ replies


def test_a_reply_that_never_came_is_unsent_or_unknown() -> None:
    assert decode_run(NoReply(sent=False, message="refused"), NOW) == Unsent("refused")
    assert decode_run(NoReply(sent=True, message="reset"), NOW) == Unknown("reset")


@pytest.mark.parametrize("status", [408, 499, 500, 502, 504, 520, 522, 524])
def test_an_edge_that_gave_up_waiting_leaves_it_unknown(status: int) -> None:
    assert isinstance(decode_run(http(b"<html>", status), NOW), Unknown), "it may have been paid for"


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422, 429, 503, 521, 523])
def test_any_other_bare_status_is_a_refusal(status: int) -> None:
    result = decode_run(http(b"<html>no</html>", status), NOW)
    assert isinstance(result, Refused)
    assert (result.error.status, result.error.code) == (status, None)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"{}", b"[]", b"<html>", b'{"result":{},"success":true}', b'{"choices":5}']
)
def test_a_success_that_holds_no_answer_is_unknown(body: bytes) -> None:
    assert isinstance(decode_run(http(body), NOW), Unknown), "it may have been paid for"


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "", "text/event-stream; charset=utf-8"])
def test_json_is_read_and_a_stream_is_read_whatever_they_are_called(kind: str) -> None:
    stream = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    assert decode_run(http(stream, content_type=kind), NOW) == Answered(Completion("a", "stop", None, None), None)


def test_an_answer_out_of_a_gateways_cache_costs_nothing() -> None:
    body = {"result": {**completion(), "usage": {"prompt_tokens": 9, "completion_tokens": 9}}, "success": True}
    assert decode_run(http(body, from_cache=True), NOW).usage == Usage()  # type: ignore[union-attr]
    assert decode_run(http(body), NOW).usage == Usage(9, 0, 9)  # type: ignore[union-attr]


def test_an_error_in_a_stream_is_refused_in_either_form() -> None:
    stated = decode_run(sse({"errors": [{"code": 3021, "message": "AiError: slow"}]}), NOW)
    assert stated == Refused(ServiceError(200, 3021, "slow"))
    openai = decode_run(sse({"error": {"message": "no such model", "code": 404}}), NOW)
    assert isinstance(openai, Refused)
    assert (openai.error.status, openai.error.message) == (404, "no such model")


@pytest.mark.parametrize("error", ["overloaded", {"message": "overloaded"}, {"message": "overloaded", "code": 503}])
def test_trouble_that_began_within_a_stream_is_not_taken_for_a_refusal_for_good(error: Any) -> None:
    for code, remedy in ((error, Remedy.RETRY), ({"message": "slow down", "code": 429}, Remedy.WAIT)):
        refused = decode_run(sse({"error": code}), NOW)
        assert isinstance(refused, Refused)
        assert refused.error.remedy is remedy


# ------------------------------------------------------------------------------------------------ items


@pytest.mark.parametrize(
    "place",
    [
        lambda error: {"error": error, "success": False},
        lambda error: {"errors": [error], "success": False},
        lambda error: {"result": {"errors": [error]}, "success": True},
        lambda error: {"result": {"errors": [error]}},
        lambda error: {"result": None, "error": error},
    ],
)
@pytest.mark.parametrize(
    ("code", "failure", "retryable"),
    [
        (5024, "json_mode_unmet", True),
        (5023, "json_mode_unsupported", False),
        (5025, "json_mode_unsupported", False),
        (8006, "truncated", False),
        (3030, "item_failed", False),
        (5004, "item_failed", False),
        (8005, "item_failed", True),
        (3040, "item_failed", True),
        (3006, "item_failed", False),
        (5001, "item_failed", True),  # not in the table of errors: the example of section 8, with HTTP 500
        ("invalid", "item_failed", True),
    ],
)
def test_a_failed_item_says_why_wherever_the_reason_lies(place: Any, code: Any, failure: str, retryable: bool) -> None:
    found, usage = decode_item({"index": 0, **place({"code": code, "message": "AiError: words"})})
    assert isinstance(found, Failure)
    assert (found.stage, found.code, found.retryable, usage) == ("infer", failure, retryable, None)
    assert "words" in found.message


def test_a_failed_item_without_a_reason_may_be_tried_again_and_its_tokens_count() -> None:
    for odd in (None, "words", [], [None], {"message": "words"}, {"code": True}, {"code": None}):
        found, usage = decode_item({"success": False, "error": odd, "result": {"usage": {"prompt_tokens": 5}}})
        assert isinstance(found, Failure)
        assert (found.code, found.retryable, usage) == ("item_failed", True, Usage(5, 0, 0))


def test_every_code_of_the_table_is_a_failure_that_can_be_run_again_where_something_helps() -> None:
    for code, (remedy, _) in ERRORS.items():
        failure = failure_of(ServiceError(400, code, "request queuing" if code == 8007 else "words"), "told")
        assert failure.retryable is (remedy not in (Remedy.NEVER, Remedy.SPLIT)), code


# ------------------------------------------------------------------------------------------------ anything at all

_kinds = st.sampled_from(["", "application/json", "text/event-stream"])
_exchanges = st.builds(
    HttpReply,
    status=st.sampled_from([100, 200, 204, 302, 400, 401, 403, 408, 413, 429, 499, 500, 502, 524]),
    body=bodies | streams,
    retry_after=st.none() | st.text(max_size=5),
    ratelimit=st.none() | st.text(max_size=9),
    content_type=_kinds,
    log_id=st.text(max_size=5),
    from_cache=st.booleans(),
) | st.builds(NoReply, sent=st.booleans(), message=st.text(max_size=9))
_tools = st.sampled_from([None, "doc", ""])
_results = [
    exchange["reply"]["body"]["result"]
    for exchange in WIRE
    if exchange["kind"] == "run" and exchange["expect"]["outcome"] == "answered"
]


def settles(*found: Completion | Failure) -> None:
    """Whatever the service answered, each document leaves exactly once."""
    documents = [Reply(Document(str(n), "t"), result) for n, result in enumerate(found)]
    settled = settle(documents, ASKED, NOW)
    outcomes = [*extractions(settled, ASKED), *settled.dead_letters]
    ids = [o.document_id if isinstance(o, Extraction) else o.document.id for o in outcomes]  # type: ignore[attr-defined]
    assert sorted(ids) == sorted(str(n) for n in range(len(found)))
    assert all(isinstance(outcome, (Extraction, DeadLetter)) for outcome in outcomes)


@settings(derandomize=True, max_examples=1_000)
@given(_exchanges, _tools, st.booleans())
def test_an_exchange_of_any_shape_decodes_to_a_value_and_is_settled_once(
    exchange: Any, answer_tool: str | None, calls_tools: bool
) -> None:
    result = decode_run(exchange, NOW, answer_tool=answer_tool, calls_tools=calls_tools)
    assert isinstance(result, (Answered, Refused, Unknown, Unsent))
    if not isinstance(result, Answered):
        told = str(result.error) if isinstance(result, Refused) else result.message
        assert isinstance(exchange, NoReply) or "\n" not in told
        assert len(told) < 700
        return
    assert result.usage is None or min(result.usage.prompt_tokens, result.usage.completion_tokens) >= 0
    if isinstance(result.result, ToolCalls):
        assert calls_tools
        assert result.result.calls
    else:
        settles(result.result)


@settings(derandomize=True, max_examples=700)
@given(st.sampled_from(_results).flatmap(damaged) | json_values, _tools, st.booleans())
def test_a_completion_of_any_shape_is_an_answer_a_failure_or_calls(result: Any, tool: str | None, calls: bool) -> None:
    if isinstance(result, dict):
        found = decode_completion(result, answer_tool=tool, calls_tools=calls)
        assert isinstance(found, (Completion, Failure)) or (calls and isinstance(found, ToolCalls))
        if isinstance(found, Completion):
            assert found.text.strip()
            assert found.text != result.get("reasoning_content")
        if not isinstance(found, ToolCalls):
            settles(found)


@settings(derandomize=True, max_examples=500)
@given(st.lists(st.none() | json_values | st.sampled_from(_results).flatmap(damaged), max_size=4), _tools)
def test_items_of_any_shape_give_each_document_exactly_one_outcome(items: list[Any], tool: str | None) -> None:
    documents = [Document(str(n), "t") for n in range(3)]
    wrapped = [{"index": n % 4, "result": item} if n % 3 else item for n, item in enumerate(items)]
    found, surplus, _ = replies_of_batch("b", documents, wrapped, None, Ticket("r", 1), answer_tool=tool)
    assert [reply.document for reply in found] == documents
    assert 0 <= surplus <= len(items)
    settled = settle(found, ASKED, NOW)
    assert len(settled.reply_indices) + len(settled.dead_letters) == 3


def test_an_answer_in_a_part_of_a_kind_that_is_not_known_stays_in_raw() -> None:
    for content in ([{"type": "output_text", "text": "", "parsed": {"a": 1}}], [{"type": "image", "json": {"a": 1}}]):
        failure = decode_completion({"choices": [{"message": {"role": "assistant", "content": content}}]})
        assert isinstance(failure, Failure)
        assert failure.code == "empty_answer"
        assert '{"a":1}' in (failure.raw or "")


def test_a_parsed_answer_beside_words_that_are_no_json_is_the_answer() -> None:
    message = {"content": "Here it is:", "parsed": {"a": 1}}
    found = decode_completion({"choices": [{"message": message}]})
    assert isinstance(found, Completion)
    assert found.text == '{"a":1}'


def test_an_error_object_under_200_is_a_refusal() -> None:
    body = b'{"object":"error","message":"guided_json unsupported","type":"BadRequestError","code":400}'
    refused = decode_run(HttpReply(200, body), 0.0)
    assert isinstance(refused, Refused)
    assert (refused.error.status, refused.error.message) == (400, "guided_json unsupported")
