"""Makes documents of whole files: of texts and pictures as they are, of other kinds by their readers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from kimi_beam.input.document_of_content import document_of
from kimi_beam.input.encodings import NotTextError
from kimi_beam.input.fields import Reader, Reading, b64, failed
from kimi_beam.input.file_references import with_content
from kimi_beam.input.kinds import Kind
from kimi_beam.input.readers.content import Content, UnreadableError
from kimi_beam.input.reading_process import read_in_child
from kimi_beam.types import Code, Document, Failure


def documents_of_file(
    path: str, content: bytes, kind: Kind | None, reading: Reading, *, may_be_read_again: bool = True
) -> Iterator[Document]:
    """The document that a whole file is, with those that are attached to it.

    Args:
        path: Its path, which becomes the document's id.
        content: All of its bytes.
        kind: Its kind, of which a file is one document; None if it is of none that is read.
        reading: How files become documents.
        may_be_read_again: Whether a large document may leave its content in the file, because the path is a file's.
    """
    if reading.reader is not None and (own := _by_own_reader(reading.reader, path, content)) is not None:
        if isinstance(own, Content):
            own = document_of(path, path, own, _told(kind, content), reading.hidden_text)
        yield own
    elif kind is None:
        yield failed(path, path, unknown_kind(path))
    elif kind.reader is None:
        yield _as_it_is(path, content, reading, may_be_read_again)
    else:
        try:
            found = read_in_child(kind.reader, content, reading.options())
        except UnreadableError as e:
            yield failed(path, path, Failure("read", e.code, f"{path} {e.message}"))
            return
        yield document_of(path, path, found, _told(kind, content), reading.hidden_text)


def unknown_kind(path: str, fault: str = "is of a kind that cannot be read, told by its name and content") -> Failure:
    """The failure of a file of a kind that cannot be read.

    Args:
        path: The file.
        fault: What is wrong with it, in words that go on after its name.
    """
    return Failure("read", "unknown_kind", f"{path} {fault} (--skip-unknown passes over it)")


def _as_it_is(path: str, content: bytes, reading: Reading, may_be_read_again: bool) -> Document:
    try:
        return with_content(path, content, encoding=reading.encoding, may_be_read_again=may_be_read_again)
    except NotTextError as e:
        code: Code = "not_text" if e.is_other_kind else "not_utf8"
        return failed(path, path, Failure("read", code, f"{path} {e}", raw=b64(content)))


def _told(kind: Kind | None, content: bytes) -> dict[str, Any]:
    """What is known of a file beside its content: its media type, if its kind is known, and a checksum."""
    checksum = {"checksum": hashlib.blake2b(content, digest_size=16).hexdigest()}
    return checksum if kind is None else {"media_type": kind.media_type, **checksum}


def _by_own_reader(reader: Reader, path: str, content: bytes) -> Document | Content | None:
    """What the user's reader makes of a file: a document, perhaps with its failure, or None if the file is not its own.

    Its documents travel with their content, because nobody knows whether the reader gives the same once more.
    """
    try:
        read = reader(content, path)
    except Exception as e:  # a user's code raises anything, and only this file is lost by it
        reason = " ".join(str(e).split())[:300]
        message = f"{path}: the reader {_name(reader)} raised {type(e).__name__}{': ' if reason else ''}{reason}"
        return failed(path, path, Failure("read", "reader_failed", message, retryable=True))
    if read is None or isinstance(read, Content):
        return read
    if isinstance(read, str):
        return Document(path, read, source=path)
    if isinstance(read, Document):
        return read
    message = f"{path}: the reader {_name(reader)} gave a {type(read).__name__}, not a Document, a text, or None"
    return failed(path, path, Failure("read", "reader_failed", message))


def _name(reader: Reader) -> str:
    return str(getattr(reader, "__qualname__", type(reader).__name__))
