"""Reads the HTTP reply to one request: to its end, or as far as it arrived before it broke off.

A reply may break off after its whole body has arrived: its ``Content-Length`` promises more, its last chunk never
comes, or the connection is reset. By then the request has been paid for, so a body that is complete JSON, or a stream
that has begun, is read as it is. The beginning of a JSON object is never itself a JSON object, so a body that was cut
off cannot be mistaken for a complete one.
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
"""How many bytes are read at a time."""

_PATIENCE = 2.0
"""Seconds between two checks whether the body is complete although the reply has not ended."""

_COMPRESSIONS = frozenset({"gzip", "x-gzip", "deflate"})
"""The compressions that may be undone; requests ask for gzip and deflate (``Accept-Encoding``)."""


_recorded: ContextVar[list[aiohttp.ClientResponse]] = ContextVar("kimi_beam_recorded_responses")
"""The responses to the current task's requests, in the order in which they began to arrive."""


def recording_response_class() -> type[aiohttp.ClientResponse]:
    """The response class of an aiohttp session whose responses `record_responses` records."""
    import aiohttp  # slow to import, and needed only by a worker that sends requests

    class RecordedResponse(aiohttp.ClientResponse):
        async def start(self, connection: Any) -> aiohttp.ClientResponse:
            _recorded.get().append(self)
            return await super().start(connection)

    return RecordedResponse


@contextlib.contextmanager
def record_responses() -> Iterator[list[aiohttp.ClientResponse]]:
    """Collects aiohttp's responses to the requests that this task sends inside the ``with``, also through httpx."""
    responses: list[aiohttp.ClientResponse] = []
    token = _recorded.set(responses)
    try:
        yield responses
    finally:
        _recorded.reset(token)


class _BodyCompleteError(Exception):
    """The body is complete, so the end of the reply is not waited for."""


async def read_reply(response: aiohttp.ClientResponse, most: int) -> HttpReply:
    """Reads the body of a reply whose headers have arrived.

    Args:
        response: The reply. Its body is still compressed as it was sent.
        most: The largest body that is read, in bytes, compressed or not.

    Raises:
        ValueError: The body is larger than `most`, or cannot be decompressed.
        Exception: Whatever broke the reply off before its body was complete.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    content, loop = response.content, asyncio.get_running_loop()
    pieces: list[bytes] = []
    timer: asyncio.TimerHandle
    size = 0

    def look() -> None:
        nonlocal timer
        if _is_body_complete(pieces, encoding, most):
            content.set_exception(_BodyCompleteError())
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
        pieces.append(_unread_bytes(content))
        response.close()
        # A stream that broke off is returned too: its beginning may say how many tokens have been paid for.
        is_complete = size <= most and _is_complete_when_unpacked(b"".join(pieces), encoding, most)
        if size > most or not (is_complete or _has_begun_stream(response, pieces)):
            raise
    finally:
        timer.cancel()
    return _reply(response, _unpacked(b"".join(pieces), encoding, most))


def _reply(response: aiohttp.ClientResponse, body: bytes) -> HttpReply:
    headers = response.headers
    return HttpReply(
        response.status,
        body,
        headers.get("retry-after"),
        headers.get("ratelimit"),
        headers.get("content-type", ""),
        headers.get("cf-ai-req-id", ""),
        headers.get("cf-aig-cache-status", "").upper() == "HIT",
        headers.get("server", ""),
        headers.get("location", "") if 300 <= response.status < 400 else "",
        headers.get("date", ""),
    )


def _unread_bytes(content: aiohttp.StreamReader) -> bytes:
    """The bytes that had arrived when the reply broke off. aiohttp gives them out only once its error is cleared."""
    content.set_exception(None)  # type: ignore[arg-type]
    try:
        return content.read_nowait()
    except Exception:  # another version of aiohttp may refuse: then only the bytes read before are there
        return b""


def _is_body_complete(pieces: Sequence[bytes], encoding: str, most: int) -> bool:
    """Whether the bytes that have arrived are a complete body, although the reply has not ended."""
    if not encoding and not b"".join(pieces[-2:]).rstrip().endswith((b"}", b"]")):
        return False
    return _is_complete_when_unpacked(b"".join(pieces), encoding, most)


def _is_complete_when_unpacked(raw: bytes, encoding: str, most: int) -> bool:
    try:
        return _is_complete(_unpacked(raw, encoding, most))
    except ValueError:
        return False


def _has_begun_stream(response: aiohttp.ClientResponse, pieces: Sequence[bytes]) -> bool:
    return response.headers.get("content-type", "").lower().startswith("text/event-stream") and any(pieces)


def _is_complete(body: bytes) -> bool:
    """Whether a body is a complete JSON object, or a stream with its end mark."""
    body = body.strip().removeprefix(BOM).lstrip()
    if body.startswith((b"data:", b"event:", b":")):
        return body.endswith(b"[DONE]")
    return body.startswith(b"{") and isinstance(read_json(body), dict)


def _unpacked(raw: bytes, encoding: str, most: int) -> bytes:
    """The decompressed body.

    Raises:
        ValueError: It cannot be decompressed, or is larger than `most` bytes.
    """
    if encoding in ("", "identity") or not raw:
        return raw
    if encoding not in _COMPRESSIONS:
        raise ValueError(f"a reply in a compression that was not asked for: {encoding[:40]}")
    try:
        return _inflated(raw, len(raw), most)
    except zlib.error as e:
        # The body is complete if only its checksum is wrong. And some proxies decompress a body but keep its header.
        for body in (_inflated(raw, 1, most, strict=False), raw):
            if _is_complete(body):
                return body
        raise ValueError(f"a body that is not {encoding}: {e}") from None


def _inflated(raw: bytes, step: int, most: int, *, strict: bool = True) -> bytes:
    """Undoes gzip or deflate.

    Args:
        raw: The compressed body.
        step: How many bytes are decompressed at a time. An error loses the output of those bytes only.
        most: The largest body, in bytes.
        strict: Whether an error is raised; otherwise the output before it is returned.
    """
    has_header = raw.startswith(b"\x1f\x8b") or (raw[0] & 0x0F == 8 and int.from_bytes(raw[:2], "big") % 31 == 0)
    unpacker = zlib.decompressobj(47 if has_header else -15)  # some servers send deflate without its header
    found: list[bytes] = []
    size = 0
    for start in range(0, len(raw), step):
        try:
            found.append(unpacker.decompress(raw[start : start + step], most + 1 - size))
        except zlib.error:
            if strict:
                raise
            break
        size += len(found[-1])
        if size > most:
            raise ValueError(f"a reply of more than {most} bytes")
    return b"".join(found)
