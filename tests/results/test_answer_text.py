"""The JSON value in an answer's text is found; nothing is guessed if values disagree or the text breaks off."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from kimi_beam.results.answer_text import parse
from kimi_beam.results.judging import judge
from kimi_beam.schema import OutputSchema, jsontext
from kimi_beam.types.failure import Failure

A, B = '{"total": 1.50}', '{"total": 2}'


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "a </think> b", "total": 1.50}',
        '{"name": "<think>", "total": 1.50}',
        '{"name": "``` {} ```", "total": 1.50}',
        '{"name": "```json\\n{\\"total\\": 2}\\n```", "total": 1.50}',
        '{"</think>": {"[THINK]": ["<thinking>"]}, "total": 1.50}',
        '["</think>", 1.50]',
        '"</think>"',
    ],
)
def test_json_as_a_whole_is_itself_whatever_its_strings_hold(text: str) -> None:
    for padded in (text, f" \n\ufeff {text}\n", f"\ufeff{text}"):
        assert parse(padded).value == json.loads(text)
    if text.startswith(("{", "[")):
        for around in (
            f"Here it is: {text}",
            f"```json\n{text}\n```",
            f"<think>{B}</think>{text}",
            f"{B}</think>{text}",
        ):
            assert parse(around).value == json.loads(text), around


@pytest.mark.parametrize(
    "tag", ["think", "thinking", "THINK", "reasoning", "thought", "scratchpad", "draft", "reflection", "ns:think"]
)
def test_reasoning_is_no_answer_whatever_its_tag_and_whether_or_not_it_ends(tag: str) -> None:
    for text in (
        f"<{tag}>{A}</{tag}>{B}",
        f"<{tag}>{A}</{tag}>\n```json\n{B}\n```",
        f'<{tag} effort="high">{{"a": </{tag}>{B}',
        f"{A}</{tag}>{B}",  # the beginning stood in the prompt
        f'{{"a": [</{tag}>{B}',
        f"{B}<{tag}>{A}</{tag}>",
        f"<{tag}>a<{tag}>{A}</{tag}>{A}</{tag}>{B}",
        f'<{tag}>the text says "</{tag}>", so {A}</{tag}>{B}',
        f"<{tag}/>{B}",
    ):
        assert parse(text).value == {"total": 2}, text
    for text in (
        f"<{tag}>{A}",
        f"<{tag}>\n```json\n{A}\n```\nNo, wait:",
        f"<{tag}>a</{tag}><{tag}>{A}",
        f"<{tag}>a<{tag}>b</{tag}>{A}",
        f"{A}</{tag}>",
        f"{A}<{tag}>No, it is 2",
        f"<{tag}>{A}</{tag}>",
    ):
        with pytest.raises(ValueError):
            parse(text)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("◁think▷", "◁/think▷"),
        ("[THINK]", "[/THINK]"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ],
)
def test_reasoning_in_the_marks_of_other_models_is_none_either(begin: str, end: str) -> None:
    assert parse(f"{begin}{A}{end}{B}").value == {"total": 2}
    with pytest.raises(ValueError, match="reasoning"):
        parse(f"{begin}{A}")


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{A}\n```\nOn a second look:\n```json\n{B}\n```",
        f"```json\n{A}\n```\n{B}",
        f"Draft: {A}\nFinal: {B}",
        f"```json\n{A}\nOn a second look:\n```json\n{B}\n```",
        f"{A}{B}",
        f"<draft_1>{A}</draft_1>{A} or {B}",
        "```\n5\n```\n```\n6\n```",
        '[{"a": 1}] or [{"a": 2}]',
        "Tags: [1, 2]. Or: [1, 2, 3]",
        f"{A} or [{A}]",
        '{"total": 1} {"total": true}',
        '{"total": 1} {"total": 1, "note": null}',
        '{"total": 1}, "note": "x"}',
        '{"total": 1}, "note": "x"',
        '{"total": 1}}',
        '{"lines": [{"total": 1}, {"total": 1}',
        '```json\n{"lines": [{"total": 1}]\n```',
        '```json\n{"total": 1\n```\n{"total": 1}',
        '{"total": 1} and {"note":',
    ],
)
def test_what_says_two_things_or_breaks_off_is_no_answer(text: str) -> None:
    failure = judge(text, OutputSchema(True))
    assert isinstance(failure, Failure)
    code = "truncated" if text.count("{") > text.count("}") else "not_json"
    assert (failure.code, failure.raw, failure.retryable) == (code, text, True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"```json\n{A}\n```\nAgain:\n```json\n{A}\n```", {"total": 1.5}),
        (f'{A} {{"total":1.5}}', {"total": 1.5}),
        ('{"a": 1, "b": [2.0]} {"b": [2], "a": 1.0}', {"a": 1, "b": [2]}),
        (f"Of [1], [see below] and {{no. 5}}: {A} [2]", {"total": 1.5}),
        (f"Of [1] and [2]: [{A}]", [{"total": 1.5}]),
        ("```json\n[1, 2]\n```\nThat is [1, 2].", [1, 2]),
        ("```json\n5\n```", 5),
        ('```\n"a"\n```\nas asked', "a"),
        ("```json\nnull\n```", None),
        (f"```json\n{A}", {"total": 1.5}),
        ('{"total": 123456789012345678901.50} or so', {"total": None}),
    ],
)
def test_what_is_said_once_or_alike_is_the_answer(text: str, value: Any) -> None:
    found = parse(text).value
    if value == {"total": None}:
        assert str(found["total"]) == "123456789012345678901.50"
    else:
        assert found == value


def test_equal_as_json_is_neither_equal_as_python_nor_as_text() -> None:
    assert jsontext.same([{"a": 1, "b": 2.0}], [{"b": 2, "a": 1.0}])
    for one, other in ((1, True), (0, False), ([1], [1, 1]), ({}, []), ("1", 1), (None, False), ({"a": 1}, {"b": 1})):
        assert not jsontext.same(one, other)
        assert not jsontext.same({"x": [one]}, {"x": [other]})


@pytest.mark.parametrize(
    "text",
    [
        ("<" + "a" * 60) * 20_000,
        "<think " * 150_000,
        "<think>" * 150_000,
        "</think>[" * 100_000,
        '</think>{"a":' * 100_000,
        '["</think>[",' * 100_000,
        '["</think>["' + ',","' * 300_000,
        "<|channel|>" * 100_000,
        "{a} [b] " * 100_000,
        "```5" * 250_000,
        "```json\n5\n" * 100_000,
        '{"a":1},' * 100_000,
        '{"a":1}' + " " * 500_000 + "x",
    ],
)
def test_a_hostile_text_takes_linear_time(text: str) -> None:
    began = time.process_time()
    judge(text, OutputSchema({"type": "object", "required": ["total"]}))
    assert time.process_time() - began < 5
