"""Rows that leave as record batches equal the rows that leave one by one, and none is lost on the way to files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from harness import QUICK, RECEIPT, read_dataset, receipts, run_extract, service

import kimi_beam as kb
from kimi_beam.columnar import Documents
from kimi_beam.emulator import Emulator
from kimi_beam.errors import ConfigError
from kimi_beam.service.models import DEFAULT_MODEL

# Some cannot be sent, and some are answered by nothing that the schema takes: batches have rows and dead letters.
DOCUMENTS = [*receipts(23), kb.Document("empty", ""), kb.Document("other", "nothing of a receipt"), *receipts(2, 30)]
ORIGIN = {"request_id", "extracted_at", "cached_tokens"}  # these differ between jobs


seen: list[int] = []
"""Rows of each batch that `_look` saw."""


def _look(batch: pa.RecordBatch) -> pa.RecordBatch:
    assert batch.schema.names[0] == "_document_id"
    seen.append(batch.num_rows)
    return batch


def _write_and_look(count: int, tmp_path: Path) -> None:
    """A pipeline of jobs of three documents; `seen` has the batches that came out of it."""
    seen.clear()
    with Emulator() as emulator, beam.Pipeline("FnApiRunner") as pipeline:
        results = (
            pipeline
            | beam.Create(receipts(count))
            | kb.Extract(
                RECEIPT,
                service=service(emulator.base_url),
                polling=QUICK,
                batching=kb.Batching(max_items=3),
                record_batches=True,
            )
        )
        looked_at = results.extractions | beam.Map(_look).with_output_types(pa.RecordBatch)
        looked_at | kb.WriteParquet(str(tmp_path / "rows"), RECEIPT, files=1)


def _rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    told = [{**row, "_provenance": {k: v for k, v in row["_provenance"].items() if k not in ORIGIN}} for row in rows]
    return sorted(told, key=lambda row: str(row["_document_id"]))


@pytest.mark.parametrize("options", [(), ("--direct_num_workers=2", "--direct_running_mode=multi_threading")])
def test_a_dataset_is_the_same_either_way(tmp_path: Path, options: tuple[str, ...]) -> None:
    batching = kb.Batching(max_items=4)
    with Emulator() as emulator:
        one_by_one, together = (
            run_extract(
                DOCUMENTS,
                emulator.base_url,
                tmp_path / str(way),
                options=options,
                batching=batching,
                record_batches=way,
            )
            for way in (False, True)
        )
    assert len(together.rows) + len(together.letters) == len(DOCUMENTS)
    assert _rows(together.rows) == _rows(one_by_one.rows)
    assert len(together.rows) >= 25
    assert together.ids == one_by_one.ids
    assert together.codes == one_by_one.codes
    assert together.summary["documents"] == len(DOCUMENTS)


def test_a_pipeline_of_ones_own_gets_batches_of_the_files_columns(tmp_path: Path) -> None:
    _write_and_look(10, tmp_path)
    assert sum(seen) == 10
    assert set(seen) == {10}, "jobs that have ended at once are settled together"
    (path,) = tmp_path.glob("rows-*.parquet")
    assert sorted(pq.read_table(path)["_document_id"].to_pylist()) == sorted(d.id for d in receipts(10))  # type: ignore[type-var]


def test_no_more_is_settled_together_than_is_worth_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_beam.queue.finished.SETTLED_TOGETHER", 6)
    _write_and_look(20, tmp_path)
    assert sum(seen) == 20
    assert max(seen) <= 6


def test_documents_of_lines_become_rows_without_a_value_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"id": one.id, "text": one.text}) for one in receipts(30)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    made: list[str] = []

    def value(documents: Documents, place: int) -> kb.Document:
        made.append(documents.ids[place])
        return kb.Document(documents.ids[place], documents.texts[place], source=documents.sources[place])

    monkeypatch.setattr(Documents, "_value", value)
    with Emulator() as emulator, beam.Pipeline("FnApiRunner") as pipeline:
        documents = pipeline | kb.ReadDocuments(str(tmp_path / "in.jsonl"))
        extract = kb.Extract(RECEIPT, service=service(emulator.base_url), polling=QUICK, record_batches=True)
        results = documents | extract
        write = kb.WriteDataset(str(tmp_path / "out"), RECEIPT, model=DEFAULT_MODEL, documents=documents)
        (results.extractions, results.dead_letters) | write
    assert len(read_dataset(tmp_path / "out").rows) == 30
    assert made == [], "each document costs a microsecond more"


def test_rows_of_a_stream_are_filed_one_by_one() -> None:
    stream = test_stream.TestStream().add_elements(receipts(1)).advance_watermark_to_infinity()
    pipeline = beam.Pipeline("BundleBasedDirectRunner", options=PipelineOptions(["--streaming"]))
    extract = kb.Extract(RECEIPT, service=service("http://127.0.0.1:9"), record_batches=True)
    with pytest.raises(ConfigError, match="record_batches is for bounded input"):
        pipeline | stream | extract
