"""The protocol of the Workers AI batch queue: encodes submits and polls, decodes their replies. No I/O.

Facts about the service come from Cloudflare's documentation (batch API, errors, limits), or are marked "captured" where
the service was seen to differ from it: K2.6 answers with ``results`` and ``index`` where the pages show ``responses``
and ``id``, and a finished job has no ``status``. Replies are untrusted: a reply of any shape decodes to one of the
values below, and no reply raises an exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from kimi_beam.types.answer import Usage
from kimi_beam.wire.envelopes import (
    Exchange,
    NoReply,
    Refused,
    Unknown,
    Unsent,
    bare_error,
    error_of,
    excerpt,
    read_json,
    reason,
    result_of,
    unworded,
)
from kimi_beam.wire.service_errors import EXPIRED, Remedy, ServiceError
from kimi_beam.wire.usage import decode_usage
from kimi_beam.wire.usual_reply import usual_reply

# ------------------------------------------------------------------------------------------------ what comes back


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job is queued, and has to be paid for from here on."""

    request_id: str


SubmitResult: TypeAlias = Accepted | Refused | Unknown | Unsent


@dataclass(frozen=True, slots=True)
class Pending:
    """The job is queued or running."""


@dataclass(frozen=True, slots=True)
class Done:
    """The job is finished: its items in the order of the reply, and the tokens of the whole job."""

    items: Sequence[Any]
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class NoResults:
    """The reply says that the job is finished, but holds no answers."""

    message: str


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
    """The poll itself failed, which says nothing about the job."""

    message: str
    error: ServiceError | None = None


PollResult: TypeAlias = Pending | Done | NoResults | Gone | Failed | Trouble


# ------------------------------------------------------------------------------------------------ submit


def encode_submit(requests: Iterable[Sequence[bytes]]) -> bytes:
    """The body of a submit.

    It is always ``{"requests": […]}``: a bare request is accepted and queued, but fails later (captured by a client).

    Args:
        requests: The JSON of each request in pieces, so that megabytes are copied only once.
    """
    pieces = [b'{"requests":[']
    for request in requests:
        pieces += request
        pieces.append(b",")
    if len(pieces) > 1:
        pieces.pop()
    return b"".join((*pieces, b"]}"))


def decode_submit(exchange: Exchange, now: float) -> SubmitResult:
    """Decodes the reply to a submit.

    Args:
        exchange: The reply, or the lack of one.
        now: The time in Unix seconds; a ``Retry-After`` date is converted to seconds from then.
    """
    if isinstance(exchange, NoReply):
        return Unknown(exchange.message) if exchange.sent else Unsent(exchange.message)
    body = read_json(exchange.body)
    error = error_of(exchange, body, now)
    if error is not None:
        # After a timeout the job may be queued all the same: some server only stopped waiting for the reply.
        return Unknown(str(error)) if error.remedy is Remedy.TIMEOUT else Refused(error)
    result = result_of(body)
    if 200 <= exchange.status < 300:
        if "choices" in result or "response" in result:
            return Unknown(f"an answer where a job was submitted: {excerpt(exchange.body)}")
        request_id = result.get("request_id") or result.get("requestId") or result.get("id")
        if isinstance(request_id, str) and request_id:
            return Accepted(request_id)
        return Unknown(f"a reply without a request id (HTTP {exchange.status}): {excerpt(exchange.body)}")
    ticket = result.get("request_id")
    is_queued = result.get("status") in _UNFINISHED
    if exchange.status >= 500 and isinstance(ticket, str) and ticket and is_queued:
        # A proxy has replaced the status of a reply with a job id. To poll that job costs nothing, while to submit
        # again may cost as much as the whole job.
        return Accepted(ticket)
    return unworded(exchange, now)


# ------------------------------------------------------------------------------------------------ poll


def encode_poll(request_id: str) -> bytes:
    """The body of a poll."""
    return orjson.dumps({"request_id": request_id})


_UNFINISHED = ("queued", "running")
"""Statuses of an unfinished job (documented)."""

_STILL_WAITING = {
    *_UNFINISHED,
    *("pending", "waiting", "scheduled", "created", "submitted", "accepted", "validating", "started", "starting"),
    *("processing", "in_progress", "in-progress", "in progress", "active", "finalizing", "retrying"),
}
"""Statuses of unfinished jobs, also those of other services. With an unknown status a job is polled on too, and the
status is reported."""

_FINISHED = frozenset({"done", "complete", "completed", "finished", "success", "succeeded", "ok"})
"""Statuses that can only mean that a job is finished (assumed: a captured finished job had no status)."""

_FAILED = frozenset(
    {"error", "errored", "failed", "failure", "cancelled", "canceled", "expired", "aborted", "rejected"}
    | {"terminated", "timeout", "timed_out"}
)
"""Statuses that can only mean that a job has ended without answers (assumed)."""


_ABOUT_JOB = re.compile(r"\b(?:async[ _-]?)?request(?:[ _-]?id\b| not found)|\bjob\b", re.IGNORECASE)


def _denies_job(error: ServiceError) -> bool:
    """Whether an error says that the job does not exist: 5504 (captured), or a 404 or 410 whose message says so."""
    return error.code == EXPIRED or (error.status in (404, 410) and _ABOUT_JOB.search(error.message) is not None)


def decode_poll(exchange: Exchange, now: float, request_id: str | None = None) -> PollResult:
    """Decodes the reply to a poll. A job is finished if the reply has an array of answers (captured: no ``status``).

    Args:
        exchange: The reply, or the lack of one.
        now: The time in Unix seconds; a ``Retry-After`` date is converted to seconds from then.
        request_id: The id of the job that was polled; a reply that names another id says nothing about it. None: any.
    """
    if isinstance(exchange, NoReply):
        return Trouble(exchange.message)
    if (usual := usual_reply(exchange)) is not None:
        return Done(*usual)
    body = read_json(exchange.body)
    error = error_of(exchange, body, now)
    if error is not None:
        return Gone(str(error)) if _denies_job(error) else Trouble(str(error), error)
    if not 200 <= exchange.status < 300:
        error = bare_error(exchange, now)
        return Trouble(str(error), error)
    if not isinstance(body, dict):
        return Trouble(f"a reply that is no JSON object: {excerpt(exchange.body)}")
    result = result_of(body)
    named = result.get("request_id") or result.get("requestId")
    if request_id is not None and isinstance(named, str) and named != request_id:
        return Trouble(f"the reply is about another job ({reason(named)})")
    status = result.get("status")
    status = status.strip().lower() if isinstance(status, str) else ""
    arrays = [items for items in map(result.get, ("results", "responses")) if isinstance(items, list)]
    items = next(filter(None, arrays), None)
    if items is not None and status not in _UNFINISHED:
        return Done(items, decode_usage(result.get("usage")))
    if status in _FAILED:
        return Failed(f"the service says {status!r}: {excerpt(exchange.body)}")
    if status in _STILL_WAITING:
        return Pending()
    if status and status not in _FINISHED:
        return Trouble(f"the job has a status that is not known, and no list of results: {excerpt(exchange.body)}")
    if arrays:  # an empty array is an answer too, namely that every item is missing
        return Done([], decode_usage(result.get("usage")))
    return NoResults(f"the service says that the job is done and sends no list of results: {excerpt(exchange.body)}")
