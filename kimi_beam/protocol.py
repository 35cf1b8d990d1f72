"""The wire of the Workers AI batch queue: requests encoded, replies decoded, no I/O.

The one place that knows the service's spellings. Sources are named as in Cloudflare's documentation (batch API,
errors, limits) or as "captured" where the service was seen to differ from it: K2.6 answers with ``results`` and
``index`` where the pages show ``responses`` and ``id``, and a finished job has no ``status``. Whatever comes in is
untrusted: a reply of any shape decodes to one of the values below and never raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

import orjson

from kimi_beam import jsontext
from kimi_beam.service_errors import EXPIRED, TIMEOUTS, ServiceError
from kimi_beam.types import Completion, Failure, Usage
from kimi_beam.usage import count, decode_usage

# ------------------------------------------------------------------------------------------------ what comes back


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply as it came off the wire."""

    status: int
    body: bytes
    retry_after: str | None = None
    """The ``Retry-After`` header: seconds or an HTTP date."""


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


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job is queued; from here on it is paid for."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The service said no in its own words: nothing was queued, and the submit may be repeated."""

    error: ServiceError


@dataclass(frozen=True, slots=True)
class Unknown:
    """It cannot be told whether the submit was accepted: no reply, or one that says neither yes nor no."""

    message: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """No connection was made: nothing was queued."""

    message: str


SubmitResult: TypeAlias = Accepted | Refused | Unknown | Unsent


@dataclass(frozen=True, slots=True)
class Pending:
    """The job is queued or running."""


@dataclass(frozen=True, slots=True)
class Done:
    """The job is finished: its items as they came, in any order, and the tokens of all of them together."""

    items: Sequence[Any]
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Gone:
    """The service does not know the job, or no longer."""

    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The service says that the job as a whole failed."""

    message: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """The poll failed, which says nothing about the job."""

    message: str
    error: ServiceError | None = None


PollResult: TypeAlias = Pending | Done | Gone | Failed | Trouble


# ------------------------------------------------------------------------------------------------ submit


def encode_submit(requests: Iterable[bytes]) -> bytes:
    """The body of a submit. Always wrapped: a bare request is accepted, queued, and dies later (seen by a client)."""
    return b'{"requests":[' + b",".join(requests) + b"]}"


def decode_submit(exchange: Exchange, now: float) -> SubmitResult:
    """What became of a submit.

    Args:
        exchange: The reply, or the lack of one.
        now: Unix seconds; a ``Retry-After`` date is turned into seconds from it.
    """
    if isinstance(exchange, NoReply):
        return Unknown(exchange.message) if exchange.sent else Unsent(exchange.message)
    body = _json(exchange.body)
    error = _envelope_error(exchange, body, now)
    if error is not None:
        # A timeout says that somebody gave up waiting, not that nothing was queued.
        return Unknown(str(error)) if error.code in TIMEOUTS else Refused(error)
    if 200 <= exchange.status < 300:
        result = _result(body)
        request_id = result.get("request_id") or result.get("requestId") or result.get("id")
        if isinstance(request_id, str) and request_id:
            return Accepted(request_id)
        return Unknown(f"a reply without a request id (HTTP {exchange.status}): {excerpt(exchange.body)}")
    # 408 and 499 say that somebody gave up waiting, not that nothing arrived.
    if exchange.status < 500 and exchange.status not in (408, 499):
        return Refused(ServiceError(exchange.status, None, excerpt(exchange.body), _seconds(exchange.retry_after, now)))
    return Unknown(f"HTTP {exchange.status} without an error of the service: {excerpt(exchange.body)}")


# ------------------------------------------------------------------------------------------------ poll


def encode_poll(request_id: str) -> bytes:
    """The body of a poll."""
    return orjson.dumps({"request_id": request_id})


def decode_poll(exchange: Exchange, now: float) -> PollResult:
    """What a poll found. Finished is a job whose answer array is there (captured: and no ``status``)."""
    if isinstance(exchange, NoReply):
        return Trouble(exchange.message)
    body = _json(exchange.body)
    error = _envelope_error(exchange, body, now)
    if error is not None:
        return Gone(str(error)) if error.code == EXPIRED else Trouble(str(error), error)
    if not 200 <= exchange.status < 300:
        message = excerpt(exchange.body) or "no error of the service"
        error = ServiceError(exchange.status, None, message, _seconds(exchange.retry_after, now))
        return Trouble(str(error), error)
    if not isinstance(body, dict):
        return Trouble(f"a reply that is no JSON object: {excerpt(exchange.body)}")
    result = _result(body)
    status = result.get("status")
    for spelling in ("results", "responses"):
        items = result.get(spelling)
        # Without a status an empty array is an answer too: that every item is missing.
        if isinstance(items, list) and status not in ("queued", "running") and (items or status is None):
            return Done(items, decode_usage(result.get("usage")))
    if isinstance(status, str) and status.lower() in ("error", "errored", "failed"):
        return Failed(f"the service says {status!r}: {excerpt(exchange.body)}")
    return Pending()


# ------------------------------------------------------------------------------------------------ items


def match(items: Sequence[Any], references: Sequence[str]) -> tuple[list[Any | None], int]:
    """Brings the items of a job back to the requests: by ``external_reference``, else by position.

    An item whose reference is none of ours is a stranger and answers nothing, whatever its position says. Of several
    items for one request the first that succeeded counts.

    Args:
        items: As the service sent them.
        references: Ours, in the order of the requests.

    Returns:
        For each request its item, or None where it is missing; and how many items were strangers or doubles.
    """
    position = {reference: index for index, reference in enumerate(references)}
    found: list[Any | None] = [None] * len(references)
    surplus = 0
    for item in items:
        index = _position(item, position)
        if index is None:
            surplus += 1
            continue
        before = found[index]
        if before is not None:
            surplus += 1
        if before is None or (before.get("success") is False and item.get("success") is not False):
            found[index] = item
    return found, surplus


def _position(item: Any, position: Mapping[str, int]) -> int | None:
    if not isinstance(item, dict):
        return None
    reference = item.get("external_reference")
    if reference is not None and reference != "":
        return position.get(reference) if isinstance(reference, str) else None
    index = item.get("index")
    index = item.get("id") if index is None else index
    return index if type(index) is int and 0 <= index < len(position) else None


def decode_item(item: Any) -> tuple[Completion | Failure, Usage | None]:
    """One item of a finished job: the answer, or why there is none; and its tokens where it states them."""
    if item is None:
        return Failure("infer", "missing_item", "the service sent no answer for this document", retryable=True), None
    if not isinstance(item, dict):
        return Failure("infer", "malformed_item", f"no item: {_reason(item)}", retryable=True), None
    result = item.get("result")
    usage = decode_usage(result.get("usage")) if isinstance(result, dict) else None
    if (
        not isinstance(result, dict)
        or item.get("success") is False
        or (result.get("errors") and "choices" not in result)
    ):
        reason = item.get("error") or item.get("errors") or result
        return Failure(
            "infer", "item_failed", f"the service failed this item: {_reason(reason)}", retryable=True
        ), usage
    return decode_completion(result), usage


def decode_completion(result: Mapping[str, Any]) -> Completion | Failure:
    """A chat completion: its text, or why it has none. Reasoning is never read as the answer."""
    if "choices" not in result and isinstance(result.get("response"), (str, dict, list)):
        return _classic(result)
    choices = result.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return Failure("infer", "malformed_item", f"no chat completion: {_reason(result)}", retryable=True)
    text = message.get("content")
    raw = text if isinstance(text, str) and text else None
    reason = choice.get("finish_reason")
    if reason == "length":
        told = "the answer was cut at max_completion_tokens" if raw else "all tokens went into thinking"
        return Failure("infer", "truncated", told, raw=raw)
    if reason == "content_filter":
        return Failure("infer", "content_filter", "the service filtered the answer", raw=raw)
    if message.get("refusal"):
        return Failure("infer", "refusal", f"the model refused: {_reason(message['refusal'])}", raw=raw)
    if message.get("tool_calls") or reason in ("tool_calls", "function_call"):
        return Failure("infer", "tool_call", "the model called a tool where an answer was asked for", raw=raw)
    if not isinstance(text, str) or not text.strip():
        return Failure("infer", "empty_answer", "the answer is empty", retryable=True, raw=raw)
    model = result.get("model")
    return Completion(
        text,
        reason if isinstance(reason, str) else None,
        _created(result.get("created")),
        model if isinstance(model, str) else None,
    )


def _created(seconds: Any) -> int | None:
    """Unix seconds within the calendar's years, None for anything else."""
    number = count(seconds)
    return number if 0 < number < 253_402_300_800 else None


def _classic(result: Mapping[str, Any]) -> Completion | Failure:
    """The shape of older models: a string, or an object that was parsed already (JSON mode page)."""
    response = result["response"]
    try:
        text = response if isinstance(response, str) else jsontext.dumps(response).decode()
    except (TypeError, RecursionError):
        return Failure("infer", "malformed_item", "the answer is nested too deep to be read", retryable=True)
    if not text.strip():
        return Failure("infer", "empty_answer", "the answer is empty", retryable=True)
    return Completion(text, None, None, None)


# ------------------------------------------------------------------------------------------------ envelopes


def excerpt(body: bytes) -> str:
    """The beginning of a body as one line for a message."""
    return " ".join(body[:200].decode("utf-8", "replace").split())


def _json(body: bytes) -> Any:
    """The body as JSON, None where it is none. Forgiving: one odd value in one answer must not cost the whole job."""
    try:
        value = orjson.loads(body)
        return value if not jsontext.may_exceed_double(body) else jsontext.loads_leniently(body)
    except ValueError:
        return jsontext.loads_leniently(body)


def _result(body: Any) -> Mapping[str, Any]:
    """``result``, or the body itself where a client saw it without an envelope."""
    if not isinstance(body, dict):
        return {}
    result = body.get("result", body)
    return result if isinstance(result, dict) else {}


def _envelope_error(reply: HttpReply, body: Any, now: float) -> ServiceError | None:
    """The error of Cloudflare's envelope. ``success: false`` was seen under HTTP 200 too, so the body decides."""
    if not isinstance(body, dict):
        return None
    errors = body.get("errors")
    if body.get("success") is not False and not (errors and reply.status >= 400):
        return None
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    code, message = first.get("code"), first.get("message")
    if type(code) is not int:
        code = int(code) if isinstance(code, str) and code.isdecimal() and len(code) < 9 else None
    text = message[:400] if isinstance(message, str) else excerpt(reply.body)
    while text.startswith("AiError: "):  # once, twice or never (captured)
        text = text[len("AiError: ") :]
    return ServiceError(reply.status, code, " ".join(text[:300].split()), _seconds(reply.retry_after, now))


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


def _reason(value: Any) -> str:
    try:
        return excerpt(value.encode() if isinstance(value, str) else orjson.dumps(value))
    except (TypeError, UnicodeEncodeError):
        return type(value).__name__
