"""Arrival: a document keeps its event time, its window and the name of its delivery, which decide its partition."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.beam_extensions.arrival import delivery_name, partition_directory, to_datetime, with_arrival
from kimi_beam.request import batches
from kimi_beam.request.batches import Item
from kimi_beam.request.checks import prepare
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Arrival, Document

NOON = int(datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc).timestamp()) * 1_000_000
HOUR = 3_600_000_000
BEAM_MIN = -9_223_372_036_854_775_000
"""Beam's timestamp of what has no time."""


def test_a_document_keeps_the_time_and_window_that_it_came_with() -> None:
    kept = with_arrival(Document("a", "text"), NOON, (NOON, NOON + HOUR)).arrival
    assert kept is not None
    assert (kept.event_time, kept.window) == (NOON, (NOON, NOON + HOUR))


def test_a_delivery_that_the_source_has_named_keeps_its_name() -> None:
    known = Arrival(NOON - HOUR, (1, 2), "ab" * 16)
    assert with_arrival(Document("a", "text", arrival=known), NOON, (NOON, NOON + HOUR)).arrival == known


@pytest.mark.parametrize("micros", [BEAM_MIN, -BEAM_MIN, 253_402_300_800_000_000])
def test_a_time_that_no_calendar_has_is_none(micros: int) -> None:
    kept = with_arrival(Document("a", "text"), micros, (micros, NOON)).arrival
    assert kept is not None
    assert (kept.event_time, kept.window) == (None, None)


@pytest.mark.parametrize(
    "other",
    [
        with_arrival(Document("b", "text"), NOON, None),
        with_arrival(Document("a", "texts"), NOON, None),
        with_arrival(Document("a", "text", ("data:image/png;base64,",)), NOON, None),
        with_arrival(Document("a", "text", metadata={"page": 1}), NOON, None),
        with_arrival(Document("a", "text", source="in/a.txt"), NOON, None),
        with_arrival(Document("a", "text"), NOON + 1, None),
    ],
)
def test_another_document_is_another_delivery_and_the_same_one_is_not(other: Document) -> None:
    kept = with_arrival(Document("a", "text"), NOON, None)
    assert kept.arrival == with_arrival(Document("a", "text"), NOON, None).arrival
    assert kept.arrival is not None
    assert other.arrival is not None
    assert kept.arrival.delivery != other.arrival.delivery


def test_deliveries_without_a_time_are_named_by_their_content() -> None:
    one, other = (with_arrival(Document("a", text), BEAM_MIN, None).arrival for text in ("one", "other"))
    assert one is not None
    assert other is not None
    assert one.delivery != other.delivery


def test_half_a_surrogate_pair_has_a_name_too() -> None:
    assert with_arrival(Document("a", "\ud800", metadata={"\udc00": object()}), NOON, None).arrival is not None


def test_a_document_of_the_wrong_types_is_kept_for_its_dead_letter() -> None:
    odd = Document(7, None, None, {3: b"x"}, None)  # type: ignore[arg-type, dict-item]
    assert with_arrival(odd, NOON, None).arrival == with_arrival(odd, NOON, None).arrival


@pytest.mark.parametrize("document", [Document("a", ""), Document("a", "\ud800"), Document("", "text")])
def test_a_document_that_cannot_be_sent_keeps_how_it_came_in(document: Document) -> None:
    kept = with_arrival(document, NOON, (NOON, NOON + HOUR))
    refused, size, _ = prepare(kept, Prompt(OutputSchema({"type": "object"}), "Read."))
    assert refused.failure is not None
    assert size == 0
    assert refused.arrival == kept.arrival


@given(st.lists(st.one_of(st.text(), st.integers(), st.none()), max_size=4))
def test_a_name_is_32_digits_of_its_parts_alone(parts: list[str | int | None]) -> None:
    name = delivery_name(*parts)
    assert bytes.fromhex(name) == bytes.fromhex(delivery_name(*parts))
    assert len(name) == 32
    assert name != delivery_name(*parts, "")


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_a_partition_is_the_hour_that_holds_the_time(micros: int) -> None:
    at = to_datetime(micros)
    assert at is not None
    day = f"event_date={at.year:04d}-{at.month:02d}-{at.day:02d}"
    assert partition_directory(Arrival(micros), "day") == day
    assert partition_directory(Arrival(micros), "hour") == f"{day}/event_hour={at.hour:02d}"


def test_documents_without_a_time_are_in_hives_null_partition() -> None:
    null = "__HIVE_DEFAULT_PARTITION__"
    assert (
        partition_directory(None, "hour")
        == partition_directory(Arrival(), "hour")
        == f"event_date={null}/event_hour={null}"
    )
    assert partition_directory(None, "day") == f"event_date={null}"


@pytest.mark.parametrize("arrival", [None, Arrival(), Arrival(NOON, (NOON, NOON + HOUR), "00" * 16)])
def test_a_batch_carries_how_its_documents_came_in(arrival: Arrival | None) -> None:
    document = Document("a", "text", arrival=arrival)
    assert batches.decode(batches.encode([Item(document, 4)])) == [document]
