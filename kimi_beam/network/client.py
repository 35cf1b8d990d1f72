"""The one module that talks to the network: bytes out, bytes in.

The client never retries: whether a request may be repeated is a question of money, and `dispatch` and `calling` decide
it. All exchanges of a process run on one event loop (`event_loop`), and all that ask one service share one client
(`connect`).
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kimi_beam.errors import ConfigError
from kimi_beam.network.allowance import flow_of, quota_of
from kimi_beam.network.certificates import tls
from kimi_beam.network.event_loop import run, start
from kimi_beam.network.http_replies import heard_response, read_reply, responses_heard
from kimi_beam.network.redaction import Redaction
from kimi_beam.service.per_process import PerProcess
from kimi_beam.service.proxies import passwords_in, proxy_of
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.wire.envelopes import Exchange, HttpReply, NoReply
from kimi_beam.wire.protocol import encode_poll

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds an exchange may take."""

    connect: float = 10.0
    read: float = 120.0
    """Without a byte."""
    answer: float = 600.0
    """Without a byte of a synchronous answer. The service's own cut-off comes at about 120, seen as late as 544."""
    total: float = 900.0
    """From the first byte sent to the last one read."""


_MAX_REPLY = 256 << 20
"""Bytes of a reply: 5,000 answers of 50 kB. More is not from the service."""

_MAX_ANSWER = 32 << 20
"""Bytes of the reply to a synchronous request: one answer."""

_WAIT_FOR_MESSAGES = 20.0
"""Seconds for a pull or its answer: both come at once, and polls must not wait for a queue that hangs."""

_MAX_HEADER = 64 << 10
"""Bytes of a reply's header line: gateways add many."""

SUBMITS_AT_ONCE = 8
"""Submits in the air at once: bodies are megabytes, and more at once would only share the same line. Also what a
worker that is killed may have submitted without a trace of the ticket."""

_MAX_POLLS = 32


class _Line(NamedTuple):
    """Connections for one kind of exchange.

    httpx's transport over aiohttp's connections, without httpx's client: its cookies, redirects and merging of defaults
    are of no use here, and took a third of the CPU of a synchronous request.
    """

    transport: httpx.AsyncBaseTransport
    timeout: dict[str, float | None]


class Client:
    """Exchanges with one service: bytes in, bytes out, many at once.

    Submits have connections of their own, and each opens a new one: on a kept connection that the server just closed it
    could not be told from one that was accepted and lost, and the documents might be paid for twice. A handshake for
    some hundred documents costs nothing beside that. Polls and synchronous requests keep theirs.

    Args:
        service: Where it is.
        prefix: What all requests begin with. Equal prefixes of a machine go to the same model instance, whose cache
            knows them (``x-session-affinity``; prompt caching page).
        max_concurrency: Synchronous requests at once.
        max_submits: Submits at once.
        timeouts: None: the usual ones.
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
        self.flow = flow_of(service)
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
        at_once: bool = False,
    ) -> list[Exchange]:
        """Submits all bodies at once.

        Args:
            bodies: One for each submit.
            on_reply: Called with the index of a submit and its reply as soon as that is there.
            at_once: Whether it takes no longer than a write to a disk; else it has a thread of its own.

        Returns:
            The replies in the order of the bodies.

        Raises:
            Exception: What `on_reply` raised, after it has heard of every submit.
        """
        return run(self._all(self._submits, bodies, on_reply, at_once=at_once))

    def poll(self, request_ids: Sequence[str]) -> Iterator[tuple[int, Exchange]]:
        """Polls all jobs at once.

        Yields:
            The index of a job and its reply as soon as that is there, so that one is read while the others come.
        """
        came: SimpleQueue[tuple[int, Exchange] | None] = SimpleQueue()
        bodies = [encode_poll(request_id) for request_id in request_ids]
        future = start(self._all(self._polls, bodies, lambda *reply: came.put(reply), at_once=True))
        future.add_done_callback(lambda _: came.put(None))
        try:
            while (reply := came.get()) is not None:
                yield reply
            future.result()
        finally:
            future.cancel()

    async def ask(self, body: bytes, within: float) -> Exchange:
        """One synchronous request, on the loop of `start`.

        Args:
            body: The request.
            within: Seconds until it has to be over. A stream may take longer than any other exchange.
        """
        service = self.service
        url = service.chat_url if service.api == "chat" else service.run_url
        return await self._exchange(self._runs, "POST", url, self._run_headers, body, within, _MAX_ANSWER)

    def consume(self, queue: str, action: Literal["pull", "ack"], body: bytes) -> Exchange:
        """Pulls messages from a Cloudflare Queue, or answers their leases."""
        url = self.service.messages_url(queue, action)
        return run(self._exchange(self._polls, "POST", url, self._constant, body, _WAIT_FOR_MESSAGES))

    def look_up(self, url: str) -> Exchange:
        """Reads a page of the service that costs nothing."""
        return run(self._exchange(self._polls, "GET", url, self._queue_headers, b""))

    def close(self) -> None:
        """Closes the connections."""
        run(self._close())

    def _redacting(self) -> Redaction:
        tokens = [value.removeprefix("Bearer ") for value in self._authorization.values()]
        return Redaction([*tokens, *passwords_in(proxy_of(self.service.root))])

    async def _open(self, max_concurrency: int) -> tuple[_Line, _Line, _Line]:
        # Late: the libraries take half a second to import, and only a worker that makes requests needs them.
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
        response_class = heard_response()
        checked = tls() if root.startswith("https:") or (address or "").startswith("https:") else True

        def line(read: float, **connector: Any) -> _Line:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=checked, **connector),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent",),
                response_class=response_class,
                max_line_size=_MAX_HEADER,
                max_field_size=_MAX_HEADER,
            )
            timeout = httpx.Timeout(read, connect=self._timeouts.connect, pool=None)
            return _Line(AiohttpTransport(verify=False, client=session, proxy=proxy), timeout.as_dict())

        return (
            line(self._timeouts.read, limit=self._max_submits, force_close=True),
            line(self._timeouts.read, limit=_MAX_POLLS),
            line(self._timeouts.answer, limit=max_concurrency),
        )

    async def _close(self) -> None:
        await asyncio.gather(*(line.transport.aclose() for line in (self._submits, self._polls, self._runs)))

    async def _all(
        self,
        line: _Line,
        bodies: Sequence[bytes],
        on_reply: Callable[[int, Exchange], None] | None = None,
        *,
        at_once: bool = False,
    ) -> list[Exchange]:
        async def one(index: int, body: bytes) -> Exchange:
            exchange = await self._exchange(line, "POST", self.service.queue_url, self._queue_headers, body)
            if on_reply is not None and at_once:
                on_reply(index, exchange)
            elif on_reply is not None:
                await asyncio.to_thread(on_reply, index, exchange)
            return exchange

        # Not by the first that fails: the others have been accepted meanwhile, and must be heard of.
        outcomes = await asyncio.gather(*(one(i, body) for i, body in enumerate(bodies)), return_exceptions=True)
        exchanges = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return exchanges

    async def _exchange(
        self,
        line: _Line,
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
            reply = await self._send(line, method, url, {**headers, **authorization}, body, within, most)
            return redaction.of_exchange(reply)

        used = self._authorization
        reply = await send(used)
        if isinstance(reply, HttpReply) and reply.status in (401, 403):
            # Nothing was accepted. The token may have been rotated since it was read.
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
        line: _Line,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        within: float,
        most: int,
    ) -> Exchange:
        try:
            return await asyncio.wait_for(_whole(line, method, url, headers, body, most), within)
        except Exception as e:  # whatever ended it: a document's fate is decided by value
            if type(e) is asyncio.TimeoutError:
                return NoReply(sent=True, message=f"no whole reply within {within:.0f} s")
            cause = _behind(e)
            told = self._redaction.of_text(f"{type(cause).__name__}: {' '.join(str(cause).split())}")
            return NoReply(_was_sent(cause), told[:300])


async def _whole(line: _Line, method: str, url: str, headers: Mapping[str, str], body: bytes, most: int) -> HttpReply:
    import httpx

    timeout = {"timeout": line.timeout}
    request = httpx.Request(method, _parsed(url), headers=dict(headers), content=body, extensions=timeout)
    # httpx gives out nothing of what arrived before a reply broke off; the aiohttp response behind its own does.
    with responses_heard() as heard:
        await line.transport.handle_async_request(request)
    async with heard[-1] as response:
        return await read_reply(response, most)


@functools.lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    import httpx

    return httpx.URL(url)


def affinity(prefix: bytes) -> str:
    """A name for what this machine asks with one prefix: the same in each of its processes and runs, and no secret."""
    return hashlib.blake2b(socket.gethostname().encode() + b"\0" + prefix, digest_size=12).hexdigest()


def _behind(error: Exception) -> Exception:
    """The aiohttp error behind one of httpx's.

    The transport maps "server disconnected", which may well follow an accepted submit, to httpx's ConnectTimeout.
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
    # The alert by which a server says that it waits for TLS: it has not read a word of what was sent.
    is_alert = isinstance(error, aiohttp.ClientResponseError) and "\\x15\\x03" in error.message
    return not (is_alert or isinstance(error, never_sent))


# ------------------------------------------------------------------------------------------------ one of a process

_clients = PerProcess[Client]()


def connect(service: WorkersAI, prefix: bytes, max_concurrency: int, max_submits: int = SUBMITS_AT_ONCE) -> Client:
    """The client of this process for a service: made when it is first asked for. Give it back with `disconnect`."""
    # A secret manager's handle may not be hashable, and has no other name than itself.
    token = service.token_from if isinstance(service.token_from, str) else id(service.token_from)
    where = (service.root, repr(service.gateway), service.account_id, service.model, service.api, service.pace)
    key = (where, token, affinity(prefix), max_concurrency, max_submits)

    def make() -> Client:
        return Client(service, prefix=prefix, max_concurrency=max_concurrency, max_submits=max_submits)

    with _clients.lock:  # or the last user might close it before this one is counted
        client = _clients.get(key, make)
        client._users += 1
    return client


def disconnect(client: Client) -> None:
    """Gives a client back; the last user closes it."""
    with _clients.lock:
        client._users -= 1
        if client._users:
            return
        _clients.forget_value(client)
    client.flow.forget(client)
    client.close()
