"""Reads the reply to one request, to its end or as far as it came.

A reply may break off after all that matters has arrived: its ``Content-Length`` promises more, its last chunk never
comes, or the connection is reset. What was accepted or answered then has been paid for, so a body that is whole JSON,
or a stream that has begun, is taken as it is. A part of a JSON object is never itself a JSON object, so nothing that
was cut off can be mistaken for whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from kimi_beam.wire.envelopes import BOM, HttpReply, read_json

if TYPE_CHECKING:
    import aiohttp

_PIECE = 64 << 10
"""Bytes that are read at a time."""

_PATIENCE = 2.0
"""Seconds after which it is looked whether a reply that has not ended is whole all the same."""

_COMPRESSIONS = frozenset({"gzip", "x-gzip", "deflate"})
"""What requests allow."""


_heard: ContextVar[list[aiohttp.ClientResponse]] = ContextVar("kimi_beam_heard")
"""The responses that have begun to come for the task that made the requests."""


def heard_response() -> type[aiohttp.ClientResponse]:
    """The class of responses, for a session of aiohttp's, that `responses_heard` hears of."""
    import aiohttp  # late, as whoever makes no requests does not need it

    class Heard(aiohttp.ClientResponse):
        async def start(self, connection: Any) -> aiohttp.ClientResponse:
            _heard.get().append(self)
            return await super().start(connection)

    return Heard


@contextlib.contextmanager
def responses_heard() -> Iterator[list[aiohttp.ClientResponse]]:
    """Gives the responses to the requests that this task makes meanwhile, whatever library it makes them by."""
    heard: list[aiohttp.ClientResponse] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


class _IsWholeError(Exception):
    """The body is whole, and the rest of the reply is not waited for."""


async def read_reply(response: aiohttp.ClientResponse, most: int) -> HttpReply:
    """Reads a reply whose head has come.

    Args:
        response: The reply; its body is compressed as it was sent.
        most: Bytes that the body may have, packed or unpacked.

    Raises:
        ValueError: The body is larger than that, or cannot be unpacked.
        Exception: Whatever broke the reply off before its body was whole.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    content, loop = response.content, asyncio.get_running_loop()
    pieces: list[bytes] = []
    timer: asyncio.TimerHandle
    size = 0

    def look() -> None:
        nonlocal timer
        if _has_come(pieces, encoding, most):
            content.set_exception(_IsWholeError())
        else:
            timer = loop.call_later(_PATIENCE, look)

    timer = loop.call_later(_PATIENCE, look)
    try:
        async for piece in content.iter_chunked(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise ValueError(f"a reply of more than {most} bytes")
    except Exception:
        pieces.append(_left_in(content))
        response.close()
        # Of a stream that broke off it is told what it has cost; what it came to is for its reader to say.
        is_whole = size <= most and _is_whole_when_unpacked(b"".join(pieces), encoding, most)
        if size > most or not (is_whole or _has_begun_stream(response, pieces)):
            raise
    finally:
        timer.cancel()
    return _reply(response, _unpacked(b"".join(pieces), encoding, most))


def _reply(response: aiohttp.ClientResponse, body: bytes) -> HttpReply:
    told = response.headers
    return HttpReply(
        response.status,
        body,
        told.get("retry-after"),
        told.get("ratelimit"),
        told.get("content-type", ""),
        told.get("cf-ai-req-id", ""),
        told.get("cf-aig-cache-status", "").upper() == "HIT",
        told.get("server", ""),
        told.get("location", "") if 300 <= response.status < 400 else "",
    )


def _left_in(content: aiohttp.StreamReader) -> bytes:
    """What had arrived when the reply broke off. aiohttp gives nothing out any more while it knows of the error."""
    content.set_exception(None)  # type: ignore[arg-type]
    try:
        return content.read_nowait()
    except Exception:  # whatever another aiohttp has against it: then the reply has broken off, as it says
        return b""


def _has_come(pieces: Sequence[bytes], encoding: str, most: int) -> bool:
    """Whether what has come of a reply is all that its reader needs."""
    if not encoding and not b"".join(pieces[-2:]).rstrip().endswith((b"}", b"]")):
        return False
    return _is_whole_when_unpacked(b"".join(pieces), encoding, most)


def _is_whole_when_unpacked(raw: bytes, encoding: str, most: int) -> bool:
    try:
        return _is_whole(_unpacked(raw, encoding, most))
    except ValueError:
        return False


def _has_begun_stream(response: aiohttp.ClientResponse, pieces: Sequence[bytes]) -> bool:
    return response.headers.get("content-type", "").lower().startswith("text/event-stream") and any(pieces)


def _is_whole(body: bytes) -> bool:
    """Whether a body begins with a whole JSON object, or is a stream with its end mark."""
    body = body.strip().removeprefix(BOM).lstrip()
    if body.startswith((b"data:", b"event:", b":")):
        return body.endswith(b"[DONE]")
    return body.startswith(b"{") and isinstance(read_json(body), dict)


def _unpacked(raw: bytes, encoding: str, most: int) -> bytes:
    """The body without its compression.

    Raises:
        ValueError: It cannot be unpacked, or is too large.
    """
    if encoding in ("", "identity") or not raw:
        return raw
    if encoding not in _COMPRESSIONS:
        raise ValueError(f"a reply in a compression that was not asked for: {encoding[:40]}")
    try:
        return _inflated(raw, len(raw), most)
    except zlib.error as e:
        # All is there where only the checksum is wrong; and some proxies unpack a body and leave its header as it was.
        for body in (_inflated(raw, 1, most, strict=False), raw):
            if _is_whole(body):
                return body
        raise ValueError(f"a body that is not {encoding}: {e}") from None


def _inflated(raw: bytes, step: int, most: int, *, strict: bool = True) -> bytes:
    """Undoes gzip or deflate, some bytes at a time: an error takes with it what its own bytes would have given."""
    has_header = raw.startswith(b"\x1f\x8b") or (raw[0] & 0x0F == 8 and int.from_bytes(raw[:2], "big") % 31 == 0)
    unpacker = zlib.decompressobj(47 if has_header else -15)  # some servers send deflate without its header
    found: list[bytes] = []
    size = 0
    for at in range(0, len(raw), step):
        try:
            found.append(unpacker.decompress(raw[at : at + step], most + 1 - size))
        except zlib.error:
            if strict:
                raise
            break
        size += len(found[-1])
        if size > most:
            raise ValueError(f"a reply of more than {most} bytes")
    return b"".join(found)
