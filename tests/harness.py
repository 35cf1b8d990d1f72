"""Runs `Extract` for real: a pipeline on a named runner, a service on a real port, files on disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

import kimi_beam as kb
from kimi_beam.journal.recorder import Keys
from kimi_beam.request import batches
from kimi_beam.request.checks import prepare
from kimi_beam.schema import OutputSchema
from kimi_beam.transforms.settings import ExtractSettings

ACCOUNT = "0123456789abcdef0123456789abcdef"
RECEIPT = {
    "title": "Receipt",
    "type": "object",
    "properties": {
        "company": {"type": ["string", "null"]},
        "total": {"type": ["number", "null"]},
    },
    "required": ["company", "total"],
    "additionalProperties": False,
}
QUICK = kb.Polling(first=0.05, factor=1.5, ceiling=0.2, deadline=120.0)
"""Its deadline is met on the busiest machine."""
HASTY = replace(QUICK, deadline=2.0)
"""For what never ends."""


@dataclass
class Outcome:
    """What a run left on disk."""

    rows: list[dict[str, Any]]
    letters: list[dict[str, Any]]
    summary: dict[str, Any]

    @property
    def ids(self) -> Counter[str]:
        return Counter([r["_document_id"] for r in self.rows] + [d["document_id"] for d in self.letters])

    @property
    def codes(self) -> dict[str, int]:
        return dict(Counter(d["code"] for d in self.letters))


IN_PROCESS_RUNNERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "one worker": ("FnApiRunner", ()),
    "2 in memory": ("FnApiRunner", ("--direct_num_workers=2", "--direct_running_mode=in_memory")),
    "2 threads": ("FnApiRunner", ("--direct_num_workers=2", "--direct_running_mode=multi_threading")),
    "2 processes": ("FnApiRunner", ("--direct_num_workers=2", "--direct_running_mode=multi_processing")),
    "bundle based": ("BundleBasedDirectRunner", ()),
}


def read_dataset(directory: Path) -> Outcome:
    rows = [row for path in sorted(directory.glob("extractions-*.parquet")) for row in pq.read_table(path).to_pylist()]
    lines = [
        line for path in sorted(directory.glob("dead-letters-*.jsonl")) for line in path.read_bytes().split(b"\n")[:-1]
    ]
    return Outcome(rows, [json.loads(line) for line in lines], json.loads((directory / "summary.json").read_text()))


def service(base_url: str, **changes: Any) -> kb.WorkersAI:
    return kb.WorkersAI(ACCOUNT, base_url=base_url, **changes)


def extract_settings(where: kb.WorkersAI, **changes: Any) -> ExtractSettings:
    """What `Extract` would tell its steps: receipts, asked for of `where`."""
    return ExtractSettings(**{"schema": OutputSchema(RECEIPT), "service": where, "polling": QUICK, **changes})


def packed(documents: Sequence[kb.Document], settings: ExtractSettings, **changes: Any) -> bytes:
    """Documents as one batch, as the steps before the queue make it; changes are those of `batches.encode`."""
    name = Keys(settings.prompt, settings.service).of_shown
    return batches.encode([prepare(document, settings.prompt, name) for document in documents], **changes)


def run_extract(
    documents: Sequence[kb.Document],
    base_url: str,
    directory: Path,
    *,
    runner: str | None = "FnApiRunner",
    options: Sequence[str] = (),
    schema: Any = RECEIPT,
    where: kb.WorkersAI | None = None,
    **extract: Any,
) -> Outcome:
    """Runs documents through `Extract` into a dataset and reads it back. `where` takes the place of `base_url`."""
    extract.setdefault("polling", QUICK)
    where = where or service(base_url)
    with beam.Pipeline(runner=runner, options=PipelineOptions(list(options))) as pipeline:
        came_in = pipeline | beam.Create(list(documents), reshuffle=False)
        results = came_in | kb.Extract(schema, service=where, **extract)
        write = kb.WriteDataset(str(directory), schema, model=where.model, documents=came_in)
        (results.extractions, results.dead_letters) | write
    return read_dataset(directory)


def run_redrive(
    letters: Path | str,
    where: kb.WorkersAI,
    directory: Path,
    *,
    runner: str | None = "FnApiRunner",
    options: Sequence[str] = (),
    schema: Any = RECEIPT,
    codes: Sequence[str] = (),
    **extract: Any,
) -> Outcome:
    """Runs dead letters through `Extract` into a dataset and reads it back."""
    with beam.Pipeline(runner=runner, options=PipelineOptions(list(options))) as pipeline:
        read = pipeline | kb.ReadDeadLetters(str(letters), codes=codes)
        results = read.documents | kb.Extract(schema, service=where, **extract)
        write = kb.WriteDataset(str(directory), schema, model=where.model, documents=read.documents, left=read.left)
        (results.extractions, results.dead_letters) | write
    return read_dataset(directory)


def receipts(count: int, start: int = 0) -> list[kb.Document]:
    """Documents that the emulator's rules can read, each another."""
    return [
        kb.Document(
            f"doc-{i}", f"COMPANY: Shop {i} Ltd\nDate: 2026-03-{1 + i % 28:02d}\nTOTAL: {i}.50\n", source="made"
        )
        for i in range(start, start + count)
    ]
