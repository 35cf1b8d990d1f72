"""`MakeBatches`: packs documents into batches, which travel as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Literal

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.beam_extensions import document_coder
from kimi_beam.beam_extensions.element_types import wrong_element
from kimi_beam.columnar import Documents
from kimi_beam.journal.recorder import Keys
from kimi_beam.report import metrics
from kimi_beam.report.logging_reports import REPORTS
from kimi_beam.request import batches, optional_fields
from kimi_beam.request.batches import Row
from kimi_beam.request.checks import prepare, prepare_texts
from kimi_beam.request.packing import Packer
from kimi_beam.transforms.conservation import counted
from kimi_beam.transforms.counters import Counters
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.types.document import Document

_MAX_HELD = 64 << 20
"""The most bytes of documents that a bundle keeps in memory over all shards. `Dispatch` packs small batches
together."""
_MIN_DOCUMENT_BYTES = 500
"""Bytes that even the smallest document takes in memory."""


class MakeBatches(beam.DoFn):
    """``Document -> (shard, batch as bytes)``. It packs within a bundle; `Dispatch` packs small batches once more.

    All documents with the same id go to the same shard. Documents that failed are in batches of their own. A document
    with a file of its own is replaced by a reference to it.

    Args:
        settings: The settings of the `Extract`.
        shards: The number of shards that documents are spread over.
        counts: Whether each bundle outputs the counts of its documents (`counted`), with the tag `COUNTS`.
    """

    def __init__(self, settings: ExtractSettings, shards: int, *, counts: bool = False) -> None:
        self._settings, self._shards, self._counts = settings, shards, counts

    def setup(self) -> None:
        self._prompt = self._settings.prompt
        self._prompt.schema.check_class()  # before anything is paid for
        self._keys = Keys(self._prompt, self._settings.service)
        self._counters = Counters()

    def start_bundle(self) -> None:
        self._packers: dict[tuple[str, bool], Packer[Row]] = {}
        self._arrived: list[Document] = []
        self._held = 0
        self._came_in = 0
        self._digests = 0

    def process(self, document: Document) -> Iterable[tuple[str, bytes]]:
        if not isinstance(document, Document):
            raise wrong_element("Extract", document, Document)
        self._came_in += 1
        self._arrived.append(document)
        # A document that is more than a text may be large, so it is packed at once.
        if len(self._arrived) < document_coder.GATHERED_DOCUMENTS and document.is_text_alone:
            return ()
        return self._packed(self._take_arrived())

    def finish_bundle(self) -> Iterator[Any]:
        for batch in (*self._packed(self._take_arrived()), *self._flush()):
            yield WindowedValue(batch, GlobalWindow().max_timestamp(), [GlobalWindow()])
        if self._counts and self._came_in:
            yield counted(came_in=(self._came_in, self._digests))

    def _take_arrived(self) -> Documents:
        arrived, self._arrived = self._arrived, []
        return Documents.of(arrived)

    def _packed(self, documents: Documents) -> Iterator[tuple[str, bytes]]:
        """Packs documents, and yields the batches that are full."""
        prepared = prepare_texts(documents, self._prompt, self._keys.of_shown)
        rows = [row or self._prepared(documents[index]) for index, row in enumerate(prepared)]
        if self._counts:
            self._digests += sum(map(_DIGEST_OF, rows))
        for (shard, is_good), some in self._spread(rows).items():
            packer = self._packers.get((shard, is_good))
            if packer is None:
                packer = self._packers[shard, is_good] = Packer(self._settings.batching)
            self._held += _weight(some)
            for closed in packer.extend(some, [_size(row) if is_good else _weight([row]) for row in some]):
                self._held -= _weight(closed)
                yield self._batch(shard, closed)
        if self._held > _MAX_HELD:
            yield from self._flush()

    def _spread(self, rows: list[Row]) -> dict[tuple[str, bool], list[Row]]:
        """The rows by shard, and by whether they can be sent."""
        if self._shards == 1 and all(row[_SIZE] for row in rows):
            return {("0", True): rows}
        spread: dict[tuple[str, bool], list[Row]] = {}
        for row in rows:
            spread.setdefault((str(row[_DIGEST] % self._shards), bool(row[_SIZE])), []).append(row)
        return spread

    def _prepared(self, document: Document) -> Row:
        item = prepare(document, self._prompt, self._keys.of_shown)
        if item.document.images:
            self._counters.count(metrics.PICTURES, len(item.document.images))
        if document.file is not None:
            name = "" if item.document.failure else item.key.hex()
            item = item._replace(document=item.document.with_file(document.file).as_reference(name))
        return batches.row(item)

    def _flush(self) -> Iterator[tuple[str, bytes]]:
        for (shard, _), packer in self._packers.items():
            if rows := packer.flush():
                yield self._batch(shard, rows)
        self._held = 0

    def _batch(self, shard: str, rows: Sequence[Row]) -> tuple[str, bytes]:
        self._counters.count(metrics.DOCUMENTS, len(rows))
        REPORTS.progress()
        return shard, batches.encode_rows(rows)


class MakeBatchesOfMany(MakeBatches):
    """The same for a PCollection whose type Beam knows, in which `ReadDocuments` passes documents on as columns."""

    @beam.DoFn.yields_elements
    def process_batch(self, documents: Documents) -> Iterator[tuple[str, bytes]]:
        self._came_in += len(documents)
        return self._packed(documents)

    def get_input_batch_type(self, input_element_type: Any) -> Any:
        return document_coder.Documents  # Beam cannot read postponed annotations


_SIZE: Literal[3] = 3
_DIGEST: Literal[4] = 4
_OTHERS: Literal[6] = 6
_TEXT_OF, _DIGEST_OF, _OTHERS_OF = itemgetter(1), itemgetter(_DIGEST), itemgetter(_OTHERS)
"""Indices in a `Row`, and functions that get one of its values."""


def _size(row: Row) -> int:
    """The size by which a document is packed: the bytes of its request, or of what travels beside it if more."""
    others = row[_OTHERS]
    return row[_SIZE] if others is None else max(row[_SIZE], optional_fields.bytes_beside(others))


def _weight(rows: Sequence[Row]) -> int:
    """About the memory that documents take."""
    others = sum(map(optional_fields.bytes_in_memory, filter(None, map(_OTHERS_OF, rows))))
    return _MIN_DOCUMENT_BYTES * len(rows) + sum(map(len, map(_TEXT_OF, rows))) + others
