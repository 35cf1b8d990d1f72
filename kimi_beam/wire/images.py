"""Checks the images of a document (data URIs) before they are sent and paid for. The type is read off the bytes.

Sources: Workers AI model schema (``image_url`` parts), and bug reports: an SVG ends in an internal error (8005), bad
base64 in 5004. Plain https URLs are documented nowhere, so they are not sent.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping

MEDIA_TYPES: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
"""The media types that a model reads, by the suffix of their files."""

_TAKEN = frozenset((*MEDIA_TYPES.values(), "image/jpg"))
_OTHERS = (
    (b"%PDF-", "a PDF"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\0\0\1\0", "an icon"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
)
"""The first bytes of other files that are often found under the names of pictures."""
_HEAD = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!--|!doctype|svg)", re.IGNORECASE)


def data_uri(content: bytes, media_type: str) -> str:
    """The data URI of a picture.

    Args:
        content: The bytes of the picture.
        media_type: The media type by the file's name; used only if the bytes do not show another one.
    """
    return f"data:{media_type_of(content) or media_type};base64,{base64.b64encode(content).decode()}"


def media_type_of(content: bytes) -> str | None:
    """The media type of a picture by its first bytes; None if it is none that a model reads."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None


def with_true_media_type(uri: str) -> str:
    """A data URI with the media type that its bytes show; the same URI if that is right or the type is unknown."""
    head = _HEAD.match(uri[:200])
    if head is None:
        return uri
    start = uri[head.end() : head.end() + 64]
    try:
        found = media_type_of(base64.b64decode(start[: len(start) // 4 * 4]))
    except (binascii.Error, ValueError):
        return uri
    declared = head.group(1).lower().replace("image/jpg", "image/jpeg")
    if found is None or found == declared or not declared.startswith(("image/", "application/octet-stream")):
        return uri
    return f"data:{found}{uri[head.end(1) :]}"


def problem(uri: str) -> str | None:
    """Why an image cannot be sent, in one line; None if it can be sent."""
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
    return damage(content) if content else "an empty image"


def damage(content: bytes) -> str | None:
    """What is wrong with the bytes of a picture, as a noun with its article; None if nothing is seen to be.

    Args:
        content: The bytes.
    """
    kind = media_type_of(content)
    if kind is None:
        return _no_picture(content)
    name, is_whole = _WHOLE[kind]
    return None if is_whole(content) else f"a {name} picture that is cut off: its end is missing"


def _no_picture(content: bytes) -> str:
    if _MARKUP.match(content[:200]):
        return "an SVG under another name"
    if content[4:8] == b"ftyp":
        other: str | None = "a HEIC or AVIF picture, or a film"
    else:
        other = next((kind for begin, kind in _OTHERS if content.startswith(begin)), None)
    if other is None and content.strip()[:1] == b"<":
        other = "HTML or XML"
    told = f"it is {other}" if other else f"it begins with {content[:8].hex(' ')}"
    return f"no PNG, JPEG, WebP or GIF by its bytes: {told}"


# ------------------------------------------------------------------------------------------------ whole, or cut off


def _is_whole_png(content: bytes) -> bool:
    """Whether the file has all its chunks up to the last one (PNG specification, third edition, section 5)."""
    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        if at == 8 and (kind != b"IHDR" or length != 13):
            return False
        at += 12 + length
        if kind == b"IEND":
            return at <= len(content)
    return False


def _is_whole_jpeg(content: bytes) -> bool:
    """Whether the picture has its end marker. A preview in the header has an end marker too (ITU T.81, B.1)."""
    at = 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            return False
        marker = content[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
        elif marker == 0xDA:
            # In the image data each 0xFF is followed by 0 or is the beginning of a marker.
            return content.find(b"\xff\xd9", at) >= 0
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return False


def _is_whole_gif(content: bytes) -> bool:
    """Whether the file has all blocks of the first frame (GIF89a specification)."""
    at = 13 + (3 << (content[10] & 7) + 1 if len(content) > 10 and content[10] & 0x80 else 0)
    while at < len(content):
        introducer = content[at]
        if introducer == 0x21:
            at += 2
        elif introducer == 0x2C and at + 10 < len(content):
            flags = content[at + 9]
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            return False
        while at < len(content) and content[at]:
            at += content[at] + 1
        if introducer == 0x2C:
            return at < len(content)
        at += 1
    return False


def _is_whole_webp(content: bytes) -> bool:
    """Whether the file is as long as its header says (RFC 9649, section 2.4)."""
    return len(content) >= 20 and len(content) >= 8 + int.from_bytes(content[4:8], "little") > 12


_WHOLE: Mapping[str, tuple[str, Callable[[bytes], bool]]] = {
    "image/png": ("PNG", _is_whole_png),
    "image/jpeg": ("JPEG", _is_whole_jpeg),
    "image/gif": ("GIF", _is_whole_gif),
    "image/webp": ("WebP", _is_whole_webp),
}
