"""`MakeBatches`: documents packed into batches that travel as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam import batches, metrics
from kimi_beam.admission import prepare
from kimi_beam.batches import Item
from kimi_beam.batching import Batching, Packer
from kimi_beam.progress import PROGRESS
from kimi_beam.prompting import Prompt
from kimi_beam.service import WorkersAI
from kimi_beam.transforms.record import Keys
from kimi_beam.types import Document

_MAX_HELD = 64 << 20
"""Bytes that a bundle holds back over all shards; `Dispatch` packs small batches together again."""
_LEAST = 500
"""Bytes that any document takes in memory."""


class MakeBatches(beam.DoFn):
    """``Document -> (shard, batch as bytes)``: packs within a bundle; `Dispatch` packs what is left over again.

    Documents of one id meet in one shard. Documents that failed travel in batches of their own. Of a document that has
    a file of its own only the reference goes on.
    """

    def __init__(self, prompt: Prompt, service: WorkersAI, batching: Batching, shards: int) -> None:
        self._prompt, self._service, self._batching, self._shards = prompt, service, batching, shards

    def setup(self) -> None:
        self._keys = Keys(self._prompt, self._service)
        self._documents = Metrics.counter(metrics.NAMESPACE, metrics.DOCUMENTS)

    def start_bundle(self) -> None:
        self._packers: dict[tuple[str, bool], Packer[Item]] = {}
        self._held = 0

    def process(self, document: Document) -> Iterable[tuple[str, bytes]]:
        item = prepare(document, self._prompt, self._keys.of_shown)
        if document.file is not None:
            name = "" if item.document.failure else item.key.hex()
            item = item._replace(document=item.document.with_file(document.file).as_reference(name))
        document = item.document
        shard = str(batches.digest(document.id) % self._shards) if self._shards > 1 else "0"
        key = shard, document.failure is None
        packer = self._packers.get(key)
        if packer is None:
            packer = self._packers[key] = Packer(self._batching)
        weight = _weight(document)
        closed = packer.add(item, item.size or weight)
        self._held += weight
        if not closed and self._held <= _MAX_HELD:
            return ()
        self._held -= sum(_weight(one.document) for one in closed)
        full = (self._batch(shard, closed),) if closed else ()
        return (*full, *self._flush()) if self._held > _MAX_HELD else full

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for batch in self._flush():
            yield WindowedValue(batch, GlobalWindow().max_timestamp(), [GlobalWindow()])

    def _flush(self) -> Iterator[tuple[str, bytes]]:
        for (shard, _), packer in self._packers.items():
            if left := packer.flush():
                yield self._batch(shard, left)
        self._held = 0

    def _batch(self, shard: str, items: Sequence[Item]) -> tuple[str, bytes]:
        PROGRESS.read(len(items))
        self._documents.inc(len(items))
        return shard, batches.encode(items)


class MakeBatchesOfMany(MakeBatches):
    """The same for documents that `ReadDocuments` hands on by the hundred, as only a typed PCollection can."""

    @beam.DoFn.yields_elements
    def process_batch(self, documents: list[Document]) -> Iterator[tuple[str, bytes]]:
        for document in documents:
            yield from self.process(document)

    def get_input_batch_type(self, input_element_type: Any) -> Any:
        return list[Document]  # Beam cannot read annotations that are put off


def _weight(document: Document) -> int:
    """About what a document takes in memory: characters, its evidence included."""
    if document.failure is None and not document.images:
        return _LEAST + len(document.text)
    evidence = document.failure.raw if document.failure and document.failure.raw else ""
    return _LEAST + len(document.text) + len(evidence) + sum(map(len, document.images))
