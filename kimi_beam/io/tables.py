"""Rows of other people's Parquet files as JSON values: one value that cannot be had costs one row, not the file."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from kimi_beam.types import Failure


def rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Failure]:
    """The rows of a batch: each as a dict of JSON values, or why it has none.

    Bytes become text where the column is ``id`` or ``text``, base64 elsewhere. Times that Python cannot hold
    (nanoseconds, years beyond 9999) become text as Arrow writes it.
    """
    columns = {name: _values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for index in range(batch.num_rows):
        row = {name: values[index] for name, values in columns.items()}
        bad = next(((name, value) for name, value in row.items() if isinstance(value, _Unreadable)), None)
        if bad:
            yield Failure("read", "unreadable", f"the column {bad[0]!r} holds what cannot be read: {bad[1].reason}")
            continue
        try:
            yield {name: _text(value) if name in ("id", "text") else _json(value) for name, value in row.items()}
        except UnicodeDecodeError as e:
            yield Failure("read", "not_utf8", f"the id or text is not UTF-8: {e.reason} at byte {e.start}")


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


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value
