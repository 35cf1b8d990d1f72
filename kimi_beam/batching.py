"""Documents into batches: greedy packing by count, bytes and tokens, and the one value that a batch travels as.

Between stages and in state a batch is *bytes*: pickled objects cost several times as much at every boundary, and the
SDK's state cache walks each object inside them to learn its size. The bytes begin with what packing and duplicate
detection need (sizes and digests), so that neither has to decompress the documents. Of a document that has a file of
its own they hold where that is (`Document.is_reference`).
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
import pyarrow as pa

from kimi_beam import jsontext
from kimi_beam.errors import ConfigError, StateError
from kimi_beam.types import Arrival, Document, Earlier, Failure, FileContent, OpenRequest, Usage

T = TypeVar("T")

HARD_MAX_BYTES = 8_000_000
"""The service takes "less than 10 MB" and accepts more without a word: 14.8 MB took 40 minutes, 47 MB never finished
(Workers AI batch pages; captured by a client). The cap leaves room."""

BYTES_PER_TOKEN = 4
"""An estimate, for packing only; what is billed is what the service reports."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How documents are packed into one submit.

    Attributes:
        max_items: Documents a batch.
        max_bytes: Bytes of the submit's JSON. A document larger than this goes alone; one larger than 8 MB is a
            ``too_large`` dead letter.
        max_tokens: Estimated prompt tokens a batch, at 4 bytes each. None: no such limit.
        max_wait: Seconds that a document of an unbounded input waits for company. Bounded input never waits.

    Raises:
        ConfigError: A limit is not positive, or `max_bytes` is above 8 MB.
    """

    max_items: int = 250
    max_bytes: int = 4_000_000
    max_tokens: int | None = None
    max_wait: float = 5.0

    def __post_init__(self) -> None:
        if self.max_items < 1 or self.max_bytes < 1 or (self.max_tokens is not None and self.max_tokens < 1):
            raise ConfigError("Batching: max_items, max_bytes and max_tokens must be at least 1")
        if self.max_bytes > HARD_MAX_BYTES:
            raise ConfigError(f"Batching: max_bytes is at most {HARD_MAX_BYTES}: the service loses larger jobs")
        if self.max_wait < 0:
            raise ConfigError("Batching: max_wait must not be negative")


class Packer(Generic[T]):
    """Fills one batch at a time, in the order of arrival."""

    def __init__(self, batching: Batching) -> None:
        self._limits = batching
        self._items: list[T] = []
        self._count = self._bytes = 0

    def add(self, item: T, size: int, count: int = 1) -> list[T]:
        """Takes an item in.

        Args:
            item: Whatever is packed.
            size: Its bytes in the submit.
            count: How many documents it stands for.

        Returns:
            The batch that had to be closed to make room; empty where there was room.
        """
        limits = self._limits
        full = bool(self._items) and (
            self._count + count > limits.max_items
            or self._bytes + size > limits.max_bytes
            or (limits.max_tokens is not None and (self._bytes + size) // BYTES_PER_TOKEN > limits.max_tokens)
        )
        closed = self.flush() if full else []
        self._items.append(item)
        self._count += count
        self._bytes += size
        return closed

    def flush(self) -> list[T]:
        """Closes the batch: its items, perhaps none."""
        closed, self._items = self._items, []
        self._count = self._bytes = 0
        return closed


def pack(items: Iterable[tuple[T, int]], batching: Batching) -> Iterator[list[T]]:
    """Packs (item, bytes) pairs: every item is in exactly one batch, and the order is kept."""
    packer: Packer[T] = Packer(batching)
    for item, size in items:
        if closed := packer.add(item, size):
            yield closed
    if closed := packer.flush():
        yield closed


# ------------------------------------------------------------------------------------------------ as bytes

_VERSION = 3
_READ = (2, _VERSION)
"""What is read: 2 knew documents alone that hold all that is sent."""
_PREFIX = struct.Struct(">BBIQ")  # version, form, documents, bytes of the JSON before compression


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
    return int.from_bytes(hashlib.blake2b(document_id.encode(), digest_size=8).digest(), "big")


def encode(documents: Iterable[tuple[Document, int]], *, form: int = 0, spent: Sequence[Spent] = ()) -> bytes:
    """A batch as it travels and waits.

    Args:
        documents: Each document with the bytes of its request.
        form: Which way of asking is next.
        spent: What each document has come to so far; empty where that is nothing.
    """
    rows: list[Any] = []
    sizes, digests = array("Q"), array("Q")
    for index, (document, size) in enumerate(documents):
        failure = document.failure
        rows.append(
            (
                document.id,
                document.text,
                document.source,
                jsontext.dumps_any(document.metadata).decode() if document.metadata else None,
                document.images or None,
                failure and (failure.stage, failure.code, failure.message, failure.retryable, failure.raw),
                (*_counts(spent[index].usage), spent[index].attempts) if spent else None,
                _rest(document),
            )
        )
        sizes.append(size)
        digests.append(digest(document.id))
    plain = orjson.dumps(rows)
    # Level 1: a gRPC runner (Prism, Flink, Dataflow) copies each batch several times over.
    packed = pa.Codec("zstd", 1).compress(plain, asbytes=True)
    return b"".join((_PREFIX.pack(_VERSION, form, len(rows), len(plain)), sizes.tobytes(), digests.tobytes(), packed))


def head(blob: bytes) -> Head:
    """Reads the sizes and digests alone.

    Raises:
        StateError: Another version of kimi_beam wrote the bytes.
    """
    form, count, _ = _prefix(blob)
    at = _PREFIX.size
    sizes, digests = array("Q"), array("Q")
    sizes.frombytes(blob[at : at + 8 * count])
    digests.frombytes(blob[at + 8 * count : at + 16 * count])
    return Head(sizes, digests, form)


def decode(blob: bytes) -> list[Document]:
    """The documents of a batch.

    Raises:
        StateError: Another version of kimi_beam wrote the bytes.
    """
    return [_document(*row) for row in _rows(blob)]


def _rest(document: Document) -> dict[str, Any] | None:
    """What only some documents have, by its name."""
    rest: dict[str, Any] = {}
    if document.file is not None and document.is_reference:
        rest["file"] = document.file.size, document.file.checksum, document.file.key
    if document.earlier is not _NOTHING_EARLIER and document.earlier != _NOTHING_EARLIER:
        earlier, is_open = document.earlier, document.earlier.open
        row = is_open and (is_open.request_id, is_open.key, is_open.name, is_open.count, is_open.position, is_open.form)
        rest["earlier"] = earlier.round, earlier.attempts, row
    if document.arrival is not None:
        arrival = document.arrival
        rest["arrival"] = arrival.event_time, arrival.window, arrival.delivery
    return rest or None


def _document(
    i: str,
    text: str,
    source: str,
    metadata: str | None,
    images: list[str] | None,
    failure: list[Any] | None,
    _spent: Any,
    rest: dict[str, Any] | None = None,
) -> Document:
    document = Document(
        i,
        text,
        tuple(images or ()),
        jsontext.loads(metadata) if metadata else {},
        source,
        Failure(*failure) if failure else None,
    )
    if rest is None:
        return document
    if later := rest.keys() - {"file", "earlier", "arrival"}:
        raise StateError.of("a batch", f"{_VERSION} with another's {' and '.join(sorted(later))}", _READ)
    if "earlier" in rest:
        round_, attempts, is_open = rest["earlier"]
        document = replace(document, earlier=Earlier(round_, attempts, OpenRequest(*is_open) if is_open else None))
    if "arrival" in rest:
        document = replace(document, arrival=_arrival(*rest["arrival"]))
    return document.with_file(FileContent(*rest["file"])) if "file" in rest else document


def _arrival(event_time: int | None, window: list[int] | None, delivery: str) -> Arrival:
    return Arrival(event_time, (window[0], window[1]) if window else None, delivery)


def spent(blob: bytes) -> list[Spent]:
    """What each document of a batch has come to so far."""
    return [Spent(Usage(*row[6][:3]), row[6][3]) if row[6] else Spent() for row in _rows(blob)]


def merge(blobs: list[bytes]) -> bytes:
    """Several batches of one form as one, the order kept."""
    if len(blobs) == 1:
        return blobs[0]
    form = head(blobs[0]).form
    pairs = (pair for blob in blobs for pair in zip(decode(blob), head(blob).sizes, strict=True))
    return encode(pairs, form=form, spent=[one for blob in blobs for one in spent(blob)] if form else ())


def halves(blob: bytes) -> tuple[bytes, bytes]:
    """A batch of at least two documents as two."""
    count = len(head(blob).sizes)
    return select(blob, range(count // 2)), select(blob, range(count // 2, count))


def select(blob: bytes, positions: Iterable[int]) -> bytes:
    """A batch of some of the documents of another, in the order named."""
    known = head(blob)
    documents, before = decode(blob), spent(blob) if known.form else []
    chosen = list(positions)
    pairs = [(documents[position], known.sizes[position]) for position in chosen]
    return encode(pairs, form=known.form, spent=[before[position] for position in chosen] if before else ())


def _rows(blob: bytes) -> Any:
    _, count, length = _prefix(blob)
    plain = pa.Codec("zstd").decompress(blob[_PREFIX.size + 16 * count :], length, asbytes=True)
    return orjson.loads(plain)


def _counts(usage: Usage) -> tuple[int, int, int]:
    return usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens


def _prefix(blob: bytes) -> tuple[int, int, int]:
    version, form, count, length = _PREFIX.unpack_from(blob)
    if version not in _READ:
        raise StateError.of("a batch", version, _READ)
    return form, count, length
