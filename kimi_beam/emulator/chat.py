"""Reads a chat: finds the document in it, and the form of answer that is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

_FENCE = re.compile(r"^(`{3,})(?!.*`)")
_SCHEMA_KEYS: Final = frozenset({"properties", "$defs", "definitions", "$ref", "allOf", "anyOf", "oneOf", "items"})
_TRIES: Final = 20  # how many opening braces of a message are tried as the beginning of a schema
_REACH: Final = 200_000  # how many characters of a message are searched for a schema


@dataclass(frozen=True)
class Wanted:
    """The kind of answer that is asked for: prose, any JSON ``object``, or an instance of ``schema``."""

    kind: Literal["prose", "object", "schema"]
    schema: Any = None


def text_of(content: object) -> str:
    """Return the text of a message's content, which is a string or a list of parts. Pictures have no text."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and not isinstance(content, bytes):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "\n".join(text for text in texts if isinstance(text, str))
    return ""


def last_user_content(messages: Sequence[object]) -> object:
    """Return the content of the last user message; of the last message when no role is ``user``."""
    chat = [message for message in messages if isinstance(message, Mapping)]
    for message in reversed(chat):
        if message.get("role") == "user":
            return message.get("content")
    return chat[-1].get("content") if chat else None


def document_in(text: str) -> str:
    """Return the content of the only fence of three or more backticks, or of the only one that is named ``part``.

    Without such a fence it is the whole text. A client that asks for a document in parts shows its context beside it,
    of which the names of columns (``columns``) are read, as rows are not understood without them.

    A fence is closed by a line of at least as many backticks, so that a document with fences in it is put into a longer
    fence.
    """
    lines = text.split("\n")
    found: list[str] = []
    parts: list[str] = []
    columns = ""
    opened: tuple[int, int] | None = None  # line, number of backticks
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if opened is None:
            match = _FENCE.match(line)
            opened = (number, len(match[1])) if match else None
        elif line.rstrip().strip("`") == "" and len(line.rstrip()) >= opened[1]:
            found.append("\n".join(lines[opened[0] + 1 : number]))
            name = lines[opened[0]].strip("`")
            if name == "part":
                parts.append(found[-1])
            elif name == "columns":
                columns = f"{found[-1]}\n"
            opened = None
    if opened is not None:
        return text
    return columns + parts[0] if len(parts) == 1 else found[0] if len(found) == 1 else text


def wanted(messages: Sequence[object], response_format: object, *, enforce: bool = True) -> Wanted:
    """Return the kind of answer that a request asks for.

    Three forms are known: A, ``json_schema: {name, schema, strict}`` [documented: Kimi's input schema]; B, the bare
    schema in ``json_schema`` [documented: JSON-mode page]; C, ``json_object`` with a schema somewhere in the messages
    [observed]. Whether K2.6 really enforces A or B is unknown.

    Args:
        messages: The chat.
        response_format: The ``response_format`` of the request; None asks for prose.
        enforce: Whether A and B are enforced; if not, they are treated as C.
    """
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "json_schema" and enforce:
        assert isinstance(response_format, Mapping)
        return Wanted("schema", unwrap(response_format.get("json_schema")))
    if kind not in ("json_schema", "json_object"):
        return Wanted("prose")
    # Clients put the schema into a system message. The document may be JSON itself, and must not be taken for a schema.
    chat = [message for message in messages if isinstance(message, Mapping)]
    for message in sorted(chat, key=lambda message: message.get("role") == "user"):
        text = text_of(message.get("content"))
        document = document_in(text) if message.get("role") == "user" else ""
        schema = schema_in((text if document in ("", text) else text.replace(document, "", 1))[:_REACH])
        if schema is not None:
            return Wanted("schema", schema)
    return Wanted("object")


def unwrap(value: object) -> object:
    """Return the schema of form A or form B. Only the wrapper of form A has a ``schema``, and a string as ``name``."""
    if isinstance(value, Mapping) and "schema" in value and not _looks_like_schema(value):
        return value["schema"]
    return value


@lru_cache(maxsize=64)
def schema_in(text: str) -> dict[str, Any] | None:
    """Return the first JSON Schema of an object in a text, None if there is none."""
    decoder = json.JSONDecoder()
    position = text.find("{")
    for _ in range(_TRIES):
        if position < 0:
            return None
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            if isinstance(value, dict) and _looks_like_schema(unwrap(value)):
                return unwrap(value)  # type: ignore[return-value]  # just seen to be a dict
        position = text.find("{", end)
    return None


def _looks_like_schema(value: object) -> bool:
    return (
        isinstance(value, dict)
        and not _SCHEMA_KEYS.isdisjoint(value)
        and all(isinstance(value[key], dict | list | str) for key in _SCHEMA_KEYS & value.keys())
        and (isinstance(value.get("properties"), dict) or not isinstance(value.get("type", ""), dict))
    )
