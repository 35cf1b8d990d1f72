"""Checks the images in a chat, as the service does before a model sees them.

The picture itself is not decoded: a data URI must be of an image type and valid base64 [observed: SVG → 8005, bad
base64 → 5004]. Neither the size nor the number is limited [documented: no limit].
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from kimi_beam.emulator.refusals import BadInput, Refused

_PARTS: Final = ("text", "image_url", "input_audio", "file")
_MEDIA: Final = ("image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif")


def images(content: object) -> Iterator[str]:
    """Yield the URLs of a message's images."""
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        for part in content:
            if isinstance(part, Mapping) and part.get("type") == "image_url":
                yield address(part)


def address(part: Mapping[str, Any]) -> str:
    """Return the URL of an image part; the empty string if it has none."""
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    return url if isinstance(url, str) else ""


def check(messages: Sequence[Mapping[str, Any]], image_urls: Literal["refused", "accepted"]) -> None:
    """Check the parts of all messages.

    Args:
        messages: The chat.
        image_urls: Whether https URLs are accepted; see `Behaviour.image_urls`.

    Raises:
        BadInput: The input schema has no such part.
        Refused: An image is not accepted.
    """
    for message in messages:
        content = message.get("content")
        if not isinstance(content, list):
            continue
        for part in content:
            kind = part.get("type", "text") if isinstance(part, Mapping) else None
            if kind not in _PARTS:
                raise BadInput(f"oneOf at '/messages/content' not met: type must be one of {', '.join(_PARTS)}")
        for url in images(content):
            _check_image(url, image_urls)


def check_queued(messages: Sequence[Mapping[str, Any]], queue_images: Literal["accepted", "refused", "failed"]) -> None:
    """Check whether a job may hold images.

    Args:
        messages: The chat.
        queue_images: What becomes of one with images; see `Behaviour.queue_images`.

    Raises:
        BadInput: The whole submit is refused.
        Refused: This request fails.
    """
    if queue_images == "accepted" or not any(True for message in messages for _ in images(message.get("content"))):
        return
    if queue_images == "refused":
        raise BadInput("Type mismatch of '/messages/1/content', 'string' not in 'array'")
    raise Refused(8006, "AiError: AiError: Bad input: image input is not supported here")


def check_texts(messages: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a text that looks like a picture, as the service was observed to do; see `Behaviour.image_texts`.

    Raises:
        Refused: 8006.
    """
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [content]
        for part in parts:
            text = part.get("text") if isinstance(part, Mapping) else part
            if isinstance(text, str) and "data:image/" in text.lower():
                raise Refused(8006, "AiError: Bad input: failed to decode image data")


def _check_image(url: str, image_urls: str) -> None:
    if url[:8].lower().startswith(("http://", "https://")) and image_urls == "accepted":
        return
    head, comma, data = url.partition(",")
    scheme, _, rest = head.partition(":")
    media, *options = rest.split(";")
    if scheme.lower() != "data" or not comma:
        raise Refused(5004, "AiError: AiError: Invalid data: an image must be a data URI")
    if media.lower() not in _MEDIA:
        raise Refused(8005, "AiError: AiError: Internal server error: cannot identify image file")
    try:
        if "base64" not in options or not data:
            raise ValueError
        base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        raise Refused(5004, "AiError: AiError: Invalid data: the image is not valid base64") from None
