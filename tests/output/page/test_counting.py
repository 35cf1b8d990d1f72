"""What figures are counted with: exact where it can be, in bounded memory where it cannot, and a fair sample."""

from __future__ import annotations

from collections import Counter
from random import Random
from statistics import median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.output.page.document_sample import DocumentSample
from kimi_beam.output.page.field_figures import field_of, flat
from kimi_beam.output.page.histograms import Histogram
from kimi_beam.output.page.value_counts import ValueCounts

_NUMBERS = st.lists(
    st.one_of(st.integers(-(10**6), 10**6), st.decimals(-999, 9999, places=2).map(float)), min_size=1, max_size=60
)


@given(_NUMBERS)
def test_bars_hold_each_number_once_and_stand_at_round_places(numbers: list[float]) -> None:
    histogram = Histogram()
    for number in numbers:
        histogram.add(number)
    found = histogram.to_json()
    assert found is not None
    bars = found["bars"]
    assert sum(bars["counts"]) + found["below"] + found["above"] == len(numbers) == found["values"]
    assert (found["min"], found["max"]) == (min(numbers), max(numbers))
    assert len(bars["counts"]) <= 22
    near = max(map(abs, numbers)) / 1_000  # numbers count by their first four digits
    assert found["median"] == pytest.approx(median_low(numbers), abs=near)
    if found["below"] == found["above"] == 0:
        assert bars["from"] <= min(numbers) + near
        assert bars["from"] + bars["width"] * len(bars["counts"]) >= max(numbers) - near


def test_whole_numbers_have_bars_of_whole_width() -> None:
    histogram = Histogram()
    for number in (7, 7, 8):
        histogram.add(number)
    found = histogram.to_json()
    assert found is not None
    assert found["bars"] == {"from": 7.0, "width": 1.0, "counts": [2, 1]}


def test_few_far_numbers_do_not_squeeze_all_others_into_one_bar() -> None:
    histogram = Histogram()
    for number in range(1_000):
        histogram.add(number % 100)
    histogram.add(10**9)
    found = histogram.to_json()
    assert found is not None
    assert found["above"] == 1
    assert len([count for count in found["bars"]["counts"] if count]) >= 10


def test_a_histogram_of_a_million_numbers_holds_thousands() -> None:
    histogram, draw = Histogram(), Random(2)
    for _ in range(100_000):
        histogram.add(draw.uniform(100, 999), 10)
    assert histogram.values == 1_000_000
    assert len(histogram._counts) <= 9_000


def test_few_different_values_are_counted_exactly() -> None:
    counts, draw = ValueCounts(), Random(3)
    told = Counter(f"value {int(draw.gammavariate(1, 40))}" for _ in range(5_000))
    for value, times in told.items():
        for _ in range(times):
            counts.add(value)
    found = counts.to_json()
    assert (found["distinct"], found["distinct_is_exact"], found["top_is_exact"]) == (len(told), True, True)
    assert [count for _, count in found["top"]] == [count for _, count in told.most_common(12)]
    assert dict(found["top"]).items() <= told.items()


def test_many_different_values_are_estimated_and_the_frequent_ones_still_found() -> None:
    counts = ValueCounts()
    for number in range(250_000):
        counts.add(f"invoice {number}")
        if number % 5 == 0:
            counts.add("the usual one")
    found = counts.to_json()
    assert not found["distinct_is_exact"]
    assert found["distinct"] == pytest.approx(250_001, rel=0.02)
    assert len(counts._hashes) <= 100_000
    assert len(counts._counts) <= 20_000
    assert found["top"][0][0] == "the usual one"
    assert 40_000 <= found["top"][0][1] <= 50_000


def test_long_values_that_begin_alike_count_as_different() -> None:
    counts = ValueCounts()
    for end in "abc":
        counts.add("x" * 500 + end)
    assert counts.to_json()["distinct"] == 3
    assert len(counts.to_json()["top"][0][0]) == 160


def test_a_sample_has_some_of_each_kind_and_is_the_same_each_time() -> None:
    def drawn() -> list[int]:
        sample = DocumentSample(200)
        for number in range(20_000):
            kinds = [f"rare {number // 5_000}"] if number % 5_000 == 7 else []
            sample.add(f"document {number}", [*kinds, *(["common"] if number % 2 else [])])
        return list(sample.drawn())

    first = drawn()
    assert first == drawn()
    assert len(set(first)) == len(first) == 200
    assert {7, 5_007, 10_007, 15_007} <= set(first)
    odd = sum(number % 2 for number in first)
    assert 80 <= odd <= 140
    by_quarter = Counter(number // 5_000 for number in first)
    assert min(by_quarter.values()) >= 30


def test_a_sample_of_fewer_documents_than_are_wanted_is_all_of_them() -> None:
    sample = DocumentSample(10)
    for number in range(4):
        sample.add(str(number), ("kind",))
    assert sorted(sample.drawn()) == [0, 1, 2, 3]
    assert sample.to_json([0, 1]) == {"documents": 2, "of": 4, "kinds": {"kind": 4}}


def test_no_document_is_drawn_where_none_is_wanted() -> None:
    sample = DocumentSample(0)
    sample.add("a", ("kind",))
    assert sample.drawn() == {}


def test_the_values_in_an_answer_keep_their_order_and_their_place() -> None:
    answer = {"a": {"b": [1, {"c/d": None}]}, "e": [], "f": {}}
    assert list(flat(answer)) == [("/a/b/0", 1), ("/a/b/1/c~1d", None), ("/e", []), ("/f", {})]
    assert list(flat("alone")) == [("", "alone")]
    assert field_of("/items/10/2/name2/3") == "/items/*/*/name2/*"
