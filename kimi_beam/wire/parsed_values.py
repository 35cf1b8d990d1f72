"""Answers that a server sends as JSON values where a text is expected, turned into their text again.

K2.6 and others do that under a schema (seen: one job mixed parsed objects and texts), as do JSON mode's older form
(documented: ``response``) and some servers' function calls. The text is cut out of the reply as it stands there, so
that it keeps each digit and each key that stands twice. Streams may send a token that is a number as a number.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from kimi_beam.schema import jsontext

# Each by itself, as a pattern that begins with a fixed text is searched for several times as fast.
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
    """A reply with the JSON text of each such value in the place of the value. Content parts stay as they are.

    Args:
        body: JSON.

    Returns:
        The body itself where there is no such value.
    """
    # A backslash before it makes the first quote a part of a string.
    keys = [key for one in _KEYS for key in one.finditer(body) if body[key.start() - 1 : key.start()] != b"\\"]
    if not keys:
        return body
    latin: str | None = body.decode("latin-1")  # a character for each byte
    pieces: list[bytes] = []
    done = at = 0
    for start in sorted(key.end() for key in keys):
        if start < at:  # within a value
            continue
        end = _end_of_scalar(body, start) or _end_as_json(latin, start)
        if end is None:
            latin = None  # looked for in vain once: each time costs as much as there is text before it
            end = _end_by_brackets(body, start)
        if end is None:
            break
        at = end
        value = body[start:end]
        if value.startswith(b"[") and _is_parts(_list_in(value)):
            continue
        try:
            text = orjson.dumps(value.decode())
        except ValueError:  # no UTF-8
            continue
        pieces += (body[done:start], text)
        done = end
    return b"".join((*pieces, body[done:])) if pieces else body


def _end_of_scalar(body: bytes, start: int) -> int | None:
    scalar = _SCALAR.match(body, start)
    return None if scalar is None else scalar.end()


def _end_as_json(text: str | None, start: int) -> int | None:
    try:
        return None if text is None else _VALUE.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


def _end_by_brackets(body: bytes, start: int) -> int | None:
    """Where a value ends that is nested as deep as it likes, and need not be JSON; None where it does not end."""
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
    """The text of ``content``: a string, the texts of content parts (release notes 2026-02-17), or a value's JSON.

    Returns:
        Empty where there is none, as for null and for parts of other kinds alone.

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
    """Whether a list is content parts, and not an answer that is an array."""
    kinds = [item.get("type") for item in content if isinstance(item, dict)]
    if any(isinstance(kind, str) and kind in _TEXT_PARTS for kind in kinds):
        return any(map(_is_text_part, content))
    if kinds and all(isinstance(kind, str) and kind in _OTHER_PARTS for kind in kinds):
        return True
    # Parts that do not say their kind look like an answer's objects; but then their text is JSON itself.
    texts = [item["text"] for item in content if _is_text_part(item)]
    return bool(texts) and len(texts) == len(content) and "".join(texts).lstrip()[:1] in ("{", "[", "`", "<")


def refusal_in(content: Any) -> str | None:
    """The words of a refusal that stands among content parts; None where there is none."""
    for part in content if isinstance(content, list) and _is_parts(content) else ():
        if isinstance(part, dict) and part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
            words: str = part["refusal"]
            return words
    return None


def as_raw(value: Any) -> str | None:
    """What was sent and cannot be read, for a dead letter's ``raw``; None where there is nothing, or no text for it."""
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
