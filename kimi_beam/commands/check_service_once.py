"""What one question to the service says of token, account, plan, model, queue, gateway and clock. It costs nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

from kimi_beam.commands.preflight import list_fault, probe
from kimi_beam.errors import ConfigError
from kimi_beam.network.client import Client, Timeouts
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.wire.envelopes import Exchange, HttpReply, NoReply
from kimi_beam.wire.protocol import Trouble, decode_poll
from kimi_beam.wire.service_errors import ServiceError

State = Literal["ok", "warn", "fail"]
OF_SERVICE = ("token", "account", "plan", "model", "queue", "gateway", "clock")
"""The checks, in the order in which the service looks: what stands behind a failure is not known."""
_CODES = {
    3023: "account", 7000: "account", 7003: "account", 5035: "plan", 3041: "model", 3042: "model", 5007: "model",
    5016: "model", 5018: "model", 5028: "model", 8007: "queue", 2001: "gateway", 2008: "gateway", 2009: "gateway",
    9106: "token", 10000: "token",
}  # fmt: skip
"""Which of the checks a code of the service fails."""
TO_DO = {
    "token": "make a token with the permission Workers AI (Read), and name its place (--token-from, "
    "CLOUDFLARE_API_TOKEN)",
    "account": "look at the account's id (wrangler whoami), and name it (--account-id, CLOUDFLARE_ACCOUNT_ID)",
    "plan": "choose the Workers Paid plan, or a model that the free plan has (kimi-beam models)",
    "model": "choose a model that the account may use (kimi-beam models, --model)",
    "queue": "ask synchronously (--api run), or allow it (--fallback-api run)",
    "gateway": "look at the gateway's id in the dashboard, and at its token (--gateway, --gateway-token-from)",
    "clock": "set this machine's clock (timedatectl set-ntp true)",
}
"""What to do where a check does not pass."""
_MOST_SKEW = 60.0
"""Seconds by which this machine's clock may differ: waits and deadlines are longer."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked.
        state: Whether a run can start with it.
        found: What was found, as one line.
        to_do: What to do about it; empty if nothing is.
    """

    name: str
    state: State
    found: str
    to_do: str = ""


def check_service_once(service: WorkersAI, *, now: float | None = None) -> Iterator[Check]:
    """Asks the service once.

    Args:
        service: The service.
        now: This machine's time in Unix seconds; None: the time at which the reply has come.
    """
    try:
        service.authorization()
    except ConfigError as e:
        yield Check("token", "fail", str(e), TO_DO["token"])
        yield from _unknown("token", "there is no token to ask with")
        return
    client = Client(service, timeouts=Timeouts(connect=2.0, read=2.0))
    try:
        exchange = probe(client)
    finally:
        client.close()
    checks = list(_judged(exchange, service))
    yield from checks
    if len(checks) < len(OF_SERVICE):
        yield _clock(exchange, time.time() if now is None else now)


def _judged(exchange: Exchange, service: WorkersAI) -> Iterator[Check]:
    if isinstance(exchange, NoReply):
        found = f"cannot reach {service.root}: {exchange.message}"
        yield Check("token", "fail", found, "look at the network, --base-url and proxies")
        yield from _unknown("token", "nobody has answered")
        return
    answer = list_fault(exchange, service) if service.is_elsewhere else decode_poll(exchange, time.time())
    if isinstance(answer, Trouble):
        failed = _check_of(answer.error)
        if failed is None:
            yield Check("token", "warn", f"{service.root} answers: {answer.message}", "try again in a minute")
            yield from _unknown("token", "the service did not say")
            return
        for name in OF_SERVICE[: OF_SERVICE.index(failed)]:
            yield Check(name, "ok", "accepted")
        if failed == "queue" and (service.api != "batch" or service.fallback_api is not None):
            yield Check("queue", "ok", f"{service.model} has none, and is asked synchronously")
            yield _gateway(service)
            return
        yield Check(failed, "fail", answer.message, TO_DO[failed])
        yield from (check for check in _unknown(failed, f"the {failed} was turned away") if check.name != "clock")
        return
    if service.is_elsewhere:
        for name in ("token", "account", "plan"):
            yield Check(name, "ok", f"{service.root} asks for none, or accepts it")
        doubt = answer if isinstance(answer, str) else ""
        yield Check("model", "warn", doubt, TO_DO["model"]) if doubt else Check("model", "ok", service.model)
        yield Check("queue", "ok", "not used: the server has the chat API alone")
    else:
        yield Check("token", "ok", "accepted")
        yield Check("account", "ok", service.account_id)
        yield Check("plan", "ok", f"has {service.model}")
        yield Check("model", "ok", service.model)
        yield Check("queue", "ok", "takes the model" if service.api == "batch" else f"not used (--api {service.api})")
    yield _gateway(service)


def _gateway(service: WorkersAI) -> Check:
    return Check("gateway", "ok", "answers" if service.gateway is not None else "none is used")


def _check_of(error: ServiceError | None) -> str | None:
    """The check that an error of the service fails; None if it says nothing of any of them."""
    if error is None or error.status == 429 or error.status >= 500:
        return None
    if error.lacks_queue:
        return "queue"
    if error.code in _CODES:
        return _CODES[error.code]
    return "token" if error.status in (401, 403) else None


def _unknown(failed: str, reason: str) -> Iterator[Check]:
    for name in OF_SERVICE[OF_SERVICE.index(failed) + 1 :]:
        yield Check(name, "warn", f"not known: {reason}")


def _clock(exchange: Exchange, now: float) -> Check:
    try:
        there = parsedate_to_datetime(exchange.date).timestamp() if isinstance(exchange, HttpReply) else None
    except ValueError:
        there = None
    if there is None:
        return Check("clock", "warn", "not known: the service does not say its time")
    if abs(now - there) > _MOST_SKEW:
        direction = "ahead of" if now > there else "behind"
        return Check("clock", "warn", f"{abs(now - there):.0f} s {direction} the service's", TO_DO["clock"])
    return Check("clock", "ok", f"within {max(1.0, abs(now - there)):.0f} s of the service's")
