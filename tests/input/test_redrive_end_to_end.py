"""Redrive over whole pipelines: dead letters become rows, nothing is lost, and nothing is paid for twice."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness import RECEIPT, Outcome, receipts, run_extract, run_redrive, service
from patience import HANGS

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.results.dead_letter_lines import encode
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Arrival

PATIENT = kb.Polling(0.05, 1.5, 0.2, deadline=HANGS)
HASTY = kb.Polling(0.05, 1.5, 0.1, deadline=0.3)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def extract(emulator: Emulator, documents: Sequence[kb.Document], directory: Path, **more: Any) -> Outcome:
    more = {"journal": str(directory.parent / "journal"), "polling": PATIENT, "repairs": 0, **more}
    return run_extract(documents, emulator.base_url, directory, **more)


def redrive(emulator: Emulator, letters: Path | str, directory: Path, *, api: Any = "batch", **more: Any) -> Outcome:
    more = {"journal": str(directory.parent / "journal"), "polling": PATIENT, "repairs": 0, **more}
    return run_redrive(letters, service(emulator.base_url, api=api), directory, **more)


def attempts(outcome: Outcome) -> dict[str, int]:
    rows = {row["_document_id"]: row["_provenance"]["attempts"] for row in outcome.rows}
    return rows | {letter["document_id"]: letter["attempts"] for letter in outcome.letters}


def paid(emulator: Emulator) -> int:
    stats = emulator.stats()
    return int(stats["items"] + stats["runs"])


@pytest.mark.parametrize(
    ("runner", "options"),
    [("FnApiRunner", ()), ("FnApiRunner", ("--direct_num_workers=2",)), ("BundleBasedDirectRunner", ())],
)
def test_redriven_documents_become_rows_or_dead_letters_and_every_letter_is_accounted_for(
    runner: str, options: Sequence[str], tmp_path: Path
) -> None:
    documents = [
        *receipts(60),
        kb.Document("empty", ""),
        *(kb.Document("twice", f"COMPANY: {n}\nTOTAL: 1.00\n") for n in range(2)),
    ]
    faults = "truncated=0.15,invalid=0.15,missing_item=0.15,failed_item=0.15"
    with Emulator(faults=faults, seed=5) as emulator:
        first = extract(emulator, documents, tmp_path / "first")
        expected = {"truncated", "schema_violation", "missing_item", "item_failed"}
        assert expected <= first.codes.keys()
        ended = Counter(row["_document_id"] for row in first.rows)
        before, source = first, tmp_path / "first"
        for number in range(1, 4):
            directory = tmp_path / f"round{number}"
            after = redrive(emulator, source, directory, runner=runner, options=options)
            chosen = Counter(one["document_id"] for one in before.letters if one["retryable"])
            left = [one for one in before.letters if not one["retryable"]]
            assert after.ids == chosen, "a dead letter was lost or doubled"
            assert after.summary["left"] == dict(Counter(one["code"] for one in left))
            assert len(after.rows) > 0
            earlier = attempts(before)
            assert attempts(after) == {name: earlier[name] + 1 for name in chosen}
            ended += Counter(one["document_id"] for one in left)
            ended += Counter(row["_document_id"] for row in after.rows)
            before, source = after, directory
        ended += Counter(one["document_id"] for one in before.letters)
    assert ended == Counter(d.id for d in documents)


def test_the_same_redrive_twice_pays_once_and_each_round_asks_anew(tmp_path: Path) -> None:
    asked: Counter[str] = Counter()

    def answer(messages: Any, schema: Any) -> str:
        """Bad the first two times that a document is asked for, then good; for some never good."""
        text = messages[-1]["content"]
        asked[text] += 1
        bad = asked[text] <= 2 or "Shop 7 " in text
        return '{"company": 1, "total": 2}' if bad else '{"company": "a", "total": 2}'

    with Emulator(answer=answer) as emulator:
        first = extract(emulator, receipts(20), tmp_path / "first")
        assert first.codes == {"schema_violation": 20}
        assert {one["round"] for one in first.letters} == {0}

        second = redrive(emulator, tmp_path / "first", tmp_path / "second")
        assert (second.codes, paid(emulator)) == ({"schema_violation": 20}, 40)
        assert {one["round"] for one in second.letters} == {1}
        submits = emulator.stats()["submits"]
        again = redrive(emulator, tmp_path / "first", tmp_path / "again", batching=kb.Batching(max_items=3), shards=2)
        assert emulator.stats()["submits"] == submits, "the same re-drive was paid for twice"
        assert _timeless(again) == _timeless(second)

        third = redrive(emulator, tmp_path / "again", tmp_path / "third")
        assert paid(emulator) == 60
        assert (len(third.rows), third.codes) == (19, {"schema_violation": 1})
        assert third.letters[0]["round"] == 2
        assert set(attempts(third).values()) == {3}
        redrive(emulator, tmp_path / "again", tmp_path / "third-again", api="run")
        assert paid(emulator) == 60


def _timeless(outcome: Outcome) -> Any:
    return sorted(json.dumps({**one, "failed_at": None}, sort_keys=True) for one in outcome.letters)


def test_a_redrive_that_ended_early_finds_its_own_tickets(tmp_path: Path) -> None:
    clock = _Clock()
    clock.ahead(0, rate=1e6)
    never = Behaviour(retention=1e12)  # a day goes by in a tenth of a second
    with Emulator(latency=1000.0, faults="invalid=1", clock=clock, behaviour=never) as emulator:
        extract(emulator, receipts(12), tmp_path / "first")
        clock.ahead(0, rate=1)
        early = redrive(emulator, tmp_path / "first", tmp_path / "early", polling=HASTY)
        assert early.codes == {"deadline": 12}
        clock.ahead(2000)
        again = redrive(emulator, tmp_path / "first", tmp_path / "again", batching=kb.Batching(max_items=5))
        beyond = redrive(emulator, tmp_path / "early", tmp_path / "beyond", journal=None)
        assert emulator.stats()["items"] == 24
    for outcome in (again, beyond):
        assert outcome.codes == {"schema_violation": 12}
        assert {(one["round"], one["attempts"]) for one in outcome.letters} == {(1, 2)}


# ------------------------------------------------------------------------------------------------ open requests


def _picture(number: int) -> kb.Document:
    uri = "data:image/png;base64," + base64.b64encode(PNG + bytes([number])).decode()
    return kb.Document(f"picture-{number}", "", (uri, uri), {"page": number, "deep": {"n": 0.1}}, f"in/{number}.png")


@pytest.mark.parametrize("journal", ["the first run's", "another", None])
def test_an_open_request_is_polled_and_not_submitted_again(journal: str | None, tmp_path: Path) -> None:
    documents = [*receipts(25), *(_picture(n) for n in range(12))]
    clock = _Clock()
    with Emulator(latency=1000.0, clock=clock) as emulator:
        first = extract(emulator, documents, tmp_path / "first", polling=HASTY, batching=kb.Batching(max_items=10))
        assert first.codes == {"deadline": len(documents)}
        submits = emulator.stats()["submits"]
        where: dict[str, Any] = {"journal": _place(journal, tmp_path)}
        still = redrive(emulator, tmp_path / "first", tmp_path / "still", **where, polling=HASTY)
        assert _timeless(still) == _timeless(first), "what is still in flight is as open as before"
        clock.ahead(2000)
        where["polling"] = PATIENT
        packed = {"shards": 3, "batching": kb.Batching(max_items=7)}
        one = redrive(emulator, tmp_path / "still", tmp_path / "one", **where, **packed)
        two = redrive(emulator, tmp_path / "still", tmp_path / "two", **where)
        stats = emulator.stats()
    assert (stats["submits"], stats["items"], stats["paid_twice"]) == (submits, len(documents), 0)
    texts = {d.id: d for d in documents}
    for outcome in (one, two):
        assert outcome.ids == Counter(texts.keys())
        assert len(outcome.rows) == len(documents)
        assert set(attempts(outcome).values()) == {1}
        for row in outcome.rows:
            document = texts[row["_document_id"]]
            assert row["_provenance"]["source"] == document.source
            assert json.loads(row["_metadata"] or "{}") == document.metadata
            if not document.images:
                assert row["company"] == document.text.split("\n")[0].removeprefix("COMPANY: ")


class _Clock:
    """The service's clock: it can be put ahead, and made to run faster."""

    def __init__(self) -> None:
        self._at = self._since = time.time()
        self._rate = 1.0

    def __call__(self) -> float:
        return self._at + (time.time() - self._since) * self._rate

    def ahead(self, seconds: float, rate: float = 1.0) -> None:
        self._at, self._since, self._rate = self() + seconds, time.time(), rate


def _place(journal: str | None, tmp_path: Path) -> str | None:
    return journal and str(tmp_path / ("journal" if journal == "the first run's" else "other"))


def test_a_part_of_a_job_gets_its_own_answers(tmp_path: Path) -> None:
    """Position and name of each request travel with its letter: the others of the job are not needed."""
    clock = _Clock()
    with Emulator(latency=1000.0, clock=clock) as emulator:
        extract(emulator, receipts(30), tmp_path / "first", polling=HASTY, journal=None)
        (path,) = (tmp_path / "first").glob("dead-letters-*.jsonl")
        lines = path.read_bytes().splitlines(keepends=True)
        (tmp_path / "some.jsonl").write_bytes(b"".join(lines[::-3]))
        clock.ahead(2000)
        some = redrive(emulator, tmp_path / "some.jsonl", tmp_path / "some", journal=None, polling=PATIENT)
        assert emulator.stats()["submits"] == 1
    assert len(some.rows) == 10
    for row in some.rows:
        number = row["_document_id"].removeprefix("doc-")
        assert (row["company"], row["total"]) == (f"Shop {number} Ltd", int(number) + 0.5)


@pytest.mark.parametrize("journal", ["the first run's", None])
def test_an_open_request_that_the_service_has_forgotten_is_submitted_once(journal: str | None, tmp_path: Path) -> None:
    clock = _Clock()
    with Emulator(latency=1000.0, behaviour=Behaviour(retention=1e6), clock=clock) as emulator:
        first = extract(emulator, receipts(10), tmp_path / "first", polling=HASTY)
        assert first.codes == {"deadline": 10}
        clock.ahead(2e6, rate=2000)
        where = {"journal": _place(journal, tmp_path), "polling": PATIENT}
        second = redrive(emulator, tmp_path / "first", tmp_path / "second", **where)
        assert emulator.stats()["submits"] == 2
        if journal:
            redrive(emulator, tmp_path / "first", tmp_path / "again", **where)
            assert emulator.stats()["submits"] == 2
    assert len(second.rows) == 10
    assert set(attempts(second).values()) == {2}


def test_another_question_does_not_wait_for_the_answer_to_the_first(tmp_path: Path) -> None:
    with Emulator(latency=1000.0) as emulator:
        extract(emulator, receipts(5), tmp_path / "first", polling=HASTY)
        repaired = {**RECEIPT, "title": "Repaired"}
        outcome = redrive(emulator, tmp_path / "first", tmp_path / "second", schema=repaired, polling=HASTY)
        assert emulator.stats()["submits"] == 2
    assert outcome.codes == {"deadline": 5}
    assert set(attempts(outcome).values()) == {2}
    assert len({one["request_id"] for one in outcome.letters}) == 1


def test_a_synchronous_redrive_asks_anew_and_counts_the_open_request_as_an_attempt(tmp_path: Path) -> None:
    with Emulator(latency=1000.0) as emulator:
        extract(emulator, receipts(5), tmp_path / "first", polling=HASTY)
    with Emulator() as emulator:
        outcome = redrive(emulator, tmp_path / "first", tmp_path / "second", api="run")
    assert len(outcome.rows) == 5
    assert set(attempts(outcome).values()) == {2}


def test_a_letter_that_is_refused_before_it_is_asked_keeps_its_open_request(tmp_path: Path) -> None:
    clock = _Clock()
    with Emulator(latency=1000.0, clock=clock) as emulator:
        first = extract(emulator, receipts(5), tmp_path / "first", polling=HASTY)
        (path,) = (tmp_path / "first").glob("dead-letters-*.jsonl")
        (tmp_path / "both").mkdir()
        for name in "ab":
            shutil.copy(path, tmp_path / "both" / f"{name}.jsonl")
        twice = redrive(emulator, tmp_path / "both" / "*.jsonl", tmp_path / "twice", polling=HASTY)
        assert twice.codes == {"duplicate_id": 10}
        key = "open_request"
        assert {str(one[key]) for one in twice.letters} == {str(one[key]) for one in first.letters}
        assert set(attempts(twice).values()) == {1}
        assert emulator.stats()["submits"] == 1


def test_a_document_that_was_never_sent_stays_in_its_round(tmp_path: Path) -> None:
    """Another run over the documents has answered them meanwhile."""
    with Emulator(faults="error_code=1:3036") as exhausted:
        first = extract(exhausted, receipts(8), tmp_path / "first", journal=None)
    assert first.codes == {"quota_exhausted": 8}
    assert set(attempts(first).values()) == {0}
    with Emulator() as emulator:
        extract(emulator, receipts(8), tmp_path / "meanwhile")
        outcome = redrive(emulator, tmp_path / "first", tmp_path / "second")
        assert (emulator.stats()["submits"], len(outcome.rows)) == (1, 8)


def test_messages_of_one_key_that_a_stream_left_are_all_run_again(tmp_path: Path) -> None:
    """In a stream ids are not compared: taken for duplicates here, none of them would ever become a row."""
    failure = kb.Failure("submit", "quota_exhausted", "m", retryable=True)
    names = [f"{n:032x}" for n in range(3)]
    lines = [
        encode(
            DeadLetter(
                replace(receipts(1)[0], arrival=Arrival(0, None, n)), failure, 0, None, kb.Usage(), "m", "h", 0.0
            )
        )
        for n in names
    ]
    (tmp_path / "stream.jsonl").write_bytes(b"".join(lines))
    with Emulator() as emulator:
        outcome = redrive(emulator, tmp_path / "stream.jsonl", tmp_path / "second")
    assert outcome.codes == {}
    assert sorted(row["_provenance"]["delivery"] for row in outcome.rows) == names


def test_damaged_lines_are_accounted_for(tmp_path: Path) -> None:
    with Emulator(faults="truncated=1") as emulator:
        extract(emulator, receipts(6), tmp_path / "first")
        (path,) = (tmp_path / "first").glob("dead-letters-*.jsonl")
        lines = path.read_bytes().splitlines(keepends=True)
        misspelt = lines[4].replace(b'"images"', b'"image"')
        path.write_bytes(b"".join([*lines[:3], lines[3][:40] + b"\n", b"\xff\n", misspelt]))
        outcome = redrive(emulator, tmp_path / "first", tmp_path / "second", codes=["truncated"])
    assert outcome.codes == {"truncated": 3, "not_json": 2, "not_utf8": 1}
    assert len(outcome.ids) == 6
    damaged = [one for one in outcome.letters if one["stage"] == "read"]
    assert {base64.b64decode(one["raw"]) for one in damaged} == {lines[3][:40], b"\xff", misspelt[:-1]}
