"""The items of a job are matched with documents: none ever gets another's answer, however items are numbered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from exchanges import NOW, json_values
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.results.settle_replies import BatchReplies, replies_of_batch
from kimi_beam.types.answer import Completion
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import Ticket
from kimi_beam.wire.envelopes import HttpReply
from kimi_beam.wire.matching import Matched, match, references, unusual_match
from kimi_beam.wire.protocol import Done, decode_poll
from kimi_beam.wire.usual_reply import UsualItems

REFERENCES = ["a-0", "a-1", "a-2"]
_keys = st.fixed_dictionaries(
    {},
    optional={
        "external_reference": st.sampled_from([*REFERENCES, "b-0", "", None, 5, []]),
        "index": st.sampled_from([0, 1, 2, 3, -1, True, "0", 1.0, None]),
        "id": st.sampled_from([0, 1, 2, 3, -1, "0"]),
        "success": st.sampled_from([True, False, None]),
    },
)


@settings(derandomize=True, max_examples=500)
@given(st.lists(_keys | json_values, max_size=8))
def test_each_request_is_answered_at_most_once_and_every_other_item_is_counted(items: list[Any]) -> None:
    tagged = [{**item, "tag": n} if isinstance(item, dict) else item for n, item in enumerate(items)]
    matched = match(tagged, REFERENCES)
    found = matched.items
    assert len(found) == len(REFERENCES)
    answered = [item for item in found if item is not None]
    assert len({item["tag"] for item in answered}) == len(answered), "one item answers two requests"
    assert len(answered) + matched.surplus == len(items)
    for reference, item in zip(REFERENCES, found, strict=True):
        if item is not None:
            # A stranger's answer must never become a document's.
            assert item.get("external_reference") in (reference, None, "")
        rivals = [i for i in tagged if isinstance(i, dict) and i.get("external_reference") == reference]
        assert item is not None or not rivals
        if item is not None and item.get("success") is False:
            assert all(rival.get("success") is False for rival in rivals)


@settings(derandomize=True, max_examples=200)
@given(st.permutations(range(6)), st.sampled_from(["external_reference", "index", "id"]))
def test_the_order_of_the_items_says_nothing(order: list[int], key: str) -> None:
    names = [f"job-{n}" for n in range(6)]
    items = [{key: names[n] if key == "external_reference" else n, "answer": n} for n in order]
    matched = match(items, names)
    assert [item["answer"] for item in matched.items if item] == list(range(6))
    assert matched.surplus == 0


def test_a_reference_that_is_echoed_within_the_result_counts_more_than_the_number() -> None:
    items = [{"index": 1 - n, "result": {"external_reference": f"b-{n}", "n": n}} for n in range(2)]
    matched = match(items, ["b-0", "b-1"])
    assert matched.items == items
    assert matched.disputed == {0, 1}


def test_a_strangers_item_is_not_taken_by_its_position() -> None:
    assert match([{"external_reference": "other", "index": 0}], REFERENCES) == Matched([None] * 3, 1, is_foreign=True)


def test_of_two_items_for_one_request_the_first_that_succeeded_counts() -> None:
    failed, first, second = (
        {"external_reference": "a", "success": success, "n": n} for n, success in enumerate([False, True, True])
    )
    assert match([failed, first, second], ["a"]) == Matched([first], 2)
    assert match([second, failed, first], ["a"]) == Matched([second], 2)
    assert match([failed, {**failed, "n": 9}], ["a"]) == Matched([failed], 1)


def test_nothing_asked_or_nothing_answered_is_no_trouble() -> None:
    assert match([], []) == Matched([])
    assert match([], ["a"]) == Matched([None])
    assert match([{"index": 0}, None, 5], []).surplus == 3


# ------------------------------------------------------------------------------------------------ without references


def numbered(*numbers: Any, key: str = "index") -> list[dict[str, Any]]:
    return [{key: number, "answer": place} for place, number in enumerate(numbers)]


@pytest.mark.parametrize("key", ["index", "id"])
@pytest.mark.parametrize(
    "numbers",
    [
        (1, 2, 3),
        (3, 1, 2),
        (-1, 0, 1),
        (1, 2),  # from 1 with the last missing, or from 0 with the first
        (0, 1),  # from 0 with the last missing, or from -1 with the first
        (0, 0, 1),
        (0, 1, 2, 2),
        (0, 1, 5),
        ("0", "1", "2"),
        (0, 1, 2.0),
        (0, 1, True),
        (0, 1, 2, "3"),
        (10, 20, 30),
    ],
)
def test_numbers_that_may_not_be_our_count_answer_nothing(numbers: tuple[Any, ...], key: str) -> None:
    matched = match(numbered(*numbers, key=key), REFERENCES)
    assert list(matched.items) == [None] * 3, "a document gets another's answer"
    assert matched.surplus == len(numbers)
    assert "without our references" in matched.unmatched_reason
    assert not matched.is_foreign, "it would be polled until the deadline"


@pytest.mark.parametrize("numbers", [(0, 1, 2), (2, 0, 1), (2, 0), (0, 2), (2, 0, 1, None)])
def test_numbers_that_can_only_be_our_count_are_believed(numbers: tuple[Any, ...]) -> None:
    matched = match(numbered(*numbers), REFERENCES)
    assert matched.unmatched_reason == ""
    for place, item in enumerate(matched.items):
        assert (item["index"] if item else None) == (place if place in numbers else None)


def test_an_item_that_is_sent_twice_does_not_cost_the_others_theirs() -> None:
    matched = match([{"index": 1}, {"index": 0}, {"index": 2}, {"index": 1}], REFERENCES)
    assert None not in matched.items
    assert matched.surplus == 1


def test_references_of_some_confirm_the_numbers_of_the_others() -> None:
    items = [{"external_reference": "a-2", "index": 2}, {"index": 1, "success": False}]
    assert list(match(items, REFERENCES).items) == [None, items[1], items[0]]


@pytest.mark.parametrize(
    "known",
    [
        {"external_reference": "a-2", "index": 3},
        {"external_reference": "a-2", "index": 1},
        {"external_reference": "a-0", "index": 1},
        {"external_reference": "a-0", "index": 0},  # whose number is there twice then
    ],
)
def test_references_of_some_that_contradict_theirs_leave_the_others_alone(known: dict[str, Any]) -> None:
    matched = match([known, {"index": 0}, {"index": 2}], REFERENCES)
    assert [item for item in matched.items if item] == [known]
    assert matched.unmatched_reason


def test_what_cannot_be_told_apart_is_malformed_and_says_why() -> None:
    items = [{"index": n + 1, "result": {"response": f'{{"n": {n}}}'}} for n in range(3)]
    closed = replies_of_batch("a", [Document(str(n), "t") for n in range(3)], items, None, Ticket("r", 1))
    assert closed.surplus == 3
    for reply in closed.replies:
        assert isinstance(reply.result, Failure)
        assert (reply.result.code, reply.result.retryable) == ("malformed_item", True)
        assert "numbered from 1 to 3 where 0 to 2 were asked for" in reply.result.message


# ------------------------------------------------------------------------------------------------ both, and they differ


def test_the_reference_counts_more_than_the_number_but_that_they_differ_is_known() -> None:
    item = {"external_reference": "a-2", "index": 0}
    assert match([item], REFERENCES) == Matched([None, None, item], disputed=frozenset({2}))


@pytest.mark.parametrize("first", [0, 1, -1])
def test_a_count_that_begins_elsewhere_contradicts_no_reference(first: int) -> None:
    items = [{"external_reference": reference, "index": n + first} for n, reference in enumerate(REFERENCES)]
    assert unusual_match(items, REFERENCES) is None
    assert unusual_match(items[::-1], REFERENCES) is None


@pytest.mark.parametrize("numbers", [(1, 2, 0), (2, 1, 0), (0, 2, 1), (0, 1, 3), (1, 2, 4), (1, 1, 2), (9, 9, 9)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("usual", [True, False])
@pytest.mark.parametrize("key", ["index", "id"])
def test_numbers_of_other_requests_are_counted_and_can_be_given_up(
    numbers: tuple[int, ...], order: tuple[int, ...], usual: bool, key: str
) -> None:
    found = reply([(REFERENCES[n], {key: numbers[n]}) for n in order], usual=usual)
    disputed = {n for n in range(3) if numbers[n] != n}
    for on_mismatch in ("keep", "dead-letter"):
        closed = close(found, on_mismatch)
        assert closed.disputed == len(disputed)
        for n, one in enumerate(closed.replies):
            if on_mismatch == "keep" or n not in disputed:
                assert isinstance(one.result, Completion)
                assert one.result.text == f'{{"of": "a-{n}"}}'
            else:
                assert isinstance(one.result, Failure)
                assert (one.result.code, one.result.retryable) == ("malformed_item", True)
                assert one.result.raw == f'{{"of": "a-{n}"}}', "what was paid for is thrown away"


def test_a_usual_reply_whose_numbers_agree_is_still_read_at_once() -> None:
    for numbers in ((0, 1, 2), (None, None, None), ("x", "y", "z")):
        found = reply([(REFERENCES[n], {"index": numbers[n]}) for n in (2, 0, 1)], usual=True)
        assert isinstance(found.items, UsualItems)
        assert found.items.by_column(references("a", 3)) is not None
        assert close(found, "dead-letter").disputed == 0


def reply(items: list[tuple[str, dict[str, Any]]], *, usual: bool) -> Done:
    results = [
        {**number, "success": True, "external_reference": name, "result": result(name)} for name, number in items
    ]
    body = {"result": {"results": results, **({} if usual else {"request_id": "r"})}, "success": True}
    found = decode_poll(HttpReply(200, json.dumps(body).encode()), NOW, "r")
    assert isinstance(found, Done)
    assert isinstance(found.items, UsualItems) == usual
    return found


def result(name: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": f'{{"of": "{name}"}}'}
    return {
        "created": 1_700_000_000,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 7},
    }


def close(done: Done, on_mismatch: Any) -> BatchReplies:
    documents = [Document(str(n), "t") for n in range(3)]
    return replies_of_batch("a", documents, done.items, done.usage, Ticket("r", 1), on_mismatch=on_mismatch)
