"""References: a document that is read from its file again is sent as it was first read, or becomes a dead letter."""

from __future__ import annotations

import base64
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import orjson
import pictures
import pytest
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.testing import test_stream
from both_paths import both_paths, crossed
from harness import HASTY, QUICK, RECEIPT, Outcome, extract_settings, read_dataset, service
from hypothesis import given, settings
from hypothesis import strategies as st
from streams_through_beam import _arrived, stream_through

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.input.file_parts import Part
from kimi_beam.input.file_references import WORTH_READING_TWICE, read_again
from kimi_beam.input.read_parts import read_part
from kimi_beam.journal.recorder import Keys
from kimi_beam.request import batches
from kimi_beam.request.document_bytes import DocumentBytes
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.service.models import DEFAULT_MODEL
from kimi_beam.transforms.make_batches import MakeBatches

LONG = "This line says nothing that anybody wants to know.\n" * 400


def text_of(number: int | str) -> str:
    return f"COMPANY: Shop {number} Ltd\nTOTAL: 1.50\n{LONG}"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def write(source: Path, count: int) -> list[Path]:
    paths = [source / f"{number:02d}.txt" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_text(text_of(number))
    return paths


def extract(
    emulator: Emulator,
    tmp_path: Path,
    *,
    between: Callable[[kb.Document], kb.Document] = lambda document: document,
    name: str = "out",
    pattern: str = "",
    where: kb.WorkersAI | None = None,
    api: Any = "batch",
    **options: Any,
) -> Outcome:
    """Reads the files, does something to each when it has been read, and extracts."""
    options.setdefault("polling", QUICK)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | kb.ReadDocuments(pattern or str(tmp_path / "in" / "*"))
        came_in = read | beam.Map(between)
        results = came_in | kb.Extract(
            RECEIPT, service=where or service(emulator.base_url, api=api), batching=kb.Batching(max_items=8), **options
        )
        dataset = kb.WriteDataset(str(tmp_path / name), RECEIPT, model=DEFAULT_MODEL, documents=came_in)
        (results.extractions, results.dead_letters) | dataset
    return read_dataset(tmp_path / name)


def packed(documents: list[kb.Document]) -> list[bytes]:
    make = MakeBatches(extract_settings(service("http://127.0.0.1:1")), 1)
    make.setup()
    make.start_bundle()
    found = [batch for document in documents for _, batch in make.process(document)]
    return found + [value.value[1] for value in make.finish_bundle()]


# ------------------------------------------------------------------------------------------------ what travels


def test_of_a_large_file_only_its_name_travels_and_of_a_small_one_all(source: Path) -> None:
    picture = source / "scan.png"
    picture.write_bytes(pictures.png(bytes(range(256)) * 4_000))
    paths = [*write(source, 20), picture]
    small = source / "small.txt"
    small.write_text("COMPANY: Small Ltd")
    documents = [document for path in (*paths, small) for document in read_part(Part(str(path)))]
    (blob,) = packed(documents)
    assert len(blob) < 21 * 200, "texts or pictures are in it"
    travelling = batches.decode(blob)
    assert [document.is_reference for document in travelling] == [True] * 21 + [False]
    assert read_again(travelling) == documents
    assert [d.source for d in travelling] == [str(path) for path in (*paths, small)]
    assert sum(batches.head(blob).sizes) > 1_000_000, "batches are packed by what is sent"


def test_a_document_changed_by_a_later_step_travels_with_its_content(source: Path) -> None:
    (path,) = write(source, 1)
    (document,) = read_part(Part(str(path)))
    assert document.file
    for changed in (
        replace(document, text=document.text.replace("Shop", "█" * 4)),
        replace(document, metadata={"a": 1}),
        replace(document, id="another"),
        replace(document, failure=kb.Failure("read", "unreadable", "no")),
    ):
        (back,) = batches.decode(packed([changed])[0])
        assert not back.is_reference
        assert back.text == changed.text


def test_of_a_file_that_is_too_large_for_one_request_only_its_name_travels_before_it_is_split(
    source: Path, tmp_path: Path
) -> None:
    path = source / "large.txt"
    path.write_text("COMPANY: Large Ltd\n" + "█" * 3_000_000)
    (blob,) = packed(list(read_part(Part(str(path)))))
    assert len(blob) < 500
    with Emulator() as emulator:
        outcome = extract(emulator, tmp_path)
        asked = emulator.stats()["items"]
    (row,) = outcome.rows
    assert outcome.letters == []
    assert row["company"] == "Large Ltd"
    assert row["_provenance"]["parts"] == asked > 1


def test_documents_are_the_same_with_and_without_a_file(source: Path) -> None:
    (path,) = write(source, 1)
    (document,) = read_part(Part(str(path)))
    assert document == kb.Document(str(path), text_of(0), source=str(path))
    assert "file" not in repr(document)


@pytest.mark.parametrize("size", [WORTH_READING_TWICE - 1, WORTH_READING_TWICE])
def test_the_size_in_the_file_decides(source: Path, size: int) -> None:
    (source / "a.txt").write_bytes(b"a" * size)
    (document,) = read_part(Part(str(source / "a.txt")))
    assert (document.file is not None) == (size >= WORTH_READING_TWICE)


def test_the_journal_names_a_reference_as_it_names_the_same_text(source: Path) -> None:
    (path,) = write(source, 1)
    keys = Keys(Prompt(OutputSchema(RECEIPT)), service("http://127.0.0.1:1"))
    (document,) = read_part(Part(str(path)))
    (travelling,) = batches.decode(packed([document])[0])
    assert travelling.is_reference
    assert keys.of(travelling) == keys.of(document) == keys.of(kb.Document("other", text_of(0)))


def test_the_journal_names_a_text_that_has_no_value_as_it_names_its_document() -> None:
    with both_paths("hashed in pieces", "put together") as taken:
        _the_journal_names_a_text_as_its_document(taken)


@settings(derandomize=True, max_examples=300)
@given(st.text(alphabet=st.sampled_from('ab`" \n\\é\U0001f9fe'), min_size=1))
def _the_journal_names_a_text_as_its_document(taken: Counter[str], text: str) -> None:
    taken["put together" if "`" in text else "hashed in pieces"] += 1
    keys = Keys(Prompt(OutputSchema(RECEIPT)), service("http://127.0.0.1:1"))
    document = crossed(kb.Document("a", text))
    named = keys.of_shown(DocumentBytes.of_inner(orjson.dumps(text)[1:-1]))
    assert named == keys.of(document), "what another kimi_beam was answered would be paid for again"


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_a_compressed_text_is_read_again_as_it_was_read(source: Path, suffix: str) -> None:
    import bz2
    import gzip
    import lzma

    compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix]
    path = source / f"a.txt{suffix}"
    path.write_bytes(compress(b"\xef\xbb\xbf" + text_of(1).encode()))  # type: ignore[operator]
    (document,) = read_part(Part(str(path)))
    (travelling,) = batches.decode(packed([document])[0])
    assert travelling.is_reference
    assert read_again([travelling]) == [document]


# ------------------------------------------------------------------------------------------------ whole runs


@pytest.mark.parametrize("api", ["batch", "run"])
def test_files_become_rows_with_their_source(source: Path, tmp_path: Path, api: str) -> None:
    paths = write(source, 30)
    with Emulator() as emulator:
        outcome = extract(emulator, tmp_path, api=api)
        stats = emulator.stats()
    rows = {row["_document_id"]: row for row in outcome.rows}
    assert {i: row["company"] for i, row in rows.items()} == {str(p): f"Shop {n} Ltd" for n, p in enumerate(paths)}
    assert all(row["_provenance"]["source"] == i for i, row in rows.items())
    assert (len(outcome.rows), stats["items"] + stats["runs"], outcome.letters) == (30, 30, [])


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_file_that_changed_or_went_is_a_dead_letter_and_its_neighbours_are_rows(
    source: Path, tmp_path: Path, api: str
) -> None:
    paths = write(source, 30)
    changed, gone = {str(path) for path in paths[3:30:9]}, {str(path) for path in paths[4:30:9]}

    def meddle(document: kb.Document) -> kb.Document:
        if document.id in changed:
            Path(document.id).write_text(document.text.replace("Shop", "Shap"))  # as long as it was
        elif document.id in gone:
            Path(document.id).unlink()
        return document

    with Emulator() as emulator:
        outcome = extract(emulator, tmp_path, between=meddle, api=api)
        stats = emulator.stats()
    assert outcome.ids == Counter(map(str, paths)), "a document was lost or doubled"
    assert {row["_document_id"]: row["company"] for row in outcome.rows} == {
        str(path): f"Shop {number} Ltd" for number, path in enumerate(paths) if str(path) not in changed | gone
    }
    assert stats["items"] + stats["runs"] == len(outcome.rows) == 24, "what cannot be rows was paid for"
    letters = {letter["document_id"]: letter for letter in outcome.letters}
    assert letters.keys() == changed | gone
    for name, letter in letters.items():
        assert (letter["stage"], letter["code"], letter["retryable"]) == ("read", "file_changed", True)
        assert (letter["attempts"], letter["request_id"], letter["source"]) == (0, None, name)
        told = f"{name} has {'changed' if name in changed else 'gone'} since it was first read"
        assert letter["message"] == told
        assert letter["document"]["text"].count("Shap") == (name in changed), "what it holds now can be run again"


def test_a_batch_without_readable_documents_is_never_sent(source: Path, tmp_path: Path) -> None:
    paths = write(source, 8)

    def remove(document: kb.Document) -> kb.Document:
        Path(document.id).unlink()
        return document

    with Emulator() as emulator:
        outcome = extract(emulator, tmp_path, between=remove)
        assert emulator.stats()["items"] == 0
    assert outcome.ids == Counter(map(str, paths))
    assert outcome.codes == {"file_changed": 8}


@pytest.mark.parametrize("api", ["batch", "run"])
def test_dead_letters_hold_the_whole_document(source: Path, tmp_path: Path, api: str) -> None:
    paths = write(source, 12)
    picture = source / "scan.png"
    picture.write_bytes(pictures.png(bytes(100_000)))
    with Emulator(faults="invalid=1,stubborn=1") as emulator:
        outcome = extract(emulator, tmp_path, api=api)
    assert outcome.codes == {"schema_violation": 13}
    texts = {letter["document_id"]: letter["document"]["text"] for letter in outcome.letters}
    assert texts == {**{str(path): text_of(number) for number, path in enumerate(paths)}, str(picture): ""}
    (shown,) = (letter["document"]["images"] for letter in outcome.letters if letter["document_id"] == str(picture))
    assert base64.b64decode(shown[0].partition(",")[2]) == picture.read_bytes()


@pytest.mark.parametrize("api", ["batch", "run"])
def test_files_that_a_stream_brings_may_change_too(source: Path, api: Any) -> None:
    paths = write(source, 20)
    documents = [document for path in paths for document in read_part(Part(str(path)))]
    paths[7].write_text(text_of("another"))
    paths[8].unlink()
    stream = test_stream.TestStream().add_elements(documents).advance_watermark_to_infinity()
    with Emulator() as emulator:
        stream_through(stream, service(emulator.base_url, api=api), batching=kb.Batching(max_items=8))
        stats = emulator.stats()
    assert Counter(name for name, _ in _arrived) == {"row": 18, "letter": 2}
    letters = {element.document.id: element for name, element in _arrived if name == "letter"}
    assert {i: letter.failure.code for i, letter in letters.items()} == {
        str(paths[7]): "file_changed",
        str(paths[8]): "file_changed",
    }
    assert stats["items"] + stats["runs"] == 18


def test_documents_of_one_id_are_compared_as_references_too(source: Path, tmp_path: Path) -> None:
    paths = write(source, 4)
    with Emulator() as emulator, beam.Pipeline(runner="FnApiRunner") as pipeline:
        halves = [pipeline | name >> kb.ReadDocuments(str(paths[n])) for name, n in (("a", 0), ("b", 0), ("c", 1))]
        documents = tuple(halves) | beam.Flatten()
        results = documents | kb.Extract(RECEIPT, service=service(emulator.base_url), polling=QUICK)
        dataset = kb.WriteDataset(str(tmp_path / "out"), RECEIPT, model=DEFAULT_MODEL, documents=documents)
        (results.extractions, results.dead_letters) | dataset
    outcome = read_dataset(tmp_path / "out")
    assert outcome.codes == {"duplicate_id": 2}
    assert [letter["document"]["text"] for letter in outcome.letters] == [text_of(0)] * 2
    assert [row["company"] for row in outcome.rows] == ["Shop 1 Ltd"]


def test_the_next_form_of_a_reference_is_asked_with_the_content_of_its_file(source: Path, tmp_path: Path) -> None:
    paths = write(source, 20)
    with Emulator(seed=3, faults="json_mode=0.5") as emulator:
        outcome = extract(emulator, tmp_path)
        stats = emulator.stats()
    assert outcome.ids == Counter(map(str, paths))
    assert len(outcome.rows) == 20
    assert stats["items"] > 20, "nothing was asked for again"


@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_the_synchronous_fallback_reads_the_files_of_references(source: Path, tmp_path: Path) -> None:
    paths = write(source, 20)
    with Emulator() as emulator:
        where = service(emulator.base_url, model="@cf/moonshotai/kimi-k2.5", fallback_api="run")
        outcome = extract(emulator, tmp_path, where=where)
        assert emulator.stats()["runs"] == 20
    assert outcome.ids == Counter(map(str, paths))
    assert {row["company"] for row in outcome.rows} == {f"Shop {number} Ltd" for number in range(20)}


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_second_run_over_the_same_files_pays_for_nothing(source: Path, tmp_path: Path, api: str) -> None:
    write(source, 20)
    with Emulator() as emulator:
        for name in ("first", "second"):
            outcome = extract(emulator, tmp_path, name=name, api=api, journal=str(tmp_path / "journal"))
            stats = emulator.stats()
            assert (len(outcome.rows), stats["items"] + stats["runs"]) == (20, 20)
        # The same texts inline: the way that they came is no part of the question.
        for path in source.iterdir():
            path.write_text(path.read_text() + "And a line that is new.\n")
        extract(emulator, tmp_path, name="third", api=api, journal=str(tmp_path / "journal"))
        stats = emulator.stats()
        assert stats["items"] + stats["runs"] == 40, "changed files are other documents"


# ------------------------------------------------------------------------------------------------ filesystems in tro


class Flaky(LocalFileSystem):
    """Local files under another name, some of which cannot be opened for a while."""

    refuses: ClassVar[Counter[str]] = Counter()
    opened: ClassVar[Counter[str]] = Counter()

    @classmethod
    def scheme(cls) -> str:
        return "flaky"

    def _local(self, path: str) -> str:
        return path.removeprefix("flaky:/")

    def has_dirs(self) -> bool:
        return False

    def match(self, patterns: list[str], limits: Any = None) -> Any:
        found = super().match([self._local(pattern) for pattern in patterns], limits)
        for result in found:
            for metadata in result.metadata_list:
                metadata.path = f"flaky:/{metadata.path}"
        return found

    def exists(self, path: str) -> bool:
        return super().exists(self._local(path))  # type: ignore[no-any-return]

    def open(self, path: str, *how: Any, **more: Any) -> Any:
        name = Path(path).name
        self.opened[name] += 1
        if self.opened[name] > 1 and self.refuses[name] > 0:
            self.refuses[name] -= 1
            raise ConnectionError("the bucket is away")
        return super().open(self._local(path), *how, **more)


@pytest.fixture
def flaky() -> type[Flaky]:
    Flaky.refuses, Flaky.opened = Counter(), Counter()
    return Flaky


def test_a_reference_whose_file_is_unreadable_for_a_moment_is_sent_later(
    source: Path, tmp_path: Path, flaky: type[Flaky]
) -> None:
    paths = write(source, 20)
    flaky.refuses.update({"03.txt": 3, "11.txt": 1})
    patient = replace(QUICK, deadline=600.0)
    with Emulator() as emulator:
        outcome = extract(emulator, tmp_path, pattern=f"flaky:/{source}/*.txt", polling=patient)
        assert emulator.stats()["items"] == 20
    assert outcome.ids == Counter(f"flaky:/{path}" for path in paths)
    assert len(outcome.rows) == 20
    assert flaky.opened["03.txt"] == 1 + 3 + 1
    assert +flaky.refuses == Counter()


def test_a_reference_whose_file_stays_unreadable_is_given_up_and_the_others_are_sent(
    source: Path, tmp_path: Path, flaky: type[Flaky]
) -> None:
    paths = write(source, 20)
    flaky.refuses["03.txt"] = 1_000_000
    with Emulator() as emulator:
        outcome = extract(emulator, tmp_path, pattern=f"flaky:/{source}/*.txt", polling=HASTY)
        assert emulator.stats()["items"] == 19
    assert outcome.ids == Counter(f"flaky:/{path}" for path in paths)
    (letter,) = outcome.letters
    assert (letter["stage"], letter["code"], letter["retryable"], letter["attempts"]) == ("read", "unreadable", True, 0)
    assert letter["document_id"].endswith("03.txt")
    assert "the bucket is away" in letter["message"]


def test_a_long_document_whose_file_is_unreadable_for_a_moment_is_divided_later(
    source: Path, tmp_path: Path, flaky: type[Flaky]
) -> None:
    paths = write(source, 6)
    flaky.refuses.update({"03.txt": 3, "05.txt": 1})
    patient = replace(QUICK, deadline=600.0)
    with Emulator() as emulator:
        outcome = extract(emulator, tmp_path, pattern=f"flaky:/{source}/*.txt", polling=patient, chunk_tokens=3_000)
        items = emulator.stats()["items"]
    assert outcome.ids == Counter(f"flaky:/{path}" for path in paths)
    assert len(outcome.rows) == 6
    assert items == sum(row["_provenance"]["parts"] for row in outcome.rows) >= 12
    assert +flaky.refuses == Counter()


def test_a_long_document_whose_file_stays_unreadable_is_given_up_and_the_others_are_divided(
    source: Path, tmp_path: Path, flaky: type[Flaky]
) -> None:
    paths = write(source, 6)
    flaky.refuses["03.txt"] = 1_000_000
    with Emulator() as emulator:
        outcome = extract(emulator, tmp_path, pattern=f"flaky:/{source}/*.txt", polling=HASTY, chunk_tokens=3_000)
    assert outcome.ids == Counter(f"flaky:/{path}" for path in paths)
    assert (len(outcome.rows), outcome.codes) == (5, {"unreadable": 1})
    assert flaky.opened["03.txt"] > 3, "it is tried again, for a while"


def test_a_synchronous_run_whose_files_are_away_fails_and_gives_nothing_up(
    source: Path, tmp_path: Path, flaky: type[Flaky]
) -> None:
    write(source, 20)
    flaky.refuses["19.txt"] = 1_000_000
    pattern, journal = f"flaky:/{source}/*.txt", str(tmp_path / "journal")
    with Emulator() as emulator:
        with pytest.raises(Exception, match=r"19.txt again: the bucket is away"):
            extract(emulator, tmp_path, pattern=pattern, api="run", journal=journal)
        assert not (tmp_path / "out" / "summary.json").exists()
        paid = emulator.stats()["runs"]
        flaky.refuses.clear()
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        outcome = extract(emulator, tmp_path, pattern=pattern, api="run", journal=journal)
        assert emulator.stats()["runs"] == 20, "what was answered before the bundle failed was paid for again"
    assert len(outcome.rows) == 20
    assert paid < 20
