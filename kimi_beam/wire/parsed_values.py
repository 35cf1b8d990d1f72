"""Turns answers that a server sends as parsed JSON values back into JSON text.

With a schema K2.6 and other models may send an object in place of a text (captured: one job with both), and so do JSON
mode's older form (documented: ``response``) and the function calls of some servers. The text is cut out of the reply
itself, so that it keeps all digits and repeated keys. A stream may send a token that is a number as a number.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from kimi_beam.schema import jsontext

# Separate patterns, because a search is several times as fast if the pattern begins with a constant.
_KEYS = tuple(
    re.compile(b'"%s"[ \\t\\r\\n]*:[ \\t\\r\\n]*(?=[\\[{0-9tf-])' % name)
    for name in (b"content", b"parsed", b"response", b"arguments")
)
_VALUE = json.JSONDecoder()
_SCALAR = re.compile(rb"-?[0-9][0-9.eE+-]*|true|false")
_PIECE = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_TEXT_PARTS = ("text", "output_text")
_OTHER_PARTS = ("image", "image_url", "input_audio", "audio", "file", "thinking", "reasoning", "refusal")


def with_texts(body: bytes) -> bytes:
    """Replaces each such value in a reply by a string with its JSON text. Lists of content parts stay as they are.

    Args:
        body: The JSON of a reply.

    Returns:
        The new JSON; `body` itself if it holds no such value.
    """
    # After a backslash the quote is inside a string, and the match is no key.
    keys = [key for one in _KEYS for key in one.finditer(body) if body[key.start() - 1 : key.start()] != b"\\"]
    if not keys:
        return body
    latin: str | None = body.decode("latin-1")  # one character for each byte, so that positions are the same
    pieces: list[bytes] = []
    copied_to = searched_to = 0
    for start in sorted(key.end() for key in keys):
        if start < searched_to:  # inside a value that was replaced already
            continue
        end = _end_of_scalar(body, start) or _end_as_json(latin, start)
        if end is None:
            latin = None  # not tried again, because each failure costs time in proportion to the text before it
            end = _end_by_brackets(body, start)
        if end is None:
            break
        searched_to = end
        value = body[start:end]
        if value.startswith(b"[") and _is_parts(_list_in(value)):
            continue
        try:
            text = orjson.dumps(value.decode())
        except ValueError:  # no UTF-8
            continue
        pieces += (body[copied_to:start], text)
        copied_to = end
    return b"".join((*pieces, body[copied_to:])) if pieces else body


def _end_of_scalar(body: bytes, start: int) -> int | None:
    scalar = _SCALAR.match(body, start)
    return None if scalar is None else scalar.end()


def _end_as_json(text: str | None, start: int) -> int | None:
    try:
        return None if text is None else _VALUE.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


def _end_by_brackets(body: bytes, start: int) -> int | None:
    """The end of a value by counting brackets, for values that are nested too deep or no valid JSON; None if open."""
    depth = 0
    for piece in _PIECE.finditer(body, start):
        first = piece[0][:1]
        if first in (b"[", b"{"):
            depth += 1
        elif first in (b"]", b"}"):
            depth -= 1
            if depth <= 0:
                return piece.end()
    return None


def _list_in(text: bytes) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return value if isinstance(value, list) else []


def text_of(content: Any) -> str:
    """The text of ``content``: a string, the texts of content parts (release notes 2026-02-17), or the JSON of a value.

    Returns:
        The text; empty for null, and for content parts without texts.

    Raises:
        TypeError, RecursionError: The value is nested too deep to be written.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list) and _is_parts(content):
        return "".join(part["text"] for part in content if _is_text_part(part))
    return jsontext.dumps(content).decode()


def _is_text_part(item: Any) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return False
    return item["type"] in _TEXT_PARTS if "type" in item else len(item) == 1


def _is_parts(content: list[Any]) -> bool:
    """Whether a list holds content parts, and is not an answer that is an array."""
    kinds = [item.get("type") for item in content if isinstance(item, dict)]
    if any(isinstance(kind, str) and kind in _TEXT_PARTS for kind in kinds):
        return any(map(_is_text_part, content))
    if kinds and all(isinstance(kind, str) and kind in _OTHER_PARTS for kind in kinds):
        return True
    # Content parts without a type look like the objects of an answer, but their joined text is JSON itself.
    texts = [item["text"] for item in content if _is_text_part(item)]
    return bool(texts) and len(texts) == len(content) and "".join(texts).lstrip()[:1] in ("{", "[", "`", "<")


def refusal_in(content: Any) -> str | None:
    """The text of a refusal among content parts; None if there is none."""
    for part in content if isinstance(content, list) and _is_parts(content) else ():
        if isinstance(part, dict) and part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
            words: str = part["refusal"]
            return words
    return None


def as_raw(value: Any) -> str | None:
    """An unreadable value as text for a dead letter's ``raw``; None if it is empty or cannot be written."""
    if value is None or value in ({}, []):
        return None
    if isinstance(value, str):
        return value or None
    try:
        return jsontext.dumps(value).decode()
    except (TypeError, RecursionError):
        try:
            return json.dumps(value, ensure_ascii=False, default=str)
        except (ValueError, RecursionError):
            return None
