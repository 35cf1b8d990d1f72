"""Packing and the bytes that a batch travels as: no document is lost, doubled, altered or overtaken by another."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from both_paths import both_paths
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.errors import ConfigError
from kimi_beam.request import batches
from kimi_beam.request.batches import Item, Spent
from kimi_beam.request.packing import BYTES_PER_TOKEN, Batching, Packer
from kimi_beam.types.answer import Usage
from kimi_beam.types.document import Document, Layout
from kimi_beam.types.earlier_runs import Earlier
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import OpenRequest
from kimi_beam.wire.size_limits import HARD_MAX_BYTES

# ------------------------------------------------------------------------------------------------ packing

_limits = st.builds(
    Batching,
    max_items=st.integers(1, 6),
    max_bytes=st.integers(1, 60),
    max_tokens=st.none() | st.integers(1, 12),
)
_sizes = st.lists(st.integers(0, 80), max_size=40)


def _packed(sizes: Sequence[int], limits: Batching) -> list[list[int]]:
    """The batches of items of these sizes, each item being its number."""
    packer: Packer[int] = Packer(limits)
    closed = [packer.add(number, size) for number, size in enumerate(sizes)]
    return [batch for batch in (*closed, packer.flush()) if batch]


def _fits(sizes: Sequence[int], limits: Batching) -> bool:
    return (
        len(sizes) <= limits.max_items
        and sum(sizes) <= limits.max_bytes
        and (limits.max_tokens is None or sum(sizes) // BYTES_PER_TOKEN <= limits.max_tokens)
    )


@settings(derandomize=True, max_examples=500)
@given(_sizes, _limits)
def test_each_item_is_in_exactly_one_batch_in_the_order_of_arrival(sizes: list[int], limits: Batching) -> None:
    batches = _packed(sizes, limits)
    assert [index for batch in batches for index in batch] == list(range(len(sizes)))
    assert all(batches), "an empty batch would be an empty submit"


@settings(derandomize=True, max_examples=500)
@given(_sizes, _limits)
def test_a_batch_is_within_all_limits_unless_it_is_one_oversize_item_alone(sizes: list[int], limits: Batching) -> None:
    for batch in _packed(sizes, limits):
        assert len(batch) == 1 or _fits([sizes[index] for index in batch], limits)


@settings(derandomize=True, max_examples=500)
@given(_sizes, _limits)
def test_a_batch_is_closed_only_when_the_next_item_does_not_fit(sizes: list[int], limits: Batching) -> None:
    batches = _packed(sizes, limits)
    for batch, following in pairwise(batches):
        assert not _fits([sizes[index] for index in [*batch, following[0]]], limits)


def test_documents_that_come_by_the_hundred_are_packed_as_if_each_came_alone() -> None:
    with both_paths("closed in the middle", "all in one batch") as taken:
        _packed_as_if_each_came_alone(taken)


@settings(derandomize=True, max_examples=500)
@given(st.lists(_sizes, max_size=4), _limits)
def _packed_as_if_each_came_alone(taken: Counter[str], arrivals: list[list[int]], limits: Batching) -> None:
    one_by_one: Packer[tuple[int, int]] = Packer(limits)
    together: Packer[tuple[int, int]] = Packer(limits)
    expected, found = [], []
    for number, sizes in enumerate(arrivals):
        items = [(number, index) for index in range(len(sizes))]
        expected += [batch for item, size in zip(items, sizes, strict=True) if (batch := one_by_one.add(item, size))]
        closed = list(together.extend(items, sizes))
        taken["closed in the middle" if closed else "all in one batch"] += bool(items)
        found += closed
    assert [*found, together.flush()] == [*expected, one_by_one.flush()]


@settings(derandomize=True, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 80), st.integers(1, 9)), max_size=30), _limits)
def test_batches_that_are_packed_again_are_counted_by_their_documents(
    pairs: list[tuple[int, int]], limits: Batching
) -> None:
    packer: Packer[int] = Packer(limits)
    closed = [packer.add(index, size, count) for index, (size, count) in enumerate(pairs)]
    groups = [group for group in [*closed, packer.flush()] if group]
    assert [index for group in groups for index in group] == list(range(len(pairs)))
    for group in groups:
        assert len(group) == 1 or sum(pairs[index][1] for index in group) <= limits.max_items
    assert packer.flush() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_items": 0},
        {"max_bytes": 0},
        {"max_tokens": 0},
        {"max_wait": -1.0},
        {"max_bytes": HARD_MAX_BYTES + 1},
    ],
)
def test_limits_that_no_batch_can_keep_or_that_the_service_loses_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Batching(**wrong)


def test_the_largest_batch_leaves_room_below_the_services_ten_megabytes() -> None:
    assert Batching().max_bytes < HARD_MAX_BYTES < 10_000_000


# ------------------------------------------------------------------------------------------------ as bytes

_exact_decimals = st.sampled_from(
    [Decimal("0.10000000000000000001"), Decimal("1E-400"), Decimal("-3.14159265358979323846")]
)
_json = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**40), 10**40),
        st.floats(allow_nan=False, allow_infinity=False),
        _exact_decimals,
        st.text(),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_failures = st.builds(
    Failure,
    stage=st.sampled_from(["read", "prompt"]),
    code=st.sampled_from(["not_utf8", "not_json", "too_large", "empty_document"]),
    message=st.text(),
    retryable=st.booleans(),
    raw=st.none() | st.text(),
)
_numbers = st.integers(0, 2**40)
_open_requests = st.builds(OpenRequest, st.text(), st.text(), st.text(), _numbers, _numbers, st.integers(0, 2))
_indices = st.lists(st.integers(0, 2**40), max_size=3).map(sorted).map(tuple)
_documents = st.builds(
    Document,
    id=st.text(min_size=1),
    text=st.text(),
    images=st.lists(st.text(max_size=40), max_size=2).map(tuple),
    metadata=st.dictionaries(st.text(), _json, max_size=4),
    source=st.text(),
    failure=st.none() | _failures,
    earlier=st.builds(Earlier, _numbers, _numbers, st.none() | _open_requests),
    layout=st.none() | st.builds(Layout, _indices, _indices, st.none() | st.binary(max_size=9)),
)
_item = st.builds(Item, _documents, st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=16))
_items = st.lists(_item, max_size=4)
NASTY = [
    Document("\0", "\0\u2028\u2029\x85\r\n"),
    Document("👩‍👩‍👧", "e\u0301 vs é, \U0010ffff, \ufeff", images=("data:image/png;base64,AA==",)),
    Document("a", "", metadata={"": {"": [{}, [], "", None]}, "n": [2**64, -(2**63) - 1, 1e-300, -0.0, True, 1]}),
    Document("a", "a failed document", failure=Failure("read", "not_utf8", "at byte 0", raw="/w==")),
]


@settings(derandomize=True, max_examples=200)
@given(_items)
def test_a_document_comes_out_of_a_batch_as_it_went_in(items: list[Item]) -> None:
    documents = batches.decode(batches.encode(items))
    assert documents == [document for document, *_ in items]
    assert repr(documents) == repr([document for document, *_ in items])  # 1, 1.0 and True are equal, but not the same


def test_unusual_documents_come_out_of_a_batch_as_they_went_in() -> None:
    assert repr(batches.decode(batches.encode(Item(d, 1) for d in NASTY))) == repr(NASTY)


@settings(derandomize=True, max_examples=100)
@given(_items)
def test_the_head_tells_sizes_and_ids_without_the_documents(items: list[Item]) -> None:
    blob = batches.encode(items)
    sizes = [size for _, size, _ in items]
    head = batches.head(blob[: 14 + 32 * len(items)])  # version, form, count, length; then 8, 8 and 16 bytes a document
    assert list(head.sizes) == sizes
    assert head.size_bytes == sum(sizes)
    assert list(head.digests) == [batches.digest(document.id) for document, *_ in items]
    assert head.keys == [key for *_, key in items]
    assert head.failed == (not any(sizes))
    assert head.form == 0
    assert head.has_open == any(document.earlier.open is not None for document, *_ in items)


def test_a_digest_is_the_same_in_every_process_and_on_every_machine() -> None:
    assert batches.digest("é") == int.from_bytes(hashlib.blake2b(b"\xc3\xa9", digest_size=8).digest(), "big")


def _named(*ids: str, text: str = "t", size: int = 5) -> bytes:
    return batches.encode(Item(Document(i, text), size) for i in ids)


def test_a_batch_is_named_by_its_ids_and_their_order_alone() -> None:
    name = batches.head(_named("a", "b")).batch_id
    assert batches.head(_named("a", "b", text="other", size=7)).batch_id == name
    others = [_named("b", "a"), _named("a"), _named("ab"), _named("a", "b", "b"), _named("a", "c"), _named()]
    assert len({name, *(batches.head(blob).batch_id for blob in others)}) == 1 + len(others)
    assert len(name) == 16
    assert set(name) <= set("0123456789abcdef")


@settings(derandomize=True, max_examples=100)
@given(st.lists(_items, min_size=1, max_size=3))
def test_merged_batches_keep_all_documents_their_sizes_and_their_order(
    groups: list[list[Item]],
) -> None:
    everything = [item for group in groups for item in group]
    merged = batches.merge([batches.encode(group) for group in groups])
    assert repr(batches.decode(merged)) == repr([document for document, *_ in everything])
    assert list(batches.head(merged).sizes) == [size for _, size, _ in everything]
    assert batches.head(merged).batch_id == batches.head(batches.encode(everything)).batch_id


@settings(derandomize=True, max_examples=100)
@given(st.lists(_item, min_size=2, max_size=5))
def test_two_halves_are_the_whole_and_neither_is_empty(items: list[Item]) -> None:
    whole = batches.encode(items)
    halves = batches.halves(whole)
    counts = [len(batches.decode(half)) for half in halves]
    assert all(counts), "an empty half would be halved for ever"
    assert abs(counts[0] - counts[1]) <= 1
    assert batches.head(batches.merge(list(halves))) == batches.head(whole)
    assert repr(batches.decode(batches.merge(list(halves)))) == repr(batches.decode(whole))


_spent = st.builds(Spent, st.builds(Usage, *(st.integers(0, 2**40) for _ in range(3))), st.integers(0, 100))
_asked_again = st.lists(st.tuples(_documents, st.integers(0, 2**64 - 1), _spent), min_size=2, max_size=5)


def encode_again(again: list[tuple[Document, int, Spent]], form: int) -> bytes:
    return batches.encode([Item(d, size) for d, size, _ in again], form=form, spent=[spent for *_, spent in again])


@settings(derandomize=True, max_examples=100)
@given(_asked_again, st.integers(1, 127))
def test_what_was_spent_on_documents_that_are_asked_for_again_travels_with_them(
    again: list[tuple[Document, int, Spent]], form: int
) -> None:
    blob = encode_again(again, form)
    assert batches.head(blob).form == form
    assert batches.spent(blob) == [spent for *_, spent in again]
    assert repr(batches.decode(blob)) == repr([document for document, *_ in again])
    for parts in (batches.halves(blob), (blob,)):
        assert [spent for part in parts for spent in batches.spent(part)] == batches.spent(blob)
        assert {batches.head(part).form for part in parts} == {form}
    whole = batches.merge(list(batches.halves(blob)))
    assert (batches.head(whole), batches.spent(whole)) == (batches.head(blob), batches.spent(blob))


def test_documents_that_were_never_asked_for_have_spent_nothing() -> None:
    assert batches.spent(_named("a", "b")) == [Spent(Usage(), 0)] * 2


def test_the_same_documents_in_another_form_are_another_job() -> None:
    items = [Item(Document("a", "t"), 5)]
    names = {batches.head(batches.encode(items, form=form)).batch_id for form in range(3)}
    assert len(names) == 3, "answers to the first job would be taken for answers to the second"


def test_the_same_documents_are_the_same_bytes_so_that_a_retried_bundle_changes_nothing() -> None:
    document = Document("a", "t", metadata={"b": 1, "a": [Decimal("0.10000000000000000001")]})
    assert batches.encode([Item(document, 5)]) == batches.encode([Item(document, 5)])


def test_metadata_that_json_has_no_form_for_becomes_its_text_and_stops_nothing() -> None:
    document = Document("a", "t", metadata={"set": {1}, "bytes": b"\xff", "number": {"deep": 1 + 2j}})
    (back,) = batches.decode(batches.encode([Item(document, 1)]))
    assert back.metadata == {"set": "{1}", "bytes": "b'\\xff'", "number": {"deep": "(1+2j)"}}
    assert json.dumps(back.metadata)


def test_repetitive_documents_are_compressed() -> None:
    assert (
        len(batches.encode([Item(Document(str(i), "the same words again and again " * 100), 1) for i in range(50)]))
        < 9_000
    )
