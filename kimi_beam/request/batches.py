"""The one value that a batch travels as, between stages and in state: bytes.

Pickled objects cost several times as much at every boundary, and the SDK's state cache walks each object inside them to
learn its size. The bytes begin with what packing, duplicate detection and the journal need (sizes, digests, keys), so
that none of them has to decompress the documents. Of a document that has a file of its own they hold where that is
(`Document.is_reference`).
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
from kimi_beam.schema import jsontext
from kimi_beam.types import Arrival, Document, Earlier, Failure, FileContent, OpenRequest, Usage

KEY_BYTES = 16


def cut(keys: bytes) -> tuple[bytes, ...]:
    """Keys that stand side by side."""
    return struct.unpack(f"{KEY_BYTES}s" * (len(keys) // KEY_BYTES), keys)


_VERSION = 5
"""Of the bytes below: another number for each change that an earlier kimi_beam would misread. Others are refused."""
_PREFIX = struct.Struct(">BBIQ")  # version, form, documents, bytes of the JSON before compression
_LENGTHS = struct.Struct(">IQ")  # bytes of the columns as compressed, and of the texts before compression
_HAS_OPEN = 0x80
"""In the form's byte."""

NO_KEY = bytes(KEY_BYTES)
"""Of a document that has failed: it is not sent, so that the journal never has it."""


class Item(NamedTuple):
    """One document of a batch."""

    document: Document
    size: int
    """Bytes of its request; 0 for one that has failed already and is not sent."""
    key: bytes = NO_KEY
    """What the journal names it by."""


Row: TypeAlias = "tuple[str, bytes, str, int, int, bytes, Document | None]"
"""One document of a batch as it is written: its id, its text as `Texts` has it, where it was read, the bytes of its
request, the digest of its id, its key; and the whole document, where it is more than a text."""


class Spent(NamedTuple):
    """What a document that is asked for again has come to so far."""

    usage: Usage = Usage()
    attempts: int = 0
    """Submits that the service saw."""


_NOTHING_EARLIER = Earlier()


class Head(NamedTuple):
    """What a batch's bytes say without being decompressed."""

    sizes: array[int]
    """Bytes of each document's request; 0 for one that has failed already and is not sent."""
    digests: array[int]
    """64 bits of the hash of each document's id: equal ids have equal digests."""
    form: int
    """Which way of asking is next (`Prompt.forms`)."""
    joined_keys: bytes
    """Of all documents."""
    has_open: bool
    """Whether some document may have a request of an earlier run that is not answered (`Earlier.open`)."""

    @property
    def keys(self) -> list[bytes]:
        """What the journal names each document by."""
        return list(cut(self.joined_keys))

    @property
    def failed(self) -> bool:
        """Whether its documents have failed already; such documents have a batch of their own and size 0."""
        return not any(self.sizes)

    @property
    def size_bytes(self) -> int:
        """Bytes of all requests."""
        return sum(self.sizes)

    @property
    def batch_id(self) -> str:
        """16 hexadecimal digits that depend on the documents' ids, their order and the form alone."""
        form = bytes((self.form,)) if self.form else b""
        return hashlib.blake2b(self.digests.tobytes() + form, digest_size=8).hexdigest()


def digest(document_id: str) -> int:
    """64 bits of the hash of an id, the same in every process."""
    begun = _BEGUN.copy()  # in two thirds of the time of a new one
    begun.update(document_id.encode())
    return int.from_bytes(begun.digest(), "big")


_BEGUN = hashlib.blake2b(digest_size=8)


def row(item: Item) -> Row:
    """An item as it is written."""
    document = item.document
    text = orjson.dumps(document.text)[1:-1]
    whole = None if document.is_text_alone else document
    return document.id, text, document.source, item.size, digest(document.id), item.key, whole


def encode(items: Iterable[Item], *, form: int = 0, spent: Sequence[Spent] = ()) -> bytes:
    """A batch as it travels and waits.

    Args:
        items: Its documents.
        form: Which way of asking is next.
        spent: What each document has come to so far; empty where that is nothing.
    """
    return encode_rows(list(map(row, items)), form=form, spent=spent)


def encode_rows(rows: Sequence[Row], *, form: int = 0, spent: Sequence[Spent] = ()) -> bytes:
    """As `encode`, of what is written already."""
    ids, texts, sources, sizes, digests, keys, documents = transposed(rows, 7)
    columns: dict[str, Any] = {
        "ids": ids,
        "sources": sources if len(set(sources)) > 1 else sources[0] if sources else "",
    }
    # What only some documents have: by the document's place.
    some: list[tuple[int, dict[str, Any]]] = []
    has_open = 0
    for place, document in enumerate(documents):
        if document is not None and (rest := _rest(document)):
            some.append((place, rest))
            has_open |= _HAS_OPEN if document.earlier.open is not None else 0
    if some:
        columns["some"] = some
    if spent:
        columns["spent"] = [(*_counts(one.usage), one.attempts) for one in spent]
    # Level 1: a gRPC runner (Prism, Flink, Dataflow) copies each batch several times over.
    codec = pa.Codec("zstd", 1)
    plain = orjson.dumps(columns)
    lines = b"\n".join(texts)  # of which none has a line feed of its own, in JSON
    packed = codec.compress(plain, asbytes=True)
    prefix = _PREFIX.pack(_VERSION, form | has_open, len(rows), len(plain))
    lengths = _LENGTHS.pack(len(packed), len(lines))
    known = array("Q", sizes).tobytes(), array("Q", digests).tobytes(), *keys
    return b"".join((prefix, *known, lengths, packed, codec.compress(lines, asbytes=True)))


def head(blob: bytes) -> Head:
    """Reads what stands before the documents.

    Raises:
        StateError: Another version of kimi_beam wrote the bytes.
    """
    form, count, _ = _prefix(blob)
    at = _PREFIX.size
    sizes, digests = array("Q"), array("Q")
    sizes.frombytes(blob[at : at + 8 * count])
    digests.frombytes(blob[at + 8 * count : at + 16 * count])
    joined_keys = blob[at + 16 * count : at + (16 + KEY_BYTES) * count]
    return Head(sizes, digests, form & ~_HAS_OPEN, joined_keys, bool(form & _HAS_OPEN))


def whole_bytes(blob: bytes) -> int:
    """Bytes of a batch's documents with all that travels beside them, uncompressed, as far as no text is read."""
    return max(_prefix(blob)[2], head(blob).size_bytes)


def decode(blob: bytes) -> Documents:
    """The documents of a batch.

    Raises:
        StateError: Another version of kimi_beam wrote the bytes.
    """
    columns, texts = _columns(blob)
    ids, sources = columns["ids"], columns["sources"]
    each = [sources] * len(ids) if isinstance(sources, str) else sources
    others = {place: _document(ids[place], texts[place], each[place], rest) for place, rest in columns.get("some", ())}
    return Documents(ids, texts, each, others, head(blob).digests)


def items(blob: bytes) -> list[Item]:
    """The documents of a batch with what is known of each."""
    known = head(blob)
    return list(map(Item, decode(blob), known.sizes, known.keys))


def _rows(blob: bytes) -> list[Row]:
    """The documents of a batch as they are written."""
    known, documents = head(blob), decode(blob)
    texts = Texts.of(documents.texts).inner
    columns = documents.ids, texts, documents.sources, known.sizes, known.digests, known.keys
    return list(zip(*columns, map(documents.others.get, range(len(documents))), strict=True))


def _rest(document: Document) -> dict[str, Any]:
    """What only some documents have, by its name."""
    rest: dict[str, Any] = {}
    if document.metadata:
        rest["metadata"] = jsontext.dumps_any(document.metadata).decode()
    if document.images:
        rest["images"] = document.images
    if (failure := document.failure) is not None:
        rest["failure"] = failure.stage, failure.code, failure.message, failure.retryable, failure.raw
    if document.file is not None and document.is_reference:
        rest["file"] = document.file.size, document.file.checksum, document.file.key
    if document.earlier is not _NOTHING_EARLIER and document.earlier != _NOTHING_EARLIER:
        earlier, is_open = document.earlier, document.earlier.open
        row = is_open and (is_open.request_id, is_open.key, is_open.name, is_open.count, is_open.position, is_open.form)
        rest["earlier"] = earlier.round, earlier.attempts, row
    if document.arrival is not None:
        arrival = document.arrival
        rest["arrival"] = arrival.event_time, arrival.window, arrival.delivery
    return rest


_PARTS = frozenset({"metadata", "images", "failure", "file", "earlier", "arrival"})


def _document(i: str, text: str, source: str, rest: dict[str, Any]) -> Document:
    if later := rest.keys() - _PARTS:
        named = " and ".join(sorted(later))
        raise StateError.of("a batch", f"{_VERSION} with another's {named}", (_VERSION,))
    earlier = _NOTHING_EARLIER
    if "earlier" in rest:
        round_, attempts, is_open = rest["earlier"]
        earlier = Earlier(round_, attempts, OpenRequest(*is_open) if is_open else None)
    document = Document(
        i,
        text,
        tuple(rest.get("images", ())),
        jsontext.loads(rest["metadata"]) if "metadata" in rest else {},
        source,
        Failure(*rest["failure"]) if "failure" in rest else None,
        _arrival(*rest["arrival"]) if "arrival" in rest else None,
        earlier,
    )
    return document.with_file(FileContent(*rest["file"])) if "file" in rest else document


def _arrival(event_time: int | None, window: list[int] | None, delivery: str) -> Arrival:
    return Arrival(event_time, (window[0], window[1]) if window else None, delivery)


def spent(blob: bytes) -> list[Spent]:
    """What each document of a batch has come to so far."""
    columns, _ = _columns(blob)
    found = columns.get("spent") or [None] * len(columns["ids"])
    return [Spent(Usage(*one[:3]), one[3]) if one else Spent() for one in found]


def merge(blobs: list[bytes]) -> bytes:
    """Several batches of one form as one, the order kept."""
    if len(blobs) == 1:
        return blobs[0]
    form = head(blobs[0]).form
    rows = [one for blob in blobs for one in _rows(blob)]
    return encode_rows(rows, form=form, spent=[one for blob in blobs for one in spent(blob)] if form else ())


def halves(blob: bytes) -> tuple[bytes, bytes]:
    """A batch of at least two documents as two."""
    count = len(head(blob).sizes)
    return select(blob, range(count // 2)), select(blob, range(count // 2, count))


def select(blob: bytes, positions: Iterable[int]) -> bytes:
    """A batch of some of the documents of another, in the order named."""
    form, rows = head(blob).form, _rows(blob)
    before = spent(blob) if form else []
    chosen = list(positions)
    return encode_rows(
        [rows[position] for position in chosen],
        form=form,
        spent=[before[position] for position in chosen] if before else (),
    )


def _columns(blob: bytes) -> tuple[dict[str, Any], Sequence[str]]:
    """What a batch says of its documents, column by column, and their texts."""
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
