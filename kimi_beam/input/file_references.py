"""Documents that travel as references: their files are looked at again, and are they still what they were?

Many at once, because small objects of a remote filesystem cost a round trip each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import open_input, uncompressed_name
from kimi_beam.input.encodings import NotTextError, text_of
from kimi_beam.types import DeadLetter, Document, Failure, FileContent, Reply
from kimi_beam.wire import images
from kimi_beam.wire.size_limits import MAX_DOCUMENT_BYTES

WORTH_READING_TWICE = 16 << 10
"""Bytes from which on a file is read again rather than carried along. Carrying 16 kB through a runner's shuffle and
state costs about as much CPU as opening a local file once more."""

READ_AT_ONCE = 32


def with_content(path: str, content: bytes) -> Document:
    """The document that a whole file is; its id is the path.

    Raises:
        NotTextError: It is neither a picture nor a text.
    """
    document = _document(path, content)
    if len(content) < WORTH_READING_TWICE:
        return document
    return document.with_file(FileContent(len(content), _checksum(content)))


def _document(path: str, content: bytes) -> Document:
    name = uncompressed_name(path)
    media_type = next((kind for suffix, kind in images.MEDIA_TYPES.items() if name.endswith(suffix)), None)
    if media_type is not None:
        return Document(path, "", (images.data_uri(content, media_type),), source=path)
    return Document(path, text_of(content), source=path)


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def read_again(documents: Sequence[Document]) -> list[Document]:
    """The documents with what is in their files; those that hold it already as they are.

    Returns:
        In the same order. One whose file has changed or gone has the failure ``file_changed``, and what the file holds
        now; one whose file cannot be read now, though it is there or may be there, ``unreadable``.
    """
    places = [index for index, document in enumerate(documents) if document.is_reference]
    found = list(documents)
    # A reference that lost its file on the way would be asked for as an empty text, and paid for.
    assert all(document.text or document.images or document.is_reference for document in documents), "an empty document"
    if places:
        with ThreadPoolExecutor(min(READ_AT_ONCE, len(places))) as pool:
            for index, document in zip(places, pool.map(_read, [documents[i] for i in places]), strict=True):
                found[index] = document
    return found


def split_unreadable(documents: Iterable[Document]) -> tuple[list[Document], list[Reply]]:
    """Parts the documents that could be read from the replies of those that could not."""
    whole, lost = list[Document](), list[Reply]()
    for document in documents:
        if document.failure is None:
            whole.append(document)
        else:
            lost.append(Reply(replace(document, failure=None), document.failure))
    return whole, lost


def restored(letter: DeadLetter, document: Document) -> DeadLetter:
    """A dead letter with its document as it was read again; where that is another or none, it says so."""
    trouble, failure = document.failure, letter.failure
    if trouble is not None and trouble.code != failure.code:
        told = f"{failure.message}; and what stands here is not what was sent: {trouble.message}"
        failure = replace(failure, message=told)
    return replace(letter, document=replace(document, failure=None), failure=failure)


def _read(document: Document) -> Document:
    path, known = document.source, document.file
    assert known is not None
    try:
        with open_input(path) as f:
            # It was no larger when it was first read. What it has become may be.
            content = f.read(max(known.size, MAX_DOCUMENT_BYTES) + 1)
    except Exception as e:  # whatever a filesystem raises
        return replace(document, failure=_trouble(path, e))
    failure = None
    if len(content) != known.size or _checksum(content) != known.checksum:
        failure = _changed(f"{path} has changed since it was first read")
    try:
        whole = _document(path, content)
    except NotTextError:
        return replace(document, failure=failure)
    return replace(document, text=whole.text, images=whole.images, failure=failure)


def _trouble(path: str, error: Exception) -> Failure:
    """A file that is gone, if the filesystem says so in as many words; a remote one raises alike for all it meets."""
    try:
        gone = isinstance(error, FileNotFoundError) or not FileSystems.exists(path)
    except Exception:  # whatever a filesystem raises
        gone = False
    if gone:
        return _changed(f"{path} has gone since it was first read")
    told = " ".join(str(error).split())[:300] or type(error).__name__
    return Failure("read", "unreadable", f"cannot read {path} again: {told}", retryable=True)


def _changed(told: str) -> Failure:
    return Failure("read", "file_changed", told, retryable=True)
