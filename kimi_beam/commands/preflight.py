"""Preflight: asks the service before a run whether it takes token, account and model, and whether events can be pulled.

The questions cost nothing, and a mistake is found before anything is paid for.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from kimi_beam.errors import ConfigError
from kimi_beam.network.client import Client, Timeouts
from kimi_beam.queue.event_inbox import Events
from kimi_beam.service import clock
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.wire.envelopes import Exchange, HttpReply, NoReply, bare_error, read_json
from kimi_beam.wire.protocol import Trouble, decode_poll
from kimi_beam.wire.queues import decode_ack, decode_pull, encode_ack, encode_pull
from kimi_beam.wire.service_errors import Remedy, ServiceError

_TRIES = 4
_EMULATOR = "kimi-beam-emulator"
"""The emulator's ``Server`` header. It is repeated here, because client and emulator share no code."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of the preflight.

    Attributes:
        service: The service as it is to be asked. It is asked synchronously if its model has no queue and the user
            allows that.
        doubt: One line that says what could not be checked, or is worth knowing; empty if there is nothing to say.
        emulated: Whether the emulator answered, by its ``Server`` header.
    """

    service: WorkersAI
    doubt: str = ""
    emulated: bool = False


def check_service(service: WorkersAI, *, sleep: Callable[[float], None] = clock.pause) -> Checked:
    """Polls a job id that nobody has or, on a server that is not Cloudflare's, lists the models. Neither costs money.

    "No such job" (5504) means that token, account and model are accepted, for whichever API is used then. Temporary
    trouble (429, 5xx) is tried again for a few seconds and then left to the run, which can wait longer. If nothing
    answers, or another service does, the run is refused, because its submits would be lost without a reply.

    Args:
        service: The service to ask.
        sleep: Waits a number of seconds between tries.

    Raises:
        ConfigError: The service cannot be reached, or does not accept the token, the account or the model.
    """
    client = Client(service, timeouts=Timeouts(connect=5.0, read=20.0))
    try:
        trouble = Trouble("")
        for attempt in range(_TRIES):
            exchange = probe(client)
            answer = list_fault(exchange, service) if service.is_elsewhere else decode_poll(exchange, time.time())
            emulated = isinstance(exchange, HttpReply) and exchange.server == _EMULATOR
            if not isinstance(answer, Trouble):
                return Checked(service, answer if isinstance(answer, str) else "", emulated)
            trouble = answer
            if (found := _refuse(trouble.error, service)) is not None:
                return replace(found, emulated=emulated)
            if isinstance(exchange, HttpReply) and _is_somebody_elses(exchange, trouble.error):
                hint = _hint(service.root, trouble.message) or _where_it_was_asked(service)
                raise ConfigError(
                    f"{service.root} does not answer as {_speaker(service)} does: {trouble.message}{hint}"
                )
            if attempt < _TRIES - 1:
                retry_after = trouble.error.retry_after if trouble.error else None
                sleep(min(retry_after if retry_after is not None else 0.25 * 2**attempt, 5.0))
            elif isinstance(exchange, NoReply):
                raise _unreachable(service.root, exchange)
        return Checked(service, f"could not make sure that the service takes this token and model: {trouble.message}")
    finally:
        client.close()


def check_events(service: WorkersAI, events: Events, *, sleep: Callable[[float], None] = clock.pause) -> str:
    """Pulls an event from the queue of events, and returns it to the queue.

    Args:
        service: The service in whose account the queue is.
        events: The queue, and how events are pulled from it.
        sleep: Waits a number of seconds between tries.

    Returns:
        One line that says what could not be checked; empty if events can be pulled.

    Raises:
        ConfigError: There is no such queue, it has no pull consumer, or the token lacks the permission.
    """
    service.check_events()
    client = Client(service, timeouts=Timeouts(connect=5.0, read=20.0))
    trouble = Trouble("")
    try:
        for attempt in range(_TRIES):
            exchange = client.consume(events.queue, "pull", encode_pull(events.lease, most=1))
            pulled = decode_pull(exchange, time.time())
            if not isinstance(pulled, Trouble):
                leases = [message.lease_id for message in pulled]
                refused = decode_ack(client.consume(events.queue, "ack", encode_ack([], leases)), time.time())
                # An empty acknowledgement is sent even if no event came, because it shows whether the token may write.
                # Its answer is not documented, so a 400 is accepted then.
                if refused is None or (not leases and refused.error is not None and refused.error.status == 400):
                    return ""
                pulled = refused
            trouble = pulled
            error = trouble.error
            if error is not None and 300 <= error.status < 500 and error.status not in (408, 429):
                raise ConfigError(f"cannot pull events from the queue {events.queue}: {_reason(error)}")
            if attempt < _TRIES - 1:
                retry_after = error.retry_after if error is not None else None
                sleep(min(retry_after if retry_after is not None else 0.25 * 2**attempt, 5.0))
            elif isinstance(exchange, NoReply):
                raise _unreachable(service.root, exchange)
    finally:
        client.close()
    return f"could not make sure that events can be pulled from the queue {events.queue}: {trouble.message}"


def _reason(error: ServiceError) -> str:
    """What a refusal of Cloudflare Queues means and what helps (codes: documented; 405: from bug reports)."""
    if error.status in (401, 403) or (error.code == 10000 and error.remedy is Remedy.ACCOUNT):
        return f"the token needs the permission Queues, Edit, beside Workers AI: {error}"
    if error.status == 405:
        return f"it has no pull consumer (wrangler queues consumer http add): {error}"
    if error.code in (10104, 10107, 11000) or error.status == 404:
        return f"the account has no queue of this id (wrangler queues list): {error}"
    return str(error)


def probe(client: Client) -> Exchange:
    """Polls a job id that nobody has or, on a server that is not Cloudflare's, lists the models."""
    if client.service.is_elsewhere:
        return client.look_up(f"{client.service.root}/models")
    ((_, exchange),) = client.poll([str(uuid.uuid4())])
    return exchange


def list_fault(exchange: Exchange, service: WorkersAI) -> Trouble | str | None:
    """None if the server lists the model, a doubt in words if it lists only others, or the trouble that it has."""
    if isinstance(exchange, NoReply):
        return Trouble(exchange.message)
    if not 200 <= exchange.status < 300:
        error = bare_error(exchange, time.time())
        return Trouble(str(error), error)
    body = read_json(exchange.body)
    listed = body.get("data") if isinstance(body, dict) else None
    names = [str(model.get("id")) for model in listed if isinstance(model, dict)] if isinstance(listed, list) else []
    if not names or service.model in names:
        return None
    return f"{service.root} does not list the model {service.model}; it has {', '.join(names[:5])}"


def _refuse(error: ServiceError | None, service: WorkersAI) -> Checked | None:
    """The result of the preflight for an error that will not pass; None for one that may.

    Raises:
        ConfigError: The model has no queue and no fallback is allowed, or token, account or model are not accepted.
    """
    if error is None:
        return None
    if error.lacks_queue:
        if service.api != "batch":
            return Checked(service)
        if service.fallback_api is not None:
            doubt = f"{service.model} has no batch queue: each document is asked for by the synchronous run"
            return Checked(replace(service, api=service.fallback_api), doubt)
        raise ConfigError(f"{service.model} has no batch queue: choose --api run, or allow it by --fallback-api run")
    if error.remedy is Remedy.ACCOUNT or error.status in (401, 402, 403):
        raise ConfigError(str(service.account_error(error)))
    return None


_MAY_PASS = frozenset({408, 409, 425, 429})
"""Statuses below 500 that any server may send, so that they do not show that another service answers."""


def _is_somebody_elses(reply: HttpReply, error: ServiceError | None) -> bool:
    """Whether a reply is from another service: a page, or an error without the code that the service would send."""
    if error is None:
        return True
    return error.code is None and (error.status < 500 or error.status == 501) and error.status not in _MAY_PASS


def _unreachable(root: str, lost: NoReply) -> ConfigError:
    return ConfigError(
        f"cannot reach {root}: {lost.message}{_hint(root, lost.message)}; nothing was sent (--no-preflight starts all "
        "the same)"
    )


_OF_TLS = ("\\x15\\x03", "HTTPS port", "HTTPS server", "Server disconnected", "Connection reset")
"""How a server that speaks TLS answers plain http: by an alert, a page of its own (nginx, Go), or by hanging up."""


def _hint(root: str, message: str) -> str:
    """A hint at what to check first, found by words in the messages of OpenSSL and of web servers."""
    if "CERTIFICATE_VERIFY_FAILED" in message:
        if "ostname mismatch" in message or "IP address mismatch" in message:
            return "; its certificate is another host's: is this the right name?"
        return "; if an authority of your own has signed its certificate, name that by SSL_CERT_FILE"
    if root.startswith("https:") and ("WRONG_VERSION_NUMBER" in message or "record layer" in message):
        return "; it does not speak TLS there: is it http, or another port?"
    if root.startswith("http:") and any(words in message for words in _OF_TLS):
        return "; does it speak TLS there (https)?"
    return ""


def _where_it_was_asked(service: WorkersAI) -> str:
    if not service.is_elsewhere:
        return ""
    root = service.root
    return (
        f"; is {root} what stands before /chat/completions? ({root}/models was asked, which --no-preflight leaves out)"
    )


def _speaker(service: WorkersAI) -> str:
    return "OpenAI's API" if service.is_elsewhere else "Workers AI"
