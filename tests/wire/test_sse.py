"""A stream is joined into the completion that an unstreamed reply would hold, or is known to have broken off."""

from __future__ import annotations

import json
from typing import Any

import pytest
from exchanges import STREAMS, events_of, json_values, streams
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.wire.sse import Streamed, assemble


def sse(*events: Any, done: bool = True) -> bytes:
    lines = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    return lines + (b"data: [DONE]\n\n" if done else b"")


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


def message(body: bytes) -> dict[str, Any]:
    stream = assemble(body)
    assert stream.errors is None
    found: dict[str, Any] = stream.result["choices"][0]["message"]
    return found


# ------------------------------------------------------------------------------------------------ texts

_pieces = st.lists(st.text(max_size=12), max_size=8)


@settings(derandomize=True, max_examples=300)
@given(_pieces, _pieces, st.sampled_from(["reasoning", "reasoning_content"]))
def test_a_text_is_its_pieces_in_order_and_reasoning_is_none_of_them(
    pieces: list[str], thoughts: list[str], place: str
) -> None:
    events = [chunk({place: thought}) for thought in thoughts] + [chunk({"content": piece}) for piece in pieces]
    stream = assemble(sse(*events, chunk({}, "stop")))
    assert stream.is_whole
    (choice,) = stream.result["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"].get("content") == ("".join(pieces) if pieces else None)
    assert choice["message"].get(place) == ("".join(thoughts) if thoughts else None)


@settings(derandomize=True, max_examples=200)
@given(_pieces.filter(bool), st.booleans())
def test_a_text_that_stands_twice_in_an_event_counts_once(pieces: list[str], echoes: bool) -> None:
    events = [chunk({"content": piece}, response=piece) if echoes else chunk({"content": piece}) for piece in pieces]
    body = sse(*events, chunk({}, "stop"), {"response": "", "usage": {}})
    assert message(body)["content"] == "".join(pieces)


@settings(derandomize=True, max_examples=200)
@given(_pieces)
def test_the_older_form_is_the_texts_of_its_events(pieces: list[str]) -> None:
    stream = assemble(sse(*({"response": piece, "p": "x"} for piece in pieces)))
    assert stream == Streamed({"response": "".join(pieces)}, None, is_whole=True)


@settings(derandomize=True, max_examples=200)
@given(st.sampled_from(STREAMS), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.sampled_from([b"data:", b"data: "]))
def test_lines_may_end_as_the_specification_allows(stream: dict[str, Any], end: bytes, field: bytes) -> None:
    body = stream["reply"]["body"].encode()
    other = body.replace(b"data: ", field).replace(b"\n", end)
    assert assemble(other) == assemble(body)


def test_comments_other_fields_and_events_of_several_lines_are_read_as_the_specification_says() -> None:
    body = b': keep-alive\n\nevent: message\nid: 7\nretry: 5\ndata: {"response":\ndata: "a"}\n\n: x\n\n\n\ndata: [DONE]'
    assert assemble(body) == Streamed({"response": "a"}, None, is_whole=True)


def test_white_space_and_control_characters_of_a_text_are_its_own() -> None:
    text = "  a\u2028b\u0085c\n\n d "
    assert message(sse(chunk({"content": text}), chunk({}, "stop")))["content"] == text


# ------------------------------------------------------------------------------------------------ function calls


def call(index: int, **function: str) -> dict[str, Any]:
    return chunk({"tool_calls": [{"index": index, "function": function}]})


@settings(derandomize=True, max_examples=200)
@given(st.lists(_pieces, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_arguments_of_several_calls_come_in_pieces_between_each_other(arguments: list[list[str]], chance: Any) -> None:
    queues = [
        [chunk({"tool_calls": [{"index": n, "id": f"id-{n}", "function": {"name": f"f{n}", "arguments": ""}}]})]
        + [call(n, arguments=piece) for piece in pieces]
        for n, pieces in enumerate(arguments)
    ]
    events = [queue.pop(0) for queue in queues]
    while any(queues):
        events.append(chance.choice([queue for queue in queues if queue]).pop(0))
    found = message(sse(*events, chunk({}, "tool_calls")))["tool_calls"]
    assert found == [
        {"id": f"id-{n}", "type": "function", "function": {"name": f"f{n}", "arguments": "".join(pieces)}}
        for n, pieces in enumerate(arguments)
    ]


def test_whole_calls_without_an_index_are_calls_of_their_own() -> None:
    whole = [{"id": f"id-{n}", "function": {"name": "look", "arguments": f'{{"n":{n}}}'}} for n in range(2)]
    for events in ([chunk({"tool_calls": whole})], [chunk({"tool_calls": [one]}) for one in whole]):
        calls = message(sse(*events, chunk({}, "tool_calls")))["tool_calls"]
        assert [one["function"]["arguments"] for one in calls] == ['{"n":0}', '{"n":1}'], "two calls became one"


@pytest.mark.parametrize("odd", [None, "x", {}, [None], ["x"], [{}], [{"function": []}], [{"index": "0"}], [[]]])
def test_calls_that_are_none_do_not_cost_the_text(odd: Any) -> None:
    body = sse(chunk({"content": "a", "tool_calls": odd}), chunk({"content": "b"}, "stop"))
    assert message(body)["content"] == "ab"


# ------------------------------------------------------------------------------------------------ tokens and the end


@settings(derandomize=True, max_examples=200)
@given(st.lists(st.none() | st.dictionaries(st.sampled_from(["prompt_tokens"]), st.integers()), max_size=6))
def test_the_last_statement_of_tokens_wins(usages: list[Any]) -> None:
    events = [chunk({"content": "a"}, usage=usage) for usage in usages]
    stated = [usage for usage in usages if usage is not None]
    assert assemble(sse(*events)).result.get("usage") == (stated[-1] if stated else None)


def test_tokens_in_a_last_chunk_without_choices_do_not_lose_the_text() -> None:
    stream = assemble(sse(chunk({"content": "a"}, "stop"), {"choices": [], "usage": {"prompt_tokens": 1}}))
    assert stream.result["usage"] == {"prompt_tokens": 1}
    assert stream.result["choices"][0]["message"]["content"] == "a"


def test_a_stream_has_ended_when_it_says_so_in_either_way() -> None:
    assert assemble(sse(chunk({"content": "a"}, "stop"), done=False)).is_whole, "no [DONE], but a reason of the end"
    assert assemble(sse(chunk({"content": "a"}))).is_whole
    assert not assemble(sse(chunk({"content": "a"}), done=False)).is_whole
    assert not assemble(sse({"response": "a"}, done=False)).is_whole
    assert not assemble(b"").is_whole


@pytest.mark.parametrize("stream", STREAMS, ids=[stream["name"] for stream in STREAMS])
def test_a_stream_cut_before_its_end_is_never_taken_for_a_whole_one(stream: dict[str, Any]) -> None:
    body = stream["reply"]["body"].encode()
    whole = assemble(body)
    end = min((at for at in (body.find(b'"finish_reason": "'), body.find(b"[DONE]")) if at >= 0), default=len(body))
    for at in range(0, end, 7):
        cut = assemble(body[:at])
        assert not cut.is_whole
        assert cut.errors in (None, whole.errors)


# ------------------------------------------------------------------------------------------------ errors and garbage


def test_an_error_is_heard_as_the_first_event_and_in_the_middle_and_in_both_forms() -> None:
    stated = [{"code": 3040, "message": "AiError: Capacity"}]
    for before in ([], [chunk({"content": "a"})]):
        for event in ({"errors": stated}, {"success": False, "errors": stated, "result": {}}):
            stream = assemble(sse(*before, event))
            assert (stream.errors, stream.is_whole, stream.has_begun) == (stated, False, bool(before))
        openai = {"message": "overloaded", "code": 503}
        stream = assemble(sse(*before, {"error": openai}))
        assert (stream.errors, stream.is_whole, stream.has_begun) == (openai, False, bool(before))


def test_events_that_are_no_json_cost_no_others() -> None:
    body = sse(chunk({"content": "a"}), done=False) + b"data: {\n\ndata: \xff\n\ndata: [1]\n\ndata\n\n: \n\n"
    assert message(body + sse(chunk({"content": "b"}, "stop")))["content"] == "ab"


@settings(derandomize=True, max_examples=600)
@given(streams | st.binary(max_size=200) | st.lists(json_values, max_size=5).map(lambda events: sse(*events)))
def test_a_stream_of_any_shape_comes_to_something(body: bytes) -> None:
    stream = assemble(body)
    assert isinstance(stream.result, dict)
    assert isinstance(stream.is_whole, bool)
    assert not (stream.errors and stream.is_whole)


@pytest.mark.parametrize(
    "deep", [b"[" * 100_000, b'{"choices":' * 100_000, b'{"usage":{"prompt_tokens":' + b"9" * 9_999]
)
def test_an_event_beyond_all_reason_is_skipped(deep: bytes) -> None:
    assert message(b"data: " + deep + b"\n\n" + sse(chunk({"content": "a"}, "stop")))["content"] == "a"


def test_every_literal_stream_is_parsed_here_as_it_is_written() -> None:
    assert len(STREAMS) >= 5
    assert all(events_of(stream) for stream in STREAMS)
