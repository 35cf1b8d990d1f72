"""The errors of the service: Cloudflare's internal codes, their HTTP status and their messages.

Source: Cloudflare's page of Workers AI errors [documented: platform/errors, 2026-07-29]; bug reports and captures for
the codes that are not on it [observed]. Where that page has a question mark for the status, 400 is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CODES: Final[Mapping[int, tuple[int, str]]] = MappingProxyType(
    {
        2001: (400, "Gateway not found"),
        2008: (400, "Invalid provider"),  # assumed: a model of the compat endpoint without its provider
        2009: (401, "Unauthorized"),  # assumed: what an authenticated gateway says without its token
        2014: (504, "Upstream timeout"),
        3003: (400, "Incomplete request"),
        3006: (413, "Request is too large"),
        3007: (408, "Timeout"),
        3008: (408, "Aborted"),
        3010: (400, "Incomplete input"),
        3021: (429, "inference request per min rate reached"),
        3023: (403, "Account is blocked"),
        3030: (400, "Invalid parameters"),
        3036: (429, "you have used up your daily free allocation of 10,000 neurons"),
        3039: (400, "Fine-tune files are missing"),
        3040: (429, "Capacity temporarily exceeded, please try again."),
        3041: (403, "This model is private"),
        3042: (404, "Invalid model ID"),
        3046: (408, "Request timeout"),
        4006: (429, "you have used up your daily free allocation of 10,000 neurons"),
        5001: (500, "Internal error: the batch could not be processed"),
        5004: (400, "Invalid data"),
        5005: (405, "LoRa unsupported"),
        5006: (400, "Bad input"),
        5007: (400, "No such model"),
        5016: (403, "The model's licence has not been accepted"),
        5018: (403, "This account is not allowed to access this model"),
        5019: (405, "SDK too old"),
        5023: (400, "JSON Schema is not supported with streaming"),
        5024: (400, "JSON Mode couldn't be met"),
        5025: (403, "This model doesn't support JSON Schema"),
        5028: (410, "This model was retired"),
        5035: (403, "This model needs the Workers Paid plan"),
        5504: (404, "Request not found in queue"),
        7000: (400, "No route for that URI"),
        7001: (405, "Method not allowed for this route"),
        7003: (404, "Could not route to the account: invalid object identifier"),
        8001: (400, "Invalid input"),
        8005: (500, "Internal server error"),
        8006: (400, "The forced tool call did not fit into the token limit"),
        8007: (400, "This model does not support request queuing"),
        9106: (400, "Authentication failed: malformed Authorization header"),
        10000: (401, "Authentication error"),
        # Cloudflare Queues [documented: queues/reference/error-codes, by names; the numbers of the statuses are
        # assumed]
        10104: (404, "Queue does not exist"),
        10206: (400, "Batch count out of bounds"),
        10207: (400, "JSON request body does not match the expected schema"),
        10208: (400, "Request body is not valid JSON"),
        10250: (429, "Queue is overloaded"),
        15000: (500, "Unknown error"),
    }
)
"""HTTP status and message of each internal code."""


class Refused(Exception):  # noqa: N818 - it is the service's own word for it
    """A request, or an item of one, is refused.

    Attributes:
        code: Cloudflare's internal code.
        status: HTTP status.
        message: The text of ``errors[0].message``.
        headers: Further headers of the reply.
    """

    def __init__(
        self, code: int, message: str = "", *, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        usual, words = CODES[code]
        self.code = code
        self.status = usual if status is None else status
        self.message = message or f"AiError: AiError: {words}"
        self.headers = headers or {}
        super().__init__(self.message)


class BadInput(Refused):
    """A body that the model's input schema refuses: code 5006."""

    def __init__(self, problem: str) -> None:
        super().__init__(5006, f"AiError: Bad input: Error: {problem}")
