"""Reconciliation of a stream: lost and doubled documents are named, in whatever order they came in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.stream.reconciliation import DELIVERIES, NOTHING, Reconciliation, reconcile

READ = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

_names = st.lists(st.integers(0, 30), max_size=40)


def came_in(numbers: list[int]) -> pa.Table:
    rows = [
        {
            "document_id": f"doc-{n}",
            "source": f"in/{n}.txt",
            "event_time": READ,
            "delivery": f"{n:032x}",
            "read_at": READ + timedelta(minutes=n),
        }
        for n in numbers
    ]
    return pa.Table.from_pylist(rows, DELIVERIES)


def deliveries(numbers: Sequence[int | None]) -> pa.ChunkedArray[pa.StringScalar]:
    return pa.chunked_array([[None if n is None else f"{n:032x}" for n in numbers]], pa.string())


def reconciled(came: list[int], rows: list[int], letters: list[int]) -> Reconciliation:
    return reconcile(came_in(came), deliveries(rows), deliveries(letters))


def ids(table: pa.Table) -> list[str]:
    return sorted(map(str, table["document_id"].to_pylist()))


def test_documents_with_one_outcome_each_add_up() -> None:
    found = reconciled([1, 2, 3], [1, 3], [2])
    assert (found.came_in, found.rows, found.dead_letters, found.strangers) == (3, 2, 1, 0)
    assert found.adds_up


def test_lost_and_doubled_documents_are_named() -> None:
    found = reconciled([1, 2, 3, 4, 5], [2, 2, 3, 9], [3, 4, 4])
    assert ids(found.neither) == ["doc-1", "doc-5"]
    assert ids(found.twice) == ["doc-2", "doc-4"]
    assert ids(found.both) == ["doc-3"]
    assert found.strangers == 1
    assert not found.adds_up


def test_a_row_beside_an_earlier_dead_letter_is_listed_but_no_fault() -> None:
    assert reconciled([1], [1], [1]).adds_up


def test_a_row_that_names_no_delivery_is_a_stranger_each_time() -> None:
    assert reconcile(came_in([1]), deliveries([1, None, None]), deliveries([None])).strangers == 3


def test_a_document_that_was_written_down_twice_is_one() -> None:
    assert reconciled([1, 1, 2], [1, 2], []).came_in == 2


def test_documents_that_were_read_a_moment_ago_are_in_flight() -> None:
    found = reconciled([1, 30], [], []).read_until(READ + timedelta(minutes=29))
    assert ids(found.neither) == ["doc-1"]
    assert reconciled([30], [], []).read_until(READ + timedelta(minutes=29)).adds_up


def test_no_documents_add_up_to_nothing() -> None:
    assert reconciled([], [], []) == NOTHING
    assert NOTHING.adds_up


@settings(derandomize=True)
@given(_names, _names, _names)
def test_every_delivery_is_counted_exactly_once(came: list[int], rows: list[int], letters: list[int]) -> None:
    found = reconciled(came, rows, letters)
    left = Counter(rows) + Counter(letters)
    assert found.came_in == len(set(came))
    assert ids(found.neither) == sorted(f"doc-{n}" for n in set(came) - left.keys())
    assert ids(found.twice) == sorted(f"doc-{n}" for n in set(came) if Counter(rows)[n] > 1 or Counter(letters)[n] > 1)
    assert ids(found.both) == sorted(f"doc-{n}" for n in set(came) & set(rows) & set(letters))
    assert found.strangers == sum(count for n, count in left.items() if n not in came)
    assert found.adds_up == (
        set(came) == left.keys()
        and max(Counter(rows).values(), default=1) == 1
        and max(Counter(letters).values(), default=1) == 1
    )


@settings(derandomize=True)
@given(_names, _names, _names)
def test_the_parts_add_up(came: list[int], rows: list[int], letters: list[int]) -> None:
    def half(numbers: list[int], odd: int) -> list[int]:
        return [n for n in numbers if n % 2 == odd]

    whole = reconciled(came, rows, letters)
    parts = [reconciled(half(came, odd), half(rows, odd), half(letters, odd)) for odd in (0, 1)]
    total = parts[0] + parts[1] + NOTHING
    for name in ("came_in", "rows", "dead_letters", "strangers", "adds_up"):
        assert getattr(total, name) == getattr(whole, name)
    for name in ("neither", "twice", "both"):
        assert ids(getattr(total, name)) == ids(getattr(whole, name))
