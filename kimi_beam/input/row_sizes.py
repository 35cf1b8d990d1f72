"""How large the rows of a Parquet file become in memory: before they are read, and once they are.

A few bytes of such a file can stand for a great many: a value that all rows share is stored once (a dictionary), a run
of equal values as one value and a count, a text as what it has more than the text before (DELTA_BYTE_ARRAY), and all
of it is compressed. The footer says how many values a column of a row group has and how large its pages are; what it
cannot say is how often the largest value is used, so that the largest is taken for each.
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
"""Rows that are in memory together as values, where they are small."""
_TOGETHER_BYTES = 32 << 20
"""Bytes that are in memory together as values."""
_AT_WORST_BYTES = 64 << 20
"""The same if each row held the largest value that its column can hold."""
_LEAST_ROWS = 128
"""Rows that are read together at least where dictionaries are no larger than usual: fewer cost time."""
_LARGEST_CHUNK = 512 << 20
"""Uncompressed bytes of a column in a row group beyond which it is not read where it holds an oversize cell, or most
likely does: Parquet has no way to read a part of a cell, and its page is decompressed whole, at about three times its
size in memory."""
_UNLIKELY_RATIO = 200
"""Of the bytes of so large a column to its bytes in the file: texts and pictures are compressed by 2 to 20."""
_USUAL_DICTIONARY = 2 << 20
"""Bytes of a dictionary beyond which it holds single large values: writers end one at about 1 MB."""
_COPIED_BYTES = 16 << 30
"""Bytes that are copied out of a dictionary value by value, at worst, rather than that Arrow is asked to keep the
dictionary: to look all other values of the column up in it costs five times as much as to read them."""
_AT_ONCE_BYTES = 1 << 30
"""Bytes beyond which the items of lists are not copied out of a dictionary, as one row may have all of them."""
_NUMBERS_A_BYTE = 16
"""Of values that are numbers into a dictionary: more than that in a byte of the file are runs of the same."""
_VALUE = 8
"""Bytes that a value takes at least: none is free as an item of a list, not even null."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of a value by its physical type; a BYTE_ARRAY has any number, a FIXED_LEN_BYTE_ARRAY its own."""
_DICTIONARY_PAGE = 2

Sizes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a row group is read.

    Attributes:
        rows: How many are read together.
        dictionaries: Columns that are read as dictionaries, so that a value that many rows share is in memory once.
        refused: Why it is not read at all, in words; None where it is.
    """

    rows: int
    dictionaries: tuple[str, ...] = ()
    refused: str | None = None


def plan(source: pq.ParquetFile, f: BinaryIO, group: int, bound: int) -> Plan:
    """How a row group can be read without more memory than it is worth.

    Args:
        source: The file.
        f: The same, for what Arrow does not tell of it.
        group: Which row group.
        bound: Bytes of a row at most.
    """
    known = source.metadata.row_group(group)
    count = max(1, known.num_rows)
    usual, at_worst = known.total_byte_size // count, 1
    dictionaries: list[str] = []
    for index in range(known.num_columns):
        chunk, column = known.column(index), source.schema.column(index)
        told = f"the column {chunk.path_in_schema!r} in the {count} rows of its row group, of {{}} bytes,"
        is_nested = column.max_repetition_level > 0
        width = _WIDTHS.get(column.physical_type) or column.length or 0
        size = max(chunk.total_uncompressed_size, chunk.num_values * max(_VALUE, width) if is_nested else 0)
        is_unlikely = size > _UNLIKELY_RATIO * chunk.total_compressed_size
        if size > _LARGEST_CHUNK and (size > count * bound or is_unlikely):
            return Plan(0, (), told.format(size))
        usual += (chunk.num_values * max(4, width)) // count
        if column.physical_type != "BYTE_ARRAY":
            continue
        largest = _dictionary_bytes(f, chunk)
        if _keeps_dictionary(chunk, largest, bound, is_nested=is_nested):
            dictionaries.append(chunk.path_in_schema)
            largest = 0
        if "DELTA_BYTE_ARRAY" in chunk.encodings:
            whole = chunk.total_uncompressed_size
            if is_nested and is_unlikely and whole * chunk.num_values > _COPIED_BYTES:
                return Plan(0, (), told.format(f"perhaps {whole * chunk.num_values}"))
            # All of a page may be the beginning of each value, but in a file of that size it hardly ever is.
            largest = max(largest, whole if is_unlikely else min(whole // 4, _AT_WORST_BYTES // 16))
        at_worst = max(at_worst, largest * max(1, chunk.num_values // count))
    least = _LEAST_ROWS if at_worst <= _USUAL_DICTIONARY else 1
    rows = min(_ROWS, _TOGETHER_BYTES // max(1, usual), max(_AT_WORST_BYTES // at_worst, least))
    return Plan(max(1, rows), tuple(dictionaries))


def _keeps_dictionary(chunk: Any, largest: int, bound: int, *, is_nested: bool) -> bool:
    """Whether a column is read as a dictionary, which is slow where most of its values stand outside of one."""
    each = largest * chunk.num_values
    if not is_nested:  # some rows at a time are small enough, if there is time to copy
        return largest > bound and each > _COPIED_BYTES
    numbers = chunk.total_compressed_size - (chunk.data_page_offset - (chunk.dictionary_page_offset or 0))
    return each > _AT_ONCE_BYTES and (largest > _USUAL_DICTIONARY or numbers * _NUMBERS_A_BYTE < chunk.num_values)


def _dictionary_bytes(f: BinaryIO, chunk: Any) -> int:
    """Bytes of a column's dictionary, uncompressed, which its largest value has at most; 0 where it has none."""
    places = (chunk.dictionary_page_offset, chunk.data_page_offset)
    f.seek(min(place for place in places if place))
    kind, size = _page_header(f.read(16))
    return size if kind == _DICTIONARY_PAGE else 0


def _page_header(header: bytes) -> tuple[int, int]:
    """The kind of a page and its uncompressed bytes, which its header begins with; zeros where it does not.

    Each stands there as a byte 0x15 and the number, doubled, in bytes of 7 bits (Thrift's compact protocol).
    """
    numbers: list[int] = []
    place = 0
    for _ in range(2):
        if header[place : place + 1] != b"\x15":
            return 0, 0
        number = shift = 0
        while True:
            place += 1
            byte = header[place] if place < len(header) else 0
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        place += 1
        numbers.append(number >> 1)
    return numbers[0], numbers[1]


# ------------------------------------------------------------------------------------------------ once they are read


def row_bytes(batch: pa.RecordBatch) -> Sizes:
    """Bytes that each row of a batch takes as values, a dictionary's counted wherever they are used."""
    total = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        total += _each(column)
    return total


def column_bytes(column: pa.Array[Any]) -> int:
    """Bytes that a column takes as values."""
    return int(_each(column).sum())


def _each(column: Any) -> Sizes:
    """Bytes of each value of a column, at least `_VALUE`."""
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
    with contextlib.suppress(ValueError):  # a type of no fixed width
        return np.full(len(column), max(_VALUE, kind.bit_width // 8), np.int64)
    return np.full(len(column), max(_VALUE, column.nbytes // max(1, len(column))), np.int64)


def _sums(column: Any) -> Sizes:
    """Bytes of the items of each list, or of the keys and items of each map."""
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
