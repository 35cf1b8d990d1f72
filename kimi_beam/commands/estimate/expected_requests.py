"""What will be asked for a document, and about how many tokens that takes."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import orjson

from kimi_beam.input.kinds import kind_by_name
from kimi_beam.input.picture_headers import picture_header
from kimi_beam.journal.files import Journal
from kimi_beam.journal.index import ANSWER, INTENT, TICKET
from kimi_beam.journal.recorder import Keys
from kimi_beam.request import part_message
from kimi_beam.request.batches import IN_PARTS
from kimi_beam.request.checks import prepare
from kimi_beam.request.context_window import PICTURE_TOKENS
from kimi_beam.request.document_bytes import fenced
from kimi_beam.request.likely_answer import likely_answer
from kimi_beam.request.splitting import split
from kimi_beam.request.token_counts import likely_tokens, tokens_of_picture
from kimi_beam.results.shown_rows import tables
from kimi_beam.schema import jsontext
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.types.answer import Usage
from kimi_beam.types.document import Document

_MARKS = 12
"""Tokens that the chat template puts around the messages of a request [assumed]."""
_ROWS = 2
"""Items of a list where the text shows no table, or each picture may show one [assumed]."""
_HEADER_BYTES = 64 << 10
"""Bytes of a picture that hold the header with its size."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What will be asked for a document.

    Attributes:
        state: What becomes of it: ``new``, ``recalled`` (the journal has its answer), ``in_flight``
            (the journal has its ticket, so that its answer is only fetched), or the code of the dead letter that it
            becomes before anything is sent.
        requests: How many requests it takes: one, or one for each of its parts; 0 if none are sent.
        size: The bytes of its requests.
        constant: Tokens of instructions and schema in all of its requests.
        words: Tokens of what the model is shown of it, without pictures.
        pictures: Tokens of its pictures.
        most_for_pictures: The most that its pictures may take.
        answer: Tokens of its answers, without thinking.
        usage: What the journal says that its request took; None if the journal does not know it as one request.
        kind: The kind of its file, by its usual suffix without the dot; empty if its name does not say it.
    """

    state: str
    requests: int = 0
    size: int = 0
    constant: float = 0.0
    words: float = 0.0
    pictures: float = 0.0
    most_for_pictures: float = 0.0
    answer: float = 0.0
    usage: Usage | None = None
    kind: str = ""


class Expecting:
    """Says what will be asked for documents.

    Args:
        settings: The settings of the run.
        journal: The journal of the run. None: there is none, or it is empty.
    """

    def __init__(self, settings: ExtractSettings, journal: Journal | None) -> None:
        self._prompt, self._redactor, self._journal = settings.prompt, settings.redactor, journal
        self._keys = Keys(settings.prompt, settings.service)
        self._schema = settings.schema.response_format["json_schema"]["schema"]

    @cached_property
    def constant(self) -> float:
        """Tokens of a request without its document."""
        return _constant(self._prompt.request(_EMPTY))

    @cached_property
    def _constant_of_part(self) -> float:
        return _constant(self._prompt.for_parts.request(_EMPTY))

    def redacted(self, document: Document) -> Document:
        """The document as it would be sent."""
        return document if self._redactor is None else self._redactor.redact(document)

    def expect(self, document: Document) -> Expected:
        """What will be asked for a document.

        Args:
            document: The document as it was read.
        """
        kind = kind_by_name(document.id.partition("#")[0]) or kind_by_name(document.source)
        return replace(self._expected(document), kind="" if kind is None else kind.suffix.removeprefix("."))

    def _expected(self, document: Document) -> Expected:
        item = prepare(self.redacted(document), self._prompt, self._keys.of_shown)
        document = item.document
        if document.failure is not None:
            return Expected(document.failure.code)
        if item.key != IN_PARTS:
            return self._of_one(document, item.size, item.key)
        limits = self._prompt.split_rule.limits(document.text, item.size, document.picture_count)
        parts = split(document, limits or self._prompt.split_rule.widest)
        each = [self._of_part(part) for part in parts]
        new = [one for one in each if one.state == "new"]
        if not new:
            return Expected("recalled" if all(one.state == "recalled" for one in each) else "in_flight")
        total = new[0]
        for one in new[1:]:
            total = _added(total, one)
        return replace(total, usage=None)

    def _of_part(self, part: Document) -> Expected:
        shown = self._prompt.for_parts.shown(part)
        return self._of_one(part, self._prompt.for_parts.overhead + shown.size, self._keys.for_parts.of_shown(shown))

    def _of_one(self, document: Document, size: int, key: bytes) -> Expected:
        state, usage = self._known(key)
        words = fenced(document.text) if document.part is None else part_message.words(document)[0]
        seen = {key: document.metadata[key] for key in self._prompt.metadata_keys if key in document.metadata}
        if seen:
            words += fenced(jsontext.dumps_any(seen).decode(), "metadata")
        pictures = [_picture(uri) for uri in document.images]
        return Expected(
            state,
            1,
            size,
            self.constant if document.part is None else self._constant_of_part,
            likely_tokens(words) + likely_tokens(self._prompt.correction(document)),
            sum(pictures),
            PICTURE_TOKENS * len(pictures),
            min(likely_answer(self._schema, _rows(document)), self._prompt.answer_limit),
            usage,
        )

    def _known(self, key: bytes) -> tuple[str, Usage | None]:
        if self._journal is None:
            return "new", None
        (entry,) = self._journal.look_up([key])
        if entry is None or entry.state == INTENT or entry.state not in (ANSWER, TICKET):
            return "new", None
        if entry.state == TICKET:
            return "in_flight", None
        return "recalled", self._journal.answer(entry).usage


def messages_of(request: bytes) -> list[Mapping[str, Any]]:
    """The messages of a request, without the content of its pictures.

    Args:
        request: The request as JSON.
    """
    shown = list[Mapping[str, Any]]()
    for message in orjson.loads(request)["messages"]:
        content = message["content"]
        shown.append({**message, "content": content if isinstance(content, str) else list(map(_shown, content))})
    return shown


def _shown(piece: Mapping[str, Any]) -> Mapping[str, Any]:
    if piece.get("type") != "image_url":
        return piece
    head, _, content = str(piece["image_url"]["url"]).partition(",")
    return {"type": "image_url", "image_url": {"url": f"{head},… ({len(content) * 3 // 4} bytes)"}}


_EMPTY = Document("", "")


def _constant(request: bytes) -> float:
    content = orjson.loads(request)
    tools = jsontext.dumps_any(content["tools"]).decode() if content.get("tools") else ""
    texts = [message["content"] for message in content["messages"] if message["role"] == "system"]
    return _MARKS + likely_tokens(tools) + sum(map(likely_tokens, texts))


def _added(some: Expected, other: Expected) -> Expected:
    return Expected(
        some.state,
        some.requests + other.requests,
        some.size + other.size,
        some.constant + other.constant,
        some.words + other.words,
        some.pictures + other.pictures,
        some.most_for_pictures + other.most_for_pictures,
        some.answer + other.answer,
    )


def _rows(document: Document) -> int:
    """About the items that a list of objects has in an answer: the rows of the longest table that the text shows."""
    longest = max((len(table.rows) for table in tables(document.text)), default=0)
    return longest or _ROWS * max(1, len(document.images))


def _picture(uri: str) -> float:
    """About the tokens of a picture, by its size; the most that one takes if that is not known."""
    encoded = uri.partition(",")[2][: _HEADER_BYTES // 3 * 4]
    try:
        header = picture_header(base64.b64decode(encoded[: len(encoded) // 4 * 4]))
    except (ValueError, struct.error, IndexError):
        header = None
    return PICTURE_TOKENS if header is None else tokens_of_picture(header.width, header.height)
