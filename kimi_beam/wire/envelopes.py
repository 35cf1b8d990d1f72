"""One exchange over HTTP as it came off the wire, and what the endpoints wrap their replies in.

That is Cloudflare's envelope (``result``, ``success``, ``errors``), or OpenAI's form of an error, which ``/ai/v1`` was
seen to use once and other servers use always. Whatever comes in is untrusted: nothing here raises on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import orjson

from kimi_beam.schema import jsontext
from kimi_beam.types import Usage
from kimi_beam.wire.parsed_values import with_texts
from kimi_beam.wire.service_errors import ServiceError


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply as it came off the wire.

    Attributes:
        status: HTTP status.
        body: Decompressed.
        retry_after: The ``Retry-After`` header: seconds or an HTTP date.
        ratelimit: The ``Ratelimit`` header: ``"default";r=50;t=30`` (changelog 2025-09-03).
        content_type: That header; some models answer plain JSON to ``stream: true``.
        log_id: ``cf-ai-req-id``, by which Cloudflare finds the request.
        from_cache: Whether a gateway answered from its cache, so that nothing was billed.
        server: That header; the emulator names itself in it.
        location: That header of a redirect: where it leads. It is not followed.
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


@dataclass(frozen=True, slots=True)
class NoReply:
    """An exchange that ended without a reply.

    Attributes:
        sent: False only when the request certainly never left this machine (no connection was made).
        message: What happened.
    """

    sent: bool
    message: str


Exchange: TypeAlias = HttpReply | NoReply


# ------------------------------------------------------------------------------------------------ what became of it


@dataclass(frozen=True, slots=True)
class Refused:
    """The service said no in its own words: nothing was done or paid for, and the request may be repeated."""

    error: ServiceError


@dataclass(frozen=True, slots=True)
class Unknown:
    """It cannot be told whether the request was accepted: no reply, or one that says neither yes nor no.

    Attributes:
        message: What came instead.
        usage: Tokens that are known to be spent, of a stream that broke off; None where nothing is.
        raw: What came of an answer, which may have been paid for; None where nothing did.
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
"""A mark of UTF-8, which some proxies and servers write before JSON."""


def excerpt(body: bytes) -> str:
    """The beginning of a body as one line for a message."""
    return " ".join(body[:200].decode("utf-8", "replace").split())


def reason(value: Any) -> str:
    """Any JSON value as one line for a message."""
    try:
        return excerpt(value.encode() if isinstance(value, str) else orjson.dumps(value))
    except (TypeError, UnicodeEncodeError):
        return type(value).__name__


def read_json(body: bytes) -> Any:
    """The body as JSON, None where it is none. Forgiving: one odd value in one answer must not cost the whole job.

    An answer that was sent as a value is its text (see `parsed_values`). What a proxy added after a whole object is
    passed over.
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
    """The whole JSON object that a body begins with, without what follows it; None where there is none."""
    text = body.removeprefix(BOM).decode("latin-1").lstrip()  # a character for each byte
    if not text.startswith("{"):
        return None
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return text[:end].encode("latin-1")


def result_of(body: Any) -> Mapping[str, Any]:
    """``result``, or the body itself where there is no envelope."""
    if not isinstance(body, dict):
        return {}
    result = body.get("result", body)
    return result if isinstance(result, dict) else {}


# ------------------------------------------------------------------------------------------------ errors


def error_of(reply: HttpReply, body: Any, now: float) -> ServiceError | None:
    """The error of Cloudflare's envelope. ``success: false`` was seen under HTTP 200 too, so the body decides."""
    if not isinstance(body, dict):
        return None
    errors = body.get("errors")
    if body.get("success") is not False and not (errors and reply.status >= 400):
        return None
    return stated_error(errors, reply, now)


def stated_error(errors: Any, reply: HttpReply, now: float) -> ServiceError:
    """The first of ``errors``."""
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    message = first.get("message")
    text = message if isinstance(message, str) else excerpt(reply.body)
    return ServiceError(reply.status, _code(first.get("code")), _said(text, reply), wait_of(reply, now))


def openai_error_of(reply: HttpReply, body: Any, now: float) -> ServiceError | None:
    """The error of OpenAI's form: ``{"error": {"message", "code"}}``, or a mere text there (Ollama)."""
    error = body.get("error") if isinstance(body, dict) else None
    if not error:
        return None
    message = error.get("message") if isinstance(error, dict) else error
    text = message if isinstance(message, str) else excerpt(reply.body)
    return ServiceError(reply.status, None, _said(text, reply), wait_of(reply, now))


_NOT_DONE = frozenset({503, 521, 523})
"""Statuses by which an edge says that it did not reach whoever would have done it."""


def unworded(reply: HttpReply, now: float) -> Refused | Unknown:
    """What a status means that the service put no words to: below 500 a refusal, from there on mostly nothing certain.

    A 408 or 499 says that somebody gave up waiting, not that nothing arrived; a 502 may follow work that was done.
    """
    error = bare_error(reply, now)
    if (reply.status < 500 and reply.status not in (408, 499)) or reply.status in _NOT_DONE:
        return Refused(error)
    return Unknown(str(error))


_LARGEST_ERROR = 16 << 10
"""Bytes of a reply beyond which it is no error: a job's answers are not read twice."""


def plain_error(reply: HttpReply, now: float) -> ServiceError | None:
    """The error that any reply is, whatever was asked; None where it is none, or one that nobody put into words."""
    if len(reply.body) > _LARGEST_ERROR:
        return None
    return error_of(reply, read_json(reply.body), now) or (bare_error(reply, now) if reply.status == 429 else None)


def bare_error(reply: HttpReply, now: float) -> ServiceError:
    """An HTTP status that the service put no words to."""
    return ServiceError(reply.status, None, _said(excerpt(reply.body), reply), wait_of(reply, now))


def _code(code: Any) -> int | None:
    if type(code) is int:
        return code
    return int(code) if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) < 9 else None


def _said(text: str, reply: HttpReply) -> str:
    if 300 <= reply.status < 400:
        text = (
            f"it sends on to {_place(reply.location)}; this is not followed, as requests carry the token: "
            "name the URL that answers"
        )
    text = text[:400]
    while text.startswith("AiError: "):  # once, twice or never (captured)
        text = text[len("AiError: ") :]
    text = " ".join(text[:300].split())
    return f"{text} [cf-ai-req-id {reply.log_id[:64]}]" if reply.log_id and reply.log_id.isprintable() else text


def _place(location: str) -> str:
    """Where a redirect leads, without user, password and query: those may be secrets of their own."""
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
    """Seconds to wait by the service's own word, None where it gives none: ``Retry-After``, else a spent ``Ratelimit``.

    Args:
        reply: Whose headers say it.
        now: Unix seconds; a date is turned into seconds from it.
    """
    said = _seconds(reply.retry_after, now)
    return said if said is not None else spent_for(reply)


def spent_for(reply: HttpReply) -> float | None:
    """Seconds until a spent ``Ratelimit`` is renewed; None where there is none, or it is not spent."""
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
            # HTTP dates are in GMT, also where they do not say so.
            wait = (moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment).timestamp() - now
        except (ValueError, OverflowError):
            return None
    # NaN fails both comparisons; beyond a day it is no advice.
    return wait if 0 <= wait <= 86_400 else (0.0 if wait < 0 else 86_400.0 if wait > 86_400 else None)
