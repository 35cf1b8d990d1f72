"""A request as the service receives it: the endpoint, headers, ids and body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from kimi_beam.emulator.refusals import BadInput, Refused

_PROVIDER: Final = "workers-ai/"

Surface = Literal["run", "chat", "openai"]
"""The endpoint: ``run`` is Workers AI's own, ``chat`` its OpenAI-compatible one, ``openai`` that of other servers."""


@dataclass(frozen=True)
class Call:
    """A POST request.

    Attributes:
        surface: The kind of endpoint, which decides the form of the reply.
        body: The body as sent.
        headers: The headers, names in lower case.
        account: The account id in the path; empty if the path has none.
        model: The model id in the path; None if the body names the model.
        queued: Whether the query says ``queueRequest=true``.
        gateway: The gateway in the path; None if only a header may name it.
        wrapped: Whether the body is ``{"model": …, "input": {…}}`` [documented: ai-gateway/usage/rest-api].
        compat: Whether the model must be named with its provider, ``workers-ai/@cf/…`` [documented].
    """

    surface: Surface
    body: bytes
    headers: Mapping[str, str]
    account: str = ""
    model: str | None = None
    queued: bool = False
    gateway: str | None = None
    wrapped: bool = False
    compat: bool = False

    @property
    def session(self) -> str | None:
        """The session whose model instance the client wants [documented: ``x-session-affinity``]."""
        return self.headers.get("x-session-affinity")

    def read(self) -> tuple[str | None, dict[str, Any]]:
        """Return the model that is asked for and the request itself.

        Raises:
            BadInput: The body does not fit the input schema.
            Refused: 2008, the provider is missing.
        """
        request = _object(self.body)
        if self.model is not None:
            return self.model, request
        model = request.get("model")
        if model is not None and not isinstance(model, str):
            raise BadInput("Type mismatch of '/model', 'string' expected")
        if self.wrapped:
            request = request.get("input")
            if not isinstance(request, dict):
                raise BadInput("required properties at '/' are 'model,input'")
        if self.compat and not (model or "").startswith(_PROVIDER):
            raise Refused(2008)
        return (model.removeprefix(_PROVIDER) if model and self.compat else model), request


def _object(body: bytes) -> Any:
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"invalid JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadInput("Type mismatch of '/', 'object' expected")
    return value
