"""The summary: parts of a run add up to the run, in whatever order and grouping a runner adds them."""

from __future__ import annotations

import json
import pickle
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.report.summary import COUNTERS, Summary, to_json
from kimi_beam.service.prices import Price
from kimi_beam.types.answer import Usage
from kimi_beam.types.failure import Code

K2_6 = "@cf/moonshotai/kimi-k2.6"
_counts = st.integers(0, 10**12)
_summaries = st.builds(
    Summary,
    extractions=_counts,
    dead_letters=st.dictionaries(st.sampled_from(get_args(Code)), _counts, max_size=4),
    usage=st.builds(Usage, _counts, _counts, _counts),
    answered_by=st.dictionaries(st.sampled_from(["", K2_6, f"{K2_6} (emulator)"]), _counts, max_size=3),
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
    answered_by = {K2_6: 1, "": 1}
    summary = Summary(2, {"truncated": 1, "deadline": 3}, Usage(1_000, 400, 50), answered_by=answered_by)
    content = json.loads(to_json(summary, model=K2_6, schema_hash="abc"))
    assert content == {
        "documents": 6,
        "extractions": 2,
        "dead_letters": {"truncated": 1, "deadline": 3},
        "usage": {"prompt_tokens": 1_000, "cached_tokens": 400, "completion_tokens": 50},
        "cost_usd": 0.000834,  # 600 at 0.95, 400 at 0.16 and 50 at 4, in millionths
        "cache_saved_usd": 0.000316,  # 400 at 0.79
        "emulated": False,
        "would_have_cost_usd": None,
        "model": K2_6,
        "model_answered": {K2_6: 1, "not stated": 1},
        "schema_hash": "abc",
        "pictures": None,
        "pictures_sent": None,
        "batches": None,
        "submits": None,
        "event_pulls": None,
        "polls": None,
        "requests": None,
        **dict.fromkeys(("account_trouble", "adopted", "delays", "fallbacks", "nulls_as_absent", "recalled")),
        **dict.fromkeys(("splits", "surplus_items", "batch_size", "queue_seconds", "answer_tokens")),
        "unknown_submits": None,
        "resubmits": None,
        "documents_maybe_paid_twice": None,
        "mismatched_items": None,
        "parts": None,
        "repairs": None,
        "free_repairs": None,
        "rows_with_unnamed_keys": None,
        "skipped_files": None,
        "skipped_names": None,
        "wall_s": None,
        "journal": None,
        "run": None,
    }


def test_what_the_pipeline_does_not_know_is_null() -> None:
    content = json.loads(to_json(Summary(), model="unknown", schema_hash="h"))
    assert {name: content[name] for name in (*COUNTERS, "wall_s", "cost_usd", "cache_saved_usd")} == dict.fromkeys(
        (*COUNTERS, "wall_s", "cost_usd", "cache_saved_usd")
    )
    assert content["dead_letters"] == {}


@pytest.mark.parametrize("summary", [Summary(), Summary(1, {"refusal": 1})])
def test_the_file_ends_with_a_line_feed(summary: Summary) -> None:
    assert to_json(summary, model="m", schema_hash="h").endswith(b"}\n")


def test_the_users_own_price_counts_where_the_models_is_unknown() -> None:
    summary = Summary(1, {}, Usage(1_000_000, 500_000, 1_000_000))
    content = json.loads(to_json(summary, model="own", schema_hash="h", price=Price(1.0, 0.5, 2.0)))
    assert (content["cost_usd"], content["cache_saved_usd"]) == (2.75, 0.25)


@pytest.mark.parametrize("name", [f"{K2_6} (emulator: rule-based, not Kimi)", "own (emulator)"])
def test_what_the_emulator_answered_is_never_a_cost(name: str) -> None:
    summary = Summary(2, {}, Usage(1_000, 400, 50), answered_by={name: 2})
    content = json.loads(to_json(summary, model=K2_6, schema_hash="h"))
    assert content["emulated"] is True
    assert (content["cost_usd"], content["cache_saved_usd"], content["would_have_cost_usd"]) == (0, 0, 0.000834)
    assert content["model_answered"] == {name: 2}
    alone = json.loads(
        to_json(Summary(0, {"truncated": 2}, Usage(1_000, 400, 50)), model=K2_6, schema_hash="h", emulated=True)
    )
    assert (alone["emulated"], alone["cost_usd"]) == (True, 0), "no row, yet it is known who answered"


@pytest.mark.parametrize("name", ["", "m", "emulator", "(emulator) m", "x (emulators) y"])
def test_other_names_are_other_models(name: str) -> None:
    content = json.loads(to_json(Summary(1, {}, Usage(), answered_by={name: 1}), model=K2_6, schema_hash="h"))
    assert content["emulated"] is False


def test_a_service_that_names_another_model_each_time_does_not_fill_the_summary() -> None:
    many = {f"m{number}": 1 for number in range(500)} | {"usual": 9}
    content = json.loads(to_json(Summary(509, {}, Usage(), answered_by=many), model="m", schema_hash="h"))
    assert next(iter(content["model_answered"].items())) == ("usual", 9)
    assert len(content["model_answered"]) == 51
    assert sum(content["model_answered"].values()) == 509
