"""`WriteDeadLetters`: each is one JSON line with every key, which is enough to run its document again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.error_handling import ErrorHandler
from hypothesis import given
from hypothesis import strategies as st

import kimi_beam as kb
from kimi_beam.output import dead_letters
from kimi_beam.report.summary import Summary
from kimi_beam.results import dead_letter_lines
from kimi_beam.types.answer import Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure

KEYS = [
    "document_id",
    "document",
    "source",
    "stage",
    "code",
    "message",
    "retryable",
    "attempts",
    "request_id",
    "raw",
    "usage",
    "model",
    "schema_hash",
    "failed_at",
    "event_time",
    "window",
    "delivery",
    "round",
    "open_request",
    "parts",
    "version",
]


def letter(i: int, code: Any = "schema_violation", **document: Any) -> DeadLetter:
    return DeadLetter(
        Document(f"doc-{i}", **{"text": f"text {i}", "metadata": {"page": i}, "source": "in/a.jsonl", **document}),
        Failure("validate", code, "/total: is missing", retryable=True, raw='{"n": 1}'),
        attempts=2,
        request_id=f"job-{i}",
        usage=Usage(100, 10, i),
        model="@cf/moonshotai/kimi-k2.6",
        schema_hash="0123456789abcdef",
        failed_at=1_767_225_600.25,
    )


def line(i: int) -> dict[str, Any]:
    """The line of `letter(i)`, written out."""
    return {
        "document_id": f"doc-{i}",
        "document": {
            "id": f"doc-{i}",
            "text": f"text {i}",
            "images": [],
            "metadata": {"page": i},
            "layout": None,
            "truncated": False,
        },
        "source": "in/a.jsonl",
        "stage": "validate",
        "code": "schema_violation",
        "message": "/total: is missing",
        "retryable": True,
        "attempts": 2,
        "request_id": f"job-{i}",
        "raw": '{"n": 1}',
        "usage": {"prompt_tokens": 100, "cached_tokens": 10, "completion_tokens": i},
        "model": "@cf/moonshotai/kimi-k2.6",
        "schema_hash": "0123456789abcdef",
        "failed_at": "2026-01-01T00:00:00.250+00:00",
        "event_time": None,
        "window": None,
        "delivery": None,
        "round": 0,
        "open_request": None,
        "parts": None,
        "version": 2,
    }


def write(prefix: Path, letters: Sequence[DeadLetter]) -> Path:
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        pipeline | beam.Create(list(letters), reshuffle=False) | kb.WriteDeadLetters(str(prefix))
    (path,) = prefix.parent.iterdir()  # one file, and nothing staged is left
    assert path.name == f"{prefix.name}-00000-of-00001.jsonl"
    return path


def read(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    assert content == b"" or content.endswith(b"\n")
    lines = [json.loads(one, parse_float=Decimal) for one in content.split(b"\n")[:-1]]
    return sorted(lines, key=lambda one: one["document_id"])


# ------------------------------------------------------------------------------------------------ one line


def test_a_line_says_all_there_is_to_say() -> None:
    encoded = dead_letter_lines.encode(letter(3))
    assert encoded.endswith(b"}\n")
    assert json.loads(encoded) == line(3)
    assert list(json.loads(encoded)) == KEYS


def test_every_key_is_there_when_there_is_little_to_say() -> None:
    failure = Failure("read", "unreadable", "cannot read it")
    unsent = DeadLetter(Document("a", "", failure=failure), failure, 0, None, Usage(), "m", "h", 0.0)
    assert json.loads(dead_letter_lines.encode(unsent)) == {
        "document_id": "a",
        "document": {"id": "a", "text": "", "images": [], "metadata": {}, "layout": None, "truncated": False},
        "source": "",
        "stage": "read",
        "code": "unreadable",
        "message": "cannot read it",
        "retryable": False,
        "attempts": 0,
        "request_id": None,
        "raw": None,
        "usage": {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0},
        "model": "m",
        "schema_hash": "h",
        "failed_at": "1970-01-01T00:00:00.000+00:00",
        "event_time": None,
        "window": None,
        "delivery": None,
        "round": 0,
        "open_request": None,
        "parts": None,
        "version": 2,
    }


def test_metadata_keeps_every_digit_and_what_json_has_no_form_for() -> None:
    big, fine = 123456789012345678901234567890, Decimal("0.123456789012345678901234567891")
    metadata = {
        "big": big,
        "fine": fine,
        "deep": [{"big": -big, "fine": fine}],
        "day": date(2026, 2, 28),
        "set": {1},
        7: "a key that is no string",
    }
    encoded = dead_letter_lines.encode(letter(1, metadata=metadata))
    assert json.loads(encoded, parse_float=Decimal)["document"]["metadata"] == {
        "big": big,
        "fine": fine,
        "deep": [{"big": -big, "fine": fine}],
        "day": "2026-02-28",
        "set": "{1}",
        "7": "a key that is no string",
    }


def test_images_travel_with_their_document() -> None:
    images = ("data:image/png;base64,AAAA", "data:image/png;base64,BBBB")
    assert json.loads(dead_letter_lines.encode(letter(1, images=images)))["document"]["images"] == list(images)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"])),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    raw=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_text_is_on_one_line_and_comes_back(text: str, key: str, raw: str | None) -> None:
    one = letter(1, text=text, metadata={key: text})
    one = replace(one, failure=replace(one.failure, message=text, raw=raw))
    encoded = dead_letter_lines.encode(one)
    assert encoded.count(b"\n") == encoded.count(b"\r") + 1 == 1
    found = json.loads(encoded)
    assert found["document"] == {**line(1)["document"], "text": text, "metadata": {key: text}}
    assert (found["message"], found["raw"]) == (text, raw)


def test_a_file_tells_its_codes_and_tokens() -> None:
    letters = [letter(i, "truncated" if i % 3 else "refusal") for i in range(7)]
    pieces = [
        b"".join(map(dead_letter_lines.encode, letters[:5])),
        b"".join(map(dead_letter_lines.encode, letters[5:])),
    ]
    f = io.BytesIO()
    summary = dead_letters.write(f, iter(pieces))
    assert summary == Summary(0, {"truncated": 4, "refusal": 3}, Usage(700, 70, 21))
    assert f.getvalue() == b"".join(pieces)
    assert dead_letters.write(io.BytesIO(), []) == Summary()


# ------------------------------------------------------------------------------------------------ one file


def test_every_dead_letter_is_on_one_line_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "dead", [letter(i) for i in range(10)])
    assert read(path) == [line(i) for i in range(10)]


def test_no_dead_letter_gives_an_empty_file(tmp_path: Path) -> None:
    assert write(tmp_path / "dead", []).read_bytes() == b""


def test_lines_of_any_size_are_each_written_once(tmp_path: Path) -> None:
    sizes = [0, 2, (1 << 20) - 2, 1 << 20, 3 << 20, 700_000, 700_000, 6]
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        (
            pipeline
            | beam.Create(list(enumerate(sizes)), reshuffle=False)
            | beam.MapTuple(lambda i, size: letter(i, text="ä" * (size // 2)))
            | kb.WriteDeadLetters(str(tmp_path / "dead"))
        )
    (path,) = tmp_path.iterdir()
    found = read(path)
    assert [one["document_id"] for one in found] == [f"doc-{i}" for i in range(len(sizes))]
    assert [len(one["document"]["text"]) for one in found] == [size // 2 for size in sizes]


def test_writing_again_replaces_what_an_earlier_run_left(tmp_path: Path) -> None:
    (tmp_path / "dead-00000-of-00002.jsonl").write_bytes(b"earlier")
    (tmp_path / "dead-00001-of-00002.jsonl").write_bytes(b"earlier")
    path = write(tmp_path / "dead", [letter(1)])
    assert read(path) == [line(1)]
    assert read(write(tmp_path / "dead", [letter(2)])) == [line(2)]


# ------------------------------------------------------------------------------------------------ with Beam


class Halve(beam.PTransform):
    """A transform with errors, as Beam wants them: even numbers go on, odd ones are dead letters."""

    def __init__(self) -> None:
        super().__init__()
        self._handler: Any = None

    def with_error_handler(self, handler: Any) -> Halve:
        self._handler = handler
        return self

    def expand(self, numbers: beam.PCollection) -> beam.PCollection:
        good, bad = numbers | beam.ParDo(_Halve()).with_outputs("bad", main="good")
        self._handler.add_error_pcollection(bad)
        return good


class _Halve(beam.DoFn):
    def process(self, number: int) -> Iterator[Any]:
        yield beam.pvalue.TaggedOutput("bad", letter(number)) if number % 2 else number // 2


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4, 5], [2, 4]])
def test_it_consumes_the_errors_of_every_transform_that_has_beams_handler(tmp_path: Path, numbers: list[int]) -> None:
    with (
        beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline,
        ErrorHandler(kb.WriteDeadLetters(str(tmp_path / "dead"))) as handler,
    ):
        (
            pipeline
            | beam.Create(numbers)
            | "First" >> Halve().with_error_handler(handler)
            | beam.Map(lambda n: n + 10)
            | "Second" >> Halve().with_error_handler(handler)
        )
    first = [n for n in numbers if n % 2]
    second = [n // 2 + 10 for n in numbers if n % 2 == 0 and (n // 2 + 10) % 2]
    (path,) = tmp_path.iterdir()
    assert path.name == "dead-00000-of-00001.jsonl"
    assert read(path) == sorted((line(n) for n in [*first, *second]), key=lambda one: one["document_id"])


def test_a_document_that_could_not_be_read_is_written_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(
        b'{"id": "a", "text": "x"}\n{"id": "b", "n": 123456789012345678901234567890}\n\xff'
    )
    out = tmp_path / "out" / "dead"
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        (
            pipeline
            | kb.ReadDocuments(str(tmp_path / "a.jsonl"))
            | beam.Filter(lambda document: document.failure is not None)
            | beam.Map(lambda d: DeadLetter(d, d.failure, 0, None, Usage(), "m", "h", 0.0))
            | kb.WriteDeadLetters(str(out))
        )
    bad_line, no_text = read(out.parent / "dead-00000-of-00001.jsonl")
    assert (bad_line["document_id"], bad_line["code"], bad_line["raw"]) == (
        f"{tmp_path / 'a.jsonl'}#3",
        "not_utf8",
        "/w==",
    )
    assert (no_text["document_id"], no_text["code"]) == ("b", "missing_text")
    assert no_text["document"]["metadata"] == {"n": 123456789012345678901234567890}
