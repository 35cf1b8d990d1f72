"""Redrive: which dead letters are run again, in which round, and that no submit is counted twice."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.errors import ConfigError
from kimi_beam.input.redrive import Choice, document_of
from kimi_beam.journal import records as journal
from kimi_beam.journal.index import ANSWER, INTENT, NOTHING, TICKET, Entry
from kimi_beam.journal.recall import recall
from kimi_beam.journal.records import Answer, Submission
from kimi_beam.queue.earlier import Recalled, with_open_request
from kimi_beam.request import batches
from kimi_beam.request.batches import Item
from kimi_beam.results.answer_codes import ANSWERS
from kimi_beam.results.settle_replies import Question, dead_letter
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.earlier_runs import Earlier
from kimi_beam.types.failure import Code, Failure, Stage
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest, Ticket

KEY = b"k" * 16
OPEN = OpenRequest("job-1", KEY.hex(), "ab12", 250, 17, 1)


def letter(stage: Any, code: Any, *, retryable: bool = True, attempts: int = 1, **more: Any) -> DeadLetter:
    failure = Failure(stage, code, "m", retryable)
    return DeadLetter(Document("a", "t", source="s"), failure, attempts, "job-1", Usage(), "m", "h", 0.0, **more)


# ------------------------------------------------------------------------------------------------ which

_letters = st.builds(letter, st.sampled_from(get_args(Stage)), st.sampled_from(get_args(Code)), retryable=st.booleans())


@settings(derandomize=True, max_examples=300)
@given(
    _letters,
    st.lists(st.sampled_from(get_args(Code)), max_size=3),
    st.lists(st.sampled_from(get_args(Stage)), max_size=3),
)
def test_codes_and_stages_narrow_each_other_and_without_them_the_retryable_are_run(
    one: DeadLetter, codes: list[str], stages: list[str]
) -> None:
    taken = Choice(codes, stages).takes(one)
    failure = one.failure
    if failure.stage == "read":
        assert not taken, "there is no document in it"
    elif codes or stages:
        assert taken == ((not codes or failure.code in codes) and (not stages or failure.stage in stages))
    else:
        assert taken == failure.retryable


@pytest.mark.parametrize(("codes", "stages"), [(["truncatd"], []), ([], ["validation"]), ([""], [])])
def test_a_code_or_stage_that_is_none_is_a_mistake(codes: list[str], stages: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"(code|stage): '\w*' is none of "):
        Choice(codes, stages)


# ------------------------------------------------------------------------------------------------ rounds and attempts


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        ("parse", "not_json"),
        ("validate", "schema_violation"),
        ("type", "type_mismatch"),
        *(("infer", code) for code in sorted(ANSWERS)),
    ],
)
def test_a_bad_answer_is_put_aside(stage: Any, code: Any) -> None:
    assert document_of(letter(stage, code, attempts=3, round=4)).earlier == Earlier(5, 3)


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        ("submit", "quota_exhausted"),
        ("submit", "unknown_submit"),
        ("submit", "refused"),
        ("poll", "deadline"),
        ("poll", "expired"),
        ("poll", "job_failed"),
        ("infer", "missing_item"),
        ("infer", "item_failed"),
        ("infer", "malformed_item"),
        ("infer", "json_mode_unmet"),
        ("prompt", "duplicate_id"),
    ],
)
def test_without_an_answer_the_question_is_the_same(stage: Any, code: Any) -> None:
    document = document_of(letter(stage, code, attempts=3, round=4))
    assert document == Document("a", "t", source="s", earlier=Earlier(4, 3))


def test_the_submit_of_an_open_request_is_counted_by_whoever_takes_it_over() -> None:
    document = document_of(letter("poll", "deadline", attempts=3, open=OPEN))
    assert document.earlier == Earlier(0, 2, OPEN)
    assert with_open_request(document, "job-1").earlier == Earlier(0, 2), "the job that is polled counts its submit"
    assert with_open_request(document, "job-2").earlier == Earlier(0, 3), "another job has its own"
    assert with_open_request(document).earlier == Earlier(0, 3)
    plain = Document("a", "t")
    assert with_open_request(plain, "job-1") is plain


def test_a_letter_that_nobody_got_round_to_is_as_open_as_before() -> None:

    before = letter("poll", "deadline", attempts=3, round=2, open=OPEN)
    asked = Question(OutputSchema({"type": "object"}), "m")
    quota = Failure("submit", "quota_exhausted", "not sent", retryable=True)
    after = dead_letter(Reply(document_of(before), quota), quota, asked, 1.0)
    assert (after.attempts, after.request_id, after.round, after.open) == (3, "job-1", 2, OPEN)
    assert document_of(after).earlier == document_of(before).earlier


def test_attempts_of_all_runs_add_up() -> None:
    asked = Question(OutputSchema({"type": "object"}), "m")
    one = letter("infer", "truncated", attempts=2)
    for run in range(1, 4):
        document = document_of(one)
        assert document.earlier.round == run
        one = dead_letter(Reply(document, one.failure, ticket=Ticket(f"job-{run}", 2)), one.failure, asked, 1.0)
        assert (one.attempts, one.round) == (2 + 2 * run, run)


def test_each_round_is_a_key_of_its_own_and_the_first_is_that_of_journals_without_rounds() -> None:
    keys = [journal.key(b"identity", b"content", number) for number in range(300)]
    assert len(set(keys)) == 300
    assert keys[0] == hashlib.blake2b(b"content", digest_size=16, key=b"identity").digest()


# ------------------------------------------------------------------------------------------------ what is known


class Records(dict[bytes, Any]):
    """A journal in memory: keys to a state, and what it stands for."""

    def look_up(self, keys: Any) -> list[Entry | None]:
        found = []
        for key in keys:
            state, _, position = self.get(key, (None, None, 0))
            found.append(None if state is None else Entry(state, 1.0, 0, 0, position))
        return found

    def submission(self, entry: Entry) -> Submission:
        return next(value for state, value, _ in self.values() if state == entry.state)  # type: ignore[no-any-return]

    def answer(self, entry: Entry) -> Answer:
        return next(value for state, value, _ in self.values() if state == entry.state)  # type: ignore[no-any-return]


def recalled_from(document: Document, key: bytes, records: Records | None) -> Recalled:
    return recall(batches.encode([Item(document, 10)]), [key], records)  # type: ignore[arg-type]


def test_an_open_request_is_polled_also_without_a_journal() -> None:
    for records in (None, Records(), Records({KEY: (NOTHING, None, 0)})):
        found = recalled_from(document_of(letter("poll", "deadline", open=OPEN)), KEY, records)
        (part,) = found.in_flight
        assert (part.request_id, part.name, part.form, part.count, part.at) == ("job-1", "ab12", 1, 250, None)
        assert part.positions == [17]
        assert (found.answered, found.doubtful, found.fresh) == ([], [], None)


def test_another_question_than_the_open_one_is_asked_anew() -> None:
    found = recalled_from(document_of(letter("poll", "deadline", attempts=2, open=OPEN)), b"x" * 16, None)
    assert found.in_flight == []
    assert found.fresh is not None
    (document,) = batches.decode(found.fresh)
    assert document.earlier == Earlier(0, 2)


def test_the_journal_outranks_the_open_request_of_a_dead_letter() -> None:
    document = document_of(letter("poll", "deadline", attempts=2, open=OPEN))
    completion = Completion("{}", "stop", None, None)
    for request_id, attempts in (("job-1", 1), ("job-2", 2)):
        answer = Answer(completion, Usage(), Ticket(request_id, 1))
        found = recalled_from(document, KEY, Records({KEY: (ANSWER, answer, 0)}))
        (reply,) = found.answered
        assert reply.result == completion
        assert reply.document.earlier == Earlier(0, attempts), "the journal's ticket counts its own submit"
        assert (found.in_flight, found.doubtful, found.fresh) == ([], [], None)
    ticket = Submission("cd34", 0, (KEY,), 5.0, "job-2")
    (part,) = recalled_from(document, KEY, Records({KEY: (TICKET, ticket, 0)})).in_flight
    assert (part.request_id, part.count, part.at) == ("job-2", 1, None), "it was given up: it is waited for anew"
    intent = Submission("cd34", 0, (KEY,), 5.0)
    (part,) = recalled_from(document, KEY, Records({KEY: (INTENT, intent, 0)})).doubtful
    assert (part.request_id, part.at) == (None, 5.0)


def test_a_run_over_documents_waits_no_longer_than_the_first_had_to() -> None:
    ticket = Submission("cd34", 0, (KEY,), 5.0, "job-2")
    (part,) = recalled_from(Document("a", "t"), KEY, Records({KEY: (TICKET, ticket, 0)})).in_flight
    assert part.at == 5.0


def test_open_requests_of_one_job_are_one_submission_and_keep_their_positions() -> None:
    documents = [
        replace(document_of(letter("poll", "deadline", open=replace(OPEN, position=position))), id=f"d{position}")
        for position in (3, 1, 200)
    ]
    fresh = Document("new", "t")
    blob = batches.encode([Item(document, 10) for document in (*documents[:2], fresh, documents[2])])
    found = recall(blob, [KEY] * 4, None)
    (part,) = found.in_flight
    assert [item.document.id for item in part.items] == ["d3", "d1", "d200"]
    assert part.positions == [3, 1, 200]
    assert found.fresh is not None
    assert [document.id for document in batches.decode(found.fresh)] == ["new"]


def test_a_batch_without_known_documents_stays_as_it_is() -> None:
    blob = batches.encode([Item(document_of(letter("submit", "quota_exhausted")), 10)])
    assert recall(blob, [KEY], None).fresh is blob
