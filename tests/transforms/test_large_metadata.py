"""Documents whose metadata are far larger than their texts: what is in memory together is bounded by them as well."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from harness import receipts, run_extract

from kimi_beam.emulator import Emulator
from kimi_beam.queue.finished import fit_together
from kimi_beam.request import batches, optional_fields
from kimi_beam.request.packing import Batching
from kimi_beam.schema import OutputSchema, jsontext
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.transforms.make_batches import MakeBatches
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.types.document import Document
from kimi_beam.wire.envelopes import HttpReply


def made(documents: list[Document], batching: Batching) -> list[bytes]:
    schema, service = OutputSchema({"type": "object"}), WorkersAI("0" * 32)
    packing = MakeBatches(ExtractSettings(schema=schema, service=service, batching=batching), 1)
    packing.setup()
    packing.start_bundle()
    found = [blob for document in documents for _, blob in packing.process(document)]
    return found + [windowed.value[1] for windowed in packing.finish_bundle()]


@pytest.mark.parametrize("metadata", [{"page": "z" * 300_000}, {"rows": [{"a": "z" * 1_000}] * 300}, {"page": {1, 2}}])
def test_a_batch_holds_no_more_metadata_than_it_may_hold_of_requests(metadata: dict[str, object]) -> None:
    documents = [Document(str(n), "text", metadata=metadata) for n in range(20)]
    found = made(documents, Batching(max_bytes=1_000_000))
    assert [document.id for blob in found for document in batches.decode(blob)] == [str(n) for n in range(20)]
    small = metadata == {"page": {1, 2}}
    assert all(batches.head(blob).whole_bytes < 1_100_000 for blob in found)
    assert len(found) == (1 if small else 7)


def test_the_metadata_of_a_document_are_written_as_json_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []

    def dumps_any(value: object) -> bytes:
        written.append(value)
        return jsontext.dumps_any(value)

    monkeypatch.setattr(optional_fields, "jsontext", SimpleNamespace(dumps_any=dumps_any))
    documents = [Document(str(n), "text", metadata={"page": n}) for n in range(20)]
    found = made(documents, Batching(max_items=7))
    assert batches.head(batches.merge(found)).sizes
    assert written == [document.metadata for document in documents]


def test_large_documents_are_settled_without_more_of_them() -> None:
    assert fit_together([], HttpReply(200, b"{}"), 1_000)
    assert not fit_together([], HttpReply(200, b"{}"), 16 << 20)


def test_each_document_with_large_metadata_leaves_once(tmp_path: Path) -> None:
    documents = [Document(one.id, one.text, metadata={"page": "z" * 500_000}) for one in receipts(60)]
    with Emulator() as emulator:
        outcome = run_extract(documents, emulator.base_url, tmp_path)
    assert outcome.codes == {}
    assert sorted(row["_document_id"] for row in outcome.rows) == sorted(document.id for document in documents)
    assert {len(row["_metadata"]) for row in outcome.rows} == {500_011}
