"""Writes the output of a run as a run does, file by file, of answers and codes that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kimi_beam.output import parquet
from kimi_beam.report.summary import FILE_NAME, to_json
from kimi_beam.results import dead_letter_lines
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.extraction import Extraction, Provenance
from kimi_beam.types.failure import Failure

MODEL = "@cf/moonshotai/kimi-k2.6"


def write_run(
    directory: Path,
    schema: Any,
    answers: Mapping[str, Any],
    failed: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    files: int = 2,
) -> Path:
    """Writes an output.

    Args:
        directory: Where to.
        schema: The schema of the rows.
        answers: The answers of the rows, by id.
        failed: The codes of dead letters, by id.
        metadata: The metadata of documents, by id; those without have none.
        files: How many files the rows are in.
    """
    schema, known = OutputSchema(schema), metadata or {}
    directory.mkdir(parents=True)
    provenance = Provenance("in", MODEL, None, "job", 1, Usage(100, 0, 10), schema.hash, None)
    rows = [Extraction(one, answer, known.get(one, {}), provenance) for one, answer in answers.items()]
    letters = [
        DeadLetter(
            Document(one, "text", metadata=known.get(one, {})),
            Failure("validate", code, "no"), 1, "job", Usage(), MODEL, schema.hash, 0.0,
        )
        for one, code in (failed or {}).items()
    ]  # fmt: skip
    summary = None
    for index in range(files):
        with (directory / f"extractions-{index:05}-of-{files:05}.parquet").open("wb") as f:
            part = parquet.writer(schema)(f, [parquet.encode(rows[index::files], schema)])
            summary = part if summary is None else summary + part
    assert summary is not None
    lines = b"".join(map(dead_letter_lines.encode, letters))
    (directory / "dead-letters-00000-of-00001.jsonl").write_bytes(lines)
    text = to_json(summary, model=MODEL, schema_hash=schema.hash, price=None, run="r", not_rerun=None, emulated=True)
    (directory / FILE_NAME).write_bytes(text)
    return directory


def write_gold(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    """Writes gold as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
