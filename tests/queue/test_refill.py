"""How a shard is filled: what waits becomes jobs, and what is known of it already is not asked for again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from turns import Shop, batch

from kimi_beam.queue.earlier import DOUBTFUL, EarlierSubmission, Recalled
from kimi_beam.queue.refill import Refill
from kimi_beam.report import metrics
from kimi_beam.report.outcomes import StopAfter
from kimi_beam.request import batches
from kimi_beam.request.packing import Batching
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(monkeypatch)


def answer(name: str) -> Reply:
    return Reply(Document(name, f"text of {name}"), Completion("{}", "stop", None, None), ticket=Ticket("old", 1))


def earlier(*names: str, request_id: str | None = "old", at: float | None = 0.0) -> EarlierSubmission:
    return EarlierSubmission(
        request_id, "old batch", 0, 9, at, batches.items(batch(*names)), list(range(3, 3 + len(names))), []
    )


def test_small_batches_are_packed_together_and_what_has_no_room_waits_in_its_order(shop: Shop) -> None:
    shop.put(*(batch(f"d{n}") for n in range(15)))
    assert shop.refill() == []
    assert shop.held == [[f"d{n}" for n in range(at, at + 4)] for at in (0, 4, 8)]
    assert shop.waiting == [["d12"], ["d13"], ["d14"]]
    assert shop.counts == {metrics.BATCHES: 3}
    assert shop.step.admitted == {job.batch_id for job in shop.jobs}
    assert {job.due for job in shop.jobs} == {shop.now}
    assert shop.refill() == [], "it is full"
    assert len(shop.jobs) == 3


def test_each_form_is_packed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch)
    shop.outcomes.count_form(1, met=1)  # so that it is not on trial
    shop.put(batch("a"), batch("b", form=1), batch("c"), batch("d", form=1))
    shop.refill()
    assert sorted(shop.held) == [["a", "c"], ["b", "d"]]
    turn = shop.turn()
    forms = {batches.head(turn.held[job.batch_id]).form: job.count for job in turn.shard.jobs}
    assert forms == {0: 2, 1: 2}


def test_answers_that_were_paid_for_leave_and_what_is_new_among_them_waits_for_company(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop(monkeypatch, batching=Batching(max_items=3))
    shop.put(batch("a", "b", "new 1"), batch("c", "d", "new 2"), batch("x", "y"))
    shop.journal.known = {
        "a": Recalled([answer("a"), answer("b")], [], [], batch("new 1")),
        "c": Recalled([answer("c"), answer("d")], [], [], batch("new 2")),
    }
    assert [reply.document.id for reply in shop.refill()] == ["a", "b", "c", "d"]
    assert [name for names in shop.held for name in names] == ["x", "y", "new 1", "new 2"]
    assert len(shop.held) == 2, "a few new documents among many known ones are one batch"
    assert shop.counts[metrics.RECALLED] == 4
    assert shop.counts[metrics.BATCHES] == 2


def test_all_that_is_known_needs_no_job(shop: Shop) -> None:
    shop.put(batch("a"))
    shop.journal.known = {"a": Recalled([answer("a")], [], [], None)}
    assert [reply.document.id for reply in shop.refill()] == ["a"]
    assert shop.jobs == ()
    assert shop.waiting == []


def test_many_answers_leave_a_thousand_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, batching=Batching(max_items=250))
    for n in range(6):
        shop.put(batch(f"first of {n}", *(f"{n}-{m}" for m in range(249))))
        shop.journal.known[f"first of {n}"] = Recalled([answer(f"{n}-{m}") for m in range(250)], [], [], None)
    assert [len(replies) for replies in Refill(shop.turn()).run()] == [1_000, 500]


def test_a_job_of_an_earlier_run_is_polled_under_its_ticket(shop: Shop) -> None:
    shop.put(batch("a", "b"))
    shop.journal.known = {"a": Recalled([], [earlier("a", "b", at=shop.now - 50)], [], None)}
    assert shop.refill() == []
    (job,) = shop.jobs
    assert (job.request_id, job.due, job.since) == ("old", shop.now, shop.now - 50)
    assert job.requests == ["old batch", 9, [3, 4]]  # type: ignore[comparison-overlap] # as JSON keeps a tuple
    assert shop.held == [["a", "b"]]
    assert [d.earlier.open and d.earlier.open.request_id for d in batches.decode(shop.turn().held[job.batch_id])]
    assert shop.counts == {metrics.ADOPTED: 1}
    assert shop.step.admitted == set(), "the journal is asked again before it is submitted"


def test_a_submit_that_may_have_been_accepted_is_waited_for_and_made_again_once(shop: Shop) -> None:
    shop.put(batch("a"))
    shop.journal.known = {"a": Recalled([], [], [earlier("a", request_id=None, at=shop.now - 10)], None)}
    assert shop.refill() == []
    (job,) = shop.jobs
    assert (job.request_id, job.unknown, job.attempts) == (None, 1, 1)
    assert job.due == shop.now - 10 + shop.step.grace
    assert shop.counts == {metrics.UNKNOWN_SUBMITS: 1}


def test_what_was_spent_before_an_earlier_submission_goes_on_being_counted(shop: Shop) -> None:
    spent = [batches.Spent(Usage(7, 2, 3), 1)]
    known = replace(earlier("a"), form=1, spent=spent)
    shop.put(batch("a", form=1))
    shop.journal.known = {"a": Recalled([], [known], [], None)}
    shop.refill()
    blob = shop.turn().held[shop.jobs[0].batch_id]
    assert batches.head(blob).form == 1
    assert batches.spent(blob) == spent


def test_where_that_may_not_be_repeated_the_document_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, may_repeat=False)
    shop.put(batch("a"))
    shop.journal.known = {"a": Recalled([], [], [earlier("a", request_id=None)], None)}
    (reply,) = shop.refill()
    assert (reply.result, reply.ticket.attempts) == (DOUBTFUL, 1)
    assert shop.jobs == ()


def test_an_answer_that_was_given_up_once_is_waited_for_anew(shop: Shop) -> None:
    shop.put(batch("a"))
    shop.journal.known = {"a": Recalled([], [earlier("a", at=None)], [], None)}
    shop.refill()
    assumed_age = min(60.0, shop.step.polling.ceiling, shop.step.polling.deadline / 2)
    assert [job.since for job in shop.jobs] == [shop.now - assumed_age]


def test_the_same_documents_are_not_in_flight_twice(shop: Shop) -> None:
    shop.put(batch("a"))
    shop.refill()
    shop.put(batch("a"))
    shop.refill()
    assert len(shop.jobs) == 1
    assert shop.waiting == [["a"]]
    shop.put(batch("b"))
    shop.journal.known = {"a": Recalled([], [earlier("a")], [], batch("b"))}
    shop.refill()
    assert sorted(shop.held) == [["a"], ["b"]]
    assert shop.waiting == [["a"]], "an earlier submission of what is in flight waits as well"


def test_a_spent_quota_gives_up_what_waits_without_a_request(shop: Shop) -> None:
    turn = shop.turn()
    turn.shard = replace(turn.shard, parked_until=shop.now + 1)
    turn.write()
    shop.put(batch("a", "b"), batch("c"))
    left = shop.refill()
    assert [(r.document.id, r.result.code) for r in left] == [(n, "quota_exhausted") for n in "abc"]  # type: ignore[union-attr]
    assert shop.waiting == []
    shop.now += 1
    shop.put(batch("d"))
    assert shop.refill() == []
    assert shop.held == [["d"]]


def test_what_is_not_worth_sending_leaves(shop: Shop) -> None:
    shop.outcomes._stopped = Failure("submit", "stopped", "not sent", retryable=True)
    shop.put(batch("a"))
    assert [reply.result for reply in shop.refill()] == [shop.outcomes.stopped]


def test_no_more_is_admitted_than_shows_whether_documents_fail(shop: Shop) -> None:
    shop.outcomes.stop_after = StopAfter(5)
    shop.put(*(batch(f"d{n}", f"e{n}", f"f{n}", f"g{n}") for n in range(3)))
    shop.refill()
    assert len(shop.jobs) == 2, "4 documents are not enough, 8 are"
    assert len(shop.waiting) == 1
    shop.refill()
    assert len(shop.jobs) == 2, "what is in flight counts"


def test_one_batch_tries_a_form_and_the_others_wait_for_its_outcome(shop: Shop) -> None:
    shop.outcomes.count_form(0, unmet=2)
    shop.put(*(batch(f"{n}a", f"{n}b", f"{n}c", f"{n}d") for n in range(3)))
    shop.refill()
    assert len(shop.jobs) == 1
    assert batches.head(shop.turn().held[shop.jobs[0].batch_id]).form == 1
    assert len(shop.waiting) == 2
    assert shop.refill() == []
    assert len(shop.jobs) == 1
    shop.outcomes.count_form(1, met=1)
    shop.refill()
    assert len(shop.jobs) == 3
    assert all(batches.head(shop.turn().held[job.batch_id]).form == 1 for job in shop.jobs)


def test_a_later_form_that_is_being_tried_keeps_only_its_own_batches_waiting(shop: Shop) -> None:
    shop.put(batch("a", form=1), batch("b"), batch("c", form=1))
    shop.outcomes.count_form(0, met=1, unmet=1)
    assert shop.outcomes.trials.claim(1, "another shard", 1, shop.now)
    shop.refill()
    assert shop.held == [["b"]]
    assert shop.waiting == [["a"], ["c"]]
    assert shop.journal.recalled == ["b"], "what cannot be sent is not looked up in each turn"


def test_where_no_form_works_everything_stays_for_the_run_to_end_in_one_line(shop: Shop) -> None:
    for form in range(len(shop.step.prompt.forms)):
        shop.outcomes.count_form(form, unmet=2)
    shop.put(batch("a"))
    assert shop.refill() == []
    assert shop.jobs == ()
    assert shop.waiting == [["a"]]
