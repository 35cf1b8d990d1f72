"""Is the service there, and does it take this token, account and model? Asked before anything is paid for."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from kimi_beam.client import Client, Timeouts, WorkersAI
from kimi_beam.errors import ConfigError
from kimi_beam.protocol import Gone, HttpReply, NoReply, Trouble, decode_poll
from kimi_beam.service_errors import Remedy, ServiceError

_TRIES = 4


def check_service(service: WorkersAI, *, sleep: Callable[[float], None] = time.sleep) -> str | None:
    """Polls a job id that nobody has.

    "No such job" (5504) means that token, account and model are good; nothing is queued and nothing is paid for.
    Trouble that passes (429, 5xx) is tried again for a few seconds and then left to the run, which can wait longer.

    Args:
        service: Where and whom to ask.
        sleep: How to wait between tries.

    Returns:
        None when all is good; else what could not be made sure of, in one line.

    Raises:
        ConfigError: The service cannot be reached, or turns token, account or model away.
    """
    client = Client(service, timeouts=Timeouts(connect=5.0, read=20.0))
    try:
        told = ""
        for attempt in range(_TRIES):
            (exchange,) = client.poll([str(uuid.uuid4())])
            result = decode_poll(exchange, time.time())
            if isinstance(result, Gone) or not isinstance(result, Trouble):
                return None
            told = result.message
            _refuse(result.error, service)
            if isinstance(exchange, HttpReply) and exchange.status in (404, 405, 501) and _has_no_code(result.error):
                raise ConfigError(f"{service.base_url} does not answer as Workers AI does: {told}")
            if attempt == _TRIES - 1:
                if isinstance(exchange, NoReply) and not exchange.sent:
                    raise ConfigError(f"cannot reach {service.base_url}: {told}")
                break
            wait = (
                result.error.retry_after if result.error and result.error.retry_after is not None else 0.25 * 2**attempt
            )
            sleep(min(wait, 5.0))
        return f"could not make sure that the service takes this token and model: {told}"
    finally:
        client.close()


def _has_no_code(error: ServiceError | None) -> bool:
    return error is None or error.code is None


def _refuse(error: ServiceError | None, service: WorkersAI) -> None:
    if error is not None and error.remedy is Remedy.ACCOUNT:
        raise ConfigError(f"Workers AI turns {service.model} for account {service.account_id} away: {error}")
