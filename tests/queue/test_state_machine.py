"""The dispatcher's core under a fake clock: whatever the service does, each batch ends once and is paid for once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.queue import state_machine
from kimi_beam.queue.effects import AskAgain, Drop, Effect, Finish, FinishSome, GiveUp, Halt, Split, Warn
from kimi_beam.queue.jobs import Job, Shard, admit, decode, delay_until, due, encode, mark_event_seen, wake
from kimi_beam.report import metrics
from kimi_beam.service import retry_limits
from kimi_beam.service.polling import Polling
from kimi_beam.types.failure import Failure
from kimi_beam.wire.envelopes import Refused, Unknown, Unsent
from kimi_beam.wire.protocol import Accepted, Done, Failed, Gone, NoResults, Pending, Trouble
from kimi_beam.wire.service_errors import Remedy, ServiceError

POLLING = Polling(first=1, factor=1.5, ceiling=60, deadline=3_600)


def error(code: int | None, status: int, retry_after: float | None = None) -> ServiceError:
    return ServiceError(status, code, "no request queuing" if code == 8007 else "words", retry_after)


def one_job(count: int = 3, **changes: object) -> tuple[Shard, Job]:
    shard = admit(Shard(), [("b", count)], 0.0)
    job = Job(**{**{n: getattr(shard.jobs[0], n) for n in Job.__slots__}, **changes})
    return Shard((job,)), job


def polled_until(shard: Shard, now: float) -> Shard:
    """As if its jobs had been polled as usual up to this time."""
    return replace(shard, jobs=tuple(replace(job, due=now, polls=max(job.polls, 9)) for job in shard.jobs))


# ------------------------------------------------------------------------------------------------ single steps


def test_a_batch_is_submitted_at_once_and_polled_after_the_first_wait() -> None:
    shard, job = one_job()
    assert due(shard, 0.0) == [job]
    shard, effects = state_machine.submitted(shard, job, Accepted("r"), 5.0, POLLING)
    assert effects == []
    assert due(shard, 5.9) == []
    assert [j.request_id for j in due(shard, 6.0)] == ["r"]
    assert shard.jobs[0].attempts == 1


def test_an_accepted_job_forgets_the_trouble_that_it_had_before() -> None:
    shard, job = one_job(polls=3, delays=4, gone=1, trouble="no connection", event_seen=True)
    shard, _ = state_machine.submitted(shard, job, Accepted("r"), 5.0, POLLING)
    (job,) = shard.jobs
    assert (job.polls, job.delays, job.gone, job.trouble, job.event_seen) == (0, 0, 0, "", False)
    assert job.since == 5.0, "the deadline counts from the submit"


@pytest.mark.parametrize("code", [5024, 5006])
def test_a_submit_that_was_refused_for_what_it_asks_is_an_attempt(code: int) -> None:
    shard, job = one_job(count=1)
    _, (effect,) = state_machine.submitted(shard, job, Refused(error(code, 400)), 0.0, POLLING)
    assert isinstance(effect, (AskAgain, GiveUp))
    assert effect.job.attempts == 1


def test_a_failing_service_is_given_at_least_the_time_that_it_asks_for_and_more_from_time_to_time() -> None:
    shard, job = one_job(refusals=3)
    for retry_after in (0.001, 40.0):
        after, _ = state_machine.submitted(shard, job, Refused(error(8005, 503, retry_after)), 0.0, POLLING)
        assert after.jobs[0].due == max(retry_after, POLLING.backoff("b", 4))


def test_what_may_have_been_accepted_is_not_called_unsent_when_sending_stops() -> None:
    shard = Shard((*one_job(unknown=1)[0].jobs, replace(one_job()[1], batch_id="c")))
    stopped = Failure("submit", "stopped", "not sent", retryable=True)
    shard, effects = state_machine.give_up_unsent(shard, stopped)
    assert shard.jobs == ()
    assert [effect.failure.code for effect in effects if isinstance(effect, GiveUp)] == ["unknown_submit", "stopped"]


def test_submits_that_may_be_paid_for_twice_are_counted_by_their_documents() -> None:
    jobs = [one_job(count=3)[1], one_job(count=5, unknown=1)[1], one_job(count=7, resubmitted=True)[1]]
    counts = state_machine.metrics_of([(job, Accepted("r")) for job in jobs])
    assert (counts[metrics.RESUBMITS], counts[metrics.MAYBE_PAID_TWICE]) == (2, 5 + 7)


def in_flight(*request_ids: str, since: float = 0.0) -> Shard:
    shard = admit(Shard(), [(f"batch {r}", 1) for r in request_ids], since)
    for job, request_id in zip(shard.jobs, request_ids, strict=True):
        shard, _ = state_machine.submitted(shard, job, Accepted(request_id), since, POLLING)
    return shard


def polled_now(shard: Shard, now: float, patience: float = 180.0) -> list[str | None]:
    return [job.request_id for job in due(shard, now, patience, POLLING.deadline)]


def test_a_job_is_polled_at_once_when_its_event_has_come_and_late_without() -> None:
    shard = in_flight("r", "s")
    assert wake(shard, 180.0, POLLING.deadline) == 181.0
    assert polled_now(shard, 180.9) == []
    shard = mark_event_seen(shard, {"s", "nobody's"}, 0.5)
    assert polled_now(shard, 0.5) == ["s"]
    assert wake(shard, 180.0, POLLING.deadline) == 0.5
    assert polled_now(shard, 181.0) == ["s", "r"]


def test_an_event_that_comes_again_has_nothing_fetched_again() -> None:
    shard = mark_event_seen(in_flight("r"), {"r"}, 10.0)
    shard, _ = state_machine.polled(shard, shard.jobs[0], Trouble("x"), 11.0, POLLING)
    assert polled_now(mark_event_seen(shard, {"r"}, 11.1), 11.1) == []


def test_a_fetch_that_failed_is_made_again_at_the_usual_pace() -> None:
    shard = mark_event_seen(in_flight("r"), {"r"}, 10.0)
    for result in (Trouble("x"), Pending()):
        shard, _ = state_machine.polled(shard, shard.jobs[0], result, 10.0, POLLING)
        assert wake(shard, 180.0, POLLING.deadline) == wake(shard)
        assert polled_now(shard, 13.0) == ["r"]


def test_waiting_for_events_goes_on_to_the_deadline_and_no_further() -> None:
    shard = in_flight("r")
    deadline = POLLING.deadline
    shard, effects = state_machine.polled(shard, shard.jobs[0], Pending(), deadline - 10, POLLING)
    assert effects == []
    assert wake(shard, 180.0, deadline) == deadline


def test_a_job_that_is_submitted_again_has_an_event_of_its_own() -> None:
    shard = mark_event_seen(in_flight("r"), {"r"}, 100.0)
    for now in (100.0, 200.0):
        shard, _ = state_machine.polled(shard, shard.jobs[0], Gone("x"), now, POLLING)
    assert shard.jobs[0].request_id is None
    shard, _ = state_machine.submitted(shard, shard.jobs[0], Accepted("again"), 201.0, POLLING)
    assert polled_now(shard, 300.0) == []


def test_told_to_come_back_later_a_shard_waits_for_all_its_events() -> None:
    shard = mark_event_seen(replace(in_flight("r"), polls_from=50.0), {"r"}, 10.0)
    assert polled_now(shard, 49.0) == []
    assert polled_now(shard, 50.0) == ["r"]


def test_an_event_says_nothing_of_what_is_not_submitted() -> None:
    shard = admit(Shard(), [("b", 1)], 0.0)
    assert mark_event_seen(shard, {"r"}, 0.0) == shard
    assert [job.batch_id for job in due(shard, 0.0, 180.0, POLLING.deadline)] == ["b"]


@pytest.mark.parametrize("retry_after", [17.0, 3_000.0])
def test_retry_after_delays_the_whole_shard_and_uses_up_no_attempt(retry_after: float) -> None:
    shard = admit(Shard(), [("a", 1), ("b", 1)], 0.0)
    shard, effects = state_machine.submitted(shard, shard.jobs[0], Refused(error(3021, 429, retry_after)), 0.0, POLLING)
    assert effects == []
    assert [job.attempts for job in shard.jobs] == [0, 0]
    assert due(shard, retry_after - 0.01) == []
    assert len(due(shard, retry_after)) == 2


def test_a_retry_after_of_nothing_is_no_leave_to_come_back_for_ever_at_once() -> None:
    shard, job = one_job()
    shard, _ = state_machine.submitted(shard, job, Refused(error(3021, 429, 0.0)), 0.0, POLLING)
    assert due(shard, 0.05) == []


def test_a_poll_that_is_throttled_delays_the_others_too() -> None:
    shard, _ = one_job(request_id="r")
    shard = admit(shard, [("other", 1)], 0.0)
    shard = Shard((shard.jobs[0], replace(shard.jobs[1], request_id="s")))
    shard, _ = state_machine.polled(shard, shard.jobs[0], Trouble("x", error(3040, 429, 30.0)), 0.0, POLLING)
    assert due(shard, 29.9) == []


def test_a_busy_service_that_names_no_time_delays_the_refused_batch_alone() -> None:
    """How many of the others may be sent is known to the process: its window."""
    shard = admit(Shard(), [("a", 1), ("b", 1)], 0.0)
    shard, _ = state_machine.submitted(shard, shard.jobs[0], Refused(error(3040, 429)), 0.0, POLLING)
    assert [job.batch_id for job in due(shard, 0.0)] == ["b"]
    assert [job.batch_id for job in due(shard, POLLING.first)] == ["b", "a"], "who waits longest comes first"


def test_a_shard_is_held_as_long_as_its_process_may_not_send_and_no_shorter() -> None:
    shard = admit(Shard(), [("a", 1), ("b", 1)], 0.0)
    shard = replace(shard, jobs=(shard.jobs[0], replace(shard.jobs[1], request_id="s")))
    shard = delay_until(shard, submits=10.0, polls=20.0)
    assert [job.batch_id for job in due(shard, 10.0)] == ["a"]
    assert delay_until(shard, submits=3.0) == shard, "a shorter hold lifts a longer one"
    assert len(due(shard, 20.0)) == 2


def test_waiting_politely_never_ends_a_batch_before_its_deadline() -> None:
    shard, _ = one_job()
    now = 0.0
    for _ in range(50):  # far more than the refusals that a batch may have
        now += 70
        shard, effects = state_machine.submitted(shard, shard.jobs[0], Refused(error(3040, 429)), now, POLLING)
        assert effects == []
    shard, effects = state_machine.submitted(shard, shard.jobs[0], Refused(error(3040, 429)), 3_601, POLLING)
    (given_up,) = effects
    assert isinstance(given_up, GiveUp)
    assert (given_up.failure.code, given_up.failure.retryable) == ("refused", True)


def test_an_unknown_submit_is_repeated_once_and_no_more() -> None:
    shard, job = one_job()
    shard, effects = state_machine.submitted(shard, job, Unknown("reset"), 0.0, POLLING)
    assert effects == []
    assert not due(shard, 60.0), "a minute without a word would cost every document that is sent in it"
    assert due(shard, 120.0)[0].request_id is None
    shard, effects = state_machine.submitted(shard, shard.jobs[0], Unknown("reset"), 120.0, POLLING)
    (given_up,) = effects
    assert isinstance(given_up, GiveUp)
    assert given_up.failure.code == "unknown_submit"
    assert "may have been paid" in given_up.failure.message
    assert shard.jobs == ()


def test_or_not_at_all_where_the_user_wants_that() -> None:
    shard, job = one_job()
    shard, effects = state_machine.submitted(shard, job, Unknown("reset"), 0.0, POLLING, may_repeat=False)
    (given_up,) = effects
    assert isinstance(given_up, GiveUp)
    assert (given_up.failure.code, given_up.failure.retryable) == ("unknown_submit", True)
    assert "twice" not in given_up.failure.message
    assert shard.jobs == ()


def test_a_job_that_is_not_done_in_time_is_submitted_again_once_where_the_user_wants_that() -> None:
    polling = replace(POLLING, on_deadline="resubmit")
    shard = polled_until(one_job(request_id="r", attempts=1)[0], 3_600.0)
    shard, effects = state_machine.polled(shard, shard.jobs[0], Pending(), 3_600.0, polling)
    assert effects == []
    (again,) = due(shard, 3_600.0)
    assert (again.request_id, again.since) == (None, 3_600.0)
    shard, _ = state_machine.submitted(shard, again, Accepted("s"), 3_600.0, polling)
    shard = polled_until(shard, 7_200.0)
    shard, effects = state_machine.polled(shard, shard.jobs[0], Pending(), 7_200.0, polling)
    (given_up,) = effects
    assert isinstance(given_up, GiveUp)
    assert (given_up.failure.code, given_up.job.request_id) == ("deadline", "s")


@pytest.mark.parametrize("first", ["lost", "late"])
def test_a_job_is_submitted_again_at_most_once_for_whatever_reason(first: str) -> None:
    polling = replace(POLLING, on_deadline="resubmit")
    shard = polled_until(one_job(request_id="r")[0], 3_599.0)
    gone, pending = [Gone("5504")] * state_machine.MAX_GONE, [Pending()]
    for result in gone if first == "lost" else pending:
        shard, effects = state_machine.polled(
            shard, shard.jobs[0], result, 3_599.0 if first == "lost" else 3_600.0, polling
        )
        assert effects == []
    shard, _ = state_machine.submitted(shard, shard.jobs[0], Accepted("s"), 3_600.0, polling)
    shard = polled_until(shard, 7_199.0)
    for result in pending if first == "lost" else gone:
        shard, effects = state_machine.polled(
            shard, shard.jobs[0], result, 7_200.0 if first == "lost" else 7_199.0, polling
        )
    assert [type(effect) for effect in effects] == [GiveUp]


def test_a_refusal_between_two_unknown_submits_does_not_allow_a_third() -> None:
    shard, _ = one_job()
    for result in (Unknown("reset"), Refused(error(8005, 500)), Refused(error(3021, 429)), Unknown("reset")):
        shard, effects = state_machine.submitted(shard, shard.jobs[0], result, 0.0, POLLING)
    assert isinstance(effects[0], GiveUp)
    assert shard.jobs == ()


def test_refusals_of_the_services_own_trouble_are_bounded() -> None:
    shard, _ = one_job()
    for _ in range(retry_limits.MAX_REFUSALS - 1):
        shard, effects = state_machine.submitted(shard, shard.jobs[0], Refused(error(8005, 500)), 0.0, POLLING)
        assert effects == []
    late = min(retry_limits.OUTAGE, POLLING.deadline)
    _, effects = state_machine.submitted(shard, shard.jobs[0], Refused(error(8005, 500)), late - 1, POLLING)
    assert effects == [], "an outage of some minutes costs nobody a document"
    shard, effects = state_machine.submitted(shard, shard.jobs[0], Refused(error(8005, 500)), late, POLLING)
    assert isinstance(effects[0], GiveUp)
    assert effects[0].failure.retryable


@pytest.mark.parametrize("code", [9106, 10000, 3023, 5016, 5018, 5035, 5007, 3042, 8007, 7003])
def test_account_trouble_is_known_by_its_code_and_keeps_the_jobs(code: int) -> None:
    for status in (200, 400, 401, 403, 404):
        shard, job = one_job()
        shard, effects = state_machine.submitted(shard, job, Refused(error(code, status)), 0.0, POLLING)
        assert effects == [Halt(error(code, status))]
        assert len(shard.jobs) == 1


def test_account_trouble_holds_back_submits_and_polls_as_long_as_the_longest_wait() -> None:
    shard, job = one_job()
    shard, _ = state_machine.submitted(shard, job, Refused(error(10000, 401)), 5.0, POLLING)
    until = 5.0 + POLLING.ceiling
    assert (shard.submits_from, shard.polls_from) == (until, until), "a stream would ask on without a pause"
    shard, _ = one_job(request_id="r", account_trouble=retry_limits.MAX_ACCOUNT_TROUBLE - 1)
    shard, effects = state_machine.polled(shard, shard.jobs[0], Trouble("x", error(10000, 401)), 5.0, POLLING)
    assert effects == [Halt(error(10000, 401))]
    assert shard.polls_from == until


def test_a_deadline_that_is_shorter_than_an_outage_ends_refused_submits() -> None:
    short = replace(POLLING, deadline=100.0)
    shard, _ = one_job(refusals=retry_limits.MAX_REFUSALS)
    _, effects = state_machine.submitted(shard, shard.jobs[0], Refused(error(8005, 500)), 100.0, short)
    assert [type(effect) for effect in effects] == [GiveUp]
    shard, _ = one_job()
    _, effects = state_machine.unreadable(shard, shard.jobs[0], {0: AWAY}, 100.0, short)
    assert [type(effect) for effect in effects] == [Drop]


def test_a_service_that_cannot_be_reached_delays_the_whole_shard_longer_each_time() -> None:
    shard, job = one_job()
    waits = []
    for tries in range(6):
        held, _ = state_machine.submitted(shard, replace(job, delays=tries), Unsent("no connection"), 5.0, POLLING)
        assert held.submits_from == held.jobs[0].due > 5.0, "each batch would find out for itself"
        waits.append(held.jobs[0].due - 5.0)
    assert max(waits) > POLLING.first
    busy, _ = state_machine.submitted(shard, replace(job, delays=9), Refused(error(3040, 429)), 5.0, POLLING)
    assert busy.jobs[0].due <= 5.0 + POLLING.first, "the process's window does the waiting"


@pytest.mark.parametrize("refused", [error(3040, 429, 9e4), error(8005, 503, 9e4)])
def test_a_wait_that_the_service_asks_for_ends_at_the_deadline(refused: ServiceError) -> None:
    shard, job = one_job()
    shard, effects = state_machine.submitted(shard, job, Refused(refused), 5.0, POLLING)
    assert (effects, shard.jobs[0].due) == ([], POLLING.deadline)
    polls, _ = one_job(request_id="r")
    polls, _ = state_machine.polled(polls, polls.jobs[0], Trouble("x", refused), 5.0, POLLING)
    assert polls.polls_from == POLLING.deadline


def test_a_refusal_past_the_deadline_is_not_repeated_without_a_pause() -> None:
    shard, job = one_job()
    now = 2 * POLLING.deadline
    shard, effects = state_machine.submitted(shard, job, Refused(error(8005, 503, 60.0)), now, POLLING)
    assert (effects, shard.jobs[0].due) == ([], now + POLLING.first)


@pytest.mark.parametrize("result", [Unsent("no connection"), Refused(error(3040, 429))])
def test_the_try_at_the_deadline_is_the_last(result: Unsent | Refused) -> None:
    shard, _ = one_job()
    kept, effects = state_machine.submitted(shard, shard.jobs[0], result, POLLING.deadline - 0.5, POLLING)
    assert effects == []
    assert kept.jobs[0].due <= POLLING.deadline + POLLING.first
    _, effects = state_machine.submitted(shard, shard.jobs[0], result, POLLING.deadline, POLLING)
    assert [type(effect) for effect in effects] == [GiveUp]


@pytest.mark.parametrize("code", [9106, 10000, 3023, 5016, 5018, 5035, 5007, 3042, 8007, 7003, 2009, 5024, 3006, 5006])
def test_a_429_waits_whatever_code_stands_beside_it(code: int) -> None:
    shard, job = one_job()
    shard, effects = state_machine.submitted(shard, job, Refused(error(code, 429, 7.0)), 0.0, POLLING, may_run=True)
    assert effects == [], "the job ends, or its documents are given up, because the service is busy"
    assert (shard.jobs[0].attempts, shard.submits_from) == (0, 7.0)
    shard, _ = one_job(request_id="r")
    for _ in range(2 * retry_limits.MAX_ACCOUNT_TROUBLE):
        shard, effects = state_machine.polled(shard, shard.jobs[0], Trouble("x", error(code, 429, 7.0)), 1.0, POLLING)
        assert effects == []
    assert shard.polls_from == 8.0


@pytest.mark.parametrize("status", [500, 502, 503, 520])
@pytest.mark.parametrize("code", [9106, 10000, 3023, 5018, 5035, 5007, 7003])
def test_trouble_of_the_services_own_says_nothing_of_the_account(status: int, code: int) -> None:
    shard, job = one_job()
    shard, effects = state_machine.submitted(shard, job, Refused(error(code, status)), 0.0, POLLING)
    assert effects == []
    assert shard.jobs[0].refusals == 1
    shard, _ = one_job(request_id="r")
    for _ in range(2 * retry_limits.MAX_ACCOUNT_TROUBLE):
        shard, effects = state_machine.polled(shard, shard.jobs[0], Trouble("x", error(code, status)), 1.0, POLLING)
        assert effects == []


@pytest.mark.parametrize("code", [3036, 4006])
def test_a_spent_quota_is_one_under_429_too(code: int) -> None:
    assert error(code, 429).remedy is Remedy.TOMORROW


def test_a_bare_401_is_account_trouble_and_a_bare_403_is_not() -> None:
    shard, job = one_job(count=1)
    assert isinstance(state_machine.submitted(shard, job, Refused(error(None, 401)), 0.0, POLLING)[1][0], Halt)
    assert isinstance(state_machine.submitted(shard, job, Refused(error(None, 403)), 0.0, POLLING)[1][0], GiveUp)


def test_a_spent_quota_gives_up_what_is_unsent_and_keeps_what_is_in_flight() -> None:
    shard = admit(Shard(), [("a", 1), ("b", 1), ("c", 1)], 0.0)
    results = [
        (shard.jobs[0], Refused(error(3036, 429))),
        (shard.jobs[1], Accepted("r")),  # made at once with the refusal, and paid for
        (shard.jobs[2], Unknown("reset")),
    ]
    shard, effects = state_machine.submitted_together(shard, results, 90_000.0, POLLING)  # type: ignore[arg-type]
    assert {e.job.batch_id: e.failure.code for e in effects if isinstance(e, GiveUp)} == {
        "a": "quota_exhausted",
        "c": "unknown_submit",  # it may have been paid for: it must not be said to be unsent
    }
    assert [job.request_id for job in shard.jobs] == ["r"]
    assert shard.parked_until == 172_800.0  # the next 00:00 UTC


def test_a_batch_refused_for_good_is_halved_until_the_bad_request_stands_alone() -> None:
    shard, job = one_job(count=4)
    shard, effects = state_machine.submitted(shard, job, Refused(error(5006, 400)), 0.0, POLLING)
    assert isinstance(effects[0], Split)
    assert shard.jobs == ()
    shard, job = one_job(count=1)
    _, effects = state_machine.submitted(shard, job, Refused(error(5006, 400)), 0.0, POLLING)
    assert isinstance(effects[0], GiveUp)
    assert not effects[0].failure.retryable


def test_halving_stops_where_every_request_is_refused() -> None:
    shard = admit(Shard(), [(f"b{i}", 1_000_000) for i in range(40)], 0.0)
    kinds: Counter[type] = Counter()
    for job in shard.jobs:
        shard, effects = state_machine.submitted(shard, job, Refused(error(5006, 400)), 0.0, POLLING)
        kinds[type(effects[0])] += 1
    assert kinds == {Split: state_machine.MAX_SPLITS_IN_VAIN, GiveUp: 20}


@pytest.mark.parametrize("trouble", [Trouble("reset"), Trouble("x", error(None, 502)), Trouble("x", error(5001, 500))])
def test_a_failed_poll_is_never_the_end_only_the_deadline_is(trouble: Trouble) -> None:
    shard, _ = one_job(request_id="r")
    now, polls = 0.0, 0
    while shard.jobs:
        now = max(now, wake(shard) or 0.0)
        shard, effects = state_machine.polled(shard, shard.jobs[0], trouble, now, POLLING)
        polls += 1
    assert now == POLLING.deadline  # a last poll at the deadline itself
    assert polls > 50
    (given_up,) = effects
    assert isinstance(given_up, GiveUp)
    assert (given_up.failure.code, given_up.failure.retryable) == ("deadline", True)
    assert given_up.job.ticket.request_id == "r"


def test_a_lost_job_is_believed_lost_after_a_while_and_submitted_again_once() -> None:
    shard, _ = one_job(request_id="r", attempts=1)
    for now in (1.0, 3.0, 59.0):
        shard, effects = state_machine.polled(shard, shard.jobs[0], Gone("5504"), now, POLLING)
        assert effects == []
        assert shard.jobs[0].request_id == "r", "a job that is not visible yet would be paid for again"
    shard, _ = state_machine.polled(shard, shard.jobs[0], Gone("5504"), 60.0, POLLING)
    assert shard.jobs[0].request_id is None
    shard, _ = state_machine.submitted(shard, shard.jobs[0], Accepted("r2"), 61.0, POLLING)
    assert shard.jobs[0].attempts == 2
    for now in (90.0, 130.0):
        shard, effects = state_machine.polled(shard, shard.jobs[0], Gone("5504"), now, POLLING)
    assert isinstance(effects[0], GiveUp)
    assert effects[0].failure.code == "expired"


def test_a_job_that_is_submitted_again_starts_with_nothing_of_its_former_self_but_what_it_has_cost() -> None:
    former = {"polls": 9, "gone": 1, "rereads": 1, "empty": 2, "grace_until": 400.0, "event_seen": True, "attempts": 1}
    shard, _ = one_job(request_id="r", submitted_as=("earlier", 9, [1, 2, 3]), **former)  # type: ignore[arg-type]
    shard, _ = state_machine.polled(shard, shard.jobs[0], Gone("5504"), 300.0, POLLING)
    (job,) = shard.jobs
    assert (job.request_id, job.replaces, job.resubmitted) == (None, "r", True)
    assert (job.since, job.due, job.attempts) == (300.0, 300.0, 1)
    assert (job.polls, job.gone, job.rereads, job.empty, job.grace_until, job.event_seen) == (0, 0, 0, 0, 0.0, False)
    assert job.submitted_as is None, "its requests go by the batch's own names"


def test_a_job_that_reappears_is_not_submitted_again() -> None:
    shard, _ = one_job(request_id="r")
    for result in (Gone("5504"), Pending(), Gone("5504"), Pending()):
        shard, _ = state_machine.polled(shard, shard.jobs[0], result, 1.0, POLLING)
        assert shard.jobs[0].request_id == "r"


def test_a_job_that_the_service_calls_failed_is_given_up() -> None:
    shard, _ = one_job(request_id="r")
    shard, effects = state_machine.polled(shard, shard.jobs[0], Failed("error"), 1.0, POLLING)
    assert isinstance(effects[0], GiveUp)
    assert effects[0].failure.code == "job_failed"


def test_what_is_in_flight_survives_a_moment_of_account_trouble() -> None:
    shard, _ = one_job(request_id="r")
    revoked = Trouble("x", error(10000, 401))
    for _ in range(retry_limits.MAX_ACCOUNT_TROUBLE - 1):
        shard, effects = state_machine.polled(shard, shard.jobs[0], revoked, 1.0, POLLING)
        assert effects == []
    shard, effects = state_machine.polled(shard, shard.jobs[0], revoked, 1.0, POLLING)
    assert effects == [Halt(error(10000, 401))]
    assert len(shard.jobs) == 1


CHANGED = Failure("read", "file_changed", "it has changed", retryable=True)
AWAY = Failure("read", "unreadable", "the bucket is away", retryable=True)


def test_a_batch_with_a_file_that_changed_is_parted_at_once() -> None:
    shard, job = one_job(unknown=1, attempts=1)
    assert state_machine.unreadable(shard, job, {1: CHANGED}, 5.0, POLLING) == (Shard(), [Drop(job, {1: CHANGED})])


def test_a_batch_with_a_file_that_cannot_be_read_now_waits_and_uses_nothing_up() -> None:
    shard, job = one_job()
    tries, now = 0, 0.0
    while True:
        shard, effects = state_machine.unreadable(shard, job, {0: CHANGED, 2: AWAY}, now, POLLING)
        if effects:
            break
        (job,) = shard.jobs
        assert now < job.due <= now + POLLING.ceiling * 2
        assert (job.attempts, job.refusals, job.unknown, job.trouble) == (0, 0, 0, AWAY.message)
        assert shard.submits_from == 0.0, "the other batches need not wait"
        tries, now = tries + 1, job.due
    assert effects == [Drop(job, {0: CHANGED, 2: AWAY})]
    assert retry_limits.OUTAGE <= now < retry_limits.OUTAGE + POLLING.ceiling * 2
    assert tries >= 5


# ------------------------------------------------------------------------------------------------ in a row


def test_a_lost_job_is_believed_as_soon_as_the_longest_wait_is_over() -> None:
    polling = replace(POLLING, ceiling=20)
    shard, _ = one_job(request_id="r")
    for now in (1.0, 19.0):
        shard, _ = state_machine.polled(shard, shard.jobs[0], Gone("5504"), now, polling)
        assert shard.jobs[0].request_id == "r"
    shard, _ = state_machine.polled(shard, shard.jobs[0], Gone("5504"), 20.0, polling)
    assert shard.jobs[0].request_id is None, "a minute is waited where nobody polls so seldom"


@pytest.mark.parametrize("between", [Pending(), Gone("5504"), NoResults("null"), Trouble("x", error(3040, 429))])
def test_account_trouble_that_is_not_in_a_row_stops_nothing(between: object) -> None:
    shard, _ = one_job(request_id="r")
    revoked = Trouble("x", error(10000, 401))
    for result in [revoked, revoked, between, revoked, revoked]:
        shard, effects = state_machine.polled(shard, shard.jobs[0], result, 1.0, POLLING)  # type: ignore[arg-type]
        assert effects == []
    assert shard.jobs[0].account_trouble == retry_limits.MAX_ACCOUNT_TROUBLE - 1


@pytest.mark.parametrize("between", [Pending(), NoResults("null"), Trouble("x"), Trouble("x", error(3040, 429))])
def test_a_job_that_is_called_lost_now_and_then_is_not_submitted_again(between: object) -> None:
    shard, _ = one_job(request_id="r")
    for now, result in enumerate([Gone("5504"), between, Gone("5504"), between, Gone("5504")]):
        shard, effects = state_machine.polled(shard, shard.jobs[0], result, 100.0 + now, POLLING)  # type: ignore[arg-type]
        assert (shard.jobs[0].request_id, effects) == ("r", []), "it would be paid for twice"


def test_a_poll_that_nobody_answered_says_nothing_for_the_token() -> None:
    shard, _ = one_job(request_id="r")
    revoked = Trouble("x", error(10000, 401))
    for result in [revoked, revoked, Trouble("no connection"), revoked]:
        shard, effects = state_machine.polled(shard, shard.jobs[0], result, 1.0, POLLING)
    assert effects == [Halt(error(10000, 401))]


def test_an_accepted_submit_shows_that_the_fault_is_not_in_every_request() -> None:
    """Else a shard that lives long stops halving for ever after its twentieth bad request."""
    shard = admit(Shard(), [(f"b{i}", 8) for i in range(2 * state_machine.MAX_SPLITS_IN_VAIN + 1)], 0.0)
    refused = Refused(error(5006, 400))
    for number, job in enumerate(shard.jobs):
        result = Accepted("r") if number == state_machine.MAX_SPLITS_IN_VAIN else refused
        shard, effects = state_machine.submitted(shard, job, result, 0.0, POLLING)
        assert not any(isinstance(effect, GiveUp) for effect in effects), number


# ------------------------------------------------------------------------------------------------ doubtful replies


def items(*numbers: int, of: str = "b") -> Done:
    return Done([{"external_reference": f"{of}-{n}", "result": {}} for n in numbers], None)


def test_an_item_is_missing_when_two_readings_lack_it_and_what_came_is_settled_at_the_first() -> None:
    shard, job = one_job(request_id="r")
    shard, effects = state_machine.polled(shard, job, items(2, 0), 1.0, POLLING)
    assert effects == [FinishSome(Finish(job, items(2, 0).items, None), [0, 2])]
    (again,) = shard.jobs
    assert (again.request_id, again.rereads) == ("r", 1)
    assert again.due == 1.0 + POLLING.wait("b", 1)
    assert wake(shard, 180.0, POLLING.deadline) == again.due, "no event comes for what was told of already"
    left = replace(again, submitted_as=("b", 3, [1]), count=1)
    shard, effects = state_machine.polled(Shard((left,)), left, items(2, 0), left.due, POLLING)
    assert [type(effect) for effect in effects] == [Finish]
    assert shard.jobs == ()


def test_a_job_is_read_on_while_each_reading_brings_items() -> None:
    shard, job = one_job(request_id="r", count=5)
    settled: list[int] = []
    for numbers in ([0], [0, 1], [0, 1, 2], [0, 1, 2, 3]):
        shard, (effect,) = state_machine.polled(shard, job, items(*numbers), job.due + 1, POLLING)
        assert isinstance(effect, FinishSome)
        settled += numbers[-1:]
        (again,) = shard.jobs
        job = replace(again, submitted_as=("b", 5, [n for n in range(5) if n not in settled]), count=5 - len(settled))
        shard = replace(shard, jobs=(job,))
    shard, (effect,) = state_machine.polled(shard, job, items(0, 1, 2, 3), job.due + 1, POLLING)
    assert isinstance(effect, Finish), "a reading without anything new"
    assert shard.jobs == ()


def test_a_job_that_answers_nothing_is_read_once_more_too() -> None:
    shard, job = one_job(request_id="r")
    shard, effects = state_machine.polled(shard, job, Done([], None), 1.0, POLLING)
    assert effects == []
    assert isinstance(state_machine.polled(shard, shard.jobs[0], Done([], None), 2.0, POLLING)[1][0], Finish)


def test_of_a_job_under_anothers_name_only_its_own_items_are_waited_for() -> None:
    shard, job = one_job(request_id="r", count=2, submitted_as=("b", 5, [1, 3]))
    assert [type(e) for e in state_machine.polled(shard, job, items(1, 3), 1.0, POLLING)[1]] == [Finish]
    _, (effect,) = state_machine.polled(shard, job, items(0, 2, 3, 4), 1.0, POLLING)
    assert isinstance(effect, FinishSome)
    assert effect.answered == [1]


def test_a_reply_of_another_job_is_never_believed() -> None:
    shard, _ = one_job(request_id="r")
    now = 0.0
    while shard.jobs:
        now = wake(shard) or 0.0
        shard, effects = state_machine.polled(shard, shard.jobs[0], items(0, 1, 2, of="c"), now, POLLING)
    (given_up,) = effects
    assert now == POLLING.deadline
    assert isinstance(given_up, GiveUp)
    assert (given_up.failure.code, given_up.job.request_id) == ("deadline", "r")
    assert "3 items of other jobs" in given_up.failure.message


def test_a_reply_of_another_job_does_not_use_up_the_second_reading() -> None:
    shard, _ = one_job(request_id="r")
    for result in (items(7, of="c"), items(8, of="c"), items(0, 1)):
        shard, effects = state_machine.polled(shard, shard.jobs[0], result, 1.0, POLLING)
    assert isinstance(effects[0], FinishSome)
    assert len(shard.jobs) == 1


def test_items_that_cannot_be_told_apart_are_read_once_more_and_then_settled() -> None:
    shard, _ = one_job(request_id="r")
    done = Done([{"index": n, "result": {}} for n in (1, 2, 3)], None)
    shard, effects = state_machine.polled(shard, shard.jobs[0], done, 1.0, POLLING)
    assert effects == []
    shard, effects = state_machine.polled(shard, shard.jobs[0], done, 2.0, POLLING)
    assert [type(effect) for effect in effects] == [Finish]


def test_a_job_without_results_causes_a_warning_and_is_given_up_long_before_the_deadline() -> None:
    polling = replace(POLLING, deadline=86_400.0)
    shard, _ = one_job(request_id="r")
    now, told = 0.0, 0
    while shard.jobs:
        now = wake(shard) or 0.0
        shard, effects = state_machine.polled(shard, shard.jobs[0], NoResults("null"), now, polling)
        told += sum(isinstance(effect, Warn) for effect in effects)
    (given_up,) = effects
    assert isinstance(given_up, GiveUp)
    assert (given_up.failure.code, given_up.failure.retryable, given_up.job.request_id) == ("no_results", True, "r")
    assert retry_limits.OUTAGE <= now < retry_limits.OUTAGE + 3 * polling.ceiling
    assert told == 1


@pytest.mark.parametrize(
    ("polls", "due_before"),
    [(0, 1.0), (9, 2 * POLLING.ceiling + 1)],
    ids=["never looked at", "not looked at for long"],
)
def test_a_job_that_nobody_looked_at_is_polled_some_minutes_past_its_deadline_and_no_longer(
    polls: int, due_before: float
) -> None:
    now = POLLING.deadline + 500
    shard, _ = one_job(request_id="r", polls=polls, due=now - due_before)
    until, looks = now + retry_limits.OUTAGE, 0
    while now < until:
        shard, effects = state_machine.polled(shard, shard.jobs[0], Pending(), now, POLLING)
        assert (effects, shard.jobs[0].grace_until) == ([], until), "it is put off once"
        now, looks = (wake(shard) or 0.0) + (300 if looks == 2 else 0), looks + 1
    _, effects = state_machine.polled(shard, shard.jobs[0], Pending(), now, POLLING)
    assert [type(effect) for effect in effects] == [GiveUp]
    assert looks > 3


def test_a_job_that_was_looked_at_all_the_time_ends_at_its_deadline() -> None:
    shard, _ = one_job(request_id="r", polls=9, due=POLLING.deadline - 2 * POLLING.ceiling + 1)
    _, effects = state_machine.polled(shard, shard.jobs[0], Pending(), POLLING.deadline, POLLING)
    assert [type(effect) for effect in effects] == [GiveUp]


def test_the_minutes_past_a_short_deadline_are_no_longer_than_it() -> None:
    shard, _ = one_job(request_id="r")
    shard, _ = state_machine.polled(shard, shard.jobs[0], Pending(), 1_000.0, replace(POLLING, deadline=100.0))
    assert shard.jobs[0].grace_until == 1_100.0


def test_one_look_without_results_past_the_deadline_does_not_end_a_job_that_nobody_looked_at() -> None:
    shard, _ = one_job(request_id="r")
    shard, effects = state_machine.polled(shard, shard.jobs[0], NoResults("null"), POLLING.deadline + 1, POLLING)
    assert effects == []
    assert len(shard.jobs) == 1


def test_results_that_are_late_end_no_job_that_was_without_them_for_a_while() -> None:
    shard, _ = one_job(request_id="r")
    for now in range(0, 3_000, 100):
        result = Pending() if now % 900 == 800 else NoResults("null")
        shard, _ = state_machine.polled(shard, shard.jobs[0], result, float(now), POLLING)
    assert [type(e) for e in state_machine.polled(shard, shard.jobs[0], items(0, 1, 2), 3_000.0, POLLING)[1]] == [
        Finish
    ]


# ------------------------------------------------------------------------------------------------ whole runs

_errors = st.sampled_from(
    [
        error(3021, 429, 7.0),
        error(3021, 429),
        error(3040, 429),
        error(None, 429, 30.0),
        error(8005, 500),
        error(3046, 408),
        error(5006, 400),
        error(3006, 413),
        error(None, 404),
        error(3036, 429),
        error(10000, 401),
    ]
)
_submit_results = st.one_of(
    st.just("accept"),
    st.just("accept"),
    st.just("accept"),
    st.builds(Refused, _errors),
    st.sampled_from(["lost before", "lost after"]),
    st.just(Unsent("refused")),
)
_poll_results = st.one_of(
    st.just(Pending()),
    st.just("done"),
    st.just("done"),
    st.just(Gone("5504")),
    st.just(Failed("error")),
    st.just(Trouble("reset")),
    st.builds(lambda e: Trouble("x", e), _errors),
)


@dataclass
class Service:
    """What the service really did, beside what it said."""

    data: st.DataObject
    accepted: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    not_before: float = 0.0

    def submit(self, job: Job) -> object:
        result = self.data.draw(_submit_results)
        if result in ("accept", "lost after"):
            self.accepted[job.batch_id] += 1
        if result in ("lost before", "lost after"):
            self.unknown[job.batch_id] += 1
            return Unknown("reset")
        return Accepted(f"{job.batch_id}/{self.accepted[job.batch_id]}") if result == "accept" else result


@settings(max_examples=2_000)
@given(data=st.data(), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_each_batch_ends_exactly_once_whatever_the_service_does(data: st.DataObject, sizes: list[int]) -> None:
    service, now = Service(data), 1_000_000.0
    shard = admit(Shard(), [(f"b{i}", n) for i, n in enumerate(sizes)], now)
    documents = {f"b{i}": n for i, n in enumerate(sizes)}
    ended: Counter[str] = Counter()
    given_up: dict[str, GiveUp] = {}
    gone: Counter[str] = Counter()
    for _ in range(2_000):
        if not shard.jobs:
            break
        wakes = wake(shard)
        assert wakes is not None
        now = max(now, wakes)
        effects: list[Effect] = []
        jobs = due(shard, now)
        assert jobs, "nothing is due at the time that wake() named: the shard would spin"
        results = []
        for job in jobs:
            if job.request_id is None:
                assert now >= service.not_before, "a submit before its Retry-After"
                results.append((job, service.submit(job)))
        for _, result in results:
            if isinstance(result, Refused) and result.error.remedy is Remedy.WAIT and result.error.retry_after:
                service.not_before = max(service.not_before, now + result.error.retry_after)
        shard, more = state_machine.submitted_together(shard, results, now, POLLING)  # type: ignore[arg-type]
        effects += more
        for job in jobs:
            if job.request_id is not None:
                drawn = data.draw(_poll_results)
                gone[job.batch_id] += isinstance(drawn, Gone)
                done = Done([{}], None)
                shard, more = state_machine.polled(shard, job, done if drawn == "done" else drawn, now, POLLING)
                effects += more
        for effect in effects:
            if isinstance(effect, Halt):
                continue
            batch = effect.job.batch_id  # type: ignore[union-attr]
            if isinstance(effect, Split):
                assert effect.job.count > 1
                halves = [(f"{batch}l", effect.job.count // 2), (f"{batch}r", effect.job.count - effect.job.count // 2)]
                documents.update(halves)
                del documents[batch]
                shard = admit(shard, halves, now)
            else:
                assert isinstance(effect, (Finish, GiveUp))
                ended[batch] += 1
                if isinstance(effect, GiveUp):
                    given_up[batch] = effect
        assert decode(encode(shard)) == shard
    assert not shard.jobs, "the shard never comes to an end"
    assert ended == Counter(dict.fromkeys(documents, 1)), "a batch ended twice, or never"
    assert sum(documents.values()) == sum(sizes), "splitting lost or doubled documents"
    for batch, count in service.unknown.items():
        assert count <= retry_limits.MAX_UNKNOWN, "an unknown submit was repeated more than once"
        del batch
    for batch, paid in service.accepted.items():
        # Paid again only where the service said nothing, or said twice in a row that it lost the job.
        assert paid <= 1 + service.unknown[batch] + gone[batch] // 2, "paid for twice without a reason"
    for batch, effect in given_up.items():
        if effect.failure.code in ("quota_exhausted", "refused", "unreachable") and not service.unknown[batch]:
            lost = gone[batch] // 2
            assert service.accepted[batch] <= lost, "a batch that was paid for is said to be unsent"
