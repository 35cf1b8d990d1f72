"""`WriteStream`: rows, dead letters, and a summary that tells what the files of its hour hold."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream

import kimi_beam as kb
from kimi_beam.errors import ConfigError, OutputError
from kimi_beam.io import dead_letters, parquet, staging
from kimi_beam.io.partitions import PartWriter
from kimi_beam.io.staging import Target
from kimi_beam.io.stream import summarise
from kimi_beam.schema import OutputSchema
from kimi_beam.types import Arrival, DeadLetter, Document, Extraction, Failure, Provenance, Usage

SCHEMA = OutputSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
MODEL = "@cf/moonshotai/kimi-k2.6"
FORMS = {"extractions": parquet.parts_format(SCHEMA), "dead-letters": dead_letters.PARTS}
HOUR = 3_600_000_000
NOON = int(datetime(2026, 3, 1, 12, tzinfo=timezone.utc).timestamp()) * 1_000_000
AT_NOON = "event_date=2026-03-01/event_hour=12"


def outcome(n: int) -> Extraction | DeadLetter:
    """A row or, of each third document, a dead letter, ten an hour."""
    arrival = Arrival(NOON + n // 10 * HOUR, delivery=f"{n:032x}")
    if n % 3 == 0:
        document = Document(f"doc-{n}", "text", arrival=arrival)
        failure = Failure("validate", "schema_violation", "told")
        return DeadLetter(document, failure, 1, "job", Usage(10, 5, 1), MODEL, SCHEMA.hash, 0.0)
    provenance = Provenance("", MODEL, MODEL, "job", 1, Usage(100, 50, 10), SCHEMA.hash, None, arrival)
    return Extraction(f"doc-{n}", {"n": n}, {}, provenance)


def write(directory: Path, kind: str, numbers: list[int]) -> Path:
    """Writes one file, as a stream does."""
    target = Target(str(directory / kind), FORMS[kind].suffix, staging.new_staging(str(directory)))
    some: list[Any] = [outcome(n) for n in numbers]
    pieces = [parquet.encode(some, SCHEMA)] if kind == "extractions" else list(map(dead_letters.encode, some))
    return Path(PartWriter(target, FORMS[kind]).write(AT_NOON, pieces))


def summed(directory: Path) -> dict[str, Any]:
    path = Path(summarise(str(directory), AT_NOON, FORMS, (MODEL, SCHEMA.hash, None)))
    assert path == directory / "summaries" / AT_NOON / "summary.json"
    content: dict[str, Any] = json.loads(path.read_text())
    return content


# ------------------------------------------------------------------------------------------------ summaries


def test_a_summary_tells_what_the_files_hold(tmp_path: Path) -> None:
    write(tmp_path, "extractions", [1, 2, 4])
    write(tmp_path, "dead-letters", [3, 6])
    content = summed(tmp_path)
    assert (content["documents"], content["extractions"]) == (5, 3)
    assert content["dead_letters"] == {"schema_violation": 2}
    assert content["usage"] == {"prompt_tokens": 320, "cached_tokens": 160, "completion_tokens": 32}
    assert (content["event_date"], content["event_hour"]) == ("2026-03-01", "12")
    assert content["model"] == MODEL
    assert content["cost_usd"] > 0
    assert len(content["files"]) == 2


def test_a_summary_made_again_counts_nothing_twice(tmp_path: Path) -> None:
    write(tmp_path, "extractions", [1, 2])
    assert summed(tmp_path) == summed(tmp_path)
    write(tmp_path, "extractions", [4])
    assert summed(tmp_path)["extractions"] == 3


def test_a_file_that_nobody_reported_is_in_the_summary_all_the_same(tmp_path: Path) -> None:
    """A worker that dies between naming its file and reporting it writes nothing when the bundle is done again."""
    write(tmp_path, "extractions", [1])
    summed(tmp_path)
    write(tmp_path, "extractions", [2, 4])
    (tmp_path / "summaries" / AT_NOON / "summary.json").write_text("{torn")
    assert summed(tmp_path)["extractions"] == 3


def test_files_that_were_put_together_are_counted_as_they_lie_now(tmp_path: Path) -> None:
    small = write(tmp_path, "extractions", [1, 2])
    summed(tmp_path)
    small.unlink()
    write(tmp_path, "extractions", [1, 2, 4])
    assert summed(tmp_path)["extractions"] == 3


# ------------------------------------------------------------------------------------------------ a pipeline


def test_everything_is_there_once_with_a_summary_of_each_hour(tmp_path: Path) -> None:
    numbers = list(range(25))
    stream = test_stream.TestStream(coder=VarIntCoder()).advance_watermark_to(0)
    for start in range(0, 25, 5):
        # Each five come twice, as what is delivered twice does; the timers, set by the real clock, fire between.
        stream = stream.add_elements(numbers[start : start + 5]).advance_processing_time(1e10)
        stream = stream.add_elements(numbers[start : start + 5])
    with beam.Pipeline(runner="BundleBasedDirectRunner", options=PipelineOptions(["--streaming"])) as pipeline:
        outcomes = pipeline | stream.advance_watermark_to_infinity() | beam.Map(outcome)
        rows = outcomes | beam.Filter(lambda one: isinstance(one, Extraction))
        letters = outcomes | "Letters" >> beam.Filter(lambda one: isinstance(one, DeadLetter))
        (rows, letters) | kb.WriteStream(str(tmp_path / "out"), SCHEMA, model=MODEL)
    found = parquet.first_rows(sorted(map(str, tmp_path.glob("out/extractions/*/*/*.parquet"))), 100)
    assert sorted(row["n"] for row in found) == [n for n in numbers if n % 3]
    lines = [line for p in tmp_path.glob("out/dead-letters/*/*/*.jsonl") for line in p.read_bytes().splitlines()]
    assert sorted(json.loads(line)["document_id"] for line in lines) == sorted(f"doc-{n}" for n in range(0, 25, 3))
    assert len(list(tmp_path.glob("out/extractions/*/*/*.parquet"))) > 3, "nothing was written before the end"
    summaries = {
        path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("out/summaries/*/*/summary.json")
    }
    assert {hour: content["documents"] for hour, content in summaries.items()} == {
        "event_hour=12": 10,
        "event_hour=13": 10,
        "event_hour=14": 5,
    }


def test_bounded_input_is_another_transforms(tmp_path: Path) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    rows, letters = pipeline | "Rows" >> beam.Create([]), pipeline | "Letters" >> beam.Create([])
    with pytest.raises(ConfigError, match="use WriteDataset"):
        (rows, letters) | kb.WriteStream(str(tmp_path / "out"), SCHEMA, model=MODEL)


def test_a_directory_with_the_result_of_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(OutputError, match="holds a finished run"):
        kb.WriteStream(str(tmp_path), SCHEMA, model=MODEL)
