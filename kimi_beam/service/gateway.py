"""An AI Gateway between this client and the service: its settings, its two kinds of URL, and its headers.

Source: AI Gateway, header glossary and configuration pages.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from kimi_beam.errors import ConfigError
from kimi_beam.service.credentials import Secret, TokenFrom, TokenSource, read_token, token_source

GATEWAY_HOST = "https://gateway.ai.cloudflare.com/v1"
"""The root of the older kind of URL, which names the gateway in its path."""

_MONTH = 31 * 86_400
"""Seconds."""


@dataclass(frozen=True)
class Gateway:
    """An AI Gateway of the account, through which all requests go.

    Example:
        >>> gateway = kb.Gateway("invoices", metadata={"team": "finance"})
        >>> service = kb.WorkersAI.from_env(gateway=gateway)

    Attributes:
        id: Its name. Every account has one called ``default``.
        in_url: Whether requests name the gateway in the URL, the older way, instead of in a header.
        host: The root of that URL.
        metadata: Entries that the gateway's log shows with each request: at most 5, of texts, numbers or booleans.
        cache_ttl: For how many seconds the gateway answers an equal synchronous request from its cache, 60 to one
            month. None: as the gateway is set up.
        skip_cache: Whether synchronous requests bypass the cache. Submits and polls always do: the cache would answer
            every poll with the first "queued".
        token_from: Where the token of an authenticated gateway is; None if the gateway needs none.

    Raises:
        ConfigError: A value is malformed.
    """

    id: str
    in_url: bool = False
    host: str = GATEWAY_HOST
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict, hash=False)
    cache_ttl: int | None = None
    skip_cache: bool = False
    token_from: TokenFrom | None = None
    _token: TokenSource | Secret | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]{1,64}", self.id) or self.id.startswith("."):
            raise ConfigError(f"gateway: {self.id!r} is no gateway's id")
        check_url("gateway: host", self.host)
        object.__setattr__(self, "host", self.host.rstrip("/"))
        if self.cache_ttl is not None and not 60 <= self.cache_ttl <= _MONTH:
            raise ConfigError("gateway: cache_ttl is 60 seconds to one month")
        if (
            not isinstance(self.metadata, Mapping)
            or len(self.metadata) > 5
            or not all(map(_is_flat, self.metadata.values()))
        ):
            raise ConfigError("gateway: metadata is at most 5 entries of texts, numbers or booleans")
        object.__setattr__(self, "_token", token_source(self.token_from) if self.token_from is not None else None)

    def headers(self, *, queued: bool) -> dict[str, str]:
        """The ``cf-aig-*`` headers of a request, without the token.

        By itself a gateway repeats failed requests, up to five times (AI Gateway changelog, 2026-04-02), although one
        that seemed to fail may have been accepted and paid for. This client decides whether to repeat a request
        (`kimi_beam.service.remedies`), so each request allows the gateway one attempt. Assumed: that the gateway obeys
        this header on every route.

        Args:
            queued: Whether the request is a submit or a poll.
        """
        found = {"cf-aig-max-attempts": "1"}
        if not self.in_url:
            found["cf-aig-gateway-id"] = self.id
        if self.metadata:
            found["cf-aig-metadata"] = json.dumps(dict(self.metadata))
        if queued or self.skip_cache:
            found["cf-aig-skip-cache"] = "true"
        elif self.cache_ttl is not None:
            found["cf-aig-cache-ttl"] = str(self.cache_ttl)
        return found

    def read_token(self) -> str | None:
        """Reads the token of an authenticated gateway; None if the gateway needs none.

        Raises:
            ConfigError: It cannot be read.
        """
        return None if self._token is None else read_token(self._token)


def _is_flat(value: object) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def check_url(name: str, url: str) -> None:
    """Checks that a setting is an http or https URL without a password, query or fragment.

    Args:
        name: The setting, for messages.
        url: Its value.

    Raises:
        ConfigError: It is not.
    """
    if not re.match(r"https?://[^/\s]+", url):
        raise ConfigError(f"{name}: {url!r} is no http or https URL")
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ConfigError(f"{name}: the host or port of {url!r} is none") from None
    if "@" in url.split("/")[2]:
        raise ConfigError(f"{name}: a URL with a password in it would be logged; use token_from")
    if "?" in url or "#" in url:
        raise ConfigError(f"{name}: a root has no ? and no #; a key is named by token_from")
