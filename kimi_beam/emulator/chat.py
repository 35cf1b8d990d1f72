"""Reads a chat: finds the document in it, and the form of answer that is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

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


def question(messages: Sequence[object]) -> object:
    """Return `last_user_content` without a refused answer and its problems, where it shows any behind the document."""
    content = last_user_content(messages)
    if isinstance(content, str):
        return _without_correction(content)
    if isinstance(content, list) and content and isinstance(content[-1], Mapping):
        text = content[-1].get("text")
        if isinstance(text, str):
            return [*content[:-1], {**content[-1], "text": _without_correction(text)}]
    return content


def is_correction(messages: Sequence[object]) -> bool:
    """Whether the model is shown an answer that was refused, or what is wrong with it."""
    return question(messages) != last_user_content(messages)


def _without_correction(text: str) -> str:
    end = None
    for fence in _fences(lines := text.split("\n")):
        if fence.name in ("answer", "problems") and end is not None:
            return "\n".join(lines[: end + 1])
        end = fence.last
    return text


class _Fence(NamedTuple):
    name: str
    first: int
    """The line that opens it."""
    last: int
    """The line that closes it; -1 if none does."""


def _fences(lines: Sequence[str]) -> Iterator[_Fence]:
    """Yield the fences of a text, which are not inside one another.

    A fence is closed by a line of at least as many backticks, so that a document with fences in it is put into a longer
    fence.
    """
    opened: tuple[int, int] | None = None  # line, number of backticks
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if opened is None:
            match = _FENCE.match(line)
            opened = (number, len(match[1])) if match else None
        elif line.rstrip().strip("`") == "" and len(line.rstrip()) >= opened[1]:
            yield _Fence(lines[opened[0]].strip("`"), opened[0], number)
            opened = None
    if opened is not None:
        yield _Fence(lines[opened[0]].strip("`"), opened[0], -1)


def document_in(text: str) -> str:
    """Return the content of the only fence of three or more backticks, or of the only one that is named ``part``.

    Without such a fence it is the whole text. A client that asks for a document in parts shows its context beside it,
    of which the names of columns (``columns``) are read, as rows are not understood without them.
    """
    lines = text.split("\n")
    found: list[str] = []
    parts: list[str] = []
    columns = ""
    for fence in _fences(lines):
        if fence.last < 0:
            return text
        found.append("\n".join(lines[fence.first + 1 : fence.last]))
        if fence.name == "part":
            parts.append(found[-1])
        elif fence.name == "columns":
            columns = f"{found[-1]}\n"
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
