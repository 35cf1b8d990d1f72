"""The fast path for a finished job's reply gives the same results as the careful one."""

from __future__ import annotations

import contextlib
import copy
import json
from collections import Counter
from typing import Any

import pytest
from both_paths import both_paths, crossed
from exchanges import NOW
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.results.settle_replies import replies_of_batch
from kimi_beam.types.answer import Completion
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import Ticket
from kimi_beam.wire.envelopes import HttpReply
from kimi_beam.wire.matching import references
from kimi_beam.wire.protocol import Done, decode_poll
from kimi_beam.wire.usual_reply import UsualItems, usual_reply

DOCUMENTS = [Document("0", "t"), crossed(Document("1", "t")), Document("2", "t", (), {"page": 2})]
TICKET = Ticket("r", 1)


def item(number: int) -> dict[str, Any]:
    details = {"cached_tokens": 10 * number}
    usage = {"prompt_tokens": 20 + number, "completion_tokens": 7, "prompt_tokens_details": details}
    message = {"role": "assistant", "content": f'{{"a": {number}}}', "tool_calls": [], "refusal": None}  # type: ignore[var-annotated]
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    result = {"created": 1_700_000_000, "model": "m", "choices": [choice], "usage": usage}
    return {"index": number, "success": True, "external_reference": f"b-{number}", "result": result}


def envelope(items: list[Any]) -> dict[str, Any]:
    return {"result": {"results": items}, "success": True, "errors": [], "messages": []}


def read(body: bytes, status: int = 200) -> Any:
    return decode_poll(HttpReply(status, body), NOW)


def read_with_care(body: bytes, status: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as m:
        m.setattr("kimi_beam.wire.protocol.usual_reply", lambda reply: None)
        return read(body, status)


_GONE = object()
_ODD: list[Any] = [
    *(_GONE, None, True, False, 0, -1, 5, 1 << 40, 1 << 70, 1.5, 7.0, "", " ", "7", "stop", "length", [], [1], {}),
    *({"cached_tokens": 3}, {"cached_tokens": 900}, {"cached_tokens": None}, "b-0", "b-1", "\ud800"),
    *("queued", "done", "error", {"prompt_tokens": 100, "completion_tokens": 50}, {"a": 1}),
    [{"function": {"name": "f", "arguments": "{}"}}],
]
_PLACES: list[tuple[Any, ...]] = [
    *(("success",), ("errors",), ("result",), ("result", "status"), ("result", "usage"), ("result", "results")),
    *(("result", "responses"), ("result", "results", 2)),
    *(
        ("result", "results", 1, *path)
        for path in [
            *(("success",), ("external_reference",), ("result",), ("result", "choices"), ("result", "usage")),
            *(("result", "created"), ("result", "model"), ("result", "errors"), ("result", "response")),
            *(("result", "choices", 0), ("result", "choices", 0, "message"), ("result", "choices", 0, "finish_reason")),
            *(("result", "choices", 0, "message", name) for name in ("content", "tool_calls", "refusal")),
            *(("result", "usage", name) for name in ("prompt_tokens", "completion_tokens", "prompt_tokens_details")),
        ]
    ),
]


def changed(reply: Any, path: tuple[Any, ...], value: Any) -> None:
    at = reply
    with contextlib.suppress(KeyError, IndexError, TypeError):  # an earlier change has taken the place away
        for step in path[:-1]:
            at = at[step]
        if value is _GONE:
            del at[path[-1]]
        else:
            at[path[-1]] = copy.deepcopy(value)  # which the next change may reach into


def compare(reply: Any, status: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Compares the two ways of reading, and returns which one is used."""
    body = json.dumps(reply).encode()
    expected, found = read_with_care(body, status, monkeypatch), read(body, status)
    assert type(found) is type(expected)
    if not isinstance(found, Done):
        assert found == expected
        return "no finished job"
    assert found.usage == expected.usage
    assert list(found.items) == expected.items, "who looks at the items sees others"
    mine, theirs = (replies_of_batch("b", DOCUMENTS, one.items, one.usage, TICKET) for one in (found, expected))
    assert mine[1] == theirs[1]
    assert list(mine[0]) == list(theirs[0])
    if not isinstance(found.items, UsualItems):
        return "with care"
    return "at once" if found.items.by_column(references("b", len(DOCUMENTS))) is not None else "at once, matched"


@pytest.mark.parametrize("path", _PLACES, ids=lambda path: ".".join(map(str, path)))
def test_a_job_with_any_odd_value_is_read_at_once_as_with_care(
    path: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in _ODD:
        reply = envelope([item(number) for number in (2, 0, 1)])
        changed(reply, path, value)
        compare(reply, 200, monkeypatch)


def test_a_job_with_several_odd_values_is_read_at_once_as_with_care() -> None:
    with both_paths("at once", "at once, matched", "with care", "no finished job", at_least=10) as taken:
        _a_job_with_several_odd_values(taken)


@settings(derandomize=True, max_examples=1_000)
@given(
    st.lists(st.tuples(st.sampled_from(_PLACES), st.sampled_from(_ODD)), max_size=3),
    st.permutations(range(3)),
    st.sampled_from([200, 200, 200, 201, 400, 500]),
)
def _a_job_with_several_odd_values(taken: Counter[str], changes: list[Any], order: list[int], status: int) -> None:
    reply = envelope([item(number) for number in order])
    for path, value in changes:
        changed(reply, path, value)
    with pytest.MonkeyPatch.context() as monkeypatch:
        taken[compare(reply, status, monkeypatch)] += 1


def test_a_usual_reply_in_any_order_is_read_at_once_and_each_answer_is_its_documents() -> None:
    """Otherwise the test above would compare the careful path with itself."""
    found = read(json.dumps(envelope([item(2), item(0), item(1)])).encode())
    assert isinstance(found.items, UsualItems)
    assert found.items.by_column(references("b", 3)) is not None
    came, surplus, _ = replies_of_batch("b", DOCUMENTS, found.items, found.usage, TICKET)
    assert [isinstance(r.result, Completion) and r.result.text for r in came] == ['{"a": 0}', '{"a": 1}', '{"a": 2}']
    assert [r.usage.cached_tokens for r in came] == [0, 10, 20]
    assert surplus == 0


@pytest.mark.parametrize(
    "numbers", [[0, 1], [0, 1, 2, 2], [0, 1, 7], [0, 1, 2, 7]], ids=["missing", "doubled", "strange", "one too many"]
)
def test_items_of_other_requests_are_matched_with_care(numbers: list[int]) -> None:
    found = read(json.dumps(envelope([item(number) for number in numbers])).encode())
    assert found.items.by_column(references("b", 3)) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[]", b"null", b'{"result":{"results":[]}}', b'{"result":' + b"[" * 100_000, b"{}" * 2],
    ids=["empty", "cut", "no UTF-8", "array", "null", "no item", "deep", "two"],
)
def test_what_is_no_finished_job_is_left_to_who_reads_with_care(body: bytes) -> None:
    assert usual_reply(HttpReply(200, body)) is None


@settings(derandomize=True, max_examples=500)
@given(st.binary(max_size=6), st.integers(0, 2_000), st.sampled_from([2, 3]))
def test_bytes_put_into_a_reply_make_no_reader_fail_and_no_answer_another(wild: bytes, at: int, count: int) -> None:
    body = json.dumps(envelope([item(number) for number in range(count)])).encode()
    at = min(at, len(body))
    body = body[:at] + wild + body[at:]
    with pytest.MonkeyPatch.context() as monkeypatch:
        expected = read_with_care(body, 200, monkeypatch)
    found = read(body)
    assert type(found) is type(expected)
    if isinstance(found, Done):
        mine, theirs = (replies_of_batch("b", DOCUMENTS, one.items, one.usage, TICKET)[0] for one in (found, expected))
        assert list(mine) == list(theirs)
    else:
        assert found == expected


def test_bytes_that_are_no_text_where_nobody_looks_are_seen_as_by_who_reads_with_care(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = json.dumps({**envelope([item(0), item(1)]), "more": "?"}).encode().replace(b"?", b"\xff")
    assert type(read(body)) is type(read_with_care(body, 200, monkeypatch))


def test_items_whose_body_another_parser_refuses_are_missing_and_no_error() -> None:
    """One item of three is missing, so that all are read on the careful path."""
    read_at_once = read(json.dumps(envelope([item(0), item(1)])).encode()).items
    came, _, _ = replies_of_batch("b", DOCUMENTS, UsualItems(read_at_once._read, b'{"result":'), None, TICKET)
    assert [isinstance(one.result, Failure) and one.result.code for one in came] == ["missing_item"] * 3
