"""Makes the document of one whole file: of a text or a picture as it is, of another kind by its reader."""

from __future__ import annotations

import hashlib
from typing import Any

from kimi_beam.input.document_of_content import document_of
from kimi_beam.input.encodings import text_of
from kimi_beam.input.fields import Reading
from kimi_beam.input.kinds import PICTURES, Kind
from kimi_beam.input.picture_headers import is_sent_as_it_is
from kimi_beam.input.readers.content import DEFAULT_OPTIONS, Attachment
from kimi_beam.input.reading_process import read_in_child
from kimi_beam.types.document import Document
from kimi_beam.wire import images


def text_or_picture(
    document_id: str, source: str, content: bytes, kind: Kind | None, encoding: str | None = None
) -> Document:
    """The document that a text or a picture is.

    Args:
        document_id: Its id.
        source: The path of the file.
        content: All of its bytes.
        kind: Its kind. It is a text, if it is no picture.
        encoding: The encoding of a text that is in neither UTF-8 nor UTF-16; None if the user named none.

    Raises:
        NotTextError: The file is neither a picture nor a text.
    """
    if kind is not None and kind.is_picture:
        return Document(document_id, "", (images.data_uri(content, kind.media_type),), source=source)
    return Document(document_id, text_of(content, encoding), source=source)


def reader_of(kind: Kind | None, content: bytes) -> str | None:
    """The module that reads a file; None if it is a text, or a picture that is sent as it is.

    Args:
        kind: The kind of the file.
        content: All of its bytes.

    Raises:
        UnreadableError: It is a picture with too many pixels.
    """
    if kind is not None and kind.is_picture and not is_sent_as_it_is(content, DEFAULT_OPTIONS):
        return PICTURES
    return None if kind is None else kind.reader


def document_by_reader(
    document_id: str, source: str, content: bytes, kind: Kind, reading: Reading
) -> tuple[Document, tuple[Attachment, ...]]:
    """The document of a file that its kind's reader reads, in a process of its own, and what is attached to it.

    Args:
        document_id: Its id.
        source: The path of the file.
        content: All of its bytes.
        kind: Its kind, which has a reader (`reader_of`).
        reading: How files become documents.

    Raises:
        UnreadableError: The file cannot be read.
    """
    reader = reader_of(kind, content)
    assert reader is not None
    found = read_in_child(reader, content, reading.options())
    return document_of(document_id, source, found, told(kind, content), reading.hidden_text), found.attachments


def told(kind: Kind | None, content: bytes) -> dict[str, Any]:
    """What is known of a file beside its content: its media type, if its kind is known, and its checksum."""
    known = {"checksum": checksum_of(content)}
    return known if kind is None else {"media_type": kind.media_type, **known}


def checksum_of(content: bytes) -> str:
    """BLAKE2b of 128 bits in hexadecimal digits, which ``b2sum -l 128`` prints too."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
