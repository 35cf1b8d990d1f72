"""JSON Schema to Arrow: which column a schema becomes, and how an instance fills it.

One column a property, typed as far as the schema says. What a typed cell cannot give back exactly (an integer beyond 64
bits, a property that the schema does not name, an explicit null where the property may also be absent) is not lost and
not altered: the cell is null and the value stands under its JSON Pointer in the row's ``_additional`` column. What has
no faithful type (a union, a free map, a recursive reference) is a column of Arrow's JSON type holding the value's text.

`column_for` decides once a schema; the `Column` it returns is then asked for each instance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa

from kimi_beam import jsontext

JSON = pa.json_(pa.string())
_TEXT = pa.string()
_MAX_INT64 = (1 << 63) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

Rest: TypeAlias = dict[str, Any]
"""JSON Pointer → value: what the typed cells of a row cannot hold."""

Fill: TypeAlias = Callable[[Any, str, Rest], Any]
"""(value, its JSON Pointer, the row's rest) -> the cell; what the cell cannot hold goes into the rest."""


@dataclass(frozen=True, slots=True)
class Column:
    """What one schema becomes.

    Attributes:
        type: The column's Arrow type as written.
        storage: The type that Python cells are converted to first; differs from `type` where a JSON column is inside.
        fill: Makes a cell of a value; None where every valid value is its own cell, so that nothing need be called.
        null: Whether the schema allows null.
    """

    type: pa.DataType
    storage: pa.DataType
    fill: Fill | None
    null: bool


def column_for(schema: Any, root: Any) -> Column:
    """Decides the column of a schema.

    Args:
        schema: A JSON Schema (dict or bool).
        root: The document that local references (``#/$defs/…``) point into.
    """
    return _column(schema, root, ())


def pointer(parent: str, token: str | int) -> str:
    """The JSON Pointer of a child (RFC 6901)."""
    return f"{parent}/{str(token).replace('~', '~0').replace('/', '~1')}"


def resolve(schema: Any, root: Any, seen: tuple[int, ...] = ()) -> tuple[Any, tuple[int, ...]]:
    """Follows local references.

    Returns:
        The schema that the references lead to and the references passed (by identity), or None for it where the
        chain is recursive, leaves the document, or has keywords beside ``$ref`` that change its type.
    """
    while isinstance(schema, dict):
        if len(schema.get("allOf", ())) == 1 and not _shaping(schema):
            schema = schema["allOf"][0]
            continue
        if "$ref" not in schema:
            break
        target = _local(schema["$ref"], root)
        if target is None or id(target) in seen or _shaping(schema):
            return None, seen
        seen, schema = (*seen, id(target)), target
    return schema, seen


def _shaping(schema: Mapping[str, Any]) -> bool:
    return any(k in schema for k in ("type", "properties", "items", "anyOf", "oneOf", "enum", "const"))


def _local(ref: Any, root: Any) -> Any:
    if ref == "#":
        return root
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return None
    node = root
    for token in ref[2:].split("/"):
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node


def _column(schema: Any, root: Any, seen: tuple[int, ...]) -> Column:
    schema, seen = resolve(schema, root, seen)
    if not isinstance(schema, dict):
        return _json()
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and "type" not in schema:
            branches = [b for b in schema[keyword] if not _only_null(b)]
            if len(branches) == 1 and not _shaping({k: v for k, v in schema.items() if k != keyword}):
                inner = _column(branches[0], root, seen)
                if inner.type == JSON:
                    return _json()
                return Column(inner.type, inner.storage, inner.fill, inner.null or len(schema[keyword]) > 1)
            return _json()
    kinds = _types(schema)
    null = "null" in kinds
    kinds = kinds - {"null"}
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    if len(kinds) != 1:
        return _json()
    (kind,) = kinds
    if kind == "object":
        return _object(schema, root, seen, null)
    if kind == "array":
        return _array(schema, root, seen, null)
    scalar = _string(schema) if kind == "string" else _SCALARS[kind]
    return Column(scalar[0], scalar[0], scalar[1], null)


def _types(schema: Mapping[str, Any]) -> set[str]:
    """The JSON types that the schema admits, as far as ``type``, ``const`` and ``enum`` say."""
    if "type" in schema:
        kind = schema["type"]
        return {kind} if isinstance(kind, str) else set(kind)
    if "const" in schema:
        return {_type_of(schema["const"])}
    if isinstance(schema.get("enum"), list):
        return {_type_of(value) for value in schema["enum"]}
    return set()


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, (float, Decimal)):
        return "number"
    return "array" if isinstance(value, list) else "object"


def _only_null(schema: Any) -> bool:
    return isinstance(schema, dict) and _types(schema) == {"null"}


# ------------------------------------------------------------------------------------------------ scalars


def _json() -> Column:
    return Column(JSON, _TEXT, lambda value, _pointer, _rest: jsontext.dumps(value).decode(), True)


def _string(schema: Mapping[str, Any]) -> tuple[pa.DataType, Fill | None]:
    return _FORMATS.get(schema.get("format", ""), (_TEXT, None))


def _integer(value: Any, at: str, rest: Rest) -> int | None:
    # A schema says integer to 1.0 as well, and to 1e20.
    number = value if type(value) is int else int(value)
    if -_MAX_INT64 - 1 <= number <= _MAX_INT64:
        return number
    rest[at] = value
    return None


def _number(value: Any, at: str, rest: Rest) -> float | None:
    if type(value) is float:
        return value
    if type(value) is int and -(1 << 53) <= value <= 1 << 53:
        return float(value)
    rest[at] = value
    return None


def _date(value: str, at: str, rest: Rest) -> date | None:
    # Python 3.11 reads more spellings than ISO 8601's plain one, which would then come back altered.
    if len(value) == 10:
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    rest[at] = value
    return None


def _date_time(value: str, at: str, rest: Rest) -> int | None:
    """Microseconds since 1970; equal as an instant, which is what the schema's date-time is."""
    text = value.upper().replace("Z", "+00:00")
    head, _, tail = text.partition(".")
    if tail:
        digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
        zone = tail[len(digits) :]
        if digits[6:].strip("0"):
            head = ""  # finer than a microsecond
        text = f"{head}.{digits[:6]:0<6}{zone}"
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            delta = moment - _EPOCH
            return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    except (ValueError, OverflowError):
        pass
    rest[at] = value
    return None


_FORMATS: dict[str, tuple[pa.DataType, Fill | None]] = {
    "date": (pa.date32(), _date),
    "date-time": (pa.timestamp("us", "UTC"), _date_time),
}
_SCALARS: dict[str, tuple[pa.DataType, Fill | None]] = {
    "integer": (pa.int64(), _integer),
    "number": (pa.float64(), _number),
    "boolean": (pa.bool_(), None),
}


# ------------------------------------------------------------------------------------------------ containers


def properties(schema: Mapping[str, Any], root: Any, seen: tuple[int, ...] = ()) -> dict[str, Column]:
    """The column of each property that an object schema names."""
    return {name: _column(sub, root, seen) for name, sub in schema.get("properties", {}).items()}


def _object(schema: Mapping[str, Any], root: Any, seen: tuple[int, ...], null: bool) -> Column:
    columns = properties(schema, root, seen)
    if not columns:
        return _json()  # Parquet has no empty struct, and a free map keeps its keys as text
    kind = pa.struct([pa.field(name, c.type) for name, c in columns.items()])
    storage = pa.struct([pa.field(name, c.storage) for name, c in columns.items()])
    return Column(kind, storage, object_fill(schema, columns), null)


def object_fill(schema: Mapping[str, Any], columns: Mapping[str, Column]) -> Fill | None:
    """Makes the dict of cells of an object.

    Returns:
        None where each valid object is its own dict of cells: it is closed, and so are the objects inside.
    """
    required = set(schema.get("required", ()))
    fills = {name: c.fill for name, c in columns.items()}
    # A null cell alone means "absent", so an explicit null is recorded where the schema allows either.
    ambiguous = {name for name, c in columns.items() if c.null and name not in required}
    closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    if closed and not ambiguous and not any(fills.values()):
        return None

    def fill(value: dict[str, Any], at: str, rest: Rest) -> dict[str, Any]:
        cells = {}
        for name, item in value.items():
            if name not in fills:
                rest[pointer(at, name)] = item
            elif item is None:
                if name in ambiguous:
                    rest[pointer(at, name)] = None
            else:
                inner = fills[name]
                cells[name] = item if inner is None else inner(item, pointer(at, name), rest)
        return cells

    return fill


def _array(schema: Mapping[str, Any], root: Any, seen: tuple[int, ...], null: bool) -> Column:
    items = schema.get("items")
    if not isinstance(items, dict) or "prefixItems" in schema:
        return _json()
    item = _column(items, root, seen)
    inner = item.fill
    fill: Fill | None = None
    if inner is not None:
        make = inner

        def fill(value: list[Any], at: str, rest: Rest) -> list[Any]:
            return [None if v is None else make(v, f"{at}/{i}", rest) for i, v in enumerate(value)]

    return Column(pa.list_(item.type), pa.list_(item.storage), fill, null)
