"""The policy of synchronous requests: what is repeated, what it costs, what ends it, and that it ends once."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.service.polling import Polling
from kimi_beam.service.retry_limits import MAX_REFUSALS, MAX_UNKNOWN, OUTAGE
from kimi_beam.synchronous import after_reply
from kimi_beam.synchronous.after_reply import (
    MAX_TURNS,
    AskAgain,
    Call,
    CallFunctions,
    Delay,
    Halt,
    Park,
    Settle,
    next_step,
)
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.failure import Failure
from kimi_beam.wire.completions import Answered, ToolCall, ToolCalls
from kimi_beam.wire.envelopes import Refused, Unknown, Unsent
from kimi_beam.wire.service_errors import ERRORS, ServiceError

POLLING = Polling(first=1, factor=1.5, ceiling=60, deadline=3_600)
NOW = 1_784_180_523.0
MIDNIGHT = 1_784_246_400.0  # the next 00:00 UTC
ANSWER = Answered(Completion("{}", "stop", None, None), Usage(10, 4, 2))
CALLS = Answered(ToolCalls((ToolCall("c", "look", "{}"),)), Usage(7, 1, 3))


def refused(code: int | None, status: int = 400, retry_after: float | None = None) -> Refused:
    return Refused(ServiceError(status, code, "no request queuing" if code == 8007 else "words", retry_after))


def hear(call: Call, result: Any, now: float = NOW) -> after_reply.NextStep:
    return next_step(call, result, "doc", now, POLLING)


def new(**more: Any) -> Call:
    return Call(NOW, **more)


# ------------------------------------------------------------------------------------------------ the table of errors

# workers-ai.md 7, row by row: the code, its HTTP status, and what its column "Retry?" comes to for one request.
TABLE = [
    (3003, 400, "no"),
    (3006, 413, "split"),
    (3007, 408, "once"),  # "yes", but a timeout may have been paid for
    (3008, 408, "once"),
    (3010, 400, "no"),
    (3021, 429, "wait"),
    (3023, 403, "halt"),
    (3030, 400, "no"),
    (3036, 429, "midnight"),
    (3039, 400, "no"),
    (3040, 429, "wait"),
    (3041, 403, "halt"),
    (5018, 403, "halt"),
    (3042, 404, "halt"),
    (3046, 408, "once"),
    (4006, 429, "midnight"),
    (5004, 400, "no"),
    (5005, 405, "no"),
    (5019, 405, "no"),
    (5006, 400, "no"),
    (5007, 400, "halt"),
    (5016, 403, "halt"),
    (5023, 400, "never"),
    (5024, 400, "form"),
    (5025, 403, "never"),
    (5028, 410, "halt"),
    (5035, 403, "halt"),
    (8001, 400, "no"),
    (8005, 500, "retry"),
    (8006, 400, "truncated"),
    (8007, 400, "halt"),
    (2001, 400, "halt"),
    (2009, 401, "halt"),
    (2009, 503, "halt"),
    (2014, 504, "once"),
    (7000, 400, "halt"),
    (7001, 405, "halt"),
    (7003, 404, "halt"),
    (9106, 400, "halt"),
    (10000, 401, "halt"),
    (10000, 403, "halt"),
    (10000, 429, "wait"),
    (5018, 429, "wait"),
    (5024, 429, "wait"),
    (10000, 500, "retry"),
    (5035, 503, "retry"),
    *((None, status, "retry") for status in (500, 502, 503, 504, 520, 521, 522, 523, 524, 409, 425)),
    (None, 429, "wait"),
    *((None, status, "halt") for status in (401, 404, 405)),  # no such token, model, route
    (None, 413, "split"),
    *((None, status, "no") for status in (400, 410, 422)),
    *((None, status, "halt") for status in (401, 402, 403, 404, 405)),
    (31337, 400, "no"),
    (31337, 500, "retry"),
]


def test_the_table_has_every_code_that_is_known() -> None:
    assert {code for code, _, _ in TABLE} >= set(ERRORS)


@pytest.mark.parametrize(("code", "status", "does"), TABLE)
def test_each_error_does_what_the_contract_says(code: int | None, status: int, does: str) -> None:
    call = new(forms=3)
    step = hear(call, refused(code, status))
    if does == "halt":
        assert isinstance(step, Halt)
        assert step.error.code == code
        assert step.call.attempts == 0
    elif does in ("midnight", "never"):
        assert isinstance(step, Park)
        assert step.until == (MIDNIGHT if does == "midnight" else math.inf)
        wanted = "quota_exhausted" if does == "midnight" else "json_mode_unsupported"
        assert (step.failure.code, step.failure.retryable) == (wanted, does == "midnight")
    elif does in ("no", "split", "truncated"):
        assert isinstance(step, Settle)
        assert isinstance(step.result, Failure)
        wanted = {"no": "refused", "split": "too_large", "truncated": "truncated"}[does]
        assert (step.result.code, step.result.retryable, step.call.attempts) == (wanted, False, 1)
    elif does == "wait":
        assert step == Delay(call, None, step.trouble)  # type: ignore[union-attr]
    else:
        assert isinstance(step, AskAgain)
        assert step.wait > 0
        assert step.call.form == (1 if does == "form" else 0)
        assert step.call.attempts == 1
        assert step.call.unknown == (1 if does == "once" else 0)


# ------------------------------------------------------------------------------------------------ come back later


@pytest.mark.parametrize(("code", "status"), [(None, 429), (3040, 429), (3021, 429), (3040, 200), (3021, 400)])
@pytest.mark.parametrize("retry_after", [17.0, 0.0, None])
def test_come_back_later_uses_no_attempt(code: int | None, status: int, retry_after: float | None) -> None:
    call = new(attempts=2, refusals=4, unknown=1, delays=3)
    step = hear(call, refused(code, status, retry_after))
    assert isinstance(step, Delay)
    assert (step.call, step.retry_after) == (call, retry_after)


def test_while_nobody_is_there_the_waits_grow() -> None:
    call, waits = new(), []
    for _ in range(20):
        step = hear(call, Unsent("no route"))
        assert isinstance(step, AskAgain)
        waits.append(step.wait)
        call = step.call
    assert all(0 < wait <= POLLING.ceiling for wait in waits), "at once for ever"
    assert max(waits) > 10
    assert call.attempts == 0


def test_politeness_is_ended_by_the_deadline_alone() -> None:
    for result, code in ((refused(3021, 429, 30.0), "refused"), (Unsent("no route"), "unreachable")):
        call, now = new(), NOW
        while now < NOW + POLLING.deadline:
            step = hear(call, result, now)
            assert isinstance(step, (AskAgain, Delay))
            call, now = step.call, now + (step.wait if isinstance(step, AskAgain) else 30.0)
        step = hear(call, result, now)
        assert isinstance(step, Settle)
        assert isinstance(step.result, Failure)
        assert (step.result.code, step.result.retryable, step.call.attempts) == (code, True, 0)
        assert "deadline" in step.result.message


def test_a_request_that_could_not_be_sent_costs_nothing_and_holds_nobody() -> None:
    step = hear(new(), Unsent("connection refused"))
    assert isinstance(step, AskAgain)
    assert (step.call.attempts, step.trouble) == (0, "connection refused")


# ------------------------------------------------------------------------------------------------ trouble


def test_trouble_of_the_service_ends_a_call_at_the_fifth_time_if_it_lasts() -> None:
    assert MAX_REFUSALS == 5
    call = new()
    for _ in range(4):
        step = next_step(call, refused(8005, 500), "doc", NOW + OUTAGE, POLLING)
        assert isinstance(step, AskAgain)
        call = step.call
    assert isinstance(hear(call, refused(None, 503)), AskAgain), "an outage of some minutes costs nobody a document"
    step = next_step(call, refused(None, 503), "doc", NOW + OUTAGE, POLLING)
    assert isinstance(step, Settle)
    assert isinstance(step.result, Failure)
    assert (step.result.code, step.result.retryable, step.call.attempts) == ("refused", True, 5)


def test_trouble_with_a_word_how_long_is_waited_for_as_long() -> None:
    step = hear(new(), refused(None, 503, 45.0))
    assert isinstance(step, AskAgain)
    assert step.wait >= 45.0


@pytest.mark.parametrize("result", [Unknown("reset"), refused(3046, 408), refused(2014, 504)])
def test_no_word_is_not_repeated_at_all_where_the_user_wants_that(result: Any) -> None:
    step = next_step(new(), result, "doc", 0.0, POLLING, may_repeat=False)
    assert isinstance(step, Settle)
    assert isinstance(step.result, Failure)
    assert (step.result.code, step.result.retryable) == ("unknown_submit", True)


@pytest.mark.parametrize("result", [Unknown("reset"), refused(3046, 408), refused(2014, 504)])
def test_no_word_is_repeated_once_whatever_comes_between(result: Any) -> None:
    assert MAX_UNKNOWN == 2
    step = hear(new(), result)
    assert isinstance(step, AskAgain)
    between = hear(step.call, refused(8005, 500))
    assert isinstance(between, AskAgain)
    step = hear(between.call, result)
    assert isinstance(step, Settle)
    assert isinstance(step.result, Failure)
    assert (step.result.code, step.result.retryable, step.call.attempts) == ("unknown_submit", True, 3)
    assert "may have been paid" in step.result.message


# ------------------------------------------------------------------------------------------------ JSON mode


def test_json_mode_that_cannot_be_met_is_asked_for_once_more_then_in_the_prompt_then_given_up() -> None:
    call = new(forms=3)
    for form in (1, 2):
        step = hear(call, refused(5024))
        assert isinstance(step, AskAgain)
        assert (step.call.form, step.call.attempts, step.call.refusals) == (form, form, 0)
        call = step.call
    step = hear(call, refused(5024))
    assert isinstance(step, Settle)
    assert isinstance(step.result, Failure)
    assert (step.result.stage, step.result.code, step.result.retryable) == ("infer", "json_mode_unmet", True)
    assert step.call.attempts == 3


def test_where_there_is_no_other_form_it_is_given_up_at_once() -> None:
    step = hear(new(), refused(5024))
    assert isinstance(step, Settle)
    assert isinstance(step.result, Failure)
    assert step.result.code == "json_mode_unmet"


@pytest.mark.parametrize("code", [5023, 5025])
def test_a_model_without_json_mode_refuses_every_document_alike(code: int) -> None:
    step = hear(new(forms=3), refused(code))
    assert isinstance(step, Park)
    assert (step.until, step.failure.code) == (math.inf, "json_mode_unsupported")


@pytest.mark.parametrize("now", [MIDNIGHT - 0.001, MIDNIGHT - 86_400, MIDNIGHT - 43_200])
@pytest.mark.parametrize("code", [3036, 4006])
def test_a_spent_quota_parks_until_the_next_midnight_in_utc(code: int, now: float) -> None:
    step = hear(new(), refused(code, 429, 5.0), now)
    assert isinstance(step, Park)
    assert step.until == MIDNIGHT
    assert step.until % 86_400 == 0


# ------------------------------------------------------------------------------------------------ turns and tokens


def test_functions_are_called_five_times_and_no_more() -> None:
    call = new()
    for turn in range(1, MAX_TURNS + 1):
        step = hear(call, CALLS)
        assert isinstance(step, CallFunctions)
        assert step.call.turns == turn
        call = step.call
    step = hear(call, CALLS)
    assert isinstance(step, Settle)
    assert isinstance(step.result, Failure)
    assert (MAX_TURNS, step.result.code, step.result.retryable) == (5, "too_many_turns", True)
    assert step.call.usage == Usage(42, 6, 18), "the turn that was one too many has been paid for"


def test_tokens_add_up_over_turns_repetitions_and_failures() -> None:
    call = new(forms=3)
    for result in (CALLS, refused(5024), CALLS, refused(3040, 429, 3.0), Unknown("reset")):
        call = hear(call, result).call
    step = hear(call, ANSWER)
    assert isinstance(step, Settle)
    assert step.result == ANSWER.result
    assert step.call.usage == Usage(24, 6, 8)
    assert step.call.attempts == 5


def test_an_answer_that_states_no_tokens_keeps_what_was_spent_before() -> None:
    step = hear(new(usage=Usage(1, 1, 1)), Answered(Failure("infer", "empty_answer", "empty"), None))
    assert isinstance(step, Settle)
    assert step.call.usage == Usage(1, 1, 1)


def test_an_answer_ends_a_row_of_delays_so_that_the_next_one_is_short() -> None:
    step = hear(new(delays=12), CALLS)
    assert isinstance(step, CallFunctions)
    assert step.call.delays == 0


# ------------------------------------------------------------------------------------------------ whole calls

_results = st.one_of(
    st.just(ANSWER),
    st.just(CALLS),
    st.just(Unknown("reset")),
    st.just(Unsent("no route")),
    st.builds(
        refused,
        st.sampled_from([None, *ERRORS, 31337]),
        st.sampled_from([200, 400, 401, 403, 408, 413, 429, 500, 503]),
        st.none() | st.floats(0, 86_400),
    ),
)


@settings(derandomize=True, max_examples=1_000)
@given(st.data(), st.integers(1, 3))
def test_after_any_replies_a_call_ends_and_has_counted_them(data: st.DataObject, forms: int) -> None:
    call, now, usage, saw = new(forms=forms), NOW, Usage(), 0
    for _ in range(10_000):
        result = data.draw(_results)
        step = hear(call, result, now)
        if isinstance(result, Answered):
            usage += result.usage or Usage()
        assert step.call.usage == usage, "tokens that were paid for are lost, or counted twice"
        assert step.call.since == NOW
        assert 0 <= step.call.form < forms
        assert step.call.attempts - call.attempts in (0, 1)
        assert step.call.unknown <= MAX_UNKNOWN
        assert step.call.turns <= MAX_TURNS
        saw += isinstance(result, Unknown)
        assert saw <= MAX_UNKNOWN
        assert next_step(call, result, "doc", now, POLLING) == step, "a replayed bundle would do something else"
        if isinstance(step, (Settle, Park, Halt)):
            return
        if isinstance(step, AskAgain):
            assert 0 < step.wait <= 86_400 + POLLING.first
            assert step.trouble
            now += step.wait
        call = step.call
    pytest.fail("the call never ends")


# ------------------------------------------------------------------------------------------------ the end of a call


def test_what_came_of_an_answer_that_broke_off_is_in_the_dead_letter() -> None:
    call = hear(new(), Unknown("broke off", Usage(9, 0, 4), '{"a": ')).call
    step = hear(call, Unknown("no reply"))
    assert isinstance(step, Settle)
    assert isinstance(step.result, Failure)
    assert (step.result.code, step.result.raw, step.call.usage) == ("unknown_submit", '{"a": ', Usage(9, 0, 4))


@pytest.mark.parametrize(
    ("changes", "code"),
    [({}, "quota_exhausted"), ({"unknown": 1}, "unknown_submit"), ({"turns": 1}, "unknown_submit")],
)
def test_a_call_that_may_have_been_paid_for_says_so_when_another_meets_a_spent_quota(
    changes: dict[str, int], code: str
) -> None:
    spent = Failure("submit", "quota_exhausted", "not sent: words", retryable=True)
    found = after_reply.failure_of_unsent(new(**changes), spent)
    assert (found.code, found.retryable) == (code, True)
    other = Failure("infer", "json_mode_unsupported", "words")
    assert after_reply.failure_of_unsent(new(**changes), other) == other
