"""The error codes of Workers AI as a table: what each of them means, and which remedy helps against it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Remedy(Enum):
    """What to do about an error of the service. Submits and synchronous requests both follow it."""

    RETRY = "the same again, later, a few times"
    WAIT = "the same again, later: it is no failed attempt"
    TIMEOUT = (
        "nothing is certain: it was not answered in time, here or upstream, and may have been accepted all the same"
    )
    OTHER_FORM = "the same without JSON mode"
    TOMORROW = "nothing before 00:00 UTC"
    SPLIT = "less at once"
    NEVER = "nothing: this request is refused"
    ACCOUNT = "nothing here: the token, account or model is turned away"


ERRORS: dict[int, tuple[Remedy, str]] = {
    2001: (Remedy.ACCOUNT, "no such gateway"),
    2009: (Remedy.ACCOUNT, "the gateway does not accept the token, or the provider that it asks does not"),
    2014: (Remedy.TIMEOUT, "timeout at the gateway"),
    3003: (Remedy.NEVER, "incomplete request"),
    3006: (Remedy.SPLIT, "request too large"),
    3007: (Remedy.TIMEOUT, "timeout"),
    3008: (Remedy.TIMEOUT, "aborted"),
    3010: (Remedy.NEVER, "incomplete input"),
    3021: (Remedy.WAIT, "requests per minute reached"),
    3023: (Remedy.ACCOUNT, "the account is blocked"),
    3030: (Remedy.NEVER, "invalid parameters"),
    3036: (Remedy.TOMORROW, "the day's free allocation is spent"),
    3039: (Remedy.NEVER, "fine-tune files missing"),
    3040: (Remedy.WAIT, "capacity temporarily exceeded"),
    3041: (Remedy.ACCOUNT, "the model is private for this account"),
    3042: (Remedy.ACCOUNT, "invalid model id"),
    3046: (Remedy.TIMEOUT, "request timeout"),
    4006: (Remedy.TOMORROW, "the day's free allocation is spent"),
    5004: (Remedy.NEVER, "invalid data"),
    5005: (Remedy.NEVER, "LoRa unsupported"),
    5006: (Remedy.NEVER, "the body does not fit the model's schema"),
    5007: (Remedy.ACCOUNT, "no such model"),
    5016: (Remedy.ACCOUNT, "the model's licence is not accepted"),
    5018: (Remedy.ACCOUNT, "the model is private for this account"),
    5019: (Remedy.NEVER, "SDK too old"),
    5023: (Remedy.NEVER, "JSON mode does not stream"),
    5024: (Remedy.OTHER_FORM, "JSON mode could not be met"),
    5025: (Remedy.NEVER, "this model has no JSON Schema mode"),
    5028: (Remedy.ACCOUNT, "the model is retired"),
    5035: (Remedy.ACCOUNT, "the model needs the Workers Paid plan"),
    7000: (Remedy.ACCOUNT, "no such route"),
    7001: (Remedy.ACCOUNT, "method not allowed"),
    7003: (Remedy.ACCOUNT, "no such account"),
    8001: (Remedy.NEVER, "invalid input"),
    8005: (Remedy.RETRY, "internal error"),
    8006: (Remedy.NEVER, ""),  # two meanings: see `ServiceError`
    8007: (Remedy.ACCOUNT, ""),  # two meanings: see `ServiceError`
    9106: (Remedy.ACCOUNT, "the token is malformed"),
    10000: (Remedy.ACCOUNT, "the token is not accepted"),
}
"""Cloudflare's internal codes, each with its remedy and meaning. Source: Workers AI errors page (2026-07-29); captures
and bug reports for the codes that are not on it."""

UNMET = 5024
"""JSON mode could not be met for this document."""

_BAD_IMAGE_OR_TOOL = 8006
"""A forced function call ran out of tokens, or the service took a part of the request for a picture (observed: bug
reports). The message tells which. In both cases the same request would be refused again."""

_NO_QUEUE_OR_CONTENT = 8007
"""The model has no batch queue, or an image model refuses the content. Observed: only the former message speaks of
queues."""

_CERTAIN_AT_ANY_STATUS = frozenset({2009, _NO_QUEUE_OR_CONTENT})
"""Codes that concern the whole account even under a 5xx status: 2009 comes with 503 too (changelog 2026-10-05), and the
message about a model without a queue is unmistakable."""

_ABOUT_IMAGES = re.compile(r"image|picture|base64|media type|data ur[il]", re.IGNORECASE)
_ABOUT_QUEUES = re.compile(r"\bqueu", re.IGNORECASE)

EXPIRED = 5504
"""The service does not know the job id, or no longer (captured)."""


def renewal(now: float) -> float:
    """When a spent daily allocation is renewed: at the next 00:00 UTC (pricing page). Both in Unix seconds."""
    return (now // 86_400 + 1) * 86_400


@dataclass(frozen=True, slots=True)
class ServiceError:
    """An error of the service: one with a code and a message, or only an HTTP status.

    Attributes:
        status: HTTP status.
        code: ``errors[0].code``; None if there was no envelope.
        message: ``errors[0].message``, or the text that stands for it in another form of error.
        retry_after: Seconds that the service asks to wait; None if it does not say.
    """

    status: int
    code: int | None
    message: str
    retry_after: float | None = None

    @property
    def is_redirect(self) -> bool:
        """Whether the reply is a redirect."""
        return 300 <= self.status < 400

    @property
    def lacks_queue(self) -> bool:
        """Whether the model has no batch queue."""
        return (
            self.status != 429 and self.code == _NO_QUEUE_OR_CONTENT and _ABOUT_QUEUES.search(self.message) is not None
        )

    @property
    def concerns_image(self) -> bool:
        """Whether the service took a part of the request for a picture that it cannot read."""
        return self.code == _BAD_IMAGE_OR_TOOL and _ABOUT_IMAGES.search(self.message) is not None

    @property
    def remedy(self) -> Remedy:
        """The remedy: by the code, or by the status if there is no code or the status shows that the error will pass.

        A 429 means "later" whatever the code is, except for a spent daily quota. A 5xx is trouble inside the service
        and says nothing about the token, even with a code that does (10000 under 429 was once taken for a revoked
        token).
        """
        if self.is_redirect:
            return Remedy.ACCOUNT
        known = ERRORS[self.code][0] if self.code in ERRORS else None
        if self.status == 429:
            return Remedy.TOMORROW if known is Remedy.TOMORROW else Remedy.WAIT
        if self.status >= 500 and known is Remedy.ACCOUNT and self.code not in _CERTAIN_AT_ANY_STATUS:
            return Remedy.RETRY
        if self.code == _NO_QUEUE_OR_CONTENT and not self.lacks_queue:
            return Remedy.NEVER
        if known is not None:
            return known
        if self.status == 401:
            return Remedy.ACCOUNT
        if self.status == 413:
            return Remedy.SPLIT
        if self.status in (408, 409, 425) or self.status >= 500 or self.status < 300:
            return Remedy.RETRY
        return Remedy.NEVER

    def __str__(self) -> str:
        number = f"code {self.code}, " if self.code is not None else ""
        meaning = ERRORS[self.code][1] if self.code in ERRORS else ""
        if self.lacks_queue:
            meaning = "this model has no batch queue"
        elif self.code == _BAD_IMAGE_OR_TOOL:
            meaning = "a picture that cannot be read" if self.concerns_image else "the forced tool ran out of tokens"
        said = ": ".join(part for part in (meaning, self.message) if part) or "an error without words"
        return f"{said} ({number}HTTP {self.status})"
