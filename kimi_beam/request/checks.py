"""Checks of documents before anything is paid for: whether each can be sent, and whether its id is the only one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import orjson

from kimi_beam.columnar import Documents
from kimi_beam.ids import id_text
from kimi_beam.request import batches
from kimi_beam.request.batches import IN_PARTS, NO_KEY, Item, Row
from kimi_beam.request.document_bytes import AROUND, DocumentBytes
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import jsontext
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.wire import images, size_limits

KeyOf: TypeAlias = "Callable[[DocumentBytes, int], bytes]"
"""Gives a document's key in the journal, from the bytes that the model is shown of it and its round."""


def prepare(document: Document, prompt: Prompt, key_of: KeyOf = lambda _shown, _round: NO_KEY) -> Item:
    """Checks a document before anything is paid for.

    Args:
        document: The document as it was read.
        prompt: How it will be asked.
        key_of: Gives its key in the journal.

    Returns:
        The document, with the bytes of its request. If it cannot be sent, it has a failure and 0 bytes.
    """
    if type(document.id) is not str and (key := id_text(document.id)) is not None:
        document = _with_id(document, key)
    is_plain = type(document.text) is str and type(document.id) is str and document.id and document.images == ()
    failure = document.failure or (None if is_plain else _mistyped(document))
    size = 0
    if failure is None and document.images:
        document = _with_images_by_content(document)
    if failure is None:
        try:
            shown = prompt.shown(document)
            size = prompt.overhead + shown.size
            document.id.encode()
            document.source.encode()
        except (TypeError, UnicodeEncodeError):
            message = "the id, text or source holds half a surrogate pair, which is no text: leave it out"
            failure = Failure("prompt", "not_utf8", message)
        else:
            failure = unsendable(document)
            if failure is None and _is_in_parts(document, size, prompt):
                return Item(document, size, IN_PARTS)
            failure = failure or _too_large(document, size, prompt)
    if failure is None:
        return Item(document, size, key_of(shown, document.earlier.question))
    i, text, source = (
        jsontext.escape_surrogates(_str(value)) for value in (document.id, document.text, document.source)
    )
    uris = document.images if isinstance(document.images, (tuple, list)) else ()
    pictures = tuple(jsontext.escape_surrogates(_str(uri)) for uri in uris)
    failure = replace(failure, message=jsontext.escape_surrogates(failure.message))
    metadata, arrival, earlier = document.metadata, document.arrival, document.earlier
    layout = document.layout if text == document.text else None
    part, redacted = document.part, document.redacted
    failed = Document(i, text, pictures, metadata, source, failure, arrival, earlier, layout, part, redacted)
    return Item(failed, 0)


def prepare_texts(documents: Documents, prompt: Prompt, key_of: KeyOf) -> list[Row | None]:
    """Checks documents that are only a text, as `prepare` does, but without making a `Document` of each.

    Args:
        documents: The documents as they were read.
        prompt: How they will be asked.
        key_of: Gives a document's key in the journal.

    Returns:
        For each document its row of a batch; None if it needs `prepare`, because it is more than a text or may fail.
    """
    if prompt.metadata_keys:  # the model is shown metadata too, which only `prepare` adds
        return [None] * len(documents)
    others, overhead, most = documents.others, prompt.overhead, size_limits.HARD_MAX_BYTES
    of_inner = DocumentBytes.of_inner
    if prompt.room is not None:
        most = min(most, overhead + AROUND + prompt.room)
    rows: list[Row | None] = []
    rule = prompt.split_rule
    if rule.whole_bytes is not None:
        most = min(most, overhead + AROUND + rule.whole_bytes)
    for index, (i, text, source) in enumerate(zip(documents.ids, documents.texts, documents.sources, strict=True)):
        if index in others or not type(text) is type(i) is str or not i or not text or text.isspace() or "\0" in text:
            rows.append(None)
            continue
        try:
            source.encode()
            inner = orjson.dumps(text)[1:-1]
            digest = batches.digest(i)
        except (TypeError, UnicodeEncodeError):  # half a surrogate pair
            rows.append(None)
            continue
        shown = of_inner(inner)
        size = overhead + shown.size
        is_whole = size <= most and not rule.may_have_many_rows(inner)
        rows.append((i, inner, source, size, digest, key_of(shown, 0), None) if is_whole else None)
    return rows


def _with_id(document: Document, key: str) -> Document:
    other = replace(document, id=key)
    return other if document.file is None else other.with_file(document.file)


def _with_images_by_content(document: Document) -> Document:
    """The document with the true media type in each data URI, so that a PNG named .jpg is sent as a PNG."""
    pictures = tuple(map(images.with_true_media_type, document.images))
    return document if pictures == tuple(document.images) else replace(document, images=pictures)


def _mistyped(document: Document) -> Failure | None:
    """The failure of a document with values of wrong types, as one made from a database's row may have; else None."""
    if not isinstance(document.id, str) or not document.id:
        return Failure("prompt", "missing_id", f"the id is {document.id!r:.100}, not a string that names the document")
    if not isinstance(document.text, str):
        return Failure("prompt", "missing_text", f"the text is of type {type(document.text).__name__}, not a string")
    if not isinstance(document.images, (tuple, list)):
        return Failure("prompt", "bad_image", f"the images are of type {type(document.images).__name__}, not a tuple")
    if not all(isinstance(uri, str) for uri in document.images):
        return Failure("prompt", "bad_image", "images are data URIs, and one of these is no string")
    return None


def _str(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _is_in_parts(document: Document, size: int, prompt: Prompt) -> bool:
    """Whether a document that can be sent is asked for in parts."""
    if document.part is not None or any(len(uri) > size_limits.HARD_MAX_BYTES for uri in document.images):
        return False
    limits = prompt.split_rule.limits(document.text, size, document.picture_count)
    return bool(document.earlier.parts) or limits is not None


def unsendable(document: Document) -> Failure | None:
    """Why a document with values of the right types cannot be sent; None if it can."""
    if (not document.text or document.text.isspace()) and not document.images:
        return Failure("prompt", "empty_document", "the document has no text")
    if "\0" in document.text and document.text.count("\0") * 3 >= len(document.text):
        nuls = "a NUL stands beside each letter of the text: it is UTF-16 or UTF-32 that was read as UTF-8"
        return Failure("prompt", "not_utf8", nuls)
    for number, uri in enumerate(document.images, 1):
        if problem := images.problem(uri):
            return Failure("prompt", "bad_image", f"image {number}: {problem}")
    return None


def _too_large(document: Document, size: int, prompt: Prompt) -> Failure | None:
    """Why a document is too large to be sent, and cannot be divided either; None if it is not."""
    if size > size_limits.HARD_MAX_BYTES:
        message = f"its request of {size} bytes exceeds {size_limits.HARD_MAX_BYTES}, the most that a job may hold"
        return Failure("prompt", "too_large", message)
    if problem := prompt.exceeds_window(document.text):
        return Failure("prompt", "too_large", problem)
    return None


def separate(blobs: Sequence[bytes], *, compare: bool = True) -> tuple[list[bytes], list[Reply]]:
    """Separates the batches that can be sent from the documents that cannot.

    Args:
        blobs: All batches of a shard.
        compare: Whether all documents with the same id are refused. Deliveries of a stream with different names are
            excepted. False for unbounded input, where a shard is never complete and ids cannot be compared.

    Returns:
        The batches to send, and a reply for each document that failed before it could be sent.
    """
    twice = _repeated(blobs) if compare else frozenset[int]()
    twice -= _with_different_deliveries(blobs, twice)
    sendable: list[bytes] = []
    failed: list[Reply] = []
    for blob in blobs:
        head = batches.head(blob)
        if not head.failed and twice.isdisjoint(head.digests):
            sendable.append(blob)
            continue
        keep = []
        for item, digest in zip(batches.items(blob), head.digests, strict=True):
            document, failure = item.document, item.document.failure
            if digest in twice:
                first = f"{failure.message}; and " if failure else ""
                failure = Failure("prompt", "duplicate_id", f"{first}more than one document has the id {document.id!r}")
            if failure is None:
                keep.append(item)
            else:
                failed.append(Reply(document, failure))
        if keep:
            sendable.append(batches.encode(keep))
    return sendable, failed


def _repeated(blobs: Sequence[bytes]) -> frozenset[int]:
    """Digests of the ids that more than one document has."""
    digests = [digest for blob in blobs for digest in batches.head(blob).digests]
    if len(set(digests)) == len(digests):
        return frozenset()
    return frozenset(digest for digest, count in Counter(digests).items() if count > 1)


def _with_different_deliveries(blobs: Sequence[bytes], twice: frozenset[int]) -> frozenset[int]:
    """Digests of the ids whose documents are different deliveries of a stream, and so are no duplicates."""
    deliveries: dict[int, list[str]] = {}
    for blob in blobs:
        digests = batches.head(blob).digests
        if twice.isdisjoint(digests):
            continue
        for document, digest in zip(batches.decode(blob), digests, strict=True):
            if digest in twice:
                name = document.arrival.delivery if document.arrival is not None else ""
                deliveries.setdefault(digest, []).append(name)
    return frozenset(i for i, names in deliveries.items() if all(names) and len(set(names)) == len(names))
