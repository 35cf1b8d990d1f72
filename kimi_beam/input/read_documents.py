"""`ReadDocuments`: files into documents. What cannot be read is a document too, one that carries its failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError

from kimi_beam.beam_extensions.document_coder import Documents, can_pass_blocks
from kimi_beam.errors import InputError, KimiBeamError
from kimi_beam.files.paths import find, is_compressed, is_local, normal, open_input
from kimi_beam.input.encodings import NotTextError
from kimi_beam.input.fields import USUAL, Reading, b64, failed
from kimi_beam.input.file_parts import KINDS, LINES, WHOLE, Part, find_parts, kind_of
from kimi_beam.input.file_references import with_content
from kimi_beam.input.finding import broken, check_links, find_inputs, is_broken_link, meant
from kimi_beam.input.json_lines import read_line_blocks
from kimi_beam.input.parquet_rows import read_row_blocks
from kimi_beam.types import Code, Document, Failure
from kimi_beam.wire.size_limits import MAX_DOCUMENT_BYTES

T = TypeVar("T")
_NAMED_FILES = 5
"""Files of other kinds that a refusal names."""


@beam.typehints.with_output_types(Document)
class ReadDocuments(beam.PTransform):
    """Reads documents from files, found by paths, directories and globs on any filesystem that Beam knows.

    ``PBegin -> PCollection[Document]``

    ``.txt`` and ``.md`` are one document each, its id the path as matched, and so are pictures (``.png``, ``.jpg``,
    ``.webp``, ``.gif``). A line of a ``.jsonl`` and a row of a ``.parquet`` is one document with the keys ``id`` and
    ``text``, or ``images``, a list of data URIs; all other keys become its metadata. Texts and lines may be compressed
    (``.gz``, ``.bz2``, ``.xz``, ``.zst``). What cannot be read is a `Document` that carries its
    `Failure`; a line that is no document has the id ``PATH#LINE``.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | kb.ReadDocuments(["in/*.txt", "in/more.jsonl"])
        ...     _ = documents | beam.Map(lambda document: print(document.id, document.text, document.metadata))
        in/receipt-1.txt Total: 24.80 {}
        receipt-2 Total: 3.10 {'shop': 7}

    Args:
        patterns: A path, a directory (all below it) or a glob, or several. A file that two of them match is read once.
            Hidden ones, which begin with a dot or an underscore, are passed over unless they are named.
        limit: Read only this many documents, the first by path and position. None: all.
        id_field: The key of a line, or the column of a table, that holds the id.
        text_field: The one that holds the text.
        max_document_bytes: Bytes of a line, a file or the cells of a row at most, uncompressed. What is larger is not
            read on: it becomes a `Document` with the failure ``too_large`` that holds its beginning.

    Raises:
        InputError: When the pipeline is built: a pattern matches nothing, or a file of another kind.
        ConfigError: The two fields are not two different ones, or the bound is not positive.
    """

    def __init__(
        self,
        patterns: str | Sequence[str],
        *,
        limit: int | None = None,
        id_field: str = "id",
        text_field: str = "text",
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> None:
        super().__init__()
        self._patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        self._reading = Reading(id_field, text_field, max_document_bytes)
        self._limit = limit
        if limit is not None and limit < 0:
            raise InputError("ReadDocuments: limit must not be negative")

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
    """``Part -> Document``, handed on by the hundred: Beam's way from step to step costs as much as reading a line."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    @beam.DoFn.yields_batches
    def process(self, part: Part) -> Iterator[Documents]:
        return read_blocks(part, self._reading)

    def infer_output_type(self, input_type: Any) -> Any:
        return Document

    def get_output_batch_type(self, input_element_type: Any) -> Any:
        return Documents  # Beam cannot read annotations that are put off


class _ReadPartOneByOne(beam.DoFn):
    """The same for runners that take no blocks."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def process(self, part: Part) -> Iterator[Document]:
        return read_part(part, self._reading)


def check_input(patterns: Sequence[str]) -> tuple[str, ...]:
    """Refuses patterns that match nothing, or files of a kind that cannot be read.

    Returns:
        The patterns of the files that are meant: that of a directory is of all below it.

    Raises:
        InputError: Naming the pattern, or the first such file.
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
            told = f"{', '.join(others[:_NAMED_FILES])}{more} of {len(paths)} files match {pattern}"
            ending = next(kind_of(path) or "" for path in [*filter(kind_of, paths), "a.txt"])
            narrower = f"{pattern.rstrip('*').rstrip('/')}/**{ending}"
            raise InputError(f"{told}, but only {KINDS} can be read: name it narrower, such as {narrower}")
    return tuple(map(meant, patterns))


def _without_files(pattern: str) -> str:
    """Why there is nothing to read, in words."""
    hidden = _hidden_ones(pattern)
    if is_local(normal(pattern)) and Path(normal(pattern)).is_dir():
        return f"the directory {pattern} holds no files{hidden}: {KINDS} can be read"
    return f"no file matches {pattern}{hidden}"


def _hidden_ones(pattern: str) -> str:
    hidden = find(meant(pattern))
    return f" but {len(hidden)} hidden ones, which are read if they are named: {hidden[0].path}" if hidden else ""


def read_part(part: Part, reading: Reading = USUAL) -> Iterator[Document]:
    """Reads the documents of one piece; what stops it in the middle is a document that carries the failure."""
    for block in read_blocks(part, reading):
        yield from block


def read_blocks(part: Part, reading: Reading = USUAL) -> Iterator[Documents]:
    """The documents of one piece by column: see `read_part`."""
    kind = kind_of(part.path)
    read = _read_whole if kind in WHOLE else read_line_blocks if kind in LINES else read_row_blocks
    for block in read_as(part, reading, read):
        yield block if isinstance(block, Documents) else Documents.of([block])


def read_as(
    part: Part, reading: Reading, read: Callable[[BinaryIO, Part, Reading], Iterator[T | Document]]
) -> Iterator[T | Document]:
    """Reads one piece; what stops it in the middle is a document that carries the failure.

    Args:
        part: Which.
        reading: How.
        read: Takes the opened file apart.
    """
    kind = kind_of(part.path)
    done = 0
    try:
        with open_input(part.path) as f:
            for value in read(f, part, reading):
                yield value
                done += len(value) if isinstance(value, Documents) else 1
    except Exception as e:  # whatever a filesystem, a decompressor or a file of somebody else's making raises
        after = f" after {done} documents" if done else ""
        message = f"cannot read {part.path}{after}: {' '.join(str(e).split())[:300] or type(e).__name__}"
        if _passes(e, part.path):
            raise  # the filesystem broke, not the file: the runner reads the part again, or the job fails and says so
        if is_broken_link(part.path):
            message = f"cannot read {part.path}: {broken(part.path)}"
        place = part.path if kind in WHOLE or is_broken_link(part.path) else f"{part.path}#{part.start}-"
        yield failed(place, part.path, Failure("read", "unreadable", message, retryable=isinstance(e, OSError)))


def _passes(error: Exception, path: str) -> bool:
    """Whether an error is of the way to a file, not of the file: what was not read yet must not be given up for it."""
    if isinstance(error, (ConnectionError, TimeoutError, BeamIOError, KimiBeamError)):
        return True
    # Decompressors and Parquet report a damaged file by an OSError too.
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
