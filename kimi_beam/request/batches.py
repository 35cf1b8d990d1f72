"""Batches as bytes: how several documents travel between stages and wait in state.

Pickled objects would cost several times as much at every boundary between stages, and Beam's state cache would walk
through all of them to learn their size. The bytes begin with what packing, the search for duplicates and the journal
need (sizes, digests and keys), so that these need not decompress the documents. A document with a file of its own is
stored as a reference to the file (`Document.is_reference`).
"""

from __future__ import annotations

import base64
import hashlib
import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import orjson
import pyarrow as pa

from kimi_beam.columnar import Documents, Texts, transposed
from kimi_beam.errors import StateError
from kimi_beam.schema import jsontext
from kimi_beam.types import (
    Arrival,
    Completion,
    Document,
    Earlier,
    EarlierPart,
    Failure,
    FileContent,
    Layout,
    OpenRequest,
    Part,
    Usage,
)

KEY_BYTES = 16
"""The length of a document's key in the journal."""


def split_keys(keys: bytes) -> tuple[bytes, ...]:
    """Splits keys that were joined into one string of bytes."""
    return struct.unpack(f"{KEY_BYTES}s" * (len(keys) // KEY_BYTES), keys)


_VERSION = 5
"""The version of the bytes. A change that an earlier kimi_beam would misread gets a new one; other versions are
refused."""
_PREFIX = struct.Struct(">BBIQ")  # version, form, documents, bytes of the JSON before compression
_LENGTHS = struct.Struct(">IQ")  # bytes of the columns as compressed, and of the texts before compression
_HAS_OPEN = 0x80
"""A bit of the form's byte: `Head.has_open`."""

NO_KEY = bytes(KEY_BYTES)
"""The key of a document that has failed: it is not sent, so the journal has no entry for it."""

IN_PARTS = b"\xff" * KEY_BYTES
"""The key of a document that is asked for in parts: each part has a key of its own."""


class Item(NamedTuple):
    """One document of a batch."""

    document: Document
    size: int
    """Bytes of its request; 0 if it has failed already and is not sent."""
    key: bytes = NO_KEY
    """Its key in the journal."""


Row: TypeAlias = "tuple[str, bytes, str, int, int, bytes, dict[str, Any] | None]"
"""One document of a batch in the form in which it is encoded: id, text as JSON without its quotation marks, source,
bytes of its request, digest of its id, key, and its other fields if it is more than a text (else None)."""


class Spent(NamedTuple):
    """Tokens and attempts that a document has used so far, when it is asked for again in another form."""

    usage: Usage = Usage()
    attempts: int = 0
    """Submits that the service received."""


_NOTHING_EARLIER = Earlier()


class Head(NamedTuple):
    """The beginning of a batch's bytes, which is read without decompressing the documents."""

    sizes: array[int]
    """Bytes of each document's request; 0 if it has failed already and is not sent."""
    digests: array[int]
    """64 bits of the hash of each document's id: equal ids have equal digests."""
    form: int
    """The form in which the batch is sent next: an index of `Prompt.forms`."""
    joined_keys: bytes
    """The keys of all documents, side by side."""
    has_open: bool
    """Whether some document has an open request of an earlier run (`Earlier.open`)."""
    columns_bytes: int
    """Bytes of all that is not text, as JSON before compression."""

    @property
    def keys(self) -> list[bytes]:
        """The key of each document in the journal."""
        return list(split_keys(self.joined_keys))

    @property
    def has_undivided(self) -> bool:
        """Whether some document is to be divided into parts before it is sent."""
        return IN_PARTS in self.joined_keys and IN_PARTS in self.keys

    @property
    def failed(self) -> bool:
        """Whether its documents have failed already. Those are never in a batch with others, and their size is 0."""
        return not any(self.sizes)

    @property
    def size_bytes(self) -> int:
        """Bytes of all requests together."""
        return sum(self.sizes)

    @property
    def whole_bytes(self) -> int:
        """Bytes of the requests, or of what travels beside their texts if that is more."""
        return max(self.columns_bytes, self.size_bytes)

    @property
    def batch_id(self) -> str:
        """16 hexadecimal digits that depend on the documents' ids, their order and the form alone."""
        form = bytes((self.form,)) if self.form else b""
        return hashlib.blake2b(self.digests.tobytes() + form, digest_size=8).hexdigest()


def digest(document_id: str) -> int:
    """64 bits of the hash of an id, the same in every process."""
    hasher = _EMPTY_HASHER.copy()  # in two thirds of the time that a new one takes
    hasher.update(document_id.encode())
    return int.from_bytes(hasher.digest(), "big")


_EMPTY_HASHER = hashlib.blake2b(digest_size=8)


def row(item: Item) -> Row:
    """An item in the form in which it is encoded."""
    document = item.document
    text = orjson.dumps(document.text)[1:-1]
    others = None if document.is_text_alone else _optional_fields(document) or None
    return document.id, text, document.source, item.size, digest(document.id), item.key, others


def bytes_beside(row: Row) -> int:
    """Bytes of the metadata, and of the boxes of characters, that travel beside a document's request."""
    others = row[6]
    if others is None:
        return 0
    metadata: str = others.get("metadata", "")
    boxes = others["layout"][2] if "layout" in others else None
    return (len(metadata) if metadata.isascii() else len(metadata.encode())) + len(boxes or "")


def bytes_in_memory(row: Row) -> int:
    """About the memory that a document takes: its text, pictures, metadata and boxes, and the raw text of a failure."""
    others = row[6]
    if others is None:
        return len(row[1])
    raw = others["failure"][4] if "failure" in others else None
    return len(row[1]) + sum(map(len, others.get("images", ()))) + len(raw or "") + bytes_beside(row)


def encode(items: Iterable[Item], *, form: int = 0, spent: Sequence[Spent] = ()) -> bytes:
    """Encodes documents as a batch.

    Args:
        items: The documents.
        form: The form in which they are sent next: an index of `Prompt.forms`.
        spent: Tokens and attempts that each document has used so far; empty if none has used any.
    """
    return encode_rows(list(map(row, items)), form=form, spent=spent)


def encode_rows(rows: Sequence[Row], *, form: int = 0, spent: Sequence[Spent] = ()) -> bytes:
    """Does the same as `encode`, for items that were brought into the form of a `Row` already."""
    ids, texts, sources, sizes, digests, keys, others = transposed(rows, 7)
    columns: dict[str, Any] = {
        "ids": ids,
        "sources": sources if len(set(sources)) > 1 else sources[0] if sources else "",
    }
    # The fields that only some documents have, by the document's index.
    some: list[tuple[int, dict[str, Any]]] = []
    has_open = 0
    for index, one in enumerate(others):
        if one is not None:
            some.append((index, one))
            has_open |= _HAS_OPEN if "earlier" in one and one["earlier"][2] else 0
    if some:
        columns["some"] = some
    if spent:
        columns["spent"] = [(*_counts(before.usage), before.attempts) for before in spent]
    # Compression pays: a gRPC runner (Prism, Flink, Dataflow) copies each batch several times. Level 1 is fast enough.
    codec = pa.Codec("zstd", 1)
    plain = orjson.dumps(columns)
    lines = b"\n".join(texts)  # in JSON a text has no line feed of its own
    packed = codec.compress(plain, asbytes=True)
    prefix = _PREFIX.pack(_VERSION, form | has_open, len(rows), len(plain))
    lengths = _LENGTHS.pack(len(packed), len(lines))
    head_columns = array("Q", sizes).tobytes(), array("Q", digests).tobytes(), *keys
    return b"".join((prefix, *head_columns, lengths, packed, codec.compress(lines, asbytes=True)))


def head(blob: bytes) -> Head:
    """Reads the beginning of a batch, without decompressing its documents.

    Raises:
        StateError: Another version of kimi_beam wrote the bytes.
    """
    form, count, columns_bytes = _prefix(blob)
    start = _PREFIX.size
    sizes, digests = array("Q"), array("Q")
    sizes.frombytes(blob[start : start + 8 * count])
    digests.frombytes(blob[start + 8 * count : start + 16 * count])
    joined_keys = blob[start + 16 * count : start + (16 + KEY_BYTES) * count]
    return Head(sizes, digests, form & ~_HAS_OPEN, joined_keys, bool(form & _HAS_OPEN), columns_bytes)


def decode(blob: bytes) -> Documents:
    """The documents of a batch.

    Raises:
        StateError: Another version of kimi_beam wrote the bytes.
    """
    columns, texts = _columns(blob)
    ids, all_sources = columns["ids"], _sources(columns)
    others = {
        index: _document(ids[index], texts[index], all_sources[index], fields)
        for index, fields in columns.get("some", ())
    }
    return Documents(ids, texts, all_sources, others, head(blob).digests)


def items(blob: bytes) -> list[Item]:
    """The documents of a batch, each with its size and key."""
    beginning = head(blob)
    return list(map(Item, decode(blob), beginning.sizes, beginning.keys))


def _rows(blob: bytes) -> list[Row]:
    """The documents of a batch in the form in which they are encoded."""
    beginning = head(blob)
    columns, texts = _columns(blob)
    count = len(texts)
    others = map(dict(columns.get("some", ())).get, range(count))
    known = beginning.sizes, beginning.digests, beginning.keys
    return list(zip(columns["ids"], Texts.of(texts).inner, _sources(columns), *known, others, strict=True))


def _optional_fields(document: Document) -> dict[str, Any]:
    """The fields of a document that most documents do not have, by name."""
    rest: dict[str, Any] = {}
    if document.metadata:
        rest["metadata"] = jsontext.dumps_any(document.metadata).decode()
    if document.images:
        rest["images"] = document.images
    if (failure := document.failure) is not None:
        rest["failure"] = failure.stage, failure.code, failure.message, failure.retryable, failure.raw
    if document.file is not None and document.is_reference:
        file = document.file
        rest["file"] = file.size, file.checksum, file.key
        if file.pictures or file.reading:
            rest["read_again"] = file.pictures, file.reading
    if document.earlier is not _NOTHING_EARLIER and document.earlier != _NOTHING_EARLIER:
        earlier, is_open = document.earlier, document.earlier.open
        row = is_open and (is_open.request_id, is_open.key, is_open.name, is_open.count, is_open.position, is_open.form)
        rest["earlier"] = earlier.round, earlier.attempts, row
        if earlier.parts:
            rest["earlier_parts"] = [_values(part) for part in earlier.parts]
    if document.arrival is not None:
        arrival = document.arrival
        rest["arrival"] = arrival.event_time, arrival.window, arrival.delivery
    if document.layout is not None:
        layout = document.layout
        boxes = None if layout.boxes is None else base64.b64encode(layout.boxes).decode()
        rest["layout"] = layout.page_starts, layout.image_positions, boxes
    if document.part is not None:
        rest["part"] = _values(document.part)
    return rest


_OPTIONAL_FIELDS = frozenset(
    {"metadata", "images", "failure", "file", "earlier", "earlier_parts", "arrival", "layout", "part", "read_again"}
)
"""The names that `_optional_fields` gives. Bytes with any other name are from a later kimi_beam."""


def _document(i: str, text: str, source: str, rest: dict[str, Any]) -> Document:
    if unknown := rest.keys() - _OPTIONAL_FIELDS:
        named = " and ".join(sorted(unknown))
        raise StateError.of("a batch", f"{_VERSION} with another's {named}", (_VERSION,))
    earlier = _NOTHING_EARLIER
    if "earlier" in rest:
        round_, attempts, is_open = rest["earlier"]
        parts = tuple(_earlier_part(*values) for values in rest.get("earlier_parts", ()))
        earlier = Earlier(round_, attempts, OpenRequest(*is_open) if is_open else None, parts)
    document = Document(
        i,
        text,
        tuple(rest.get("images", ())),
        jsontext.loads(rest["metadata"]) if "metadata" in rest else {},
        source,
        Failure(*rest["failure"]) if "failure" in rest else None,
        _arrival(*rest["arrival"]) if "arrival" in rest else None,
        earlier,
        _layout(*rest["layout"]) if "layout" in rest else None,
        _part(*rest["part"]) if "part" in rest else None,
    )
    return document.with_file(FileContent(*rest["file"], *rest.get("read_again", ()))) if "file" in rest else document


def _arrival(event_time: int | None, window: list[int] | None, delivery: str) -> Arrival:
    return Arrival(event_time, (window[0], window[1]) if window else None, delivery)


def _layout(page_starts: list[int], image_positions: list[int], boxes: str | None) -> Layout:
    return Layout(tuple(page_starts), tuple(image_positions), None if boxes is None else base64.b64decode(boxes))


def _values(value: Any) -> list[Any]:
    """The fields of a frozen value, also of those inside it."""
    if not is_dataclass(value):
        return value  # type: ignore[no-any-return]
    return [_values(getattr(value, field.name)) for field in fields(value)]


def _part(document_id: str, text_hash: str, start: int, end: int, length: int, *context: Any) -> Part:
    beginning, headings, columns, before = context
    return Part(document_id, text_hash, start, end, length, beginning, tuple(headings), columns, before)


def _earlier_part(
    start: int, end: int, answer: list[Any] | None, round_: int, is_open: list[Any] | None
) -> EarlierPart:
    completion = Completion(*answer) if answer else None
    return EarlierPart(start, end, completion, round_, OpenRequest(*is_open) if is_open else None)


def spent(blob: bytes) -> list[Spent]:
    """Tokens and attempts that each document of a batch has used so far."""
    columns, _ = _columns(blob)
    found = columns.get("spent") or [None] * len(columns["ids"])
    return [Spent(Usage(*counts[:3]), counts[3]) if counts else Spent() for counts in found]


def merge(blobs: list[bytes]) -> bytes:
    """Joins batches of one form into one. Documents keep their order."""
    if len(blobs) == 1:
        return blobs[0]
    form = head(blobs[0]).form
    rows = [row for blob in blobs for row in _rows(blob)]
    used = [before for blob in blobs for before in spent(blob)] if form else ()
    return encode_rows(rows, form=form, spent=used)


def halves(blob: bytes) -> tuple[bytes, bytes]:
    """Cuts a batch of at least two documents in two."""
    count = len(head(blob).sizes)
    return select(blob, range(count // 2)), select(blob, range(count // 2, count))


def select(blob: bytes, positions: Iterable[int]) -> bytes:
    """A batch of some of the documents of another.

    Args:
        blob: The other batch.
        positions: The indices of the documents, in the order in which the new batch has them.
    """
    form, rows = head(blob).form, _rows(blob)
    before = spent(blob) if form else []
    chosen = list(positions)
    return encode_rows(
        [rows[position] for position in chosen],
        form=form,
        spent=[before[position] for position in chosen] if before else (),
    )


def _sources(columns: dict[str, Any]) -> list[str]:
    """The source of each document."""
    sources = columns["sources"]
    return [sources] * len(columns["ids"]) if isinstance(sources, str) else sources


def _columns(blob: bytes) -> tuple[dict[str, Any], Sequence[str]]:
    """Decompresses a batch: its columns by name, and the texts, which are decompressed only when they are read."""
    _, count, length = _prefix(blob)
    start = _PREFIX.size + (16 + KEY_BYTES) * count
    packed, of_texts = _LENGTHS.unpack_from(blob, start)
    start += _LENGTHS.size
    columns: dict[str, Any] = orjson.loads(_unpacked(blob[start : start + packed], length))
    return columns, Texts(partial(_lines, blob[start + packed :], of_texts) if count else (), count)


def _unpacked(packed: bytes, length: int) -> bytes:
    plain: bytes = pa.Codec("zstd").decompress(packed, length, asbytes=True)
    return plain


def _lines(packed: bytes, length: int) -> list[bytes]:
    return _unpacked(packed, length).split(b"\n")


def _counts(usage: Usage) -> tuple[int, int, int]:
    return usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens


def _prefix(blob: bytes) -> tuple[int, int, int]:
    version, form, count, length = _PREFIX.unpack_from(blob)
    if version != _VERSION:
        raise StateError.of("a batch", version, (_VERSION,))
    return form, count, length
