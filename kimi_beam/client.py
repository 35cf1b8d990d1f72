"""The one module that talks to the network: where the service is (`WorkersAI`) and the exchange itself (`Client`).

The client moves bytes. It never retries: whether a submit may be repeated is a question of money, and `dispatch`
decides it. All exchanges of a process run on one event loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kimi_beam.credentials import (
    ACCOUNT_VARIABLE,
    TOKEN_VARIABLE,
    Secret,
    TokenFrom,
    TokenSource,
    read_token,
    token_source,
)
from kimi_beam.errors import ConfigError
from kimi_beam.protocol import Exchange, HttpReply, NoReply, encode_poll

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

CLOUDFLARE = "https://api.cloudflare.com/client/v4"
DEFAULT_MODEL = "@cf/moonshotai/kimi-k2.6"
"""The only hosted Kimi with a batch queue: K2.5 lost its own on 2026-04-24 (Workers AI model catalogue)."""

_NO_ACCOUNT = "0" * 32
_NO_TOKEN = "none"  # noqa: S105 - what is sent to a service of one's own that asks for no token
_MODEL = re.compile(r"[@A-Za-z0-9][\w@./-]*")
_ACCOUNT = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class WorkersAI:
    """Where the service is and which model is asked. Says where its token is, and never holds it.

    Attributes:
        account_id: Cloudflare's account id, 32 hexadecimal digits.
        model: The model's id.
        token_from: ``env:NAME``, ``file:PATH``, or a secret manager's handle (one of Beam's ``Secret``s that is not
            raw). Read on the worker at set-up, and again after a 401.
        base_url: The root before ``/accounts/…``.

    Raises:
        ConfigError: A value is missing or malformed.
    """

    account_id: str
    model: str = DEFAULT_MODEL
    token_from: TokenFrom = f"env:{TOKEN_VARIABLE}"
    base_url: str = CLOUDFLARE
    _token: TokenSource | Secret = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _ACCOUNT.fullmatch(self.account_id):
            raise ConfigError("account_id: Cloudflare's account id is 32 hexadecimal digits")
        if not _MODEL.fullmatch(self.model) or ".." in self.model:
            raise ConfigError(f"model: {self.model!r} is no model id; one looks like {DEFAULT_MODEL}")
        if not re.match(r"https?://[^/\s]+", self.base_url):
            raise ConfigError(f"base_url: {self.base_url!r} is no http or https URL")
        if "@" in self.base_url.split("/")[2]:
            raise ConfigError("base_url: a URL with a password in it would be logged; use token_from")
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        # A service of one's own may need no token; Cloudflare's does.
        source = token_source(self.token_from, optional=self._is_own and self.token_from == f"env:{TOKEN_VARIABLE}")
        object.__setattr__(self, "_token", source)

    @classmethod
    def from_env(
        cls,
        *,
        model: str = DEFAULT_MODEL,
        account_id: str | None = None,
        token_from: TokenFrom = f"env:{TOKEN_VARIABLE}",
        base_url: str | None = None,
    ) -> WorkersAI:
        """The service as Cloudflare's own tools find it: ``CLOUDFLARE_ACCOUNT_ID`` and ``CLOUDFLARE_API_TOKEN``.

        Args:
            model: The model's id.
            account_id: None: from the environment; a service of one's own (`base_url`) needs none.
            token_from: Where the token is.
            base_url: None: Cloudflare's.

        Raises:
            ConfigError: The account id or the token is missing.
        """
        account = account_id or os.environ.get(ACCOUNT_VARIABLE, "") or (_NO_ACCOUNT if base_url else "")
        if not account:
            raise ConfigError(
                f"no credentials: set {ACCOUNT_VARIABLE} and {TOKEN_VARIABLE}, or name another service by its base URL"
            )
        service = cls(account, model, token_from, base_url or CLOUDFLARE)
        if isinstance(service._token, TokenSource):
            service._token.read()
        return service

    @property
    def _is_own(self) -> bool:
        return urlsplit(self.base_url).hostname != urlsplit(CLOUDFLARE).hostname

    @property
    def _is_local(self) -> bool:
        host = urlsplit(self.base_url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    @property
    def run_url(self) -> str:
        """Submit and poll share one URL; the model goes into the path unescaped (batch API page)."""
        return f"{self.base_url}/accounts/{self.account_id}/ai/run/{self.model}?queueRequest=true"

    def read_token(self) -> str:
        """The token as it is now.

        Cloudflare's own variable is read for Cloudflare and for services on this machine; another host gets a token
        only where `token_from` names one.

        Raises:
            ConfigError: There is none.
        """
        if self._is_own and not self._is_local and self.token_from == f"env:{TOKEN_VARIABLE}":
            return _NO_TOKEN
        return read_token(self._token) or _NO_TOKEN


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds an exchange may take."""

    connect: float = 10.0
    read: float = 120.0
    """Without a byte."""
    total: float = 600.0
    """From the first byte sent to the last one read."""


_MAX_REPLY = 256 << 20
"""Bytes of a reply: 5,000 answers of 50 kB. More is not from the service."""

_MAX_SUBMITS = 8
"""Connections for submits: bodies are megabytes, and more at once would only share the same line."""


class Client:
    """Exchanges with one service: bytes in, bytes out, many at once.

    Submits and polls have connections of their own. A submit always opens a new one: on a kept connection that the
    server just closed it could not be told from one that was accepted and lost, and the documents might be paid for
    twice. A handshake for some hundred documents costs nothing beside that.
    """

    def __init__(self, service: WorkersAI, *, max_polls: int = 32, timeouts: Timeouts | None = None) -> None:
        self._service = service
        self._token = service.read_token()
        self._timeouts = timeouts or Timeouts()
        self._submits, self._polls = _run(self._open(max_polls))

    def submit(self, bodies: Sequence[bytes]) -> list[Exchange]:
        """Submits all bodies at once; the replies in their order."""
        return _run(self._all(self._submits, bodies))

    def poll(self, request_ids: Sequence[str]) -> list[Exchange]:
        """Polls all jobs at once; the replies in their order."""
        return _run(self._all(self._polls, [encode_poll(request_id) for request_id in request_ids]))

    def close(self) -> None:
        """Closes the connections."""
        _run(self._close())

    async def _open(self, max_polls: int) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
        # Late: the libraries take 0.4 s of CPU to import, and only a worker that makes requests needs them.
        import aiohttp
        import httpx
        from httpx_aiohttp import AiohttpTransport

        tls: ssl.SSLContext | bool = True
        if self._service.base_url.startswith("https:"):
            tls = httpx.create_ssl_context()
        address = _proxy(self._service.base_url)
        proxy = httpx.Proxy(address) if address else None
        timeout = httpx.Timeout(self._timeouts.read, connect=self._timeouts.connect, pool=None)

        def client(**connector: Any) -> httpx.AsyncClient:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, **connector),
                skip_auto_headers=("User-Agent",),
            )
            return httpx.AsyncClient(
                transport=AiohttpTransport(verify=False, client=session, proxy=proxy), timeout=timeout
            )

        return client(limit=_MAX_SUBMITS, force_close=True), client(limit=max_polls)

    async def _close(self) -> None:
        await asyncio.gather(self._submits.aclose(), self._polls.aclose())

    async def _all(self, http: httpx.AsyncClient, bodies: Sequence[bytes]) -> list[Exchange]:
        return list(await asyncio.gather(*(self._exchange(http, body) for body in bodies)))

    async def _exchange(self, http: httpx.AsyncClient, body: bytes) -> Exchange:
        used = self._token
        reply = await self._post(http, body, used)
        if isinstance(reply, HttpReply) and reply.status in (401, 403):
            # Nothing was accepted. The token may have been rotated since it was read.
            if self._token == used:
                try:
                    self._token = self._service.read_token()
                except ConfigError:
                    return reply
            if self._token != used:
                reply = await self._post(http, body, self._token)
        return reply

    async def _post(self, http: httpx.AsyncClient, body: bytes, token: str) -> Exchange:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": "kimi_beam"}
        try:
            return await asyncio.wait_for(self._whole(http, body, headers), self._timeouts.total)
        except Exception as e:  # whatever ended it: a document's fate is decided by value
            return NoReply(_was_sent(e), f"{type(e.__cause__ or e).__name__}: {' '.join(str(e).split())[:200]}")

    async def _whole(self, http: httpx.AsyncClient, body: bytes, headers: dict[str, str]) -> HttpReply:
        async with http.stream("POST", self._service.run_url, content=body, headers=headers) as reply:
            pieces, size = [], 0
            async for piece in reply.aiter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > _MAX_REPLY:
                    raise ValueError(f"a reply of more than {_MAX_REPLY} bytes")
            return HttpReply(reply.status_code, b"".join(pieces), reply.headers.get("retry-after"))


def _was_sent(error: Exception) -> bool:
    """Whether the request may have reached the service.

    The transport's own classes cannot tell: it maps "server disconnected", which may well follow an accepted submit, to
    httpx's ConnectTimeout. The aiohttp error behind it can.
    """
    import aiohttp

    never_sent = (
        aiohttp.ClientConnectorError,
        aiohttp.ClientHttpProxyError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.InvalidURL,
    )
    return not isinstance(error.__cause__ or error, never_sent)


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL: many workers have no other way out.

    Not by aiohttp's own reading of the environment, which takes passwords from ~/.netrc as well.
    """
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


# ------------------------------------------------------------------------------------------------ the loop thread

_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process; a forked child starts its own."""
    pid = os.getpid()
    with _lock:
        if pid not in _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="kimi_beam-http", daemon=True).start()
            _loops[pid] = loop
        return _loops[pid]


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
