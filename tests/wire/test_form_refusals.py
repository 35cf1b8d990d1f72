"""Refusals of OpenAI-compatible servers are recognised by their messages: is it the form of the request, or not?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from kimi_beam.wire.envelopes import HttpReply
from kimi_beam.wire.form_refusals import RefusedRequest, refused_field, refused_request

PYDANTIC = [
    {"type": "literal_error", "loc": ("body", "response_format", "type"), "msg": "Input should be 'text' or 'json'",
     "input": "json_schema", "ctx": {"expected": "'text' or 'json_object'"}}
]  # fmt: skip
WHOLE = {"messages": [], "response_format": {"type": "json_schema", "json_schema": {}}}


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}}


FORM = {
    "llama-cpp-python": (500, openai(str(PYDANTIC), type="internal_server_error")),
    "FastAPI": (422, {"detail": PYDANTIC}),
    "pydantic as JSON text": (500, openai(json.dumps(PYDANTIC))),
    "Mistral's nesting": (422, {"object": "error", "message": {"detail": PYDANTIC}}),
    "older llama.cpp": (
        500,
        {"error": {"code": 500, "message": 'response_format type must be one of "text" or "json_object", but got: x'}},
    ),
    "OpenAI by its param": (400, openai("Invalid value: 'json_schema'.", param="response_format.type")),
    "OpenAI's strictness": (400, openai("Invalid schema for response_format 'Receipt': 'required' is needed")),
    "DeepSeek": (400, openai("This response_format type is unavailable now")),
    "serde": (422, "Failed to deserialize the JSON body into the target type: response_format.type: unknown variant"),
    "LM Studio": (400, {"error": "'response_format.type' must be 'json_schema' or 'text'"}),
    "Ollama": (400, {"error": 'invalid format: expected "json" or a JSON schema'}),
    "Groq": (400, openai("This model does not support response format `json_schema`")),
    "a grammar engine": (400, openai("The provided JSON schema contains features not supported by the engine")),
    "llama.cpp's grammar": (400, {"error": {"code": 400, "message": "failed to parse grammar"}}),
    "not implemented": (501, {"message": "structured outputs are not implemented"}),
    "a proxy": (500, openai("proxy.BadRequestError: upstream said: response_format not supported")),
    "plain text": (400, "response_format is not supported"),
    "a list of errors": (400, {"errors": [{"message": "json_object is not allowed here"}]}),
}
FIELD = {
    "max_tokens": (400, openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                               "'max_completion_tokens' instead.", param="max_tokens", code="unsupported_parameter")),
    "temperature": (400, openai("Unsupported value: 'temperature' does not support 0 with this model.")),
    "pydantic's temperature": (422, {"detail": [{"loc": ["body", "temperature"], "msg": "Extra", "input": WHOLE}]}),
    "pydantic's text": (500, openai(str([{"loc": ("body", "max_completion_tokens"), "msg": "Extra inputs"}]))),
    "a text": (422, {"error": "unknown field `chat_template_kwargs`"}),
    "stream": (400, openai("Unsupported value: 'stream' must be verified")),
}  # fmt: skip
UNSAID = {
    "no words": (400, ""),
    "a page": (422, "<html><body>Unprocessable</body></html>"),
    "only its kind": (500, openai("1 validation error for Request")),
    "extra fields": (400, {"error": "unrecognized request argument supplied"}),
    "one document's": (400, openai("JSON Mode couldn't be met")),
}
OTHER = {
    "too long": (400, openai("This model's maximum context length is 4096 tokens; response_format takes 90 of them")),
    "too long, as 500": (500, openai("Requested tokens (9000) exceed context window of 512")),
    "another field": (422, {"detail": [{"loc": ["body", "top_k"], "msg": "Field required", "input": WHOLE}]}),
    "another field, as 500": (500, openai(str([{"loc": ("body", "top_k"), "msg": "Field required", "input": WHOLE}]))),
}
NOTHING = {
    "token": (401, openai("response_format needs a token")),
    "limit": (429, openai("too many requests with response_format")),
    "outage": (500, openai("Internal Server Error", type="server_error")),
    "outage of a proxy": (502, "<html>Bad Gateway</html>"),
    "overload": (503, openai("the model is overloaded", type="server_error")),
    "slow": (504, "upstream took too long"),
    "model": (404, openai("The model `x` does not exist")),
    "its own answer": (500, openai(str([{"loc": ("response", "choices", 0), "msg": "Field required"}]))),
}


def of(case: tuple[int, Any], **more: Any) -> RefusedRequest | None:
    status, body = case
    return refused_request(
        HttpReply(status, (body if isinstance(body, str) else json.dumps(body)).encode()), status, **more
    )


@pytest.mark.parametrize(
    ("cases", "meaning"),
    [
        (FORM, RefusedRequest.FORM),
        (FIELD, RefusedRequest.FIELD),
        (UNSAID, RefusedRequest.UNSPECIFIED),
        (OTHER, RefusedRequest.OTHER),
        (NOTHING, None),
    ],
)
def test_each_spelling_is_understood(cases: dict[str, tuple[int, Any]], meaning: RefusedRequest | None) -> None:
    assert {name: of(case) for name, case in cases.items()} == dict.fromkeys(cases, meaning)


@pytest.mark.parametrize(
    ("case", "field"),
    [
        ("max_tokens", "max_tokens"),
        ("temperature", "temperature"),
        ("pydantic's temperature", "temperature"),
        ("pydantic's text", "max_completion_tokens"),
        ("a text", "chat_template_kwargs"),
        ("stream", "stream"),
    ],
)
def test_the_field_is_the_first_that_is_named(case: str, field: str) -> None:
    status, body = FIELD[case]
    assert refused_field(HttpReply(status, json.dumps(body).encode())) == field


def test_a_text_that_speaks_of_streams_or_heat_names_no_field() -> None:
    assert refused_field(HttpReply(400, b'{"error": "the upstream closed the stream"}')) is None
    assert of((400, {"error": "the streaming server is at a high temperatures level"})) is RefusedRequest.UNSPECIFIED
    assert of((503, {"error": "GPU temperature too high"})) is None, "an outage, and no refusal"


def test_a_tool_is_refused_by_its_own_name() -> None:
    assert of((400, openai("this model does not support tools")), has_tool=True) is RefusedRequest.FORM
    assert of((400, openai("response_format is not supported")), has_tool=True) is RefusedRequest.UNSPECIFIED


def test_an_error_in_a_stream_is_read_as_well() -> None:
    event = f"data: {json.dumps(openai('json_object is not supported'))}\n\n"
    assert refused_request(HttpReply(200, event.encode()), 400) is RefusedRequest.FORM
    assert refused_request(HttpReply(200, f"{event}data: [DONE]\n\n".encode()), 400) is RefusedRequest.FORM


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[" * 9000, b'{"error": ' * 900, b'{"loc": [[]]}', b"null", b"{" + b"a" * 90_000]
)
def test_whatever_comes_in_it_does_not_raise(body: bytes) -> None:
    for status in (200, 400, 500):
        refused_request(HttpReply(status, body), status)
