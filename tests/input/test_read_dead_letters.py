"""`ReadDeadLetters`: dead letters come back as they were written, and a line that is none becomes a failed document."""

from __future__ import annotations

import base64
import bz2
import contextlib
import gzip
import json
import lzma
import pickle
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings
from hypothesis import strategies as st

import kimi_beam as kb
from kimi_beam.errors import ConfigError, InputError
from kimi_beam.results import dead_letter_lines
from kimi_beam.results.dead_letter_lines import DeadLetterError, decode, encode
from kimi_beam.types.answer import Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Arrival, Document, Layout
from kimi_beam.types.earlier_runs import Earlier
from kimi_beam.types.failure import Code, Failure, Stage
from kimi_beam.types.ticket import OpenRequest

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_tokens = st.integers(0, 1 << 40)
_counts = st.integers(0, (1 << 30) - 1)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_open_requests = st.builds(
    OpenRequest, _texts, _texts, _texts, st.integers(5, 300), st.integers(0, 4), st.integers(0, 2)
)
_micros = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
_arrivals = st.builds(
    Arrival,
    st.none() | _micros,
    st.none() | st.tuples(_micros, _micros),
    st.integers(0, (1 << 128) - 1).map(lambda number: f"{number:032x}"),
)
_indices = st.lists(_counts, max_size=3).map(sorted).map(tuple)
_letters = st.builds(
    DeadLetter,
    st.builds(
        Document,
        _texts,
        _texts,
        st.lists(_texts, max_size=2).map(tuple),
        st.dictionaries(_texts, _json, max_size=3),
        _texts,
        arrival=st.none() | _arrivals,
        layout=st.none() | st.builds(Layout, _indices, _indices, st.none() | st.binary(max_size=9)),
    ),
    st.builds(
        Failure,
        st.sampled_from(get_args(Stage)),
        st.sampled_from(get_args(Code)),
        _texts,
        st.booleans(),
        st.none() | _texts,
    ),
    _counts,
    st.none() | _texts,
    st.builds(Usage, _tokens, _tokens, _tokens),
    _texts,
    _texts,
    st.integers(0, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000),
    _counts,
    st.none() | _open_requests,
)


_DOCUMENT = {"id": "a", "text": "t", "images": [], "metadata": {}}
_LAYOUT = {"page_starts": [0], "image_positions": [], "boxes": None}
_REQUEST = {"request_id": "job", "key": "00", "name": "n", "count": 3, "position": 1, "form": 0}


def letter(i: int, code: Any = "truncated", **more: Any) -> DeadLetter:
    failure = Failure("infer", code, "m", more.pop("retryable", True), "{")
    return DeadLetter(Document(f"doc-{i}", f"text {i}"), failure, 1, "job", Usage(), "m", "h", 1.0, **more)


def _save(value: Any, directory: str) -> None:
    Path(directory, uuid.uuid4().hex).write_bytes(pickle.dumps(value))


def read(directory: Path, *patterns: object, **choice: Any) -> tuple[list[Document], list[DeadLetter]]:
    """What a pipeline reads, by id: the documents, and the dead letters that are left."""
    seen = {name: directory / f"{name}-{uuid.uuid4().hex}" for name in ("documents", "left")}
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        result = pipeline | kb.ReadDeadLetters([str(pattern) for pattern in patterns], **choice)
        for name, place in seen.items():
            place.mkdir()
            result[name] | f"Save {name}" >> beam.Map(_save, str(place))
    documents_, left = ([pickle.loads(path.read_bytes()) for path in place.iterdir()] for place in seen.values())
    return sorted(documents_, key=lambda d: d.id), sorted(left, key=lambda one: one.document.id)


def write(path: Path, lines: list[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


# ------------------------------------------------------------------------------------------------ one line


@settings(derandomize=True, max_examples=400)
@given(_letters)
def test_a_dead_letter_comes_back_from_its_line(one: DeadLetter) -> None:
    # What reading cut off, and what redaction took away, is missing whether or not the letter says so.
    was_cut = (one.failure.stage, one.failure.code) == ("read", "too_large")
    was_emptied = one.failure.code == "unredactable" and not one.document.text and not one.document.images
    assert decode(encode(one)) == replace(one, truncated=was_cut or was_emptied)


def test_a_line_that_was_written_before_documents_had_a_layout_is_read() -> None:
    content = json.loads(encode(letter(1)))
    del content["document"]["layout"]
    assert decode(json.dumps(content).encode()) == letter(1)


def test_a_dead_letter_that_holds_a_part_of_its_document_holds_no_layout_of_the_whole() -> None:
    layout = Layout((0, 5), (5,), b"boxes")
    long = replace(letter(1), document=Document("a", "long " * 2_000_000, ("data:,",), layout=layout))
    assert (decode(encode(long)).document.layout, decode(encode(long)).truncated) == (None, True)
    boxed = replace(letter(1), document=Document("a", "t", layout=Layout((0,), (), bytes(33 << 20))))
    assert (decode(encode(boxed)).document.layout, decode(encode(boxed)).truncated) == (Layout((0,)), False)


def test_a_line_of_another_version_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter_lines, "VERSION", 9)
    newer = encode(letter(1))
    monkeypatch.undo()
    with pytest.raises(DeadLetterError, match="of version 9; this kimi_beam reads 2"):
        decode(newer)


@settings(derandomize=True, max_examples=400)
@given(st.data())
def test_a_damaged_line_is_an_error_of_that_line_and_of_no_other_kind(data: st.DataObject) -> None:
    line = bytearray(encode(letter(1, open=OpenRequest("job", "00", "n", 3, 1))))
    content = json.loads(line)
    path = data.draw(st.sampled_from(sorted(content)))
    content[path] = data.draw(st.none() | _json)
    if data.draw(st.booleans()):
        del content[path]
    start = data.draw(st.integers(0, len(line)))
    for damaged in (json.dumps(content).encode(), bytes(line[:start]), bytes(line[start:])):
        with contextlib.suppress(ValueError, DeadLetterError):
            assert isinstance(decode(damaged), DeadLetter)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"attempts": True}, "/attempts"),
        ({"attempts": -1}, "/attempts"),
        ({"attempts": 1 << 30}, "/attempts"),  # what follows from it would not fit into the column
        ({"round": 1 << 30}, "/round"),
        ({"code": "gone"}, "/code"),
        ({"document": {"id": "a"}}, "/document/text"),
        ({"document": {**_DOCUMENT, "layout": {}}}, "/document/layout/page_starts"),
        ({"document": {**_DOCUMENT, "layout": {**_LAYOUT, "page_starts": [-1]}}}, "/document/layout/page_starts/0"),
        ({"document": {**_DOCUMENT, "layout": {**_LAYOUT, "page_starts": [2, 1]}}}, "ascending order"),
        ({"document": {**_DOCUMENT, "layout": {**_LAYOUT, "boxes": "é"}}}, "/document/layout"),
        ({"document": {**_DOCUMENT, "layout": {**_LAYOUT, "boxes": "AAA"}}}, "/document/layout"),
        ({"failed_at": "yesterday"}, "yesterday"),
        ({"failed_at": "0001-01-01T00:00:00"}, "failed_at|year"),
        ({"round": None}, "/round"),
        ({"open_request": {**_REQUEST, "position": 3}}, "/open_request/position"),
        ({"open_request": {**_REQUEST, "count": "3"}}, "/open_request/count"),
        (
            {"open_request": {**_REQUEST, "count": 1 << 40}},
            "/open_request/count",
        ),  # its references would fill the memory
    ],
)
def test_the_error_names_the_place(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decode(json.dumps({**json.loads(encode(letter(1))), **change}).encode())


# ------------------------------------------------------------------------------------------------ files


def test_the_chosen_come_as_documents_and_the_others_as_they_were(tmp_path: Path) -> None:
    letters = [letter(1), letter(2, "refusal", retryable=False), letter(3, "empty_answer"), letter(4)]
    path = write(tmp_path / "in" / "dead.jsonl", [encode(one) for one in letters])
    found, left = read(tmp_path, path)
    assert [d.id for d in found] == ["doc-1", "doc-3", "doc-4"]
    assert found[0] == Document("doc-1", "text 1", earlier=Earlier(1, 1))
    assert left == [letters[1]]
    found, left = read(tmp_path, path, codes=["refusal", "empty_answer"], stages=["infer"])
    assert [d.id for d in found] == ["doc-2", "doc-3"]
    assert left == [letters[0], letters[3]]


@pytest.mark.parametrize("limit", [0, 1, 3, 99])
def test_a_limit_leaves_the_others(limit: int, tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / "in" / f"{name}.jsonl", [encode(letter(i + 10 * (name == "b"))) for i in range(2)])
    found, left = read(tmp_path, tmp_path / "in" / "*.jsonl", limit=limit)
    assert [d.id for d in found] == ["doc-0", "doc-1", "doc-10", "doc-11"][:limit]
    assert len(found) + len(left) == 4


@pytest.mark.parametrize(
    ("suffix", "compress"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_a_directory_stands_for_its_dead_letters_alone(suffix: str, compress: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(2):
        content = compress(encode(letter(number)) + encode(letter(number + 2)))
        write(out / f"dead-letters-0000{number}-of-00002.jsonl{suffix}", [content])
    write(out / "documents.jsonl", [b'{"id": "a", "text": "b"}\n'])
    write(out / "summary.json", [b"{}"])
    for place in (out, f"{out}/", out / "dead-letters-*", f"file://{out}"):
        assert [d.id for d in read(tmp_path, place)[0]] == [f"doc-{i}" for i in range(4)], place


def test_a_large_file_is_read_in_parts_and_each_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_beam.input.file_parts._PART_BYTES", 1000)
    lines = [encode(letter(i)) for i in range(100, 200)]
    path = write(tmp_path / "in" / "dead.jsonl", [*lines, b"no dead letter\n"])
    found, left = read(tmp_path, path)
    assert [d.id for d in found] == sorted([f"{path}#101", *(f"doc-{i}" for i in range(100, 200))])
    assert left == []


def test_each_damaged_line_is_a_document_that_carries_its_failure(tmp_path: Path) -> None:
    good = encode(letter(1))
    bad = [
        b"",
        b"\xff\xfe\n",
        good[: len(good) // 2] + b"\n",
        b"[1]\n",
        b'{"version": 2}\n',
        good.replace(b"infer", b"guess"),
    ]
    path = write(tmp_path / "in" / "dead.jsonl", [good, *bad])
    found, left = read(tmp_path, path, codes=["truncated"])
    assert [d.id for d in found if d.failure is None] == ["doc-1"]
    found = [d for d in found if d.failure is not None]
    assert left == []
    assert {d.id: d.failure and (d.failure.stage, d.failure.code) for d in found} == {
        f"{path}#2": ("read", "not_utf8"),
        **{f"{path}#{number}": ("read", "not_json") for number in range(3, 7)},
    }
    assert all(d.failure is not None and base64.b64decode(d.failure.raw or "") + b"\n" in bad for d in found)


def test_dead_letters_of_the_stage_read_are_not_run_again(tmp_path: Path) -> None:
    failure = Failure("read", "unreadable", "m", retryable=True)
    one = DeadLetter(Document("a", ""), failure, 0, None, Usage(), "m", "h", 1.0)
    path = write(tmp_path / "in" / "dead.jsonl", [encode(one)])
    for choice in ({}, {"codes": ["unreadable"]}, {"stages": ["read"]}):
        assert read(tmp_path, path, **choice) == ([], [one])


# ------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("nothing-*.jsonl", None, "no dead letters at"),
        ("gone.jsonl", None, "no dead letters at"),
        ("dead.txt", b"", "those are JSON lines"),
        ("dead.jsonl", b'{"id": "a", "text": "b"}\n', "its first line has no document_id"),
        ("dead.jsonl", encode(letter(1)).replace(b'"version":2', b'"version":1'), "version 1; this kimi_beam reads 2"),
        ("dead.jsonl.gz", b"no gzip", "cannot read"),
        ("dead.jsonl.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0" + b"damaged" * 9, "cannot read"),
    ],
)
def test_mistakes_are_told_while_the_pipeline_is_built(
    name: str, content: bytes | None, told: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told) as e:
        kb.ReadDeadLetters(str(tmp_path / name))
    assert str(tmp_path / name) in str(e.value)


def test_no_patterns_a_negative_limit_and_unknown_codes_are_mistakes(tmp_path: Path) -> None:
    path = str(write(tmp_path / "in" / "dead.jsonl", [encode(letter(1))]))
    with pytest.raises(InputError, match="name at least one"):
        kb.ReadDeadLetters([])
    with pytest.raises(InputError, match="negative"):
        kb.ReadDeadLetters(path, limit=-1)
    with pytest.raises(ConfigError, match="'gone' is none of"):
        kb.ReadDeadLetters(path, codes=["gone"])


def test_an_unknown_version_in_the_middle_fails_the_job_by_name(tmp_path: Path) -> None:
    newer = encode(letter(2)).replace(b'"version":2', b'"version":3')
    path = write(tmp_path / "in" / "dead.jsonl", [encode(letter(1)), newer])
    with pytest.raises(Exception, match=f"{path}: a dead letter of version 3; this kimi_beam reads 2"):
        read(tmp_path, path)


def test_an_empty_file_holds_none(tmp_path: Path) -> None:
    assert read(tmp_path, write(tmp_path / "in" / "dead.jsonl", [])) == ([], [])
