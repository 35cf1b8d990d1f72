"""Access checks: token, account and model of a request."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.catalogue import K2_5, MODELS, offered
from kimi_beam.emulator.refusals import Refused


def check_token(headers: Mapping[str, str], token: str | None, *, optional: bool = False) -> None:
    """Check the token of a request. Codes [observed: bug reports]; that a missing header is 401 is assumed.

    Args:
        headers: The headers of the request, names in lower case.
        token: The only token that is accepted; None accepts any that is not empty.
        optional: Whether, if `token` is None, requests without a token are accepted too, as by local servers.


    Raises:
        Refused: 9106 (malformed) or 10000 (wrong).
    """
    if optional and token is None:
        return
    given = bearer(headers.get("authorization", ""))
    if given is None:
        raise Refused(9106, "Authentication failed: malformed Authorization header")
    if token is not None:
        known = hmac.compare_digest(given.encode(), token.encode())
    else:
        known = bool(given or (headers.get("x-auth-key") and headers.get("x-auth-email")))
    if not known:
        raise Refused(10000, "Authentication error")


def bearer(value: str) -> str | None:
    """Return the token of an ``Authorization`` header: empty if there is none, None if it is malformed."""
    scheme, _, token = value.partition(" ")
    token = token.strip()
    return None if scheme and (scheme.lower() != "bearer" or not token) else token


def check_account(account: str, behaviour: Behaviour) -> None:
    """Check the account in the path.

    Raises:
        Refused: 7003, the account does not exist [observed].
    """
    if behaviour.accounts is not None and account not in behaviour.accounts:
        raise Refused(7003)


def check_model(model: str | None, behaviour: Behaviour, *, local: bool) -> str:
    """Return the model that was asked for, if it is available.

    Args:
        model: The model's id.
        behaviour: The models and the plan.
        local: Whether the request is to the OpenAI-compatible root, which has models of its own.


    Raises:
        Refused: 5007, 5018 or 5035.
    """
    if not local:
        return offered(model, behaviour.plan).id
    if not model or (behaviour.openai_models and model not in behaviour.openai_models):
        raise Refused(5007, f"The model `{model}` does not exist.")
    return model


def check_queue(model: str, behaviour: Behaviour) -> None:
    """Refuse the models that lost the queue or never had it [documented: ``async_queue`` of the model pages].

    Raises:
        Refused: 8007.
    """
    if not MODELS[model].queue and not (model == K2_5 and behaviour.k2_5_queue == "alias"):
        raise Refused(8007, status=behaviour.no_queue_status)
