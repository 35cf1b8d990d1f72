"""Sizes of Parquet rows in memory: estimated before they are read, and computed afterwards.

A few bytes of a Parquet file can become very many in memory. A value that rows share is stored once (a dictionary), a
run of equal values as one value and a count, a text as its difference from the text before (DELTA_BYTE_ARRAY), and all
of it is compressed. The footer says how many values a column of a row group has and how large its pages are. It does
not say how often the largest value is used, so the estimate takes the largest for each.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_ROWS = 1024
"""The most rows that are decoded at once."""
_TOGETHER_BYTES = 32 << 20
"""The most bytes that are decoded at once, by the average size of a row."""
_AT_WORST_BYTES = 64 << 20
"""The most bytes that are decoded at once, if each row held the largest value that its column can hold."""
_LEAST_ROWS = 128
"""The fewest rows that are decoded at once if dictionaries have the usual size, because each decoding costs time."""
_LARGEST_CHUNK = 512 << 20
"""Uncompressed bytes of a column in a row group beyond which the row group is refused if a cell is, or probably is, too
large. Parquet cannot read a part of a cell: it decompresses the whole page, at about three times its size in memory."""
_UNLIKELY_RATIO = 200
"""The compression of a column beyond which it is probably one huge value: texts and pictures shrink by 2 to 20."""
_USUAL_DICTIONARY = 2 << 20
"""Bytes of a dictionary beyond which it holds single large values: writers end one at about 1 MB."""
_COPIED_BYTES = 16 << 30
"""Bytes up to which a dictionary's values are copied at worst, before Arrow is asked to keep the dictionary. Keeping it
costs five times as much time for the values that are not in the dictionary."""
_AT_ONCE_BYTES = 1 << 30
"""Bytes up to which the items of lists are copied out of a dictionary. The bound is lower, because one row may hold
all of them."""
_NUMBERS_A_BYTE = 16
"""Dictionary indices in a byte of the file beyond which they are runs of equal indices."""
_VALUE = 8
"""The fewest bytes that a value is counted with, because even a null takes space as an item of a list."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of a value by its physical type; a BYTE_ARRAY has any number, a FIXED_LEN_BYTE_ARRAY its own."""
_DICTIONARY_PAGE = 2

Sizes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a row group is read.

    Attributes:
        rows: How many rows are decoded at once.
        dictionaries: Columns that are read as dictionaries, so that a value that many rows share is in memory once.
        refused: The subject of a message that says why the row group is not read. None: it is read.
    """

    rows: int
    dictionaries: tuple[str, ...] = ()
    refused: str | None = None


def plan(source: pq.ParquetFile, f: BinaryIO, group: int, bound: int) -> Plan:
    """Plans how to read a row group in bounded memory.

    Args:
        source: The file.
        f: The opened file, for the headers of pages, which Arrow does not show.
        group: The index of the row group.
        bound: The most bytes of a row.
    """
    metadata = source.metadata.row_group(group)
    count = max(1, metadata.num_rows)
    usual, at_worst = metadata.total_byte_size // count, 1
    dictionaries: list[str] = []
    for index in range(metadata.num_columns):
        chunk, column = metadata.column(index), source.schema.column(index)
        subject = f"the column {chunk.path_in_schema!r} in the {count} rows of its row group, of {{}} bytes,"
        is_nested = column.max_repetition_level > 0
        width = _WIDTHS.get(column.physical_type) or column.length or 0
        size = max(chunk.total_uncompressed_size, chunk.num_values * max(_VALUE, width) if is_nested else 0)
        is_unlikely = size > _UNLIKELY_RATIO * chunk.total_compressed_size
        if size > _LARGEST_CHUNK and (size > count * bound or is_unlikely):
            return Plan(0, (), subject.format(size))
        usual += (chunk.num_values * max(4, width)) // count
        if column.physical_type != "BYTE_ARRAY":
            continue
        largest = _dictionary_bytes(f, chunk)
        if _keeps_dictionary(chunk, largest, bound, is_nested=is_nested):
            dictionaries.append(chunk.path_in_schema)
            largest = 0
        if "DELTA_BYTE_ARRAY" in chunk.encodings:
            chunk_bytes = chunk.total_uncompressed_size
            if is_nested and is_unlikely and chunk_bytes * chunk.num_values > _COPIED_BYTES:
                return Plan(0, (), subject.format(f"perhaps {chunk_bytes * chunk.num_values}"))
            # In theory each value could begin with all bytes of the page. That is assumed only of a column with an
            # unlikely compression.
            largest = max(largest, chunk_bytes if is_unlikely else min(chunk_bytes // 4, _AT_WORST_BYTES // 16))
        at_worst = max(at_worst, largest * max(1, chunk.num_values // count))
    least = _LEAST_ROWS if at_worst <= _USUAL_DICTIONARY else 1
    rows = min(_ROWS, _TOGETHER_BYTES // max(1, usual), max(_AT_WORST_BYTES // at_worst, least))
    return Plan(max(1, rows), tuple(dictionaries))


def _keeps_dictionary(chunk: Any, largest: int, bound: int, *, is_nested: bool) -> bool:
    """Whether a column is read as a dictionary, which is slow if most of its values are not in the dictionary.

    Args:
        chunk: The column's metadata in the row group.
        largest: The most bytes of a value in its dictionary.
        bound: The most bytes of a row.
        is_nested: Whether the column holds lists.
    """
    copied = largest * chunk.num_values
    if not is_nested:  # a few rows at a time fit into memory, so only the time for copying counts
        return largest > bound and copied > _COPIED_BYTES
    index_bytes = chunk.total_compressed_size - (chunk.data_page_offset - (chunk.dictionary_page_offset or 0))
    has_runs = index_bytes * _NUMBERS_A_BYTE < chunk.num_values
    return copied > _AT_ONCE_BYTES and (largest > _USUAL_DICTIONARY or has_runs)


def _dictionary_bytes(f: BinaryIO, chunk: Any) -> int:
    """Uncompressed bytes of a column's dictionary, which no value of it exceeds; 0 if it has no dictionary."""
    offsets = (chunk.dictionary_page_offset, chunk.data_page_offset)
    f.seek(min(offset for offset in offsets if offset))
    kind, size = _page_header(f.read(16))
    return size if kind == _DICTIONARY_PAGE else 0


def _page_header(header: bytes) -> tuple[int, int]:
    """The kind of a page and its uncompressed bytes, with which its header begins; zeros if it is no such header.

    Each is a byte 0x15, then the number, doubled, in bytes of 7 bits (Thrift's compact protocol).
    """
    numbers: list[int] = []
    position = 0
    for _ in range(2):
        if header[position : position + 1] != b"\x15":
            return 0, 0
        number = shift = 0
        while True:
            position += 1
            byte = header[position] if position < len(header) else 0
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        position += 1
        numbers.append(number >> 1)
    return numbers[0], numbers[1]


# ------------------------------------------------------------------------------------------------ once they are read


def row_bytes(batch: pa.RecordBatch) -> Sizes:
    """The bytes of each row of a batch. A dictionary's value is counted each time that a row uses it."""
    total = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        total += _each(column)
    return total


def column_bytes(column: pa.Array[Any]) -> int:
    """The bytes of all values of a column, counted as by `row_bytes`."""
    return int(_each(column).sum())


def _each(column: Any) -> Sizes:
    """The bytes of each value of a column, at least `_VALUE`."""
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        return _each(column.storage)
    if pa.types.is_dictionary(kind):
        sizes = _each(column.dictionary)
        if len(sizes) == 0:
            return np.full(len(column), _VALUE, np.int64)
        return np.where(_nulls(column), _VALUE, sizes[_numbers(column.indices)])
    if pa.types.is_struct(kind):
        total = np.full(len(column), _VALUE, np.int64)
        for field in column.flatten():
            total += _each(field)
        return total
    if pa.types.is_map(kind) or pa.types.is_nested(kind):
        return _VALUE + _sums(column)
    with contextlib.suppress(pa.ArrowNotImplementedError):
        return np.maximum(_numbers(pc.binary_length(column)), _VALUE)
    with contextlib.suppress(ValueError):  # the type has no fixed width
        return np.full(len(column), max(_VALUE, kind.bit_width // 8), np.int64)
    return np.full(len(column), max(_VALUE, column.nbytes // max(1, len(column))), np.int64)


def _sums(column: Any) -> Sizes:
    """The bytes of the items of each list, or of the keys and items of each map."""
    lengths = (
        pc.list_value_length(column) if not pa.types.is_map(column.type) else pc.list_value_length(_as_list(column))
    )
    ends = np.concatenate(([0], np.cumsum(_numbers(lengths))))
    items = _as_list(column) if pa.types.is_map(column.type) else column
    return np.diff(np.concatenate(([0], np.cumsum(_each(items.flatten()))))[ends])


def _as_list(column: Any) -> Any:
    return column.cast(pa.list_(pa.struct([column.type.key_field, column.type.item_field])))


def _numbers(column: Any) -> Sizes:
    filled: Sizes = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return filled


def _nulls(column: Any) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return found
