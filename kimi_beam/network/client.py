"""The client of the service, and the one module that opens connections: bytes out, bytes in.

The client never repeats a request, because a repetition may be paid for twice: `kimi_beam.queue.state_machine` and
`kimi_beam.synchronous.after_reply` decide that. All requests of a process run on one event loop
(`kimi_beam.network.event_loop`), and all steps that ask one service share one client
(`kimi_beam.network.shared_clients`).
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kimi_beam.errors import ConfigError
from kimi_beam.network.allowance import allowance_of, quota_of
from kimi_beam.network.certificates import tls
from kimi_beam.network.event_loop import run, start
from kimi_beam.network.http_replies import read_reply, record_responses, recording_response_class
from kimi_beam.network.redaction import Redaction
from kimi_beam.service.proxies import passwords_in, proxy_of
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.wire.envelopes import Exchange, HttpReply, NoReply
from kimi_beam.wire.protocol import encode_poll

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How many seconds a request may take, from connecting to the last byte of its reply."""

    connect: float = 10.0
    """Until the connection is there."""
    read: float = 120.0
    """Without a byte of the reply."""
    answer: float = 600.0
    """Without a byte of a synchronous answer. The service cuts off after about 120 s, but 544 s were observed."""
    total: float = 900.0
    """From the first byte sent to the last one read."""


_MAX_REPLY = 256 << 20
"""The largest reply that is read, in bytes: room for 5,000 answers of 50 kB. A larger one is not the service's."""

_MAX_ANSWER = 32 << 20
"""The largest reply to a synchronous request, in bytes: it holds one answer."""

_WAIT_FOR_MESSAGES = 20.0
"""Seconds that a pull of events, or their acknowledgement, may take: polls must not wait for a queue that hangs."""

_AT_ONCE = 1 << 20
"""The most bytes of a body that are handed to the connection at once."""

_MAX_HEADER = 64 << 10
"""The longest header line of a reply, in bytes: gateways add long ones."""

SUBMITS_AT_ONCE = 8
"""Submits that are sent at the same time. Bodies are megabytes, so that more would only share the same bandwidth. It
is also the number of batches that a killed worker may have submitted without recording their tickets."""

_MAX_POLLS = 32
"""Polls that are sent at the same time."""


class _Connections(NamedTuple):
    """The connections for one kind of request.

    They are httpx's transport over aiohttp, without httpx's client: its cookies, redirects and merging of defaults took
    a third of the CPU of a synchronous request and are not needed here.
    """

    transport: httpx.AsyncBaseTransport
    timeout: dict[str, float | None]


class Client:
    """Sends requests to one service, many at the same time, and returns the replies as bytes.

    Each submit opens a connection of its own. If a kept connection was closed by the server just then, nobody could
    tell whether the submit was accepted, and its documents might be paid for twice. A handshake for some hundred
    documents costs little. Polls and synchronous requests may be repeated at less cost and keep their connections.

    Args:
        service: The service, its model and its token.
        prefix: The bytes that all requests begin with. Requests of a machine with the same prefix go to the same
            instance of the model, which has it in its cache (``x-session-affinity``; prompt caching page).
        max_concurrency: The most synchronous requests at the same time.
        max_submits: The most submits at the same time.
        timeouts: How long a request may take; None means the defaults of `Timeouts`.
    """

    def __init__(
        self,
        service: WorkersAI,
        *,
        prefix: bytes = b"",
        max_concurrency: int = 64,
        max_submits: int = SUBMITS_AT_ONCE,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.service = service
        self.allowance = allowance_of(service)
        self.quota = quota_of(service)
        self.slots = asyncio.BoundedSemaphore(max_concurrency)
        self._users = 0
        self._max_submits = max_submits
        self._timeouts = timeouts or Timeouts()
        self._authorization = service.authorization()
        self._redaction = self._redacting()
        self._constant = {
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "gzip, deflate",
            "Content-Type": "application/json",
            "User-Agent": "kimi_beam",
        }
        constant = {**self._constant, "x-session-affinity": affinity(prefix)}
        self._queue_headers = {**constant, **service.headers(queued=True)}
        self._run_headers = {**constant, **service.headers(queued=False)}
        self._submits, self._polls, self._runs = run(self._open(max_concurrency))

    def submit(
        self,
        bodies: Sequence[bytes],
        on_reply: Callable[[int, Exchange], None] | None = None,
        *,
        on_loop: bool = False,
    ) -> list[Exchange]:
        """Submits several batches at the same time.

        Args:
            bodies: The body of each submit.
            on_reply: Called with the index of a submit and its reply, as soon as the reply is there.
            on_loop: Whether `on_reply` is called on the event loop, because it takes no longer than a write to a local
                disk; otherwise it is called in a thread.

        Returns:
            The replies in the order of the bodies.

        Raises:
            Exception: What `on_reply` raised. It is raised only after `on_reply` was called for every submit.
        """
        return run(self._exchange_all(self._submits, bodies, on_reply, on_loop=on_loop))

    def poll(self, request_ids: Sequence[str]) -> Iterator[tuple[int, Exchange]]:
        """Polls several jobs at the same time.

        Yields:
            The index of a job and its reply, as soon as the reply is there: one is read while the others arrive.
        """
        replies: SimpleQueue[tuple[int, Exchange] | None] = SimpleQueue()
        bodies = [encode_poll(request_id) for request_id in request_ids]
        future = start(self._exchange_all(self._polls, bodies, lambda *reply: replies.put(reply), on_loop=True))
        future.add_done_callback(lambda _: replies.put(None))
        try:
            while (reply := replies.get()) is not None:
                yield reply
            future.result()
        finally:
            future.cancel()

    async def ask(self, body: bytes, within: float) -> Exchange:
        """Sends one synchronous request. Called on the event loop.

        Args:
            body: The request as JSON.
            within: Seconds until the reply has to be complete. A streamed reply may take longer than any other.
        """
        service = self.service
        url = service.chat_url if service.api == "chat" else service.run_url
        return await self._exchange(self._runs, "POST", url, self._run_headers, body, within, _MAX_ANSWER)

    def consume(self, queue: str, action: Literal["pull", "ack"], body: bytes) -> Exchange:
        """Pulls messages from a Cloudflare Queue, or acknowledges them."""
        url = self.service.messages_url(queue, action)
        return run(self._exchange(self._polls, "POST", url, self._constant, body, _WAIT_FOR_MESSAGES))

    def convert(self, body: bytes, content_type: str) -> Exchange:
        """Sends a file to the Markdown conversion. Several threads may do so at the same time.

        Args:
            body: The file as a multipart body.
            content_type: The header ``Content-Type``, which names the boundary of the parts.
        """
        headers = {**self._constant, "Content-Type": content_type}
        return run(self._exchange(self._runs, "POST", self.service.markdown_url, headers, body, None, _MAX_ANSWER))

    def look_up(self, url: str) -> Exchange:
        """Sends a GET request, which costs nothing, as before a run."""
        return run(self._exchange(self._polls, "GET", url, self._queue_headers, b""))

    def close(self) -> None:
        """Closes the connections."""
        run(self._close())

    def _redacting(self) -> Redaction:
        tokens = [value.removeprefix("Bearer ") for value in self._authorization.values()]
        return Redaction([*tokens, *passwords_in(proxy_of(self.service.root))])

    async def _open(self, max_concurrency: int) -> tuple[_Connections, _Connections, _Connections]:
        # Imported here because they take half a second, and only a worker that sends requests needs them.
        import aiohttp
        import httpx
        from httpx_aiohttp import AiohttpTransport

        root = self.service.root
        address = proxy_of(root)
        proxy = None
        if address is not None:
            proxy = httpx.Proxy(address)
            # aiohttp reads the password from the URL; the class by which the transport would hand it on is deprecated.
            proxy.url, proxy.auth = httpx.URL(address), None
        response_class = recording_response_class()
        context = tls() if root.startswith("https:") or (address or "").startswith("https:") else True

        def connections(read: float, **connector: Any) -> _Connections:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, **connector),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent",),
                response_class=response_class,
                max_line_size=_MAX_HEADER,
                max_field_size=_MAX_HEADER,
            )
            timeout = httpx.Timeout(read, connect=self._timeouts.connect, pool=None)
            return _Connections(AiohttpTransport(verify=False, client=session, proxy=proxy), timeout.as_dict())

        return (
            connections(self._timeouts.read, limit=self._max_submits, force_close=True),
            connections(self._timeouts.read, limit=_MAX_POLLS),
            connections(self._timeouts.answer, limit=max_concurrency),
        )

    async def _close(self) -> None:
        await asyncio.gather(*(kind.transport.aclose() for kind in (self._submits, self._polls, self._runs)))

    async def _exchange_all(
        self,
        connections: _Connections,
        bodies: Sequence[bytes],
        on_reply: Callable[[int, Exchange], None] | None = None,
        *,
        on_loop: bool = False,
    ) -> list[Exchange]:
        async def one(index: int, body: bytes) -> Exchange:
            exchange = await self._exchange(connections, "POST", self.service.queue_url, self._queue_headers, body)
            if on_reply is not None and on_loop:
                on_reply(index, exchange)
            elif on_reply is not None:
                await asyncio.to_thread(on_reply, index, exchange)
            return exchange

        # All are waited for even if a callback fails: the other submits may have been accepted, and are recorded.
        outcomes = await asyncio.gather(*(one(i, body) for i, body in enumerate(bodies)), return_exceptions=True)
        exchanges = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return exchanges

    async def _exchange(
        self,
        connections: _Connections,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        within: float | None = None,
        most: int = _MAX_REPLY,
    ) -> Exchange:
        within = within or self._timeouts.total

        async def send(authorization: Mapping[str, str]) -> Exchange:
            redaction = self._redaction
            reply = await self._send(connections, method, url, {**headers, **authorization}, body, within, most)
            return redaction.of_exchange(reply)

        used = self._authorization
        reply = await send(used)
        if isinstance(reply, HttpReply) and reply.status in (401, 403):
            # The request was not accepted, so it may be repeated. The token may have been rotated since it was read.
            if self._authorization == used:
                try:
                    self._authorization = self.service.authorization()
                    self._redaction = self._redacting()
                except ConfigError:
                    return reply
            if self._authorization != used:
                reply = await send(self._authorization)
        return reply

    async def _send(
        self,
        connections: _Connections,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        within: float,
        most: int,
    ) -> Exchange:
        try:
            return await asyncio.wait_for(_fetch(connections, method, url, headers, body, most), within)
        except Exception as e:  # whatever ended the request is a value for the caller to decide on
            if type(e) is asyncio.TimeoutError:
                return NoReply(sent=True, message=f"no whole reply within {within:.0f} s")
            cause = _underlying_error(e)
            message = self._redaction.of_text(f"{type(cause).__name__}: {' '.join(str(cause).split())}")
            return NoReply(_was_sent(cause), message[:300])


async def _fetch(
    connections: _Connections, method: str, url: str, headers: Mapping[str, str], body: bytes, most: int
) -> HttpReply:
    import httpx

    timeout = {"timeout": connections.timeout}
    # aiohttp writes bytes at once, and warns of it where they are many: all other requests would wait meanwhile.
    content = body if len(body) <= _AT_ONCE else _in_pieces(body)
    sent = {**headers, "Content-Length": str(len(body))} if body else dict(headers)
    request = httpx.Request(method, _parsed(url), headers=sent, content=content, extensions=timeout)
    # If a reply breaks off, httpx discards the bytes that have arrived. The aiohttp response under it still has them.
    with record_responses() as responses:
        await connections.transport.handle_async_request(request)
    async with responses[-1] as response:
        return await read_reply(response, most)


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), _AT_ONCE):
        yield body[at : at + _AT_ONCE]


@functools.lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    import httpx

    return httpx.URL(url)


def affinity(prefix: bytes) -> str:
    """The ``x-session-affinity`` of this machine for a prefix: the same in each process and run, and not a secret."""
    return hashlib.blake2b(socket.gethostname().encode() + b"\0" + prefix, digest_size=12).hexdigest()


def _underlying_error(error: Exception) -> Exception:
    """The aiohttp error that an error of httpx's stands for.

    It is needed because the transport maps "server disconnected", which may follow an accepted submit, to httpx's
    ConnectTimeout, which sounds as if nothing had been sent.
    """
    import httpx

    cause = error.__cause__
    return cause if isinstance(error, httpx.TransportError) and isinstance(cause, Exception) else error


def _was_sent(error: Exception) -> bool:
    """Whether the request may have reached the service."""
    import aiohttp

    never_sent = (
        aiohttp.ClientConnectorError,
        aiohttp.ClientHttpProxyError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.InvalidURL,
    )
    # A TLS alert: the server expects TLS and has not read the request.
    is_alert = isinstance(error, aiohttp.ClientResponseError) and "\\x15\\x03" in error.message
    return not (is_alert or isinstance(error, never_sent))
