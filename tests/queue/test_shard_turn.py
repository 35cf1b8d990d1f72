"""One turn of a shard: what each effect does to its jobs, their batches and what waits, and which requests are made."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from turns import Shop, accepted, batch, done, refused

from kimi_beam.network import allowance
from kimi_beam.queue import due_jobs, shard_turn
from kimi_beam.queue.effects import AskAgain, Drop, Finish, FinishSome, GiveUp, Halt, RunInstead, Split, Warn
from kimi_beam.queue.jobs import Job
from kimi_beam.queue.shard_turn import ShardTurn
from kimi_beam.report import metrics
from kimi_beam.request import batches
from kimi_beam.types.answer import Completion
from kimi_beam.types.document import Document, FileContent
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import OpenRequest
from kimi_beam.wire.envelopes import NoReply
from kimi_beam.wire.service_errors import ServiceError

REFUSED = Failure("submit", "refused", "words")
UNMET = Failure("infer", "json_mode_unmet", "words", retryable=True)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(monkeypatch)


def with_job(shop: Shop, *names: str, form: int = 0, **changes: Any) -> tuple[ShardTurn, Job]:
    """A turn of a shard that has one job with these documents."""
    turn = shop.turn()
    turn.admit(batch(*names, form=form))
    turn.write()
    shop.step.admitted.clear()
    turn = shop.turn()
    job = replace(turn.shard.jobs[0], **changes)
    turn.shard = replace(turn.shard, jobs=(job,))
    return turn, job


def ended(turn: ShardTurn, job: Job) -> ShardTurn:
    """The state machine takes a job out of the shard when it says how it ended."""
    turn.shard = replace(turn.shard, jobs=())
    return turn


def names(turn: ShardTurn) -> list[list[str]]:
    """The documents of what waits."""
    return [list(batches.decode(blob).ids) for blob in turn.waiting.take()]


# ------------------------------------------------------------------------------------------------ effects


def test_a_batch_that_is_given_up_leaves_with_its_requests_and_is_written_down(shop: Shop) -> None:
    turn, job = with_job(shop, "a", "b", request_id="r", attempts=2)
    shop.journal.open = [OpenRequest("r", "00", job.batch_id, 2, place, 0) for place in range(2)]
    (replies,) = ended(turn, job).carry_out(GiveUp(job, REFUSED))
    assert [(r.document.id, r.result, r.ticket.attempts, r.open) for r in replies] == [
        ("a", REFUSED, 2, shop.journal.open[0]),
        ("b", REFUSED, 2, shop.journal.open[1]),
    ]
    assert shop.journal.written == ["failure refused 2"]
    assert job.batch_id not in turn.held
    assert not turn.waiting


@pytest.mark.parametrize(("attempts", "doubled"), [(0, False), (1, True)])
def test_a_form_on_trial_is_tried_by_more_once_a_batch_that_was_sent_shows_nothing(
    shop: Shop, attempts: int, doubled: bool
) -> None:
    turn, job = with_job(shop, "a", form=1, attempts=attempts)
    list(ended(turn, job).carry_out(GiveUp(job, REFUSED)))
    assert shop.outcomes.trials.allowed(1, "0", shop.now) == (2 if doubled else 1)


def test_a_batch_that_json_mode_could_not_be_met_for_waits_for_its_next_form(shop: Shop) -> None:
    turn, job = with_job(shop, "a", "b", attempts=1)
    (replies,) = ended(turn, job).carry_out(AskAgain(job, UNMET))
    assert len(replies) == 0
    (again,) = turn.waiting.take()
    assert batches.head(again).form == 1
    assert [one.attempts for one in batches.spent(again)] == [1, 1]
    assert turn.has_waiting_again, "nothing else would look at it soon"
    assert shop.counts == {metrics.FALLBACKS: 2}
    assert shop.outcomes.has_unmet


def test_a_batch_without_another_form_leaves(shop: Shop) -> None:
    last = len(shop.step.prompt.forms) - 1
    turn, job = with_job(shop, "a", form=last, attempts=1)
    (replies,) = ended(turn, job).carry_out(AskAgain(job, UNMET))
    assert [reply.result for reply in replies] == [UNMET]
    assert not turn.waiting
    assert not turn.has_waiting_again


def test_both_halves_of_a_batch_are_jobs_that_this_worker_has_admitted(shop: Shop) -> None:
    turn, job = with_job(shop, "a", "b", "c")
    assert list(ended(turn, job).carry_out(Split(job))) == []
    turn.write()
    assert sorted(shop.held) == [["a"], ["b", "c"]] or sorted(shop.held) == [["a", "b"], ["c"]]
    assert shop.step.admitted == {one.batch_id for one in shop.jobs}
    assert shop.counts == {metrics.SPLITS: 1}


def test_a_half_that_is_in_flight_already_waits(shop: Shop) -> None:
    turn, job = with_job(shop, "a", "b")
    turn.admit(batch("a"))
    turn.shard = replace(turn.shard, jobs=turn.shard.jobs[1:])
    list(turn.carry_out(Split(job)))
    assert names(turn) == [["a"]]
    assert turn.has_waiting_again


def test_halves_wait_while_the_quota_is_spent(shop: Shop) -> None:
    turn, job = with_job(shop, "c", "d")
    turn.shard = replace(turn.shard, jobs=(), parked_until=shop.now + 1)
    list(turn.carry_out(Split(job)))
    assert names(turn) == [["c"], ["d"]]
    assert turn.has_waiting_again
    assert turn.shard.jobs == ()


def test_documents_whose_file_has_changed_leave_and_the_others_are_a_job_of_their_own(shop: Shop) -> None:
    changed = Failure("submit", "file_changed", "it is another one")
    turn, job = with_job(shop, "a", "b", "c", delays=4)
    replies = [one for some in ended(turn, job).carry_out(Drop(job, {1: changed})) for one in some]
    assert [(reply.document.id, reply.result) for reply in replies] == [("b", changed)]
    turn.write()
    assert shop.held == [["a", "c"]]
    assert [(one.count, one.delays) for one in shop.jobs] == [(2, 4)]


def test_what_is_left_of_such_a_batch_waits_where_it_is_in_flight_already(shop: Shop) -> None:
    changed = Failure("submit", "file_changed", "it is another one")
    turn, job = with_job(shop, "a", "b")
    turn.admit(batch("a"))
    turn.shard = replace(turn.shard, jobs=turn.shard.jobs[1:])
    list(turn.carry_out(Drop(job, {1: changed})))
    assert names(turn) == [["a"]]
    assert turn.has_waiting_again
    assert len(turn.shard.jobs) == 1


def test_nothing_is_left_of_a_batch_whose_files_have_all_changed(shop: Shop) -> None:
    turn, job = with_job(shop, "a")
    list(ended(turn, job).carry_out(Drop(job, {0: Failure("submit", "file_changed", "gone")})))
    turn.write()
    assert shop.jobs == ()
    assert shop.waiting == []


def test_a_batch_without_a_queue_is_asked_for_synchronously(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def run_instead(blob: bytes, shard: str) -> Any:
        asked.append(blob)
        yield ["a reply"]

    shop = Shop(monkeypatch, run_instead=run_instead)
    turn, job = with_job(shop, "a")
    replies: list[Any] = list(ended(turn, job).carry_out(RunInstead(job)))
    assert replies == [["a reply"]]
    assert asked == [batch("a")]
    assert job.batch_id not in turn.held


def test_trouble_with_the_account_keeps_everything(shop: Shop) -> None:
    turn, job = with_job(shop, "a")
    halt = Halt(ServiceError(401, 10000, "words"))
    assert list(turn.carry_out(halt)) == []
    assert turn.halts == [halt]
    assert job.batch_id in turn.held


def test_what_came_of_a_job_leaves_and_the_rest_is_read_again_under_the_same_ticket(shop: Shop) -> None:
    turn, job = with_job(shop, "a", "b", "c", request_id="r", attempts=1)
    items = items_of(job, (0, 2))
    (replies,) = turn.carry_out(FinishSome(Finish(job, items, None), [0, 2]))
    assert [(reply.document.id, type(reply.result)) for reply in replies] == [("a", Completion), ("c", Completion)]
    turn.write()
    assert shop.held == [["b"]]
    (rest,) = shop.jobs
    assert rest.request_id == "r"
    assert rest.requests == [job.batch_id, 3, [1]]  # type: ignore[comparison-overlap] # as JSON keeps a tuple


def test_a_job_is_not_split_if_a_part_of_it_is_in_flight_as_well(shop: Shop) -> None:
    turn, job = with_job(shop, "a", "b", request_id="r")
    turn.admit(batch("a"))
    assert list(turn.carry_out(FinishSome(Finish(job, items_of(job, [0]), None), [0]))) == []
    assert turn.shard.jobs[0] == job


def test_finished_jobs_are_written_down_before_they_leave(shop: Shop) -> None:
    turn, job = with_job(shop, "a", "b", request_id="r", attempts=1)
    leaving = ended(turn, job).finish([Finish(job, items_of(job, (0, 1)), None)])
    replies = next(leaving)
    assert shop.journal.written == ["answers [2]"]
    assert [reply.document.id for reply in replies] == ["a", "b"]
    assert not shop.outcomes.is_on_trial(0)


def test_a_finished_job_whose_items_all_failed_shows_nothing_of_its_form(shop: Shop) -> None:
    turn, job = with_job(shop, "a", form=1, request_id="r", attempts=1)
    failed = [{"external_reference": f"{job.batch_id}-0", "success": False, "error": {"code": 8001, "message": "no"}}]
    (replies,) = ended(turn, job).finish([Finish(job, failed, None)])
    assert isinstance(replies[0].result, Failure)
    assert shop.outcomes.is_on_trial(1)
    assert shop.outcomes.trials.allowed(1, "0", shop.now) == 2, "a row of them would put the others off one by one"


def test_an_item_too_many_is_counted(shop: Shop) -> None:
    turn, job = with_job(shop, "a", request_id="r")
    more = [*items_of(job, [0]), {"external_reference": "another's", "success": True, "result": {}}]
    list(ended(turn, job).finish([Finish(job, more, None)]))
    assert shop.counts == {metrics.SURPLUS_ITEMS: 1}


def test_a_warning_is_shown_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(shard_turn, "warn_once", lambda key, message: shown.append(message))
    assert list(shop.turn().carry_out(Warn("words"))) == []
    assert shown == ["words"]


def items_of(job: Job, places: Any) -> list[Any]:
    found: list[Any] = json.loads(done(job, places).body)["result"]["responses"]
    return found


# ------------------------------------------------------------------------------------------------ what is due


def submit_all(shop: Shop, *blobs: bytes) -> None:
    turn = shop.turn()
    for blob in blobs:
        turn.admit(blob)
    turn.write()


def test_what_is_due_is_submitted_two_at_a_time_and_written_down_before(shop: Shop) -> None:
    tickets = iter("rst")
    shop.client.on_submit = lambda _: accepted(next(tickets))
    submit_all(shop, batch("a"), batch("b"), batch("c"))
    assert shop.act() == []
    assert [job.request_id for job in shop.jobs] == ["r", "s", "t"]
    assert shop.journal.written == ["about to submit 1"] * 2 + ["reply 0", "reply 1", "about to submit 1", "reply 0"]
    assert shop.counts[metrics.SUBMITS] == 3
    assert [b"text of " + name in body for name, body in zip([b"a", b"b", b"c"], shop.client.submitted, strict=True)]
    assert shop.step.admitted == set()


def test_a_worker_that_did_not_admit_a_batch_asks_the_journal_first(shop: Shop) -> None:
    submit_all(shop, batch("a"), batch("b"))
    shop.step.admitted.clear()  # another worker has
    first = shop.jobs[0]
    shop.journal.ahead = {first.batch_id}
    shop.journal.taken = {job.batch_id for job in shop.jobs}
    shop.act()
    assert shop.journal.written[0] == "refreshed"
    assert shop.waiting == [["a"]], "it is recalled, not paid for again"
    assert [job.request_id for job in shop.jobs] == ["r"]
    assert shop.last.has_waiting_again


def test_a_batch_that_another_extract_has_asked_for_since_it_was_admitted_waits_again(shop: Shop) -> None:
    submit_all(shop, batch("a"), batch("b"))
    shop.journal.taken = {shop.jobs[1].batch_id}
    shop.journal.ahead = {job.batch_id for job in shop.jobs}
    shop.act()
    assert "refreshed" not in shop.journal.written
    assert shop.waiting == [["b"]]
    assert [job.request_id for job in shop.jobs] == ["r"]


def test_a_spent_quota_gives_up_what_is_unsent_here_and_stops_the_other_shards(shop: Shop) -> None:
    shop.client.on_submit = lambda _: refused(429, 3036)
    submit_all(shop, batch("a"), batch("b"), batch("c"))
    left = shop.act()
    assert Counter(reply.result.code for reply in left) == {"quota_exhausted": 3}  # type: ignore[union-attr]
    assert len(shop.client.submitted) == 2, "the third is given up without a request"
    assert shop.client.quota.spent_error(shop.now) is not None
    assert shop.client.quota.until > shop.now


def test_where_another_shard_has_met_a_spent_quota_nothing_is_sent(shop: Shop) -> None:
    submit_all(shop, batch("a"))
    shop.client.quota.mark_spent(ServiceError(429, 3036, "words"), shop.now + 100)
    assert [reply.result.code for reply in shop.act()] == ["quota_exhausted"]  # type: ignore[union-attr]
    assert shop.client.submitted == []
    assert shop.turn().shard.parked_until == shop.now + 100


def test_a_job_that_was_lost_while_the_quota_was_spent_waits_for_the_next_day(shop: Shop) -> None:
    submit_all(shop, batch("a"))
    turn = shop.turn()
    turn.shard = replace(turn.shard, parked_until=shop.now + 100)
    turn.write()
    shop.client.quota.mark_spent(ServiceError(429, 3036, "words"), shop.now + 100)
    assert shop.act() == []
    assert shop.held == [["a"]]
    shop.now += 100
    shop.act()
    assert len(shop.client.submitted) == 1


def test_other_shards_know_of_new_jobs_before_the_first_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that pulls events for all of them would take the event of a job that nobody expects for another's."""
    seen: list[str] = []
    shop = Shop(monkeypatch)
    listener = shop.step.listener
    monkeypatch.setattr(
        listener, "expect", lambda _, shard: seen.append("-".join(str(job.request_id) for job in shard.jobs))
    )
    tickets = iter("rs")
    shop.client.on_submit = lambda _: accepted(next(tickets))
    submit_all(shop, batch("a"))
    shop.act()
    turn = shop.turn()
    turn.admit(batch("b"))
    turn.write()
    running = shop.client.on_poll

    def on_poll(request_id: str) -> Any:
        seen.append(f"poll {request_id}")
        return running(request_id)

    shop.client.on_poll = on_poll
    shop.now += 2
    shop.act()
    assert seen == ["r", "r-s", "poll r"]


def test_told_to_come_back_later_the_others_keep_their_place(shop: Shop) -> None:
    shop.client.on_submit = lambda _: refused(429, 3040, "30")
    submit_all(shop, batch("a"), batch("b"), batch("c"))
    assert shop.act() == []
    assert len(shop.client.submitted) == 2
    assert len(shop.jobs) == 3
    shop.act()
    assert len(shop.client.submitted) == 2
    assert shop.counts[metrics.DELAYS] == 2


def test_what_is_not_worth_sending_any_more_leaves_unsent(shop: Shop) -> None:
    submit_all(shop, batch("a"))
    stopped = Failure("submit", "stopped", "not sent", retryable=True)
    shop.outcomes._stopped = stopped
    assert [reply.result for reply in shop.act()] == [stopped]
    assert shop.client.submitted == []


@pytest.mark.parametrize(("is_bounded", "leaves"), [(True, False), (False, True)])
def test_where_no_form_works_a_stream_gives_up_and_a_bounded_run_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch, is_bounded: bool, leaves: bool
) -> None:
    shop = Shop(monkeypatch, is_bounded=is_bounded)
    for form in range(len(shop.step.prompt.forms)):
        shop.outcomes.count_form(form, unmet=2)
    assert (shop.step.not_worth_sending is not None) is leaves


def test_a_batch_in_a_form_that_has_failed_waits_for_the_next_and_only_one_tries_that(shop: Shop) -> None:
    submit_all(shop, batch("a"), batch("b", form=1), batch("c", form=1))
    shop.outcomes.count_form(0, unmet=2)
    shop.act()
    assert [job.count for job in shop.jobs] == [1]
    assert shop.held == [["b"]]
    forms = {batches.decode(blob).ids[0]: batches.head(blob).form for blob in shop.turn().waiting.take()}
    assert forms == {"a": 1, "c": 1}
    assert shop.outcomes.trials.has_claims("0")


def test_a_shard_gives_its_claim_back_when_its_trial_has_ended(shop: Shop) -> None:
    submit_all(shop, batch("b", form=1))
    shop.outcomes.count_form(0, unmet=2)
    shop.act()
    assert shop.outcomes.trials.allowed(1, "another shard", shop.now) == 0
    (job,) = shop.jobs
    shop.client.on_poll = lambda _: done(job, [0])
    shop.now += 10
    assert len(shop.act()) == 1
    assert shop.outcomes.trials.allowed(1, "another shard", shop.now) == 1


def test_a_submit_that_nobody_answered_is_not_taken_out_for_a_trial(shop: Shop) -> None:
    submit_all(shop, batch("a"))
    shop.client.on_submit = lambda _: NoReply(True, "lost")
    shop.act()
    shop.outcomes.count_form(0, unmet=2)
    shop.now += 1
    shop.act()
    assert [job.unknown for job in shop.jobs] == [1]
    assert shop.waiting == []


def test_a_document_whose_file_has_changed_is_not_sent_and_its_neighbours_are(shop: Shop) -> None:
    away = Document("far", "", source="far").with_file(FileContent(70_000, "0" * 32, "00" * 16))
    near = [batches.Item(Document(name, "text"), 100) for name in ("a", "b")]
    submit_all(shop, batches.encode([near[0], batches.Item(away, 100), near[1]]), batch("c"))
    changed = Failure("submit", "file_changed", "it is another one")
    shop.files = {"far": replace(away, failure=changed)}
    left = shop.act()
    assert [(reply.document.id, reply.result) for reply in left] == [("far", changed)]
    assert len(shop.client.submitted) == 1
    assert sorted(shop.held) == [["a", "b"], ["c"]]
    shop.act()
    assert len(shop.client.submitted) == 2
    assert all(job.request_id for job in shop.jobs)


def test_a_finished_job_leaves_and_one_that_runs_stays(shop: Shop) -> None:
    tickets = iter("rs")
    shop.client.on_submit = lambda _: accepted(next(tickets))
    submit_all(shop, batch("a", "b"), batch("c"))
    shop.act()
    first = shop.jobs[0]
    running = shop.client.on_poll
    shop.client.on_poll = lambda r: done(first, (1, 0)) if r == "r" else running(r)
    assert shop.act() == [], "no poll is due yet"
    shop.now += 2
    assert [reply.document.id for reply in shop.act()] == ["a", "b"]
    assert shop.client.polled == ["r", "s"]
    assert shop.held == [["c"]]
    assert shop.counts[metrics.POLLS] == 2


def test_a_throttled_poll_delays_the_others(shop: Shop) -> None:
    tickets = iter(range(40))
    shop.client.on_submit = lambda _: accepted(f"r{next(tickets)}")
    submit_all(shop, *(batch(f"d{n}") for n in range(40)))
    shop.act()
    shop.client.on_poll = lambda _: refused(429, 3040, "30")
    shop.now += 2
    shop.act()
    assert len(shop.client.polled) == 32, "no more are asked than had been sent when the first reply came"
    shop.act()
    assert len(shop.client.polled) == 32


def test_large_results_leave_while_others_are_still_coming(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = iter("rs")
    shop.client.on_submit = lambda _: accepted(next(tickets))
    submit_all(shop, batch("a"), batch("b"))
    shop.act()
    jobs = {job.request_id: job for job in shop.jobs}
    shop.client.on_poll = lambda r: done(jobs[r], [0])
    monkeypatch.setattr(due_jobs, "fit_together", lambda finished, coming, documents: False)
    shop.now += 2
    turn = shop.turn()
    leaving = due_jobs.DueJobs(turn).run()
    assert [reply.document.id for reply in next(leaving)] == ["a"]
    assert shop.client.polled == ["r", "s"]
    assert [reply.document.id for replies in leaving for reply in replies] == ["b"]


# ------------------------------------------------------------------------------------------------ waiting


def test_a_firing_waits_until_a_job_is_due_and_no_longer_than_five_seconds(shop: Shop) -> None:
    submit_all(shop, batch("a"))
    shop.act()
    began, turn = shop.now, shop.turn()
    turn.await_due()
    assert shop.now == pytest.approx(began + 1.0, abs=0.02)
    turn.shard = replace(turn.shard, jobs=(replace(turn.shard.jobs[0], due=shop.now + 30),))
    began = shop.now
    turn.await_due()
    assert shop.now == pytest.approx(began + 5.0, abs=0.02)


def test_a_shard_with_nothing_open_does_not_wait(shop: Shop) -> None:
    shop.turn().await_due()
    assert shop.pauses == []


def test_a_shard_gives_back_its_share_of_the_pace_when_nothing_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, rate_shares=4)
    submit_all(shop, batch("a"))
    shop.act()
    shared: allowance.Allowance = shop.client.allowance
    shop.turn().report()
    assert [shards for _, shards in shared._claimed.values()] == [{"0"}]
    turn = shop.turn()
    turn.shard = replace(turn.shard, jobs=())
    turn.report()
    assert [shards for _, shards in shared._claimed.values()] == [set()]


def test_nothing_in_flight_and_something_that_waits_is_waiting_for_another_shards_trial(shop: Shop) -> None:
    turn = shop.turn()
    assert not turn.waits_for_a_trial
    turn.wait_again(batch("a"))
    assert turn.waits_for_a_trial
    turn.admit(batch("b"))
    assert not turn.waits_for_a_trial


def test_times_of_another_workers_clock_are_cut_short(shop: Shop) -> None:
    submit_all(shop, batch("a"))
    turn = shop.turn()
    turn.shard = replace(turn.shard, jobs=(replace(turn.shard.jobs[0], due=shop.now + 1e9, since=shop.now + 1e9),))
    turn.write()
    shop.act()
    assert len(shop.client.submitted) == 1
    assert not math.isinf(shop.jobs[0].due)
