"""`ReadDocuments`: files into documents. What cannot be read is a document too, one that carries its failure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Annotated, Any, BinaryIO, TypeVar

import apache_beam as beam
import msgspec
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError

from kimi_beam import jsontext
from kimi_beam.errors import InputError, KimiBeamError
from kimi_beam.io import lines, tables
from kimi_beam.io.contents import with_content
from kimi_beam.io.document_blocks import TOGETHER, Documents, can_pass_blocks
from kimi_beam.io.parts import KINDS, WHOLE, Part, find_parts, kind_of
from kimi_beam.io.paths import find, is_compressed, open_input
from kimi_beam.types import Code, Document, Failure

T = TypeVar("T")


@beam.typehints.with_output_types(Document)
class ReadDocuments(beam.PTransform):
    """Reads documents from files, found by paths and globs on any filesystem that Beam knows.

    ``PBegin -> PCollection[Document]``

    ``.txt`` and ``.md`` are one document each, its id the path as matched, and so are pictures (``.png``, ``.jpg``,
    ``.webp``, ``.gif``). A line of a ``.jsonl`` and a row of a ``.parquet`` is one document with the keys ``id`` and
    ``text``, or ``images``, a list of data URIs; all other keys become its metadata. Texts and lines may be compressed
    (``.gz``, ``.bz2``, ``.xz``, ``.zst``). What cannot be read is a `Document` that carries its
    `Failure`; a line that is no document has the id ``PATH#LINE``.

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
        start = pipeline | beam.Create([self._patterns]).with_output_types(tuple[str, ...])
        if self._limit is not None:
            return start | "ReadFirst" >> beam.FlatMap(_read_first, self._limit).with_output_types(Document)
        read = _ReadPart() if can_pass_blocks(start.pipeline) else _ReadPartOneByOne()
        return (
            start
            | "FindParts" >> beam.FlatMap(find_parts).with_output_types(Part)
            | "Spread" >> beam.Reshuffle()
            | "ReadPart" >> beam.ParDo(read).with_output_types(Document)
        )


class _ReadPart(beam.DoFn):
    """``Part -> Document``, handed on by the hundred: Beam's way from step to step costs as much as reading a line."""

    @beam.DoFn.yields_batches
    def process(self, part: Part) -> Iterator[Documents]:
        return read_blocks(part)

    def infer_output_type(self, input_type: Any) -> Any:
        return Document

    def get_output_batch_type(self, input_element_type: Any) -> Any:
        return Documents  # Beam cannot read annotations that are put off


class _ReadPartOneByOne(beam.DoFn):
    """The same for runners that take no blocks."""

    def process(self, part: Part) -> Iterator[Document]:
        return read_part(part)


def check_input(patterns: Sequence[str]) -> None:
    """Refuses patterns that match nothing, or files of a kind that cannot be read.

    Raises:
        InputError: Naming the pattern, or the first such file.
    """
    if not patterns:
        raise InputError("no input: name at least one path or glob")
    for pattern in patterns:
        paths = [found.path for found in find(pattern)]
        if not paths:
            raise InputError(f"no file matches {pattern}")
        others = [path for path in paths if not kind_of(path)]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise InputError(f"{others[0]}{more} matched {pattern}, but only {KINDS} can be read: name it narrower")


def read_part(part: Part) -> Iterator[Document]:
    """Reads the documents of one piece; what stops it in the middle is a document that carries the failure."""
    for block in read_blocks(part):
        yield from block


def read_blocks(part: Part) -> Iterator[Documents]:
    """The documents of one piece by column: see `read_part`."""
    kind = kind_of(part.path)
    if kind == ".jsonl":
        yield from (
            block if isinstance(block, Documents) else Documents.of([block])
            for block in read_as(part, _read_line_blocks)
        )
        return
    documents = read_as(part, _read_whole if kind in WHOLE else _read_rows)
    while some := list(islice(documents, TOGETHER)):
        yield Documents.of(some)


def read_as(part: Part, read: Callable[[BinaryIO, Part], Iterator[T | Document]]) -> Iterator[T | Document]:
    """Reads one piece; what stops it in the middle is a document that carries the failure.

    Args:
        part: Which.
        read: Takes the opened file apart.
    """
    kind = kind_of(part.path)
    done = 0
    try:
        with open_input(part.path) as f:
            for value in read(f, part):
                yield value
                done += len(value) if isinstance(value, Documents) else 1
    except Exception as e:  # whatever a filesystem, a decompressor or a file of somebody else's making raises
        after = f" after {done} documents" if done else ""
        message = f"cannot read {part.path}{after}: {' '.join(str(e).split())[:300] or type(e).__name__}"
        if _passes(e, part.path):
            raise  # the filesystem broke, not the file: the runner reads the part again, or the job fails and says so
        place = part.path if kind in WHOLE else f"{part.path}#{part.start}-"
        yield failed(place, part.path, Failure("read", "unreadable", message, retryable=isinstance(e, OSError)))


def _passes(error: Exception, path: str) -> bool:
    """Whether an error is of the way to a file, not of the file: what was not read yet must not be given up for it."""
    if isinstance(error, (ConnectionError, TimeoutError, BeamIOError, KimiBeamError)):
        return True
    # Decompressors and Parquet report a damaged file by an OSError too.
    plain = not is_compressed(path) and kind_of(path) != ".parquet"
    of_the_file = (FileNotFoundError, PermissionError, IsADirectoryError)
    return plain and isinstance(error, OSError) and not isinstance(error, of_the_file)


def failed(document_id: str, path: str, failure: Failure, **known: Any) -> Document:
    """A document that could not be read."""
    return Document(document_id, "", source=path, failure=failure, **known)


def _read_first(patterns: tuple[str, ...], limit: int) -> Iterator[Document]:
    yield from islice((document for part in find_parts(patterns) for document in read_part(part)), limit)


# ------------------------------------------------------------------------------------------------ .txt, .md, pictures


def _read_whole(f: BinaryIO, part: Part) -> Iterator[Document]:
    content = f.read()
    try:
        yield with_content(part.path, content)
    except UnicodeDecodeError as e:
        told = f"{part.path} is not UTF-8: {e.reason} at byte {e.start}"
        yield failed(part.path, part.path, Failure("read", "not_utf8", told, raw=_b64(content)))


# ------------------------------------------------------------------------------------------------ .jsonl


def _read_line_blocks(f: BinaryIO, part: Part) -> Iterator[Documents]:
    numbers = lines.Numbers(part)
    for number, some in lines.groups(f, part):
        if (block := _texts_alone(some, part.path)) is not None:
            yield block
            continue
        held: list[Document] = []
        try:
            held.extend(_each(some, number, numbers, part, from_line))
        finally:
            if held:
                yield Documents.of(held)


def _texts_alone(some: Sequence[bytes], path: str) -> Documents | None:
    """The documents of lines that are an id and a text each, and nothing else: all at once, at half of the CPU.

    None where one is otherwise, and each has to be looked at.
    """
    try:
        # A line feed cannot stand in a string, and within an object of strings no brace follows a comma: a line that
        # begins with one is one object, or several side by side, and as many objects as lines is one a line.
        if {*map(_FIRST, some)} != _BRACE:
            return None
        found = _TEXTS_ALONE.decode(b"".join((b"[", b",\n".join(some), b"]")))
    except (IndexError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if len(found) != len(some):
        return None
    return Documents([one.id for one in found], [one.text for one in found], [path] * len(found), {})


class _TextAlone(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    text: str


_TEXTS_ALONE = msgspec.json.Decoder(list[_TextAlone])
_FIRST, _BRACE = itemgetter(0), set(b"{")


def read_lines(f: BinaryIO, part: Part, parse: Callable[[bytes, str], T | Failure]) -> Iterator[T | Document]:
    """What the lines of a piece hold; one that cannot be read is a document with the id ``PATH#LINE``.

    Args:
        f: The file.
        part: Which lines of it.
        parse: Makes something of a line and the file's path.
    """
    numbers = lines.Numbers(part)
    for number, some in lines.groups(f, part):
        yield from _each(some, number, numbers, part, parse)


def _each(
    some: Sequence[bytes], first: int, numbers: lines.Numbers, part: Part, parse: Callable[[bytes, str], T | Failure]
) -> Iterator[T | Document]:
    for number, line in enumerate(some, first):
        if number == 1 and part.start == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.isspace() or not line:
            continue
        value = parse(line, part.path)
        if isinstance(value, Failure):
            yield failed(f"{part.path}#{numbers.of(number)}", part.path, value)
        else:
            yield value


def from_line(line: bytes, path: str, *, id_field: str = "id", otherwise: str | None = None) -> Document | Failure:
    """A document of a line of JSON.

    Args:
        line: Without its line feed.
        path: Becomes `Document.source`.
        id_field: The key that holds the id.
        otherwise: The id of a line that has none.
    """
    try:
        fields = jsontext.loads(line)
    except ValueError as e:
        return unreadable_line(line, f"the line is not JSON: {e}", e)
    if not isinstance(fields, dict):
        return Failure("read", "not_json", "the line is JSON, but no object", raw=_b64(line))
    key = fields.pop(id_field, None)
    return _from_fields(otherwise if key is None else key, fields, path, line)


def unreadable_line(line: bytes, message: str, reason: ValueError) -> Failure:
    """The failure of a line, with its bytes.

    Args:
        line: Its bytes.
        message: For a person.
        reason: What `jsontext.loads` said.
    """
    code: Code = "not_utf8" if str(reason).startswith("not UTF-8") else "not_json"
    return Failure("read", code, message, raw=_b64(line))


def _from_fields(key: Any, fields: dict[str, Any], path: str, raw: bytes) -> Document | Failure:
    """A document of a line's or row's keys: ``text`` and ``images``, all others metadata."""
    text = fields.pop("text", None)
    pictures = tuple(fields.pop("images")) if "images" in fields and _are_images(fields["images"]) else ()
    if text is None and pictures:
        text = ""
    if type(key) is int:
        key = str(key)
    if not isinstance(key, str) or not key:
        told = "has no id" if key is None or key == "" else "has an id that is neither a string nor an integer"
        return Failure("read", "missing_id", told, raw=_b64(raw))
    if isinstance(text, str):
        return Document(key, text, pictures, fields, path)
    told = "has no text" if text is None else "has a text that is no string"
    failure = Failure("read", "missing_text", f"the document {told}", raw=_b64(raw))
    return failed(key, path, failure, metadata=fields)


def _are_images(value: Any) -> bool:
    """Whether these are data URIs; a key of that name that holds anything else is metadata."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(uri, str) and uri[:5].lower() == "data:" for uri in value)
    )


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


# ------------------------------------------------------------------------------------------------ .parquet


def _read_rows(f: BinaryIO, part: Part) -> Iterator[Document]:
    source = pq.ParquetFile(f)
    names = source.schema_arrow.names
    missing = [name for name in ("id", "text") if name not in names]
    if missing == ["text"] and "images" in names:
        missing = []
    if missing:
        if part.start == 0:
            code: Code = "missing_id" if "id" in missing else "missing_text"
            told = f"{part.path} has no column {' and no column '.join(missing)}"
            yield failed(part.path, part.path, Failure("read", code, told))
        return
    number = sum(source.metadata.row_group(group).num_rows for group in range(part.start))
    stop = source.num_row_groups if part.stop is None else part.stop
    for batch in source.iter_batches(batch_size=1024, row_groups=list(range(part.start, stop))):
        for row in tables.rows(batch):
            number += 1
            place = f"{part.path}#{number}"
            if isinstance(row, Failure):
                yield failed(place, part.path, row)
                continue
            fields = dict(row)
            document = _from_fields(fields.pop("id", None), fields, part.path, jsontext.dumps_any(row))
            yield failed(place, part.path, document) if isinstance(document, Failure) else document
