"""One JSON Schema, seen three ways: as what the model is asked for, as the validator of its answer, as columns."""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import jsonschema_rs
import pyarrow as pa
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for
from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from kimi_beam import arrow, jsontext
from kimi_beam.errors import SchemaError

SchemaSource: TypeAlias = "OutputSchema | dict[str, Any] | bool | str | os.PathLike[str] | type[BaseModel]"
"""What a user may give: a JSON Schema, its file on any Beam filesystem, ``module:Class``, or a pydantic model."""

ADDITIONAL = "_additional"
RESERVED = frozenset({"_document_id", ADDITIONAL, "_metadata", "_provenance"})
"""The columns that kimi_beam writes beside the schema's own. A property of such a name is kept in ``_additional``."""

_MODULE_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_JSON_TYPES = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which an instance is not what the schema says.

    Attributes:
        path: JSON Pointer of the offending value in the instance; empty for the whole.
        keyword: The JSON Schema keyword that it violates.
        message: One line for a person.
    """

    path: str
    keyword: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or '(the answer)'}: {self.message} ({self.keyword})"


class OutputSchema:
    """What each document shall become.

    Values only: it pickles as its JSON Schema; the compiled validator and the columns are made where they are used.

    Args:
        schema: A JSON Schema as dict or bool, the path of its file (local, or on a filesystem that Beam knows), a
            pydantic model or its ``module:Class``, or another `OutputSchema` (returned as an equal one).
        formats: Whether ``format`` asserts: an ill-formed ``date`` is then a violation.

    Raises:
        SchemaError: It cannot be read, is no valid JSON Schema, or has a reference or pattern that cannot be compiled.
    """

    def __init__(self, schema: SchemaSource, *, formats: bool = True) -> None:
        self.formats: bool = schema.formats if isinstance(schema, OutputSchema) else formats
        # A copy: what the caller changes later would change the columns and not the validator.
        self.json_schema = copy.deepcopy(_json_schema(schema))
        self._validator = _compile(self.json_schema, self.formats)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the schema alone: a compiled validator cannot travel."""
        return _rebuild, (self.json_schema, self.formats)

    def __eq__(self, other: object) -> bool:
        # The order of properties counts: it is the order of the columns.
        mine = jsontext.dumps_any(self.json_schema)
        return isinstance(other, OutputSchema) and (mine, self.formats) == (
            jsontext.dumps_any(other.json_schema),
            other.formats,
        )

    def __hash__(self) -> int:
        return hash((self.hash, self.formats))

    def __repr__(self) -> str:
        return f"OutputSchema({self.name!r}, hash={self.hash!r})"

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the schema, its keys in their own order: that of the columns."""
        return hashlib.sha256(jsontext.dumps_any(self.json_schema)).hexdigest()[:16]

    @cached_property
    def name(self) -> str:
        """The name that the service is given for it: the schema's title as far as it is allowed there."""
        title = self.json_schema.get("title") if isinstance(self.json_schema, dict) else None
        return re.sub(r"[^A-Za-z0-9_-]+", "_", title)[:64] if isinstance(title, str) and title else "extraction"

    @cached_property
    def response_format(self) -> dict[str, Any]:
        """``response_format`` as Kimi's own input schema has it (form A: ``{name, schema, strict}``).

        Source: Workers AI model schema of ``@cf/moonshotai/kimi-k2.6``; that it is enforced is assumed, so every answer
        is validated here as well.
        """
        schema = self.json_schema
        if isinstance(schema, dict):
            schema = {key: value for key, value in schema.items() if key != "$schema"}
        return {"type": "json_schema", "json_schema": {"name": self.name, "schema": schema, "strict": True}}

    # -------------------------------------------------------------------------------------------- validation

    def is_valid(self, instance: Any) -> bool:
        """Whether the instance is what the schema says."""
        return bool(self._validator.is_valid(instance))

    def validate(self, instance: Any) -> list[Violation]:
        """Each way in which the instance is not what the schema says; empty when it is valid."""
        return [
            _violation(error.instance_path, error.kind.name, error.message)
            for error in self._validator.iter_errors(instance)
        ]

    def explain(self, instance: Any) -> str:
        """Why an instance is not valid, in one line: its first violations, or the one that tells most of a union's.

        In bounded time and memory, as answers are untrusted: `validate` builds every violation of a large instance too.
        """
        if self._unions_recurse:
            return "the answer is not what the schema says (a recursive union is not explained)"
        try:
            self._validator.validate(instance)
        except jsonschema_rs.ValidationError as e:
            first = _violation(e.instance_path, e.kind.name, e.message)
            if first.keyword in ("anyOf", "oneOf"):
                return str(self._best_match(instance) or first)
            small = len(jsontext.dumps_any(instance)) < 2_000
            return "; ".join(map(str, self.validate(instance)[:3] if small else [first]))
        return ""

    def _best_match(self, instance: Any) -> Violation | None:
        """The violation that `jsonschema` holds most relevant; it looks into the branches of a union."""
        # Its patterns are Python's, which a hostile answer can keep busy for ever; its uniqueItems is quadratic.
        canonical = jsontext.canonical(self.json_schema)
        if b'"pattern' in canonical or b'"uniqueItems' in canonical or len(jsontext.dumps_any(instance)) > 20_000:
            return None
        try:
            error = best_match(validator_for(self.json_schema)(self.json_schema).iter_errors(instance))
        except Exception:  # whatever it raises on a schema that only the other validator can read
            return None
        return error and _violation(error.absolute_path, str(error.validator), error.message)

    @cached_property
    def _unions_recurse(self) -> bool:
        """Whether a union may contain itself: each level of an answer then doubles what an explanation looks at."""
        text = jsontext.canonical(self.json_schema)
        union = b'"anyOf"' in text or b'"oneOf"' in text
        return union and arrow.recurses(self.json_schema)

    # -------------------------------------------------------------------------------------------- Arrow

    @cached_property
    def columns(self) -> dict[str, arrow.Column]:
        """The column of each property. Empty where the root is not an object that names its properties."""
        root, _ = arrow.resolve(self.json_schema, self.json_schema)
        if not isinstance(root, dict) or root.get("type") != "object":
            return {}
        named = arrow.columns_for(root, self.json_schema)
        # Parquet cuts a name at its first NUL.
        return {name: column for name, column in named.items() if name not in RESERVED and "\0" not in name}

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """One field a property, then ``_additional``: what no typed column holds, as JSON."""
        fields = [pa.field(name, c.type, nullable=name not in self._never_null) for name, c in self.columns.items()]
        return pa.schema([*fields, pa.field(ADDITIONAL, arrow.JSON)])

    @cached_property
    def _never_null(self) -> frozenset[str]:
        """Columns of properties that are required, not null, and whose every value its cell can hold."""
        root, _ = arrow.resolve(self.json_schema, self.json_schema)
        required = root.get("required", ()) if isinstance(root, dict) else ()
        return frozenset(name for name, c in self.columns.items() if name in required and not c.null and c.fill is None)

    @cached_property
    def _fill(self) -> arrow.Fill:
        root, _ = arrow.resolve(self.json_schema, self.json_schema)
        columns = self.columns
        if not columns:
            return _everything_additional
        fill = arrow.object_fill(root, columns)
        if fill is None or not isinstance(root, dict):
            return lambda value, _at, _rest: value
        return fill

    def to_arrow(self, instances: Sequence[Any]) -> tuple[pa.RecordBatch, list[tuple[int, Violation]]]:
        """Converts valid instances.

        Args:
            instances: Instances of the schema; one that is not may end up as a violation.

        Returns:
            A record batch of `arrow_schema` with a row for each instance that could be converted, in order, and the
            index and reason of each that could not. One bad instance never fails the others.
        """
        rows: list[tuple[Any, bytes | None]] = []
        bad: list[tuple[int, Violation]] = []
        for index, instance in enumerate(instances):
            try:
                rows.append(self._row(instance))
            except (ValueError, TypeError, AttributeError, ArithmeticError) as e:
                bad.append((index, Violation("", "type", str(e))))
        try:
            return self._batch(rows), bad
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            return self._row_by_row(instances)

    def _row(self, instance: Any) -> tuple[Any, bytes | None]:
        rest: arrow.Rest = {}
        cells = self._fill(instance, "", rest)
        return cells, jsontext.dumps(rest) if rest else None

    def _batch(self, rows: Sequence[tuple[Any, bytes | None]]) -> pa.RecordBatch:
        columns = self.columns
        storage = pa.struct([pa.field(name, c.storage) for name, c in columns.items()])
        cells: Any = pa.array([cells for cells, _ in rows], storage)
        arrays = cells.flatten() if columns else []
        typed = [
            array if array.type == column.type else array.cast(column.type)
            for array, column in zip(arrays, columns.values(), strict=True)
        ]
        for name, array in zip(columns, typed, strict=True):
            if array.null_count and name in self._never_null:
                raise ValueError(f"{name!r} is missing or null")
        additional = pa.array([rest for _, rest in rows], pa.string()).cast(arrow.JSON)
        return pa.RecordBatch.from_arrays([*typed, additional], schema=self.arrow_schema)

    def _row_by_row(self, instances: Sequence[Any]) -> tuple[pa.RecordBatch, list[tuple[int, Violation]]]:
        """Finds out which instances Arrow refuses."""
        good, bad = [], []
        for index, instance in enumerate(instances):
            try:
                row = self._row(instance)
                self._batch([row])
            except (pa.ArrowException, ValueError, TypeError, AttributeError, ArithmeticError) as e:
                bad.append((index, Violation("", "type", " ".join(str(e).split())[:300])))
            else:
                good.append(row)
        return self._batch(good), bad


def _rebuild(schema: dict[str, Any] | bool, formats: bool) -> OutputSchema:
    return OutputSchema(schema, formats=formats)


def _violation(path: Iterable[str | int], keyword: str, message: str) -> Violation:
    at = ""
    for token in path:
        at = arrow.pointer(at, token)
    return Violation(_line(at, 200), keyword, _line(message, 300))


def _line(text: str, most: int) -> str:
    """The text as one line that is not longer."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _everything_additional(value: Any, _at: str, rest: arrow.Rest) -> dict[str, Any]:
    rest[""] = value
    return {}


def _json_schema(source: SchemaSource) -> dict[str, Any] | bool:
    if isinstance(source, OutputSchema):
        return source.json_schema
    found = _load(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else source
    if isinstance(found, type):
        return _from_model(found)
    if not isinstance(found, (dict, bool)):
        raise SchemaError(f"a JSON Schema is an object, true or false, not {type(found).__name__}")
    return found


def _compile(schema: dict[str, Any] | bool, formats: bool) -> Any:
    try:
        return jsonschema_rs.validator_for(schema, validate_formats=formats, offline=True)
    except jsonschema_rs.ValidationError as e:
        at = "".join(f"/{token}" for token in e.instance_path)
        raise SchemaError(f"not a valid JSON Schema: at '{at or '/'}': {' '.join(e.message.split())[:300]}") from None
    except (ValueError, TypeError, jsonschema_rs.ReferencingError) as e:
        raise SchemaError(f"not a usable JSON Schema: {' '.join(str(e).split())[:300]}") from None


def _from_model(model: type) -> dict[str, Any]:
    if not issubclass(model, BaseModel):
        raise SchemaError(f"{model.__name__} is no pydantic model")
    try:
        return model.model_json_schema()
    except (PydanticUserError, ValueError) as e:
        raise SchemaError(f"{model.__name__} has no JSON Schema: {' '.join(str(e).split())[:300]}") from None


def _load(reference: str) -> dict[str, Any] | bool | type[BaseModel]:
    if _MODULE_CLASS.fullmatch(reference) and not Path(reference).exists():
        return _import_model(reference)
    try:
        text = _read(reference)
    except Exception as e:  # a remote filesystem may raise anything, an AssertionError for a missing extra among it
        reason = e.strerror if isinstance(e, OSError) and e.strerror else _line(str(e), 300)
        raise SchemaError(f"cannot read the schema {reference!r}: {reason}") from None
    try:
        schema = jsontext.loads(text)
    except ValueError as e:
        raise SchemaError(f"the schema {reference} is not JSON: {e}") from None
    if not isinstance(schema, (dict, bool)):
        raise SchemaError(f"the schema {reference} is not an object, true or false")
    return schema


def _import_model(reference: str) -> type[BaseModel]:
    module_name, _, class_name = reference.partition(":")
    try:
        found = getattr(import_module(module_name), class_name)
    except Exception as e:  # a user's module may raise anything while it is imported
        raise SchemaError(f"cannot import the schema {reference}: {type(e).__name__}: {_line(str(e), 200)}") from None
    if not isinstance(found, type) or not issubclass(found, BaseModel):
        raise SchemaError(f"{reference} is no pydantic model")
    return found


def _read(path: str) -> bytes:
    if "://" not in path:
        return Path(path).read_bytes()
    # A schema may lie on any filesystem that Beam knows. Late: nothing else here needs Beam.
    from apache_beam.io.filesystems import FileSystems

    with FileSystems.open(path) as f:
        content: bytes = f.read()
        return content
