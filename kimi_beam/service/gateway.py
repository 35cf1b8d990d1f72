"""The AI Gateway that may stand before the service: its two forms and its headers.

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
"""Of the older form, in which the gateway stands in the URL."""

_MONTH = 31 * 86_400


@dataclass(frozen=True)
class Gateway:
    """An AI Gateway of the account, through which everything goes.

    Example:
        >>> gateway = kb.Gateway("invoices", metadata={"team": "finance"})
        >>> service = kb.WorkersAI.from_env(gateway=gateway)

    Attributes:
        id: Its name; ``default`` is one that every account has.
        in_url: Whether the older form is used, in which the gateway stands in the URL instead of a header.
        host: The root of that older form.
        metadata: What the gateway's log shall show: at most 5 flat entries.
        cache_ttl: Seconds that an equal synchronous request gets the same answer, 60 to one month. None: as the
            gateway is set.
        skip_cache: Keeps synchronous requests from the cache. Submits and polls never use it: a poll would be answered
            with the first "queued" for ever.
        token_from: Where the token of an authenticated gateway is; None for one without.

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

        A gateway sends what has failed again by itself, up to five times (AI Gateway changelog, 2026-04-02), and what
        seemed to fail may have been accepted and paid for. Whether it is sent again is decided here (`dispatch`,
        `calling`), so each request allows one attempt. Assumed: that this header is heard on every route.

        Args:
            queued: Whether it is a submit or a poll.
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
        """The token of an authenticated gateway, None where there is none.

        Raises:
            ConfigError: It cannot be read.
        """
        return None if self._token is None else read_token(self._token)


def _is_flat(value: object) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def check_url(name: str, url: str) -> None:
    """Refuses what is no http or https URL, and one that holds a password.

    Raises:
        ConfigError: Naming the setting.
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
