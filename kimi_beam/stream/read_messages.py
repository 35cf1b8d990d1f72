"""Makes documents of messages of Kafka and Pub/Sub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from kimi_beam.beam_extensions.arrival import delivery_name
from kimi_beam.errors import ConfigError
from kimi_beam.input.encodings import NotTextError, text_of
from kimi_beam.input.fields import Reading, b64, failed, from_line
from kimi_beam.types.document import Arrival, Document
from kimi_beam.types.failure import Code, Failure


@dataclass(frozen=True)
class MessageFormat:
    """How the value of a message is read.

    Attributes:
        kind: ``text``: the value is the document's text, and the message's id is the document's. ``json``: the value is
            an object with an id and ``text`` (or ``images``), like a line of a ``.jsonl``.
        id_field: The key of a ``json`` value that holds the id. A value without it gets the message's id. None: ``id``.
        text_field: The key of a ``json`` value that holds the text. None: ``text``.

    Raises:
        ConfigError: There is no such kind, or fields are named for the kind ``text``.
    """

    kind: Literal["text", "json"] = "text"
    id_field: str | None = None
    text_field: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("text", "json"):
            raise ConfigError(f"a message is text or json, not {self.kind!r}")
        if self.kind == "text" and (self.id_field is not None or self.text_field is not None):
            raise ConfigError(
                "a message that is text has no fields: leave the id field out (and the text field), or say json"
            )
        _ = self.reading

    @property
    def reading(self) -> Reading:
        """The keys of a ``json`` value that hold the id and the text."""
        return Reading(self.id_field or "id", self.text_field or "text")


def from_kafka(record: Any, message: MessageFormat) -> Document:
    """Makes a document of a record of ``ReadFromKafka(with_metadata=True)``.

    The document's id is the record's key, or ``TOPIC/PARTITION@OFFSET``. Its event time is the record's timestamp, and
    its metadata the record's headers.
    """
    place = f"{record.topic}/{record.partition}@{record.offset}"
    key = _text(record.key) if record.key else None
    headers = {header.key: header.value and _text(header.value) for header in record.headers or ()}
    event_time = int(record.timestamp) * 1_000 if record.timestamp >= 0 else None
    arrival = Arrival(event_time, delivery=delivery_name("kafka", place))
    return _document(record.value, message, key or place, f"kafka:{place}", headers, arrival)


def from_pubsub(received: Any, message: MessageFormat) -> Document:
    """Makes a document of a `PubsubMessage` that was read with its attributes.

    The document's id is the message's, and its metadata the attributes. Its event time is that of the Beam element:
    the time of publishing, or the ``timestamp_attribute`` of ``ReadFromPubSub``.
    """
    key = received.message_id or None
    arrival = Arrival(delivery=delivery_name("pubsub", key)) if key else None
    return _document(
        received.data, message, key, f"pubsub:{key}" if key else "pubsub", received.attributes or {}, arrival
    )


def _document(
    value: bytes | None,
    message: MessageFormat,
    key: str | None,
    source: str,
    metadata: Mapping[str, Any],
    arrival: Arrival | None,
) -> Document:
    attributes: dict[str, Any] = {"metadata": dict(metadata), "arrival": arrival}
    if value is None:
        failure = Failure("read", "missing_text", "the message has no value")
        return failed(key or source, source, failure, **attributes)
    if message.kind == "json":
        document = from_line(value, source, reading=message.reading, default_id=key)
        if isinstance(document, Failure):
            return failed(key or source, source, document, **attributes)
        return replace(document, metadata={**metadata, **document.metadata}, arrival=arrival)
    try:
        text = text_of(value)
    except NotTextError as e:
        code: Code = "not_text" if e.is_other_kind else "not_utf8"
        return failed(key or source, source, Failure("read", code, f"the message {e}", raw=b64(value)), **attributes)
    if not key:
        return failed(source, source, Failure("read", "missing_id", "the message has no id"), **attributes)
    return Document(key, text, metadata=dict(metadata), source=source, arrival=arrival)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
