"""How often and how long trouble is borne, whichever way the model is asked."""

from __future__ import annotations

from kimi_beam.service.polling import Polling
from kimi_beam.types import Failure

MAX_REFUSALS = 5
"""Submits of one batch that the service may refuse for trouble of its own before the batch is given up,"""


OUTAGE = 600.0
"""and seconds that such trouble may last: an outage of some minutes costs nobody a document."""


MAX_UNKNOWN = 2
"""Submits of one batch that may end without a word: the first, and one repetition."""


MAX_ACCOUNT_TROUBLE = 3
"""Polls in a row that must meet account trouble before it is believed: what is in flight is paid for."""


def outlasted(refusals: int, seconds: float, polling: Polling) -> bool:
    """Whether the service's own trouble is enough to give up: refused so often, in so many seconds."""
    return refusals >= MAX_REFUSALS and seconds >= min(OUTAGE, polling.deadline)


def quota_failure(message: str) -> Failure:
    """What a batch is given up with while the quota is spent."""
    return Failure("submit", "quota_exhausted", f"not sent: {message}", retryable=True)
