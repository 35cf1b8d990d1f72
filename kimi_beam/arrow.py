"""JSON Schema to Arrow: which column a schema becomes, and how an instance fills it.

One column a property, typed as far as the schema says. What a typed cell cannot give back exactly (an integer beyond 64
bits, a property that the schema does not name, an explicit null where the property may also be absent) is not lost and
not altered: the cell is null and the value stands under its JSON Pointer in the row's ``_additional`` column. What has
no faithful type (a union, a free map, a recursive reference) is a column of Arrow's JSON type holding the value's text.

`columns_for` decides once a schema; the `Column` it returns is then asked for each instance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, TypeAlias
from urllib.parse import unquote

import pyarrow as pa

from kimi_beam import jsontext

JSON = pa.json_(pa.string())
_TEXT = pa.string()
_MAX_INT64 = (1 << 63) - 1
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
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


def columns_for(schema: Mapping[str, Any], root: Any) -> dict[str, Column]:
    """Decides the column of each property that an object schema names.

    Args:
        schema: The object schema.
        root: The document that local references (``#/$defs/…``) point into.
    """
    for references in _MAX_REFERENCES:
        try:
            return _properties(schema, _Walk(root, references), ())
        except _TooManyError:
            continue
    return dict.fromkeys(schema.get("properties", {}), _json())


_MAX_COLUMNS = 2_000
_MAX_REFERENCES = (8, 4, 2, 1, 0)
"""References inside each other, past which a property is JSON: mutual ones multiply at each level, so that the first
bound is taken under which a schema has no more than `_MAX_COLUMNS` columns."""


class _TooManyError(Exception):
    """The schema has too many columns when so many references are followed."""


class _Walk:
    """One way through a schema."""

    def __init__(self, root: Any, references: int) -> None:
        self.root, self.references, self._left = root, references, _MAX_COLUMNS

    def visit(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _TooManyError


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
        if schema is not root and ("$id" in schema or isinstance(schema.get("id"), str)):
            return None, seen  # what it refers to lies in another document than the root
        if "$ref" in schema:
            target = _local(schema["$ref"], root)
            if target is None or id(target) in seen or _shaping(schema) or "allOf" in schema:
                return None, seen
            seen, schema = (*seen, id(target)), target
        elif len(schema.get("allOf", ())) == 1 and not _shaping(schema):
            schema = schema["allOf"][0]
        else:
            break
    return schema, seen


def recurses(root: Any) -> bool:
    """Whether following references can come back to where it started."""
    targets: dict[int, list[int]] = {}
    nodes = {id(root): root}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        inner = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
        if isinstance(node, dict) and "$ref" in node:
            target = _local(node["$ref"], root)
            inner = [*inner, root if target is None else target]  # what cannot be followed may lead anywhere
        targets[id(node)] = [id(item) for item in inner]
        for item in inner:
            if isinstance(item, (dict, list)) and id(item) not in nodes:
                nodes[id(item)] = item
                waiting.append(item)
    # A graph is free of cycles when all its nodes can be taken away, those that lead nowhere first.
    open_ends = {node: {t for t in reached if t in targets} for node, reached in targets.items()}
    comes_from: dict[int, list[int]] = {}
    for node, reached in open_ends.items():
        for target in reached:
            comes_from.setdefault(target, []).append(node)
    free = [node for node, reached in open_ends.items() if not reached]
    taken = 0
    while free:
        taken += 1
        gone = free.pop()
        for node in comes_from.get(gone, ()):
            open_ends[node].discard(gone)
            if not open_ends[node]:
                free.append(node)
    return taken < len(open_ends)


def _shaping(schema: Mapping[str, Any]) -> bool:
    return any(k in schema for k in ("type", "properties", "items", "anyOf", "oneOf", "enum", "const"))


def _local(ref: Any, root: Any) -> Any:
    if ref == "#":
        return root
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return None
    node = root
    for token in ref[2:].split("/"):
        key = unquote(token).replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node


def _column(schema: Any, walk: _Walk, seen: tuple[int, ...]) -> Column:
    walk.visit()
    schema, seen = resolve(schema, walk.root, seen)
    if not isinstance(schema, dict) or len(seen) > walk.references:
        return _json()
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and "type" not in schema:
            branches = [b for b in schema[keyword] if not _only_null(b)]
            if len(branches) == 1 and not _shaping({k: v for k, v in schema.items() if k != keyword}):
                inner = _column(branches[0], walk, seen)
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
        return _object(schema, walk, seen, null)
    if kind == "array":
        return _array(schema, walk, seen, null)
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
    if _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    rest[at] = value
    return None


def _date_time(value: str, at: str, rest: Rest) -> int | None:
    """Microseconds since 1970; equal as an instant, which is what the schema's date-time is."""
    if not _DATE_TIME.fullmatch(value):
        rest[at] = value
        return None
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
            delta = moment.astimezone(timezone.utc) - _EPOCH  # an instant that no calendar year holds overflows here
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


def _properties(schema: Mapping[str, Any], walk: _Walk, seen: tuple[int, ...]) -> dict[str, Column]:
    return {name: _column(sub, walk, seen) for name, sub in schema.get("properties", {}).items()}


def _object(schema: Mapping[str, Any], walk: _Walk, seen: tuple[int, ...], null: bool) -> Column:
    columns = _properties(schema, walk, seen)
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
    # A property may have no column of its own: its name is reserved.
    closed = closed and schema.get("properties", {}).keys() <= columns.keys()
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


def _array(schema: Mapping[str, Any], walk: _Walk, seen: tuple[int, ...], null: bool) -> Column:
    items = schema.get("items")
    if not isinstance(items, dict) or "prefixItems" in schema:
        return _json()
    item = _column(items, walk, seen)
    inner = item.fill
    fill: Fill | None = None
    if inner is not None:
        make = inner

        def fill(value: list[Any], at: str, rest: Rest) -> list[Any]:
            return [None if v is None else make(v, f"{at}/{i}", rest) for i, v in enumerate(value)]

    return Column(pa.list_(item.type), pa.list_(item.storage), fill, null)
