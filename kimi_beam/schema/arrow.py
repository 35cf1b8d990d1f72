"""Chooses the Arrow column of each place of a schema, and records the reason.

A column is as specific as the schema, as long as every value can be read back unaltered. A place without such a type
(one that may hold anything, an object without named members, a recursive reference) becomes a column of Arrow's
canonical JSON type; the places around it keep their types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from kimi_beam.schema import jsontext
from kimi_beam.schema.additional import Additional
from kimi_beam.schema.cells import Array, Boolean, Bytes, Category, Column, Json, Text
from kimi_beam.schema.columns import List, Map, Member, Record, Tuple, Union
from kimi_beam.schema.find_shapes import Shapes
from kimi_beam.schema.numeric import Digits, Float, Integer
from kimi_beam.schema.overrides import chosen_column
from kimi_beam.schema.shapes import ALL, Shape, Term, joined
from kimi_beam.schema.temporal import Date, DateTime, LocalDateTime, LocalTime

ADDITIONAL = "_additional"
VALUE = "_value"
"""The name of the only column of a schema whose instances are not objects with named members."""
RESERVED = frozenset({"_document_id", ADDITIONAL, "_metadata", "_provenance", "_grounding"})
"""The columns that kimi_beam adds to the schema's own. A property of such a name gets a column of another name."""

PROPERTY = "json_property"
"""The key in a field's metadata for the property's name, if the column cannot have this name."""

_INT32, _INT64, _UINT64 = (-(1 << 31), (1 << 31) - 1), (-(1 << 63), (1 << 63) - 1), (0, (1 << 64) - 1)
_INT_FORMATS = {"int32": pa.int32(), "uint32": pa.int64(), "int64": pa.int64(), "uint64": pa.uint64()}
_MAX_PRECISION = 38
_DECIMAL = pa.decimal128(38, 9)
"""The type of decimals whose digits the schema does not limit, as BigQuery's NUMERIC. A longer number is set aside."""
_WHOLE_DIGITS = 29
"""Digits before the point, as in BigQuery's NUMERIC. A longer number is set aside, so that nothing is lost."""
_MAX_PREFIX = 64
_ATTEMPTS = ((40, 1), (40, 0), (12, 0), (8, 0), (6, 0), (5, 0), (4, 0), (3, 0), (2, 0), (1, 0))
"""Pairs of the nesting depth of columns, and of how often a recursive place is repeated inside itself. The first pair
is taken that gives at most `_MAX_COLUMNS` columns, because references that lead to each other multiply at each
level."""
_MAX_COLUMNS = 3_000
_KINDS = ("string", "number", "integer", "boolean", "object", "array")


@dataclass(frozen=True, slots=True)
class Leaf:
    """The column type of one place, for `kimi-beam schema show`.

    Attributes:
        path: The place's JSON Pointer, with ``*`` for any item or key.
        type: The Arrow type.
        why: The keywords that decided it, in words.
    """

    path: str
    type: pa.DataType
    why: str


class _TooManyError(Exception):
    """The schema has too many columns at this depth."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns of a schema.

    Attributes:
        root: The record whose members are the table's columns.
        is_value: Whether the only member of the root is the whole instance (the column ``_value``).
        leaves: The type of each place, in order.
    """

    root: Record
    is_value: bool
    leaves: Sequence[Leaf]


def plan(shapes: Shapes, root: Term, *, keep_nulls: bool = True) -> Plan:
    """Chooses the columns of a schema.

    Args:
        shapes: The schema's shapes.
        root: The schema's root.
        keep_nulls: Whether an explicit null is told from absence if a member may be either.

    Raises:
        SchemaError: An ``x-arrow-type`` is unknown, or does not fit its place.
    """
    planner = None
    for depth, repeats in _ATTEMPTS:
        # An attempt whose limits the last one did not reach would end in the same way.
        if planner is None or depth <= planner.deepest or (repeats < planner.repeats and planner.recurses):
            planner = _Planner(shapes, depth, repeats, _MAX_COLUMNS, keep_nulls=keep_nulls)
            try:
                return planner.plan(root)
            except _TooManyError:
                continue
    # As a last resort the root's own properties each get a column, however many there are.
    return _Planner(shapes, 1, 0, None, keep_nulls=keep_nulls).plan(root)


class _Planner:
    def __init__(self, shapes: Shapes, depth: int, repeats: int, max_columns: int | None, *, keep_nulls: bool) -> None:
        self._keep_nulls = keep_nulls
        self._shapes, self._depth, self.repeats, self._max_columns = shapes, depth, repeats, max_columns
        self._leaves: list[Leaf] = []
        self.deepest, self.recurses = 0, False

    def plan(self, root: Term) -> Plan:
        shape = self._shapes.of(root)
        if shape.members and "object" in shape.likely:
            return Plan(Record(self._members(shape, (shape,), "", RESERVED)), False, self._leaves)
        column = self._column(root, (), "")
        if isinstance(column, Json):
            return Plan(Record([]), False, [])
        required = Member(VALUE, pa.field(VALUE, column.type), column, True, shape.null)
        return Plan(Record([required]), True, self._leaves)

    # -------------------------------------------------------------------------------------------- one place

    def _column(self, term: Term, above: tuple[Shape, ...], path: str) -> Column:
        shape = self._shapes.of(term)
        if shape.arrow is not None:
            column = chosen_column(shape.arrow, shape, path, local=self._shapes.local_times)
            return self._leaf(path, column, f"x-arrow-type {shape.arrow}")
        kinds = shape.likely
        if shape.format == "decimal" and "number" in kinds and kinds <= {"number", "string"} and shape.values is None:
            return self._leaf(path, Digits(_DECIMAL, text="string" in kinds), "format decimal")
        if len(kinds) > 1 and shape.kinds != ALL:
            return self._union(shape, above, path)
        if len(kinds) != 1:
            return self._json(path, _why_json(shape))
        (kind,) = kinds
        return self._of_kind(kind, shape, above, path)

    def _of_kind(self, kind: str, shape: Shape, above: tuple[Shape, ...], path: str) -> Column:
        if kind in ("object", "array"):
            self.deepest = max(self.deepest, len(above))
            times = _times(shape, above)
            self.recurses = self.recurses or times > 0
            if times > self.repeats:
                return self._json(path, "it contains itself")
            if len(above) >= self._depth:
                return self._json(path, "too deep for so many columns")
            build = self._object if kind == "object" else self._array
            return build(shape, (*above, shape), path)
        column, why = _scalar(kind, shape, local=self._shapes.local_times)
        return self._leaf(path, column, why)

    def _leaf(self, path: str, column: Column, why: str) -> Column:
        self._leaves.append(Leaf(path, column.type, why))
        if self._max_columns is not None and len(self._leaves) > self._max_columns:
            raise _TooManyError
        return column

    def _json(self, path: str, why: str) -> Column:
        return self._leaf(path, Json(), why)

    def _union(self, shape: Shape, above: tuple[Shape, ...], path: str) -> Column:
        """A struct with a field for each JSON type, if one of the types is more specific than JSON text."""
        before = len(self._leaves)
        columns = {
            kind: self._of_kind(kind, replace(shape, kinds=frozenset([kind])), above, path)
            for kind in _KINDS
            if kind in shape.likely
        }
        if any(_says_more(column.type) for column in columns.values()):
            return Union(columns)
        del self._leaves[before:]
        return self._json(path, _why_json(shape))

    # -------------------------------------------------------------------------------------------- containers

    def _object(self, shape: Shape, above: tuple[Shape, ...], path: str) -> Column:
        if shape.members:
            return Record(self._members(shape, above, path, frozenset()))
        if isinstance(shape.rest, Term):
            item = self._column(shape.rest, above, f"{path}/*")
            return Map(item, pa.field("value", item.type, metadata=_metadata(self._shapes.of(shape.rest), None)))
        return self._json(path, "an object without named members" if shape.rest else "an object without members")

    def _members(self, shape: Shape, above: tuple[Shape, ...], path: str, used_names: frozenset[str]) -> list[Member]:
        members = []
        names = _names(shape.members, used_names)
        for name, term in shape.members.items():
            column = self._column(term, above, f"{path}/{name.replace('~', '~0').replace('/', '~1')}")
            inner = self._shapes.of(term)
            required = name in shape.required
            # Only at the root: cells inside a struct are null if the struct itself is null.
            always = not above[1:] and required and above[0].kinds == {"object"}
            never = always and not inner.null and column.fits_all_values()
            metadata = _metadata(inner, name if names[name] != name else None)
            field = pa.field(names[name], column.type, nullable=not never, metadata=metadata)
            same = inner.null and name not in shape.needed and not self._keep_nulls
            members.append(Member(name, field, column, required, inner.null, same))
        return members

    def _array(self, shape: Shape, above: tuple[Shape, ...], path: str) -> Column:
        if shape.prefix and shape.items is None and len(shape.prefix) <= _MAX_PREFIX:
            return Tuple(self._positions(shape, above, path))
        terms = [*shape.prefix, *([shape.items] if shape.items else [])]
        if not terms:
            item: Column = self._json(f"{path}/*", "items of any kind")
            return List(item, pa.field("item", item.type))
        term = joined("either", terms)
        item = self._column(term, above, f"{path}/*")
        return List(item, pa.field("item", item.type, metadata=_metadata(self._shapes.of(term), None)))

    def _positions(self, shape: Shape, above: tuple[Shape, ...], path: str) -> list[Member]:
        members = []
        for index, term in enumerate(shape.prefix):
            column, inner = self._column(term, above, f"{path}/{index}"), self._shapes.of(term)
            field = pa.field(f"_{index}", column.type, metadata=_metadata(inner, None))
            members.append(Member(index, field, column, index < shape.least, inner.null))
        return members


def _times(shape: Shape, above: tuple[Shape, ...]) -> int:
    """How often a recursive place is repeated above this one."""
    return sum(1 for other in above if not shape.sources.isdisjoint(other.sources))


def _says_more(kind: pa.DataType) -> bool:
    """Whether a type has a part of another type than JSON, and so is more specific than JSON text."""
    if isinstance(kind, pa.ExtensionType):
        return False
    if pa.types.is_map(kind):
        return _says_more(kind.item_type)
    if pa.types.is_list(kind):
        return _says_more(kind.value_type)
    return not pa.types.is_struct(kind) or any(_says_more(field.type) for field in kind)


def _why_json(shape: Shape) -> str:
    if not shape.likely:
        return "only null" if shape.kinds == {"null"} else "anything" if shape.kinds else "nothing is valid"
    return f"{' or '.join(sorted(shape.likely))}"


# ------------------------------------------------------------------------------------------------ scalars


def _scalar(kind: str, shape: Shape, *, local: bool) -> tuple[Column, str]:
    if kind == "boolean":
        return Boolean(), "boolean"
    if kind == "string":
        return _string(shape, local=local)
    if shape.values is not None:
        return (Integer(pa.int64()), "enum or const") if kind == "integer" else (Float(), "enum or const")
    if kind == "integer":
        chosen, why = _integer(shape)
        return Integer(chosen), why
    decimal = _decimal(shape)
    return (Float(), "number") if decimal is None else (Digits(decimal), f"multipleOf {shape.step}")


def _string(shape: Shape, *, local: bool) -> tuple[Column, str]:
    if shape.values is not None:
        texts = list(dict.fromkeys(value for value in shape.values if isinstance(value, str)))
        return Category(texts), "enum or const"
    if shape.format == "date":
        return Date(), "format date"
    if shape.format == "date-time-local" or (local and shape.format == "date-time"):
        return LocalDateTime(), f"format {shape.format}, local"
    if shape.format == "time-local" or (local and shape.format == "time"):
        return LocalTime(), f"format {shape.format}, local"
    if shape.format == "date-time":
        return DateTime(), "format date-time"
    if shape.format == "byte":
        return Bytes(), "base64"
    return Text(), f"format {shape.format}" if shape.format else "string"


def _integer(shape: Shape) -> tuple[pa.DataType, str]:
    if shape.low is not None and shape.high is not None:
        for (low, high), kind in ((_INT32, pa.int32()), (_INT64, pa.int64()), (_UINT64, pa.uint64())):
            if low <= shape.low and shape.high <= high:
                return kind, f"integer from {shape.low} to {shape.high}"
    if shape.format in _INT_FORMATS:
        return _INT_FORMATS[shape.format], f"format {shape.format}"
    return pa.int64(), "integer"


def _decimal(shape: Shape) -> pa.DataType | None:
    """The decimal type of numbers that are multiples of 0.01 or the like; None for other numbers."""
    if shape.step is None or shape.step <= 0:
        return None
    scale = max(0, -int(shape.step.normalize().as_tuple().exponent))
    if not 0 < scale <= 18:
        return None
    whole_digits = _WHOLE_DIGITS
    if shape.low is not None and shape.high is not None:
        largest = max(abs(shape.low), abs(shape.high))
        whole_digits = min(whole_digits, max(1, largest.adjusted() + 1)) if largest else 1
    precision = min(_MAX_PRECISION, whole_digits + scale)
    return pa.decimal128(precision, scale)


# ------------------------------------------------------------------------------------------------ names


def _names(properties: Mapping[str, Any], used_names: frozenset[str]) -> dict[str, str]:
    """The column name of each property: its own name if Parquet and SQL engines can hold it.

    Another, unused name is taken for a property with a name of `RESERVED`, with an empty name (DuckDB reads such a
    struct as a tuple) or with a NUL in its name (where engines cut it).
    """
    names = {}
    used = {*properties, *used_names}
    for name in properties:
        column = name
        if name in used_names or not name or "\0" in name:
            column = f"{name.replace(chr(0), '_') or 'unnamed'}_"
            while column in used:
                column += "_"
            used.add(column)
        names[name] = column
    return names


def _metadata(shape: Shape, name: str | None) -> dict[str, str] | None:
    found = {"format": shape.format} if shape.format and "string" in shape.likely else {}
    if name is not None:
        found[PROPERTY] = name
    return found or None


def is_json(kind: pa.DataType) -> bool:
    """Whether a type is Arrow's JSON type."""
    return bool(kind == Json.type)


def json_share(leaves: Sequence[Leaf]) -> tuple[int, int]:
    """The number of leaves with JSON columns, and of all leaves."""
    return sum(is_json(leaf.type) for leaf in leaves), len(leaves)


def described(leaves: Sequence[Leaf]) -> Iterator[tuple[str, str, str]]:
    """Path, type and reason of each leaf in words."""
    for leaf in leaves:
        yield leaf.path or "/", "json" if is_json(leaf.type) else str(leaf.type), leaf.why


__all__ = ["ADDITIONAL", "RESERVED", "VALUE", "Leaf", "Plan", "described", "is_json", "json_share", "plan"]


def rest_column(additional: Additional, count: int) -> Array:
    """The cells of ``_additional``, for a number of rows."""
    if not additional.rest:
        return pa.nulls(count, pa.string())
    texts = [jsontext.dumps(additional.rest[row]) if row in additional.rest else None for row in range(count)]
    return pa.array(texts, pa.binary()).cast(pa.string())


def one_chunk(column: Any) -> Array:
    """A column of several chunks as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.unify_dictionaries().chunks)
