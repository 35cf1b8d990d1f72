"""Files of a stream, written as a stream does, without one."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kimi_beam.files import whole_files
from kimi_beam.output import dead_letters, parquet
from kimi_beam.output.partitions import PartitionWriter
from kimi_beam.output.staging import Target
from kimi_beam.results import dead_letter_lines
from kimi_beam.schema import OutputSchema
from kimi_beam.stream import deliveries
from kimi_beam.types.answer import Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Arrival, Document
from kimi_beam.types.extraction import Extraction, Provenance
from kimi_beam.types.failure import Failure

SCHEMA = OutputSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
MODEL = "@cf/moonshotai/kimi-k2.6"
FORMS = {"extractions": parquet.stream_format(SCHEMA), "dead-letters": dead_letters.STREAM_FORMAT}
COUNTED = {**FORMS, "documents": deliveries.STREAM_FORMAT}
HOUR = 3_600_000_000
NOON = int(datetime(2026, 3, 1, 12, tzinfo=timezone.utc).timestamp()) * 1_000_000
AT_NOON = "event_date=2026-03-01/event_hour=12"


def document(n: int) -> Document:
    return Document(f"doc-{n}", "text", source="in", arrival=Arrival(NOON + n // 10 * HOUR, delivery=f"{n:032x}"))


def outcome(n: int) -> Extraction | DeadLetter:
    """A row or, of each third document, a dead letter, ten an hour."""
    arrival = Arrival(NOON + n // 10 * HOUR, delivery=f"{n:032x}")
    if n % 3 == 0:
        failure = Failure("validate", "schema_violation", "told")
        return DeadLetter(document(n), failure, 1, "job", Usage(10, 5, 1), MODEL, SCHEMA.hash, 0.0)
    provenance = Provenance("", MODEL, MODEL, "job", 1, Usage(100, 50, 10), SCHEMA.hash, None, arrival)
    return Extraction(f"doc-{n}", {"n": n}, {}, provenance)


def write(directory: Path, kind: str, numbers: list[int]) -> Path:
    """Writes one file, as a stream does."""
    target = Target(str(directory / kind), FORMS[kind].suffix, whole_files.new_staging(str(directory)))
    some: list[Any] = [outcome(n) for n in numbers]
    pieces = [parquet.encode(some, SCHEMA)] if kind == "extractions" else list(map(dead_letter_lines.encode, some))
    return Path(PartitionWriter(target, FORMS[kind]).write(AT_NOON, pieces))


def write_deliveries(directory: Path, documents: list[Document]) -> Path:
    """Writes down the deliveries of documents, as a stream does."""
    form = deliveries.STREAM_FORMAT
    target = Target(str(directory / "documents"), form.suffix, whole_files.new_staging(str(directory)))
    received = [deliveries._delivery(document) for document in documents]
    return Path(PartitionWriter(target, form).write(AT_NOON, [deliveries._encode(received)]))
