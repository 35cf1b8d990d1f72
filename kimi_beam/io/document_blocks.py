"""How Beam sees documents that go from step to step by column: `Documents` are a batch of its batched DoFns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from apache_beam.typehints.batch import BatchConverter

from kimi_beam.columnar import Documents
from kimi_beam.types import Document

__all__ = ["TOGETHER", "Documents"]

TOGETHER = 100
"""Documents that are in memory together as values."""
_ABOUT = 1_000
"""Bytes of a document."""


@BatchConverter.register(name="kimi_beam.documents")
class _DocumentsConverter(BatchConverter):
    """Documents by column; a step that takes them one by one gets values.

    Beam's own converter of lists pickles documents at each step, to learn how large they are.
    """

    def __init__(self, element_type: Any, batch_type: Any) -> None:
        if element_type is not Document or batch_type is not Documents:
            raise TypeError("no documents by column")
        super().__init__(batch_type, element_type)

    def produce_batch(self, elements: Sequence[Document]) -> Documents:
        return Documents.of(elements)

    def explode_batch(self, batch: Documents) -> Iterator[Document]:
        return iter(batch)

    def combine_batches(self, batches: Sequence[Documents]) -> Documents:
        return Documents.of([document for batch in batches for document in batch])

    def get_length(self, batch: Documents) -> int:
        return len(batch)

    def estimate_byte_size(self, batch: Documents) -> int:
        return _ABOUT * len(batch)
