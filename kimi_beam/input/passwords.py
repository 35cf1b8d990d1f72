"""Passwords of encrypted files: a worker reads one where the user says it is. It is never pickled or shown."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kimi_beam.errors import ConfigError


def check_place(place: str) -> None:
    """Checks the setting that says where a password is.

    Raises:
        ConfigError: It is neither ``env:NAME`` nor ``file:PATH``. It is not repeated: it may be the password itself.
    """
    kind, _, name = place.partition(":")
    if kind not in ("env", "file") or not name:
        raise ConfigError("a password is named by env:NAME or file:PATH, never given itself")


def read_password(place: str) -> str:
    """Reads a password.

    Args:
        place: ``env:NAME`` or ``file:PATH``. A line feed at the end of the file does not belong to the password.

    Raises:
        ConfigError: There is none, or the file cannot be read. The message holds no part of a password.
    """
    check_place(place)
    kind, _, name = place.partition(":")
    if kind == "env":
        # A value that is no variable's name is not repeated, because by mistake it may be the password itself.
        variable = name if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) else "that env: names"
        if not (password := os.environ.get(name, "")):
            raise ConfigError(f"no password: the environment variable {variable} is not set")
        return password
    try:
        password = Path(name).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not UTF-8" if isinstance(e, UnicodeError) else "no path"
        path = repr(name) if "/" in name or "." in name else "the file"
        raise ConfigError(f"cannot read the password from {path}: {reason}") from None
    if not password:
        raise ConfigError("no password: the file is empty")
    return password
