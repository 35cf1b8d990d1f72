"""Where the API token is. The token itself is read on the worker, when it is needed, and never travels or is shown."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from kimi_beam.errors import ConfigError

TOKEN_VARIABLE = "CLOUDFLARE_API_TOKEN"  # noqa: S105 - the variable's name, as Cloudflare's own tools have it
ACCOUNT_VARIABLE = "CLOUDFLARE_ACCOUNT_ID"
_PLACES = "env:NAME, file:PATH or gcp-secret:projects/P/secrets/S/versions/N"
_VERSION = re.compile(r"projects/[^/\s]+/secrets/[^/\s]+/versions/[^/\s]+")


@runtime_checkable
class Secret(Protocol):
    """What a secret manager's handle can do; Beam's ``Secret`` is one."""

    def get_secret_bytes(self) -> bytes:
        """Fetches the secret."""
        ...


@dataclass(frozen=True, slots=True)
class TokenSource:
    """A place to read the token from: ``env:NAME``, ``file:PATH`` or ``gcp-secret:projects/P/secrets/S/versions/N``.

    Attributes:
        place: As above, looked up on the worker.
        optional: A missing variable is then no error but "no token": for services of one's own that need none.
    """

    place: str = f"env:{TOKEN_VARIABLE}"
    optional: bool = False

    def __post_init__(self) -> None:
        kind, _, rest = self.place.partition(":")
        if kind not in ("env", "file", "gcp-secret") or not rest:
            # Not echoed: what stands here by mistake may be the token itself.
            raise ConfigError(f"a token is named by {_PLACES}, never given itself")
        if kind == "gcp-secret" and not _VERSION.fullmatch(rest):
            raise ConfigError("gcp-secret: names a version, as in gcp-secret:projects/P/secrets/S/versions/latest")

    @property
    def is_environment(self) -> bool:
        """Whether it is a variable, which only processes of one machine may share."""
        return self.place.startswith("env:")

    def read(self) -> str | None:
        """The token as it is now, None where there is none and it is optional.

        Raises:
            ConfigError: There is none.
        """
        kind, _, name = self.place.partition(":")
        if kind == "env":
            # Not echoed where it is no name: what stands here by mistake may be the token itself.
            said = name if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) else "that env: names"
            return _checked(os.environ.get(name, ""), f"the environment variable {said} is not set", self.optional)
        if kind == "gcp-secret":
            return _checked(_from_secret_manager(name), f"the secret {name} is empty", self.optional)
        try:
            return _checked(Path(name).read_text(encoding="utf-8"), f"the file {name} is empty", self.optional)
        except (OSError, UnicodeDecodeError, ValueError) as e:
            reason = e.strerror if isinstance(e, OSError) else "not UTF-8" if isinstance(e, UnicodeError) else "no path"
            # Not echoed where it is no path: what stands here by mistake may be the token itself.
            said = repr(name) if "/" in name or "." in name else "the file"
            raise ConfigError(f"cannot read the token from {said}: {reason}") from None


def _from_secret_manager(version: str) -> str:
    from apache_beam.utils.secret import GcpSecret  # late: it is Beam's, and only this place needs it

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
    """Checks where a token is said to be.

    Raises:
        ConfigError: It is neither a place nor a handle, or a handle that holds the secret itself.
    """
    if isinstance(where, str):
        return TokenSource(where, optional)
    if not isinstance(where, Secret):
        raise ConfigError(f"a token is named by {_PLACES}, or by one of Beam's Secrets")
    if type(where).__name__ == "RawSecret":
        raise ConfigError(f"a raw secret would travel with the pipeline; use {_PLACES}")
    return where


def read_token(source: TokenSource | Secret) -> str | None:
    """Reads the token from where it is.

    Raises:
        ConfigError: It cannot be read. The message holds no part of it.
    """
    if isinstance(source, TokenSource):
        return source.read()
    try:
        secret = source.get_secret_bytes().decode()
    except Exception as e:  # whatever a secret manager raises
        raise ConfigError(f"cannot read the token from {type(source).__name__}: {type(e).__name__}") from None
    return _checked(secret, f"{type(source).__name__} is empty")
