"""Reads documents from CSV and TSV files: each row is one.

The first row names the columns. A row with more or fewer values than there are columns is a failure of its own: nobody
can say which value belongs to which column.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from kimi_beam.beam_extensions.document_coder import GATHERED_DOCUMENTS, Documents
from kimi_beam.input.encodings import NotTextError, as_utf8, decoded_line
from kimi_beam.input.fields import ALL_FIELDS, POSITION, Reading, b64, enumerate_keys, failed, from_fields
from kimi_beam.input.file_parts import Part
from kimi_beam.input.kinds import TSV, kind_by_name
from kimi_beam.input.quoted_rows import QuotedRow, quoted_rows, with_line_feeds
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Code, Failure

_DELIMITERS = ",;\t|"
"""What may stand between the values of a CSV. It is what stands most often in the first row; of several the first."""
_BLOCK_BYTES = 4 << 20
"""Bytes of rows from which on a block of documents is passed on."""
csv.field_size_limit(2**31 - 1)  # the limit of the `csv` module is of the process, and rows are bounded here


class _Table(NamedTuple):
    """How the rows of a table are read."""

    columns: tuple[str, ...]
    delimiter: str
    encoding: str | None
    """The encoding of rows that are not in UTF-8; None if the user named none."""


def read_table_blocks(f: BinaryIO, part: Part, reading: Reading) -> Iterator[Documents | Document]:
    """The documents of a table's rows, in blocks.

    A fault of the whole file, such as a missing column, gives one failed document.

    Args:
        f: The opened file.
        part: The file, as one part.
        reading: How its rows become documents.
    """
    f, table = _opened(f, part.path, reading)
    if table is None:
        return
    if isinstance(table, Failure):
        yield failed(part.path, part.path, table)
        return
    block: list[Document] = []
    block_bytes = number = 0
    for row in quoted_rows(f, table.delimiter, reading.max_document_bytes):
        if row.is_blank:
            continue
        number += 1
        block.append(_document(row, number, table, part.path, reading))
        block_bytes += len(row.content)
        if len(block) == GATHERED_DOCUMENTS or block_bytes > _BLOCK_BYTES:
            yield Documents.of(block)
            block, block_bytes = [], 0
    if block:
        yield Documents.of(block)


def _document(row: QuotedRow, number: int, table: _Table, path: str, reading: Reading) -> Document:
    """The document of a row. What cannot be read has the id ``PATH#ROW``, counted without the first row."""
    position = f"{path}#{number}"
    values = _values_of(row, number, table, reading)
    if isinstance(values, Failure):
        return failed(position, path, values)
    default_id = None if reading.id_field in table.columns else position
    fields = dict(zip(table.columns, values, strict=True))
    document = from_fields(fields, path, row.content, reading, default_id=default_id)
    return failed(position, path, document) if isinstance(document, Failure) else document


def _values_of(row: QuotedRow, number: int, table: _Table, reading: Reading) -> list[str] | Failure:
    if row.size > reading.max_document_bytes:
        return reading.too_large(f"row {number}, of {row.size} bytes,", row.content)
    evidence = b64(row.content)
    if not row.is_closed:
        return Failure("read", "damaged", f"row {number} has a quote that begins a value without an end", raw=evidence)
    try:
        text = decoded_line(row.content, table.encoding)
    except NotTextError as e:
        return Failure("read", "not_utf8", f"row {number} {e} (--encoding names another encoding)", raw=evidence)
    values = _split(text, table.delimiter)
    if not values:
        message = f"row {number} has a carriage return outside of quotes, and other rows end in line feeds"
        return Failure("read", "ragged_row", message, raw=evidence)
    if len(values) != len(table.columns):
        message = f"row {number} has {len(values)} values, and the table has {len(table.columns)} columns"
        return Failure("read", "ragged_row", message, raw=evidence)
    return values


def _split(text: str, delimiter: str) -> list[str]:
    """The values of one row, whose quoted ones may hold line feeds; empty if it holds several rows."""
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    return rows[0] if len(rows) == 1 else []


# ------------------------------------------------------------------------------------------------ the first row


def fault_of_table(f: BinaryIO, path: str, reading: Reading) -> Failure | None:
    """Why no row of a table can be read, by its first row; None if they can.

    Args:
        f: The opened file, not read yet.
        path: Its path.
        reading: Which columns hold the id and the text.
    """
    _, table = _opened(f, path, reading)
    return table if isinstance(table, Failure) else None


def _opened(f: BinaryIO, path: str, reading: Reading) -> tuple[BinaryIO, _Table | Failure | None]:
    """A table after its first row, and what that says; None if the file has no row."""
    f, is_recoded = as_utf8(f, reading.encoding, is_json=False)
    f = with_line_feeds(f)
    return f, _first_row(f, path, reading, None if is_recoded else reading.encoding)


def _first_row(f: BinaryIO, path: str, reading: Reading, encoding: str | None) -> _Table | Failure | None:
    """The names of the columns and what stands between them; None if the file has no row.

    A first line ``sep=;``, which Excel writes and reads, says what stands between the values.
    """
    delimiter = "\t" if kind_by_name(path) is TSV else None
    while line := f.readline(reading.max_document_bytes + 2):
        line = line.removeprefix(b"\xef\xbb\xbf")
        if line.isspace() or not line:
            continue
        said = line.strip(b"\r\n")
        if delimiter is None and len(said) == 5 and said.lower().startswith(b"sep=") and said[4:].isascii():
            delimiter = said[4:].decode()
            continue
        delimiter = delimiter or _most_frequent(line)
        row = next(quoted_rows(_Again(line, f), delimiter, reading.max_document_bytes))  # type: ignore[arg-type]
        if row.size > reading.max_document_bytes:
            return reading.too_large(f"the first row of {path}, of {row.size} bytes,", row.content)
        try:
            text = decoded_line(row.content, encoding)
        except NotTextError as e:
            code: Code = "not_text" if e.is_other_kind else "not_utf8"
            return Failure("read", code, f"{path} {e} (--encoding names another encoding)", raw=b64(row.content))
        values = _split(text, delimiter)
        if not values:
            message = f"{path} has a carriage return outside of quotes in its first row"
            return Failure("read", "ragged_row", message, raw=b64(row.content))
        names = [name.strip() or f"column_{n}" for n, name in enumerate(values, 1)]
        return _wrong_columns(names, path, reading) or _Table(tuple(names), delimiter, encoding)
    return None


class _Again:
    """A file whose first line was read already, and is read once more."""

    def __init__(self, line: bytes, f: BinaryIO) -> None:
        self._line, self._file = line, f

    def readline(self, size: int) -> bytes:
        line, self._line = self._line, b""
        return line or self._file.readline(size)


def _most_frequent(line: bytes) -> str:
    """The delimiter that stands most often in a line, outside of quotes."""
    outside = b"".join(line.split(b'"')[::2])
    return max(_DELIMITERS, key=lambda delimiter: outside.count(delimiter.encode()))


def _wrong_columns(columns: list[str], path: str, reading: Reading) -> Failure | None:
    """The fault in the columns that no row can be read with; None if there is none."""
    if repeated := next((name for name, count in Counter(columns).items() if count > 1), None):
        message = f"{path} has the column {repeated!r} twice: nobody can say which of them counts"
        return Failure("read", "repeated_key", message)
    if reading.id_field not in columns and reading.id_field not in ("id", POSITION):
        message = f"{path} has no column {reading.id_field!r}; it has {enumerate_keys(columns)} (--id-field)"
        return Failure("read", "missing_id", message)
    if reading.text_field in columns or reading.text_field == ALL_FIELDS:
        return None
    named = f"--text-field, text_field= names one, or {ALL_FIELDS!r} all of them"
    message = f"{path} has no column {reading.text_field!r}; it has {enumerate_keys(columns)} ({named})"
    return Failure("read", "missing_text", message)
