"""Parts of documents that lie in files travel without their text, and are the same when it is read again."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness import run_extract, run_redrive, service
from long_invoices import INVOICE, answer, invoice, read
from made_pdfs import made_pdf, ordinary_page
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from kimi_beam.emulator import Emulator
from kimi_beam.input.file_parts import Part
from kimi_beam.input.file_references import read_again as read_files_again
from kimi_beam.input.read_parts import read_part
from kimi_beam.journal.recorder import Keys
from kimi_beam.request import batches
from kimi_beam.request.checks import prepare
from kimi_beam.request.document_parts import DocumentParts
from kimi_beam.request.packing import Batching
from kimi_beam.request.part_collector import InMemory, PartCollector
from kimi_beam.request.part_references import reading_parts
from kimi_beam.request.prompt import Prompt
from kimi_beam.request.stored_replies import decode
from kimi_beam.schema import OutputSchema
from kimi_beam.transforms.reading_again import read_again
from kimi_beam.types.answer import Completion
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket

PROMPT = Prompt(OutputSchema(INVOICE), chunk_tokens=1_000)
KEYS = Keys(PROMPT, service("http://127.0.0.1:9")).for_parts
PARTS = DocumentParts(PROMPT, KEYS.of_shown, Batching())
LONG = invoice(600)
CUT_OFF = Failure("infer", "truncated", "cut off", raw='{"lin')


def text_file(directory: Path) -> Document:
    path = directory / "long.txt"
    path.write_text(LONG.document.text)
    return of(path)


def of(path: Path) -> Document:
    (document,) = read_part(Part(str(path)))
    assert document.failure is None
    assert document.file is not None
    return document


def scan_and_text(directory: Path) -> Document:
    """A PDF of texts and pictures by turns, the last of them a picture."""

    def picture(number: int) -> Any:
        noise = random.Random(number).randbytes(300 * 400)

        def draw(canvas: Canvas) -> None:
            shown = io.BytesIO()
            Image.frombytes("L", (300, 400), noise).save(shown, "PNG")
            canvas.drawImage(ImageReader(shown), 0, 0, *A4)

        return draw

    path = directory / "mixed.pdf"
    path.write_bytes(made_pdf(*(picture(number) if number % 3 == 2 else ordinary_page for number in range(12))))
    return of(path)


def divided(document: Document, parts: DocumentParts = PARTS) -> list[Document]:
    """The parts of a document as they stand in batches, which hold it as a reference."""
    assert document.file is not None
    item = prepare(document, parts.prompt)
    reference = item.document.with_file(document.file).as_reference("")
    found = parts.divide(batches.encode([item._replace(document=reference)]), read_again)
    assert found.replies == []
    return [part for blob in found.parts for part in batches.decode(blob)]


def by_value(document: Document, parts: DocumentParts = PARTS) -> list[Document]:
    """The parts of the same document where it travels with its content."""
    blob = batches.encode([prepare(replace(document), parts.prompt)])
    return [part for found in parts.divide(blob, read_again).parts for part in batches.decode(found)]


@pytest.mark.parametrize("make", [text_file, scan_and_text])
def test_a_part_that_is_read_again_is_the_part_that_was_split_off(make: Any, tmp_path: Path) -> None:
    parts = DocumentParts(replace(PROMPT, chunk_tokens=200), KEYS.of_shown, Batching())
    document = make(tmp_path)
    references, whole = divided(document, parts), by_value(document, parts)
    assert len(references) >= 3
    assert all(one.is_reference and not one.text and not one.images for one in references)
    assert not any(one.is_reference for one in whole)
    again = read_again(references)
    assert again == whole
    assert [one.layout for one in again] == [one.layout for one in whole]
    assert [bytes.fromhex(one.file.key) for one in references if one.file] == [KEYS.of(one) for one in whole]
    assert [one.picture_count for one in references] == [len(one.images) for one in whole]


@pytest.mark.parametrize("make", [text_file, scan_and_text])
def test_a_part_of_a_part_is_read_again_as_it_was_split_off(make: Any, tmp_path: Path) -> None:
    document = make(tmp_path)
    parts = DocumentParts(replace(PROMPT, chunk_tokens=400), KEYS.of_shown, Batching())
    split = 0
    for reference, part in zip(divided(document, parts), by_value(document, parts), strict=True):
        further = parts.split_further(part, reference.file)
        packed = [one for blob in parts.packed(further)[0] for one in batches.decode(blob)]
        assert all(one.is_reference for one in packed)
        assert read_again(packed) == parts.split_further(part)
        split += bool(packed)
    assert split


def test_the_file_of_a_document_is_read_once_for_all_of_its_parts(tmp_path: Path) -> None:
    document = text_file(tmp_path)
    read: Counter[str] = Counter()

    def counting(documents: Sequence[Document]) -> list[Document]:
        read.update(one.source for one in documents if one.is_reference)
        return read_files_again(documents)

    parts = divided(document)
    other = Document("other", "held")
    found = reading_parts(counting)([parts[1], other, *parts[3:], parts[0]])
    assert read == {document.source: 1}
    assert found[1] == other
    assert [one.id for one in found] == [parts[1].id, "other", *(one.id for one in parts[3:]), parts[0].id]


def collected(parts: Sequence[Document], collector: PartCollector) -> list[Reply]:
    found: list[Reply] = []
    for part, shown in zip(parts, read_again(parts), strict=True):
        answered = Completion(answer([{"content": f"```part\n{shown.text}\n```"}], INVOICE), "stop", 5, "m")
        found += collector.collect([Reply(part, answered, ticket=Ticket("r", 1))]).whole
    return found


def test_answers_wait_without_the_texts_of_their_parts_and_are_joined_as_with_them(tmp_path: Path) -> None:
    document, store = text_file(tmp_path), InMemory()
    parts = divided(document)
    collector = PartCollector(store, PARTS, read_again)
    assert collected(parts[:-1], collector) == []
    for name in store.names(""):
        assert decode(store._values[name]).document.is_reference
    (joined,) = collected(parts[-1:], collector)
    assert store.names("") == []
    assert isinstance(joined.result, Completion)
    assert json.loads(joined.result.text) == LONG.gold
    assert joined.document == document


def asked_once_more(store: InMemory, parts: Sequence[Document], first: str) -> tuple[PartCollector, Document]:
    """The collector of a document whose first part has an answer that lacks rows, and this part, asked once more."""
    collector = PartCollector(store, PARTS, read_again)
    assert collected(parts[1:], collector) == []
    found = collector.collect([Reply(parts[0], Completion(first, "stop", 5, "m"))])
    assert (list(found.whole), found.repairs) == ([], 1)
    (again,) = batches.decode(found.again[0])
    return collector, again


def test_a_part_that_lacks_rows_is_asked_once_more_by_reference(tmp_path: Path) -> None:
    parts, store = divided(text_file(tmp_path)), InMemory()
    collector, again = asked_once_more(store, parts, '{"lines": []}')
    assert again.is_reference
    assert again.earlier.round == 1
    assert all(decode(store._values[name]).document.is_reference for name in store.names(""))
    (joined,) = collected([again], collector)
    assert isinstance(joined.result, Completion)
    assert json.loads(joined.result.text) == LONG.gold


def test_of_two_answers_for_a_part_by_reference_the_one_with_more_rows_counts(tmp_path: Path) -> None:
    parts = divided(text_file(tmp_path))
    shown = read(read_again(parts[:1])[0].text)
    most = {**shown, "lines": shown["lines"][:-1]}
    collector, again = asked_once_more(InMemory(), parts, json.dumps(most))
    (joined,) = collector.collect([Reply(again, Completion('{"lines": []}', "stop", 5, "m"))]).whole
    assert isinstance(joined.result, Completion)
    rows = [row for row in LONG.gold["lines"] if row != shown["lines"][-1]]
    assert json.loads(joined.result.text)["lines"] == rows
    assert joined.report is not None
    assert len(joined.report.incomplete) == 2, "the rows and the sum"


def test_a_whole_answer_stays_if_the_file_changes_while_its_parts_are_asked_for(tmp_path: Path) -> None:
    document = text_file(tmp_path)
    assert document.file is not None
    collector = PartCollector(InMemory(), PARTS, read_again)
    lacking = json.dumps({**LONG.gold, "lines": LONG.gold["lines"][:-1]})
    reference = Reply(document.as_reference("00" * 16), Completion(lacking, "stop", 5, "m"))
    asked = [part for blob in collector.collect([reference]).again for part in batches.decode(blob)]
    assert len(asked) > 1
    Path(document.source).write_text("another text")
    answered = [Reply(part, Completion('{"lines": []}', "stop", 5, "m")) for part in asked]
    (left,) = collector.collect(answered).whole
    assert left.result == Completion(lacking, "stop", 5, "m")
    assert left.document.id == document.id
    assert left.report is not None
    assert "has changed since it was first read" in left.report.incomplete[0]


def test_a_file_that_changes_before_its_last_answer_makes_a_dead_letter_that_keeps_the_answers(tmp_path: Path) -> None:
    document = text_file(tmp_path)
    parts, collector = divided(document), PartCollector(InMemory(), PARTS, read_again)
    assert collected(parts[:-1], collector) == []
    last = Reply(parts[-1], Completion('{"lines": []}', "stop", 5, "m"))
    Path(document.source).write_text("another text")
    (left,) = collector.collect([last]).whole
    assert isinstance(left.result, Failure)
    assert left.result.code == "file_changed"
    assert left.document.id == document.id
    assert left.document.is_reference, "its text is read again when the dead letter is written"
    assert len(left.document.earlier.parts) == len(parts)
    assert all(part.answer is not None for part in left.document.earlier.parts)


def test_a_text_that_is_read_otherwise_than_before_is_not_taken_for_the_same(tmp_path: Path) -> None:
    """The file is the same, but a worker with another version of a library may read another text of it."""
    (first, *_) = divided(text_file(tmp_path))

    def otherwise(documents: Sequence[Document]) -> list[Document]:
        return [replace(one, text=f"{one.text}x") for one in read_files_again(documents)]

    (found,) = reading_parts(otherwise)([first])
    assert found.failure is not None
    assert found.failure.code == "file_changed"


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_text_pays_for_the_same_parts_in_a_file_of_its_own_and_elsewhere(api: str, tmp_path: Path) -> None:
    """By reference or by value: the rows are the same, and the journal knows the parts of the one as the other's."""
    document, journal = text_file(tmp_path), tmp_path / "journal"
    held = Document("held", document.text)
    with Emulator(answer=answer) as emulator:
        where = service(emulator.base_url, api=api)
        more: dict[str, Any] = {"schema": INVOICE, "where": where, "chunk_tokens": 1_000, "journal": str(journal)}
        first = run_extract([document], "", tmp_path / "a", **more)
        paid = emulator.stats()["items"] + emulator.stats()["runs"]
        second = run_extract([held], "", tmp_path / "b", **more)
        assert emulator.stats()["items"] + emulator.stats()["runs"] == paid > 3
    for outcome in (first, second):
        assert outcome.letters == []
        (row,) = outcome.rows
        assert {name: row[name] for name in INVOICE["properties"]} == LONG.gold
        assert row["_provenance"]["parts"] == paid


def test_a_document_whose_answer_was_cut_off_is_divided_by_reference(tmp_path: Path) -> None:
    made = invoice(240)
    path = tmp_path / "long.txt"
    path.write_text(made.document.text)

    def wordy(messages: Any, schema: Any) -> str:
        return json.dumps(json.loads(answer(messages, schema)), indent=12)

    with Emulator(answer=wordy) as emulator:
        more: dict[str, Any] = {"schema": INVOICE, "max_completion_tokens": 14_000}
        outcome = run_extract([of(path)], emulator.base_url, tmp_path / "out", **more)
        stats = emulator.stats()
    assert outcome.letters == []
    assert {name: outcome.rows[0][name] for name in INVOICE["properties"]} == made.gold
    assert stats["items"] > outcome.rows[0]["_provenance"]["parts"] >= 2, "the first answer was cut off"


def test_a_dead_letter_of_parts_by_reference_holds_its_text_and_is_redriven_for_one_part(tmp_path: Path) -> None:
    document = text_file(tmp_path)
    name, is_ill = LONG.gold["lines"][300]["name"], True
    asked = 0

    def ill(messages: Any, schema: Any) -> str:
        nonlocal asked
        asked += 1
        text = answer(messages, schema)
        return "no idea" if is_ill and name in text else text

    with Emulator(answer=ill) as emulator:
        outcome = run_extract([document], emulator.base_url, tmp_path / "out", schema=INVOICE, chunk_tokens=1_000)
        (letter,) = outcome.letters
        assert letter["document"]["text"] == document.text
        is_ill, asked = False, 0
        where = service(emulator.base_url)
        again = run_redrive(tmp_path / "out", where, tmp_path / "again", schema=INVOICE, chunk_tokens=1_000)
    assert asked == 1
    assert again.letters == []
    assert {name: again.rows[0][name] for name in INVOICE["properties"]} == LONG.gold
