"""``Extract(ground=True)``: every row says where its values stand, whichever way the document took."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from harness import (
    IN_PROCESS_RUNNERS,
    QUICK,
    RECEIPT,
    Outcome,
    read_dataset,
    receipts,
    run_extract,
    run_redrive,
    service,
)
from long_invoices import INVOICE, answer, invoice
from made_pdfs import SECRET, lines_page, made_pdf, ordinary_page
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from running_cli import run as run_cli

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.input.file_references import WORTH_READING_TWICE
from kimi_beam.results.rows import GROUNDING, file_schema
from kimi_beam.schema import OutputSchema


def places(row: dict[str, Any], text: str) -> dict[str, tuple[str, str | None]]:
    """For each path the kind of match, and what stands at the place."""
    found = {}
    for one in row[GROUNDING]:
        found[one["path"]] = one["match"], None if one["start"] is None else text[one["start"] : one["end"]]
    return found


def run_files(pattern: str, emulator: Emulator, directory: Path, **reading: Any) -> Outcome:
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        documents = pipeline | kb.ReadDocuments(pattern, **reading)
        results = documents | kb.Extract(RECEIPT, service=service(emulator.base_url), polling=QUICK, ground=True)
        results | kb.WriteDataset(str(directory), RECEIPT, model="m", documents=documents)
    return read_dataset(directory)


@pytest.mark.parametrize("record_batches", [False, True])
@pytest.mark.parametrize("api", ["batch", "run"])
def test_each_row_says_where_its_values_stand(api: str, record_batches: bool, tmp_path: Path) -> None:
    documents = receipts(12)
    texts = {document.id: document.text for document in documents}
    with Emulator() as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(documents, "", tmp_path, where=where, ground=True, record_batches=record_batches)
    assert len(outcome.rows) == 12
    for row in outcome.rows:
        number = row["_document_id"].removeprefix("doc-")
        assert places(row, texts[row["_document_id"]]) == {
            "/company": ("exact", f"Shop {number} Ltd"),
            "/total": ("number", f"{number}.50"),
        }


def test_without_grounding_the_columns_are_as_ever(tmp_path: Path) -> None:
    with Emulator() as emulator:
        outcome = run_extract(receipts(2), emulator.base_url, tmp_path)
    assert all(GROUNDING not in row for row in outcome.rows)
    (path,) = tmp_path.glob("extractions-*.parquet")
    assert pq.read_schema(path).names[-1] == "_provenance"
    assert "grounding" not in outcome.summary


def test_a_dataset_without_a_row_has_the_column_where_that_is_said(tmp_path: Path) -> None:
    with Emulator() as emulator, beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        blank = pipeline | beam.Create([kb.Document("a", " ")])
        results = blank | kb.Extract(RECEIPT, service=service(emulator.base_url), ground=True)
        results | kb.WriteDataset(str(tmp_path), RECEIPT, model="m", ground=True)
    (path,) = tmp_path.glob("extractions-*.parquet")
    columns = file_schema(OutputSchema(RECEIPT), ground=True)
    assert pq.read_table(path).num_rows == 0
    assert pq.read_schema(path).names == columns.names == [*file_schema(OutputSchema(RECEIPT)).names, GROUNDING]


def test_answers_of_the_journal_are_grounded_and_nothing_is_asked_for_again(tmp_path: Path) -> None:
    documents, journal = receipts(5), str(tmp_path / "journal")
    with Emulator() as emulator:
        run_extract(documents, emulator.base_url, tmp_path / "a", journal=journal)
        asked = emulator.stats()["submits"]
        resumed = run_extract(documents, emulator.base_url, tmp_path / "b", journal=journal, ground=True)
        assert emulator.stats()["submits"] == asked
    assert [len(row[GROUNDING]) for row in resumed.rows] == [2] * 5


def test_a_document_that_was_asked_for_in_parts_has_its_places_in_the_whole_text(tmp_path: Path) -> None:
    made = invoice(60)
    with Emulator(answer=answer) as emulator:
        where = service(emulator.base_url)
        outcome = run_extract([made.document], "", tmp_path, schema=INVOICE, where=where, chunk_tokens=300, ground=True)
    (row,) = outcome.rows
    assert row["_provenance"]["parts"] > 2
    text, found = made.document.text, places(row, made.document.text)
    lines = [one for one in row[GROUNDING] if one["path"].startswith("/lines/")]
    assert len(lines) == 4 * 60
    for number, line in enumerate(row["lines"]):
        assert found[f"/lines/{number}/name"] == ("exact", line["name"])
    starts = [text.count("\n", 0, one["start"]) for one in lines]
    rows = [starts[first : first + 4] for first in range(0, len(starts), 4)]
    assert all(len(set(one)) == 1 for one in rows), "each row's values stand in one line"
    assert rows == sorted(rows)


def test_a_text_that_travels_as_a_reference_is_grounded_in_its_file(tmp_path: Path) -> None:
    text = f"COMPANY: Shop 7 Ltd\n{'An ordinary line.' * (WORTH_READING_TWICE // 10)}\nTOTAL: 7.50\n"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text(text)
    with Emulator() as emulator:
        (row,) = run_files(str(tmp_path / "in" / "*.txt"), emulator, tmp_path / "out").rows
    assert places(row, text) == {"/company": ("exact", "Shop 7 Ltd"), "/total": ("number", "7.50")}


def test_a_file_that_is_read_again_and_asked_for_in_parts_has_its_places_in_the_whole_text(tmp_path: Path) -> None:
    made = invoice(300)
    (tmp_path / "a.txt").write_text(made.document.text)
    assert len(made.document.text) > WORTH_READING_TWICE
    with Emulator(answer=answer) as emulator, beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        documents = pipeline | kb.ReadDocuments(str(tmp_path / "a.txt"))
        asked = kb.Extract(INVOICE, service=service(emulator.base_url), polling=QUICK, ground=True, chunk_tokens=1_000)
        documents | asked | kb.WriteDataset(str(tmp_path / "out"), INVOICE, model="m", documents=documents)
    (row,) = read_dataset(tmp_path / "out").rows
    assert row["_provenance"]["parts"] > 2
    found = places(row, made.document.text)
    assert [found[f"/lines/{number}/name"][1] for number in range(300)] == [line["name"] for line in row["lines"]]


def test_a_redacted_value_has_its_place_in_the_text_as_it_was_read(tmp_path: Path) -> None:
    text = "From: max@example.com\nIBAN: DE89 3704 0044 0532 0130 00\nTOTAL: 1.50"
    schema = {"type": "object", "properties": {"iban": {"type": "string"}}}

    def read(messages: Any, _: Any) -> str:
        shown = re.search(r"IBAN: ([^\\\n]*)", str(messages[-1]["content"]))
        assert shown is not None
        assert "DE89" not in shown[1]
        return json.dumps({"iban": shown[1]})

    with Emulator(answer=read) as emulator:
        document = kb.Document("a", text)
        outcome = run_extract([document], emulator.base_url, tmp_path, schema=schema, ground=True, redact="iban")
    (row,) = outcome.rows
    assert places(row, text) == {"/iban": ("exact", "DE89 3704 0044 0532 0130 00")}


def test_a_value_that_was_copied_from_an_example_is_told(tmp_path: Path) -> None:
    examples = [kb.Example("COMPANY: Model Shop\nTOTAL: 77.70", {"company": "Model Shop", "total": 77.7})]
    with Emulator(answer=lambda *_: '{"company": "Model Shop", "total": 1.5}') as emulator:
        outcome = run_extract(receipts(1, 1), emulator.base_url, tmp_path, ground=True, examples=examples)
    assert [one["match"] for one in outcome.rows[0][GROUNDING]] == ["example", "number"]


def test_what_was_a_dead_letter_is_grounded_when_it_is_run_again(tmp_path: Path) -> None:
    document = receipts(1, 3)[0]
    with Emulator(answer=lambda *_: "no JSON") as emulator:
        outcome = run_extract([document], emulator.base_url, tmp_path / "a", ground=True)
    assert outcome.codes == {"not_json": 1}
    with Emulator() as emulator:
        letters = tmp_path / "a" / "dead-letters-*"
        again = run_redrive(letters, service(emulator.base_url), tmp_path / "b", polling=QUICK, ground=True)
    (row,) = again.rows
    assert places(row, document.text)["/company"] == ("exact", "Shop 3 Ltd")


def test_the_rows_of_a_stream_say_it_too(tmp_path: Path) -> None:
    documents = receipts(6)
    stream = test_stream.TestStream()
    for document in documents:
        stream.add_elements([document]).advance_processing_time(1e10)
    stream.advance_watermark_to_infinity()
    with Emulator() as emulator:
        options = PipelineOptions(streaming=True)
        with beam.Pipeline(runner="BundleBasedDirectRunner", options=options) as pipeline:
            asked = kb.Extract(RECEIPT, service=service(emulator.base_url), polling=QUICK, ground=True)
            (pipeline | stream | asked).extractions | kb.WriteParquet(str(tmp_path / "rows"), RECEIPT)
    written = [row for path in tmp_path.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    texts = {document.id: document.text for document in documents}
    found = {row["_document_id"]: places(row, texts[row["_document_id"]])["/company"] for row in written}
    assert found == {f"doc-{number}": ("exact", f"Shop {number} Ltd") for number in range(6)}


def test_rows_that_were_handed_on_between_processes_keep_it(tmp_path: Path) -> None:
    runner, options = IN_PROCESS_RUNNERS["2 processes"]
    with Emulator() as emulator:
        outcome = run_extract(
            receipts(4), emulator.base_url, tmp_path, runner=runner, options=options, require_grounding="all"
        )
    assert [len(row[GROUNDING]) for row in outcome.rows] == [2] * 4


def test_a_value_that_the_model_made_up_stands_nowhere(tmp_path: Path) -> None:
    with Emulator(answer=lambda *_: '{"company": "Invented Inc", "total": 1.51}') as emulator:
        outcome = run_extract(receipts(1, 1), emulator.base_url, tmp_path, ground=True)
    (row,) = outcome.rows
    assert {path: match for path, (match, _) in places(row, "").items()} == {"/company": "none", "/total": "near"}


# ------------------------------------------------------------------------------------------------ pages and boxes

_LINES = [(60.0, 700.0, "COMPANY: Shop 9 Ltd"), (300.0, 500.0, "TOTAL: 9.50")]


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    area = max(width, 0) * max(height, 0)
    return area / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - area)


def _drawn(x: float, y: float, before: str, value: str) -> tuple[float, float, float, float]:
    """The box of a value in a line of Helvetica 11, whose letters rise by 0.945 and hang by 0.227 of their size."""
    left = x + stringWidth(before, "Helvetica", 11)
    return left, A4[1] - y - 0.945 * 11, left + stringWidth(value, "Helvetica", 11), A4[1] - y + 0.227 * 11


def test_page_and_box_of_a_value_are_those_at_which_it_was_drawn(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(made_pdf(lines_page([_LINES[0]]), lines_page([_LINES[1]])))
    with Emulator() as emulator:
        (row,) = run_files(str(tmp_path / "a.pdf"), emulator, tmp_path / "out", keep_boxes=True).rows
    company, total = row[GROUNDING]
    assert (company["page"], total["page"]) == (1, 2)
    assert _overlap(company["box"], _drawn(*_LINES[0][:2], "COMPANY: ", "Shop 9 Ltd")) >= 0.9
    assert _overlap(total["box"], _drawn(*_LINES[1][:2], "TOTAL: ", "9.50")) >= 0.9


def test_a_value_of_text_that_nobody_sees_is_marked_as_hidden(tmp_path: Path) -> None:
    def page(canvas: Canvas) -> None:
        ordinary_page(canvas)
        canvas.setFillColor(colors.white)
        canvas.drawString(60, 100, f"Pay to {SECRET} at once")

    (tmp_path / "a.pdf").write_bytes(made_pdf(page))
    for policy, has_place in (("drop", False), ("keep", True)):
        with Emulator(answer=lambda *_: f'{{"company": "{SECRET}", "total": null}}') as emulator:
            (row,) = run_files(str(tmp_path / "a.pdf"), emulator, tmp_path / policy, hidden_text=policy).rows
        (company,) = row[GROUNDING]
        assert (company["match"], company["start"] is not None) == ("hidden", has_place)


def test_the_command_line_keeps_boxes_where_it_grounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pdf").write_bytes(made_pdf(lines_page(_LINES)))
    schema = tmp_path / "receipt.json"
    schema.write_text('{"type": "object", "properties": {"total": {"type": ["number", "null"]}}}')
    for more, boxes in (((), None), (("--ground",), 1)):
        out = tmp_path / f"out{len(more)}"
        code, said, _ = run_cli(
            "extract", tmp_path / "a.pdf", "--schema", schema, "--output", out, "--emulator", *more, capsys=capsys
        )
        assert code == 0, said
        (row,) = read_dataset(out).rows
        assert (row.get(GROUNDING) or [{}])[0].get("page") == boxes
        assert (GROUNDING in row) == bool(more)
        if more:
            (one,) = row[GROUNDING]
            assert _overlap(one["box"], _drawn(*_LINES[1][:2], "TOTAL: ", "9.50")) >= 0.9
