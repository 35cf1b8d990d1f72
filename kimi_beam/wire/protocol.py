"""The wire of the Workers AI batch queue: requests encoded, replies decoded, no I/O.

The one place that knows the service's spellings. Sources are named as in Cloudflare's documentation (batch API,
errors, limits) or as "captured" where the service was seen to differ from it: K2.6 answers with ``results`` and
``index`` where the pages show ``responses`` and ``id``, and a finished job has no ``status``. Whatever comes in is
untrusted: a reply of any shape decodes to one of the values below and never raises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias

import orjson

from kimi_beam.types import Usage
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
    result_of,
    unworded,
)
from kimi_beam.wire.service_errors import EXPIRED, Remedy, ServiceError
from kimi_beam.wire.usage import decode_usage
from kimi_beam.wire.usual_reply import usual_reply

# ------------------------------------------------------------------------------------------------ what comes back


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job is queued; from here on it is paid for."""

    request_id: str


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


def encode_submit(requests: Iterable[Sequence[bytes]]) -> bytes:
    """The body of a submit. Always wrapped: a bare request is accepted, queued, and dies later (seen by a client).

    Args:
        requests: Each in pieces, as megabytes are copied once then.
    """
    pieces = [b'{"requests":[']
    for request in requests:
        pieces += request
        pieces.append(b",")
    if len(pieces) > 1:
        pieces.pop()
    return b"".join((*pieces, b"]}"))


def decode_submit(exchange: Exchange, now: float) -> SubmitResult:
    """What became of a submit.

    Args:
        exchange: The reply, or the lack of one.
        now: Unix seconds; a ``Retry-After`` date is turned into seconds from it.
    """
    if isinstance(exchange, NoReply):
        return Unknown(exchange.message) if exchange.sent else Unsent(exchange.message)
    body = read_json(exchange.body)
    error = error_of(exchange, body, now)
    if error is not None:
        # A timeout says that somebody gave up waiting, not that nothing was queued.
        return Unknown(str(error)) if error.remedy is Remedy.TIMEOUT else Refused(error)
    if 200 <= exchange.status < 300:
        result = result_of(body)
        if "choices" in result or "response" in result:
            return Unknown(f"an answer where a job was submitted: {excerpt(exchange.body)}")
        request_id = result.get("request_id") or result.get("requestId") or result.get("id")
        if isinstance(request_id, str) and request_id:
            return Accepted(request_id)
        return Unknown(f"a reply without a request id (HTTP {exchange.status}): {excerpt(exchange.body)}")
    return unworded(exchange, now)


# ------------------------------------------------------------------------------------------------ poll


def encode_poll(request_id: str) -> bytes:
    """The body of a poll."""
    return orjson.dumps({"request_id": request_id})


def decode_poll(exchange: Exchange, now: float) -> PollResult:
    """What a poll found. Finished is a job whose answer array is there (captured: and no ``status``)."""
    if isinstance(exchange, NoReply):
        return Trouble(exchange.message)
    if (usual := usual_reply(exchange)) is not None:
        return Done(*usual)
    body = read_json(exchange.body)
    error = error_of(exchange, body, now)
    if error is not None:
        return Gone(str(error)) if error.code == EXPIRED else Trouble(str(error), error)
    if not 200 <= exchange.status < 300:
        error = bare_error(exchange, now)
        return Trouble(str(error), error)
    if not isinstance(body, dict):
        return Trouble(f"a reply that is no JSON object: {excerpt(exchange.body)}")
    result = result_of(body)
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


_REFERENCE = itemgetter("external_reference")


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
    with contextlib.suppress(KeyError, TypeError, IndexError):
        if list(map(_REFERENCE, items)) == references:
            return list(items), 0  # each once and in order, as captured
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
