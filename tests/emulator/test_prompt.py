from __future__ import annotations

import json
from typing import Any

import pytest

from kimi_beam.emulator.chat import document_in, is_correction, last_user_content, question, text_of, wanted

SCHEMA = {"type": "object", "properties": {"total": {"type": "string"}}}


def user(text: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("plain", "plain"),
        ("Extract:\n```\nTotal: 1\n```\nThanks", "Total: 1"),
        ("```text\na\nb\n```", "a\nb"),
        ("````\na\n```\ninner\n```\n````", "a\n```\ninner\n```"),
        ("```\none\n```\nand\n```\ntwo\n```", "```\none\n```\nand\n```\ntwo\n```"),
        ("```\nnever closed", "```\nnever closed"),
    ],
)
def test_the_document_is_the_one_fenced_part_or_everything(text: Any, document: Any) -> None:
    assert document_in(text) == document


def test_content_may_be_a_list_of_parts() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:…"}}, {"type": "text", "text": "a"}, {"text": "b"}]
    assert text_of(parts) == "a\nb"
    assert text_of(None) == ""


def test_the_document_is_in_the_last_user_message() -> None:
    chat = [*user("first"), {"role": "assistant", "content": "x"}, *user("second"), {"role": "tool", "content": "y"}]
    assert last_user_content(chat) == "second"
    assert last_user_content([]) is None


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
        {"type": "json_schema", "json_schema": SCHEMA},
    ],
)
def test_both_forms_of_json_schema_are_understood_and_can_be_ignored(response_format: Any) -> None:
    assert wanted(user("x"), response_format).schema == SCHEMA
    assert wanted(user("x"), response_format, enforce=False).kind == "object"


def test_a_property_called_schema_is_not_a_wrapper() -> None:
    bare = {"type": "object", "properties": {"schema": {"type": "string"}}}
    assert wanted(user("x"), {"type": "json_schema", "json_schema": bare}).schema == bare


@pytest.mark.parametrize("role", ["system", "user"])
def test_json_object_takes_the_schema_from_the_messages_but_not_from_the_document(role: Any) -> None:
    text = f"Answer with data that fits this schema {json.dumps(SCHEMA)}."
    fenced = '```\n{"properties": {"wrong": {}}, "type": "object"}\n```'
    chat = [{"role": role, "content": text}, *user(fenced)]
    assert wanted(chat, {"type": "json_object"}).schema == SCHEMA
    assert wanted(user(fenced), {"type": "json_object"}).kind == "object"


@pytest.mark.parametrize("response_format", [None, {"type": "text"}, "json", 3, {"type": 3}])
def test_anything_else_asks_for_prose(response_format: Any) -> None:
    assert wanted(user("x"), response_format).kind == "prose"


def test_a_correction_that_is_taken_for_the_document_would_be_read_as_one() -> None:
    first = [{"role": "user", "content": "```document\nTotal: 5\n```"}]
    shown = f"{first[0]['content']}\n```answer\n{{}}\n```\nAnswer 1 is refused:\n```problems\n/total: none\n```\nAgain."
    bare = f"{first[0]['content']}\nAnswer 1 is refused:\n```problems\nnone\n```\nAgain."
    for text in (shown, bare):
        again = [{"role": "user", "content": text}]
        assert (is_correction(again), question(again)) == (True, question(first))
        assert document_in(text_of(question(again))) == "Total: 5"
        picture = {"type": "image_url", "image_url": {"url": "data:,"}}
        parts = [[picture, {"type": "text", "text": one}] for one in (first[0]["content"], text)]
        assert question([{"role": "user", "content": parts[1]}]) == parts[0]
    for text in (first[0]["content"], f"````document\n{shown}\n````", "```problems\nx\n```"):
        assert not is_correction([{"role": "user", "content": text}]), text
