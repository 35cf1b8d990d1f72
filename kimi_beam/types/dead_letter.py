"""A document that did not become a row, as it leaves the pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from kimi_beam.types.answer import Usage
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import OpenRequest


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A document that did not become a row, with the reason and all that is needed to run it again.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | beam.Create([kb.Document("receipt-3", " ")])
        ...     dead = (documents | kb.Extract("receipt.json", service=service)).dead_letters
        ...     _ = dead | beam.Map(lambda letter: print(letter.document.id, letter.failure.code, letter.attempts))
        receipt-3 empty_document 0

    Attributes:
        document: The document as it came in, without its own `failure`, so that a copy with a mended text can be sent.
        failure: Why it did not become a row.
        attempts: Submits that the service saw for the document's batch, those of earlier runs included; 0 if it was
            never sent.
        request_id: The id of the job that it was part of, None if there was none.
        usage: The tokens billed for it although it failed.
        model: The model that was asked for.
        schema_hash: `OutputSchema.hash`.
        failed_at: Unix seconds.
        round: `Earlier.round` of the document.
        open: The request whose answer may still be fetched, None if there is none.
        truncated: Whether `document` holds only the beginning of the text, or stand-ins for redacted values, so that it
            cannot be run again.
    """

    document: Document
    failure: Failure
    attempts: int
    request_id: str | None
    usage: Usage
    model: str
    schema_hash: str
    failed_at: float
    round: int = 0
    open: OpenRequest | None = None
    truncated: bool = False
