"""References: documents that travel through the pipeline without their content, which is read from their file again.

Size and checksum show whether the file has changed meanwhile. Many files are read at once, because each small object of
a remote filesystem costs a round trip.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import open_input
from kimi_beam.input.encodings import NotTextError, text_of
from kimi_beam.input.told_by_content import kind_of
from kimi_beam.types import DeadLetter, Document, Failure, FileContent, Reply
from kimi_beam.wire import images
from kimi_beam.wire.size_limits import MAX_DOCUMENT_BYTES

WORTH_READING_TWICE = 16 << 10
"""Bytes from which on a document travels as a reference. Carrying 16 kB through a runner's shuffle and state costs
about as much CPU as opening a local file a second time."""

READ_AT_ONCE = 32


def with_content(path: str, content: bytes, *, encoding: str | None = None, may_be_read_again: bool = True) -> Document:
    """The document that a text or a picture is. Its id is the path.

    Args:
        path: The path of the file.
        content: All of its bytes.
        encoding: The encoding of a text that is in neither UTF-8 nor UTF-16; None if the user named none.
        may_be_read_again: Whether a large document may leave its content in the file.

    Raises:
        NotTextError: The file is neither a picture nor a text.
    """
    document = _document(path, content, encoding)
    if len(content) < WORTH_READING_TWICE or not may_be_read_again or encoding is not None:
        return document
    return document.with_file(FileContent(len(content), _checksum(content)))


def _document(path: str, content: bytes, encoding: str | None = None) -> Document:
    kind = kind_of(path, content)
    if kind is not None and kind.is_picture:
        return Document(path, "", (images.data_uri(content, kind.media_type),), source=path)
    return Document(path, text_of(content, encoding), source=path)


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def read_again(documents: Sequence[Document]) -> list[Document]:
    """Reads the files of references. Documents that hold their content stay as they are.

    Returns:
        The documents in the same order. If a file has changed or is gone, its document has the failure ``file_changed``
        and the present content. If a file cannot be read although it may exist, its document has the failure
        ``unreadable``.
    """
    references = [index for index, document in enumerate(documents) if document.is_reference]
    found = list(documents)
    # A reference without its `FileContent` would be sent as an empty text, and paid for.
    assert all(document.text or document.images or document.is_reference for document in documents), "an empty document"
    if references:
        with ThreadPoolExecutor(min(READ_AT_ONCE, len(references))) as pool:
            for index, document in zip(references, pool.map(_read, [documents[i] for i in references]), strict=True):
                found[index] = document
    return found


def split_unreadable(documents: Iterable[Document]) -> tuple[list[Document], list[Reply]]:
    """Separates documents from those that carry a failure, which become replies with that failure."""
    readable, replies = list[Document](), list[Reply]()
    for document in documents:
        if document.failure is None:
            readable.append(document)
        else:
            replies.append(Reply(replace(document, failure=None), document.failure))
    return readable, replies


def restored(letter: DeadLetter, document: Document) -> DeadLetter:
    """A dead letter with the content of its document, which was read again.

    Args:
        letter: The dead letter, whose document is a reference.
        document: The document that `read_again` gave. If it carries a failure, the dead letter says that its content is
            not what was sent.
    """
    trouble, failure = document.failure, letter.failure
    if trouble is not None and trouble.code != failure.code:
        message = f"{failure.message}; and what stands here is not what was sent: {trouble.message}"
        failure = replace(failure, message=message)
    return replace(letter, document=replace(document, failure=None), failure=failure)


def _read(document: Document) -> Document:
    path, before = document.source, document.file
    assert before is not None
    try:
        with open_input(path) as f:
            # The read is bounded, because the file may have grown beyond any size meanwhile.
            content = f.read(max(before.size, MAX_DOCUMENT_BYTES) + 1)
    except Exception as e:  # whatever a filesystem raises
        return replace(document, failure=_failure(path, e))
    failure = None
    if len(content) != before.size or _checksum(content) != before.checksum:
        failure = _file_changed(f"{path} has changed since it was first read")
    try:
        present = _document(path, content)
    except NotTextError:
        return replace(document, failure=failure)
    return replace(document, text=present.text, images=present.images, failure=failure)


def _failure(path: str, error: Exception) -> Failure:
    """The failure of a file that cannot be read again.

    The filesystem is asked whether the file is gone, because remote filesystems raise the same error for all troubles.
    """
    try:
        gone = isinstance(error, FileNotFoundError) or not FileSystems.exists(path)
    except Exception:  # whatever a filesystem raises
        gone = False
    if gone:
        return _file_changed(f"{path} has gone since it was first read")
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return Failure("read", "unreadable", f"cannot read {path} again: {reason}", retryable=True)


def _file_changed(message: str) -> Failure:
    return Failure("read", "file_changed", message, retryable=True)
