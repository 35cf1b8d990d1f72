"""`ReadDocuments`: reads files into documents. What cannot be read becomes a document that carries its failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError

from kimi_beam.beam_extensions.document_coder import Documents, can_pass_blocks
from kimi_beam.errors import InputError, KimiBeamError
from kimi_beam.files.compression import is_compressed
from kimi_beam.files.paths import find, is_local, normal, open_input
from kimi_beam.input.encodings import NotTextError
from kimi_beam.input.fields import DEFAULT_READING, Reader, Reading, b64, failed
from kimi_beam.input.file_parts import KINDS, LINES, WHOLE, Part, find_parts, kind_of
from kimi_beam.input.file_references import with_content
from kimi_beam.input.finding import broken_link_message, check_links, file_pattern, find_inputs, is_broken_link
from kimi_beam.input.json_lines import read_line_blocks
from kimi_beam.input.parquet_rows import read_row_blocks
from kimi_beam.input.readers.content import HiddenTextPolicy, PageChoice
from kimi_beam.types import Code, Document, Failure
from kimi_beam.wire.size_limits import MAX_DOCUMENT_BYTES

T = TypeVar("T")
_NAMED_FILES = 5
"""How many files of unreadable kinds an error message names."""


@beam.typehints.with_output_types(Document)
class ReadDocuments(beam.PTransform):
    """Reads documents from files, found by paths, directories and globs on any filesystem that Beam knows.

    ``PBegin -> PCollection[Document]``

    A ``.txt`` or ``.md`` file or a picture (``.png``, ``.jpg``, ``.webp``, ``.gif``) is one document, whose id is the
    path as matched. A line of a ``.jsonl`` or a row of a ``.parquet`` is one document with the keys ``id`` and
    ``text``, or ``images``, a list of data URIs; all other keys become its metadata. Texts and lines may be compressed
    (``.gz``, ``.bz2``, ``.xz``, ``.zst``). A file that cannot be read becomes a `Document` that carries its `Failure`,
    and so does a line or row, with the id ``PATH#LINE``.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | kb.ReadDocuments(["in/*.txt", "in/more.jsonl"])
        ...     _ = documents | beam.Map(lambda document: print(document.id, document.text, document.metadata))
        in/receipt-1.txt Total: 24.80 {}
        receipt-2 Total: 3.10 {'shop': 7}

    Args:
        patterns: A path, a directory (all files below it) or a glob, or several. A file that two of them match is read
            once. Hidden files, whose name begins with a dot or an underscore, are passed over unless they are named.
        limit: The most documents that are read, the first by path and position. None: all.
        id_field: The key of a line, or the column of a table, that holds the id.
        text_field: The key or column that holds the text.
        max_document_bytes: The most uncompressed bytes of a line, a file, or the cells of a row. A larger one is not
            read to its end, and becomes a `Document` with the failure ``too_large`` that holds its beginning.
        pages: What the model is shown of each page: ``text``, ``image`` (a picture of it), ``both``, or ``auto``, the
            text unless the page has none that can be read.
        hidden_text: What becomes of a text in a file that a person would not see, such as white on white: ``drop``
            leaves it out and names it in the metadata, ``keep`` shows it to the model, ``dead-letter`` gives the
            document up.
        encoding: The encoding of texts that are in neither UTF-8 nor UTF-16, by Python's name: ``cp1252``.
        password_from: Where each worker finds the password of encrypted files: ``env:NAME`` or ``file:PATH``.
        skip_unknown: Pass over files of kinds that cannot be read, and count them, where they would be refused.
        reader: A function of a file's bytes and its path that reads whole files before this package does, such as one
            that recognises handwriting. It gives the `Document` or its text, or None for a file that is not its own.
            It runs on the workers and must be safe to repeat. An exception costs its file alone (``reader_failed``).

    Raises:
        InputError: When the pipeline is built: a pattern matches nothing, or a file of a kind that cannot be read.
        ConfigError: A setting is wrong; the message names it.
    """

    def __init__(
        self,
        patterns: str | Sequence[str],
        *,
        limit: int | None = None,
        id_field: str = "id",
        text_field: str = "text",
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
        pages: PageChoice = "auto",
        hidden_text: HiddenTextPolicy = "drop",
        encoding: str | None = None,
        password_from: str | None = None,
        skip_unknown: bool = False,
        reader: Reader | None = None,
    ) -> None:
        super().__init__()
        self._patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        self._reading = Reading(
            id_field=id_field,
            text_field=text_field,
            max_document_bytes=max_document_bytes,
            pages=pages,
            hidden_text=hidden_text,
            encoding=encoding,
            password_from=password_from,
            skip_unknown=skip_unknown,
            reader=reader,
        )
        self._limit = limit
        if limit is not None and limit < 0:
            raise InputError("ReadDocuments: limit must not be negative")

    @classmethod
    def from_reading(
        cls, patterns: str | Sequence[str], reading: Reading, *, limit: int | None = None
    ) -> ReadDocuments:
        """The transform for settings that are one value already, as a run has them.

        Args:
            patterns: See the class.
            reading: How files become documents.
            limit: See the class.
        """
        settings = {field.name: getattr(reading, field.name) for field in fields(reading)}
        return cls(patterns, limit=limit, **settings)

    def expand(self, pipeline: Any) -> beam.PCollection:
        start = pipeline | beam.Create([check_input(self._patterns)]).with_output_types(tuple[str, ...])
        if self._limit is not None:
            return start | "ReadFirst" >> beam.FlatMap(_read_first, self._limit, self._reading).with_output_types(
                Document
            )
        read_blocks_or_each = _ReadPart if can_pass_blocks(start.pipeline) else _ReadPartOneByOne
        return (
            start
            | "FindParts" >> beam.FlatMap(find_parts).with_output_types(Part)
            | "Spread" >> beam.Reshuffle()
            | "ReadPart" >> beam.ParDo(read_blocks_or_each(self._reading)).with_output_types(Document)
        )


class _ReadPart(beam.DoFn):
    """``Part -> Document``, in blocks of hundreds, because Beam takes as long to pass one on as to read a line."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    @beam.DoFn.yields_batches
    def process(self, part: Part) -> Iterator[Documents]:
        return read_blocks(part, self._reading)

    def infer_output_type(self, input_type: Any) -> Any:
        return Document

    def get_output_batch_type(self, input_element_type: Any) -> Any:
        return Documents  # needed because Beam cannot read annotations under `from __future__ import annotations`


class _ReadPartOneByOne(beam.DoFn):
    """``Part -> Document``, one by one, for runners that cannot pass blocks."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def process(self, part: Part) -> Iterator[Document]:
        return read_part(part, self._reading)


def check_input(patterns: Sequence[str]) -> tuple[str, ...]:
    """Refuses patterns that match nothing, or that match files of a kind that cannot be read.

    Returns:
        The patterns of the files. For a directory that is the pattern of all files below it.

    Raises:
        InputError: A pattern is refused; the message names it, or the files that cannot be read.
    """
    if not patterns:
        raise InputError("no input: name at least one path or glob")
    check_links(patterns)
    for pattern in patterns:
        paths = [found.path for found in find_inputs([pattern])]
        if not paths:
            raise InputError(_without_files(pattern))
        others = [path for path in paths if not kind_of(path)]
        if others == [normal(pattern)]:
            raise InputError(f"{pattern} is of a kind that cannot be read: only {KINDS} can, told by the name")
        if others:
            more = f" and {len(others) - _NAMED_FILES} more" if len(others) > _NAMED_FILES else ""
            unreadable = f"{', '.join(others[:_NAMED_FILES])}{more} of {len(paths)} files match {pattern}"
            ending = next(kind_of(path) or "" for path in [*filter(kind_of, paths), "a.txt"])
            narrower = f"{pattern.rstrip('*').rstrip('/')}/**{ending}"
            raise InputError(f"{unreadable}, but only {KINDS} can be read: name it narrower, such as {narrower}")
    return tuple(map(file_pattern, patterns))


def _without_files(pattern: str) -> str:
    """The message about a pattern that matches no file that can be read."""
    hidden = _hidden_ones(pattern)
    if is_local(normal(pattern)) and Path(normal(pattern)).is_dir():
        return f"the directory {pattern} holds no files{hidden}: {KINDS} can be read"
    return f"no file matches {pattern}{hidden}"


def _hidden_ones(pattern: str) -> str:
    hidden = find(file_pattern(pattern))
    return f" but {len(hidden)} hidden ones, which are read if they are named: {hidden[0].path}" if hidden else ""


def read_part(part: Part, reading: Reading = DEFAULT_READING) -> Iterator[Document]:
    """Reads the documents of one part. An error that ends the reading becomes a last document with its failure."""
    for block in read_blocks(part, reading):
        yield from block


def read_blocks(part: Part, reading: Reading = DEFAULT_READING) -> Iterator[Documents]:
    """Reads the documents of one part in blocks; see `read_part`."""
    kind = kind_of(part.path)
    read = _read_whole if kind in WHOLE else read_line_blocks if kind in LINES else read_row_blocks
    for block in read_as(part, reading, read):
        yield block if isinstance(block, Documents) else Documents.of([block])


def read_as(
    part: Part, reading: Reading, read: Callable[[BinaryIO, Part, Reading], Iterator[T | Document]]
) -> Iterator[T | Document]:
    """Reads one part of a file. An error that ends the reading becomes a last document with its failure.

    Args:
        part: The part to read.
        reading: How its content becomes documents.
        read: Reads the values of the part from the opened file.
    """
    kind = kind_of(part.path)
    done = 0
    try:
        with open_input(part.path) as f:
            for value in read(f, part, reading):
                yield value
                done += len(value) if isinstance(value, Documents) else 1
    except Exception as e:  # filesystems, decompressors and damaged files raise errors of all kinds
        after = f" after {done} documents" if done else ""
        message = f"cannot read {part.path}{after}: {' '.join(str(e).split())[:300] or type(e).__name__}"
        if _is_of_filesystem(e, part.path):
            raise  # the file itself may be good: the runner reads the part again, or the job fails and says why
        if is_broken_link(part.path):
            message = f"cannot read {part.path}: {broken_link_message(part.path)}"
        document_id = part.path if kind in WHOLE or is_broken_link(part.path) else f"{part.path}#{part.start}-"
        yield failed(document_id, part.path, Failure("read", "unreadable", message, retryable=isinstance(e, OSError)))


def _is_of_filesystem(error: Exception, path: str) -> bool:
    """Whether an error comes from the filesystem and not from the file, whose documents must not be given up then."""
    if isinstance(error, (ConnectionError, TimeoutError, BeamIOError, KimiBeamError)):
        return True
    # An OSError shows a fault of the filesystem only for plain files. Decompressors and Parquet raise it as well, for a
    # damaged file.
    plain = not is_compressed(path) and kind_of(path) != ".parquet"
    of_the_file = (FileNotFoundError, PermissionError, IsADirectoryError)
    return plain and isinstance(error, OSError) and not isinstance(error, of_the_file)


def _read_first(patterns: tuple[str, ...], limit: int, reading: Reading) -> Iterator[Document]:
    yield from islice((document for part in find_parts(patterns) for document in read_part(part, reading)), limit)


# ------------------------------------------------------------------------------------------------ .txt, .md, pictures


def _read_whole(f: BinaryIO, part: Part, reading: Reading) -> Iterator[Document]:
    content = f.read(reading.max_document_bytes + 1)
    if len(content) > reading.max_document_bytes:
        yield failed(part.path, part.path, reading.too_large(part.path, content))
        return
    try:
        yield with_content(part.path, content)
    except NotTextError as e:
        code: Code = "not_text" if e.is_other_kind else "not_utf8"
        yield failed(part.path, part.path, Failure("read", code, f"{part.path} {e}", raw=b64(content)))
