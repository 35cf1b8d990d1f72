"""`write_report`: reads what a run has written, gathers its figures, and writes the page that shows them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kimi_beam.input.fields import DEFAULT_READING, Reading
from kimi_beam.input.gold_records import GoldRecord, read_gold
from kimi_beam.output.evaluate import evaluate
from kimi_beam.output.page.document_sample import DocumentSample
from kimi_beam.output.page.field_figures import all_leaves
from kimi_beam.output.page.page_file import PageFile, Write
from kimi_beam.output.page.run_figures import RunFigures
from kimi_beam.output.page.shown_document import Doubt, Error, ShownRow, field_kinds, letter_to_json
from kimi_beam.output.page.texts_again import SourceText, text_of, texts_again
from kimi_beam.output.review_queue import RowReview, row_review
from kimi_beam.output.written_answers import WrittenAnswer, WrittenRun
from kimi_beam.results.rows import GROUNDING
from kimi_beam.schema import SchemaSource, jsontext
from kimi_beam.scoring.answer_differences import wrong_values
from kimi_beam.scoring.compared_places import places_of
from kimi_beam.scoring.flat_rows import GoldError
from kimi_beam.scoring.review_signals import FieldHabits, as_places
from kimi_beam.types.document import Document

VERSION = 1
"""The version of the form of the figures. Keys may be added in the same version."""
DOCUMENTS = 10_000
"""So many documents a page shows, unless the user says otherwise."""
_COLUMNS = ("_provenance", GROUNDING)
_PAGE_BYTES = 20_000_000
"""No page is larger."""
_RECORD_BYTES = 10_000_000
"""Records end here, so that texts have room."""
_PICTURE_CHARACTERS = 8_000_000
"""So much of the pictures of all documents together is shown."""
Heard = Callable[[str, int], None]
"""Is told what is being read, and how many of it were: as each one is."""


def write_report(
    output: str | os.PathLike[str],
    write_page: Write | None,
    *,
    gold: str | None = None,
    gold_field: str = "gold",
    gold_id_field: str = "id",
    schema: SchemaSource | None = None,
    documents: int = DOCUMENTS,
    reading: Reading | None = DEFAULT_READING,
    submitted: Mapping[str, float] | None = None,
    heard: Heard = lambda what, count: None,
) -> dict[str, Any]:
    """Gathers the figures of a run, and writes the page that shows them beside its documents.

    Args:
        output: The directory that ``kimi-beam extract``, or `WriteDataset`, has written.
        write_page: Writes bytes of the page. None: there is no page.
        gold: A file of JSON lines with what is right, as for `evaluate`. None: nothing is scored.
        gold_field: As for `evaluate`.
        gold_id_field: The key of the id in the gold.
        schema: The schema of the rows. None: the one that is written in the output.
        documents: How many documents the page shows at most.
        reading: How the run's files became documents, for their texts. None: the page has no texts of rows.
        submitted: When the run's jobs were accepted, in Unix seconds by their ids, for how long answers took. None: it
            is not known.
        heard: Is told what is being read, and how many of it were.

    Returns:
        The figures as a JSON object.

    Raises:
        InputError: The output or the gold cannot be read.
        SchemaError: The output's schema cannot be used.
    """
    run = WrittenRun.at(os.fspath(output), schema)
    report = _Report(run, DocumentSample(documents if write_page is not None else 0), heard)
    report.gather(submitted or {})
    golds: Mapping[str, GoldRecord] = {}
    if gold is not None:
        golds = read_gold(gold, gold_field=gold_field, id_field=gold_id_field)
        found = evaluate(output, gold, gold_field=gold_field, id_field=gold_id_field, schema=schema)
        report.figures |= {"score": found.to_json()}
    if write_page is not None:
        report.write(PageFile(write_page), golds, reading)
    return report.figures


class _Report:
    """The report of one run.

    Args:
        run: The run.
        sample: Draws the documents that are shown.
        heard: As for `write_report`.
    """

    def __init__(self, run: WrittenRun, sample: DocumentSample, heard: Heard) -> None:
        self._run, self._sample, self._heard = run, sample, heard
        self._root = places_of(run.schema)
        self._habits: defaultdict[str, FieldHabits] = defaultdict(FieldHabits)
        self.figures: dict[str, Any] = {}

    def gather(self, submitted: Mapping[str, float]) -> None:
        """Reads all rows and dead letters once.

        Args:
            submitted: As for `write_report`.
        """
        figures = RunFigures(self._root, submitted)
        for row in self._run.rows(_COLUMNS):
            leaves, places = all_leaves(row.answer, self._root), as_places(row.beside.get(GROUNDING))
            matches = None if places is None else {at: place.match for at, place in places.items()}
            figures.add_row(leaves, row.beside["_provenance"], matches)
            for leaf in leaves:
                self._habits[leaf.field].add(leaf, None if places is None else places.get(leaf.pointer))
            self._sample.add(
                row.document_id, field_kinds((one.pointer for one in leaves if one.value is None), matches)
            )
            self._heard("documents", self._sample.documents)
        for letter in self._run.letters():
            figures.add_letter(letter)
            self._sample.add(letter["document"]["id"], (letter["code"],))
            self._heard("documents", self._sample.documents)
        summary = self._run.summary()
        title = self._run.schema.json_schema
        self.figures = {
            "version": VERSION,
            "output": self._run.directory.rstrip("/").rpartition("/")[2],
            "schema": title.get("title") if isinstance(title, dict) else None,
            **figures.to_json(summary),
            "differs_from_summary": [
                {"name": name, "summary": told, "files": found}
                for name, told, found in (
                    ("extractions", summary.get("extractions"), figures.rows),
                    ("dead_letters", summary.get("dead_letters"), figures.dead_letters),
                )
                if told != found
            ],
        }

    def write(self, page: PageFile, golds: Mapping[str, GoldRecord], reading: Reading | None) -> None:
        """Writes the page.

        Args:
            page: Receives it.
            golds: What is right, by id.
            reading: As for `write_report`.
        """
        chosen = self._sample.drawn()
        rows = dict(self._rows(chosen, golds))
        letters = {at: letter_to_json(letter, at) for at, letter in self._letters(chosen)}
        records = (rows[at].to_json(at) if at in rows else letters[at] for at in chosen)
        count = page.put_documents(records, bytes_at_most=_RECORD_BYTES)
        shown = set(list(chosen)[:count])
        self.figures["shown"] = self._sample.to_json(shown)
        room = _PAGE_BYTES - 2 * len(jsontext.dumps_any(self.figures)) - page.bytes_to_come
        texts = self._texts(shown, {at: row for at, row in rows.items() if at in shown}, reading)
        self.figures["shown"]["texts"] = page.put_texts(texts, bytes_at_most=room)
        page.put_figures(self.figures)
        page.close()

    def _rows(self, chosen: Mapping[int, int], golds: Mapping[str, GoldRecord]) -> Iterator[tuple[int, ShownRow]]:
        review = row_review(self._run.schema, self._habits)
        for position, row in enumerate(self._run.rows(_COLUMNS)):
            if position in chosen:
                yield position, self._shown(row, review, golds.get(row.document_id))

    def _shown(self, row: WrittenAnswer, review: RowReview, gold: GoldRecord | None) -> ShownRow:
        lines = list(review(row))
        doubts = [Doubt(one.pointer, one.expected_errors, tuple(one.signals)) for one in lines]
        errors = None if gold is None else self._errors(row.answer, gold)
        places = [one.pointer for one in lines if one.field]
        return ShownRow(row.document_id, row.answer, row.metadata, row.beside, places, doubts, errors)

    def _errors(self, answer: Any, gold: GoldRecord) -> list[Error]:
        try:
            return [Error(one.pointer, one.error, one.gold) for one in wrong_values(gold.gold, answer, self._root)]
        except GoldError:
            return []  # `evaluate` has said what is wrong with the gold

    def _letters(self, chosen: Mapping[int, Any] | set[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        rows = self.figures["extractions"]
        for position, letter in enumerate(self._run.letters(), rows):
            if position in chosen:
                yield position, letter

    def _texts(self, shown: set[int], rows: Mapping[int, ShownRow], reading: Reading | None) -> Iterator[list[Any]]:
        """``[position, text, note, pictures]`` of the documents that are shown."""
        pictures = 0
        for number, (position, found) in enumerate(self._each_text(shown, rows, reading), 1):
            self._heard("texts", number)
            pictures += sum(map(len, found.pictures))
            if pictures > _PICTURE_CHARACTERS:
                found = SourceText(found.text, f"{found.note} Its pictures would make this page too large.".lstrip())
            yield [position, found.text, found.note, found.pictures]

    def _each_text(
        self, shown: set[int], rows: Mapping[int, ShownRow], reading: Reading | None
    ) -> Iterator[tuple[int, SourceText]]:
        for position, letter in self._letters(shown):
            document = letter["document"]
            yield position, text_of(Document(document["id"], document["text"], tuple(document["images"])))
        if reading is not None:
            yield from texts_again(rows, reading)
