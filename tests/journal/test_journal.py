"""The journal's records and index: no file is misread, and of all records of a key the right one counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.columnar import Results, Tokens
from kimi_beam.errors import ConfigError
from kimi_beam.journal import files as journal_files
from kimi_beam.journal import index as journal_index
from kimi_beam.journal import records as journal
from kimi_beam.journal.index import ANSWER, INTENT, NOTHING, TICKET, Entry, Index, Record
from kimi_beam.journal.records import Answer, Answers, JournalError, Journaling, Submission
from kimi_beam.request.batches import KEY_BYTES
from kimi_beam.results.answer_codes import ANSWERS
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import Ticket

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_keys = st.binary(min_size=16, max_size=16)
_counts = st.integers(0, 1 << 40)
_completions = st.builds(
    Completion, _texts, st.none() | _texts, st.none() | st.integers(0, 1 << 40), st.none() | _texts
)
_failures = st.builds(
    Failure, st.just("infer"), st.sampled_from(sorted(ANSWERS)), _texts, st.booleans(), st.none() | _texts
)
_answers = st.builds(
    Answer,
    st.none() | _completions | _failures,
    st.builds(Usage, _counts, _counts, _counts),
    st.builds(Ticket, st.none() | _texts, st.integers(0, 1000)),
)
_submissions = st.builds(
    Submission,
    _texts,
    st.integers(0, 2),
    st.lists(_keys, max_size=5).map(tuple),
    st.floats(0, 4e9),
    st.none() | _texts,
    st.booleans(),
)


@settings(derandomize=True, max_examples=300)
@given(st.lists(st.tuples(_keys, _answers), min_size=1, max_size=8))
def test_answers_come_back_as_they_were(pairs: list[tuple[bytes, Answer]]) -> None:
    keys, answers = [key for key, _ in pairs], [answer for _, answer in pairs]
    results, usages, tickets = zip(*answers, strict=True)
    content = journal.encode_answers(Answers(keys, Results.of(results), Tokens.of(usages), tickets))
    read = journal.decode_answers(content)
    assert read.keys == keys
    assert [read.answer_at(row) for row in range(len(keys))] == answers
    assert read.select([len(keys) - 1]).answer_at(0) == answers[-1]
    assert journal.decode_answer_keys(content) == (keys, [answer.result is not None for answer in answers])


def test_answers_are_laid_out_as_version_2_has_them() -> None:
    """Where this fails, a journal that was written before is misread or refused: give the file another version."""
    failure = Failure("infer", "refusal", "no", raw="no")
    results: list[Any] = [Completion("{}", "stop", 1_700_000_000, "m"), None, failure]
    usages = [Usage(5, 1, 2), Usage(6, 0, 3), Usage(7, 0, 4)]
    tickets = [Ticket("r", 1), Ticket(None, 0), Ticket("r", 2)]
    keys = [bytes([n]) * 16 for n in range(3)]
    content = journal.encode_answers(Answers(keys, Results.of(results), Tokens.of(usages), tickets))
    table = pa.ipc.open_file(content).read_all()
    assert table.schema.metadata == {b"kimi_beam.journal": b"2"}
    assert table.to_pydict() == {
        "key": keys,
        "text": ["{}", None, None],
        "finish_reason": ["stop", None, None],
        "created": [1_700_000_000, None, None],
        "model": ["m", None, None],
        "failure": [None, None, b'["infer","refusal","no",false,"no"]'],
        "prompt_tokens": [5, 6, 7],
        "cached_tokens": [1, 0, 0],
        "completion_tokens": [2, 3, 4],
        "request_id": ["r", None, "r"],
        "attempts": [1, 0, 2],
    }


@pytest.mark.parametrize("read", [journal.decode_answers, journal.decode_answer_keys])
def test_answers_of_another_version_are_refused_and_not_misread(read: Any) -> None:
    table = pa.ipc.open_file(journal.encode_answers(Answers([], Results.of([]), Tokens.of([]), []))).read_all()
    for version in (1, 3):
        sink = pa.BufferOutputStream()
        other = table.replace_schema_metadata({"kimi_beam.journal": str(version)})
        with pa.ipc.new_file(sink, other.schema) as writer:
            writer.write_table(other)
        with pytest.raises(JournalError, match=f"of version {version}; this kimi_beam reads 2"):
            read(sink.getvalue().to_pybytes())


@settings(derandomize=True, max_examples=300)
@given(st.lists(_submissions, max_size=5))
def test_submissions_come_back_as_they_were(submissions: list[Submission]) -> None:
    assert journal.decode_submissions(journal.encode_submissions(submissions)) == submissions


@pytest.mark.parametrize("read", [journal.decode_submissions, journal.decode_answers, journal.decode_answer_keys])
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{}", b"[]", b"null", b"ARROW1\0\0", b'{"kimi_beam.journal":1}', b"\xff" * 99),
        *(
            b'{"kimi_beam.journal":1,"submissions":[%b]}' % row
            for row in (
                b'["b",0,"%b",1.0,"job"]' % (b"0" * 32),
                b'["b",0,"%b",1.0,"job",false]' % (b"0" * 31),
                b'["b",0,"%b",1.0,"job",false]' % (b"0" * 30),
                b'["b",0,"%b","late","job",false]' % (b"0" * 32),
                b'["b",0,"%b",1.0,7,false]' % (b"0" * 32),
                b'["b","x","%b",1.0,"job",false]' % (b"0" * 32),
            )
        ),
    ],
)
def test_a_damaged_file_is_one_error_and_no_record(read: Any, content: bytes) -> None:
    with pytest.raises(JournalError, match="damaged"):
        read(content)


def test_a_file_of_another_version_is_refused_and_not_misread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "VERSION", 7)
    newer = journal.encode_submissions([])
    monkeypatch.undo()
    with pytest.raises(JournalError, match="version 7; this kimi_beam reads 1"):
        journal.decode_submissions(newer)


def _key(n: int) -> bytes:
    """Of 32 keys eight each begin with the same eight bytes, or end with them; some begin or end with zeros."""
    return (n % 4).to_bytes(8, "big") + (n // 4).to_bytes(8, "big")


_entries = st.lists(
    st.tuples(
        st.integers(0, 30).map(_key),
        st.builds(
            Entry,
            st.sampled_from([NOTHING, INTENT, TICKET, ANSWER]),
            st.integers(0, 50).map(float),
            *[st.integers(0, 9)] * 3,
        ),
    ),
    max_size=60,
)


@settings(derandomize=True, max_examples=400)
@given(_entries, st.integers(1, 20))
def test_of_all_records_of_a_key_an_answer_counts_else_the_latest(
    records: list[tuple[bytes, Entry]], recent: int
) -> None:
    before, journal_index._RECENT = journal_index._RECENT, recent  # sorted in after so many, or never
    try:
        index = Index()
        for key, (state, at, file, record, position) in records:
            index.add(Record(state, at, file, record, {key: position}))
        keys = [_key(n) for n in range(32)]
        for key, found in zip(keys, index.look_up(keys), strict=True):
            mine = [entry for other, entry in records if other == key]
            best = max(((entry.state == ANSWER, entry.at) for entry in mine), default=None)
            assert (found and (found.state == ANSWER, found.at)) == best
            assert found is None or found in mine
        assert len(index) == len({key for key, _ in records})
    finally:
        journal_index._RECENT = before


@settings(derandomize=True, max_examples=400)
@given(
    st.lists(
        st.tuples(
            st.tuples(st.sampled_from([NOTHING, INTENT, TICKET, ANSWER]), st.integers(0, 9).map(float)),
            st.lists(st.integers(0, 12), min_size=1, max_size=9, unique=True),
        ),
        max_size=12,
    ),
    st.integers(1, 20),
)
def test_records_of_many_keys_are_found_as_if_each_key_came_alone(
    records: list[tuple[Any, list[int]]], recent: int
) -> None:
    before, journal_index._RECENT = journal_index._RECENT, recent
    try:
        together, alone = Index(), Index()
        for file, ((state, at), numbers) in enumerate(records):
            positions = {_key(n): place for place, n in enumerate(numbers)}
            together.add(Record(state, at, file, 0, positions))
            for key, position in positions.items():
                alone.add(Record(state, at, file, 0, {key: position}))
        keys = [_key(n) for n in range(14)]
        assert together.look_up(keys) == alone.look_up(keys)
        assert together.states() == alone.states()
    finally:
        journal_index._RECENT = before


def test_keys_differ_by_identity_and_by_content() -> None:
    keys = {journal.key(identity, content) for identity in (b"a" * 32, b"b" * 32) for content in (b"x", b"y", b"")}
    assert len(keys) == 6
    assert {len(key) for key in keys} == {KEY_BYTES}


def test_a_large_index_is_few_runs_and_none_of_them_is_sorted_again_for_each_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_index, "_RECENT", 10)
    sorted_in = []
    merged = journal_index._merged
    monkeypatch.setattr(journal_index, "_merged", lambda parts: sorted_in.append(rows := merged(parts)) or rows)  # type: ignore[func-returns-value]
    index = Index()
    for number in range(1_000):
        index.add(Record(ANSWER, 1.0, 2, 3, {_key(number): 4}))
    assert len(index._runs) <= 8, "each is to be less than half as long as the one before"
    assert sum(len(rows.first) for rows in sorted_in) <= 1_000 * 8, "the time would grow with the square of documents"
    assert len(index) == 1_000


def test_a_document_in_the_index_takes_less_than_64_bytes() -> None:
    index = Index()
    for number in range(10_000):
        index.add(Record(ANSWER, 1.0, 2, 3, {number.to_bytes(16, "little"): 4}))
    assert len(index) == 10_000
    assert sum(column.nbytes for run in index._runs for column in run) / len(index) <= 64


@pytest.mark.parametrize("failure", ["item_failed", "missing_item", "malformed_item", "json_mode_unmet", "refused"])
def test_failures_that_are_not_the_models_answer_may_be_asked_for_again(failure: Any) -> None:
    results = Results.of([Failure("infer", failure, "m"), Failure("infer", "truncated", "m")])
    assert list(journal.answers_only(results).failures) == [1]


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"on_unknown_submit": "hope"}, {"grace": -1.0}, {"grace": float("nan")}, {"grace": float("inf")}):
        with pytest.raises(ConfigError, match="journal"):
            Journaling("d", **wrong)


def test_a_relative_path_is_another_journal_in_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook that changes its directory does not look for the first journal's files in the second."""
    found = []
    for name in ("first", "second", "first"):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        found.append(journal_files.open_journal("out/_journal"))
    assert found[0] is found[2]
    assert found[0] is not found[1]
