"""What the keys of a JSON line, a message or a Parquet row say: a document, or the failure that stands in its place."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kimi_beam.errors import ConfigError
from kimi_beam.ids import id_text
from kimi_beam.schema import jsontext
from kimi_beam.types import Code, Document, Failure
from kimi_beam.wire.size_limits import BEGINNING, MAX_DOCUMENT_BYTES

_WHOLE_EVIDENCE = 1 << 20
"""Bytes up to which what cannot be read stands in its dead letter whole."""
_SHOWN_KEYS = 12
"""How many keys of a line a message names."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How files and messages become documents.

    Attributes:
        id_field: The key of a JSON object, or the column of a table, that holds the id.
        text_field: The one that holds the text. All others but ``images`` are metadata.
        max_document_bytes: Bytes of a line, a file or the cells of a row, uncompressed, at most: reading stops there.

    Raises:
        ConfigError: The keys are not two different ones, or the bound is not positive.
    """

    id_field: str = "id"
    text_field: str = "text"
    max_document_bytes: int = MAX_DOCUMENT_BYTES

    def __post_init__(self) -> None:
        names = (self.id_field, self.text_field)
        if not all(names) or len({*names, "images"}) < 3:
            raise ConfigError(
                f"the id is in {names[0]!r}, the text in {names[1]!r}: name two different keys, neither of them images"
            )
        if self.max_document_bytes < 1:
            raise ConfigError("max_document_bytes must be at least 1")

    def too_large(self, what: str, beginning: bytes) -> Failure:
        """The failure of what is larger than may be read.

        Args:
            what: What it is and how large, in words: ``the line of 70000000 bytes``.
            beginning: Its first bytes.
        """
        bound = self.max_document_bytes
        told = f"{what} is larger than {bound} bytes, the most that is read of one document (--max-document-bytes)"
        return Failure("read", "too_large", told, raw=b64(beginning[:BEGINNING]))


USUAL = Reading()


def failed(document_id: str, path: str, failure: Failure, **known: Any) -> Document:
    """A document that could not be read."""
    return Document(document_id, "", source=path, failure=failure, **known)


def from_line(line: bytes, path: str, *, reading: Reading = USUAL, otherwise: str | None = None) -> Document | Failure:
    """A document of a line of JSON.

    Args:
        line: Without its line feed.
        path: Becomes `Document.source`.
        reading: Which keys hold the id and the text.
        otherwise: The id of a line that has none.
    """
    try:
        content = jsontext.loads_unique(line)
    except jsontext.RepeatedKeyError as e:
        return Failure("read", "repeated_key", f"{e}: nobody can say which of them counts", raw=b64(line))
    except ValueError as e:
        return unreadable_line(line, f"the line is not JSON: {e}", e)
    if not isinstance(content, dict):
        return Failure("read", "not_json", "the line is JSON, but no object", raw=b64(line))
    return from_fields(content, path, line, reading, otherwise=otherwise)


def unreadable_line(line: bytes, message: str, reason: ValueError) -> Failure:
    """The failure of a line, with its bytes.

    Args:
        line: Its bytes.
        message: For a person.
        reason: What `jsontext.loads` said.
    """
    code: Code = "not_utf8" if str(reason).startswith("not UTF-8") else "not_json"
    return Failure("read", code, message, raw=b64(line))


def from_fields(
    content: Mapping[str, Any], path: str, raw: bytes | None, reading: Reading = USUAL, *, otherwise: str | None = None
) -> Document | Failure:
    """A document of a line's or row's keys: its id, its text and ``images``; all others are metadata.

    Args:
        content: The keys with their values.
        path: Becomes `Document.source`.
        raw: The line as evidence, should it be no document. None: the keys as JSON.
        reading: Which keys hold the id and the text.
        otherwise: The id where there is none.
    """

    def evidence() -> str:
        return b64(jsontext.dumps_any(content) if raw is None else raw)

    rest = dict(content)
    given, text = rest.pop(reading.id_field, None), rest.pop(reading.text_field, None)
    key = otherwise if given is None else id_text(given)
    if not key:
        return Failure("read", "missing_id", _without_id(content, reading), raw=evidence())
    images = rest.get("images")
    if _are_images(images):
        pictures = tuple(rest.pop("images"))
        if text is None:
            text = ""
    else:
        pictures = ()
        if _holds_a_picture(images):
            # Left among the metadata, it would be a picture that the model never sees.
            told = f"the document's {_wrong_images(images)}"
            return failed(key, path, Failure("read", "bad_image", told, raw=evidence()), metadata=rest)
    if isinstance(text, str):
        return Document(key, text, pictures, rest, path)
    told, code = _without_text(content, reading), _MISSING_TEXT
    if text is None and (wrong := _wrong_images(images)):
        told = f"{told}, and its {wrong}"
        code = "bad_image" if _are_strings(images) else code
    return failed(key, path, Failure("read", code, told, raw=evidence()), metadata=rest)


_MISSING_TEXT: Code = "missing_text"


def _is_data_uri(value: Any) -> bool:
    return isinstance(value, str) and value[:5].lower() == "data:"


def _are_images(value: Any) -> bool:
    """Whether these are data URIs; a key of that name that holds anything else is metadata, or a mistake."""
    return isinstance(value, list) and bool(value) and all(map(_is_data_uri, value))


def _holds_a_picture(value: Any) -> bool:
    """Whether there is a data URI where a list of nothing else is wanted."""
    return _is_data_uri(value) or (isinstance(value, list) and any(map(_is_data_uri, value)))


def _are_strings(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _wrong_images(value: Any) -> str:
    """What is wrong with ``images`` that are no list of data URIs; empty where there are none."""
    if value is None or value == []:
        return ""
    wanted = 'a list of data URIs is wanted, such as ["data:image/png;base64,…"]'
    if not isinstance(value, list):
        return f"images are {_a_kind(value)}: {wanted}"
    number, first = next((n, one) for n, one in enumerate(value, 1) if not _is_data_uri(one))
    return f"image {number} is {_a_kind(first)}: {wanted}"


def _a_kind(value: Any) -> str:
    if isinstance(value, str) and "://" in value[:12]:
        return "a URL, and nothing is fetched"
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}")


def _without_id(content: Mapping[str, Any], reading: Reading) -> str:
    given = content.get(reading.id_field)
    if given is None or given == "":
        told = (
            f"has no {reading.id_field!r}" if reading.id_field not in content else f"has an empty {reading.id_field!r}"
        )
        return f"the document {told}{_keys_there(content, reading.id_field, 'id')}"
    return f"the document has an {reading.id_field!r} that is {_a_kind(given)}, not a string, an integer or a UUID"


def _without_text(content: Mapping[str, Any], reading: Reading) -> str:
    given = content.get(reading.text_field)
    if given is None:
        told = (
            f"has no {reading.text_field!r}"
            if reading.text_field not in content
            else f"has a {reading.text_field!r} that is null"
        )
        return f"the document {told}{_keys_there(content, reading.text_field, 'text')}"
    return f"the document has a {reading.text_field!r} that is {_a_kind(given)}, not a string"


def _keys_there(content: Mapping[str, Any], wanted: str, option: str) -> str:
    """The keys that are there instead, where one of them may be the one that is meant."""
    others = [key for key in content if key != wanted]
    if not others:
        return ""
    return f"; it has {named(others)} (--{option}-field, {option}_field= names another key)"


def named(keys: list[str]) -> str:
    """Some keys in words, the first of many."""
    shown = ", ".join(repr(key[:60]) for key in keys[:_SHOWN_KEYS])
    return f"{shown} and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else shown


def b64(content: bytes) -> str:
    """Bytes as evidence in a dead letter; of more than 1 MiB their beginning."""
    return base64.b64encode(content if len(content) <= _WHOLE_EVIDENCE else content[:BEGINNING]).decode()
