"""Reads documents from the rows of Parquet files. A value that cannot be read costs its row, not the file."""

from __future__ import annotations

import base64
import contextlib
import itertools
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kimi_beam.beam_extensions.document_coder import GATHERED_DOCUMENTS, Documents
from kimi_beam.input.encodings import NotTextError, text_of
from kimi_beam.input.fields import ALL_FIELDS, POSITION, Reading, enumerate_keys, failed, from_fields
from kimi_beam.input.file_parts import Part
from kimi_beam.input.row_sizes import column_bytes, plan, row_bytes
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Code, Failure
from kimi_beam.wire.size_limits import BEGINNING

Row: TypeAlias = "dict[str, Any] | Failure"
"""The JSON values of a row by column, or the failure that says why it cannot be read."""
_TOGETHER_BYTES = 4 << 20
"""Bytes of rows from which on a block of documents is passed on. A single row may have more."""


def read_row_blocks(f: BinaryIO, part: Part, reading: Reading) -> Iterator[Documents | Document]:
    """The documents of the row groups of a part, in blocks.

    A fault of the whole file, such as a missing column, gives one failed document, with the file's first part.
    """
    source = pq.ParquetFile(f)
    wrong = _wrong_columns(source.schema_arrow, reading)
    if wrong is not None:
        if part.start == 0:
            code, message = wrong
            yield failed(part.path, part.path, Failure("read", code, f"{part.path} {message}"))
        return
    number = sum(source.metadata.row_group(group).num_rows for group in range(part.start))
    stop = source.num_row_groups if part.stop is None else part.stop
    block: list[Document] = []
    block_bytes = 0
    try:
        for group in range(part.start, stop):
            for size, run in _runs_of(source, f, group, reading):
                for row in run:
                    number += 1
                    block.append(_document(row, number, part.path, reading))
                    if len(block) == GATHERED_DOCUMENTS:
                        yield Documents.of(block)
                        block, block_bytes = [], 0
                block_bytes += size
                if block_bytes > _TOGETHER_BYTES:
                    yield Documents.of(block)
                    block, block_bytes = [], 0
    except Exception:
        if block:
            yield Documents.of(block)
        raise
    if block:
        yield Documents.of(block)


def _document(row: Row, number: int, path: str, reading: Reading) -> Document:
    position = f"{path}#{number}"
    default_id = position if reading.id_field == POSITION else None
    document = row if isinstance(row, Failure) else from_fields(row, path, None, reading, default_id=default_id)
    return failed(position, path, document) if isinstance(document, Failure) else document


def _wrong_columns(schema: pa.Schema, reading: Reading) -> tuple[Code, str] | None:
    """The code and message of a fault in the columns that no row can be read with; None if there is none."""
    if repeated := _repeated(schema, "column"):
        return "repeated_key", f"has the {repeated} twice: nobody can say which of them counts"
    names = schema.names
    wanted = (reading.id_field, reading.text_field)
    missing = [name for name in wanted if name not in names and name not in (ALL_FIELDS, POSITION)]
    if not missing or (missing == [reading.text_field] and "images" in names):
        return None
    code: Code = "missing_id" if reading.id_field in missing else "missing_text"
    options = {reading.id_field: "--id-field", reading.text_field: "--text-field"}
    message = f"has no column {' and no column '.join(missing)}"
    others = enumerate_keys([name for name in names if name not in (reading.id_field, reading.text_field)])
    if others:
        message += f"; it has {others} ({', '.join(options[name] for name in missing)}: use another)"
    return code, message


def _repeated(fields: Any, kind: str, path: str = "") -> str | None:
    """The first column of a file, or member of a struct, whose name another one has too; None if there is none."""
    counts = Counter(field.name for field in fields)
    if repeated := next((name for name, count in counts.items() if count > 1), None):
        return f"{kind} {path + repeated!r}"
    for field in fields:
        if found := _repeated_within(field.type, f"{path}{field.name}."):
            return found
    return None


def _repeated_within(kind: pa.DataType, path: str) -> str | None:
    inner = [kind.field(index) for index in range(kind.num_fields)]
    if pa.types.is_struct(kind):
        return _repeated(inner, "member", path)
    return next(filter(None, (_repeated_within(field.type, path) for field in inner)), None)


# ------------------------------------------------------------------------------------------------ rows


def _runs_of(source: pq.ParquetFile, f: BinaryIO, group: int, reading: Reading) -> Iterator[tuple[int, Iterable[Row]]]:
    """The rows of a row group, in runs that fit into memory, each with its approximate bytes."""
    how = plan(source, f, group, reading.max_document_bytes)
    if how.refused is not None:
        failure = reading.too_large(how.refused, b"")
        yield 0, itertools.repeat(failure, source.metadata.row_group(group).num_rows)
        return
    if how.dictionaries:
        source = pq.ParquetFile(f, metadata=source.metadata, read_dictionary=list(how.dictionaries))
    for batch in source.iter_batches(batch_size=how.rows, row_groups=[group]):
        yield from _small_enough(batch, reading)


def _small_enough(batch: pa.RecordBatch, reading: Reading) -> Iterator[tuple[int, Iterable[Row]]]:
    """The rows of a batch, in runs that take no more than the bound. A row that alone takes more becomes a failure."""
    bound = reading.max_document_bytes
    if batch.nbytes <= bound // 8 and not any(map(_holds_dictionary, batch.schema.types)):
        yield batch.nbytes, rows(batch, reading)
        return
    ends = row_bytes(batch).cumsum()
    begin = before = 0
    while begin < batch.num_rows:
        end = int(ends.searchsorted(before + min(bound, 2 * _TOGETHER_BYTES), side="right"))
        if end <= begin:
            end = begin + 1
        size = int(ends[end - 1]) - before
        run = batch.slice(begin, end - begin)
        yield size, rows(_decoded(run), reading) if size <= bound else [_oversize(run, reading)]
        begin, before = end, before + size


def _oversize(row: pa.RecordBatch, reading: Reading) -> Failure:
    """The failure of a row that is too large, with the beginning of its largest cell."""
    sizes = {name: column_bytes(column) for name, column in zip(row.schema.names, row.columns, strict=True)}
    largest = max(sizes, key=sizes.__getitem__)
    subject = f"the row of {sum(sizes.values())} bytes, most of them in {largest!r},"
    return reading.too_large(subject, _beginning(row.column(largest)))


def _beginning(cell: Any) -> bytes:
    """The first bytes of a text or binary cell, without copying all of it. Empty for cells of other types."""
    if pa.types.is_dictionary(cell.type):
        return _beginning(cell.dictionary.slice(cell.indices[0].as_py(), 1))
    kinds = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    binary = cell.view(kinds.get(cell.type, cell.type))
    with contextlib.suppress(pa.ArrowNotImplementedError):
        return bytes(pc.binary_slice(binary, 0, BEGINNING)[0].as_py())
    return b""


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with plain columns in place of dictionary-encoded ones."""
    if not any(map(_holds_dictionary, batch.schema.types)):
        return batch
    all_rows = pa.array(range(batch.num_rows), pa.int32())
    return pa.RecordBatch.from_arrays(
        [
            # The rows are copied first, because a cast of a slice of a list column casts the items of the whole column.
            column.take(all_rows).cast(_plain(column.type)) if _holds_dictionary(column.type) else column
            for column in batch.columns
        ],
        names=batch.schema.names,
    )


def _holds_dictionary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    return any(_holds_dictionary(kind.field(index).type) for index in range(kind.num_fields))


def _plain(kind: Any) -> Any:
    """The same type without dictionary encoding."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(kind.field(index)) for index in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(_plain_field(kind.value_field))
    return pa.list_(_plain_field(kind.value_field)) if pa.types.is_list(kind) else kind


def _plain_field(field: Any) -> Any:
    return field.with_type(_plain(field.type))


def rows(batch: pa.RecordBatch, reading: Reading) -> Iterator[Row]:
    """The rows of a batch, each as a dict of JSON values, or as the failure that says why it cannot be read.

    Bytes become text in the columns of ids and texts, base64 elsewhere. Times that Python cannot hold (nanoseconds,
    years beyond 9999) become text as Arrow writes it.
    """
    columns: dict[str, list[Any]] = {
        name: _ids(column) if name == reading.id_field else _values(column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    for index in range(batch.num_rows):
        row = {name: values[index] for name, values in columns.items()}
        unreadable = next(((name, value) for name, value in row.items() if isinstance(value, _Unreadable)), None)
        if unreadable:
            name, value = unreadable
            yield Failure("read", "unreadable", f"the column {name!r} holds what cannot be read: {value.reason}")
            continue
        yield _as_json(row, reading)


def _as_json(row: Mapping[str, Any], reading: Reading) -> Row:
    values: dict[str, Any] = {}
    for name, value in row.items():
        if name == reading.id_field:
            values[name] = value
        elif name == reading.text_field and isinstance(value, bytes):
            try:
                values[name] = text_of(value)
            except NotTextError as e:
                code: Code = "not_text" if e.is_other_kind else "not_utf8"
                return Failure("read", code, f"the column {name!r} {e}")
        else:
            values[name] = _json(value)
    return values


class _Unreadable:
    """Stands for a value that Arrow cannot convert to Python."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _values(column: pa.Array[Any]) -> list[Any]:
    # Any exception is possible, because Arrow lets those of the Python types through that it makes.
    with contextlib.suppress(Exception):
        return column.to_pylist()
    with contextlib.suppress(Exception):
        # Without its time zone a timestamp is written in UTC. This machine may not know the zone.
        plain = column.cast(pa.timestamp(column.type.unit)) if pa.types.is_timestamp(column.type) else column
        return plain.cast(pa.string()).to_pylist()
    return [_value(column, index) for index in range(len(column))]


def _value(column: pa.Array[Any], index: int) -> Any:
    try:
        return column[index].as_py()
    except Exception as e:
        return _Unreadable(" ".join(str(e).split())[:200] or type(e).__name__)


def _ids(column: pa.Array[Any]) -> list[Any]:
    """The ids in a column, binary ones as text or UUIDs.

    If all binary ids have 16 bytes and at least one is not printable ASCII, all of them are UUIDs.
    """
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
