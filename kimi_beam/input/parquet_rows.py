"""Rows of other people's Parquet files as documents: one value that cannot be had costs one row, not the file."""

from __future__ import annotations

import base64
import contextlib
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from kimi_beam.input.encodings import NotTextError, text_of
from kimi_beam.input.fields import Reading, failed, from_fields, named
from kimi_beam.input.file_parts import Part
from kimi_beam.types import Code, Document, Failure

_ROWS = 1024
"""Rows that are in memory together as values, where they are small."""
_TOGETHER_BYTES = 32 << 20
"""Bytes that are in memory together as values."""
_LARGEST_CHUNK = 512 << 20
"""Uncompressed bytes of a column in a row group beyond which it is not read where it holds an oversize cell, or most
likely does: Parquet has no way to read a part of a cell, and its page is decompressed whole, at about four
times its size in memory."""
_UNLIKELY_RATIO = 200
"""Of the bytes of so large a column to its bytes in the file: texts and pictures are compressed by 2 to 20."""


def read_rows(f: BinaryIO, part: Part, reading: Reading) -> Iterator[Document]:
    """The documents of a row group; what is wrong with the file as a whole is one document of the first group."""
    source = pq.ParquetFile(f)
    wrong = _wrong_columns(source.schema_arrow, reading)
    if wrong is not None:
        if part.start == 0:
            code, told = wrong
            yield failed(part.path, part.path, Failure("read", code, f"{part.path} {told}"))
        return
    number = sum(source.metadata.row_group(group).num_rows for group in range(part.start))
    stop = source.num_row_groups if part.stop is None else part.stop
    for group in range(part.start, stop):
        for row in _rows_of(source, group, reading):
            number += 1
            document = row if isinstance(row, Failure) else from_fields(row, part.path, None, reading)
            if isinstance(document, Failure):
                yield failed(f"{part.path}#{number}", part.path, document)
            else:
                yield document


def _wrong_columns(schema: pa.Schema, reading: Reading) -> tuple[Code, str] | None:
    """Why no row of a file can be a document, None where some can."""
    if place := _twice(schema, "column"):
        return "repeated_key", f"has the {place} twice: nobody can say which of them counts"
    names = schema.names
    missing = [name for name in (reading.id_field, reading.text_field) if name not in names]
    if not missing or (missing == [reading.text_field] and "images" in names):
        return None
    code: Code = "missing_id" if reading.id_field in missing else "missing_text"
    options = {reading.id_field: "--id-field", reading.text_field: "--text-field"}
    told = f"has no column {' and no column '.join(missing)}"
    there = named([name for name in names if name not in (reading.id_field, reading.text_field)])
    return (
        code,
        f"{told}; it has {there} ({', '.join(options[name] for name in missing)}: use another)" if there else told,
    )


def _twice(fields: Any, kind: str, path: str = "") -> str | None:
    """The first column or member that stands twice in its place, None where there is none."""
    counts = Counter(field.name for field in fields)
    if repeated := next((name for name, count in counts.items() if count > 1), None):
        return f"{kind} {path + repeated!r}"
    for field in fields:
        if found := _twice_within(field.type, f"{path}{field.name}."):
            return found
    return None


def _twice_within(kind: pa.DataType, path: str) -> str | None:
    inner = [kind.field(index) for index in range(kind.num_fields)]
    if pa.types.is_struct(kind):
        return _twice(inner, "member", path)
    return next(filter(None, (_twice_within(field.type, path) for field in inner)), None)


# ------------------------------------------------------------------------------------------------ rows


def _rows_of(source: pq.ParquetFile, group: int, reading: Reading) -> Iterator[dict[str, Any] | Failure]:
    known = source.metadata.row_group(group)
    count, bound = known.num_rows, reading.max_document_bytes
    for index in range(known.num_columns):
        chunk = known.column(index)
        size = chunk.total_uncompressed_size
        if size > _LARGEST_CHUNK and (size > count * bound or size > _UNLIKELY_RATIO * chunk.total_compressed_size):
            told = f"the column {chunk.path_in_schema!r} in the {count} rows of its row group, of {size} bytes,"
            yield from (reading.too_large(told, b"") for _ in range(count))
            return
    each = known.total_byte_size // max(1, count)
    together = max(1, min(_ROWS, _TOGETHER_BYTES // max(1, each)))
    for batch in source.iter_batches(batch_size=together, row_groups=[group]):
        if _most(batch) <= max(bound, _TOGETHER_BYTES):
            yield from _small_enough(batch, reading)
            continue
        for index in range(batch.num_rows):
            yield from _small_enough(_decoded(batch.slice(index, 1)), reading)


def _most(batch: pa.RecordBatch) -> int:
    """Bytes that a batch takes as values at most; a dictionary's values may all be the largest."""
    total = 0
    for column in batch.columns:
        repeated = len(column) if pa.types.is_dictionary(column.type) else 1
        total += column.nbytes * repeated
    return total


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns: list[Any] = list(batch.columns)
    columns = [one.dictionary_decode() if pa.types.is_dictionary(one.type) else one for one in columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _small_enough(batch: pa.RecordBatch, reading: Reading) -> Iterator[dict[str, Any] | Failure]:
    """The rows of a batch, each that is too large as its failure, with the beginning of its text."""
    bound = reading.max_document_bytes
    if _most(batch) <= bound:
        yield from rows(batch, reading)
        return
    for index in range(batch.num_rows):
        one = _decoded(batch.slice(index, 1))
        if one.nbytes <= bound:
            yield from rows(one, reading)
        else:
            largest = max(one.schema.names, key=lambda name: one.column(name).nbytes)
            yield reading.too_large(
                f"the row of {one.nbytes} bytes, most of them in {largest!r},", _beginning(one, largest)
            )


def _beginning(row: pa.RecordBatch, name: str) -> bytes:
    """The first bytes of a text or binary cell; none of others."""
    value = row.column(name)[0]
    with contextlib.suppress(Exception):
        return value.as_buffer().slice(0, 1 << 16).to_pybytes()  # type: ignore[no-any-return]
    return b""


def rows(batch: pa.RecordBatch, reading: Reading) -> Iterator[dict[str, Any] | Failure]:
    """The rows of a batch: each as a dict of JSON values, or why it has none.

    Bytes become text in the columns of ids and texts, base64 elsewhere. Times that Python cannot hold (nanoseconds,
    years beyond 9999) become text as Arrow writes it.
    """
    columns: dict[str, list[Any]] = {
        name: _ids(column) if name == reading.id_field else _values(column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    for index in range(batch.num_rows):
        row = {name: values[index] for name, values in columns.items()}
        bad = next(((name, value) for name, value in row.items() if isinstance(value, _Unreadable)), None)
        if bad:
            yield Failure("read", "unreadable", f"the column {bad[0]!r} holds what cannot be read: {bad[1].reason}")
            continue
        yield _as_json(row, reading)


def _as_json(row: Mapping[str, Any], reading: Reading) -> dict[str, Any] | Failure:
    done: dict[str, Any] = {}
    for name, value in row.items():
        if name == reading.id_field:
            done[name] = value
        elif name == reading.text_field and isinstance(value, bytes):
            try:
                done[name] = text_of(value)
            except NotTextError as e:
                code: Code = "not_text" if e.is_other_kind else "not_utf8"
                return Failure("read", code, f"the column {name!r} {e}")
        else:
            done[name] = _json(value)
    return done


class _Unreadable:
    """Stands for a value that Arrow cannot hand over."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _values(column: pa.Array[Any]) -> list[Any]:
    # Arrow raises whatever Python's own types raise.
    with contextlib.suppress(Exception):
        return column.to_pylist()
    with contextlib.suppress(Exception):
        # In UTC where there is a time zone: it may be one that this machine does not know.
        plain = column.cast(pa.timestamp(column.type.unit)) if pa.types.is_timestamp(column.type) else column
        return plain.cast(pa.string()).to_pylist()
    return [_value(column, index) for index in range(len(column))]


def _value(column: pa.Array[Any], index: int) -> Any:
    try:
        return column[index].as_py()
    except Exception as e:
        return _Unreadable(" ".join(str(e).split())[:200] or type(e).__name__)


def _ids(column: pa.Array[Any]) -> list[Any]:
    """Ids, binary ones as text: of 16 bytes that are no text in some row of a column, each row's is a UUID's."""
    values = _values(column)
    if not any(isinstance(value, bytes) for value in values):
        return values
    binary = [value for value in values if isinstance(value, bytes)]
    if all(len(value) == 16 for value in binary) and not all(
        value.isascii() and value.decode().isprintable() for value in binary
    ):
        return [uuid.UUID(bytes=value) if isinstance(value, bytes) else value for value in values]
    return [_id(value) if isinstance(value, bytes) else value for value in values]


def _id(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError as e:
        return uuid.UUID(bytes=value) if len(value) == 16 else _Unreadable(f"not UTF-8: {e.reason} at byte {e.start}")


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value
