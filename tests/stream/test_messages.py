"""Messages: a record of Kafka or a message of Pub/Sub becomes a document with an id, a time and a delivery."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.errors import ConfigError
from kimi_beam.stream.read_messages import MessageFormat, from_kafka, from_pubsub
from kimi_beam.types.document import Arrival, Document

TEXT, JSON = MessageFormat(), MessageFormat("json")


class Header(NamedTuple):
    key: str
    value: bytes | None


class Record(NamedTuple):
    """The fields that Beam's `ByteArrayKafkaRecord` has."""

    value: bytes | None
    key: bytes | None = b"order-7"
    topic: str = "receipts"
    partition: int = 3
    offset: int = 41
    timestamp: int = 1_772_366_400_123
    headers: list[Header] | None = None


def failure(document: Document) -> tuple[str, str]:
    assert document.failure is not None
    return document.id, document.failure.code


def test_a_record_gives_text_id_and_event_time() -> None:
    document = from_kafka(Record("TOTAL: 1 €".encode(), headers=[Header("shop", b"A")]), TEXT)
    assert (document.id, document.text, document.metadata) == ("order-7", "TOTAL: 1 €", {"shop": "A"})
    assert document.source == "kafka:receipts/3@41"
    assert document.arrival is not None
    assert document.arrival.event_time == 1_772_366_400_123_000


def test_a_delivery_of_kafka_is_named_by_topic_partition_and_offset_alone() -> None:
    def delivery(**changes: Any) -> str:
        arrival = from_kafka(Record(b"x")._replace(**changes), TEXT).arrival
        assert arrival is not None
        return arrival.delivery

    assert delivery() == delivery(value=b"y", key=None)
    assert len({delivery(), delivery(offset=42), delivery(partition=4), delivery(topic="bills")}) == 4


@pytest.mark.parametrize("key", [None, b""])
def test_a_record_without_a_key_has_its_offset_for_an_id(key: bytes | None) -> None:
    assert from_kafka(Record(b"x", key), TEXT).id == "receipts/3@41"


def test_a_record_may_lack_a_time_and_a_header_its_value() -> None:
    document = from_kafka(Record(b"x", timestamp=-1, headers=[Header("shop", None)]), TEXT)
    assert document.metadata == {"shop": None}
    assert document.arrival is not None
    assert document.arrival.event_time is None


def test_a_key_that_is_no_text_is_spelt_out() -> None:
    assert from_kafka(Record(b"x", b"\xff\x00"), TEXT).id == "\\xff\x00"


def test_a_json_value_is_read_as_a_line_is() -> None:
    value = b'{"id": "a", "text": "x", "page": 3, "n": 12345678901234567890123}'
    document = from_kafka(Record(value, headers=[Header("page", b"9"), Header("shop", b"A")]), JSON)
    assert (document.id, document.text) == ("a", "x")
    assert document.metadata == {"page": 3, "n": 12345678901234567890123, "shop": "A"}


def test_the_id_of_a_json_value_stands_where_one_says() -> None:
    value = b'{"id": "a", "order": 12, "text": "x"}'
    document = from_kafka(Record(value), MessageFormat("json", "order"))
    assert (document.id, document.metadata) == ("12", {"id": "a"})
    assert from_kafka(Record(b'{"text": "x"}'), MessageFormat("json", "order")).id == "order-7"


@pytest.mark.parametrize(
    ("value", "message", "expected"),
    [
        (None, TEXT, ("order-7", "missing_text")),
        (None, JSON, ("order-7", "missing_text")),
        (b"\xff", TEXT, ("order-7", "not_utf8")),
        (b"\xff", JSON, ("order-7", "not_utf8")),
        (b"{", JSON, ("order-7", "not_json")),
        (b"[]", JSON, ("order-7", "not_json")),
        (b'{"id": "a"}', JSON, ("a", "missing_text")),
        (b'{"id": [], "text": "x"}', JSON, ("order-7", "missing_id")),
    ],
)
def test_a_message_that_is_no_document_carries_its_failure(
    value: bytes | None, message: MessageFormat, expected: tuple[str, str]
) -> None:
    document = from_kafka(Record(value, headers=[Header("shop", b"A")]), message)
    assert failure(document) == expected
    assert document.metadata["shop"] == "A"
    assert document.arrival == from_kafka(Record(b"x"), TEXT).arrival
    if document.failure and document.failure.raw:
        assert base64.b64decode(document.failure.raw) == value


def test_a_message_of_pubsub_is_its_data_by_its_id() -> None:
    document = from_pubsub(PubsubMessage(b"x", {"shop": "A"}, "77"), TEXT)
    assert (document.id, document.text, document.metadata) == ("77", "x", {"shop": "A"})
    assert document.source == "pubsub:77"
    again, other = (from_pubsub(PubsubMessage(b"y", {}, i), TEXT).arrival for i in ("77", "78"))
    assert document.arrival == again != other
    assert isinstance(document.arrival, Arrival)
    assert document.arrival.event_time is None, "the element's own time says when it was published"


def test_a_message_of_pubsub_without_an_id_says_so() -> None:
    assert failure(from_pubsub(PubsubMessage(b"x", None), TEXT)) == ("pubsub", "missing_id")
    assert from_pubsub(PubsubMessage(b'{"id": "a", "text": "x"}', None), JSON).id == "a"


@given(st.binary(max_size=60), st.sampled_from([TEXT, JSON]))
def test_any_message_becomes_exactly_one_document(value: bytes, message: MessageFormat) -> None:
    document = from_kafka(Record(value), message)
    assert document.id
    assert (document.failure is None) or document.failure.stage == "read"


def test_formats_that_say_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="text or json, not 'avro'"):
        MessageFormat("avro")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a message that is text has no fields"):
        MessageFormat("text", "order")
