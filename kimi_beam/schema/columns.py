"""Columns of objects, arrays, maps and unions: split instances into columns, and build them again from the columns.

A null cell means that the member is absent, or null if the member is required. An explicit null of an optional member
is set aside, unless both mean the same (`Member.same`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial, reduce
from itertools import accumulate, chain
from operator import iconcat, itemgetter
from types import NoneType
from typing import Any

import pyarrow as pa

from kimi_beam.schema.additional import Additional, Place, entry, member, pointer
from kimi_beam.schema.cells import REFUSES, Array, Cells, Column

_EMPTY: dict[Any, Any] = {}


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object and its column.

    Attributes:
        name: The name of the property; in a tuple, the position.
        field: The Arrow field.
        column: The column.
        required: Whether the member is always present.
        null: Whether the member may be null.
        same: Whether null means the same as absent, so that a null cell stands for both.
    """

    name: Any
    field: Any
    column: Column
    required: bool
    null: bool
    same: bool = False


class Record(Column):
    """Objects with named members: a struct, or the columns of the table for the root.

    Args:
        members: The members in the order of the columns.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)
        self.type = pa.struct([m.field for m in self.members])
        self._known = frozenset(m.name for m in self.members)
        self._cells = {
            m.name: m.column
            for m in self.members
            if isinstance(m.column, Cells) and m.column.raw is not None and isinstance(m.name, str)
        }
        self._raw = pa.struct([pa.field(name, column.raw) for name, column in self._cells.items()])

    def build(self, values: Sequence[Any], place: Place, additional: Additional) -> Array:
        arrays, gaps = self.arrays(values, place, additional)
        mask = None if gaps is None else pa.array(gaps, pa.bool_())
        return pa.StructArray.from_arrays(arrays, fields=[m.field for m in self.members], mask=mask)

    def arrays(
        self, values: Sequence[Any], place: Place, additional: Additional
    ) -> tuple[list[Array], Sequence[bool] | None]:
        """The array of each member, and which values are no objects; None if all are. Their cells are null."""
        # Each fast way decides whether it applies before it builds a nested column. Otherwise every way would build the
        # nested columns again, and so at every level.
        for way in (self._split_full_objects, self._split_plain_objects):
            mine = Additional()
            try:
                found = way(values, place, mine)
            except REFUSES:
                continue
            additional.add(mine)
            return found
        objects, gaps = self.as_objects(values, place, additional)
        arrays = []
        for m in self.members:
            items, inner = _members_of(objects, m.name), member(place, m.name)
            array = m.column.build(items, inner, additional)
            if array.null_count:
                self._nulls(m, items, objects, inner, additional)
            arrays.append(array)
        self._unnamed([_EMPTY if o is None else o for o in objects] if gaps else objects, place, additional)
        return arrays, [o is None for o in objects] if gaps else None

    def _split_full_objects(
        self, values: Sequence[Any], place: Place, additional: Additional
    ) -> tuple[list[Array], None]:
        """The arrays of objects that have every member and no other key, as most answers do.

        No type is checked, because only a dict has both a length and these keys. No Python object is made per row,
        because the garbage collector would take longer to look at them than all the rest takes.
        """
        if not self.members or sum(map(len, values)) != len(values) * len(self.members):
            raise ValueError("not each object has each member and no other")
        # The parser uses one string object for equal keys, and a dict finds a key faster by the same object.
        keys = {key: key for key in values[0]} if values and type(values[0]) is dict else {}
        found: dict[Any, Array] = {}

        def build(m: Member, items: Sequence[Any]) -> None:
            array = found[m.name] = m.column.build(items, member(place, m.name), additional)
            if array.null_count:
                self._nulls(m, items, None, member(place, m.name), additional)

        last = []
        for m in self.members:
            items = list(map(itemgetter(keys.get(m.name, m.name)), values))
            if m.name in self._cells:
                build(m, items)  # built at once, so that only one such list is in memory at a time
            else:
                last.append((m, items))
        for m, items in last:
            build(m, items)
        return [found[m.name] for m in self.members], None

    def _split_plain_objects(
        self, values: Sequence[Any], place: Place, additional: Additional
    ) -> tuple[list[Array], Sequence[bool] | None]:
        """The arrays of objects without unnamed keys and without nulls that have to be set aside, split by Arrow.

        That nothing was lost is proved by counting: there are as many cells as keys.
        """
        types = set(map(type, values))
        if not types <= {dict, NoneType}:
            raise TypeError("not only objects")
        objects = [o for o in values if o is not None] if NoneType in types else values
        keys = sum(map(len, objects))
        taken: Array = pa.array(values, self._raw)
        parts = dict(zip(self._cells, taken.flatten(), strict=True))
        found: list[Any] = []
        for m in self.members:
            part = parts.get(m.name)
            if part is None:
                items = _members_of(values, m.name)
                nulls = items.count(None)
                found.append(items)
            else:
                nulls = part.null_count
                found.append(self._cells[m.name].finish(part, partial(_members_of, values, m.name)))
            keys -= len(values) - nulls
            nulls -= len(values) - len(objects)
            if nulls and m.required:
                if not m.null or any(m.name not in o for o in objects):
                    raise ValueError("a member is missing, or null where it must not be")
                keys -= nulls
        if keys:
            # A null that means the same as absence needs only its null cell, so it is not counted.
            keys -= sum(o.get(m.name, o) is None for m in self.members if m.same for o in objects)
        if keys:
            raise ValueError("a key without a column, or a null beside absence")
        arrays = [
            one if m.name in parts else m.column.build(one, member(place, m.name), additional)
            for m, one in zip(self.members, found, strict=True)
        ]
        return arrays, [o is None for o in values] if NoneType in types else None

    def as_objects(self, values: Sequence[Any], place: Place, additional: Additional) -> tuple[Sequence[Any], bool]:
        """The objects as dicts, and whether there are gaps: a value that is no object is set aside and leaves None."""
        return _only_of_type(dict, values, place, additional)

    def _unnamed(self, objects: Sequence[Any], place: Place, additional: Additional) -> None:
        if self._known.issuperset(chain.from_iterable(objects)):
            return
        for index, value in enumerate(objects):
            if not value.keys() <= self._known:
                row, at = place(index)
                for name, item in value.items():
                    if name not in self._known:
                        additional.set_aside((row, pointer(at, name)), item, suspect=False)

    @staticmethod
    def _nulls(
        m: Member, items: Sequence[Any], objects: Sequence[Any] | None, place: Place, additional: Additional
    ) -> None:
        """Sets explicit nulls aside that differ from absence. If `objects` is None, every object has the member."""
        if m.same:
            return
        must = m.null and m.required
        if objects is None and must:
            return
        for index, item in enumerate(items):
            if item is not None or (objects is not None and objects[index] is None):
                continue
            if objects is None or m.name in objects[index]:
                if not must:
                    additional.set_aside(place(index), None, suspect=not m.null)
            elif m.required:
                additional.suspects.add(place(index)[0])

    def read(self, array: Array) -> list[Any]:
        present = array.is_valid().to_pylist() if array.null_count else None
        found = self.objects(dict(zip((f.name for f in array.type), array.flatten(), strict=True)), len(array))
        return found if present is None else [o if there else None for o, there in zip(found, present, strict=True)]

    def objects(self, arrays: Mapping[str, Array], count: int) -> list[dict[Any, Any]]:
        """Builds objects from the arrays of fields, by field name. A missing array means that the member is absent."""
        found: list[dict[Any, Any]] = [{} for _ in range(count)]
        for m in self.members:
            array = arrays.get(m.field.name)
            if array is None:
                continue
            for value, item in zip(found, m.column.read(array), strict=True):
                if item is not None or (m.required and m.null):
                    value[m.name] = item
        return found


class Tuple(Record):
    """Arrays whose items have a schema for each position: a struct."""

    def _split_full_objects(
        self, values: Sequence[Any], place: Place, additional: Additional
    ) -> tuple[list[Array], None]:
        if not set(map(type, values)) <= {list}:
            raise TypeError("strings have positions too")
        return super()._split_full_objects(values, place, additional)

    def _split_plain_objects(
        self, values: Sequence[Any], place: Place, additional: Additional
    ) -> tuple[list[Array], Sequence[bool] | None]:
        raise TypeError("an object without members is no array without items")

    def as_objects(self, values: Sequence[Any], place: Place, additional: Additional) -> tuple[Sequence[Any], bool]:
        lists, gaps = _only_of_type(list, values, place, additional)
        return [None if value is None else dict(enumerate(value)) for value in lists], gaps

    def read(self, array: Array) -> list[Any]:
        return [value if value is None else _in_order(value) for value in super().read(array)]


def _members_of(objects: Sequence[Any], name: Any) -> list[Any]:
    return [None if o is None else o.get(name) for o in objects]


def _in_order(items: dict[int, Any]) -> list[Any]:
    return [items.get(index) for index in range(max(items, default=-1) + 1)]


class List(Column):
    """Arrays whose items have one schema."""

    def __init__(self, item: Column, field: Any) -> None:
        self.item, self.type = item, pa.list_(field)

    def build(self, values: Sequence[Any], place: Place, additional: Additional) -> Array:
        values, gaps = _only_of_type(list, values, place, additional)
        filled: Sequence[Any] = values
        mask = None
        if gaps:
            mask = pa.array([value is None for value in values], pa.bool_())
            filled = [() if value is None else value for value in values]
        starts = list(accumulate(map(len, filled), initial=0))
        items: list[Any] = reduce(iconcat, filled, [])
        array = self.item.build(items, entry(place, starts[:-1], None), additional)
        return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), array, type=self.type, mask=mask)

    def read(self, array: Array) -> list[Any]:
        offsets = array.offsets.to_pylist()
        first = offsets[0]
        items = self.item.read(array.values.slice(first, offsets[-1] - first))
        spans = zip(array.is_valid().to_pylist(), offsets, offsets[1:], strict=False)
        return [items[start - first : end - first] if there else None for there, start, end in spans]


class Map(Column):
    """Objects with arbitrary keys whose values have one schema."""

    def __init__(self, item: Column, field: Any) -> None:
        key: Any = pa.field("key", pa.string(), nullable=False)
        self.item, self.type = item, pa.map_(key, field)

    def build(self, values: Sequence[Any], place: Place, additional: Additional) -> Array:
        values, _ = _only_of_type(dict, values, place, additional)
        filled = [_EMPTY if value is None else value for value in values]
        for index, value in enumerate(filled):
            if any(not key.isascii() and _unwritable(key) for key in value):
                additional.refuse(place(index), "type", "has a key that no UTF-8 text holds")
                filled[index] = _EMPTY
        starts = list(accumulate(map(len, filled), initial=0))
        keys = list(chain.from_iterable(filled))
        items = list(chain.from_iterable(value.values() for value in filled))
        array = self.item.build(items, entry(place, starts[:-1], keys), additional)
        # In Arrow a null offset makes a null map.
        offsets = [None if value is None else start for value, start in zip(values, starts, strict=False)]
        ends: Array = pa.array([*offsets, starts[-1]], pa.int32())
        return pa.MapArray.from_arrays(ends, pa.array(keys, pa.string()), array, type=self.type)

    def read(self, array: Array) -> list[Any]:
        offsets = array.offsets.to_pylist()
        first, count = offsets[0], offsets[-1] - offsets[0]
        keys = array.keys.slice(first, count).to_pylist()
        items = self.item.read(array.items.slice(first, count))
        spans = zip(array.is_valid().to_pylist(), offsets, offsets[1:], strict=False)
        return [
            dict(zip(keys[a - first : b - first], items[a - first : b - first], strict=True)) if there else None
            for there, a, b in spans
        ]


_KINDS: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    Decimal: "number",
    dict: "object",
    list: "array",
}


class Union(Column):
    """Values of several JSON types: a struct with a field for each type, of which one is filled.

    Args:
        members: The column of each type, by the name of the type.
    """

    def __init__(self, members: Mapping[str, Column]) -> None:
        self._members = {"number" if kind == "integer" else kind: column for kind, column in members.items()}
        self.type = pa.struct([pa.field(kind, column.type) for kind, column in members.items()])

    def build(self, values: Sequence[Any], place: Place, additional: Additional) -> Array:
        kinds = [None if value is None else _KINDS.get(type(value), "") for value in values]
        arrays = []
        for mine_kind, column in self._members.items():
            mine = [value if of == mine_kind else None for value, of in zip(values, kinds, strict=True)]
            arrays.append(column.build(mine, place, additional))
        for index, kind in enumerate(kinds):
            if kind is not None and kind not in self._members:
                additional.set_aside(place(index), values[index], suspect=True)
        mask = pa.array([kind is None for kind in kinds], pa.bool_()) if None in kinds else None
        return pa.StructArray.from_arrays(arrays, fields=list(self.type), mask=mask)

    def read(self, array: Array) -> list[Any]:
        found: list[Any] = [None] * len(array)
        for column, part in zip(self._members.values(), array.flatten(), strict=True):
            for index, item in enumerate(column.read(part)):
                if item is not None:
                    found[index] = item
        return found


def _unwritable(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return True
    return False


def _only_of_type(
    kind: type, values: Sequence[Any], place: Place, additional: Additional
) -> tuple[Sequence[Any], bool]:
    """The values of a Python type, and whether there are gaps: other values are set aside and leave None."""
    types = set(map(type, values))
    if types <= {kind, NoneType}:
        return values, NoneType in types
    fitting = list(values)
    for index, value in enumerate(values):
        if isinstance(value, kind):
            fitting[index] = kind(value)
        elif value is not None:
            additional.set_aside(place(index), value, suspect=True)
            fitting[index] = None
    return fitting, True
