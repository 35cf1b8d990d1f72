"""Reads gold: lines of JSON, each with the id of a document and what is right for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kimi_beam.errors import InputError
from kimi_beam.files.paths import find, open_input
from kimi_beam.files.store_errors import in_one_line
from kimi_beam.ids import id_text
from kimi_beam.schema import jsontext


class GoldRecord(NamedTuple):
    """What is right for one document."""

    document_id: str
    gold: Any
    group: str | None
    """The value of the key by which documents are told apart; None if the line does not have it."""


def read_gold(path: str, *, gold_field: str, id_field: str, by: str | None = None) -> dict[str, GoldRecord]:
    """Reads the gold of all documents.

    Args:
        path: A file of JSON lines on any filesystem that Beam knows, perhaps compressed.
        gold_field: The key of what is right.
        id_field: The key of the document's id.
        by: The key by which documents are told apart, or None.

    Returns:
        The gold by id.

    Raises:
        InputError: The file or a line of it cannot be read, lacks an id or the gold, or repeats an id.
    """
    found: dict[str, GoldRecord] = {}
    for where, record in objects_of(path, "gold"):
        if (document_id := id_text(record.get(id_field))) is None:
            raise InputError(f"{where}: no id at the key {id_field!r} ({_keys(record)}; --id-field names another)")
        if document_id in found:
            raise InputError(f"{where}: the id {document_id!r} stands there twice: one gold for each document")
        if record.get(gold_field) is None:
            raise InputError(
                f"{where}: no gold at the key {gold_field!r} ({_keys(record)}; --gold-field names another)"
            )
        found[document_id] = GoldRecord(document_id, record[gold_field], group_name(record.get(by)) if by else None)
    if not found:
        raise InputError(f"{path} holds no gold: it is JSON lines, each with {id_field!r} and {gold_field!r}")
    return found


def objects_of(path: str, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a file of JSON objects with ids, each with the words that name its place in messages.

    Args:
        path: A file of JSON lines on any filesystem that Beam knows, perhaps compressed.
        what: What the file holds, for messages.

    Raises:
        InputError: The file or a line of it cannot be read.
    """
    for number, line in enumerate(_lines(path, what), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, _object(line, where, what)


def group_name(value: Any) -> str | None:
    """The name of a slice: a string is its own name, other values are named by their JSON; None for null."""
    if value is None or isinstance(value, str):
        return value
    return jsontext.dumps_any(value).decode()


def _keys(record: dict[str, Any]) -> str:
    more = ", …" if len(record) > 8 else ""
    return f"it has {', '.join(list(record)[:8])}{more}" if record else "it has none"


def _object(line: bytes, where: str, what: str) -> dict[str, Any]:
    try:
        record = jsontext.loads_unique(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as e:
        raise InputError(f"{where}: not JSON: {' '.join(str(e).split())[:200]}") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: a JSON {type(record).__name__}, where an object with id and {what} is needed")
    return record


def _lines(path: str, what: str) -> Iterator[bytes]:
    """The lines of a file.

    Raises:
        InputError: It cannot be read, or there is none.
    """
    if not find(path):
        raise InputError(f"there is no {what} at {path}")
    try:
        with open_input(path) as f:
            yield from f
    except Exception as e:  # whatever a filesystem or a decompressor raises
        raise InputError(f"cannot read {path}: {in_one_line(path, e)}") from None
