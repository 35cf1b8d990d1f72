"""`ReadDocuments`: files into documents. What cannot be read is a document too, one that carries its failure."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from kimi_beam import jsontext
from kimi_beam.errors import InputError
from kimi_beam.types import Document, Failure

_WHOLE = (".txt", ".md")
_SUFFIXES = (*_WHOLE, ".jsonl", ".parquet")
_KINDS = ".txt, .md, .jsonl or .parquet"
_PART_BYTES = 16 << 20
_BLOCK_BYTES = 1 << 20
_READ_ERRORS = (OSError, BeamIOError, EOFError, zlib.error, pa.ArrowException)


class Part(NamedTuple):
    """A piece of a file that one worker reads: bytes of a .jsonl, one row group of a .parquet, or the whole file."""

    path: str
    start: int = 0
    stop: int | None = None
    """None: to the end."""


class ReadDocuments(beam.PTransform):
    """Reads documents from files, found by paths and globs on any filesystem that Beam knows.

    ``PBegin -> PCollection[Document]``

    ``.txt`` and ``.md`` are one document each, its id the path as matched. A line of a ``.jsonl`` and a row of a
    ``.parquet`` is one document with the keys ``id`` and ``text``; all other keys become its metadata. Any of them may
    be compressed (``.jsonl.gz``). What cannot be read is a `Document` that carries its `Failure`; a line that is no
    document has the id ``PATH#LINE``.

    Args:
        patterns: A path or glob, or several. A file that two of them match is read once.
        limit: Read only this many documents, the first by path and position. None: all.

    Raises:
        InputError: When the pipeline is built: a pattern matches nothing, or a file of another kind.
    """

    def __init__(self, patterns: str | Sequence[str], *, limit: int | None = None) -> None:
        super().__init__()
        self._patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        self._limit = limit
        if limit is not None and limit < 0:
            raise InputError("ReadDocuments: limit must not be negative")

    def expand(self, pipeline: Any) -> beam.PCollection:
        check_input(self._patterns)
        start = pipeline | beam.Create([self._patterns])
        if self._limit is not None:
            documents = start | "ReadFirst" >> beam.FlatMap(_read_first, self._limit)
        else:
            documents = (
                start
                | "FindParts" >> beam.FlatMap(find_parts)
                | "Spread" >> beam.Reshuffle()
                | "ReadPart" >> beam.FlatMap(read_part)
            )
        documents.element_type = Document
        return documents


def check_input(patterns: Sequence[str]) -> None:
    """Refuses patterns that match nothing, or files of a kind that cannot be read.

    Raises:
        InputError: Naming the pattern, or the first such file.
    """
    if not patterns:
        raise InputError("no input: name at least one path or glob")
    for pattern in patterns:
        paths = [path for path, _ in _match((pattern,))]
        if not paths:
            raise InputError(f"no file matches {pattern}")
        others = [path for path in paths if not _kind(path)]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise InputError(f"{others[0]}{more} matched {pattern}, but only {_KINDS} can be read: name it narrower")


def _match(patterns: Sequence[str]) -> list[tuple[str, int]]:
    """(path, bytes) of each file that any of the patterns matches, by path."""
    try:
        found = {m.path: m.size_in_bytes for result in FileSystems.match(list(patterns)) for m in result.metadata_list}
    except (BeamIOError, ValueError) as e:
        raise InputError(f"cannot look for {', '.join(patterns)}: {' '.join(str(e).split())[:300]}") from None
    return sorted((path, size) for path, size in found.items() if not path.endswith("/"))


def _kind(path: str) -> str | None:
    """The suffix that says how to read a file, the compression's own left out; None for a kind that cannot be read."""
    name = path.lower()
    if _compressed(name):
        name = name[: name.rindex(".")]
    return next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)


def _compressed(path: str) -> bool:
    return bool(CompressionTypes.detect_compression_type(path) != CompressionTypes.UNCOMPRESSED)


def find_parts(patterns: Sequence[str]) -> Iterator[Part]:
    """Cuts the files that the patterns match into pieces that workers can share."""
    for path, size in _match(patterns):
        kind = _kind(path)
        if kind == ".jsonl" and not _compressed(path):
            yield from (Part(path, at, min(at + _PART_BYTES, size)) for at in range(0, size, _PART_BYTES))
        elif kind == ".parquet" and not _compressed(path):
            try:
                with FileSystems.open(path) as f:
                    groups = pq.ParquetFile(f).num_row_groups
            except _READ_ERRORS:
                groups = 1  # reading the part says what is wrong with it
            yield from (Part(path, group, group + 1) for group in range(groups))
        elif kind:
            yield Part(path)


def read_part(part: Part) -> Iterator[Document]:
    """Reads the documents of one piece; what stops it in the middle is a document that carries the failure."""
    kind = _kind(part.path)
    read = _read_whole if kind in _WHOLE else _read_lines if kind == ".jsonl" else _read_rows
    try:
        with FileSystems.open(part.path) as f:
            yield from read(f, part)
    except _READ_ERRORS as e:
        place = part.path if kind in _WHOLE else f"{part.path}#{part.start}-"
        message = f"cannot read {part.path}: {' '.join(str(e).split())[:300]}"
        yield Document(place, "", source=part.path, failure=Failure("read", "unreadable", message))


def _read_first(patterns: Sequence[str], limit: int) -> Iterator[Document]:
    yield from islice((document for part in find_parts(patterns) for document in read_part(part)), limit)


# ------------------------------------------------------------------------------------------------ .txt, .md


def _read_whole(f: BinaryIO, part: Part) -> Iterator[Document]:
    content = f.read()
    try:
        yield Document(part.path, content.decode("utf-8-sig"), source=part.path)
    except UnicodeDecodeError as e:
        failure = Failure(
            "read", "not_utf8", f"{part.path} is not UTF-8: {e.reason} at byte {e.start}", raw=_b64(content)
        )
        yield Document(part.path, "", source=part.path, failure=failure)


# ------------------------------------------------------------------------------------------------ .jsonl


def _read_lines(f: BinaryIO, part: Part) -> Iterator[Document]:
    number = -1  # of the line within the part; the lines before the part are counted only if a line needs its number
    before: int | None = 0 if part.start == 0 else None
    for number, line in enumerate(lines(f, part.start, part.stop), 1):
        if number == 1 and part.start == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line or line.isspace():
            continue
        document = _from_line(line, part.path)
        if isinstance(document, Failure):
            if before is None:
                before = _lines_before(part)
            place = f"{part.path}#{before + number}"
            document = Document(place, "", source=part.path, failure=document)
        yield document


def lines(f: BinaryIO, start: int, stop: int | None) -> Iterator[bytes]:
    """The lines whose first byte stands in [start, stop), without their line feeds."""
    if start > 0:
        f.seek(start - 1)
        f.readline()  # the line that crosses the start belongs to the part before
    at = f.tell() if start > 0 else 0
    while stop is None or at < stop:
        block = f.read(_BLOCK_BYTES)
        if not block:
            return
        if not block.endswith(b"\n"):
            block += f.readline()
        pieces = block.split(b"\n")
        if not pieces[-1]:
            pieces.pop()
        for line in pieces:
            if stop is not None and at >= stop:
                return
            yield line
            at += len(line) + 1


def _lines_before(part: Part) -> int:
    with FileSystems.open(part.path) as f:
        return sum(1 for _ in lines(f, 0, part.start))


def _from_line(line: bytes, path: str) -> Document | Failure:
    try:
        fields = jsontext.loads(line)
    except ValueError as e:
        code = "not_utf8" if str(e).startswith("not UTF-8") else "not_json"
        return Failure("read", code, f"the line is not JSON: {e}", raw=_b64(line))  # type: ignore[arg-type]
    if not isinstance(fields, dict):
        return Failure("read", "not_json", "the line is JSON, but no object", raw=_b64(line))
    return _from_fields(fields, path, line)


def _from_fields(fields: dict[str, Any], path: str, raw: bytes | None) -> Document | Failure:
    """A document of a line's or row's keys: ``id`` and ``text``, all others metadata."""
    key, text = fields.pop("id", None), fields.pop("text", None)
    if type(key) is int:
        key = str(key)
    if not isinstance(key, str) or not key:
        told = "has no id" if key is None or key == "" else "has an id that is neither a string nor an integer"
        return Failure("read", "missing_id", told, raw=_b64(raw))
    if isinstance(text, str):
        return Document(key, text, metadata=fields, source=path)
    told = "has no text" if text is None else "has a text that is no string"
    failure = Failure("read", "missing_text", f"the document {told}", raw=_b64(raw))
    return Document(key, "", metadata=fields, source=path, failure=failure)


def _b64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


# ------------------------------------------------------------------------------------------------ .parquet


def _read_rows(f: BinaryIO, part: Part) -> Iterator[Document]:
    source = pq.ParquetFile(f)
    names = source.schema_arrow.names
    missing = [name for name in ("id", "text") if name not in names]
    if missing:
        told = f"{part.path} has no column {' and no column '.join(missing)}"
        code = "missing_id" if "id" in missing else "missing_text"
        failure = Failure("read", code, told)  # type: ignore[arg-type]
        yield Document(part.path, "", source=part.path, failure=failure)
        return
    groups = range(source.num_row_groups) if part.stop is None else range(part.start, part.stop)
    before = sum(source.metadata.row_group(group).num_rows for group in range(part.start))
    number = before
    for batch in source.iter_batches(batch_size=1024, row_groups=list(groups)):
        for row in batch.to_pylist():
            number += 1
            document = _from_fields({name: _json_value(value) for name, value in row.items()}, part.path, None)
            if isinstance(document, Failure):
                document = Document(f"{part.path}#{number}", "", source=part.path, failure=document)
            yield document


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return value
