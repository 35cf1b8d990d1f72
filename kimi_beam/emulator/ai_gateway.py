"""AI Gateway: which gateways exist, their tokens, and their cache, which answers equal requests.

Headers, URLs and the lifetime of the cache are documented [ai-gateway header glossary and configuration pages]. It is
assumed that equal bodies to the same URL share one entry, also for submits and polls. This is why a client that forgets
``cf-aig-skip-cache`` reads the same "queued" for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final
from uuid import uuid4

from kimi_beam.emulator.access import bearer
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.received import Call
from kimi_beam.emulator.refusals import Refused
from kimi_beam.emulator.replies import Reply

_ENTRIES: Final = 1_000
_SHORTEST, _LONGEST = 60.0, 31 * 24 * 3600.0  # documented: 60 seconds to one month


@dataclass(frozen=True)
class Passage:
    """The settings of one request through a gateway.

    Attributes:
        key: The key of its reply in the cache.
        keep: Seconds for which its reply is cached; 0 if it neither reads nor fills the cache.
        timeout: Seconds until the first byte; None is no limit.
    """

    key: bytes
    keep: float
    timeout: float | None


class Gateway:
    """The gateways of an account.

    Args:
        behaviour: Which gateways there are, with their token and cache.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._kept: OrderedDict[bytes, tuple[float, Reply]] = OrderedDict()

    def enter(self, call: Call) -> Passage | None:
        """Return the settings of a request; None if it does not go through a gateway.

        Raises:
            Refused: 2001, there is no such gateway, or the generic form names none; 2009, the gateway's token is
                missing.
        """
        name = call.gateway or call.headers.get("cf-aig-gateway-id")
        if name is None:
            if call.wrapped:
                raise Refused(2001, "AiError: this form needs the header cf-aig-gateway-id")
            return None
        if self._behaviour.gateways is not None and name not in (*self._behaviour.gateways, "default"):
            raise Refused(2001, f"AiError: Gateway not found: {name}")
        token = self._behaviour.gateway_token
        if token is not None and bearer(call.headers.get("cf-aig-authorization", "")) != token:
            raise Refused(2009)
        return Passage(_key(name, call), self._keep(call.headers), _timeout(call.headers))

    def kept(self, passage: Passage, now: float) -> Reply | None:
        """Return the cached reply to an equal request, None if there is none."""
        until, reply = self._kept.get(passage.key, (0.0, None))
        return _with_gateway_headers(reply, "HIT") if reply is not None and passage.keep and now < until else None

    def leave(self, passage: Passage, reply: Reply, now: float) -> Reply:
        """Cache a reply, and return it with the gateway's headers."""
        if passage.keep and reply.status == 200 and not reply.pieces:
            self._kept[passage.key] = (now + passage.keep, reply)
            self._kept.move_to_end(passage.key)
            if len(self._kept) > _ENTRIES:
                self._kept.popitem(last=False)
        return _with_gateway_headers(reply, "MISS")

    def _keep(self, headers: Mapping[str, str]) -> float:
        if headers.get("cf-aig-skip-cache", "").lower() == "true":
            return 0.0
        ttl = _number(headers.get("cf-aig-cache-ttl"))
        return self._behaviour.gateway_cache if ttl is None else min(max(ttl, _SHORTEST), _LONGEST)


def _with_gateway_headers(reply: Reply, status: str) -> Reply:
    gateway_headers = {"cf-aig-log-id": uuid4().hex, "cf-aig-cache-status": status, "cf-aig-step": "0"}
    return replace(reply, headers={**reply.headers, **gateway_headers})


def _key(name: str, call: Call) -> bytes:
    own = call.headers.get("cf-aig-cache-key")
    parts = [own] if own else [call.surface, call.model or "", f"{call.queued}{call.wrapped}{call.compat}"]
    head = "\0".join((call.account, name, "own" if own else "equal", *parts)).encode()
    return blake2b(head + (b"" if own else b"\0" + call.body), digest_size=16).digest()


def _timeout(headers: Mapping[str, str]) -> float | None:
    milliseconds = _number(headers.get("cf-aig-request-timeout"))
    return None if milliseconds is None else milliseconds / 1000


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None
