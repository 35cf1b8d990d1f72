"""The values that flow through a pipeline: frozen, picklable, without clocks or I/O.

::

    Document ─▶ batch (bytes) ─▶ Job ─▶ Reply ─▶ Extraction │ DeadLetter

An exception stops the pipeline (the runner retries the bundle). A `Failure` is a value and concerns one document, which
it sends to the dead letters. Each document leaves exactly once, as an `Extraction` or as a `DeadLetter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Stage = Literal["read", "prompt", "submit", "poll", "infer", "parse", "validate", "type"]
"""The step of the flow in which a document failed."""

# fmt: off
Code = Literal[
    # read
    "not_utf8", "not_text", "not_json", "repeated_key", "ragged_row", "missing_id", "missing_text", "unreadable",
    "file_changed", "encrypted", "damaged", "too_many_pages", "too_many_pixels", "too_many_members", "compression_bomb",
    "nested_too_deep", "hidden_text", "unknown_kind", "reader_crashed", "reader_timeout", "reader_memory",
    "reader_failed",
    # prompt
    "empty_document", "too_large", "duplicate_id", "bad_image", "unredactable",
    # submit
    "refused", "unknown_submit", "unreachable", "quota_exhausted", "stopped",
    # poll
    "deadline", "expired", "job_failed", "no_results",
    # infer
    "item_failed", "missing_item", "malformed_item", "truncated", "empty_answer", "answer_in_reasoning", "refusal",
    "content_filter",
    "tool_call", "too_many_turns", "json_mode_unmet", "json_mode_unsupported",
    # validate, type
    "schema_violation", "redacted_value", "ungrounded", "type_mismatch",
]
# fmt: on
"""Why a document failed: a closed set. The comments name the stage in which most failures with a code happen.

Some codes occur in two stages. ``not_json`` means the input file in ``read``, the answer in ``parse``. ``not_utf8``,
``missing_id``, ``missing_text``, ``too_large`` and ``bad_image`` are found in ``read`` in a file or message, and in
``prompt`` in a document that code has made. ``deadline`` is of ``poll`` in the queue, of ``infer`` otherwise."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one document did not become a row.

    Attributes:
        stage: The step of the flow in which it failed.
        code: The reason, from a closed set: dead letters are grouped and redriven by it.
        message: The reason as one line for a person.
        retryable: Whether the same document may succeed when it is run again unchanged.
        raw: The evidence: the model's answer, or the bytes of an unreadable line in base64. None if there is none.

    Example:
        >>> kb.Failure("parse", "not_json", "the answer is not JSON", retryable=True, raw="Sorry, I cannot").code
        'not_json'
    """

    stage: Stage
    code: Code
    message: str
    retryable: bool = False
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class FileContent:
    """The fingerprint of a file when it was first read, by which a second reading notices a change.

    Attributes:
        size: Bytes, uncompressed.
        checksum: BLAKE2b of these bytes, 32 hexadecimal digits.
        key: The document's key in the journal, in hexadecimal digits; empty until it has been computed.
        pictures: How many pictures the document has.
        reading: How the document is made of the file (`kimi_beam.input.file_references`); empty for a text or a picture
            that is sent as it is.
        shows_rows: Whether the text may show the rows of a table, so that it is worth reading again for these.
    """

    size: int
    checksum: str
    key: str = ""
    pictures: int = 0
    reading: str = ""
    shows_rows: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """The event time and the window with which a document entered the pipeline.

    They travel as fields because Beam's own timestamp of a result is the time of the answer.

    Attributes:
        event_time: Unix microseconds; None if the source gave no time.
        window: Start and end in Unix microseconds; None for the global window.
        delivery: 32 hexadecimal digits, the same for repeated deliveries of one message; empty until `Extract` sets it.
    """

    event_time: int | None = None
    window: tuple[int, int] | None = None
    delivery: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as billed.

    Example:
        >>> kb.Usage(prompt_tokens=900, completion_tokens=40) + kb.Usage(prompt_tokens=100, cached_tokens=80)
        Usage(prompt_tokens=1000, cached_tokens=80, completion_tokens=40)

    Attributes:
        prompt_tokens: Tokens read, cached ones included.
        cached_tokens: The part of `prompt_tokens` that was served from the prefix cache.
        completion_tokens: Tokens written, thinking included.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Adds field by field; `Usage()` is the zero."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that the service has accepted and whose answer has not been fetched.

    Attributes:
        request_id: The id of its job.
        key: Its key in the journal, in hexadecimal digits, so that its answer is never used for another request.
        name: The prefix of the references of the job's requests.
        count: How many requests the job holds.
        position: The index of this request in its job, from 0.
        form: The index in `Prompt.forms` of the way in which JSON was asked for.
    """

    request_id: str
    key: str
    name: str
    count: int
    position: int
    form: int = 0


@dataclass(frozen=True, slots=True)
class EarlierPart:
    """What earlier runs have done with one part of a document that was asked for in parts.

    Attributes:
        start: Its first place in the document (`Part.start`).
        end: The place behind its last one.
        answer: The model's answer, which is not asked for again; None if there is none.
        round: `Earlier.round` of the part.
        open: The request whose answer is still to be fetched, None if there is none.
    """

    start: int
    end: int
    answer: Completion | None = None
    round: int = 0
    open: OpenRequest | None = None


@dataclass(frozen=True, slots=True)
class RefusedAnswer:
    """The last answer for a document, which goes back to the model with what is wrong with it.

    Attributes:
        failure: Why it was refused; its ``raw`` is the answer.
        problems: What is wrong, each with the JSON Pointer of the value; the empty pointer is the whole answer.
        times: How often the document was asked for again in this run, this time included.
        usage: The tokens of its answers so far.
        attempts: The submits that the service saw for these.
    """

    failure: Failure
    problems: tuple[tuple[str, str], ...]
    times: int
    usage: Usage
    attempts: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier runs have done with a document.

    Attributes:
        round: How many bad answers were discarded, each so that the model is asked anew.
        attempts: Submits that the service saw for it, without that of `open`, which counts once its answer is fetched.
        open: The request whose answer is still to be fetched, None if there is none.
        parts: Its parts, in the order of the text, if it was asked for in parts and one of them failed; else empty.
        refused: The answer of this run that goes back to the model; None for a document that is asked for as it is.
    """

    round: int = 0
    attempts: int = 0
    open: OpenRequest | None = None
    parts: tuple[EarlierPart, ...] = ()
    refused: RefusedAnswer | None = None


_NOTHING_EARLIER = Earlier()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the pages and pictures of a document's file stand in its text.

    Example:
        >>> layout = kb.Layout(page_starts=(0, 15), image_positions=(15,))
        >>> letter = kb.Document("letter-1", "Dear Sir, see: Yours, A.", ("data:image/png;base64,…",), layout=layout)
        >>> letter.text[letter.layout.page_starts[1] :]
        'Yours, A.'

    Attributes:
        page_starts: For each page, the index of its first character in `Document.text`.
        image_positions: For each of `Document.images`, the index in the text at which the model is shown it. Empty: all
            of them before the text, as also where their number is not that of the images.
        boxes: The place of each character on its page (`kimi_beam.grounding.character_boxes`); None unless it was
            asked for.

    Raises:
        ValueError: Indices that are negative or do not ascend.
    """

    page_starts: tuple[int, ...] = ()
    image_positions: tuple[int, ...] = ()
    boxes: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, indices in (("page_starts", self.page_starts), ("image_positions", self.image_positions)):
            if any(after < before for before, after in zip((0, *indices), indices, strict=False)):
                raise ValueError(f"Layout: {name} are indices in a text, in ascending order")


@dataclass(frozen=True, slots=True)
class Part:
    """Where a part stands in its document, and what the model is shown beside it as context.

    The parts of a document tile its text: joined in their order they are the text.

    Attributes:
        document_id: `Document.id` of the whole document.
        text_hash: 16 hexadecimal digits of a hash of the whole text, so that two documents with one id are told apart.
        start: Its first place in the document. Places count characters, and each picture as one.
        end: The place behind its last one.
        length: The number of places of the document.
        beginning: How the document begins; empty for the first part.
        headings: The headings that the part stands under, the outermost first.
        columns: The line with the names of the columns, if the part begins inside a table; else empty.
        before: The end of the text before the part.
    """

    document_id: str
    text_hash: str
    start: int
    end: int
    length: int
    beginning: str = ""
    headings: tuple[str, ...] = ()
    columns: str = ""
    before: str = ""

    @property
    def context(self) -> str:
        """All that the model is shown beside the part's own text."""
        return "\n".join(filter(None, (self.beginning, *self.headings, self.columns, self.before)))


@dataclass(frozen=True, slots=True)
class Redaction:
    """A value that the model is not shown.

    Attributes:
        kind: What it is, such as ``iban``.
        original: The value.
        stand_in: What the model is shown in its place.
        start: Where the stand-in begins in the redacted text; -1 for a value in the metadata.
    """

    kind: str
    original: str = field(repr=False)
    stand_in: str
    start: int = -1


@dataclass(frozen=True, slots=True)
class Redacted:
    """What was redacted in a document, so that its row gets the values back. It is written to no file.

    Attributes:
        redactions: The values, those of the text first, in its order.
        metadata: The document's metadata as it came in.
    """

    redactions: tuple[Redaction, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Document:
    """One document to extract from.

    Example:
        >>> receipt = kb.Document("receipt-1", "Total: 24.80 EUR", metadata={"shop": 7})
        >>> receipt.id, receipt.metadata["shop"]
        ('receipt-1', 7)
        >>> scan = kb.Document("receipt-2", text="", images=("data:image/png;base64,iVBORw0KGgo…",))

    Attributes:
        id: Unique within a run; becomes ``_document_id``.
        text: The text that the model reads, unescaped and uncut.
        images: Data URIs (``data:image/png;base64,…``).
        metadata: JSON values that travel beside the document into ``_metadata``. Never sent to the model unless the
            user names the keys (``Extract(prompt_metadata=…)``).
        source: The path that it was read from; becomes ``_provenance.source``.
        failure: Set if reading failed; such a document passes through to the dead letters.
        arrival: Event time and window of a stream's document; `Extract` fills it in. None in a bounded pipeline.
        earlier: What earlier runs have done with it: set by `ReadDeadLetters`, and never sent to the model.
        layout: Where pages and pictures stand in the text; None if it was read from no file with pages.
        part: Which part of a document it is; None for a whole document, as users have them.
        redacted: What stands in it in the place of redacted values; None if nothing does, as in users' documents.
        file: The fingerprint of the file `source`, set by `ReadDocuments` if the file holds this document alone and is
            worth reading twice. An optimisation only: it is not compared, and `dataclasses.replace` drops it.
    """

    id: str
    text: str
    images: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    failure: Failure | None = None
    arrival: Arrival | None = None
    earlier: Earlier = _NOTHING_EARLIER
    layout: Layout | None = None
    part: Part | None = None
    redacted: Redacted | None = None
    file: FileContent | None = field(init=False, default=None, compare=False, repr=False)

    @property
    def is_reference(self) -> bool:
        """Whether text and image have to be read from `source` again, because they were left out here."""
        return self.file is not None and not self.text and not self.images

    @property
    def picture_count(self) -> int:
        """How many pictures it has, also where they were left out here."""
        return self.file.pictures if self.file is not None and self.is_reference else len(self.images)

    @property
    def is_text_alone(self) -> bool:
        """Whether it has an id, a text and a source, and nothing else: most documents, which have a fast path."""
        earlier = self.earlier
        return (
            not self.metadata
            and not self.images
            and self.failure is None
            and self.arrival is None
            and self.layout is None
            and self.part is None
            and self.redacted is None
            and self.file is None
            # Identity is quick and true of most documents. One that was pickled holds an equal copy.
            and (earlier is _NOTHING_EARLIER or earlier == _NOTHING_EARLIER)
        )

    def with_file(self, file: FileContent) -> Document:
        """A copy with the fingerprint of its file, which `dataclasses.replace` drops because it may change the text."""
        other = replace(self)
        object.__setattr__(other, "file", file)
        return other

    def with_arrival(self, arrival: Arrival) -> Document:
        """A copy with this arrival, which keeps the fingerprint of its file."""
        other = replace(self, arrival=arrival)
        return other if self.file is None else other.with_file(self.file)

    def with_earlier(self, earlier: Earlier) -> Document:
        """A copy with this past, which keeps the fingerprint of its file."""
        other = replace(self, earlier=earlier)
        return other if self.file is None else other.with_file(self.file)

    def as_reference(self, key: str) -> Document:
        """A copy without text, images and layout, which are read from the file again when they are needed.

        Args:
            key: The document's key in the journal. It is kept because it cannot be computed without the text.
        """
        assert self.file is not None
        return replace(self, text="", images=(), layout=None).with_file(replace(self.file, key=key))


@dataclass(frozen=True, slots=True)
class Completion:
    """The model's answer to one request.

    Attributes:
        text: The content of the assistant's message.
        finish_reason: Why the model stopped (``stop``), None if the service does not say.
        created: Unix seconds at which the service made it, None if the service does not say.
        model: The model that the service says answered, None if it does not say.
    """

    text: str
    finish_reason: str | None
    created: int | None
    model: str | None


@dataclass(frozen=True, slots=True)
class Ticket:
    """The job that a batch was submitted as. `Ticket()` is that of a batch that was never sent.

    Attributes:
        request_id: The service's id of the job; None if the batch was not accepted, or its id was lost.
        attempts: Submits that the service saw, or may have seen, for the batch.
    """

    request_id: str | None = None
    attempts: int = 0


RepairKind = Literal[
    # of the text
    "byte_order_mark",
    "fence",
    "prose",
    "trailing_comma",
    "python_literal",
    "control_character",
    "nan",
    "wrapping",
    # by another request
    "asked_again",
    # of a value, by the schema (``coerce``)
    "number",
    "integer",
    "array_of_one",
    "enum",
    "date",
]
"""What is done to an answer so that it can be read: a closed set. A repair loses nothing that the model has written
inside its answer, and nothing is repaired that has two readings."""


@dataclass(frozen=True, slots=True)
class Repair:
    """One repair of an answer.

    Attributes:
        kind: What was done.
        path: The JSON Pointer of the value that was changed; None if the text was, or what stands around the answer.
        count: How often it was done.
    """

    kind: RepairKind
    path: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """What is known of an answer beside its values.

    Attributes:
        parts: Of how many parts' answers it was put together; None for a document that was asked for whole.
        conflicts: The values that two parts state differently: each with its place in the answer (``at``), the value
            that was kept, the other one, and the characters of the text at which each part begins and ends.
        incomplete: Why the answer may lack something, one line each: rows that the text shows and the answer has not,
            or an equation of the schema (``x-check``) that is not fulfilled.
        repairs: What was done to the answer so that it could be read.
    """

    parts: int | None = None
    conflicts: tuple[Mapping[str, Any], ...] = ()
    incomplete: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """One document with the model's answer, or with the failure to get one.

    Attributes:
        document: The document that was asked about.
        result: The answer or the failure.
        usage: The tokens billed for this document, its share of the job's.
        ticket: The job that the document was part of.
        open: The request, if the service may still answer it; else None.
        report: What is known of the answer beside its values; None for most documents.
    """

    document: Document
    result: Completion | Failure
    usage: Usage = Usage()
    ticket: Ticket = Ticket()
    open: OpenRequest | None = None
    report: AnswerReport | None = None


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


GroundingMatch = Literal[
    "exact", "normalised", "number", "date", "derived", "metadata", "hidden", "example", "near", "none", "unverified"
]
"""How a value of an answer stands in its document.

- ``exact``: as it is spelt.
- ``normalised``: but for white space, case and typography.
- ``number``: the same decimal value in another spelling.
- ``date``: the same day in another spelling.
- ``derived``: nowhere, and it need not: true and false, what the schema lets choose from a list, and
  what an equation of the schema (``x-check``) gives, all of whose other values stand in the document.
- ``metadata``: nowhere in the text, but in the metadata that the model was shown.
- ``hidden``: only in text that a person does not see.
- ``example``: nowhere in the document, but in an example that the model was shown beside it.
- ``near``: nowhere; the place is one that resembles it, for a reviewer.
- ``none``: nowhere.
- ``unverified``: it was not found, but the model was shown pictures, in which nobody has looked.
"""

GROUNDED: frozenset[GroundingMatch] = frozenset(("exact", "normalised", "number", "date", "derived", "metadata"))
"""The kinds of match that count as grounded."""


@dataclass(frozen=True, slots=True)
class Grounding:
    """Where one value of an answer stands in its document.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | beam.Create([kb.Document("receipt-1", "Total: 24.80")])
        ...     rows = (documents | kb.Extract("receipt.json", service=service, ground=True)).extractions
        ...     _ = rows | beam.Map(lambda row: print(row.grounding[0].path, row.grounding[0].match))
        /total number

    Attributes:
        path: The JSON Pointer of the value in the answer.
        match: How it stands there.
        start: The index of its first character in `Document.text`; None if it has no place.
        end: The index after its last character; None if it has no place.
        page: The number of its page, from 1; None if the document has no pages or the value no place.
        box: Left, top, right and bottom on the page, in points from the upper left corner; None if they are not known.
        candidates: At how many places it may stand that nothing tells apart; 0 if it stands nowhere.
    """

    path: str
    match: GroundingMatch
    start: int | None = None
    end: int | None = None
    page: int | None = None
    box: tuple[float, float, float, float] | None = None
    candidates: int = 0


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
