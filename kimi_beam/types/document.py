"""A document, and what travels with it from the file that it was read from to the request that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kimi_beam.types.earlier_runs import NOTHING_EARLIER, Earlier
from kimi_beam.types.failure import Failure


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
    earlier: Earlier = NOTHING_EARLIER
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
            and (earlier is NOTHING_EARLIER or earlier == NOTHING_EARLIER)
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
