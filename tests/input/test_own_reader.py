"""A user's own reader: asked first about each whole file, and its errors cost their file alone."""

from __future__ import annotations

import pickle
import uuid
import zipfile
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

import kimi_beam as kb
from kimi_beam.errors import InputError
from kimi_beam.input.check_input import check_input
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import find_parts
from kimi_beam.input.read_parts import read_part
from kimi_beam.input.readers.content import Content, HiddenText, Page
from kimi_beam.types.document import Document


def read_ledger(content: bytes, path: str) -> kb.Document | Content | str | None:
    if path.endswith(".doc"):
        return kb.Document("a doc", content.decode(), metadata={"kind": "doc"})
    if path.endswith(".pages"):
        return Content((Page("one"), Page("two")), {"title": "T"}, hidden=(HiddenText("unseen", "off the page"),))
    if path.endswith(".ledger"):
        return f"{content.decode('cp500')} at {Path(path).name}"
    if path.endswith(".bad"):
        raise ValueError("no\nledger")
    if path.endswith(".odd"):
        return 7  # type: ignore[return-value]
    return None


def outcome_of(directory: Path, **settings: Any) -> dict[str, Document]:
    found = [
        one
        for part in find_parts((f"{directory}/**",))
        for one in read_part(part, Reading(reader=read_ledger, **settings))
    ]
    assert len({one.id for one in found}) == len(found)
    return {one.id.removeprefix(f"{directory}/"): one for one in found}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "in"
    directory.mkdir()
    (directory / "a.ledger").write_bytes("Größe".encode("cp500"))
    (directory / "b.txt").write_bytes(b"not the reader's" * 2_000)
    (directory / "c.bad").write_bytes(b"x")
    (directory / "d.odd").write_bytes(b"x")
    (directory / "e.doc").write_bytes(b"x" * 20_000)
    (directory / "f.log").write_bytes(b"x")
    (directory / "g.pages").write_bytes(b"x")
    (directory / "h.jsonl").write_bytes(b'{"id": "h", "text": "a line is no whole file"}\n')
    with zipfile.ZipFile(directory / "i.zip", "w") as archive:
        archive.writestr("j.ledger", "k".encode("cp500"))
    return directory


def test_a_reader_is_asked_first_about_each_whole_file(source: Path) -> None:
    found = outcome_of(source)
    assert {key: one.failure and one.failure.code for key, one in found.items()} == {
        "a.ledger": None,
        "b.txt": None,
        "c.bad": "reader_failed",
        "d.odd": "reader_failed",
        "a doc": None,
        "f.log": "unknown_kind",
        "g.pages": None,
        "h": None,
        "i.zip!/j.ledger": None,
    }
    assert found["a.ledger"] == Document(f"{source}/a.ledger", "Größe at a.ledger", source=f"{source}/a.ledger")
    assert found["i.zip!/j.ledger"].text == "k at j.ledger"
    assert (found["a doc"].metadata, found["a doc"].file) == ({"kind": "doc"}, None), (
        "it would be read by another reader"
    )
    assert found["b.txt"].file is not None, "what the reader does not read is not read as if there were none"
    pages = found["g.pages"]
    assert pages.text.split() == ["one", "two"]
    assert (pages.metadata["title"], pages.metadata["hidden_text"][0]["text"]) == ("T", "unseen")
    messages = [found[key].failure.message for key in ("c.bad", "d.odd")]  # type: ignore[union-attr]
    assert messages == [
        f"{source}/c.bad: the reader read_ledger raised ValueError: no ledger",
        f"{source}/d.odd: the reader read_ledger gave a int, not a Document, a text, or None",
    ]


def test_what_becomes_of_hidden_text_is_told_of_its_content_too(source: Path) -> None:
    refused = outcome_of(source, hidden_text="dead-letter")["g.pages"]
    assert refused.failure is not None
    assert refused.failure.code == "hidden_text"


def test_files_of_unknown_kinds_are_not_refused_where_a_reader_may_know_them(source: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        check_input([str(source)])
    check_input([str(source)], Reading(reader=read_ledger))


def _save(document: Document, directory: str) -> None:
    (Path(directory) / uuid.uuid4().hex).write_bytes(pickle.dumps(document))


def test_it_travels_to_the_workers_of_a_pipeline(source: Path, tmp_path: Path) -> None:
    def shouts(content: bytes, path: str) -> str | None:
        return content.decode().upper() if path.endswith(".log") else None

    (tmp_path / "seen").mkdir()
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        documents = pipeline | kb.ReadDocuments(str(source), reader=shouts, skip_unknown=True)
        _ = documents | beam.Map(_save, str(tmp_path / "seen"))
    found: list[Document] = [pickle.loads(path.read_bytes()) for path in (tmp_path / "seen").iterdir()]
    assert sorted((one.id.removeprefix(f"{source}/"), one.text[:2]) for one in found) == [
        ("b.txt", "no"),
        ("f.log", "X"),
        ("h", "a "),
    ]
