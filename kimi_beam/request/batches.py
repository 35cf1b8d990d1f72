"""Batches as bytes: how several documents travel between stages and wait in state.

Pickled objects would cost several times as much at every boundary between stages, and Beam's state cache would walk
through all of them to learn their size. The bytes begin with what packing, the search for duplicates and the journal
need (sizes, digests and keys), so that these need not decompress the documents. A document with a file of its own is
stored as a reference to the file (`Document.is_reference`), and so are its parts.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import orjson
import pyarrow as pa

from kimi_beam.columnar import Documents, Texts, transposed
from kimi_beam.errors import StateError
from kimi_beam.request import optional_fields
from kimi_beam.types.answer import Usage
from kimi_beam.types.document import Document

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
    others = None if document.is_text_alone else optional_fields.encode(document)
    return document.id, text, document.source, item.size, digest(document.id), item.key, others


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
            has_open |= _HAS_OPEN if optional_fields.has_open_request(one) else 0
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


def count_parts(blob: bytes) -> int:
    """How many of the documents of a batch are parts."""
    return sum(document.part is not None for document in decode(blob).others.values())


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


def _document(document_id: str, text: str, source: str, others: dict[str, Any]) -> Document:
    if unknown := others.keys() - optional_fields.NAMES:
        named = " and ".join(sorted(unknown))
        raise StateError.of("a batch", f"{_VERSION} with another's {named}", (_VERSION,))
    return optional_fields.decode(document_id, text, source, others)


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
