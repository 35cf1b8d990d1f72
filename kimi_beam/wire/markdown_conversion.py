"""The protocol of Workers AI's Markdown conversion: one file as a multipart body, and the text that comes back.

Source: workers-ai/features/markdown-conversion (changelog 2026-07-10). A file that cannot be converted is an entry of
the result with the format ``error`` under HTTP 200. Replies are untrusted: none raises an exception.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from kimi_beam.wire.envelopes import Exchange, NoReply, bare_error, error_of, excerpt, read_json
from kimi_beam.wire.service_errors import ServiceError

SUFFIXES: Mapping[str, str] = {
    ".pdf": "application/pdf",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".html": "text/html",
    ".htm": "text/html",
    ".xml": "application/xml",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
    ".xlsb": "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    ".xls": "application/vnd.ms-excel",
    ".et": "application/vnd.ms-excel",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".csv": "text/csv",
    ".numbers": "application/vnd.apple.numbers",
}
"""The kinds of files that the service converts, with their media types (documented)."""

MOST_BYTES = 4_000_000
"""The largest file that is sent. No limit is documented; 4 MB a file is assumed to be safe."""


@dataclass(frozen=True, slots=True)
class Converted:
    """The text that the service made of a file."""

    text: str


@dataclass(frozen=True, slots=True)
class NotConverted:
    """The service could not convert the file. Another attempt would end the same way.

    Attributes:
        message: Its reason as one line.
    """

    message: str


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """The service did not look at the file, or its reply was lost.

    Attributes:
        message: What happened, as one line.
        error: The error of the service; None if there was no reply, or one that says nothing.
    """

    message: str
    error: ServiceError | None = None


Conversion: TypeAlias = Converted | NotConverted | NotAnswered


def encode(name: str, content: bytes) -> tuple[str, bytes]:
    """The request for one file.

    Args:
        name: The file's name as the service sees it: letters, digits and a suffix of `SUFFIXES`.
        content: The bytes of the file.

    Returns:
        The value of the header ``Content-Type``, and the body.
    """
    # A boundary must not occur in the content. This one depends on all of it, so that nobody can have put it there.
    boundary = f"kimi_beam-{hashlib.blake2b(content, digest_size=20).hexdigest()}"
    media_type = SUFFIXES.get(name[name.rfind(".") :], "application/octet-stream")
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
    head += f"Content-Type: {media_type}\r\n\r\n"
    body = b"".join((head.encode(), content, f"\r\n--{boundary}--\r\n".encode()))
    return f"multipart/form-data; boundary={boundary}", body


def decode(exchange: Exchange, name: str, now: float) -> Conversion:
    """What became of a file.

    Args:
        exchange: The reply.
        name: The name under which the file was sent.
        now: Unix seconds, from which the service's waiting time is counted.
    """
    if isinstance(exchange, NoReply):
        return NotAnswered(exchange.message)
    body = read_json(exchange.body)
    error = error_of(exchange, body, now) or (bare_error(exchange, now) if exchange.status != 200 else None)
    if error is not None:
        return NotAnswered(error.message, error)
    results = body.get("result") if isinstance(body, dict) else None
    for entry in results if isinstance(results, list) else [results]:
        if not isinstance(entry, dict) or entry.get("name") != name:
            continue
        if entry.get("format") == "error":
            return NotConverted(excerpt(str(entry.get("error")).encode(errors="replace")))
        if isinstance(data := entry.get("data"), str):
            return Converted(data)
    return NotAnswered(f"the reply names no result for the file: {excerpt(exchange.body)}")
