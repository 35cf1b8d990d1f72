"""Images of a document: data URIs, looked at before they are paid for.

Sources: Workers AI model schema (``image_url`` parts), and bug reports: an SVG ends in an internal error (8005), bad
base64 in 5004. Plain https URLs are documented nowhere, so they are not sent.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

MEDIA_TYPES: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
"""The kinds that a model reads, by the suffix of their files."""

_TAKEN = frozenset((*MEDIA_TYPES.values(), "image/jpg"))
_HEAD = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!--|!doctype|svg)", re.IGNORECASE)


def data_uri(content: bytes, media_type: str) -> str:
    """The data URI of a picture."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def problem(uri: str) -> str | None:
    """Why an image cannot be sent, in one line; None where it can."""
    head = _HEAD.match(uri[:200])
    if head is None:
        return "an image is a data URI (data:image/png;base64,…)"
    media = head.group(1).lower()
    if media not in _TAKEN:
        return f"an image of type {media[:40] or 'text/plain'!r}: only PNG, JPEG, WebP and GIF are read"
    if "base64" not in head.group(2).lower().split(";"):
        return "an image that is not in base64"
    try:
        content = base64.b64decode(uri[head.end() :].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return "an image that is not valid base64"
    if not content:
        return "an empty image"
    return "an SVG under another name" if _MARKUP.match(content[:200]) else None
