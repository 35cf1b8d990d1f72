"""Reads the documents of one part of a file: chooses by its kind how, and turns errors into documents that failed."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

from apache_beam.io.filesystem import BeamIOError

from kimi_beam.beam_extensions.document_coder import Documents
from kimi_beam.errors import KimiBeamError
from kimi_beam.files.compressed_files import compression_of, decompressed, is_compressed
from kimi_beam.files.local_listing import is_directory, is_special
from kimi_beam.files.paths import find, is_local, open_input
from kimi_beam.input import archives
from kimi_beam.input.fields import DEFAULT_READING, Reading, failed
from kimi_beam.input.file_documents import document_of_file, unknown_kind
from kimi_beam.input.file_parts import Part
from kimi_beam.input.file_references import ZipMember
from kimi_beam.input.finding import broken_link_message, is_broken_link, is_hidden_name
from kimi_beam.input.json_lines import read_line_blocks
from kimi_beam.input.kinds import ZIP, Kind, kind_by_name
from kimi_beam.input.parquet_rows import read_row_blocks
from kimi_beam.input.readers.content import Attachment, UnreadableError
from kimi_beam.input.skipped_files import pass_over
from kimi_beam.input.tables import read_table_blocks
from kimi_beam.input.told_by_content import HEAD_BYTES, binary_kind, is_told_by_all, kind_of
from kimi_beam.schema.jsontext import escape_surrogates, is_text
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Code, Failure

T = TypeVar("T")
_DEEPEST = 3
"""How many archives may stand one in another."""


class _Place(NamedTuple):
    """Where the content stands that is read."""

    stored_bytes: int = 0
    """The bytes that it takes there, perhaps compressed; 0 if that is not known."""
    depth: int = 0
    """In how many archives it is."""
    budget: archives.Budget | None = None
    """What may still be read of the outermost archive; None outside of archives."""
    member: ZipMember | None = None
    """The member of a file that it is, if it can be read once more as that."""
    name: str = ""
    """The file name that says its kind; empty if its path does."""
    source: str = ""
    """The file that it came in, if its path is no file's, as that of an attachment; else empty."""


_OF_FILESYSTEMS = (ConnectionError, TimeoutError, BeamIOError, KimiBeamError)
"""Errors that never come from a file."""
_OF_THE_FILE = frozenset(
    (errno.EIO, errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.ENODEV, errno.ENXIO, errno.EOVERFLOW, errno.ESTALE)
)
"""Numbers of errors by which this machine says that one file cannot be read, such as one on a bad block of a disk."""


def read_part(part: Part, reading: Reading = DEFAULT_READING) -> Iterator[Document]:
    """Reads the documents of one part. An error that ends the reading becomes a last document with its failure."""
    for block in read_blocks(part, reading):
        yield from block


def read_blocks(part: Part, reading: Reading = DEFAULT_READING) -> Iterator[Documents]:
    """Reads the documents of one part in blocks; see `read_part`. Files of unknown kinds are passed over, if wanted."""
    for block in read_as(part, reading, _read_file):
        if isinstance(block, Documents):
            yield block if is_text(part.path) else Documents.of(map(_named_in_text, block))
        elif reading.skip_unknown and block.failure is not None and block.failure.code == "unknown_kind":
            pass_over(block.id)
        else:
            yield Documents.of([block if is_text(part.path) else _named_in_text(block)])


def _named_in_text(document: Document) -> Document:
    """A document of a file whose name is not UTF-8, which stands in it with escapes.

    It travels with its content, because a worker could not find the file by that name.
    """
    failure, name, source = document.failure, escape_surrogates(document.id), escape_surrogates(document.source)
    if failure is not None:
        failure = replace(failure, message=escape_surrogates(failure.message))
    return replace(document, id=name, source=source, failure=failure)


def read_as(
    part: Part, reading: Reading, read: Callable[[BinaryIO, Part, Reading], Iterator[T | Document]]
) -> Iterator[T | Document]:
    """Reads one part of a file. An error that ends the reading becomes a last document with its failure.

    Args:
        part: The part to read.
        reading: How its content becomes documents.
        read: Reads the values of the part from the opened file.
    """
    done = 0
    try:
        with open_input(part.path) as f:
            for value in read(f, part, reading):
                yield value
                done += len(value) if isinstance(value, Documents) else 1
    except Exception as e:  # filesystems, decompressors and damaged files raise errors of all kinds
        if _is_of_filesystem(e, part.path) and not is_broken_link(part.path):
            if isinstance(e, OSError) and e.errno is not None and e.filename is None:
                e.filename = part.path  # "input/output error" alone does not say of which file
            raise  # the file itself may be good: the runner reads the part again, or the job fails and says why
        yield _ended(part, e, done)


def _ended(part: Part, error: Exception, done: int) -> Document:
    """The document that says why the reading of a part has ended after so many documents."""
    path = part.path
    if is_local(path) and is_special(path):
        return failed(path, path, unknown_kind(path, "is no file, but a named pipe, a socket or a device"))
    after = f" after {done} documents" if done else ""
    if is_broken_link(path) or is_directory(path):
        fault = broken_link_message(path) if is_broken_link(path) else "the directory may not be looked into"
        message = f"cannot read {path}: {fault}"
        return failed(path, path, Failure("read", "unreadable", message, retryable=True))
    kind = kind_by_name(path)
    is_whole = (part.start, part.stop) == (0, None)
    is_one = kind is None or kind.form == "document" or (kind.form in ("archive", "table") and is_whole)
    document_id = path if is_one else f"{path}#{part.start}-"
    if isinstance(error, UnreadableError):
        return failed(document_id, path, Failure("read", error.code, f"{path} {error.message}{after}"))
    message = f"cannot read {path}{after}: {' '.join(str(error).split())[:300] or type(error).__name__}"
    return failed(document_id, path, Failure("read", "unreadable", message, retryable=isinstance(error, OSError)))


def _is_of_filesystem(error: Exception, path: str) -> bool:
    """Whether an error comes from the filesystem and not from the file, whose documents must not be given up then."""
    if isinstance(error, _OF_FILESYSTEMS):
        return True
    # An OSError shows a fault of the filesystem only for plain files. Decompressors and Parquet raise it as well, for a
    # damaged file.
    kind = kind_by_name(path)
    plain = not is_compressed(path) and (kind is None or kind.form not in ("parquet", "archive"))
    of_the_file = (FileNotFoundError, PermissionError, IsADirectoryError)
    if not plain or not isinstance(error, OSError) or isinstance(error, of_the_file):
        return False
    return not (is_local(path) and error.errno in _OF_THE_FILE)


# ------------------------------------------------------------------------------------------------ by kind

_Found = Iterator[Documents | Document]


def _read_file(f: BinaryIO, part: Part, reading: Reading) -> _Found:
    return _read(f, part, reading, _Place())


def _read(f: BinaryIO, part: Part, reading: Reading, place: _Place) -> _Found:
    """Reads content by its kind."""
    kind = kind_by_name(place.name or part.path)
    if part.start == 0 and (kind is None or kind.form == "document" or _is_of_another_kind(f, kind)):
        return _read_whole(f, part, reading, place)
    assert kind is not None, "only a file of a kind that can be cut has a second part"
    return _read_by_form(f, kind, part, reading, place)


def _is_of_another_kind(f: BinaryIO, kind: Kind) -> bool:
    """Whether a file's first bytes are of a binary kind, and not of the one that its name says."""
    if hasattr(f, "peek"):
        head = bytes(f.peek(HEAD_BYTES)[:HEAD_BYTES])
    else:
        head = f.read(HEAD_BYTES)
        f.seek(0)
    found = binary_kind(head, kind)
    return found is not None and found is not kind


def _read_by_form(f: BinaryIO, kind: Kind, part: Part, reading: Reading, place: _Place) -> _Found:
    """Reads content that holds many documents."""
    if kind.form == "lines":
        return read_line_blocks(f, part, reading, may_be_read_again=not place.depth)
    if kind.form == "table":
        return read_table_blocks(f, part, reading)
    if place.depth and (kind.form == "parquet" or kind is ZIP):
        content = f.read(reading.max_document_bytes + 1)  # both are read from their end, so all of it is needed
        if len(content) > reading.max_document_bytes:
            return iter([failed(part.path, part.path, reading.too_large(f"{part.path}, in an archive,", content))])
        f = io.BytesIO(content)
    if kind.form == "parquet":
        return read_row_blocks(f, part, reading)
    if kind is ZIP and (part.start, part.stop) == (0, None) and archives.is_office_file(f):
        return _read_whole(f, part, reading, place)
    return _read_archive(f, kind, part, reading, place)


def _read_whole(f: BinaryIO, part: Part, reading: Reading, place: _Place) -> _Found:
    """Reads content that is one document by its name, or whose name does not say what it is."""
    path, bound = part.path, reading.max_document_bytes
    name, source = place.name or path, place.source or path
    content = f.read(min(HEAD_BYTES, bound + 1))
    if reading.reader is None and _is_of_no_kind(name, content, reading):
        yield failed(path, source, unknown_kind(path))  # however large it is, no more of it is read
        return
    content += f.read(bound + 1 - len(content))
    kind = kind_of(name, content, reading.encoding)
    is_one = kind is None or kind.form == "document"
    if len(content) > bound:
        if is_one or place.depth or is_compressed(path):
            yield failed(path, source, reading.too_large(path, content))
            return
        f.seek(0)
    if kind is None or is_one:
        may_be_read_again = not place.depth or place.member is not None
        document, attachments = document_of_file(
            path, source, content, kind, reading, may_be_read_again=may_be_read_again, member=place.member
        )
        yield document
        yield from _read_attachments(document, attachments, reading, place)
        return
    yield from _read_by_form(f if len(content) > bound else io.BytesIO(content), kind, part, reading, place)


def _is_of_no_kind(name: str, head: bytes, reading: Reading) -> bool:
    """Whether the first bytes of a file suffice to see that it is of no kind that is read."""
    return kind_by_name(name) is None and not is_told_by_all(head) and kind_of(name, head, reading.encoding) is None


# ------------------------------------------------------------------------------------------------ attachments


def _read_attachments(
    parent: Document, attachments: Sequence[Attachment], reading: Reading, place: _Place
) -> Iterator[Document]:
    """Reads the files in a file, such as the attachments of a mail, each by its own kind.

    Their documents have the id ``PARENT#NUMBER``, and name the parent and the file in their metadata. They travel with
    their content, because only the whole parent could be read again.
    """
    budget = place.budget or archives.budget_of(sum(len(attachment.content) for attachment in attachments))
    depth = place.depth + 1
    for number, attachment in enumerate(attachments, 1):
        document_id, content = f"{parent.id}#{number}", attachment.content
        inside = _Place(len(content), depth, budget, name=attachment.name, source=parent.source)
        try:
            if depth > _DEEPEST:
                message = f"is a file in a file, {depth} deep, and {_DEEPEST} are read at most"
                raise UnreadableError("nested_too_deep", message)
            budget.take_member()
            for found in _read_member(io.BytesIO(content), document_id, reading, inside):
                for document in found if isinstance(found, Documents) else (found,):
                    yield _attached(document, parent.id, attachment)
        except UnreadableError as e:  # of the whole budget too: each attachment is a document that says so
            failure = Failure("read", e.code, f"{document_id} {e.message}")
            yield _attached(failed(document_id, parent.source, failure), parent.id, attachment)


def _attached(document: Document, parent: str, attachment: Attachment) -> Document:
    """A document of an attachment with the id of its parent and its own file name, unless it is of one within it."""
    metadata = {"parent": escape_surrogates(parent), "name": attachment.name, **document.metadata}
    return replace(document, metadata=metadata)


# ------------------------------------------------------------------------------------------------ archives


def _read_archive(f: BinaryIO, kind: Kind, part: Part, reading: Reading, place: _Place) -> _Found:
    """Reads the members of an archive, each by its own kind. Hidden ones are passed over, as hidden files are."""
    depth = place.depth + 1
    if depth > _DEEPEST:
        message = f"is an archive in an archive, {depth} deep, and {_DEEPEST} are read at most: unpack it yourself"
        raise UnreadableError("nested_too_deep", message)
    stored = place.stored_bytes if place.depth else _size_of(f, part.path)
    budget = place.budget or archives.budget_of(stored)
    if kind is ZIP:
        members = archives.zip_members(f, reading.options().password, part.start, part.stop)
    else:
        members = archives.tar_members(f, stored)
    for member in members:
        name = escape_surrogates(member.name).removeprefix("./").lstrip("/")
        if is_hidden_name(name):
            continue
        budget.take_member()
        path = f"{part.path}!/{name}"
        if member.content is None:
            assert member.failure is not None
            yield failed(path, path, Failure("read", member.failure.code, f"{path} {member.failure.message}"))
            continue
        known = None
        if member.position is not None and not place.depth and compression_of(path) is None:
            known = ZipMember(part.path, member.position)
        yield from _read_member(member.content, path, reading, _Place(member.stored_bytes, depth, budget, known))


def _read_member(content: BinaryIO, path: str, reading: Reading, place: _Place) -> _Found:
    """Reads one file in another. An error becomes a last document with its failure, so that the next file is read."""
    assert place.budget is not None
    done = 0
    try:
        for value in _read(_opened(content, path, place), Part(path), reading, place):
            yield value
            done += len(value) if isinstance(value, Documents) else 1
    except UnreadableError as e:
        if place.budget.is_used_up:
            raise
        yield _broken_off(path, place, done, e.code, e.message)
    except _OF_FILESYSTEMS:
        raise
    except Exception as e:  # damaged files raise errors of all kinds
        after = f" after {done} documents" if done else ""
        message = f"is damaged{after}: {' '.join(str(e).split())[:300] or type(e).__name__}"
        yield _broken_off(path, place, done, "damaged", message)


def _opened(content: BinaryIO, path: str, place: _Place) -> BinaryIO:
    """The content of a file in another, decompressed if its name says that it is compressed.

    An attachment is in memory already, so that only what it unpacks to is counted.
    """
    assert place.budget is not None
    if (compression := compression_of(place.name or path)) is not None:
        own_budget = archives.budget_of_member(place.stored_bytes)
        content = cast(BinaryIO, archives.Metered(decompressed(content, compression), own_budget))
    elif place.name:
        return content
    return cast(BinaryIO, archives.Metered(content, place.budget))


def _broken_off(path: str, place: _Place, done: int, code: Code, message: str) -> Document:
    """The document that says why the reading of a file in another has ended after so many documents."""
    failure = Failure("read", code, f"{path} {message}")
    return failed(f"{path}#0-" if done else path, place.source or path, failure)


def _size_of(f: Any, path: str) -> int:
    """The bytes that a file takes, compressed as it is."""
    if is_compressed(path):
        return next((found.size for found in find(path)), 0)
    size: int = f.seek(0, 2)
    f.seek(0)
    return size
