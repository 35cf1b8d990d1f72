"""A document that became a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kimi_beam.types.answer import AnswerReport, Usage
from kimi_beam.types.document import Arrival
from kimi_beam.types.grounding import Grounding

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which document, model, job and schema a row comes from.

    Attributes:
        source: `Document.source`.
        model_asked: The model that was asked for.
        model_answered: The model that the service says answered (K2.6 answers for K2.5); None if it does not say.
        request_id: The id of the job; None if the request was synchronous.
        attempts: Submits that the service saw for the document's batch, those of earlier runs included.
        usage: The tokens billed for the document.
        schema_hash: `OutputSchema.hash`.
        extracted_at: Unix seconds of the completion's own ``created``, so that a replay is byte-identical.
        arrival: The document's `Document.arrival`.
        report: What is known of the answer beside its values; None for most documents.
        prompt: The version of kimi_beam's own words to the model, and a hash of all that it is told before a document.
    """

    source: str
    model_asked: str
    model_answered: str | None
    request_id: str | None
    attempts: int
    usage: Usage
    schema_hash: str
    extracted_at: int | None
    arrival: Arrival | None = None
    report: AnswerReport | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class ArrowRow:
    """The row of a record batch in which an extraction has its final types."""

    batch: pa.RecordBatch
    index: int


@dataclass(frozen=True, slots=True)
class Extraction:
    """A document whose answer is valid and fits the typed columns.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | beam.Create([kb.Document("receipt-1", "Total: 24.80")])
        ...     rows = (documents | kb.Extract("receipt.json", service=service)).extractions
        ...     _ = rows | beam.Map(lambda row: print(row.document_id, row.fields["total"], row.provenance.attempts))
        receipt-1 24.8 1

    Attributes:
        document_id: `Document.id`.
        fields: The answer, an instance of the schema (an object for all but exotic schemas).
        metadata: `Document.metadata`.
        provenance: The document, model, job and schema that the row comes from.
        grounding: Where each value of the answer that is not null stands in the document, in the answer's order; None
            without ``Extract(ground=True)``.
        row: The row in its final types, so that writing does not convert it again. An optimisation only: it is not
            compared, and it does not survive pickling.
    """

    document_id: str
    fields: Any
    metadata: Mapping[str, Any]
    provenance: Provenance
    grounding: tuple[Grounding, ...] | None = None
    row: ArrowRow | None = field(init=False, default=None, compare=False, repr=False)

    def with_row(self, row: ArrowRow) -> Extraction:
        """A copy with its typed row, which `dataclasses.replace` drops so that changed fields are converted anew."""
        other = Extraction(self.document_id, self.fields, self.metadata, self.provenance, self.grounding)
        object.__setattr__(other, "row", row)
        return other

    def __reduce__(self) -> tuple[type[Extraction], tuple[Any, ...]]:
        """Pickles the values without the Arrow row, as that would pickle its whole record batch."""
        return Extraction, (self.document_id, self.fields, self.metadata, self.provenance, self.grounding)
