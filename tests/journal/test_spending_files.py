"""What was reserved and spent is on disk as it was meant, whoever reads it, and no later run forgets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from budgets import PRICE
from harness import extract_settings, service

import kimi_beam as kb
from kimi_beam.columnar import Results, Tokens
from kimi_beam.journal.files import Journal, forget
from kimi_beam.journal.records import Answers, JournalError, Submission
from kimi_beam.journal.spending_files import DIRECTORY, SpendingFiles, decode, encode, in_flight, unrecorded
from kimi_beam.request.highest_cost import HighestCost
from kimi_beam.service.budget import Budget
from kimi_beam.service.spending import Reservation, Settlement, nanodollars
from kimi_beam.types.answer import Completion
from kimi_beam.types.ticket import Ticket

RECORDS: list[Reservation | Settlement] = [
    Reservation("b-7-é-1", "run", "0", (10, 20)),
    Settlement("b-7-é-1", "run", "1", {1: 5}),
]


def answers(keys: list[bytes], request_id: str | None) -> Answers:
    count = len(keys)
    results = Results.of([Completion("{}", "stop", None, None)] * count)
    tokens = Tokens([1_000] * count, [200] * count, [50] * count)
    return Answers(keys, results, tokens, [Ticket(request_id, 1)] * count)


COST = nanodollars(PRICE.cost(kb.Usage(1_000, 200, 50)))


def test_records_are_read_as_they_were_written_by_every_other_process_once(tmp_path: Path) -> None:
    assert list(decode(encode(RECORDS))) == RECORDS
    one, other = SpendingFiles(str(tmp_path)), SpendingFiles(str(tmp_path))
    one.write(RECORDS[:1])
    one.write(RECORDS[1:])
    assert one.read_new() == [], "its own are known to it"
    assert other.read_new() == RECORDS
    assert other.read_new() == []


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    files = SpendingFiles(str(tmp_path))
    for content in (b"no JSON", b'{"kimi_beam.spending": 9, "records": []}', b'{"kimi_beam.spending": 1}'):
        path = tmp_path / DIRECTORY / "00000000000000000001-a.spending.json"
        path.write_bytes(content)
        with pytest.raises(JournalError, match=r"0001-a\.spending\.json is damaged"):
            files.read_new()


def test_nobody_else_may_look_into_it(tmp_path: Path) -> None:
    SpendingFiles(str(tmp_path / "journal"))
    for directory in (tmp_path / "journal", tmp_path / "journal" / DIRECTORY):
        assert directory.stat().st_mode & 0o077 == 0


def test_the_journal_forgets_answers_and_not_what_was_spent(tmp_path: Path) -> None:
    Journal(str(tmp_path)).write_answers(answers([b"k" * 16], "r"), is_recorded=True)
    SpendingFiles(str(tmp_path)).write(RECORDS)
    assert len(forget(str(tmp_path), older_than=1e12)) == 1
    assert SpendingFiles(str(tmp_path)).read_new() == RECORDS


def test_answers_of_runs_without_a_budget_count_once_and_those_of_others_are_on_record(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    assert unrecorded(str(tmp_path), PRICE) == 0
    for request_id in ("r", "r", "r-2"):
        journal.write_answers(answers([b"k" * 16, b"l" * 16], request_id))
    journal.write_answers(answers([b"m" * 16], "r-3"), is_recorded=True)
    for _ in range(2):  # each synchronous request was paid for
        journal.write_answers(answers([b"n" * 16], None))
    assert unrecorded(str(tmp_path), PRICE) == (4 + 2) * COST


def test_what_is_in_the_queue_without_a_budget_is_reserved_alike_in_each_process(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    keys = (b"a" * 16, b"b" * 16)
    journal.write_submissions(
        [
            Submission("open", 0, keys, 1.0, "r", sizes=(500, 700)),
            Submission("over", 0, (b"c" * 16,), 1.0, None, is_over=True, sizes=(500,)),
            Submission("unknown", 0, (b"d" * 16,), 1.0, sizes=(500,)),
            Submission("of a run with a budget", 0, (b"e" * 16,), 1.0, "s"),
        ]
    )
    journal.write_answers(answers([keys[0]], "r"))
    settings = extract_settings(service("http://127.0.0.1:1"))
    highest = HighestCost(settings.prompt, PRICE)
    found = in_flight(str(tmp_path), highest)
    assert found == in_flight(str(tmp_path), highest)
    assert [(one.name.rpartition("-")[0], list(one.amounts)) for one in found] == [
        ("open", [0, highest.of_earlier(700)]),
        ("unknown", [highest.of_earlier(500)]),
    ]
    budget = Budget(10**12, "run", 1, SpendingFiles(str(tmp_path)))
    budget.count_in(found)
    budget.count_in(found)
    other = Budget(10**12, "run", 1, SpendingFiles(str(tmp_path)))
    other.count_in(found)
    assert budget.room("0") == other.room("0") == 10**12 - highest.of_earlier(700) - highest.of_earlier(500)
    assert budget.take_over("0", "open", 2, {1: 10}) == found[0].name
