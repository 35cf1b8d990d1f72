"""Compares the columns of two schemas: can a reader of the old dataset read the new one?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import pyarrow as pa

_Type: TypeAlias = Any  # a `pyarrow.DataType`; pyarrow's stubs have a class for each type


class Verdict(Enum):
    """What a change means for a reader of old and new files together, in order of severity."""

    COMPATIBLE = "compatible"
    """The columns are the same."""
    WIDENING = "widening"
    """Old files can be read as new ones: columns were added, or have a wider type."""
    BREAKING = "breaking"
    """A column was removed, or its new type does not hold all old values."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        path: The column, with a dot before each field in it and ``[]`` for items.
        verdict: Whether readers break.
        description: The difference in words.
    """

    path: str
    verdict: Verdict
    description: str

    def __str__(self) -> str:
        return f"{self.verdict.value:10} {self.path}: {self.description}"


def diff(old: pa.Schema, new: pa.Schema) -> list[Change]:
    """The differences between the columns, in the order of the old ones. The order of columns is no difference."""
    return list(_fields("", old, new))


def verdict(changes: Iterable[Change]) -> Verdict:
    """The most severe verdict of some changes; compatible if there are none."""
    found = {change.verdict for change in changes}
    return next((v for v in (Verdict.BREAKING, Verdict.WIDENING) if v in found), Verdict.COMPATIBLE)


def _fields(at: str, old: Iterable[Any], new: Iterable[Any]) -> Iterator[Change]:
    before, after = {field.name: field for field in old}, {field.name: field for field in new}
    for name, field in before.items():
        path = f"{at}.{name}" if at else name
        if name not in after:
            yield Change(path, Verdict.BREAKING, f"gone (was {_words(field.type)})")
            continue
        yield from _types(path, field.type, after[name].type)
        if not field.nullable and after[name].nullable:
            yield Change(path, Verdict.WIDENING, "may be null")
    for name, field in after.items():
        if name not in before:
            path = f"{at}.{name}" if at else name
            yield Change(path, Verdict.WIDENING, f"new ({_words(field.type)})")


def _types(path: str, old: _Type, new: _Type) -> Iterator[Change]:
    if old.equals(new):
        return
    if pa.types.is_struct(old) and pa.types.is_struct(new):
        yield from _fields(path, old, new)
    elif pa.types.is_list(old) and pa.types.is_list(new):
        yield from _types(f"{path}[]", old.value_type, new.value_type)
    elif pa.types.is_map(old) and pa.types.is_map(new):
        yield from _types(f"{path}[]", old.item_type, new.item_type)
    else:
        severity = Verdict.WIDENING if _holds(old, new) else Verdict.BREAKING
        yield Change(path, severity, f"{_words(old)} becomes {_words(new)}")


def _holds(old: _Type, new: _Type) -> bool:
    """Whether the new type holds every value of the old one, so that the same SQL still works."""
    if pa.types.is_dictionary(old):
        return bool(pa.types.is_string(new))
    if pa.types.is_integer(old) and pa.types.is_integer(new):
        if pa.types.is_unsigned_integer(new):
            return bool(pa.types.is_unsigned_integer(old) and new.bit_width >= old.bit_width)
        return bool(new.bit_width - pa.types.is_unsigned_integer(old) >= old.bit_width)
    if pa.types.is_integer(old) and pa.types.is_decimal(new):
        return bool(new.precision - new.scale >= len(str(1 << old.bit_width)))
    if pa.types.is_integer(old) and pa.types.is_float64(new):
        return bool(old.bit_width <= 32)
    if pa.types.is_floating(old) and pa.types.is_floating(new):
        return bool(new.bit_width >= old.bit_width)
    if pa.types.is_decimal(old) and pa.types.is_decimal(new):
        return bool(new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale)
    return False


def _words(kind: _Type) -> str:
    if isinstance(kind, pa.ExtensionType):
        return "json"
    if pa.types.is_dictionary(kind):
        return "string of a list"
    if pa.types.is_struct(kind):
        return "struct"
    if pa.types.is_map(kind):
        return f"map of {_words(kind.item_type)}"
    return f"list of {_words(kind.value_type)}" if pa.types.is_list(kind) else str(kind)
