"""Resuming: answers in the journal are not paid for again by a second run, after a kill, or in other batches."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command_processes import Program
from harness import RECEIPT, Outcome, receipts, run_extract, service
from patience import HANGS
from running_cli import mistake
from running_cli import run as run_cli

import kimi_beam as kb
from kimi_beam import cli
from kimi_beam.commands.journal import MEANINGS
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.files.lease import lease
from kimi_beam.journal.files import Journal, contents, forget
from kimi_beam.journal.records import Journaling, encode_submissions


def run(
    emulator: Emulator,
    tmp_path: Path,
    documents: Sequence[kb.Document],
    name: str = "out",
    *,
    api: Any = "batch",
    **extract: Any,
) -> Outcome:
    extract.setdefault("journal", str(tmp_path / "journal"))
    return run_extract(documents, "", tmp_path / name, where=service(emulator.base_url, api=api), **extract)


def paid(emulator: Emulator) -> int:
    stats = emulator.stats()
    return int(stats["items"] + stats["runs"])


@pytest.mark.parametrize("api", ["batch", "run", "chat"])
@pytest.mark.parametrize("again", ["batch", "run"])
def test_a_second_run_pays_for_nothing_and_gives_the_same_rows(api: Any, again: Any, tmp_path: Path) -> None:
    with Emulator() as emulator:
        first = run(emulator, tmp_path, receipts(40), "first", api=api)
        before = paid(emulator)
        second = run(emulator, tmp_path, receipts(40), "second", api=again)
        assert paid(emulator) == before == 40
    by_id = {row["_document_id"]: row for row in first.rows}
    assert len(second.rows) == 40
    assert all(by_id[row["_document_id"]] == row for row in second.rows), "a replay must be the same to the byte"


def test_only_new_or_changed_documents_are_paid_for_however_they_are_batched(tmp_path: Path) -> None:
    with Emulator() as emulator:
        run(emulator, tmp_path, receipts(50), "first", batching=kb.Batching(max_items=7))
        changed = kb.Document("doc-3", "COMPANY: Another\nTOTAL: 1.00\n")
        documents = [changed if d.id == "doc-3" else d for d in reversed(receipts(60))]
        outcome = run(emulator, tmp_path, documents, "second", batching=kb.Batching(max_items=100))
        assert paid(emulator) == 50 + 10 + 1
        assert emulator.stats()["submits"] == 8 + 1, "what is new among many known ones goes in one batch"
    assert sum(outcome.ids.values()) == len(outcome.ids) == 60


@pytest.mark.parametrize(
    "change",
    [
        {"instructions": "Other words."},
        {"schema": {**RECEIPT, "title": "Other"}},
        {"max_completion_tokens": 999},
        {"thinking": True},
    ],
)
def test_another_question_is_another_key(change: dict[str, Any], tmp_path: Path) -> None:
    with Emulator() as emulator:
        run(emulator, tmp_path, receipts(5), "first")
        run(emulator, tmp_path, receipts(5), "second", **change)
        assert paid(emulator) == 10


def test_answers_of_another_service_are_not_used(tmp_path: Path) -> None:
    with Emulator() as emulator, Emulator() as other:
        run(emulator, tmp_path, receipts(5), "first")
        run(other, tmp_path, receipts(5), "second")
        assert (paid(emulator), paid(other)) == (5, 5)


def test_a_bad_answer_was_paid_for_too_and_a_missing_one_is_asked_for_anew(tmp_path: Path) -> None:
    with Emulator(faults="truncated=0.3,missing_item=0.3", seed=3) as emulator:
        first = run(emulator, tmp_path, receipts(100), "first", repairs=0)
        missing = first.codes["missing_item"]
        assert missing
        before = paid(emulator)
        second = run(emulator, tmp_path, receipts(100), "second", repairs=0)
        assert paid(emulator) - before == missing
    assert sum(second.ids.values()) == len(second.ids) == 100
    assert second.codes["truncated"] >= first.codes["truncated"]


def test_a_ticket_is_polled_and_not_submitted_again(tmp_path: Path) -> None:
    """A run that gave up waiting leaves tickets; the next one finds the answers behind them."""
    with Emulator(latency=3.0) as emulator:
        first = run(emulator, tmp_path, receipts(30), "first", polling=kb.Polling(0.05, 1.5, 0.1, deadline=0.3))
        assert first.codes == {"deadline": 30}
        second = run(
            emulator,
            tmp_path,
            receipts(40),
            "second",
            polling=kb.Polling(0.1, 1.5, 0.2, deadline=HANGS),
            batching=kb.Batching(max_items=9),
        )
        assert emulator.stats()["items"] == 40
        assert emulator.stats()["paid_twice"] == 0
    assert len(second.rows) == 40


def test_an_expired_ticket_is_submitted_again(tmp_path: Path) -> None:
    ahead = [0.0]
    behaviour = Behaviour(retention=50.0)
    with Emulator(latency=1.0, behaviour=behaviour, clock=lambda: time.time() + ahead[0]) as emulator:
        first = run(emulator, tmp_path, receipts(10), "first", polling=kb.Polling(0.05, 1.5, 0.1, deadline=0.3))
        assert first.codes == {"deadline": 10}
        ahead[0] = 100.0
        patient = kb.Polling(0.1, 1.5, 0.2, deadline=HANGS)
        second = run(emulator, tmp_path, receipts(10), "second", polling=patient)
        assert emulator.stats()["submits"] == 2
    assert len(second.rows) == 10


def _lost_submit(emulator: Emulator, tmp_path: Path, count: int) -> str:
    """The journal of a worker that died while it submitted: an intent and nothing after it."""
    run(emulator, tmp_path, receipts(count), "first")
    intent = min((tmp_path / "journal").iterdir())
    lost = tmp_path / "lost"
    lost.mkdir()
    shutil.copy(intent, lost)
    return str(lost)


def test_an_unknown_submit_of_a_killed_worker_is_made_again_after_the_grace(tmp_path: Path) -> None:
    with Emulator() as emulator:
        lost = _lost_submit(emulator, tmp_path, 8)
        outcome = run(emulator, tmp_path, receipts(8), "second", journal=Journaling(lost, grace=0.2))
        assert emulator.stats()["paid_twice"] == 8, "the one window that the service leaves open"
    assert len(outcome.rows) == 8


def test_or_its_documents_are_dead_letters_where_the_user_wants_that(tmp_path: Path) -> None:
    with Emulator() as emulator:
        lost = _lost_submit(emulator, tmp_path, 8)
        outcome = run(emulator, tmp_path, receipts(12), "second", journal=Journaling(lost, "dead-letter"))
        assert emulator.stats()["paid_twice"] == 0
    assert outcome.codes == {"unknown_submit": 8}
    assert len(outcome.rows) == 4


def test_two_documents_of_one_content_keep_their_own_ids(tmp_path: Path) -> None:
    text = "COMPANY: Twin\nTOTAL: 2.00\n"
    twins = [kb.Document(f"twin-{i}", text) for i in range(3)]
    with Emulator(latency=2.0) as emulator:
        first = run(emulator, tmp_path, twins, "first", polling=kb.Polling(0.05, 1.5, 0.1, deadline=0.2))
        assert first.codes == {"deadline": 3}
        second = run(emulator, tmp_path, twins, "second", polling=kb.Polling(0.1, 1.5, 0.2, deadline=HANGS))
    assert {row["_document_id"] for row in second.rows} == {"twin-0", "twin-1", "twin-2"}


# ------------------------------------------------------------------------------------------------ killed


def _command(tmp_path: Path, emulator: Emulator, documents: int, *more: str) -> list[str]:
    lines = [json.dumps({"id": d.id, "text": d.text}) for d in receipts(documents)]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "schema.json").write_text(json.dumps(RECEIPT))
    return [
        "extract", str(tmp_path / "docs.jsonl"), "--schema", str(tmp_path / "schema.json"),
        "--output", str(tmp_path / "out"), "--base-url", emulator.base_url, "--poll-interval", "0.1:0.3",
        "--no-preflight", *more,
    ]  # fmt: skip


def _wait_until(program: Program, emulator: Emulator, condition: Any) -> None:
    while not condition(emulator.stats()):
        program.process.join(0.02)
        assert program.process.is_alive(), "the run ended before it could be killed"


@pytest.mark.parametrize(
    ("moment", "condition"),
    [("after the submits", lambda s: s["submits"] >= 4), ("during polling", lambda s: s["polls"] >= 6)],
)
def test_a_killed_run_that_is_started_again_pays_for_nothing_twice(moment: str, condition: Any, tmp_path: Path) -> None:
    with Emulator(latency=2.0) as emulator:
        command = _command(tmp_path, emulator, 900)
        victim = Program(command, tmp_path)
        _wait_until(victim, emulator, condition)
        # The last ticket may be on its way to the disk: wait for the fourth, so that the open window is not met.
        _wait_until(
            victim, emulator, lambda _: len(list((tmp_path / "out" / "_journal").glob("*.submissions.json"))) >= 5
        )
        victim.kill()
        assert not (tmp_path / "out" / "summary.json").exists()
        code, _, err = Program(command, tmp_path).end()
        assert code == 0, err
        stats = emulator.stats()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["documents"], summary["extractions"]) == (900, 900)
    assert (stats["items"], stats["paid_twice"]) == (900, 0), moment


def test_a_second_run_on_the_same_directory_is_refused_while_the_first_is_alive(tmp_path: Path) -> None:
    with Emulator() as emulator, lease(str(tmp_path / "out")):
        code, _, err = Program(_command(tmp_path, emulator, 3), tmp_path).end()
        assert code == 2
        assert f"another run (process {os.getpid()}" in err
        assert emulator.stats()["submits"] == 0
        assert "Traceback" not in err


def test_the_journal_is_kept_by_overwrite_and_left_out_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        for more, paid_so_far in (((), 5), (("--overwrite",), 5), (("--overwrite", "--no-journal"), 10)):
            code, _, err = run_cli(*_command(tmp_path, emulator, 5, *more), capsys=capsys)
            assert code == 0, err
            assert emulator.stats()["items"] == paid_so_far


def test_a_damaged_file_of_the_journal_fails_the_job_by_name(tmp_path: Path) -> None:
    with Emulator() as emulator:
        run(emulator, tmp_path, receipts(3), "first")
        victim = next((tmp_path / "journal").glob("*.answers.arrow"))
        victim.write_bytes(b"no arrow")
        with pytest.raises(Exception, match="is damaged"):
            Journal(str(tmp_path / "journal")).refresh()


@pytest.mark.parametrize("options", [(), ("--direct_num_workers=2", "--direct_running_mode=multi_processing")])
def test_a_journal_that_cannot_be_read_is_refused_in_a_line_and_nothing_is_sent(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    (journal / "00000000000000000001-a.submissions.json").write_text('{"kimi_beam.journal": 9, "submissions": []}')
    with Emulator() as emulator:
        command = _command(tmp_path, emulator, 3, "--journal", str(journal), *options)
        code, _, err = Program(command, tmp_path).end()
        assert emulator.stats()["submits"] == 0
    assert code == 1
    (line,) = err.splitlines()
    assert "of version 9; this kimi_beam reads 1" in line


def test_a_journal_in_the_output_itself_does_not_refuse_its_own_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        for more in ((), ("--overwrite",)):
            command = _command(tmp_path, emulator, 5, "--journal", f"{tmp_path}/./out/", *more)
            code, _, err = run_cli(*command, capsys=capsys)
            assert code == 0, err
        assert emulator.stats()["items"] == 5


# ------------------------------------------------------------------------------------------------ looked after


def _journal(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(["journal", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("words", [("ls",), ("gc", "--ttl", "1d"), ("gc", "--ttl", "1d", "--dry-run")])
@pytest.mark.parametrize("place", ["gone", "nowhere://gone", ""])
def test_a_journal_that_is_not_there_is_a_mistake_and_not_made(
    place: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, out, err = _journal(capsys, *words, place)
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_gc_works_while_a_run_holds_the_lease(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator() as emulator:
        run(emulator, tmp_path, receipts(3), "first")
    journal = str(tmp_path / "journal")
    with lease(journal):
        assert _journal(capsys, "gc", "--ttl", "0", journal)[0] == 2
        code, out, _ = _journal(capsys, "gc", "--ttl", "0", "--dry-run", journal)
    assert (code, len(out.splitlines())) == (0, 3)
    assert len(list((tmp_path / "journal").iterdir())) == 3


def test_a_file_whose_name_is_no_time_is_counted_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{'9' * 30}-a.submissions.json").write_bytes(encode_submissions([]))
    code, out, err = _journal(capsys, "ls", str(tmp_path))
    assert (code, err) == (0, "")
    assert "oldest                  1970-01-01" in out
    for word, meaning in MEANINGS.items():
        assert any(line.strip().startswith(word) and line.endswith(meaning) for line in out.splitlines()), word


# ------------------------------------------------------------------------------------------------ forgotten


def _aged(journal: Path, seconds: float) -> None:
    """Lets time pass: the files of a journal say when they were written by their names."""
    for path in journal.iterdir():
        at, _, rest = path.name.partition("-")
        path.rename(path.with_name(f"{int(at) - int(seconds * 1e9):020d}-{rest}"))


@pytest.mark.parametrize("how", ["--journal-ttl", "gc"])
def test_answers_older_than_the_ttl_are_removed_and_paid_for_again(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "out" / "_journal"
    with Emulator() as emulator:
        command = _command(tmp_path, emulator, 5, "--overwrite", *(("--journal-ttl", "1d") if how != "gc" else ()))
        for age, paid_so_far in ((0, 5), (80_000, 5), (10_000, 10)):
            if age:
                _aged(journal, age)
            if age and how == "gc":
                assert _journal(capsys, "gc", str(journal), "--ttl", "1d")[0] == 0
            code, _, err = Program(command, tmp_path).end()
            assert code == 0, err
            assert emulator.stats()["items"] == paid_so_far
    # What another run of this process has in its index is gone as well.
    assert len({path.name for path in journal.iterdir()}) == 3


def test_a_later_run_of_the_same_process_does_not_look_for_removed_files(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with Emulator() as emulator:
        run(emulator, tmp_path, receipts(5), "first")
        (journal / "00000000000000000001-dead.answers.arrow.tmp").write_bytes(b"half")
        assert len(forget(str(journal), older_than=time.time())) == 4
        assert list(journal.iterdir()) == []
        outcome = run(emulator, tmp_path, receipts(5), "second")
        assert paid(emulator) == 10
    assert len(outcome.rows) == 5


@pytest.mark.parametrize("option", [("--journal-ttl", "1d"), ("--on-unknown-submit", "dead-letter")])
def test_journal_commands_refuse_a_directory_without_a_journal(
    option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        command = _command(tmp_path, emulator, 3, "--no-journal", *option)
        assert "need a journal" in mistake(*command, capsys=capsys)
        assert emulator.stats()["submits"] == 0


def test_documents_with_several_accepted_submits_are_counted(tmp_path: Path) -> None:
    with Emulator() as emulator:
        lost = _lost_submit(emulator, tmp_path, 8)
        run(emulator, tmp_path, receipts(8), "second", journal=Journaling(lost, grace=0.0))
        shutil.copytree(tmp_path / "journal", lost, dirs_exist_ok=True)
        assert emulator.stats()["paid_twice"] == contents(lost)["  submitted again"] == 8
