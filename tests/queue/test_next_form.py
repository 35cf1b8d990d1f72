"""Documents that are asked for again: none is lost, and what each has cost is carried on and added exactly once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.columnar import Replies
from kimi_beam.queue.next_form import give_up_all, in_form_from, split_unmet
from kimi_beam.request import batches
from kimi_beam.request.batches import Item, Spent
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest, Ticket
from kimi_beam.wire.completions import FAILURES

ANSWER = Completion("{}", "stop", None, None)
UNMET_FAILURE = Failure("infer", "json_mode_unmet", "words", retryable=True)
OTHER = Failure("infer", "truncated", "words")
_usages = st.builds(Usage, *(st.integers(0, 1_000) for _ in range(3)))
_spent = st.builds(Spent, _usages, st.integers(0, 9))


def batch(count: int, form: int = 0, spent: list[Spent] | None = None) -> bytes:
    documents = [(Document(f"d{n}", f"text {n}", metadata={"n": n}), n + 1) for n in range(count)]
    return batches.encode(
        [Item(*one) for one in documents], form=form, spent=spent or [Spent(Usage(), 0)] * count if form else ()
    )


def total(usages: list[Usage]) -> Usage:
    return sum(usages, Usage())


@settings(derandomize=True, max_examples=300)
@given(st.data(), st.integers(1, 3), st.integers(0, 2), st.integers(1, 6))
def test_final_and_again_are_all_and_nothing_spent_is_lost_or_doubled(
    data: st.DataObject, forms: int, form: int, count: int
) -> None:
    before = data.draw(st.lists(_spent, min_size=count, max_size=count)) if form else [Spent(Usage(), 0)] * count
    blob = batch(count, form, before)
    results = [data.draw(st.sampled_from([ANSWER, UNMET_FAILURE, OTHER])) for _ in range(count)]
    answered = [
        Reply(document, result, data.draw(_usages), Ticket("r", data.draw(st.integers(0, 3))))  # type: ignore[arg-type]
        for document, result in zip(batches.decode(blob), results, strict=True)
    ]
    final, again = split_unmet(blob, Replies.of(answered), forms)
    waiting = batches.decode(again) if again is not None else []
    assert sorted([reply.document.id for reply in final] + [d.id for d in waiting]) == [f"d{n}" for n in range(count)]
    assert [reply.document for reply in final] == [r.document for r in answered if r.document not in waiting]
    spent = batches.spent(again) if again is not None else []
    asked = [reply.usage for reply in answered] + [one.usage for one in before]
    assert total([reply.usage for reply in final] + [one.usage for one in spent]) == total(asked)
    attempts = sum(reply.ticket.attempts for reply in final) + sum(one.attempts for one in spent)
    assert attempts == sum(reply.ticket.attempts for reply in answered) + sum(one.attempts for one in before)
    assert bool(waiting) is (form + 1 < forms and UNMET_FAILURE in results)
    if again is not None:
        head = batches.head(again)
        assert head.form == form + 1
        assert list(head.sizes) == [int(d.id[1:]) + 1 for d in waiting], "packing would go by wrong sizes"
        assert all(answered[int(d.id[1:])].result is UNMET_FAILURE for d in waiting)


@settings(derandomize=True, max_examples=100)
@given(st.lists(_usages, min_size=3, max_size=3))
def test_a_document_that_is_never_met_costs_the_sum_of_its_three_rounds(usages: list[Usage]) -> None:
    blob, rounds = batch(1), 0
    final: Sequence[Reply] = []
    while not final:
        (document,) = batches.decode(blob)
        reply = Reply(document, UNMET_FAILURE, usages[rounds], Ticket(f"r{rounds}", 1))
        rounds += 1
        final, again = split_unmet(blob, Replies.of([reply]), 3)
        blob = again or blob
    assert rounds == 3
    assert (final[0].usage, final[0].ticket) == (total(usages), Ticket("r2", 3))


def test_a_round_in_which_all_was_met_goes_out_as_it_came() -> None:
    blob = batch(3)
    answered = [Reply(document, ANSWER, Usage(1, 0, 1), Ticket("r", 1)) for document in batches.decode(blob)]
    assert split_unmet(blob, Replies.of(answered), 3) == (answered, None)


def test_documents_that_are_asked_for_again_keep_their_order_and_all_they_hold() -> None:
    blob = batch(4)
    documents = batches.decode(blob)
    results = [UNMET_FAILURE, ANSWER, UNMET_FAILURE, OTHER]
    answered = [Reply(d, result, Usage(), Ticket("r", 1)) for d, result in zip(documents, results, strict=True)]  # type: ignore[arg-type]
    final, again = split_unmet(blob, Replies.of(answered), 3)
    assert again is not None
    assert batches.decode(again) == [documents[0], documents[2]]
    assert [reply.document for reply in final] == [documents[1], documents[3]]
    assert batches.head(again).batch_id != batches.head(blob).batch_id


@pytest.mark.parametrize("form", [0, 1, 2])
def test_a_batch_that_is_given_up_says_what_it_cost_before(form: int) -> None:
    before = [Spent(Usage(5, 2, 1), 1), Spent(Usage(7, 0, 0), 2)]
    replies = give_up_all(batch(2, form, before), OTHER, Ticket("r", 1))
    assert [reply.document.id for reply in replies] == ["d0", "d1"]
    assert {reply.result for reply in replies} == {OTHER}
    expected = [(Usage(5, 2, 1), 2), (Usage(7, 0, 0), 3)] if form else [(Usage(), 1)] * 2
    assert [(reply.usage, reply.ticket.attempts) for reply in replies] == expected
    assert [reply.ticket.attempts for reply in give_up_all(batch(2), OTHER)] == [0, 0]


def test_the_code_is_the_one_that_failures_have() -> None:
    assert FAILURES[5024] == UNMET_FAILURE.code, "an item that JSON mode failed is not asked for again"


def test_a_batch_that_skips_a_form_keeps_its_documents_their_sizes_and_what_they_have_cost() -> None:
    before = [Spent(Usage(7, 2, 3), 1), Spent(Usage(1, 0, 1), 2)]
    blob = batch(2, 1, before)
    later = in_form_from(blob, 2)
    assert batches.head(later).form == 2
    assert batches.items(later) == batches.items(blob)
    assert batches.spent(later) == before


@pytest.mark.parametrize("form", [0, 1])
def test_a_batch_that_is_in_that_form_already_or_in_a_later_one_is_not_written_anew(form: int) -> None:
    blob = batch(2, 1)
    assert in_form_from(blob, form) is blob


def test_each_document_that_is_given_up_keeps_its_own_request() -> None:
    requests = [OpenRequest("r", f"{place:02x}", "name", 2, place, 0) for place in range(2)]
    assert [reply.open for reply in give_up_all(batch(2), OTHER, Ticket("r", 1), requests)] == requests
