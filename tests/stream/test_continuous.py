"""`ReadContinuously`: each file is read once, when it is complete, and its deliveries have the same names each time."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.flink.flink_streaming_impulse_source import FlinkStreamingImpulseSource
from apache_beam.options.pipeline_options import PipelineOptions

import kimi_beam as kb
from kimi_beam.errors import ConfigError, InputError
from kimi_beam.files.local_listing import Found
from kimi_beam.stream import read_files
from kimi_beam.stream.read_files import look
from kimi_beam.types.document import Document

NOW = 1_700_000_000.0


def put(path: Path, content: bytes, changed: float = NOW - 10_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (changed, changed))
    return path


def paths_found(patterns: Sequence[str], quiet_since: float = NOW) -> list[str]:
    return sorted(file.path for _, files in look(tuple(patterns), quiet_since) for file in files)


def read(path: Path) -> list[Document]:
    (bucket,) = look((str(path),), float("inf"))
    (found,) = bucket[1]
    return read_as(found)


def read_as(found: Found) -> list[Document]:
    return [document for piece in read_files._cut(found) for document in read_files._read(piece)]


class Bag:
    """A bag of state, as the runner keeps it."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []

    def read(self) -> list[bytes]:
        return list(self.blocks)

    def add(self, block: bytes) -> None:
        self.blocks.append(block)


# ------------------------------------------------------------------------------------------------ which files


def test_hidden_files_and_other_kinds_are_passed_over(tmp_path: Path) -> None:
    for name in (
        "a.txt",
        "b.jsonl.gz",
        "c.png",
        ".a.txt.x7",
        ".hidden.txt",
        "_SUCCESS.txt",
        "d.exe",
        "e.txt.part",
        "f",
    ):
        put(tmp_path / name, b"x")
    assert paths_found([f"{tmp_path}/*"]) == [f"{tmp_path}/{name}" for name in ("a.txt", "b.jsonl.gz", "c.png")]


def test_a_name_that_is_no_utf8_stops_no_stream(tmp_path: Path) -> None:
    name = f"{tmp_path}/doc-\udcff.txt"
    put(Path(name), b"x")
    put(tmp_path / "a.txt", b"x")
    assert paths_found([f"{tmp_path}/*"]) == [f"{tmp_path}/a.txt", name]
    bag, new = Bag(), read_files._New()
    found = Found(name, 1, NOW)
    coder = beam.coders.registry.get_coder(Found)
    assert [coder.decode(coder.encode(one)) for one in new.process(("3", [found]), bag)] == [found]
    assert list(new.process(("3", [found]), bag)) == []
    (document,) = read_as(found)
    assert (document.id, document.text) == (f"{tmp_path}/doc-\\udcff.txt", "x"), "an id is text that can be written"


def test_a_file_that_is_still_being_written_waits(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", b"x", NOW - 1)
    assert paths_found([f"{tmp_path}/*"], NOW - 2) == []
    assert paths_found([f"{tmp_path}/*"], NOW - 1) == [f"{tmp_path}/a.txt"]


def test_a_file_that_two_patterns_match_is_found_once(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", b"x")
    assert paths_found([f"{tmp_path}/*", f"{tmp_path}/a.*", f"{tmp_path}//a.txt"]) == [f"{tmp_path}/a.txt"]


def test_a_directory_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    assert paths_found([f"{tmp_path}/later/*.txt"]) == []


def test_a_filesystem_that_fails_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: tuple[str, ...]) -> list[Found]:
        raise InputError("cannot look for in/*.txt: away")

    monkeypatch.setattr(read_files, "find_inputs", broken)
    with caplog.at_level(logging.WARNING):
        assert look(("in/*.txt",), NOW) == []
    assert "cannot look for in/*.txt: away" in caplog.text


def test_a_file_is_new_once_also_when_it_changes(tmp_path: Path) -> None:
    bag, new = Bag(), read_files._New()
    one, other = Found("in/a.txt", 1, 1.0), Found("in/b.txt", 1, 1.0)
    assert list(new.process(("3", [one]), bag)) == [one]
    assert list(new.process(("3", [one, other]), bag)) == [other]
    assert list(new.process(("3", [Found("in/a.txt", 9, 2.0), other]), bag)) == []
    assert [len(block) for block in bag.blocks] == [16, 16], "what is remembered of a file has grown"


def test_ticks_that_are_made_up_for_look_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.txt", b"x")
    now = [NOW]
    monkeypatch.setattr("kimi_beam.stream.read_files.time.time", lambda: now[0])
    looking = read_files._Look((f"{tmp_path}/*",), 10.0, 0.0)
    looking.setup()
    assert [len(list(looking.process(None))) for _ in range(100)] == [1] + [0] * 99
    now[0] += 6
    assert len(list(looking.process(None))) == 1, "a tick that comes late is the next look"
    now[0] -= 3_600
    assert len(list(looking.process(None))) == 1, "a clock that was set back stops the looking for an hour"


@pytest.mark.parametrize(("until", "count"), [(None, 0), (1e12, None), (0.0, 1)])
def test_flinks_own_ticks_end_at_until(until: float | None, count: int | None) -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=PortableRunner", "--job_endpoint=localhost:1"]))
    ticks = read_files._ticks(pipeline, 2.5, until)
    assert isinstance(ticks, FlinkStreamingImpulseSource)
    assert ticks.config["interval_ms"] == 2_500
    assert ticks.config["message_count"] == count or (count is None and ticks.config["message_count"] > 1e11)
    assert FlinkStreamingImpulseSource.config == {}, "the next source has the settings of this one"


@pytest.mark.parametrize("pattern", ["in/*.exe", "in/a.doc", "in/*.parquet.gz"])
def test_a_pattern_of_files_that_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="names files that cannot be read"):
        kb.ReadContinuously(pattern)


@pytest.mark.parametrize("pattern", ["in/*", "in/*.txt", "in/*.t?t", "in/a.[jt]*", "gs://b/in/*.jsonl.gz"])
def test_a_pattern_that_may_match_is_taken(pattern: str) -> None:
    kb.ReadContinuously(pattern)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="interval must be positive"):
        kb.ReadContinuously("in/*", interval=0)
    with pytest.raises(ConfigError, match="quiet not negative"):
        kb.ReadContinuously("in/*", quiet=-1)
    with pytest.raises(InputError, match="name at least one"):
        kb.ReadContinuously([])


# ------------------------------------------------------------------------------------------------ what is in them


def test_documents_have_the_time_of_their_file_and_a_delivery_by_position(tmp_path: Path) -> None:
    line = b'{"id": "a", "text": "x"}\n'
    path = put(tmp_path / "a.jsonl", line * 3)
    documents = read(path)
    arrivals = [document.arrival for document in documents]
    assert [a and a.event_time for a in arrivals] == [int((NOW - 10_000) * 1e6)] * 3
    assert len({a and a.delivery for a in arrivals}) == 3, "equal lines are taken for one"
    assert read(path) == documents, "a second reading has other names"
    put(path, line * 3, NOW - 30)
    assert not {a and a.delivery for a in arrivals} & {d.arrival and d.arrival.delivery for d in read(path)}


def test_documents_of_each_part_have_deliveries_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_beam.input.file_parts._PART_BYTES", 40)
    path = put(tmp_path / "a.jsonl", b"".join(b'{"id": %d, "text": "x"}\n' % n for n in range(20)))
    documents = read(path)
    assert sorted(int(document.id) for document in documents) == list(range(20))
    assert len({document.arrival and document.arrival.delivery for document in documents}) == 20


def test_rows_of_parquet_are_documents_too(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "y"]}), tmp_path / "a.parquet", row_group_size=1)
    documents = read(tmp_path / "a.parquet")
    assert [(d.id, d.text) for d in documents] == [("a", "x"), ("b", "y")]
    assert len({d.arrival and d.arrival.delivery for d in documents}) == 2


def test_what_cannot_be_read_is_a_document_that_says_so(tmp_path: Path) -> None:
    (document,) = read(put(tmp_path / "a.txt", b"\xff\xfe\xfd"))
    assert document.failure is not None
    assert (document.failure.stage, document.failure.code) == ("read", "not_utf8")
    assert document.arrival is not None


def test_a_file_that_is_gone_before_it_is_read_is_one_too(tmp_path: Path) -> None:
    for name in ("gone.txt", "gone.parquet", "gone.jsonl.gz"):
        (document,) = read_as(Found(f"{tmp_path}/{name}", 10, NOW))
        assert document.failure is not None
        assert (document.failure.code, document.source) == ("unreadable", f"{tmp_path}/{name}")
        assert document.failure.retryable


def test_a_filesystem_that_breaks_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "a.txt", b"x")

    def broken(_: str) -> object:
        raise ConnectionError("away")

    monkeypatch.setattr("kimi_beam.input.read_parts.open_input", broken)
    with pytest.raises(ConnectionError, match="away"):
        read(path)
    found = Found(str(path), 1, NOW)
    path.unlink()
    (document,) = read_as(found)
    assert document.failure is not None
    assert "was removed before it was read" in document.failure.message
