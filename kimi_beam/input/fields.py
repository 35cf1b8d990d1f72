"""Fields of a JSON line, a message or a Parquet row: makes a document of its id, text, images and metadata."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from kimi_beam.errors import ConfigError
from kimi_beam.ids import id_text
from kimi_beam.input.encodings import is_encoding
from kimi_beam.input.passwords import check_place, read_password
from kimi_beam.input.readers.content import Content, HiddenTextPolicy, PageChoice, ReadOptions
from kimi_beam.schema import jsontext
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Code, Failure
from kimi_beam.wire.size_limits import BEGINNING, MAX_DOCUMENT_BYTES

_WHOLE_EVIDENCE = 1 << 20
"""Bytes up to which unreadable content is put into its dead letter completely."""
ALL_FIELDS = "*"
"""The text field of documents whose text is all of their keys or columns."""
POSITION = "#"
"""The id field of documents whose id is their place in the file, ``PATH#LINE`` or ``PATH#ROW``."""
_SHOWN_KEYS = 12
"""How many keys of a line an error message lists."""


Reader: TypeAlias = "Callable[[bytes, str], Document | Content | str | None]"
"""A user's own reader: makes a document, a `Content` or a text of a file's bytes and its path. It returns None for a
file that is not its own, which is then read as if there were no such reader. It has to be safe to repeat."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How files and messages become documents.

    Attributes:
        id_field: The key of a JSON object, or the column of a table, that holds the id. `POSITION`: the id is the place
            in the file.
        text_field: The key or column that holds the text. All others except ``images`` are metadata. `ALL_FIELDS`: the
            text is all of them, and they are metadata too.
        max_document_bytes: The most uncompressed bytes of a line, a file, or the cells of a row. Reading stops there.
        pages: What the model is shown of each page of a file.
        hidden_text: What becomes of a text that a person would not see: it is left out, kept, or makes its document a
            dead letter.
        encoding: The encoding of texts that are in neither UTF-8 nor UTF-16. None: such a text is a dead letter.
        password_from: Where a worker finds the password of encrypted files: ``env:NAME`` or ``file:PATH``. None: they
            are dead letters.
        skip_unknown: Whether files of unknown kinds are passed over and counted. If not, they are dead letters.
        reader: The user's own reader of whole files (`kimi_beam.input.own_reader`); None if there is none.
        keep_boxes: Whether the place of each character on its page is kept, for grounding.

    Raises:
        ConfigError: A setting is wrong; the message names it.
    """

    id_field: str = "id"
    text_field: str = "text"
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    pages: PageChoice = "auto"
    hidden_text: HiddenTextPolicy = "drop"
    encoding: str | None = None
    password_from: str | None = None
    skip_unknown: bool = False
    reader: Reader | None = None
    keep_boxes: bool = False

    def __post_init__(self) -> None:
        names = (self.id_field, self.text_field)
        if not all(names) or len({*names, "images"}) < 3:
            raise ConfigError(
                f"the id is in {names[0]!r}, the text in {names[1]!r}: name two different keys, neither of them images"
            )
        if self.max_document_bytes < 1:
            raise ConfigError("max_document_bytes must be at least 1")
        for setting, value, allowed in (
            ("pages", self.pages, get_args(PageChoice)),
            ("hidden_text", self.hidden_text, get_args(HiddenTextPolicy)),
        ):
            if value not in allowed:
                raise ConfigError(f"{setting} is {value!r}: it is one of {', '.join(allowed)}")
        if self.encoding is not None and not is_encoding(self.encoding):
            raise ConfigError(f"no encoding has the name {self.encoding!r}: cp1252, shift_jis and iso8859-2 are names")
        if self.password_from is not None:
            check_place(self.password_from)
        if self.reader is not None and not callable(self.reader):
            raise ConfigError("reader is a function of a file's bytes and its path")

    def options(self) -> ReadOptions:
        """What a reader is told, with the password, which is looked up here and now.

        Raises:
            ConfigError: The password cannot be read.
        """
        password = None if self.password_from is None else read_password(self.password_from)
        return ReadOptions(self.pages, self.encoding, password, self.keep_boxes)

    def too_large(self, subject: str, beginning: bytes) -> Failure:
        """The failure of a document that is larger than `max_document_bytes`.

        Args:
            subject: The subject of the message, such as ``the line of 70000000 bytes``.
            beginning: The first bytes of the document.
        """
        bound = self.max_document_bytes
        message = (
            f"{subject} is larger than {bound} bytes, the most that is read of one document (--max-document-bytes)"
        )
        return Failure("read", "too_large", message, raw=b64(beginning[:BEGINNING]))


DEFAULT_READING = Reading()


def failed(document_id: str, path: str, failure: Failure, **attributes: Any) -> Document:
    """A document that could not be read, and carries its failure.

    Args:
        document_id: Its id, or a name made of its place in the file.
        path: Becomes `Document.source`.
        failure: Why it could not be read.
        **attributes: Other attributes of `Document` that are known.
    """
    return Document(document_id, "", source=path, failure=failure, **attributes)


def from_line(
    line: bytes, path: str, *, reading: Reading = DEFAULT_READING, default_id: str | None = None
) -> Document | Failure:
    """Makes a document of a line of JSON, or the failure that says why it is none.

    Args:
        line: The line without its line feed.
        path: Becomes `Document.source`.
        reading: Which keys hold the id and the text.
        default_id: The id of a line that has none. None: a line needs an id.
    """
    try:
        content = jsontext.loads_unique(line)
    except jsontext.RepeatedKeyError as e:
        return Failure("read", "repeated_key", f"{e}: nobody can say which of them counts", raw=b64(line))
    except ValueError as e:
        return unreadable_line(line, f"the line is not JSON: {e}", e)
    if not isinstance(content, dict):
        return Failure("read", "not_json", "the line is JSON, but no object", raw=b64(line))
    return from_fields(content, path, line, reading, default_id=default_id)


def unreadable_line(line: bytes, message: str, reason: ValueError) -> Failure:
    """The failure of a line that is not JSON.

    Args:
        line: The line, which becomes the evidence.
        message: The failure's message.
        reason: The exception of `jsontext.loads`, by which the code is chosen.
    """
    code: Code = "not_utf8" if str(reason).startswith("not UTF-8") else "not_json"
    return Failure("read", code, message, raw=b64(line))


def from_fields(
    content: Mapping[str, Any],
    path: str,
    raw: bytes | None,
    reading: Reading = DEFAULT_READING,
    *,
    default_id: str | None = None,
) -> Document | Failure:
    """Makes a document of the keys of a line or row, or the failure that says why it is none.

    Args:
        content: The keys and their values. Those that are not the id, the text or ``images`` become metadata.
        path: Becomes `Document.source`.
        raw: The line, which becomes the evidence of a failure. None: the keys as JSON.
        reading: Which keys hold the id and the text.
        default_id: The id if `content` has none. None: an id is needed.
    """

    def evidence() -> str:
        return b64(jsontext.dumps_any(content) if raw is None else raw)

    rest = dict(content)
    id_value = None if reading.id_field == POSITION else rest.pop(reading.id_field, None)
    text = rest.pop(reading.text_field, None)
    if reading.text_field == ALL_FIELDS:
        text = _all_as_text({key: value for key, value in content.items() if key not in (reading.id_field, "images")})
    document_id = default_id if id_value is None else id_text(id_value)
    if not document_id:
        return Failure("read", "missing_id", _without_id(content, reading), raw=evidence())
    images = rest.get("images")
    if _are_images(images):
        pictures = tuple(rest.pop("images"))
        if text is None:
            text = ""
    else:
        pictures = ()
        if _holds_a_picture(images):
            # Among the metadata the picture would never be shown to the model.
            message = f"the document's {_wrong_images(images)}"
            return failed(document_id, path, Failure("read", "bad_image", message, raw=evidence()), metadata=rest)
    if isinstance(text, str):
        return Document(document_id, text, pictures, rest, path)
    message, code = _without_text(content, reading), _MISSING_TEXT
    if text is None and (wrong := _wrong_images(images)):
        message = f"{message}, and its {wrong}"
        code = "bad_image" if _are_strings(images) else code
    return failed(document_id, path, Failure("read", code, message, raw=evidence()), metadata=rest)


def _all_as_text(fields: Mapping[str, Any]) -> str:
    """Keys and values as a text that a model reads, each in a line: ``name: value``."""
    return "\n".join(f"{key}: {_as_text(value)}".rstrip() for key, value in fields.items())


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else jsontext.dumps_any(value).decode()


_MISSING_TEXT: Code = "missing_text"


def _is_data_uri(value: Any) -> bool:
    return isinstance(value, str) and value[:5].lower() == "data:"


def _are_images(value: Any) -> bool:
    """Whether the value of ``images`` is a list of data URIs. Any other value is metadata, or a mistake."""
    return isinstance(value, list) and bool(value) and all(map(_is_data_uri, value))


def _holds_a_picture(value: Any) -> bool:
    """Whether a value is a data URI, or a list with at least one."""
    return _is_data_uri(value) or (isinstance(value, list) and any(map(_is_data_uri, value)))


def _are_strings(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _wrong_images(value: Any) -> str:
    """Says what is wrong with a value of ``images`` that is no list of data URIs; empty if there are no images."""
    if value is None or value == []:
        return ""
    wanted = 'a list of data URIs is wanted, such as ["data:image/png;base64,…"]'
    if not isinstance(value, list):
        return f"images are {_a_kind(value)}: {wanted}"
    number, first = next((n, item) for n, item in enumerate(value, 1) if not _is_data_uri(item))
    return f"image {number} is {_a_kind(first)}: {wanted}"


def _a_kind(value: Any) -> str:
    if isinstance(value, str) and "://" in value[:12]:
        return "a URL, and nothing is fetched"
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}")


def _without_id(content: Mapping[str, Any], reading: Reading) -> str:
    field, value = reading.id_field, content.get(reading.id_field)
    if value is None or value == "":
        fault = f"has no {field!r}" if field not in content else f"has an empty {field!r}"
        return f"the document {fault}{_other_keys(content, field, 'id')}"
    return f"the document has an {field!r} that is {_a_kind(value)}, not a string, an integer or a UUID"


def _without_text(content: Mapping[str, Any], reading: Reading) -> str:
    field, value = reading.text_field, content.get(reading.text_field)
    if value is None:
        fault = f"has no {field!r}" if field not in content else f"has a {field!r} that is null"
        return f"the document {fault}{_other_keys(content, field, 'text')}"
    return f"the document has a {field!r} that is {_a_kind(value)}, not a string"


def _other_keys(content: Mapping[str, Any], wanted: str, option: str) -> str:
    """Lists the keys that a document has, because the wanted value may be in one of them. Empty if it has none."""
    others = [key for key in content if key != wanted]
    if not others:
        return ""
    return f"; it has {enumerate_keys(others)} (--{option}-field, {option}_field= names another key)"


def enumerate_keys(keys: list[str]) -> str:
    """Keys in words, for a message: the first of them, and how many more there are."""
    shown = ", ".join(repr(key[:60]) for key in keys[:_SHOWN_KEYS])
    return f"{shown} and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else shown


def b64(content: bytes) -> str:
    """Bytes in base64, as evidence in a dead letter. Only the beginning of more than 1 MiB is kept."""
    return base64.b64encode(content if len(content) <= _WHOLE_EVIDENCE else content[:BEGINNING]).decode()
