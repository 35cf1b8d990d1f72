"""`WriteStream`: rows, dead letters, deliveries, and a summary of each hour that counts its files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from stream_files import AT_NOON, COUNTED, FORMS, MODEL, SCHEMA, document, outcome, write, write_deliveries

import kimi_beam as kb
from kimi_beam.errors import ConfigError, OutputError
from kimi_beam.output import parquet
from kimi_beam.output.partitions import FileFormat
from kimi_beam.stream.audit_files import reconcile_directory
from kimi_beam.stream.write_stream import PartitionSummaries
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.extraction import Extraction


def summed(directory: Path, file_formats: dict[str, FileFormat] = FORMS) -> dict[str, Any]:
    path = Path(PartitionSummaries(str(directory), file_formats, MODEL, SCHEMA.hash).write(AT_NOON))
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


def test_a_summary_tells_what_came_in_beside_what_left(tmp_path: Path) -> None:
    write_deliveries(tmp_path, [document(n) for n in (1, 2, 3)])
    write(tmp_path, "extractions", [1])
    content = summed(tmp_path, COUNTED)
    assert (content["came_in"], content["documents"], content["extractions"]) == (3, 1, 1)
    write_deliveries(tmp_path, [document(3), document(4)])  # a bundle that is done again, with a new document
    assert summed(tmp_path, COUNTED)["came_in"] == 4
    assert "came_in" not in summed(tmp_path), "nobody counts it"


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


def test_a_document_that_the_runner_lost_is_named(tmp_path: Path) -> None:
    numbers = list(range(25))
    stream = test_stream.TestStream(coder=VarIntCoder()).advance_watermark_to(0)
    for _ in range(2):
        stream = stream.add_elements(numbers).advance_processing_time(1e10)
    with beam.Pipeline(runner="BundleBasedDirectRunner", options=PipelineOptions(["--streaming"])) as pipeline:
        came = pipeline | stream.advance_watermark_to_infinity()
        documents = came | "Documents" >> beam.Map(document)
        left = came | beam.Filter(lambda n: n not in (4, 17)) | beam.Map(outcome)
        rows = left | beam.Filter(lambda one: isinstance(one, Extraction))
        letters = left | "Letters" >> beam.Filter(lambda one: isinstance(one, DeadLetter))
        (rows, letters) | kb.WriteStream(str(tmp_path / "out"), SCHEMA, model=MODEL, documents=documents)
    found = reconcile_directory(str(tmp_path / "out"))
    assert (found.came_in, found.rows, found.dead_letters) == (25, 14, 9)
    assert sorted(found.neither["document_id"].to_pylist()) == ["doc-17", "doc-4"]  # type: ignore[type-var]
    assert (found.twice.num_rows, found.strangers) == (0, 0)
    summaries = [json.loads(path.read_text()) for path in tmp_path.glob("out/summaries/*/*/summary.json")]
    assert sorted((summary["came_in"], summary["documents"]) for summary in summaries) == [(5, 5), (10, 9), (10, 9)]


def test_ids_of_any_kind_are_reconciled(tmp_path: Path) -> None:
    """Documents made in code are not looked at before: a dead letter will say what is wrong with them."""
    ids: list[Any] = [None, 7, "\ud800", "a\nb"]
    write_deliveries(tmp_path, [replace(document(n), id=i) for n, i in enumerate(ids)])
    assert sorted(reconcile_directory(str(tmp_path)).neither["document_id"].to_pylist()) == ["7", "?", "None", "a\nb"]  # type: ignore[type-var]


def test_bounded_input_is_refused(tmp_path: Path) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    rows, letters = pipeline | "Rows" >> beam.Create([]), pipeline | "Letters" >> beam.Create([])
    with pytest.raises(ConfigError, match="use WriteDataset"):
        (rows, letters) | kb.WriteStream(str(tmp_path / "out"), SCHEMA, model=MODEL)


def test_a_directory_with_the_result_of_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(OutputError, match="holds a finished run"):
        kb.WriteStream(str(tmp_path), SCHEMA, model=MODEL)
