"""The values that flow through a pipeline: frozen, picklable, without clocks or I/O.

::

    Document ─▶ Batch ─▶ Ticket ─▶ Reply ─▶ Extraction │ DeadLetter

Exceptions are for the pipeline (the runner retries the bundle); a `Failure` value is for one document (it goes on to
the dead letters). A document leaves exactly once, as an `Extraction` or as a `DeadLetter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Stage = Literal["read", "prompt", "submit", "poll", "infer", "parse", "validate", "type"]
"""Where a document failed: the step of the flow that found it out."""

Code = Literal[
    # read
    "not_utf8",
    "not_text",
    "not_json",
    "repeated_key",
    "missing_id",
    "missing_text",
    "unreadable",
    "file_changed",
    # prompt
    "empty_document",
    "too_large",
    "duplicate_id",
    "bad_image",
    # submit
    "refused",
    "unknown_submit",
    "unreachable",
    "quota_exhausted",
    "stopped",
    # poll
    "deadline",
    "expired",
    "job_failed",
    "no_results",
    # infer
    "item_failed",
    "missing_item",
    "malformed_item",
    "truncated",
    "empty_answer",
    "refusal",
    "content_filter",
    "tool_call",
    "too_many_turns",
    "json_mode_unmet",
    "json_mode_unsupported",
    # validate, type
    "schema_violation",
    "type_mismatch",
]
"""Why a document failed: a closed set. ``not_json`` is the input's in stage ``read``, the answer's in ``parse``."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one document did not become a row.

    Attributes:
        stage: The step that found it out.
        code: One of a closed set, for grouping and for choosing what to run again.
        message: One line for a person.
        retryable: Whether the same document may succeed when it is run again unchanged.
        raw: The evidence: the model's answer, or the bytes of an unreadable line in base64. None where there is none.
    """

    stage: Stage
    code: Code
    message: str
    retryable: bool = False
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class FileContent:
    """What the whole of a file held when it was first read.

    Attributes:
        size: Bytes, uncompressed.
        checksum: BLAKE2b of these bytes, 32 hexadecimal digits.
        key: What the journal names the document by, in hexadecimal digits; empty where that is not known yet.
    """

    size: int
    checksum: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a document came in by a stream, or in a window: what Beam knew of it before the model was asked.

    Outputs of a stream carry the time of the answer, so this travels as fields.

    Attributes:
        event_time: Unix microseconds; None where the source gave no time.
        window: Start and end in Unix microseconds; None for the global window.
        delivery: 32 hexadecimal digits for this arrival, the same for its repetitions; empty until `Extract` names it.
    """

    event_time: int | None = None
    window: tuple[int, int] | None = None
    delivery: str = ""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that the service has accepted and whose answer nobody has seen.

    Attributes:
        request_id: Of its job.
        key: What was asked of whom, as the journal names it, in hexadecimal digits: it is no answer to anything else.
        name: What the references of the job's requests begin with.
        count: The requests of the job.
        position: Which of them it is.
        form: Which way of asking (`Prompt.forms`).
    """

    request_id: str
    key: str
    name: str
    count: int
    position: int
    form: int = 0


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a document has come to in earlier runs.

    Attributes:
        round: Bad answers that were put aside, so that it is asked anew.
        attempts: Submits that the service saw for it, but for the one of `open`: whoever takes that over counts it.
        open: The request whose answer is still to be fetched, None where there is none.
    """

    round: int = 0
    attempts: int = 0
    open: OpenRequest | None = None


_NOTHING_EARLIER = Earlier()


@dataclass(frozen=True, slots=True)
class Document:
    """One document to extract from.

    Attributes:
        id: Unique within a run; becomes ``_document_id``.
        text: What the model reads, unescaped and uncut.
        images: Data URIs (``data:image/png;base64,…``).
        metadata: JSON values that travel beside the document into ``_metadata``. Never sent to the model unless the
            user names the keys (``Extract(prompt_metadata=…)``).
        source: Where it was read from (a path); becomes ``_provenance.source``.
        failure: Set when reading failed already; such a document passes through to the dead letters.
        arrival: Of a stream's documents, filled in by `Extract` where the source has not. None otherwise.
        earlier: What it has come to in earlier runs: set by `ReadDeadLetters`, and never sent to the model.
        file: Set by `ReadDocuments` where text or image are all that the file `source` holds, and worth reading twice.
            An optimisation only: it is not compared, and a changed document has none.
    """

    id: str
    text: str
    images: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    failure: Failure | None = None
    arrival: Arrival | None = None
    earlier: Earlier = _NOTHING_EARLIER
    file: FileContent | None = field(init=False, default=None, compare=False, repr=False)

    @property
    def is_reference(self) -> bool:
        """Whether text and image are in the file alone, and not here."""
        return self.file is not None and not self.text and not self.images

    @property
    def is_text_alone(self) -> bool:
        """Whether it is an id, a text and where that was read, and nothing else."""
        earlier = self.earlier
        return (
            not self.metadata
            and not self.images
            and self.failure is None
            and self.arrival is None
            and self.file is None
            # Identity is the cheap answer for most. A document that was pickled holds an equal copy of its own.
            and (earlier is _NOTHING_EARLIER or earlier == _NOTHING_EARLIER)
        )

    def with_file(self, file: FileContent) -> Document:
        """The same that can be read again. `dataclasses.replace` leaves the file behind, as text may be changed."""
        other = replace(self)
        object.__setattr__(other, "file", file)
        return other

    def arrived(self, arrival: Arrival) -> Document:
        """The same with its arrival, and still with its file."""
        other = replace(self, arrival=arrival)
        return other if self.file is None else other.with_file(self.file)

    def as_reference(self, key: str) -> Document:
        """The same without what is in its file.

        Args:
            key: What the journal names it by: it cannot be told without the text.
        """
        assert self.file is not None
        return replace(self, text="", images=()).with_file(replace(self.file, key=key))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as billed.

    Attributes:
        prompt_tokens: Tokens read, cached ones included.
        cached_tokens: The part of `prompt_tokens` that was served from the prefix cache.
        completion_tokens: Tokens written, thinking included.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """The sum; `Usage()` is its zero."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """The model's answer to one request.

    Attributes:
        text: The content of the assistant's message.
        finish_reason: Why the model stopped (``stop``), None where the service does not say.
        created: Unix seconds at which the service made it, None where it does not say.
        model: The model that the service says answered, None where it does not say.
    """

    text: str
    finish_reason: str | None
    created: int | None
    model: str | None


@dataclass(frozen=True, slots=True)
class Ticket:
    """How far a document's batch got with the service. `Ticket()` is the one of a batch that was never sent.

    Attributes:
        request_id: The service's id of the job; None where there is none, or none that is known.
        attempts: Submits that the service saw, or may have seen, for the batch.
    """

    request_id: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """One document with what came back for it: a completion, or the failure that stands in its place.

    Attributes:
        document: Which.
        result: What came back.
        usage: Tokens.
        ticket: The job.
        open: The request that it was, where the job may still be answered; else None.
    """

    document: Document
    result: Completion | Failure
    usage: Usage = Usage()
    ticket: Ticket = Ticket()
    open: OpenRequest | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a row comes from.

    Attributes:
        source: The document's `Document.source`.
        model_asked: The model that was asked for.
        model_answered: The model that the service says answered; an alias can hide here (K2.5 is served by K2.6).
        request_id: The job's id.
        attempts: Submits that the service saw for the document's batch, those of earlier runs included.
        usage: Tokens.
        schema_hash: `OutputSchema.hash`.
        extracted_at: Unix seconds of the completion's own ``created``, so that a replay is byte-identical.
        arrival: The document's `Document.arrival`.
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


@dataclass(frozen=True, slots=True)
class ArrowRow:
    """A row of a record batch that holds an extraction already in its final types."""

    batch: pa.RecordBatch
    index: int


@dataclass(frozen=True, slots=True)
class Extraction:
    """A document whose answer is valid and fits the typed columns.

    Example:
        >>> results.extractions | beam.Map(lambda e: (e.document_id, e.fields["total"], e.provenance.attempts))
        ('in/receipt-01.txt', 24.8, 1)

    Attributes:
        document_id: `Document.id`.
        fields: The answer, an instance of the schema (an object for all but exotic schemas).
        metadata: `Document.metadata`.
        provenance: Where the row comes from.
        row: The row that the typed conversion already made, so that writing does not convert again. An optimisation
            only: it is not compared, and it does not survive pickling.
    """

    document_id: str
    fields: Any
    metadata: Mapping[str, Any]
    provenance: Provenance
    row: ArrowRow | None = field(init=False, default=None, compare=False, repr=False)

    def with_row(self, row: ArrowRow) -> Extraction:
        """The same with its row. `dataclasses.replace` leaves the row behind, so that a changed value is converted."""
        other = Extraction(self.document_id, self.fields, self.metadata, self.provenance)
        object.__setattr__(other, "row", row)
        return other

    def __reduce__(self) -> tuple[type[Extraction], tuple[Any, ...]]:
        """Pickles the values and leaves the Arrow row behind: it would drag its whole batch along."""
        return Extraction, (self.document_id, self.fields, self.metadata, self.provenance)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A document that did not become a row: the whole document and why; enough to run it again.

    Example:
        >>> results.dead_letters | beam.Map(lambda d: (d.document.id, d.failure.code, d.failure.retryable))
        ('in/receipt-02.txt', 'schema_violation', False)

    Attributes:
        document: As it came in, without a `failure` of its own: mended by `dataclasses.replace`, it is sent.
        failure: Why.
        attempts: Submits that the service saw for the document's batch, those of earlier runs included; 0 where it was
            never sent.
        request_id: The job it was part of, None where there was none.
        usage: What it cost all the same.
        model: The model that was asked for.
        schema_hash: `OutputSchema.hash`.
        failed_at: Unix seconds.
        round: `Earlier.round` of the document.
        open: The request whose answer may still be fetched, None where there is none.
        truncated: Whether `document` holds the beginning only, as its file of dead letters did: it cannot be run again.
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
