"""Grounds the answers of the documents that are settled together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kimi_beam.grounding.ground import ground
from kimi_beam.grounding.text_index import TextIndex
from kimi_beam.schema import OutputSchema
from kimi_beam.types import Document, Grounding

_READ_TOGETHER = 32
"""So many documents that travel as references are read again together, and are in memory at once."""


@dataclass(frozen=True)
class GroundRules:
    """How answers are grounded.

    Attributes:
        metadata_keys: The keys of the metadata that the model was shown.
        examples: The examples that the model was shown with every document, as texts.
    """

    metadata_keys: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()

    @cached_property
    def example_index(self) -> TextIndex | None:
        """The examples; None if there were none."""
        return TextIndex("\n".join(self.examples)) if self.examples else None


def ground_rows(
    documents: Sequence[Document],
    answers: Sequence[Any],
    schema: OutputSchema,
    rules: GroundRules,
    read_again: Callable[[Sequence[Document]], list[Document]],
) -> list[tuple[Grounding, ...]]:
    """Where the values of each answer stand in its document.

    Args:
        documents: The documents.
        answers: Their answers.
        schema: The schema of the answers.
        rules: How they are grounded.
        read_again: Reads the files of documents that travel as references.
    """
    found: list[tuple[Grounding, ...]] = []
    for first in range(0, len(documents), _READ_TOGETHER):
        some = slice(first, first + _READ_TOGETHER)
        found += (
            ground(answer, document, schema.places, rules.metadata_keys, rules.example_index)
            for answer, document in zip(answers[some], read_again(documents[some]), strict=True)
        )
    return found
