"""`ReadDocuments`: reads files into documents. What cannot be read becomes a document that carries its failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

import apache_beam as beam

from kimi_beam.beam_extensions.document_coder import Documents, can_pass_blocks
from kimi_beam.errors import InputError
from kimi_beam.input.check_input import check_input
from kimi_beam.input.fields import Reader, Reading
from kimi_beam.input.file_parts import Part, find_parts
from kimi_beam.input.read_parts import read_blocks, read_part
from kimi_beam.input.readers.content import HiddenTextPolicy, PageChoice
from kimi_beam.types.document import Document
from kimi_beam.wire.size_limits import MAX_DOCUMENT_BYTES


@beam.typehints.with_output_types(Document)
class ReadDocuments(beam.PTransform):
    """Reads documents from files, found by paths, directories and globs on any filesystem that Beam knows.

    ``PBegin -> PCollection[Document]``

    A text, a picture, a PDF, an office file, a web page or a mail is one document, whose id is the path as matched. A
    line of a ``.jsonl``, or a row of a ``.parquet``, ``.csv`` or ``.tsv``, is one with the keys ``id`` and ``text``, or
    ``images``, a list of data URIs; all other keys become its metadata. A member of a ``.zip`` or ``.tar`` is read by
    its own kind, and has the id ``ARCHIVE!/MEMBER``. Each may be compressed (``.gz``, ``.bz2``, ``.xz``, ``.zst``).
    Content tells the kind of a file whose name does not. What cannot be read becomes a `Document` that carries its
    `Failure`; a line or row of that sort has the id ``PATH#LINE`` or ``PATH#ROW``.

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
        id_field: The key of a line, or the column of a table, that holds the id. ``#``: the id is ``PATH#LINE`` or
            ``PATH#ROW``, as it is in a ``.csv`` without a column ``id``.
        text_field: The key or column that holds the text. ``*``: the text is all of them, as ``name: value`` lines.
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
        keep_boxes: Whether the place of each character on the pages of a PDF is kept, so that ``Extract(ground=True)``
            says where on its page a value stands.

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
        keep_boxes: bool = False,
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
            keep_boxes=keep_boxes,
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
        start = pipeline | beam.Create([check_input(self._patterns, self._reading)]).with_output_types(tuple[str, ...])
        if self._limit is not None:
            return start | "ReadFirst" >> beam.FlatMap(_read_first, self._limit, self._reading).with_output_types(
                Document
            )
        read_blocks_or_each = _ReadPart if can_pass_blocks(start.pipeline) else _ReadPartOneByOne
        return (
            start
            | "FindParts" >> beam.FlatMap(find_parts, self._reading.encoding).with_output_types(Part)
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


def _read_first(patterns: tuple[str, ...], limit: int, reading: Reading) -> Iterator[Document]:
    parts = find_parts(patterns, reading.encoding)
    yield from islice((document for part in parts for document in read_part(part, reading)), limit)
