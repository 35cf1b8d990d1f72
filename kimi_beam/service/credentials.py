"""Credentials: where the API token is. A worker reads the token when it needs it; it is never pickled or shown."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from kimi_beam.errors import ConfigError

TOKEN_VARIABLE = "CLOUDFLARE_API_TOKEN"  # noqa: S105 - the variable's name, as Cloudflare's own tools have it
ACCOUNT_VARIABLE = "CLOUDFLARE_ACCOUNT_ID"
_FORMS = "env:NAME, file:PATH or gcp-secret:projects/P/secrets/S/versions/N"
_VERSION = re.compile(r"projects/[^/\s]+/secrets/[^/\s]+/versions/[^/\s]+")


@runtime_checkable
class Secret(Protocol):
    """The handle of a secret in a secret manager, such as Beam's ``Secret``."""

    def get_secret_bytes(self) -> bytes:
        """Fetches the secret."""
        ...


@dataclass(frozen=True, slots=True)
class TokenSource:
    """A place to read the token from: ``env:NAME``, ``file:PATH`` or ``gcp-secret:projects/P/secrets/S/versions/N``.

    Attributes:
        place: The place in one of these forms. The worker looks it up.
        optional: Whether a missing token is no error, as for a service of one's own that asks for none.
    """

    place: str = f"env:{TOKEN_VARIABLE}"
    optional: bool = False

    def __post_init__(self) -> None:
        kind, _, rest = self.place.partition(":")
        if kind not in ("env", "file", "gcp-secret") or not rest:
            # The value is not repeated: by mistake it may be the token itself.
            raise ConfigError(f"a token is named by {_FORMS}, never given itself")
        if kind == "gcp-secret" and not _VERSION.fullmatch(rest):
            raise ConfigError("gcp-secret: names a version, as in gcp-secret:projects/P/secrets/S/versions/latest")

    @property
    def is_environment(self) -> bool:
        """Whether it is an environment variable, which workers on other machines do not have."""
        return self.place.startswith("env:")

    def read(self) -> str | None:
        """Reads the token; None if there is none and it is optional.

        Raises:
            ConfigError: There is no token although one is needed, or it cannot be read.
        """
        kind, _, name = self.place.partition(":")
        if kind == "env":
            # A value that is no variable's name is not repeated: by mistake it may be the token itself.
            variable = name if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) else "that env: names"
            return _checked(os.environ.get(name, ""), f"the environment variable {variable} is not set", self.optional)
        if kind == "gcp-secret":
            return _checked(_from_secret_manager(name), f"the secret {name} is empty", self.optional)
        try:
            return _checked(Path(name).read_text(encoding="utf-8"), f"the file {name} is empty", self.optional)
        except (OSError, UnicodeDecodeError, ValueError) as e:
            reason = e.strerror if isinstance(e, OSError) else "not UTF-8" if isinstance(e, UnicodeError) else "no path"
            # A value that is no path is not repeated: by mistake it may be the token itself.
            path = repr(name) if "/" in name or "." in name else "the file"
            raise ConfigError(f"cannot read the token from {path}: {reason}") from None


def _from_secret_manager(version: str) -> str:
    from apache_beam.utils.secret import GcpSecret  # Beam is slow to import, and only this function needs it

    try:
        secret: str = GcpSecret(version).get_secret_bytes().decode()
    except Exception as e:  # whatever Google's client raises, behind Beam's own RuntimeError
        cause = e.__context__ or e
        hint = ": pip install 'kimi-beam[gcp]'" if isinstance(cause, ImportError) else ""
        raise ConfigError(f"cannot read the token from {version}: {type(cause).__name__}{hint}") from None
    return secret


def _checked(token: str, missing: str, optional: bool = False) -> str | None:
    token = token.strip()
    if not token and not optional:
        raise ConfigError(f"no token: {missing}")
    if token and not (token.isascii() and token.isprintable()):
        raise ConfigError("the token holds characters that no HTTP header can carry")
    return token or None


TokenFrom: TypeAlias = "str | Secret"
"""``env:NAME``, ``file:PATH``, ``gcp-secret:projects/P/secrets/S/versions/N``, or a secret manager's handle."""


def token_source(where: TokenFrom, *, optional: bool = False) -> TokenSource | Secret:
    """Checks the setting that says where a token is.

    Raises:
        ConfigError: It is neither a known form nor a handle, or a handle that contains the secret itself.
    """
    if isinstance(where, str):
        return TokenSource(where, optional)
    if not isinstance(where, Secret):
        raise ConfigError(f"a token is named by {_FORMS}, or by one of Beam's Secrets")
    if type(where).__name__ == "RawSecret":
        raise ConfigError(f"a raw secret would travel with the pipeline; use {_FORMS}")
    return where


def read_token(source: TokenSource | Secret) -> str | None:
    """Reads the token; None if there is none and it is optional.

    Raises:
        ConfigError: It cannot be read. The message contains no part of it.
    """
    if isinstance(source, TokenSource):
        return source.read()
    try:
        secret = source.get_secret_bytes().decode()
    except Exception as e:  # whatever a secret manager raises
        raise ConfigError(f"cannot read the token from {type(source).__name__}: {type(e).__name__}") from None
    return _checked(secret, f"{type(source).__name__} is empty")
