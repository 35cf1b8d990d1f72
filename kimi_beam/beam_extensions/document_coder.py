"""How Beam sees documents that go from step to step by column: `Documents` are a batch of its batched DoFns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import TypeOptions
from apache_beam.typehints.batch import BatchConverter

from kimi_beam.columnar import Documents
from kimi_beam.types import Document

__all__ = ["TOGETHER", "Documents"]

TOGETHER = 100
"""Documents that are in memory together as values."""
_ABOUT = 1_000
"""Bytes of a document."""


def can_pass_blocks(pipeline: beam.Pipeline) -> bool:
    """Whether steps can hand on documents by column.

    They cannot on `BundleBasedDirectRunner`, which knows no batches (2.77), and not with ``--runtime_type_check``: its
    wrapper around each step hides that the step yields batches.
    """
    checks = pipeline.options.view_as(TypeOptions).runtime_type_check
    return not checks and type(pipeline.runner).__name__ != "BundleBasedDirectRunner"


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
