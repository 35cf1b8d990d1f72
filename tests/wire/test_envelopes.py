"""The envelopes of replies: an error is found in each of their forms, and no reply raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from exchanges import bodies, json_values
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.wire.envelopes import (
    HttpReply,
    bare_error,
    error_of,
    excerpt,
    openai_error_of,
    read_json,
    reason,
    result_of,
    spent_for,
    wait_of,
)
from kimi_beam.wire.service_errors import Remedy, ServiceError

NOW = 1_784_180_523.0
_replies = st.builds(
    HttpReply,
    status=st.sampled_from([200, 400, 429, 500]),
    body=bodies,
    retry_after=st.none() | st.text(max_size=6),
    ratelimit=st.none() | st.text(max_size=12) | st.sampled_from(['"default";r=0;t=30', ";r=0;t=999999999"]),
    log_id=st.text(max_size=80),
)


def reply(body: Any = None, status: int = 400, **more: Any) -> HttpReply:
    return HttpReply(status, json.dumps(body).encode(), **more)


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_success_false_is_an_error_under_any_status(status: int) -> None:
    body = {"errors": [{"message": "AiError: AiError: No.", "code": 3040}], "success": False, "result": {}}
    assert error_of(reply(body, status), body, NOW) == ServiceError(status, 3040, "No.")


def test_errors_beside_a_success_are_none_unless_the_status_says_so() -> None:
    body = {"errors": [{"message": "No.", "code": 7003}], "success": True}
    assert error_of(reply(body, 200), body, NOW) is None, "a warning would cost a paid answer"
    assert error_of(reply(body, 404), body, NOW) == ServiceError(404, 7003, "No.")
    empty = {"errors": [], "success": True}
    assert error_of(reply(empty, 404), empty, NOW) is None


@pytest.mark.parametrize(
    ("code", "read"),
    [(3040, 3040), ("3040", 3040), ("٣", None), ("invalid_prompt", None), ("9" * 9, None), (True, None), (1.5, None)],
)
def test_a_code_is_a_number_or_the_digits_of_one(code: Any, read: int | None) -> None:
    body = {"errors": [{"message": "No.", "code": code}], "success": False}
    error = error_of(reply(body), body, NOW)
    assert error is not None
    assert error.code == read


def test_the_request_is_named_by_the_id_that_cloudflare_finds_it_by() -> None:
    body = {"errors": [{"message": "No.", "code": 1}], "success": False}
    error = error_of(reply(body, log_id="b5f7"), body, NOW)
    assert error is not None
    assert error.message == "No. [cf-ai-req-id b5f7]"
    forged = error_of(reply(body, log_id="a\nb"), body, NOW)
    assert forged is not None
    assert forged.message == "No.", "an id that is no id would break the one line"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"code": "invalid_prompt", "message": "AiError: Bad input"}, "Bad input"),
        ({"message": "model not found", "type": "api_error"}, "model not found"),
        ("model 'x' not found", "model 'x' not found"),
    ],
)
def test_openais_form_of_an_error_is_read(error: Any, said: str) -> None:
    body = {"error": error}
    found = openai_error_of(reply(body, 404), body, NOW)
    assert found == ServiceError(404, None, said)


@pytest.mark.parametrize("body", [{}, {"error": None}, {"error": {}}, {"error": ""}, [], None, "x", {"error": []}])
def test_what_holds_no_error_in_openais_form_is_none(body: Any) -> None:
    assert openai_error_of(reply(body, 200), body, NOW) is None


def test_an_error_without_words_shows_the_body_it_came_in() -> None:
    body = {"success": False, "errors": [{"code": 7}], "odd": "x"}
    error = error_of(reply(body), body, NOW)
    assert error is not None
    assert '"odd": "x"' in error.message
    assert bare_error(HttpReply(502, b"<html>\n bad </html>"), NOW).message == "<html> bad </html>"


@settings(derandomize=True, max_examples=400)
@given(_replies)
def test_no_reply_raises_and_each_error_is_one_short_line(reply: HttpReply) -> None:
    body = read_json(reply.body)
    assert result_of(body) == result_of(body)
    for error in (error_of(reply, body, NOW), openai_error_of(reply, body, NOW), bare_error(reply, NOW)):
        if error is not None:
            assert isinstance(error.remedy, Remedy)
            assert "\n" not in str(error)
            assert len(str(error)) < 700
            assert error.retry_after is None or 0 <= error.retry_after <= 86_400


# ------------------------------------------------------------------------------------------------ JSON


@settings(derandomize=True, max_examples=300)
@given(bodies)
def test_no_body_raises_when_it_is_read(body: bytes) -> None:
    read_json(body)
    assert "\n" not in excerpt(body)
    assert len(excerpt(body)) <= 200


@pytest.mark.parametrize("deep", [b"[" * 100_000, b"[" * 900 + b"]" * 900, b'{"a":' * 100_000])
def test_nesting_beyond_all_reason_is_no_json_or_is_read(deep: bytes) -> None:
    read_json(deep)


def test_what_json_cannot_hold_is_read_all_the_same_and_digits_stay() -> None:
    assert read_json(b'{"a":NaN,"b":-Infinity}') == {"a": None, "b": None}
    assert read_json(b'{"response":{"n":123456789012345678901}}') == {"response": '{"n":123456789012345678901}'}
    assert read_json(b'{"arguments": [0.1000000000000000000000001]}') == {"arguments": "[0.1000000000000000000000001]"}
    assert read_json(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    assert read_json(b'"\\ud83d"') == "\\ud83d"
    assert read_json(b"\xff") is None


@settings(derandomize=True, max_examples=200)
@given(json_values)
def test_any_value_can_be_said_in_one_line(value: Any) -> None:
    assert "\n" not in reason(value)
    assert len(reason(value)) <= 200


def test_a_result_is_what_stands_under_result_or_the_body() -> None:
    assert result_of({"result": {"a": 1}}) == {"a": 1}
    assert result_of({"choices": []}) == {"choices": []}
    assert [result_of(odd) for odd in (None, [], "x", {"result": None}, {"result": []})] == [{}] * 5  # type: ignore[var-annotated]


# ------------------------------------------------------------------------------------------------ waiting


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ('"default";r=0;t=30', 30),
        ('"default"; r=0; t=30', 30),
        ('"default";r=50;t=30', None),  # not spent
        ('"burst";r=0;t=5, "default";r=0;t=30', 30),  # the longer of two that are spent
        ('"burst";r=0;t=5, "default";r=7;t=30', 5),
        ('"default";r=05;t=30', None),
        ('"default";r=0', None),
        ('"default";r=0;t=1234567', 86_400.0),
        ('"default";r=0;t=999999', 86_400),
        ("", None),
        (None, None),
    ],
)
def test_a_spent_limit_says_when_it_is_renewed(header: str | None, seconds: float | None) -> None:
    assert spent_for(HttpReply(429, b"", ratelimit=header)) == seconds
    assert wait_of(HttpReply(429, b"", "", header), NOW) == seconds


def test_retry_after_is_believed_before_the_limit() -> None:
    assert wait_of(HttpReply(429, b"", "7", '"default";r=0;t=30'), NOW) == 7
    assert wait_of(HttpReply(429, b"", "soon", '"default";r=0;t=30'), NOW) == 30
