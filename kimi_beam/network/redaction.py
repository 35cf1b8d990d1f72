"""Removes tokens from the service's replies: it may echo them, and its messages end up in files and on the screen.

Beside the token itself, the spellings are removed in which a header or a body may hold it: base64 at any offset,
hexadecimal digits, percent-encoding of some or all characters, and JSON's escapes, each in upper or lower case.
"""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from kimi_beam.wire.envelopes import Exchange, NoReply

_LEAST = 12
"""The fewest characters of a secret: a shorter string may stand in any text by chance."""

_LEAST_MIXED = 8
"""The fewest characters of a secret that has both letters and digits, and so hardly stands anywhere by chance."""

_HIDDEN = "*" * 8
_ASCII_ESCAPE = re.compile(rb"\\u00[2-7]")


class Redaction:
    """Replaces secrets in texts by asterisks.

    Args:
        secrets: The secrets as they were sent. Those that are too short to be secret are ignored.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        hidden = sorted({secret for secret in secrets if _is_secret(secret)}, key=len, reverse=True)
        # The search is in lower case. For base64 that finds too much rather than too little.
        spellings = {spelling.lower() for secret in hidden for spelling in _spellings(secret)}
        self._spellings = tuple(sorted(spellings, key=len, reverse=True))
        self._encoded = tuple(spelling.encode() for spelling in self._spellings)
        any_spelling = "|".join(map(re.escape, self._spellings))
        self._in_text = re.compile(any_spelling, re.IGNORECASE | re.ASCII)
        self._in_bytes = re.compile(any_spelling.encode(), re.IGNORECASE)
        self._escaped = re.compile("|".join(map(_escaped, hidden)).encode(), re.IGNORECASE) if hidden else None

    def __repr__(self) -> str:
        return f"Redaction of {len(self._spellings)} spellings"

    def of_bytes(self, body: bytes) -> bytes:
        """A body without the secrets."""
        folded = body.lower()  # far faster than a regular expression, and hardly any body has a secret
        if any(spelling in folded for spelling in self._encoded):
            body = self._in_bytes.sub(_HIDDEN.encode(), body)
        # JSON need not escape letters and digits, so hardly any body has such escapes.
        if self._escaped is not None and b"\\u00" in body and _ASCII_ESCAPE.search(body):
            body = self._escaped.sub(_HIDDEN.encode(), body)
        return body

    def of_text(self, text: str) -> str:
        """A header or a message without the secrets."""
        folded = text.lower()
        if any(spelling in folded for spelling in self._spellings):
            text = self._in_text.sub(_HIDDEN, text)
        return text

    def of_exchange(self, exchange: Exchange) -> Exchange:
        """The outcome of a request without the secrets, in any of its fields."""
        if isinstance(exchange, NoReply):
            return replace(exchange, message=self.of_text(exchange.message))
        changed: dict[str, Any] = {}
        for name in exchange.__slots__:
            value = getattr(exchange, name)
            if isinstance(value, bytes):
                clean: object = self.of_bytes(value)
            elif isinstance(value, str) and value:
                clean = self.of_text(value)
            else:
                continue
            if clean != value:
                changed[name] = clean
        return replace(exchange, **changed) if changed else exchange


def _is_secret(text: str) -> bool:
    is_mixed = any(map(str.isdigit, text)) and any(map(str.isalpha, text))
    return len(text) >= _LEAST or (len(text) >= _LEAST_MIXED and is_mixed)


def _spellings(secret: str) -> Iterable[str]:
    yield secret
    yield secret.replace("/", "\\/")
    yield secret.replace("\\", "\\\\").replace('"', '\\"')
    for safe in ("", "/"):
        percent = quote(secret, safe=safe)
        yield percent
        yield percent.replace("%", "%25")
    raw = secret.encode()
    yield raw.hex()
    yield "".join(f"%{byte:02x}" for byte in raw)
    for encode in (b64encode, urlsafe_b64encode):
        for offset in range(3):
            yield _base64_inside(raw, offset, encode)


def _base64_inside(raw: bytes, offset: int, encode: Callable[[bytes], bytes]) -> str:
    """The base64 digits that depend on the secret alone, if it begins `offset` bytes into a group of three bytes."""
    digits = encode(bytes(offset) + raw).decode()
    begin = (offset * 8 + 5) // 6
    end = (offset + len(raw)) * 8 // 6
    return digits[begin:end]


def _escaped(secret: str) -> str:
    """A pattern that finds a secret in JSON even if some of its characters are escaped, once or several times over."""
    return "".join(rf"(?:{re.escape(c)}|\\+u00(?i:{ord(c):02x}))" for c in secret)
