"""Turns the object that the user's class makes of an answer into JSON that fits the class's validation schema.

`model_dump` cannot be used: it follows the serialization schema, with computed fields, without excluded ones, with
other aliases and through the class's serializers, so that its result does not fit the columns. Here the fields of
objects are read under the names of the validation schema. A value that the class does not change stays as the model
wrote it, so that no digit of a number changes. Imported only if the user's schema is a class.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import math
import re
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Set
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import PurePath
from typing import Any, NamedTuple

import pydantic_core
from pydantic import BaseModel, RootModel, TypeAdapter

from kimi_beam.schema import jsontext
from kimi_beam.schema.jsontext import NoJsonError

_ABSENT: Any = object()
_ZEROS = re.compile(
    r"(?<=\.\d)0+(?![0-9])|(?<=\.\d\d)0+(?![0-9])|(?<=\.\d{3})0+(?![0-9])|(?<=\.\d{4})0+(?![0-9])|(?<=\.\d{5})0(?![0-9])"
)
_PLAIN_NUMBERS = (int, float)
_MOST_MOVED = 100
"""How many positions of a list are searched for the original of an item that may have moved."""
_AS_TEXT = (uuid.UUID, PurePath, ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network)
_IN_TIME = (datetime.date, datetime.time)
_SECOND, _MICROSECOND = datetime.timedelta(seconds=1), datetime.timedelta(microseconds=1)
_DURATIONS = TypeAdapter(datetime.timedelta)


class _Fields(NamedTuple):
    """The fields of a class or a TypedDict, and their keys in JSON."""

    names: Mapping[str, str]
    """The key of each field in the validation schema, by its name in Python."""
    inputs: Mapping[str, tuple[str, ...]]
    """By field name, the keys that the field may be read from."""
    required: frozenset[str]
    all_inputs: frozenset[str]
    """All keys that any field may be read from."""


class ClassValues:
    """Turns the objects of a class into JSON.

    Args:
        adapter: Pydantic's adapter of the class.
    """

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._adapter = adapter
        self._classes: dict[type, _Fields] = {}
        self._typed_dicts: list[_Fields] = []
        self._is_lazy = False
        self._is_dumped_alike = self._has_null_defaults = True
        self._collect(adapter.core_schema)

    def json_of(self, text: bytes, instance: Any) -> Any:
        """Validates an instance by the class, and returns the class's object as JSON.

        Args:
            text: The instance as JSON text.
            instance: The same instance as values. Keys that the class ignores are kept.

        Returns:
            The JSON value; `instance` itself if the class does not change it.

        Raises:
            NoJsonError: The class's object cannot be written as JSON.
            Exception: Any exception of the class's validators.
        """
        value = self._adapter.validate_json(text)
        if self._is_dumped_alike and self._dumps_alike(value, instance):
            return instance
        try:
            found = self._json(value, instance, _ABSENT)
        except _NeedsDumpError:
            if self._is_lazy:  # a lazy iterable can be read only once, so it is made again
                value = self._adapter.validate_json(text)
            dumped = self._dumped(value)
            if self._is_lazy:
                value = self._adapter.validate_json(text)
            found = self._json(value, instance, dumped, dumped_once=True)
        return instance if jsontext.same(found, instance) else found

    def _dumps_alike(self, value: Any, instance: Any) -> bool:
        """A fast check whether the class left the instance unchanged; False means that it may have changed it."""
        try:
            dumped = self._adapter.dump_python(
                value, mode="json", by_alias=True, exclude_unset=self._has_null_defaults, warnings="none"
            )
        except Exception:
            return False
        return bool(dumped == instance)

    def _dumped(self, value: Any) -> Any:
        try:
            return self._adapter.dump_python(
                value, mode="json", by_alias=False, round_trip=True, warnings="none", fallback=_no_json
            )
        except NoJsonError:
            raise
        except Exception as e:  # a user's serializers may raise anything
            raise NoJsonError(f"what the class gave back has no JSON form: {e}") from None

    # -------------------------------------------------------------------------------------------- values

    def _json(self, value: Any, original: Any, dumped: Any, *, dumped_once: bool = False) -> Any:
        kind = type(value)
        if value is None or kind is bool or (kind is str and value.isascii()):
            return value
        if kind is type(original) and kind in _PLAIN_NUMBERS and value == original:
            return original
        if isinstance(value, Enum):
            return self._json(value.value, original, dumped, dumped_once=dumped_once)
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, (int, float, Decimal)):
            return _number(value, original)
        if isinstance(value, BaseModel) and not isinstance(value, RootModel) and not isinstance(original, str):
            return self._object(value, original, dumped, dumped_once)
        if isinstance(value, datetime.timedelta):
            return _duration(value, original)
        if isinstance(value, _IN_TIME):
            # "10:00:00.500000" loses its last zeros, because columns give fractions back without them.
            return _ZEROS.sub("", pydantic_core.to_jsonable_python(value), count=1)
        if isinstance(value, _AS_TEXT):
            return str(value)
        if isinstance(value, RootModel):
            return self._json(value.root, original, dumped, dumped_once=dumped_once)
        if hasattr(value, "get_secret_value"):
            return self._json(value.get_secret_value(), original, _ABSENT, dumped_once=dumped_once)
        if isinstance(dumped, str) and isinstance(original, str) and not isinstance(value, bytes):
            return _json_text(dumped, original)  # a field of pydantic's type Json, whose JSON is a string
        if isinstance(original, str) and isinstance(value, (BaseModel, Mapping, list, tuple, Set)) and not dumped_once:
            raise _NeedsDumpError
        if isinstance(value, BaseModel) or hasattr(type(value), "__dataclass_fields__"):
            return self._object(value, original, dumped, dumped_once)
        if isinstance(value, Mapping):
            return self._mapping(value, original, dumped, dumped_once)
        if isinstance(value, Set):
            return _in_order([self._json(item, _ABSENT, _ABSENT) for item in value], original)
        if isinstance(value, (list, tuple, deque, Iterator)):
            return self._array(list(value), original, dumped, dumped_once)
        if not dumped_once:
            raise _NeedsDumpError
        if dumped is _ABSENT:
            return pydantic_core.to_jsonable_python(value, fallback=_no_json)
        return dumped

    def _array(self, items: list[Any], original: Any, dumped: Any, dumped_once: bool) -> list[Any]:
        olds = original if isinstance(original, list) else []
        dumps = dumped if isinstance(dumped, list) else ()

        def against(index: int, old: Any) -> Any:
            return self._json(items[index], old, _at(dumps, index), dumped_once=dumped_once)

        found = [against(index, _at(olds, index)) for index in range(len(items))]
        if not any(isinstance(old, dict) for old in olds):
            return found
        # A moved item keeps the keys that the class ignores, so each item has to be matched with its own original.
        still = [index < len(olds) and jsontext.same(one, olds[index]) for index, one in enumerate(found)]
        if len(items) == len(olds) and all(still):
            return found
        free = [index for index in range(len(olds)) if not (index < len(items) and still[index])]
        for index in (index for index, same in enumerate(still) if not same):
            moved = (old for old in free[:_MOST_MOVED] if jsontext.same(against(index, olds[old]), olds[old]))
            source = next(moved, index if len(items) == len(olds) and index in free else None)
            if source is not None:
                free.remove(source)
            found[index] = against(index, _ABSENT if source is None else olds[source])
        return found

    def _object(self, value: Any, original: Any, dumped: Any, dumped_once: bool) -> Any:
        fields = self._fields_of(type(value))
        given = {name: getattr(value, name) for name in fields.names if hasattr(value, name)}
        extra = getattr(value, "__pydantic_extra__", None) or {}
        return self._members(fields, given, extra, original, dumped, dumped_once)

    def _members(
        self,
        fields: _Fields,
        given: Mapping[str, Any],
        extra: Mapping[str, Any],
        original: Any,
        dumped: Any,
        once: bool,
    ) -> dict[str, Any]:
        old = original if isinstance(original, dict) else {}
        dumps = dumped if isinstance(dumped, dict) else {}
        all_inputs = fields.all_inputs
        # The keys keep the order of the answer, then follow new ones, so that an unchanged object stays the same.
        found: dict[str, Any] = {key: item for key, item in old.items() if key not in all_inputs and key not in extra}
        for name, item in (*given.items(), *extra.items()):
            key = fields.names.get(name, name)
            was = old.get(key, _ABSENT)
            if was is _ABSENT and len(inputs := fields.inputs.get(name, ())) > 1:
                was = next((old[one] for one in inputs if one in old), _ABSENT)
            new = self._json(item, was, dumps.get(name, _ABSENT), dumped_once=once)
            if new is not None or was is not _ABSENT:  # a default of None is left out, as it means absent
                found[key] = new
        return found

    def _mapping(self, value: Mapping[Any, Any], original: Any, dumped: Any, dumped_once: bool) -> Any:
        for fields in self._typed_dicts:
            if fields.required <= value.keys() and any(name in fields.names for name in value):
                given = {name: item for name, item in value.items() if name in fields.names}
                extra = {name: item for name, item in value.items() if name not in fields.names}
                if all(isinstance(name, str) for name in extra):
                    return self._members(fields, given, extra, original, dumped, dumped_once)
        old = original if isinstance(original, dict) else {}
        found: dict[str, Any] = {}
        for key, item in value.items():
            text = key if type(key) is str else next(iter(_keys(key)))
            of_dump = dumped.get(text, _ABSENT) if isinstance(dumped, dict) else _ABSENT
            found[text] = self._json(item, old.get(text, _ABSENT), of_dump, dumped_once=dumped_once)
        return found

    # -------------------------------------------------------------------------------------------- fields

    def _fields_of(self, kind: type) -> _Fields:
        if kind not in self._classes:
            self._collect(TypeAdapter(kind).core_schema)
        if kind not in self._classes:
            raise NoJsonError(f"the class gave back a {kind.__name__}, whose fields are not known")
        return self._classes[kind]

    def _collect(self, core_schema: Any) -> None:
        waiting: list[Any] = [core_schema]
        seen: set[int] = set()
        while waiting:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, dict):
                kind = node.get("type")
                if kind in ("model", "dataclass") and isinstance(node.get("cls"), type):
                    self._classes.setdefault(node["cls"], _fields(_innermost(node["schema"]).get("fields", {})))
                elif kind == "typed-dict":
                    self._typed_dicts.append(_fields(node["fields"]))
                self._note(node)
                waiting += [inner for key, inner in node.items() if key not in ("serialization", "metadata")]
            elif isinstance(node, (list, tuple)):
                waiting += node

    def _note(self, node: Mapping[str, Any]) -> None:
        kind = node.get("type")
        if kind == "generator":
            self._is_lazy, self._is_dumped_alike = True, False
        elif kind == "default":
            self._has_null_defaults = self._has_null_defaults and node.get("default", _ABSENT) is None
        elif kind == "dataclass" and node.get("post_init"):
            self._has_null_defaults = False
        # A serializer may undo the class's change, so that a dump would look as if nothing had changed.
        if isinstance(node.get("serialization"), dict) or node.get("serialization_alias") != node.get(
            "validation_alias"
        ):
            self._is_dumped_alike = False


class _NeedsDumpError(Exception):
    """A value has a type that only its field's serializer can write as JSON."""


def _innermost(node: Any) -> Mapping[str, Any]:
    while isinstance(node, dict):
        if node.get("type") in ("model-fields", "dataclass-args"):
            return node
        node = node.get("schema")
    return {}


def _fields(described: Any) -> _Fields:
    pairs = [(field["name"], field) for field in described] if isinstance(described, list) else described.items()
    names: dict[str, str] = {}
    inputs: dict[str, tuple[str, ...]] = {}
    required = []
    for name, field in pairs:
        if field.get("init_only"):
            continue
        alias = field.get("validation_alias", name)
        alias = alias if isinstance(alias, list) else [alias]
        paths = alias if isinstance(alias[0], list) else [alias]
        # The key is the first alias that is not a path, as in pydantic's JSON Schema.
        names[name] = next((path[0] for path in paths if len(path) == 1 and isinstance(path[0], str)), name)
        inputs[name] = (*dict.fromkeys((*(path[0] for path in paths if isinstance(path[0], str)), name)),)
        if field.get("required", True):
            required.append(name)
    all_inputs = frozenset(key for keys in inputs.values() for key in keys)
    return _Fields(names, inputs, frozenset(required), all_inputs)


def _at(values: Any, index: int) -> Any:
    return values[index] if index < len(values) else _ABSENT


def _text(value: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NoJsonError("the class gave back a text that is no Unicode") from None
    return text


def _number(value: Any, original: Any) -> Any:
    """The number as the model wrote it, unless the class changed it."""
    if isinstance(original, (int, float, Decimal)) and not isinstance(original, bool) and _is_as_read(value, original):
        return original
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise NoJsonError(f"the class gave back {value}, which is no number in JSON")
        if isinstance(original, str):
            return original if _decimal(original) == value else str(value)
        return jsontext.float_or_decimal(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise NoJsonError(f"the class gave back {value}, which is no number in JSON")
    return float(value) if isinstance(value, float) else int(value)


def _is_as_read(value: Any, original: Any) -> bool:
    """Whether the number is just what pydantic reads from the answer; it may read a decimal's digits as a float."""
    if bool(value == original):
        return True
    try:
        return float(value) == float(original) and not isinstance(value, int)
    except (OverflowError, ValueError):
        return False


def _duration(value: datetime.timedelta, original: Any) -> str:
    """The duration as the model wrote it, unless the class changed it: pydantic would write years of 365 days."""
    if isinstance(original, str):
        with contextlib.suppress(ValueError):
            if _DURATIONS.validate_python(original) == value:
                return original
    seconds = abs(value) // _SECOND
    fraction = f"{abs(value) % _SECOND // _MICROSECOND:06}".rstrip("0")
    days, hours, minutes, seconds = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60, seconds % 60
    clock = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M")) if count)
    if seconds or fraction or not (days or clock):
        clock += f"{seconds}{'.' if fraction else ''}{fraction}S"
    sign = "-" if value < datetime.timedelta() else ""
    return f"{sign}P{f'{days}D' if days else ''}{'T' if clock else ''}{clock}"


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _json_text(dumped: str, original: str) -> str:
    try:
        same = pydantic_core.from_json(dumped) == pydantic_core.from_json(original)
    except ValueError:
        return dumped
    return original if same else dumped


def _in_order(items: list[Any], original: Any) -> list[Any]:
    """The items of a set in the order of the answer, new items last. A set's own order differs between processes."""
    originals = original if isinstance(original, list) else []
    indices = {jsontext.canonical(item): index for index, item in enumerate(originals)}
    return sorted(items, key=lambda item: (indices.get(key := jsontext.canonical(item), len(indices)), key))


def _keys(key: Any) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = pydantic_core.to_jsonable_python({key: None})
    except pydantic_core.PydanticSerializationError as e:
        raise NoJsonError(f"what the class gave back has no JSON form: {e}") from None
    return found


def _no_json(value: Any) -> Any:
    raise NoJsonError(f"the class gave back a {type(value).__name__}, which has no JSON form")
