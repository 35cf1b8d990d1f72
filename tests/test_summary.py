"""The summary: parts of a run add up to the run, in whatever order and grouping a runner adds them."""

from __future__ import annotations

import json
import pickle
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.pricing import Price
from kimi_beam.summary import COUNTERS, Summary, to_json
from kimi_beam.types import Code, Usage

K2_6 = "@cf/moonshotai/kimi-k2.6"
_counts = st.integers(0, 10**12)
_summaries = st.builds(
    Summary,
    extractions=_counts,
    dead_letters=st.dictionaries(st.sampled_from(get_args(Code)), _counts, max_size=4),
    usage=st.builds(Usage, _counts, _counts, _counts),
)


@settings(derandomize=True)
@given(_summaries, _summaries, _summaries)
def test_it_does_not_matter_in_which_groups_the_parts_are_added(a: Summary, b: Summary, c: Summary) -> None:
    assert (a + b) + c == a + (b + c)


@settings(derandomize=True)
@given(_summaries, _summaries)
def test_it_does_not_matter_in_which_order_the_parts_are_added(a: Summary, b: Summary) -> None:
    assert a + b == b + a
    assert to_json(a + b, model="m", schema_hash="h") == to_json(b + a, model="m", schema_hash="h")


@settings(derandomize=True)
@given(_summaries)
def test_an_empty_part_changes_nothing(summary: Summary) -> None:
    assert summary + Summary() == Summary() + summary == summary


@settings(derandomize=True)
@given(_summaries, _summaries)
def test_adding_changes_neither_part_and_loses_no_document_or_token(a: Summary, b: Summary) -> None:
    before = pickle.dumps((a, b))
    total = a + b
    assert pickle.dumps((a, b)) == before
    assert total.documents == a.documents + b.documents == total.extractions + total.failed
    assert total.usage == a.usage + b.usage
    assert set(total.dead_letters) == {*a.dead_letters, *b.dead_letters}


def test_the_file_says_everything_that_users_and_scripts_read() -> None:
    summary = Summary(2, {"truncated": 1, "deadline": 3}, Usage(1_000, 400, 50))
    content = json.loads(to_json(summary, model=K2_6, schema_hash="abc", measured={"submits": 4, "wall_s": 1.5}))
    assert content == {
        "documents": 6,
        "extractions": 2,
        "dead_letters": {"truncated": 1, "deadline": 3},
        "usage": {"prompt_tokens": 1_000, "cached_tokens": 400, "completion_tokens": 50},
        "cost_usd": 0.000834,  # 600 at 0.95, 400 at 0.16 and 50 at 4, in millionths
        "cache_saved_usd": 0.000316,  # 400 at 0.79
        "model": K2_6,
        "schema_hash": "abc",
        "batches": None,
        "submits": 4,
        "event_pulls": None,
        "polls": None,
        "requests": None,
        "unknown_submits": None,
        "resubmits": None,
        "wall_s": 1.5,
        "journal": None,
        "run": None,
    }


def test_what_was_not_measured_is_null_and_what_is_not_asked_for_is_left_out() -> None:
    content = json.loads(to_json(Summary(), model="unknown", schema_hash="h", measured={"other": 1}))
    assert {name: content[name] for name in (*COUNTERS, "wall_s", "cost_usd", "cache_saved_usd")} == dict.fromkeys(
        (*COUNTERS, "wall_s", "cost_usd", "cache_saved_usd")
    )
    assert "other" not in content
    assert content["dead_letters"] == {}


@pytest.mark.parametrize("summary", [Summary(), Summary(1, {"refusal": 1})])
def test_the_file_ends_with_a_line_feed(summary: Summary) -> None:
    assert to_json(summary, model="m", schema_hash="h").endswith(b"}\n")


def test_the_users_own_price_counts_where_the_models_is_unknown() -> None:
    summary = Summary(1, {}, Usage(1_000_000, 500_000, 1_000_000))
    content = json.loads(to_json(summary, model="own", schema_hash="h", price=Price(1.0, 0.5, 2.0)))
    assert (content["cost_usd"], content["cache_saved_usd"]) == (2.75, 0.25)
