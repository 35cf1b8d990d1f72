"""How often a request is repeated, and for how long, before it is given up: by the queue and synchronously alike."""

from __future__ import annotations

from kimi_beam.service.polling import Polling
from kimi_beam.types.failure import Failure

MAX_REFUSALS = 5
"""How often the service may refuse a request because of trouble of its own (5xx) before `outlasted` gives it up."""


OUTAGE = 600.0
"""Seconds that such trouble has to last before `outlasted` gives a request up, so that no document is lost to an
outage of a few minutes."""


MAX_UNKNOWN = 2
"""How often a request may end without a reply before it is given up: the first time, and one repetition."""


MAX_ACCOUNT_TROUBLE = 3
"""How many replies in a row have to turn the account away before the run stops. One alone may be a passing fault, and
jobs in flight are paid for."""


def outlasted(refusals: int, seconds: float, polling: Polling) -> bool:
    """Whether trouble of the service has gone on for long enough to give up. Both bounds have to be exceeded.

    Args:
        refusals: How often the request was refused.
        seconds: How long ago it was made for the first time.
        polling: Its deadline bounds the time where that is shorter than `OUTAGE`.
    """
    return refusals >= MAX_REFUSALS and seconds >= min(OUTAGE, polling.deadline)


def quota_failure(message: str) -> Failure:
    """The failure of documents that are not sent because the quota is used up."""
    return Failure("submit", "quota_exhausted", f"not sent: {message}", retryable=True)
