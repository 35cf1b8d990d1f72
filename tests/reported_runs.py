"""Writes the output of a grounded run whose documents lie on disk, as a run does, of what a test chooses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from kimi_beam.grounding.ground import ground
from kimi_beam.output import dead_letters, parquet
from kimi_beam.report.summary import FILE_NAME, to_json
from kimi_beam.results import dead_letter_lines
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import AnswerReport, Repair, Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.extraction import Extraction, Provenance
from kimi_beam.types.failure import Failure
from kimi_beam.types.grounding import Grounding

MODEL = "@cf/moonshotai/kimi-k2.6"
INVOICE: dict[str, Any] = {
    "title": "Invoice",
    "type": "object",
    "properties": {
        "shop": {"type": ["string", "null"]},
        "paid": {"type": ["boolean", "null"]},
        "currency": {"enum": ["EUR", "USD", None]},
        "total": {"type": ["number", "null"]},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "amount": {"type": ["number", "null"]}},
                "required": ["name", "amount"],
            },
        },
    },
    "required": ["shop", "paid", "currency", "total", "items"],
}
_CODES: Sequence[tuple[Any, Any, bool]] = (
    ("validate", "schema_violation", True),
    ("parse", "not_json", True),
    ("prompt", "empty_document", False),
)
_BATCH = 5_000


def invoices(count: int, seed: int = 0) -> Iterator[tuple[Document, Any]]:
    """Made documents with their answers: some lack values, and some have values that stand nowhere."""
    draw = Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) for _ in range(2_000)]
    for number in range(count):
        shop = " ".join(draw.sample(words, 2)).title() + f" {number} Ltd"
        amounts = [draw.randint(100, 99_999) / 100 if draw.random() < 0.9 else None for _ in range(draw.randint(0, 4))]
        names = [" ".join(draw.sample(words, 3)) for _ in amounts]
        items: list[dict[str, Any]] = [{"name": n, "amount": a} for n, a in zip(names, amounts, strict=True)]
        total = round(sum(item["amount"] or 0 for item in items), 2)
        lines = [f"{item['name']}  {'' if item['amount'] is None else format(item['amount'], '.2f')}" for item in items]
        filler = [" ".join(draw.sample(words, 9)) for _ in range(8)]
        text = "\n".join((shop, "Currency EUR", *lines, f"TOTAL {total:.2f}", *filler))
        answer = {
            "shop": shop if draw.random() < 0.9 else None,
            "paid": draw.choice((True, False, None)),
            "currency": draw.choice(("EUR", "USD", None)),
            "total": total if draw.random() < 0.9 else total + 1000.5,
            "items": items,
        }
        yield Document(f"invoice-{number:06}", text), answer


def write_reported_run(
    directory: Path,
    documents: Iterable[tuple[Document, Any]],
    schema: Any = None,
    *,
    failing: float = 0.05,
    failures: Mapping[str, Failure] | None = None,
    files: int = 2,
    grounded: bool = True,
) -> Path:
    """Writes an output, and beside it ``DIRECTORY.jsonl`` with the texts that its rows were read from.

    Args:
        directory: Where to.
        documents: The documents with their answers. One with a source of its own is not in the file of texts.
        schema: The schema of the rows; None: `INVOICE`.
        failing: The share of documents that become dead letters.
        failures: Why documents fail, by id, in the place of `failing`.
        files: How many files the rows are in.
        grounded: Whether the rows say where their values stand.
    """
    made = OutputSchema(INVOICE if schema is None else schema)
    directory.mkdir(parents=True)
    texts = directory.parent / f"{directory.name}.jsonl"
    draw, rows, letters = Random(1), list[Extraction](), list[DeadLetter]()
    known: dict[tuple[str, str], tuple[Grounding, ...]] = {}  # equal documents are grounded once
    with texts.open("w") as f:
        for number, (document, answer) in enumerate(documents):
            if not document.source:
                f.write(json.dumps({"id": document.id, "text": document.text, **document.metadata}) + "\n")
                document = replace(document, source=str(texts))
            usage = Usage(draw.randint(500, 1_500), draw.randint(0, 500), draw.randint(20, 200))
            failure = _drawn(draw, failing) if failures is None else failures.get(document.id)
            if failure is not None:
                letters.append(DeadLetter(document, failure, 1, "job", usage, MODEL, made.hash, 1.7e9 + number))
                continue
            repairs = (Repair("fence", None, 1),) if number % 10 == 0 else ()
            report = AnswerReport(repairs=repairs, incomplete=("a row is missing",) if number % 50 == 0 else ())
            provenance = Provenance(
                document.source, MODEL, MODEL, "job", 1, usage, made.hash, 1_764_600_000 + number // 3, report=report
            )
            where: tuple[Grounding, ...] | None = None
            if grounded:
                key = document.text, json.dumps(answer)
                where = known[key] = known.get(key) or ground(answer, document, made.places)
            rows.append(Extraction(document.id, answer, document.metadata, provenance, where))
    summary = None
    for index in range(files):
        with (directory / f"extractions-{index:05}-of-{files:05}.parquet").open("wb") as out:
            part = parquet.writer(made, ground=grounded)(out, _pieces(rows[index::files], made))
            summary = part if summary is None else summary + part
    assert summary is not None
    with (directory / "dead-letters-00000-of-00001.jsonl").open("wb") as out:
        summary += dead_letters.write(out, map(dead_letter_lines.encode, letters))
    (directory / FILE_NAME).write_bytes(to_json(summary, model=MODEL, schema_hash=made.hash, run="r"))
    return directory


def _drawn(draw: Random, failing: float) -> Failure | None:
    if draw.random() >= failing:
        return None
    stage, code, retryable = draw.choice(_CODES)
    return Failure(stage, code, f"made to fail, {draw.randint(1, 9)} times", retryable, "{}")


def _pieces(rows: list[Extraction], schema: OutputSchema) -> Iterator[Any]:
    left = iter(rows)
    while some := list(islice(left, _BATCH)):
        yield parquet.encode(some, schema)
