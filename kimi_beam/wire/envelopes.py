"""An HTTP reply as bytes, and the envelope around its content: Cloudflare's, or OpenAI's form of an error.

Cloudflare's envelope has ``result``, ``success`` and ``errors``. OpenAI's form of an error was once captured from
``/ai/v1``, and other servers always use it. Replies are untrusted: nothing here raises an exception because of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import orjson

from kimi_beam.schema import jsontext
from kimi_beam.types.answer import Usage
from kimi_beam.wire.parsed_values import with_texts
from kimi_beam.wire.service_errors import ServiceError


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An HTTP reply.

    Attributes:
        status: HTTP status.
        body: The body, decompressed.
        retry_after: The header ``Retry-After``: seconds or an HTTP date.
        ratelimit: The header ``Ratelimit``: ``"default";r=50;t=30`` (changelog 2025-09-03).
        content_type: The header ``Content-Type``; some models answer plain JSON to ``stream: true``.
        log_id: The header ``cf-ai-req-id``, by which Cloudflare finds the request.
        from_cache: Whether a gateway answered from its cache, so that nothing was billed.
        server: The header ``Server``, in which the emulator names itself.
        location: The header ``Location`` of a redirect, which is not followed.
        date: The header ``Date``: the service's time, as HTTP writes it. Replies that differ by it alone are equal.
    """

    status: int
    body: bytes
    retry_after: str | None = None
    ratelimit: str | None = None
    content_type: str = ""
    log_id: str = ""
    from_cache: bool = False
    server: str = ""
    location: str = ""
    date: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class NoReply:
    """An exchange that ended without a reply.

    Attributes:
        sent: False only if the request certainly never left this machine, because no connection was made.
        message: The failure as one line for a person.
    """

    sent: bool
    message: str


Exchange: TypeAlias = HttpReply | NoReply


# ------------------------------------------------------------------------------------------------ what became of it


@dataclass(frozen=True, slots=True)
class Refused:
    """The service refused the request with an error: nothing was done or paid for, so the request may be repeated."""

    error: ServiceError


@dataclass(frozen=True, slots=True)
class Unknown:
    """It is unknown whether the request was accepted: there was no reply, or one that says neither yes nor no.

    Attributes:
        message: What was received instead, as one line for a person.
        usage: Tokens that a broken stream says were spent; None if nothing is known.
        raw: The part of an answer that was received, which may have been paid for; None if there was none.
    """

    message: str
    usage: Usage | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class Unsent:
    """No connection was made: nothing was done."""

    message: str


# ------------------------------------------------------------------------------------------------ bodies

BOM = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8, which some proxies and servers write before JSON."""


def excerpt(body: bytes) -> str:
    """The beginning of a body as one line for a message."""
    return " ".join(body[:200].decode("utf-8", "replace").split())


def reason(value: Any) -> str:
    """A JSON value as one line for a message."""
    try:
        return excerpt(value.encode() if isinstance(value, str) else orjson.dumps(value))
    except (TypeError, UnicodeEncodeError):
        return type(value).__name__


def read_json(body: bytes) -> Any:
    """Reads a body as JSON; None if it is none. It is lenient, because one odd value must not spoil a whole job.

    An answer that was sent as a JSON value becomes text (see `parsed_values`). Text that a proxy added after a complete
    object is ignored.
    """
    body = with_texts(body)
    try:
        return orjson.loads(body)
    except ValueError:
        found = jsontext.loads_leniently(body)
        if found is None and (whole := _whole_object(body)) is not None:
            found = jsontext.loads_leniently(whole)
        return found


def _whole_object(body: bytes) -> bytes | None:
    """The complete JSON object at the beginning of a body, without the text that follows; None if there is none."""
    text = body.removeprefix(BOM).decode("latin-1").lstrip()  # a character for each byte
    if not text.startswith("{"):
        return None
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return text[:end].encode("latin-1")


def result_of(body: Any) -> Mapping[str, Any]:
    """The ``result`` of an envelope, or the body itself if it has none."""
    if not isinstance(body, dict):
        return {}
    result = body.get("result", body)
    return result if isinstance(result, dict) else {}


# ------------------------------------------------------------------------------------------------ errors


def error_of(reply: HttpReply, body: Any, now: float) -> ServiceError | None:
    """The error in Cloudflare's envelope. The body decides, as ``success: false`` was captured under HTTP 200 too."""
    if not isinstance(body, dict):
        return None
    errors = body.get("errors")
    if body.get("success") is not False and not (errors and reply.status >= 400):
        return None
    return stated_error(errors, reply, now)


def stated_error(errors: Any, reply: HttpReply, now: float) -> ServiceError:
    """The first error of Cloudflare's ``errors``."""
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    message = first.get("message")
    text = message if isinstance(message, str) else excerpt(reply.body)
    return ServiceError(reply.status, _code(first.get("code")), _described(text, reply), wait_of(reply, now))


def openai_error_of(reply: HttpReply, body: Any, now: float) -> ServiceError | None:
    """The error in OpenAI's form: ``{"error": {"message", "code"}}``, or ``{"error": "a text"}`` (Ollama)."""
    error = body.get("error") if isinstance(body, dict) else None
    if not error:
        return None
    message = error.get("message") if isinstance(error, dict) else error
    text = message if isinstance(message, str) else excerpt(reply.body)
    return ServiceError(reply.status, None, _described(text, reply), wait_of(reply, now))


_NOT_DONE = frozenset({503, 521, 523})
"""Statuses by which an edge server says that it did not reach the service behind it."""


def unworded(reply: HttpReply, now: float) -> Refused | Unknown:
    """The meaning of a status without an error in the body: a refusal below 500, otherwise mostly unknown.

    After a 408 or 499 the request may have arrived, as some server only stopped waiting; a 502 may follow work that was
    done.
    """
    error = bare_error(reply, now)
    if (reply.status < 500 and reply.status not in (408, 499)) or reply.status in _NOT_DONE:
        return Refused(error)
    return Unknown(str(error))


_LARGEST_ERROR = 16 << 10
"""A longer reply cannot be an error; so a job's answers are not parsed twice."""


def plain_error(reply: HttpReply, now: float) -> ServiceError | None:
    """The error in a reply to any kind of request; None if there is none, or none with a code or message."""
    if len(reply.body) > _LARGEST_ERROR:
        return None
    return error_of(reply, read_json(reply.body), now) or (bare_error(reply, now) if reply.status == 429 else None)


def bare_error(reply: HttpReply, now: float) -> ServiceError:
    """The error of a reply that has only an HTTP status."""
    return ServiceError(reply.status, None, _described(excerpt(reply.body), reply), wait_of(reply, now))


def _code(code: Any) -> int | None:
    if type(code) is int:
        return code
    return int(code) if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) < 9 else None


def _described(text: str, reply: HttpReply) -> str:
    if 300 <= reply.status < 400:
        text = (
            f"it sends on to {_redirect_target(reply.location)}; this is not followed, as requests carry the token: "
            "name the URL that answers"
        )
    text = text[:400]
    while text.startswith("AiError: "):  # once, twice or never (captured)
        text = text[len("AiError: ") :]
    text = " ".join(text[:300].split())
    return f"{text} [cf-ai-req-id {reply.log_id[:64]}]" if reply.log_id and reply.log_id.isprintable() else text


def _redirect_target(location: str) -> str:
    """The target of a redirect without user, password and query, which may be secrets."""
    try:
        parts = urlsplit(location)
        port = f":{parts.port}" if parts.port else ""
        place = f"{parts.scheme}://{parts.hostname}{port}{parts.path}" if parts.hostname else parts.path
    except ValueError:
        place = ""
    return place[:200] or "a place that it does not name"


# ------------------------------------------------------------------------------------------------ waiting

_PARAMETER = re.compile(r"\s*([rt])\s*=\s*(\d{1,12})\s*")


def wait_of(reply: HttpReply, now: float) -> float | None:
    """Seconds that the service asks to wait, by ``Retry-After`` or else by a spent ``Ratelimit``; None if it does not.

    Args:
        reply: The reply with these headers.
        now: The time in Unix seconds; a date is converted to seconds from then.
    """
    said = _seconds(reply.retry_after, now)
    return said if said is not None else spent_for(reply)


def spent_for(reply: HttpReply) -> float | None:
    """Seconds until a spent ``Ratelimit`` is renewed; None if there is no such header, or it is not spent."""
    if not reply.ratelimit:
        return None
    waits = []
    for limit in re.sub(r'"[^"]*"', "", reply.ratelimit).split(","):
        found = {m[1]: m[2] for m in map(_PARAMETER.fullmatch, limit.split(";")) if m}
        if "t" in found and int(found.get("r", "1")) == 0:
            waits.append(float(found["t"]))
    return min(max(waits), 86_400.0) if waits else None


def _seconds(retry_after: str | None, now: float) -> float | None:
    if not retry_after:
        return None
    try:
        wait = float(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
            # HTTP dates are in GMT, even without a zone.
            wait = (moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment).timestamp() - now
        except (ValueError, OverflowError):
            return None
    # NaN fails both comparisons. A wait of more than a day is cut to a day.
    return wait if 0 <= wait <= 86_400 else (0.0 if wait < 0 else 86_400.0 if wait > 86_400 else None)
