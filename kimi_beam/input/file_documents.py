"""Makes documents of whole files: of texts and pictures as they are, of other kinds by their readers."""

from __future__ import annotations

from dataclasses import replace

from kimi_beam.errors import AccountError
from kimi_beam.input.document_of_content import document_of
from kimi_beam.input.document_of_file import document_by_reader, reader_of, text_or_picture, told
from kimi_beam.input.encodings import NotTextError
from kimi_beam.input.fields import Reader, Reading, b64, failed
from kimi_beam.input.file_references import ZipMember, with_reference
from kimi_beam.input.imported_reader import ImportedReader
from kimi_beam.input.kinds import Kind, instead_of
from kimi_beam.input.readers.content import Attachment, Content, UnreadableError
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Code, Failure


def document_of_file(
    document_id: str,
    path: str,
    content: bytes,
    kind: Kind | None,
    reading: Reading,
    *,
    may_be_read_again: bool = True,
    member: ZipMember | None = None,
) -> tuple[Document, tuple[Attachment, ...]]:
    """The document that a whole file is, perhaps with its failure, and what is attached to it.

    Args:
        document_id: The document's id.
        path: The path of the file.
        content: All of its bytes.
        kind: Its kind, of which a file is one document; None if it is of none that is read.
        reading: How files become documents.
        may_be_read_again: Whether a large document may leave its content in the file, because the path is a file's.
        member: The member of a zip that it is, if the path is not a file's but may be read again all the same.
    """
    if reading.reader is not None and (own := _by_own_reader(reading.reader, document_id, path, content)) is not None:
        if isinstance(own, Content):
            document = document_of(document_id, path, own, told(kind, content), reading.hidden_text)
            return document, own.attachments
        return own, ()
    if kind is None:
        return failed(document_id, path, unknown_kind(document_id)), ()
    attachments: tuple[Attachment, ...] = ()
    try:
        if reader_of(kind, content) is None:
            document = text_or_picture(document_id, path, content, kind, reading.encoding)
        else:
            document, attachments = document_by_reader(document_id, path, content, kind, reading)
    except NotTextError as e:
        code: Code = "not_text" if e.is_other_kind else "not_utf8"
        return failed(document_id, path, Failure("read", code, f"{document_id} {e}", raw=b64(content))), ()
    except UnreadableError as e:
        return failed(document_id, path, Failure("read", e.code, f"{document_id} {e.message}")), ()
    if may_be_read_again and document.failure is None:
        document = with_reference(document, content, kind, reading, member)
    return document, attachments


def unknown_kind(path: str, fault: str = "is of a kind that cannot be read, told by its name and content") -> Failure:
    """The failure of a file of a kind that cannot be read.

    Args:
        path: The file.
        fault: What is wrong with it, in words that go on after its name.
    """
    advice = instead_of(path)
    return Failure(
        "read", "unknown_kind", f"{path} {fault}{f': {advice}' if advice else ''} (--skip-unknown passes over it)"
    )


def _by_own_reader(reader: Reader, document_id: str, path: str, content: bytes) -> Document | Content | None:
    """What the user's reader makes of a file: a document, perhaps with its failure, or None if the file is not its own.

    Its documents travel with their content, because nobody knows whether the reader gives the same once more.
    """
    try:
        read = reader(content, path)
    except AccountError:  # no other file would fare better, and nothing is wrong with this one
        raise
    except UnreadableError as e:
        return failed(document_id, path, Failure("read", e.code, f"{document_id} {e.message}", retryable=True))
    except Exception as e:  # a user's code raises anything, and only this file is lost by it
        reason = " ".join(str(e).split())[:300]
        message = f"{document_id}: the reader {_name(reader)} raised {type(e).__name__}{': ' if reason else ''}{reason}"
        return failed(document_id, path, Failure("read", "reader_failed", message, retryable=True))
    if read is None or isinstance(read, Content):
        return read
    if isinstance(read, str):
        return Document(document_id, read, source=path)
    if isinstance(read, Document):
        return read if read.source else replace(read, source=path)
    message = f"{document_id}: the reader {_name(reader)} gave a {type(read).__name__}, not a Document, a text, or None"
    return failed(document_id, path, Failure("read", "reader_failed", message))


def _name(reader: Reader) -> str:
    if isinstance(reader, ImportedReader):
        return reader.name
    return str(getattr(reader, "__qualname__", type(reader).__name__))
