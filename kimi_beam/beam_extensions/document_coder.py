"""Lets Beam's steps hand on whole `Documents` (columns), as the batch type of batched DoFns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import TypeOptions
from apache_beam.typehints.batch import BatchConverter

from kimi_beam.columnar import Documents
from kimi_beam.types.document import Document

__all__ = ["GATHERED_DOCUMENTS", "Documents"]

GATHERED_DOCUMENTS = 100
"""How many single documents a step gathers before it hands them on as one `Documents`."""
_ABOUT = 1_000
"""An estimate of a document's size in bytes."""


def can_pass_blocks(pipeline: beam.Pipeline) -> bool:
    """Whether the steps of a pipeline can hand on documents by column.

    They cannot on `BundleBasedDirectRunner`, which does not support batches (2.77), nor with ``--runtime_type_check``,
    whose wrapper around each step hides that the step yields batches.
    """
    checks = pipeline.options.view_as(TypeOptions).runtime_type_check
    return not checks and type(pipeline.runner).__name__ != "BundleBasedDirectRunner"


@BatchConverter.register(name="kimi_beam.documents")
class _DocumentsConverter(BatchConverter):
    """Converts between single documents and `Documents`, for steps that take documents one by one.

    Beam's own converter for lists would pickle the documents at each step to find out their size.
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
