"""Answers that are sent as parsed JSON become text again with all their digits, in every form of reply."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import receipts, run_extract, service
from scripted import Asked, Scripted, reply

from kimi_beam.types.answer import Completion
from kimi_beam.types.failure import Failure
from kimi_beam.wire.completions import Answered, decode_item, decode_run
from kimi_beam.wire.envelopes import HttpReply, Unknown, read_json
from kimi_beam.wire.parsed_values import with_texts
from kimi_beam.wire.protocol import Done, decode_poll

VALUES = [
    '{"total": 1.50}',
    '{ "total" : 0.1000000000000000000000001, "text": "} ] \\" \\\\" }',
    '{"n":123456789012345678901,"content":{"response":[1.0]},"parsed":true}',
    '{"a":1,"a":2}',
    '{"a":NaN}',
    '[{"text":"x","page":1}]',
    '[{"type":"invoice","text":"x"}]',
    "[1.50, 2]",
    "[]",
    "{}",
    "1.50",
    "-12e3",
    "true",
    "false",
    "[" * 3_000 + "]" * 3_000,
]


def chat(message: str, beside: str = "") -> bytes:
    return b'{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant",%s}}],"model":"m"%s}' % (
        message.encode(),
        beside.encode(),
    )


def job(*results: bytes) -> bytes:
    items = b",".join(b'{"index":%d,"success":true,"result":%s}' % (n, one) for n, one in enumerate(results))
    return b'{"result":{"results":[%s]},"success":true}' % items


def run(body: bytes) -> Any:
    found = decode_run(HttpReply(200, body), 0.0)
    assert isinstance(found, Answered)
    return found.result


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:20])
def test_a_value_is_the_answer_digit_by_digit_wherever_it_stands(value: str) -> None:
    results = [
        chat(f'"content": {value}'),
        chat(f'"content":null,"parsed":{value}'),
        chat(f'"parsed" : {value} , "content":""'),
        chat(f'"content":{value},"parsed":{value}'),
        chat('"content":null', f',"response":{value}'),
        b'{"response":%s,"usage":null}' % value.encode(),
    ]
    done = decode_poll(HttpReply(200, job(*results)), 0.0)
    assert isinstance(done, Done)
    queued = [decode_item(item)[0] for item in done.items]
    for found in (*queued, *map(run, results)):
        assert isinstance(found, Completion)
        assert found.text == value
    wrapped = run(b'{"result":%s,"success":true}' % results[0])
    assert isinstance(wrapped, Completion)
    assert wrapped.text == value


@pytest.mark.parametrize(
    "pieces", [['{"total": 1.50}'], ['"{\\"total\\": "', "1.50", '"}"'], ['"{\\"total\\": 1"', '"."', "50", '"}"']]
)
def test_a_stream_keeps_tokens_that_are_numbers_and_values(pieces: list[str]) -> None:
    forms = (
        ('{"choices":[{"delta":{"content":', "}}]}"),
        ('{"response":', "}"),
        ('{"choices":[{"delta":{"content":"","parsed":', "}}]}"),
    )
    for before, after in forms:
        events = [before + piece + after for piece in pieces]
        body = "".join(f"data: {event}\n\n" for event in events) + "data: [DONE]\n\n"
        found = decode_run(HttpReply(200, body.encode(), content_type="text/event-stream"), 0.0)
        assert isinstance(found, Answered)
        assert isinstance(found.result, Completion)
        assert found.result.text == '{"total": 1.50}'


def test_values_that_python_already_read_are_answers_too() -> None:
    for message in ({"content": {"a": 1}}, {"content": None, "parsed": {"a": 1}}, {"parsed": {"a": 1}}):
        found, _ = decode_item({"result": {"choices": [{"message": message}]}})
        assert isinstance(found, Completion)
        assert found.text == '{"a":1}'


def test_content_parts_stay_parts_and_texts_stay_texts() -> None:
    parts = (
        '[{"type":"text","text":"{\\"total\\": "},{"type":"text","text":"1.50}"},{"type":"image_url","image_url":{}}]'
    )
    bare = '[{"text":"{\\"total\\": "},{"text":"1.50}"}]'
    for content in (parts, bare):
        found = run(chat(f'"content":{content}'))
        assert isinstance(found, Completion)
        assert found.text == '{"total": 1.50}'
    thinking = run(chat('"content":[{"type":"thinking","thinking":"hm"}]'))
    assert isinstance(thinking, Failure)
    assert thinking.code == "empty_answer"
    refused = run(chat('"content":[{"type":"refusal","refusal":"I cannot."}]'))
    assert isinstance(refused, Failure)
    assert (refused.code, refused.raw) == ("refusal", "I cannot.")
    for body in (
        chat('"content":"\\"content\\": {\\"response\\": 5}"'),
        b'{"a\\"content":{"b":1}}',
        b'{"content":null}',
    ):
        assert with_texts(body) is body


@pytest.mark.parametrize(
    "body", [b'{"content":{', b'{"content":[[', b'{"content":"', b'{"content":{"a":"', b'{"content": -']
)
def test_a_reply_that_is_cut_within_a_value_is_no_json(body: bytes) -> None:
    assert read_json(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"content":' + b'{"content":[' * 100_000,
        b'{"content":[[' * 100_000 + b"]" * 200_000,
        b"[" + b'{"content":{"a":1,}},' * 100_000,
        b'[{"content":' + b"[" * 500_000 + b'],"content":[' * 50_000,
        b'"content":\\"content":5' * 50_000,
        b'"content":' + b" " * 1_000_000,
    ],
    ids=range(6),
)
def test_a_hostile_reply_takes_linear_time(body: bytes) -> None:
    began = time.process_time()
    read_json(body)
    assert time.process_time() - began < 5


# ------------------------------------------------------------------------------------------------ what cannot be read


@pytest.mark.parametrize(
    ("item", "raw"),
    [
        ("an answer", "an answer"),
        ([1], "[1]"),
        ({"result": '{"total": 1}'}, '{"total": 1}'),
        ({"result": {"total": 1}}, '{"total":1}'),
        ({"success": False, "result": {"choices": [{"text": "x"}]}}, '{"choices":[{"text":"x"}]}'),
        ({"success": False, "error": "e", "result": {"response": "half"}}, '{"response":"half"}'),
        ({"success": False, "result": {"errors": [{"code": 8005, "message": "e"}]}}, None),
        ({"result": {"choices": [{"message": ["x"]}]}}, '{"choices":[{"message":["x"]}]}'),
        ({"result": {"choices": [{"message": {"content": None, "reasoning_content": "hm"}}]}}, "hm"),
        ({"result": {"choices": [{"message": {"content": " ", "reasoning": "hm"}}]}}, "hm"),
        (
            {"result": {"choices": [{"message": {"content": None}, "finish_reason": "tool_calls"}], "usage": None}},
            None,
        ),
        (
            {
                "result": {
                    "choices": [{"message": {"tool_calls": [{"name": "f", "x": 1}]}, "finish_reason": "tool_calls"}]
                }
            },
            '[{"name":"f","x":1}]',
        ),
    ],
)
def test_what_was_paid_for_and_cannot_be_read_is_kept(item: Any, raw: str | None) -> None:
    found, _ = decode_item(item)
    assert isinstance(found, Failure)
    assert found.raw == raw


def test_a_text_of_the_older_completions_is_an_answer() -> None:
    found, _ = decode_item({"result": {"choices": [{"text": '{"total": 1}', "finish_reason": "stop"}]}})
    assert isinstance(found, Completion)
    assert found.text == '{"total": 1}'


def test_a_reply_that_says_nothing_known_is_kept_and_so_is_a_stream_that_broke_off() -> None:
    odd = decode_run(HttpReply(200, b'{"result":{"answer":{"total":1.50}},"success":true}'), 0.0)
    assert isinstance(odd, Unknown)
    assert odd.raw == '{"result":{"answer":{"total":1.50}},"success":true}'
    for event in ('{"choices":[{"delta":{"content":"{\\"tot"}}]}', '{"response":"{\\"tot"}'):
        for end in ("", 'data: {"errors":[{"code":8005,"message":"e"}]}\n\n'):
            cut = decode_run(HttpReply(200, f"data: {event}\n\n{end}".encode()), 0.0)
            assert isinstance(cut, Unknown), end
            assert cut.raw == '{"tot'


# ------------------------------------------------------------------------------------------------ end to end


@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_each_document_has_its_row_where_values_and_texts_are_mixed(api: str, tmp_path: Path) -> None:
    values = ['{"company": "A", "total": 19.90}', '{"company": "B", "total": 12345678901234567890.125}']
    forms = ['"content": %s', '"content": null, "parsed": %s']
    messages = [form % value for value in values for form in forms]
    messages.append('"content": ' + json.dumps(f"```json\n{values[0]}\n```"))
    sent: list[Any] = []

    def answer(asked: Asked) -> bytes:
        if "queueRequest" not in asked.path:
            sent.append(asked)
            return reply(chat(messages[len(sent) - 1]))
        if "requests" in asked.json:
            sent.extend(asked.json["requests"])
            return reply({"result": {"status": "queued", "request_id": "r"}, "success": True})
        items = [
            b'{"index":%d,"success":true,"external_reference":%s,"result":%s}'
            % (n, json.dumps(request["external_reference"]).encode(), chat(messages[n]))
            for n, request in enumerate(sent)
        ]
        return reply(b'{"result":{"results":[%s]},"success":true,"errors":[]}' % b",".join(items))

    with Scripted(answer) as server:
        outcome = run_extract(
            receipts(5), "", tmp_path, where=service(server.url, api=api), max_concurrency=1, shards=1
        )
    assert outcome.letters == []
    assert Counter(row["total"] for row in outcome.rows) == {19.9: 3, None: 2}
    assert Counter(row["_additional"] for row in outcome.rows) == {None: 3, '{"/total":12345678901234567890.125}': 2}
