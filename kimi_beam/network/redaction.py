"""Takes tokens out of what a service answers: it may echo them, and its words end up in files and on the screen.

Looked for are the token itself, and the spellings in which a header or a body may hold it: base64 at any offset,
hexadecimal digits, percent-encoding of some or all of its characters, and JSON's escapes; each in upper or lower case.
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
"""Characters that a token has at least: what is shorter may stand in any text, and nobody keeps it secret."""

_LEAST_MIXED = 8
"""The same for one that has both letters and digits."""

_HIDDEN = "*" * 8
_ASCII_ESCAPE = re.compile(rb"\\u00[2-7]")


class Redaction:
    """Takes some secrets out of texts.

    Args:
        secrets: What is to be taken out, as it was sent. What is too short to be a secret stays.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        kept = sorted({one for one in secrets if _is_secret(one)}, key=len, reverse=True)
        # In lower case, as a text is looked through: a base64 in another case says nothing, but is not missed either.
        spellings = {spelling.lower() for one in kept for spelling in _spellings(one)}
        self._spellings = tuple(sorted(spellings, key=len, reverse=True))
        # Bytes, and the same as text.
        self._encoded = tuple(spelling.encode() for spelling in self._spellings)
        any_spelling = "|".join(map(re.escape, self._spellings))
        self._in_text = re.compile(any_spelling, re.IGNORECASE | re.ASCII)
        self._in_bytes = re.compile(any_spelling.encode(), re.IGNORECASE)
        self._escaped = re.compile("|".join(map(_escaped, kept)).encode(), re.IGNORECASE) if kept else None

    def __repr__(self) -> str:
        return f"Redaction of {len(self._spellings)} spellings"

    def of_bytes(self, body: bytes) -> bytes:
        """A body without the secrets."""
        folded = body.lower()  # far faster than a search that heeds no case, and hardly any body has a secret
        if any(spelling in folded for spelling in self._encoded):
            body = self._in_bytes.sub(_HIDDEN.encode(), body)
        # Letters and digits need no escape, so nearly no body has one of theirs.
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
        """What came back, with the secrets in none of its parts."""
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
    """The digits of base64 that a secret alone decides, where it begins some bytes after a whole group of three."""
    digits = encode(bytes(offset) + raw).decode()
    begin = (offset * 8 + 5) // 6
    end = (offset + len(raw)) * 8 // 6
    return digits[begin:end]


def _escaped(secret: str) -> str:
    """A pattern for a secret in JSON, whose characters may each be escaped, once or several times over."""
    return "".join(rf"(?:{re.escape(c)}|\\+u00(?i:{ord(c):02x}))" for c in secret)
