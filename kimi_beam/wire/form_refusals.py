"""Recognises replies in which an OpenAI-compatible server refuses the form of a request, mostly ``response_format``.

There is no common code for it. Observed in bug reports: 400 with OpenAI's error object, whose ``param`` names the field
(OpenAI, DeepSeek); 400 with a text under ``error`` (LM Studio); 422 with serde's message for an unknown variant
(DeepSeek); 500 with a text (older llama.cpp) or with the text of pydantic's list of errors (llama-cpp-python).
Assumed: 422 with that list itself (FastAPI's default), whose ``loc`` names the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

from kimi_beam.wire.envelopes import HttpReply, read_json

_MOST = 16 << 10
"""How many bytes of a reply are searched: an error is short, but it may repeat the whole request."""
_OTHER_TROUBLE = frozenset({401, 402, 403, 408, 409, 425, 429})
"""Statuses that concern tokens, payment, time or limits, and not the request itself."""
_FORM = re.compile(
    # Not "JSON mode couldn't be met" (5024), which concerns one document only.
    r"response[ _-]?format|json[ _-]?(?:schema|object|mode(?! could))|structured[ _-]?outputs?"
    r"|guided[ _-]?(?:json|decoding)|\bgrammar|invalid format",
    re.IGNORECASE,
)
_TOOL = re.compile(r"\btools?\b|tool[ _-]?(?:choice|call)|function[ _-]?call", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size)|too many tokens|(?:prompt|input|request|messages?) (?:is |are )?too"
    r" (?:long|large)|maximum.{0,40}tokens",
    re.IGNORECASE,
)
_WRONG_REQUEST = re.compile(
    r"validation[ _-]?error|invalid[ _-]request|bad[ _-]?request|unprocessable|not (?:supported|implemented|permitted)"
    r"|unsupported|unrecognized|unknown (?:field|variant|parameter)|extra_forbidden|literal_error|input should be",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"(?<![a-z0-9_])(?:temperature|chat_template_kwargs|max_completion_tokens|max_tokens|stream_options|stream"
    r"(?=['\"`]| (?:is|must|cannot|parameter|option)))(?![a-z0-9_])",
    re.IGNORECASE,
)
"""The fields that have the same value in every request. Observed: "Unsupported parameter: 'max_tokens' is not
supported with this model" and "'temperature' does not support 0 with this model" (OpenAI's reasoning models)."""
_LOCATION = re.compile(r"""['"]loc['"]\s*:\s*[(\[]([^)\]]*)[)\]]""")
_MESSAGE_KEYS = (
    "message",
    "msg",
    "detail",
    "param",
    "loc",
    "type",
    "code",
    "error",
    "errors",
    "reason",
    "title",
    "description",
)
"""Keys of an error that hold the server's own message; ``input`` and ``ctx`` repeat the request."""


class RefusedRequest(Enum):
    """Why a server refuses a request, as far as its reply shows."""

    FORM = "it names the way in which JSON was asked for"
    FIELD = "it names a field that is the same in every request"
    UNSPECIFIED = "the request is wrong, but the reply does not say which part of it"
    OTHER = "the request is wrong for another reason: another form would be refused as well"


def refused_request(reply: HttpReply, status: int, *, has_tool: bool = False) -> RefusedRequest | None:
    """Why the server refuses the request itself; None if the error is about something else.

    A 5xx counts if its message is that of a refused request, because some servers answer 500 to what they cannot parse.

    Args:
        reply: The reply to a synchronous request; the error may also be in a stream, or under HTTP 200.
        status: The status of the error.
        has_tool: Whether JSON was asked for by a function call.
    """
    if status in _OTHER_TROUBLE:
        return None
    message, located = _message_and_fields(reply.body[:_MOST])
    form = _TOOL if has_tool else _FORM
    if _TOO_LONG.search(message):
        return RefusedRequest.OTHER
    if located.startswith(("response ", "'response'")):
        return None  # the server's own answer was not what it promises (llama-cpp-python)
    if located:
        if form.search(located):
            return RefusedRequest.FORM
        return RefusedRequest.FIELD if _FIELD.search(located) else RefusedRequest.OTHER
    if form.search(message):
        return RefusedRequest.FORM
    if _FIELD.search(message) and (status < 500 or _WRONG_REQUEST.search(message)):
        return RefusedRequest.FIELD
    if status in (400, 406, 415, 422, 501) or (status not in (404, 405) and _WRONG_REQUEST.search(message)):
        return RefusedRequest.UNSPECIFIED
    return None


def refused_field(reply: HttpReply) -> str | None:
    """The first field that a reply of the kind `RefusedRequest.FIELD` names; None if it names none."""
    message, located = _message_and_fields(reply.body[:_MOST])
    found = _FIELD.search(located) or _FIELD.search(message)
    return found[0].lower() if found else None


def _message_and_fields(body: bytes) -> tuple[str, str]:
    """The server's message, and the fields of the request that it names, if it lists them as pydantic does."""
    body = body.removeprefix(b"data:").strip()
    value = read_json(body)
    if value is None:
        # The body is cut off, no JSON, or a stream of several events, so it is searched as text.
        texts, fields = [body.decode("utf-8", "replace")], list[str]()
    else:
        found = list(_texts_in(value, 8))
        texts, fields = (
            [text for is_field, text in found if not is_field],
            [text for is_field, text in found if is_field],
        )
    for text in texts:
        fields += _LOCATION.findall(text)
    return "\n".join(texts), "\n".join(fields)


def _texts_in(value: Any, depth: int) -> Iterator[tuple[bool, str]]:
    """Each text in an error, after a flag whether it names a field of the request."""
    if isinstance(value, str):
        yield False, value
    elif isinstance(value, list) and depth:
        for one in value[:50]:
            yield from _texts_in(one, depth - 1)
    elif isinstance(value, dict) and depth:
        for key in _MESSAGE_KEYS:
            one = value.get(key)
            if key == "loc" and isinstance(one, list):
                yield True, " ".join(map(str, one[:20]))
            else:
                yield from _texts_in(one, depth - 1)
