"""The address of Workers AI, or of another server: account, model, API, gateway, and where the token is.

The token itself is read on the worker and is never part of these values.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

from kimi_beam.errors import AccountError, ConfigError
from kimi_beam.service.credentials import (
    ACCOUNT_VARIABLE,
    TOKEN_VARIABLE,
    Secret,
    TokenFrom,
    TokenSource,
    read_token,
    token_source,
)
from kimi_beam.service.gateway import GATEWAY_HOST, Gateway, check_url
from kimi_beam.service.models import DEFAULT_MODEL, Api
from kimi_beam.service.proxies import is_loopback, is_private, proxy_of
from kimi_beam.wire.service_errors import ServiceError

CLOUDFLARE = "https://api.cloudflare.com/client/v4"
RUNS_PER_MINUTE = 20
"""The limit of an account for K2.6 and other models that need the paid plan; 50 with prepaid gateway credits (limits
page)."""
SUBMITS_PER_MINUTE, POLLS_PER_MINUTE = 100, 120
"""How often the queue is asked by default. Cloudflare's API takes 1,200 requests of a token in 5 minutes, and then
none for 5 minutes (API limits page). Whether requests to the queue count is not known, so submits and polls together
stay below that, which slows batches of hundreds of documents hardly at all."""
_MOST_PER_MINUTE = 1_000_000
"""The largest `requests_per_minute` that is accepted."""

_NO_ACCOUNT = "0" * 32
_NO_TOKEN = "none"  # noqa: S105 - sent as the token to a service of one's own that asks for none
_MODEL = re.compile(r"[@A-Za-z0-9][\w@./:+-]*")
_ACCOUNT = re.compile(r"[\w-]+")
_DEFAULT_TOKEN = f"env:{TOKEN_VARIABLE}"


@dataclass(frozen=True)
class WorkersAI:
    """The service, its model and the API that it is asked by. It names where the token is and never contains it.

    Example:
        >>> service = kb.WorkersAI.from_env()  # CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN
        >>> service.model, service.api
        ('@cf/moonshotai/kimi-k2.6', 'batch')
        >>> local = kb.WorkersAI(model="qwen3:8b", openai_url="http://localhost:11434/v1")
        >>> local.chat_url
        'http://localhost:11434/v1/chat/completions'

    Attributes:
        account_id: Cloudflare's account id, 32 hexadecimal digits; not needed with `openai_url`.
        model: The model's id.
        token_from: ``env:NAME``, ``file:PATH``, ``gcp-secret:projects/P/secrets/S/versions/N``, or a secret manager's
            handle (one of Beam's ``Secret``s that is not raw). The worker reads it at set-up, and again after a 401.
        base_url: The URL before ``/accounts/…``.
        api: ``batch``: the queue. ``run``: a synchronous request for each document. ``chat``: the same by OpenAI's
            protocol.
        openai_url: The URL before ``/chat/completions`` of another server that speaks OpenAI's protocol (vLLM, Ollama,
            LM Studio); the API is then ``chat``.
        gateway: An AI Gateway of the account, or its id.
        requests_per_minute: The most synchronous requests, or submits to the queue, of the whole job. Each process
            takes its share. None: on Cloudflare's own hosts 20 requests, or 100 submits and 120 polls; elsewhere no
            limit.
            0: no limit.
        fallback_api: ``run``: if the model has no queue any more (8007), it is asked synchronously, and so it is about
            a document with pictures that the queue refuses. None: the job ends, and such a document is a dead letter.

    Raises:
        ConfigError: A value is missing, malformed, or contradicts another.
    """

    account_id: str = ""
    model: str = DEFAULT_MODEL
    token_from: TokenFrom = _DEFAULT_TOKEN
    base_url: str = CLOUDFLARE
    api: Api = "batch"
    openai_url: str | None = None
    gateway: Gateway | str | None = None
    requests_per_minute: int | None = None
    fallback_api: Literal["run"] | None = None
    _token: TokenSource | Secret = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.api not in get_args(Api):
            raise ConfigError(f"api: {self.api!r} is none of {', '.join(get_args(Api))}")
        if self.openai_url is not None:
            self._check_openai(self.openai_url)
        elif not _ACCOUNT.fullmatch(self.account_id):
            raise ConfigError("account_id: Cloudflare's account id is 32 hexadecimal digits")
        if not _MODEL.fullmatch(self.model) or ".." in self.model:
            raise ConfigError(f"model: {self.model!r} is no model id; one looks like {DEFAULT_MODEL}")
        check_url("base_url", self.base_url)
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        if not self._is_own and not self.root.startswith("https:"):
            raise ConfigError("base_url: Cloudflare is asked by https alone, for the token would be read on the way")
        if isinstance(self.gateway, str):
            object.__setattr__(self, "gateway", Gateway(self.gateway))
        if self.requests_per_minute is not None and not 0 <= self.requests_per_minute <= _MOST_PER_MINUTE:
            raise ConfigError(f"requests_per_minute: from 1 to {_MOST_PER_MINUTE}, or 0 for no limit")
        if self.fallback_api not in (None, "run"):
            raise ConfigError("fallback_api: only run can stand in for the queue")
        # A service of one's own may need no token; Cloudflare always needs one.
        source = token_source(self.token_from, optional=self._is_own and self.token_from == _DEFAULT_TOKEN)
        object.__setattr__(self, "_token", source)

    def _check_openai(self, url: str) -> None:
        check_url("openai_url", url)
        if self.base_url != CLOUDFLARE or self.gateway is not None or self.fallback_api is not None:
            raise ConfigError("openai_url: names another server; base_url, gateway and fallback_api are Cloudflare's")
        if self.api == "run":
            raise ConfigError("openai_url: such a server has the chat API alone")
        object.__setattr__(self, "openai_url", url.rstrip("/"))
        object.__setattr__(self, "api", "chat")

    @classmethod
    def from_env(
        cls,
        *,
        model: str = DEFAULT_MODEL,
        account_id: str | None = None,
        token_from: TokenFrom = _DEFAULT_TOKEN,
        base_url: str | None = None,
        api: Api = "batch",
        openai_url: str | None = None,
        gateway: Gateway | str | None = None,
        requests_per_minute: int | None = None,
        fallback_api: Literal["run"] | None = None,
        sends: bool = True,
    ) -> WorkersAI:
        """The service as Cloudflare's own tools find it: ``CLOUDFLARE_ACCOUNT_ID`` and ``CLOUDFLARE_API_TOKEN``.

        Args:
            model: The model's id.
            account_id: Cloudflare's account id. None: read from the environment; a service of one's own needs none.
            token_from: Where the token is.
            base_url: The URL before ``/accounts/…``. None: Cloudflare's.
            api: Which API the model is asked by.
            openai_url: Another server that speaks OpenAI's protocol.
            gateway: An AI Gateway of the account, or its id.
            requests_per_minute: See the class.
            fallback_api: See the class.
            sends: Whether anything will be sent. If not, neither account nor token is needed.

        Raises:
            ConfigError: The account id or the token is missing, or a value contradicts another.
        """
        account = account_id or os.environ.get(ACCOUNT_VARIABLE, "") or (_NO_ACCOUNT if base_url or not sends else "")
        if not account and openai_url is None:
            raise ConfigError(
                f"no credentials: set {ACCOUNT_VARIABLE} and {TOKEN_VARIABLE}, name another service (--base-url, "
                "--openai-url), or try it without an account: --emulator"
            )
        service = cls(
            account,
            model,
            token_from,
            base_url or CLOUDFLARE,
            api,
            openai_url,
            gateway,
            requests_per_minute,
            fallback_api,
        )
        # A file or a secret manager is not checked here: perhaps only the workers can read it.
        if sends and isinstance(service._token, TokenSource) and service._token.is_environment:
            service._token.read()
        return service

    # -------------------------------------------------------------------------------------------- URLs

    @property
    def _gateway(self) -> Gateway | None:
        return self.gateway if isinstance(self.gateway, Gateway) else None

    @property
    def root(self) -> str:
        """The URL that all requests begin with, by which messages name the service."""
        if self.openai_url is not None:
            return self.openai_url
        gateway = self._gateway
        return gateway.host if gateway and gateway.in_url else self.base_url

    @property
    def identity(self) -> str:
        """A name of the service in the journal's keys: an answer of one service is not taken for another's.

        Cloudflare has one name, whichever of its URLs or gateways leads there.
        """
        return self.root if self._is_own else "cloudflare"

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is a server of OpenAI's protocol that is not Workers AI."""
        return self.openai_url is not None

    @property
    def _is_own(self) -> bool:
        return urlsplit(self.root).hostname not in (urlsplit(CLOUDFLARE).hostname, urlsplit(GATEWAY_HOST).hostname)

    @property
    def _is_local(self) -> bool:
        return is_loopback(urlsplit(self.root).hostname or "")

    @property
    def queue_url(self) -> str:
        """Submit and poll share one URL; the model goes into the path unescaped (batch API page)."""
        return f"{self.run_url}?queueRequest=true"

    @property
    def run_url(self) -> str:
        """The URL of a synchronous run (REST API page; with a gateway in the URL: its provider page)."""
        gateway = self._gateway
        if gateway and gateway.in_url:
            return f"{gateway.host}/{self.account_id}/{gateway.id}/workers-ai/{self.model}"
        return f"{self.base_url}/accounts/{self.account_id}/ai/run/{self.model}"

    @property
    def markdown_url(self) -> str:
        """The URL of the Markdown conversion, which no gateway offers (Markdown conversion page)."""
        return f"{self.base_url}/accounts/{self.account_id}/ai/tomarkdown"

    def messages_url(self, queue: str, action: Literal["pull", "ack"]) -> str:
        """The URL at which a pull consumer reads a Cloudflare Queue of the account (pull consumers page)."""
        return f"{self.base_url}/accounts/{self.account_id}/queues/{queue}/messages/{action}"

    def check_events(self) -> None:
        """Checks that events of jobs can be received.

        Raises:
            ConfigError: The API is not ``batch``, or all requests go through a gateway's URL.
        """
        if self.api != "batch":
            raise ConfigError(f"events: they tell of batch jobs, and --api {self.api} has none")
        if self._gateway is not None and self._gateway.in_url:
            raise ConfigError(
                "events: a queue is not reached through a gateway's URL: name the gateway alone (--gateway)"
            )

    @property
    def chat_url(self) -> str:
        """The URL of OpenAI's chat completions (OpenAI-compatible endpoints page)."""
        if self.openai_url is not None:
            return f"{self.openai_url}/chat/completions"
        gateway = self._gateway
        if gateway and gateway.in_url:
            return f"{gateway.host}/{self.account_id}/{gateway.id}/workers-ai/v1/chat/completions"
        return f"{self.base_url}/accounts/{self.account_id}/ai/v1/chat/completions"

    @property
    def pace(self) -> int | None:
        """The most synchronous requests a minute of the whole job; None: no limit."""
        return self._pace(RUNS_PER_MINUTE)

    @property
    def submit_pace(self) -> int | None:
        """The most submits a minute of the whole job; None: no limit."""
        return self._pace(SUBMITS_PER_MINUTE)

    @property
    def poll_pace(self) -> int | None:
        """The most polls a minute of the whole job; None: no limit."""
        return None if self._is_own or self.requests_per_minute == 0 else POLLS_PER_MINUTE

    def _pace(self, on_cloudflare: int) -> int | None:
        if self.requests_per_minute is not None:
            return self.requests_per_minute or None
        return None if self._is_own else on_cloudflare

    # -------------------------------------------------------------------------------------------- headers

    def headers(self, *, queued: bool) -> dict[str, str]:
        """The headers of a request, without tokens.

        Args:
            queued: Whether the request is a submit or a poll.
        """
        return self._gateway.headers(queued=queued) if self._gateway else {}

    def authorization(self) -> dict[str, str]:
        """The headers with tokens. The tokens are read anew at each call.

        ``CLOUDFLARE_API_TOKEN`` is sent to Cloudflare and to services on this machine alone. Another host gets a token
        only if `token_from` names one.

        Raises:
            ConfigError: There is no token, or others could read it on the way to the service.
        """
        found = {}
        token = self.read_token()
        if token is not None:
            found["Authorization"] = f"Bearer {token}"
        gateway = self._gateway.read_token() if self._gateway else None
        if gateway is not None:
            found["cf-aig-authorization"] = f"Bearer {gateway}"
        if gateway is not None or token not in (None, _NO_TOKEN):
            self._check_unread()
        return found

    def _check_unread(self) -> None:
        """Refuses to send a token that others could read on the way.

        Without TLS, a token is sent only to this machine, or within a private network and not through a proxy.

        Raises:
            ConfigError: The URL is http, and leads through a proxy or to a public host.
        """
        host = urlsplit(self.root).hostname or ""
        if not self.root.startswith("http:") or is_loopback(host):
            return
        if proxy_of(self.root) is not None:
            raise ConfigError(
                f"{self.root} would be asked through a proxy, which could read the token: name it by https, or except "
                f"it (NO_PROXY={host})"
            )
        if not is_private(host):
            raise ConfigError(
                f"{self.root} is asked without TLS, and the token could be read on the way: name it by https"
            )

    def account_error(self, error: ServiceError) -> AccountError:
        """The error that ends a run because account, token or model are turned away: one line that names them."""
        where = f" for account {self.account_id}" if not self.is_elsewhere else ""
        name = "Workers AI" if not self.is_elsewhere else self.root
        if error.is_redirect:
            return AccountError(f"{self.root} is not the service's own URL: {error}", code=None, status=error.status)
        return AccountError(f"{name} turned {self.model}{where} away: {error}", code=error.code, status=error.status)

    def check_remote(self, runner: str) -> None:
        """Checks that workers on other machines can read the tokens.

        Args:
            runner: The runner's name, for the message.

        Raises:
            ConfigError: A token is named by an environment variable.
        """
        sends = not (self.token_from == _DEFAULT_TOKEN and (self.is_elsewhere or self._is_own))
        gateway = self._gateway._token if self._gateway else None
        for option, source in (("--token-from", self._token if sends else None), ("--gateway-token-from", gateway)):
            if isinstance(source, TokenSource) and source.is_environment:
                raise ConfigError(
                    f"{option} env: is an environment variable of this machine, which the workers of {runner} have "
                    "not: name gcp-secret:projects/P/secrets/S/versions/N or file:PATH"
                )

    def read_token(self) -> str | None:
        """Reads the API token; None if none is to be sent.

        Raises:
            ConfigError: There is no token although one is needed, or it cannot be read.
        """
        is_default = self.token_from == _DEFAULT_TOKEN
        if self.is_elsewhere and is_default:
            return None
        if self._is_own and not self._is_local and is_default:
            return _NO_TOKEN
        return read_token(self._token) or _NO_TOKEN
