"""The wire: literal exchanges decode to what the contract says, and a reply of any shape to a value.

`tests/wire/*.json` are exchanges written out from the wire contract (section numbers in their ``source``), none from
the code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from exchanges import NOW, WIRE, assert_answer, bodies, damaged, exchanges, json_values, reply_of, usage_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.columnar import Tokens
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.failure import Failure
from kimi_beam.wire.completions import decode_completion, decode_item, decode_items
from kimi_beam.wire.envelopes import HttpReply, NoReply, Refused, Unknown, Unsent
from kimi_beam.wire.matching import match
from kimi_beam.wire.protocol import (
    Accepted,
    Done,
    Failed,
    Gone,
    NoResults,
    Pending,
    Trouble,
    decode_poll,
    decode_submit,
    encode_poll,
    encode_submit,
)
from kimi_beam.wire.service_errors import Remedy, ServiceError
from kimi_beam.wire.usage import Stated, decode_usage, share_usage

# ------------------------------------------------------------------------------------------------ literal exchanges


def test_the_exchanges_are_complete_and_marked() -> None:
    assert len(WIRE) >= 15
    assert len({exchange["name"] for exchange in WIRE}) == len(WIRE)
    for exchange in WIRE:
        assert exchange.keys() - {"request"} == {"name", "certainty", "source", "kind", "reply", "expect"}
        assert exchange["certainty"] in ("documented", "observed", "assumed")
        assert exchange["source"].startswith("workers-ai.md ")


@exchanges("submit")
def test_a_submit_is_what_the_contract_says(exchange: dict[str, Any]) -> None:
    items = exchange["request"]["body"]["requests"]
    assert json.loads(encode_submit([json.dumps(item).encode()] for item in items)) == exchange["request"]["body"]
    expected = exchange["expect"]
    result = decode_submit(reply_of(exchange), NOW)
    if expected["outcome"] == "accepted":
        assert result == Accepted(expected["request_id"])
    elif expected["outcome"] == "unknown":
        assert isinstance(result, Unknown)
    else:
        assert expected["outcome"] == "refused"
        assert isinstance(result, Refused)
        error = result.error
        assert (error.status, error.code) == (expected["status"], expected["code"])
        assert error.remedy is Remedy[expected["remedy"]]
        assert error.retry_after == expected["retry_after"]
        assert "message" not in expected or error.message == expected["message"]
        assert "AiError" not in str(error) or error.code is None


@exchanges("poll")
def test_a_poll_is_what_the_contract_says(exchange: dict[str, Any]) -> None:
    body = exchange["request"]["body"]
    assert json.loads(encode_poll(body["request_id"])) == body
    expected = exchange["expect"]
    result = decode_poll(reply_of(exchange), NOW)
    kinds = {"pending": Pending, "done": Done, "gone": Gone, "failed": Failed, "trouble": Trouble}
    assert type(result) is kinds[expected["outcome"]]
    if isinstance(result, Trouble):
        assert result.error is not None
        assert (result.error.status, result.error.code) == (expected["status"], expected["code"])
        assert result.error.remedy is Remedy[expected["remedy"]]
        assert result.error.retry_after == expected["retry_after"]
    if isinstance(result, Done):
        assert result.usage == usage_of(expected["usage"])
        answers = expected["answers"]
        matched = match(result.items, [answer["reference"] for answer in answers])
        found = matched.items
        assert matched.surplus == expected["surplus"]
        decoded = [decode_item(item) for item in found]
        results, stated = decode_items(found)
        assert [results.result_at(place) for place in range(len(found))] == [got for got, _ in decoded]
        shared = as_values(share_usage(result.usage, stated))
        for answer, (got, usage), share in zip(answers, decoded, shared, strict=True):
            assert_answer(answer, got)
            assert "usage" not in answer or usage == usage_of(answer["usage"])
            assert "shared" not in answer or share == usage_of(answer["shared"])


def test_requests_go_to_the_path_that_the_contract_names() -> None:
    service = WorkersAI("0123456789abcdef0123456789abcdef")
    (path,) = {exchange["request"]["path"] for exchange in WIRE if exchange["kind"] == "poll"}
    assert service.queue_url == f"https://api.cloudflare.com{path}"


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("codes", "status", "remedy"),
    [
        # workers-ai.md 7, by its column "Retry?"
        ((3021, 3040), 429, Remedy.WAIT),
        ((3007, 3008, 3046), 408, Remedy.TIMEOUT),
        ((8005,), 500, Remedy.RETRY),
        ((2014,), 504, Remedy.TIMEOUT),
        ((3036, 4006), 429, Remedy.TOMORROW),
        ((3006,), 413, Remedy.SPLIT),
        ((3003, 3010, 3030, 3039, 5004, 5006, 5023, 8001, 8006), 400, Remedy.NEVER),
        ((5005, 5019), 405, Remedy.NEVER),
        ((3023, 3041, 5016, 5018, 5035), 403, Remedy.ACCOUNT),
        ((3042, 7003), 404, Remedy.ACCOUNT),
        ((2009, 5007, 7000, 9106), 400, Remedy.ACCOUNT),
        ((5028,), 410, Remedy.ACCOUNT),
        ((10000,), 403, Remedy.ACCOUNT),
    ],
)
def test_each_code_of_the_contract_has_the_remedy_it_names(codes: tuple[int, ...], status: int, remedy: Remedy) -> None:
    for code in codes:
        assert ServiceError(status, code, "words").remedy is remedy, code


@pytest.mark.parametrize(
    ("words", "lacks", "remedy"),
    [
        ("AiError: This model does not support request queuing", True, Remedy.ACCOUNT),
        ("Request queueing is not supported", True, Remedy.ACCOUNT),
        ("no queue for this model", True, Remedy.ACCOUNT),
        ("AiError: Input prompt contains NSFW content", False, Remedy.NEVER),
        ("", False, Remedy.NEVER),
        ("a sequence of unique words", False, Remedy.NEVER),
    ],
)
def test_only_words_about_queues_say_that_a_model_has_none(words: str, lacks: bool, remedy: Remedy) -> None:
    error = ServiceError(400, 8007, words)
    assert (error.lacks_queue, error.remedy) == (lacks, remedy), "a run would end, or go another way, for one document"
    assert ("no batch queue" in str(error)) == lacks


def test_a_picture_that_is_none_and_a_function_without_room_share_a_code_and_are_told_apart() -> None:
    picture = ServiceError(400, 8006, "Invalid image data")
    assert (picture.concerns_image, picture.remedy) == (True, Remedy.NEVER)
    assert "tool" not in str(picture)
    assert not ServiceError(400, 8006, "The forced tool call did not fit").concerns_image


def test_the_json_mode_that_could_not_be_met_may_be_met_the_next_time() -> None:
    assert ServiceError(400, 5024, "").remedy is Remedy.OTHER_FORM
    assert ServiceError(403, 5025, "").remedy is Remedy.NEVER


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524])
def test_a_passing_trouble_without_a_code_is_known_by_its_status(status: int) -> None:
    assert ServiceError(status, None, "").remedy is Remedy.RETRY


@pytest.mark.parametrize(("code", "status"), [(None, 429), (3021, 400), (3040, 200), (8005, 429), (31337, 429)])
def test_come_back_later_is_told_by_code_or_by_status(code: int | None, status: int) -> None:
    assert ServiceError(status, code, "").remedy is Remedy.WAIT


def test_without_a_code_only_401_is_the_accounts() -> None:
    assert ServiceError(401, None, "").remedy is Remedy.ACCOUNT
    assert ServiceError(401, 31337, "").remedy is Remedy.ACCOUNT
    assert ServiceError(413, None, "").remedy is Remedy.SPLIT
    assert {ServiceError(status, None, "").remedy for status in (400, 403, 404, 405, 410, 422)} == {Remedy.NEVER}
    assert ServiceError(302, None, "").remedy is Remedy.ACCOUNT, "a redirect is a wrong URL"


def test_an_error_says_its_meaning_its_words_and_its_numbers() -> None:
    assert (
        str(ServiceError(429, 3040, "Try again.")) == "capacity temporarily exceeded: Try again. (code 3040, HTTP 429)"
    )
    assert str(ServiceError(503, None, "")) == "an error without words (HTTP 503)"
    assert str(ServiceError(400, 31337, "No.")) == "No. (code 31337, HTTP 400)"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("17", 17),
        ("2.5", 2.5),
        ("-3", 0),
        ("1e9", 86_400),
        ("inf", 86_400),
        ("nan", None),
        ("soon", None),
        (format_datetime(datetime.fromtimestamp(NOW + 90, timezone.utc), usegmt=True), 90),
        (format_datetime(datetime.fromtimestamp(NOW - 90, timezone.utc), usegmt=True), 0),
        (format_datetime(datetime.fromtimestamp(NOW + 10**8, timezone.utc), usegmt=True), 86_400),
        ("Thu, 99 Jul 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_from_now_or_no_advice(header: str | None, seconds: float | None) -> None:
    result = decode_submit(HttpReply(429, b"", header), NOW)
    assert isinstance(result, Refused)
    assert result.error.retry_after == seconds
    polled = decode_poll(HttpReply(503, b"{}", header), NOW)
    assert isinstance(polled, Trouble)
    assert polled.error is not None
    assert polled.error.retry_after == seconds


PIECES = ["Thu", ",", "16", "Jul", "2026", "05:43:33", "GMT", "+", "-", "9999", ":", ".", "²", "-0000", "Mon,"]


@settings(derandomize=True, max_examples=500)
@given(st.text(max_size=30) | st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_no_retry_after_header_raises_or_asks_for_more_than_a_day(header: str) -> None:
    result = decode_submit(HttpReply(429, b"", header), NOW)
    assert isinstance(result, Refused)
    assert result.error.retry_after is None or 0 <= result.error.retry_after <= 86_400


# ------------------------------------------------------------------------------------------------ what money hangs on


def test_only_an_exchange_that_never_left_is_certainly_unsent() -> None:
    assert decode_submit(NoReply(sent=False, message="refused"), NOW) == Unsent("refused")
    assert decode_submit(NoReply(sent=True, message="reset"), NOW) == Unknown("reset")
    assert decode_poll(NoReply(sent=False, message="refused"), NOW) == Trouble("refused")


@pytest.mark.parametrize("status", [408, 499, 500, 502, 504, 520, 522, 524])
@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"{}", b"[]", b'"x"', b'{"result":{"status":"queued"}}'])
def test_a_status_that_says_nothing_of_the_submit_leaves_it_unknown(status: int, body: bytes) -> None:
    assert isinstance(decode_submit(HttpReply(status, body), NOW), Unknown)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_ticket_under_a_status_of_a_proxys_own_is_a_ticket(status: int) -> None:
    ticket = b'{"result":{"status":"queued","request_id":"r-1"},"success":true,"errors":[]}'
    assert decode_submit(HttpReply(status, ticket), NOW) == Accepted("r-1")
    refused = b'{"result":{"status":"queued","request_id":"r-1"},"success":false,"errors":[{"code":3040}]}'
    assert isinstance(decode_submit(HttpReply(status, refused), NOW), Refused)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 413, 422, 429, 503, 521, 523])
def test_a_bare_refusal_is_a_refusal(status: int) -> None:
    result = decode_submit(HttpReply(status, b"<html>no</html>"), NOW)
    assert isinstance(result, Refused)
    assert (result.error.status, result.error.code) == (status, None)


@pytest.mark.parametrize("result", [b"null", b"{}", b"[]", b'"queued"', b'{"request_id":5}', b'{"request_id":""}'])
def test_an_acceptance_without_an_id_is_not_taken_for_a_refusal(result: bytes) -> None:
    assert isinstance(decode_submit(HttpReply(200, b'{"success":true,"result":%s}' % result), NOW), Unknown)


@pytest.mark.parametrize("prefix", ["", "AiError: ", "AiError: AiError: ", "AiError: AiError: AiError: "])
def test_the_services_prefix_is_taken_off_however_often_it_stands(prefix: str) -> None:
    body = {"success": False, "errors": [{"code": 5504, "message": f"{prefix}Request not found in queue\n(x)"}]}
    assert decode_poll(HttpReply(404, json.dumps(body).encode()), NOW) == Gone(
        "Request not found in queue (x) (code 5504, HTTP 404)"
    )


@pytest.mark.parametrize(
    "errors", [None, [], {}, [None], ["x"], [{}], [{"code": None}], [{"code": True}], [{"code": []}], "x", 5]
)
def test_a_refusal_without_a_usable_error_is_a_refusal_all_the_same(errors: Any) -> None:
    body = json.dumps({"success": False, "errors": errors}).encode()
    result = decode_submit(HttpReply(200, body), NOW)
    assert isinstance(result, Refused)
    assert result.error.code is None


# ------------------------------------------------------------------------------------------------ any reply at all


_replies = st.builds(
    HttpReply,
    status=st.sampled_from([100, 200, 201, 204, 302, 400, 401, 404, 408, 413, 429, 499, 500, 503, 524]),
    body=bodies,
    retry_after=st.none() | st.text(max_size=5),
)


@settings(derandomize=True, max_examples=600)
@given(_replies)
def test_a_reply_of_any_shape_decodes_to_a_value(reply: HttpReply) -> None:
    submitted = decode_submit(reply, NOW)
    assert isinstance(submitted, (Accepted, Refused, Unknown))
    if isinstance(submitted, Accepted):
        assert 200 <= reply.status < 300 or reply.status >= 500
        assert submitted.request_id
    polled = decode_poll(reply, NOW)
    assert isinstance(polled, (Pending, Done, NoResults, Gone, Failed, Trouble))
    if isinstance(polled, Done):
        assert isinstance(polled.items, Sequence)
    for message in (getattr(r, "message", None) or str(getattr(r, "error", "")) for r in (submitted, polled)):
        assert len(message) < 700
        assert "\n" not in message


_captured_items = [
    item
    for exchange in WIRE
    if exchange["expect"]["outcome"] == "done" and "result" in exchange["reply"]["body"]
    for items in [exchange["reply"]["body"]["result"]]
    for item in items.get("results", items.get("responses"))
]
# An item that is no object is no item: `match` leaves it out.
_items = (json_values | st.sampled_from(_captured_items).flatmap(damaged)).filter(lambda item: isinstance(item, dict))


@settings(derandomize=True, max_examples=500)
@given(st.none() | _items)
def test_an_item_of_any_shape_decodes_to_an_answer_or_a_failure(item: Any) -> None:
    result, usage = decode_item(item)
    assert isinstance(result, (Completion, Failure))
    assert usage is None or min(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) >= 0
    if isinstance(result, Failure):
        assert result.stage == "infer"
        assert "\n" not in result.message
        assert len(result.message) < 400
    else:
        assert isinstance(result.text, str)
        assert result.created is None or result.created > 0


@settings(derandomize=True, max_examples=300)
@given(json_values)
def test_a_statement_of_tokens_of_any_shape_is_none_or_whole_numbers(usage: Any) -> None:
    decoded = decode_usage(usage)
    assert (decoded is None) is not isinstance(usage, dict)
    if decoded is not None:
        for count in (decoded.prompt_tokens, decoded.cached_tokens, decoded.completion_tokens):
            assert type(count) is int
            assert 0 <= count < 1 << 40


@pytest.mark.parametrize("wrong", [-1, "13", None, [], {}, float("nan"), float("inf"), 1 << 63, 1e300])
def test_a_number_of_tokens_that_is_none_counts_nothing(wrong: Any) -> None:
    details = {"cached_tokens": wrong}
    assert decode_usage({"prompt_tokens": wrong, "completion_tokens": 7, "prompt_tokens_details": details}) == Usage(
        0, 0, 7
    )
    assert decode_usage({"prompt_tokens": 13, "prompt_tokens_details": wrong}) == Usage(13, 0, 0)


@pytest.mark.parametrize("created", [0, -1, "1784180523", None, 1_784_180_523_000, float("nan")])
def test_a_time_that_is_no_unix_second_is_no_time(created: Any) -> None:
    choice = {"message": {"content": "x"}, "finish_reason": "stop"}
    result = decode_completion({"choices": [choice], "created": created})
    assert isinstance(result, Completion)
    assert result.created is None


def test_reasoning_is_never_read_as_the_answer() -> None:
    for field in ("reasoning", "reasoning_content"):
        for content in (None, "", " \n"):
            choice = {"message": {"content": content, field: '{"total":1}'}, "finish_reason": "stop"}
            result = decode_completion({"choices": [choice]})
            assert isinstance(result, Failure)
            assert result.code == "answer_in_reasoning"


# ------------------------------------------------------------------------------------------------ what is no answer


def polled(result: Any, **envelope: Any) -> Any:
    return decode_poll(HttpReply(200, json.dumps({"result": result, "success": True, **envelope}).encode()), NOW, "r")


@pytest.mark.parametrize(
    "result",
    [
        *({"results": None}, {"results": {}}, {"results": {"0": {}}}, {"results": "[]"}, {}, None, []),
        *({"responses": None}, {"status": None}, {"status": ""}, {"status": 5}, {"status": " DONE\n"}),
        *({"status": "done"}, {"status": "Completed", "results": None}),
        *({"status": ["queued"]}, {"results": None, "usage": {"prompt_tokens": 3}}),
    ],
)
def test_a_job_that_is_done_and_has_no_list_of_results_is_not_taken_for_a_job_that_is_not_done(result: Any) -> None:
    assert isinstance(polled(result), NoResults)


@pytest.mark.parametrize(
    "result", [{"results": []}, {"results": None, "responses": []}, {"results": [], "status": "complete"}]
)
def test_an_empty_array_says_that_every_item_is_missing(result: Any) -> None:
    assert polled(result) == Done([], None), "the job would be polled for ten minutes"


@pytest.mark.parametrize("status", ["queued", "running", "Running", "pending", "in_progress", "validating"])
@pytest.mark.parametrize("results", [{}, {"results": None}, {"results": []}])
def test_a_job_with_any_other_status_is_not_done(status: str, results: dict[str, Any]) -> None:
    assert polled({"status": status, **results}) == Pending()


@pytest.mark.parametrize(
    ("status", "code", "words", "is_gone"),
    [
        (404, 7000, "unknown request_id", True),
        (404, None, "Job does not exist", True),
        (410, 1, "async request not found", True),
        (404, 7000, "No route for that URI", False),
        (404, 7003, "Could not route to /client/v4/accounts/x, perhaps your object identifier is invalid?", False),
        (500, 7000, "unknown request_id", False),
        (429, 10000, "too many requests", False),
    ],
)
def test_no_such_job_is_told_by_its_words_where_the_code_is_another(
    status: int, code: int | None, words: str, is_gone: bool
) -> None:
    body = {"success": False, "errors": [{"code": code, "message": words}]}
    assert isinstance(decode_poll(HttpReply(status, json.dumps(body).encode()), NOW), Gone) is is_gone


@pytest.mark.parametrize("status", ["cancelled", "Canceled", "expired", "aborted ", "timed_out", "failure"])
def test_a_status_that_can_only_mean_an_end_without_answers_is_a_failure(status: str) -> None:
    assert isinstance(polled({"status": status, "results": None}), Failed)


@pytest.mark.parametrize("status", ["archived", "done-ish", "pa\x1bused", "3"])
def test_a_status_that_nobody_knows_is_polled_on_with_a_word(status: str) -> None:
    found = polled({"status": status, "results": None})
    assert isinstance(found, Trouble)
    assert "a status that is not known" in found.message
    assert isinstance(polled({"status": status, "results": [{"external_reference": "r-0"}]}), Done)


@pytest.mark.parametrize("key", ["request_id", "requestId"])
@pytest.mark.parametrize(
    "result",
    [
        *({"status": "queued"}, {"status": "error"}, {"results": [{"external_reference": "a-0", "result": {}}]}, {}),
        {"responses": [{"id": 0, "result": {"response": "x"}}]},
    ],
)
def test_a_reply_that_names_another_job_says_nothing_of_the_one_that_was_asked_for(
    result: dict[str, Any], key: str
) -> None:
    found = polled({**result, key: "another"})
    assert isinstance(found, Trouble)
    assert "another job" in found.message
    assert not isinstance(polled({**result, key: "r"}), Trouble)
    assert not isinstance(polled({**result, key: None}), Trouble)


# ------------------------------------------------------------------------------------------------ tokens

_stated = st.builds(
    lambda fresh, cached, completion: Usage(fresh + cached, cached, completion),
    *[st.integers(0, 1_000) for _ in range(3)],
)
_totals = st.builds(
    lambda fresh, cached, completion: Usage(fresh + cached, cached, completion),
    *[st.integers(0, 9_000) for _ in range(3)],
)


def as_values(tokens: Tokens) -> list[Usage]:
    return list(map(Usage, *tokens))


def shared_out(total: Usage | None, items: list[Usage | None]) -> list[Usage]:
    """`share_usage` of values."""
    tokens = Tokens.of([item or Usage() for item in items])
    return as_values(share_usage(total, Stated(tokens, [place for place, item in enumerate(items) if item is None])))


@settings(derandomize=True, max_examples=500)
@given(_totals, st.lists(st.none() | _stated, max_size=7))
def test_shares_are_never_negative_and_no_more_is_cached_than_was_read(total: Usage, items: list[Usage | None]) -> None:
    shares = shared_out(total, items)
    assert len(shares) == len(items)
    for share, item in zip(shares, items, strict=True):
        assert 0 <= share.cached_tokens <= share.prompt_tokens
        assert share.completion_tokens >= 0
        if item is not None:  # its own statement stands
            assert (share.prompt_tokens, share.completion_tokens) == (item.prompt_tokens, item.completion_tokens)
            assert share.cached_tokens >= item.cached_tokens


@settings(derandomize=True, max_examples=500)
@given(_totals, st.lists(st.none() | _stated, min_size=1, max_size=7))
def test_shares_add_up_to_the_job_where_items_state_nothing_or_only_some(
    total: Usage, items: list[Usage | None]
) -> None:
    said = sum((item for item in items if item is not None), Usage())
    shared = sum(shared_out(total, items), Usage())
    if None in items:
        assert shared.prompt_tokens == max(total.prompt_tokens, said.prompt_tokens)
        assert shared.completion_tokens == max(total.completion_tokens, said.completion_tokens)
    else:
        assert (shared.prompt_tokens, shared.completion_tokens) == (said.prompt_tokens, said.completion_tokens)
    assert shared.cached_tokens == min(shared.prompt_tokens, max(total.cached_tokens, said.cached_tokens))


@settings(derandomize=True)
@given(_totals, st.integers(1, 9))
def test_silent_items_share_evenly(total: Usage, count: int) -> None:
    shares = shared_out(total, [None] * count)
    assert sum(shares, Usage()) == total
    for field in ("prompt_tokens", "completion_tokens"):
        counts = [getattr(share, field) for share in shares]
        assert max(counts) - min(counts) <= 1


def test_a_job_that_states_nothing_leaves_what_its_items_state() -> None:
    assert shared_out(None, [Usage(3, 1, 2), None]) == [Usage(3, 1, 2), Usage()]
    assert shared_out(Usage(5, 5, 5), []) == []


def test_sharing_among_many_items_is_quick() -> None:
    shares = shared_out(Usage(10**12, 10**11, 10**12), [None] * 100_000)
    assert sum(share.cached_tokens for share in shares) == 10**11
