"""JSON mode, thinking and images: what a request asks of the model, and what it refuses."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from kimi_beam.emulator import Behaviour
from kimi_beam.emulator.jsonmode import form, has_union

from .peer import FORM_A, K2_6, NOTE, SCHEMA, failure, item, message, refusal, serving

K2_5 = "@cf/moonshotai/kimi-k2.5"
K2_7 = "@cf/moonshotai/kimi-k2.7-code"
FORM_B = {"type": "json_schema", "json_schema": SCHEMA}
FORM_C = {"type": "json_object"}
FULL = {"company": "Corner Cafe", "total": "9.00"}
LOOSE = {"total": "9.00"}  # what the stand-in finds without a schema
UNION = {"type": "object", "properties": {"total": {"type": ["string", "null"]}}}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n pixels").decode()


def answered(reply: Any) -> Any:
    return json.loads(message(reply)["content"])


# JSON mode


@pytest.mark.parametrize(("honoured", "a", "b"), [("both", FULL, FULL), ("openai", FULL, LOOSE), ("bare", LOOSE, FULL)])
def test_forms_a_and_b_bind_where_they_are_honoured(honoured: Any, a: Any, b: Any) -> None:
    with serving(behaviour=Behaviour(schema_forms=honoured)) as peer:
        assert answered(peer.run(response_format=FORM_A)) == a
        assert answered(peer.run(response_format=FORM_B)) == b
        assert answered(peer.chat(response_format=FORM_A)) == a


def test_form_c_takes_the_schema_from_the_system_message() -> None:
    chat = [
        {"role": "system", "content": f"Answer with JSON of this schema: {json.dumps(SCHEMA)}"},
        {"role": "user", "content": "Corner Cafe\nTotal: 9.00"},
    ]
    with serving(behaviour=Behaviour(enforce_schema=False)) as peer:
        assert answered(peer.run(messages=chat, response_format=FORM_C)) == FULL
        assert answered(peer.run(messages=chat, response_format=FORM_A)) == FULL
        assert answered(peer.run(response_format=FORM_A)) == LOOSE


def test_the_two_forms_are_told_apart() -> None:
    assert (form(FORM_A), form(FORM_B), form(FORM_C), form(None)) == ("openai", "bare", None, None)


def test_union_types_can_be_too_much() -> None:
    dense = {"type": "json_schema", "json_schema": {"name": "x", "schema": UNION}}
    with serving() as peer:
        assert answered(peer.run(response_format=dense)) == LOOSE
    with serving(behaviour=Behaviour(union_types="refused", array="results")) as peer:
        reply = peer.run(response_format=dense)
        assert (reply.status_code, reply.json()) == (400, failure(5024, "AiError: AiError: JSON Mode couldn't be met"))
        assert answered(peer.run(response_format=FORM_A)) == FULL
        assert answered(peer.run(response_format=FORM_C)) == LOOSE
        parts = peer.results(peer.submit(item(reference="flat"), item("x", reference="dense", response_format=dense)))
        seen = {part["external_reference"]: part.get("error", {}).get("code") for part in parts}
        assert seen == {"flat": None, "dense": 5024}
        assert peer.emulator.stats()["documents"] == 1  # what fails is not paid for
    with serving(behaviour=Behaviour(union_types="any_of")) as peer:
        assert peer.run(response_format=dense).json() == failure(5024, "AiError: AiError: JSON Mode couldn't be met")
        nullable = {"type": "object", "properties": {"total": {"type": "string", "nullable": True}}}
        assert peer.run(response_format={"type": "json_schema", "json_schema": nullable}).status_code == 400
        written = {"type": "object", "properties": {"total": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
        assert peer.run(response_format={"type": "json_schema", "json_schema": written}).status_code == 200
    with serving(behaviour=Behaviour(union_types="refused", json_mode_status=422, enforce_schema=False)) as peer:
        assert peer.run(response_format=dense).status_code == 200


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (SCHEMA, False),
        (UNION, True),
        ({"properties": {"a": {"items": {"anyOf": [{}, {}]}}}}, True),
        ({"properties": {"type": {"type": "string"}, "oneOf": {"type": "string"}}}, False),
        ({"enum": [{"type": ["a"]}]}, False),
        (True, False),
    ],
)
def test_what_a_union_is(schema: Any, expected: Any) -> None:
    assert has_union(schema) is expected


def test_json_mode_fails_at_a_probability_and_costs_nothing() -> None:
    with serving(faults="json_mode=1", behaviour=Behaviour(json_mode_status=422)) as peer:
        assert refusal(peer.run(response_format=FORM_A)) == (422, 5024)
        assert answered(peer.run(response_format=FORM_C)) == LOOSE
        (part,) = peer.results(peer.submit(item(reference="r")))
        error = {"code": 5024, "message": "AiError: AiError: JSON Mode couldn't be met"}
        assert part == {"index": 0, "success": False, "error": error, "external_reference": "r"}
        stats = peer.emulator.stats()
        assert (stats["prompt_tokens"], stats["faults"]) == (6, {"json_mode": 2})


def test_a_model_without_json_schema() -> None:
    with serving(behaviour=Behaviour(without_json_schema=(K2_6,))) as peer:
        assert refusal(peer.run(response_format=FORM_B)) == (403, 5025)
        assert answered(peer.run(response_format=FORM_C)) == LOOSE
        assert answered(peer.run(response_format=FORM_A, model=K2_7)) == FULL
        assert refusal(peer.run(response_format={"type": "xml"})) == (400, 5006)


# Thinking


@pytest.mark.parametrize(
    ("body", "model", "rule", "thinks"),
    [
        ({}, K2_6, "any", True),
        ({"chat_template_kwargs": {"thinking": False}}, K2_6, "any", False),
        ({"chat_template_kwargs": {"enable_thinking": False}}, K2_6, "any", False),
        ({"chat_template_kwargs": {"thinking": True}}, K2_6, "any", True),
        ({"reasoning_effort": None}, K2_6, "any", False),
        ({"reasoning_effort": "low"}, K2_6, "any", True),
        ({"chat_template_kwargs": {"thinking": False}}, K2_7, "any", True),
        ({"chat_template_kwargs": {"thinking": False}}, K2_6, "documented", False),
        ({"chat_template_kwargs": {"enable_thinking": False}}, K2_6, "documented", True),
        ({"reasoning_effort": None}, K2_6, "documented", True),
        ({"chat_template_kwargs": {"thinking": False}}, K2_5, "documented", True),
        ({"chat_template_kwargs": {"enable_thinking": False}}, K2_5, "documented", False),
        ({"chat_template_kwargs": {"thinking": False}}, K2_6, "ignored", True),
    ],
)
def test_what_turns_thinking_off(body: Any, model: Any, rule: Any, thinks: Any) -> None:
    with serving(behaviour=Behaviour(thinking_switch=rule)) as peer:
        reply = peer.run(response_format=FORM_A, model=model, **body)
        assert message(reply)["reasoning_content"] == (NOTE if thinks else None)
        assert reply.json()["result"]["usage"]["completion_tokens"] == (18 if thinks else 10)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "both"])
def test_where_reasoning_stands(field: Any) -> None:
    with serving(behaviour=Behaviour(reasoning_field=field)) as peer:
        fields = {"reasoning", "reasoning_content"} if field == "both" else {field}
        for found in (message(peer.run()), peer.results(peer.submit(item()))[0]["result"]["choices"][0]["message"]):
            assert {key: found[key] for key in found.keys() - {"role", "content", "tool_calls"}} == dict.fromkeys(
                fields, NOTE
            )


def test_long_thinking_leaves_no_room_for_an_answer() -> None:
    with serving(behaviour=Behaviour(reasoning_tokens=100)) as peer:
        whole = peer.run(response_format=FORM_A, max_completion_tokens=110).json()["result"]
        assert len(whole["choices"][0]["message"]["reasoning_content"]) == 400
        assert (whole["choices"][0]["finish_reason"], whole["usage"]["completion_tokens"]) == ("stop", 110)
        cut = peer.run(response_format=FORM_A, max_completion_tokens=60).json()["result"]
        choice = cut["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == (None, "length")
        assert len(choice["message"]["reasoning_content"]) == 240
        assert cut["usage"]["completion_tokens"] == 60


@pytest.mark.parametrize("body", [{"reasoning_effort": "huge"}, {"chat_template_kwargs": 3}])
def test_odd_ways_to_speak_of_thinking(body: Any) -> None:
    with serving() as peer:
        assert refusal(peer.run(**body)) == (400, 5006)


# Images


def picture(url: str, text: str = "Corner Cafe\nTotal: 9.00") -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": url, "detail": "auto"}}, {"type": "text", "text": text}]


def test_an_image_before_the_text_is_accepted_and_costs_tokens() -> None:
    with serving(behaviour=Behaviour(image_tokens=500)) as peer:
        reply = peer.run(picture(f"data:image/png;base64,{PIXEL}"), response_format=FORM_A)
        assert answered(reply) == FULL
        assert reply.json()["result"]["usage"]["prompt_tokens"] == 500 + 6
        (part,) = peer.results(peer.submit(item(picture(f"data:image/jpeg;base64,{PIXEL}"))))  # type: ignore[arg-type]
        assert part["result"]["usage"]["prompt_tokens"] == 506


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"data:image/svg+xml;base64,{PIXEL}", (500, 8005)),
        (f"data:text/plain;base64,{PIXEL}", (500, 8005)),
        ("data:image/png;base64,not base64!", (400, 5004)),
        ("data:image/png;base64,AAAA!", (400, 5004)),
        ("data:image/png;base64,", (400, 5004)),
        (f"data:image/png,{PIXEL}", (400, 5004)),
        ("https://example.com/x.png", (400, 5004)),
        (PIXEL, (400, 5004)),
        ("", (400, 5004)),
    ],
)
def test_images_that_are_not_taken(url: Any, expected: Any) -> None:
    with serving() as peer:
        assert refusal(peer.run(picture(url))) == expected
        good, bad = sorted(
            peer.results(peer.submit(item("x"), item(picture(url)))),  # type: ignore[arg-type]
            key=lambda part: part["index"],
        )
        assert (good["success"], bad["success"], bad["error"]["code"]) == (True, False, expected[1])


def test_images_elsewhere_can_be_accepted_and_parts_have_known_types() -> None:
    with serving(behaviour=Behaviour(image_urls="accepted")) as peer:
        assert peer.run(picture("https://example.com/x.png")).status_code == 200
        assert refusal(peer.run([{"type": "video", "video": "x"}])) == (400, 5006)
        assert refusal(peer.run([7])) == (400, 5006)


# The input schema


@pytest.mark.parametrize(
    "body",
    [{"temperature": 2.1}, {"temperature": "warm"}, {"top_p": -1}, {"n": 0}, {"top_logprobs": 21}, {"n": True}],
)
def test_numbers_have_their_ranges(body: Any) -> None:
    with serving() as peer:
        assert refusal(peer.run(**body)) == (400, 5006)


def test_a_role_that_does_not_exist_and_a_prompt_beyond_the_context() -> None:
    with serving() as peer:
        assert refusal(peer.run(messages=[{"role": "narrator", "content": "x"}])) == (400, 5006)
        reply = peer.run("x" * 4 * 262_145)
        assert refusal(reply) == (400, 3030)
        assert "maximum context length is 262144 tokens" in reply.json()["errors"][0]["message"]
        (part,) = peer.results(peer.submit(item("x" * 4 * 262_145)))
        assert (part["success"], part["error"]["code"]) == (False, 3030)
