"""References: documents that travel through the pipeline without their content, which is read from their file again.

Size and checksum show whether the file has changed meanwhile. Many files are read at once, because each small object of
a remote filesystem costs a round trip.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import BinaryIO, NamedTuple

from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import open_input
from kimi_beam.input.archives import read_member
from kimi_beam.input.document_of_file import checksum_of, document_by_reader, reader_of, text_or_picture
from kimi_beam.input.encodings import NotTextError, utf8_line
from kimi_beam.input.fields import DEFAULT_READING, Reading, from_fields
from kimi_beam.input.kept_readings import FileKey, ReadFile, of_this_process
from kimi_beam.input.kinds import Kind
from kimi_beam.input.readers.content import UnreadableError
from kimi_beam.input.told_by_content import kind_of
from kimi_beam.results.shown_rows import may_show_rows
from kimi_beam.schema import jsontext
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document, FileContent
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.wire.size_limits import MAX_DOCUMENT_BYTES

WORTH_READING_TWICE = 16 << 10
"""Bytes from which on a text or picture travels as a reference. Carrying 16 kB through a runner's shuffle and state
costs about as much CPU as opening a local file a second time."""
_WORTH_A_READER = 256 << 10
"""Bytes of text from which on a file is read by its reader a second time, which costs several milliseconds a page."""
_PICTURE_WEIGHT = 4
"""A byte of a picture counts for so many of text, which compresses."""

READ_AT_ONCE = 32
_SETTINGS = ("pages", "hidden_text", "encoding", "password_from", "keep_boxes")
"""The settings of a `Reading` that decide how a file becomes a document. The password itself is not among them."""


class JsonLine(NamedTuple):
    """Where a document's line is, and which of its keys make the document."""

    position: int
    """Where it begins in the file, in bytes."""
    id_field: str
    text_field: str


class ZipMember(NamedTuple):
    """Where a document's file is, if it is a member of a zip."""

    archive: str
    """The path of the zip."""
    position: int
    """The index of the member in its directory."""


def with_reference(
    document: Document, content: bytes, kind: Kind | None, reading: Reading, member: ZipMember | None = None
) -> Document:
    """The document with the fingerprint of its file, if it is worth reading twice; else the document itself.

    Args:
        document: The document of a file, and of nothing else in it. Its source is the path.
        content: All bytes of the file.
        kind: The kind of the file.
        reading: How the file became the document.
        member: The member of a zip that the file is; None if the document's source is a file of its own.
    """
    if reader_of(kind, content) is None:
        if len(content) < WORTH_READING_TWICE:
            return document
        how = "" if reading.encoding is None and member is None else _as_text(reading, member)
    else:
        boxes = document.layout.boxes if document.layout is not None else None
        weight = len(document.text) + len(boxes or b"") + _PICTURE_WEIGHT * sum(map(len, document.images))
        if weight < _WORTH_A_READER:
            return document
        how = _as_text(reading, member)
    file = FileContent(
        len(content),
        checksum_of(content),
        pictures=len(document.images),
        reading=how,
        shows_rows=may_show_rows(document.text),
    )
    return document.with_file(file)


def line_fingerprint(document: Document, line: bytes, position: int, reading: Reading) -> FileContent:
    """The fingerprint of a line of JSON.

    Args:
        document: The document that it is.
        line: Its bytes in the file.
        position: Where it begins.
        reading: How it became the document.
    """
    place = JsonLine(position, reading.id_field, reading.text_field)
    return FileContent(
        len(line),
        checksum_of(line),
        pictures=len(document.images),
        reading=_as_text(reading, place),
        shows_rows=may_show_rows(document.text),
    )


def _as_text(reading: Reading, place: ZipMember | JsonLine | None) -> str:
    """The settings of a reading that are not the usual ones, and the member or line that was read, as JSON."""
    settings = {name: getattr(reading, name) for name in _SETTINGS}
    unusual = {name: value for name, value in settings.items() if value != getattr(DEFAULT_READING, name)}
    named = {} if place is None else {"line" if isinstance(place, JsonLine) else "member": place}
    return json.dumps({**unusual, **named})


def _from_text(how: str) -> tuple[Reading, ZipMember | JsonLine | None]:
    settings = json.loads(how or "{}")
    member, line = settings.pop("member", None), settings.pop("line", None)
    reading = Reading(**settings)
    if line is not None:
        place = JsonLine(*line)
        return replace(reading, id_field=place.id_field, text_field=place.text_field), place
    return reading, None if member is None else ZipMember(*member)


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
    reading, place = _from_text(before.reading)
    file = place.archive if isinstance(place, ZipMember) else path
    try:
        with open_input(file) as f:
            content = _content(f, place, before.size)
    except UnreadableError as e:
        return replace(document, failure=_file_changed(f"{file} has changed since it was first read: it {e.message}"))
    except Exception as e:  # whatever a filesystem raises
        return replace(document, failure=_failure(file, e))
    failure = None
    checksum = checksum_of(content)
    if len(content) != before.size or checksum != before.checksum:
        failure = _file_changed(f"{path} has changed since it was first read")
    try:
        present = _made_again(document, content, checksum, reading, place)
    except NotTextError:
        return replace(document, failure=failure)
    except UnreadableError as e:
        return replace(document, failure=failure or Failure("read", e.code, f"{path} {e.message}", retryable=True))
    return replace(document, text=present.text, images=present.images, layout=present.layout, failure=failure)


def _content(f: BinaryIO, place: ZipMember | JsonLine | None, size: int) -> bytes:
    """The bytes that a document was made of, or those that stand in their place now."""
    if isinstance(place, JsonLine):
        f.seek(place.position)
        return f.read(size)
    most = max(size, MAX_DOCUMENT_BYTES) + 1  # the file may have grown beyond any size meanwhile
    return f.read(most) if place is None else read_member(f, place.position, most)


def _made_again(
    document: Document, content: bytes, checksum: str, reading: Reading, place: ZipMember | JsonLine | None
) -> Document:
    if isinstance(place, JsonLine):
        line = content if reading.encoding is None else utf8_line(content, reading.encoding)
        return _of_line(line, document, reading)
    kind = kind_of(document.source, content, reading.encoding)
    if kind is None or reader_of(kind, content) is None:
        return text_or_picture(document.id, document.source, content, kind, reading.encoding)
    return _by_reader(document, content, checksum, kind, reading)


def _by_reader(document: Document, content: bytes, checksum: str, kind: Kind, reading: Reading) -> Document:
    assert document.file is not None
    kept, key = of_this_process(), FileKey(checksum, kind.suffix, document.file.reading)
    if (known := kept.get(key)) is not None:
        return replace(document, text=known.text, images=known.images, layout=known.layout)
    found = document_by_reader(document.id, document.source, content, kind, reading)[0]
    kept.keep(key, ReadFile(found.text, found.images, found.layout))
    return found


def _of_line(line: bytes, document: Document, reading: Reading) -> Document:
    """The document of a line of JSON. That no key is repeated was seen when it was first read, if it is unchanged."""
    try:
        fields = jsontext.loads(line)
    except ValueError as e:
        raise UnreadableError("not_json", f"has another line in its place: {e}") from None
    found = from_fields(
        fields if isinstance(fields, dict) else {}, document.source, line, reading, default_id=document.id
    )
    failure = found if isinstance(found, Failure) else found.failure
    if failure is not None:
        raise UnreadableError(failure.code, f"has another line in its place: {failure.message}")
    assert isinstance(found, Document)
    return found


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
