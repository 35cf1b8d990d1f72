"""One schema as request, validator and columns: every valid instance can be read back from its row, unaltered."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from kimi_beam import jsontext
from kimi_beam.errors import SchemaError
from kimi_beam.schema import ADDITIONAL, RESERVED, OutputSchema, Violation

JSON = pa.json_(pa.string())
_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)

# ------------------------------------------------------------------------------------------------ reading a row back


def inner(schema: Any, root: Any) -> Any:
    """What a schema comes to behind references, a single ``allOf`` and a union with null."""
    while isinstance(schema, dict):
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        elif "allOf" in schema:
            (schema,) = schema["allOf"]
        elif "anyOf" in schema or "oneOf" in schema:
            branches = [b for b in schema.get("anyOf", schema.get("oneOf")) if b != {"type": "null"}]
            if len(branches) != 1:
                break
            (schema,) = branches
        else:
            break
    return schema


def read(kind: pa.DataType, schema: Any, root: Any, cell: Any, at: str, rest: dict[str, Any]) -> Any:
    """The value of a cell: what `_additional` holds under its pointer, else what the cell holds."""
    if at in rest:
        assert cell is None, f"{at} stands in the cell and in {ADDITIONAL}"
        return rest.pop(at)
    if cell is None:
        return None
    if kind == JSON:
        return jsontext.loads(cell)
    if pa.types.is_list(kind):
        items = inner(schema, root).get("items")
        return [read(kind.value_type, items, root, c, f"{at}/{i}", rest) for i, c in enumerate(cell)]
    if not pa.types.is_struct(kind):
        return cell.isoformat() if type(cell) is date else cell
    schema = inner(schema, root)
    value = {}
    for field in kind:
        pointer = f"{at}/{field.name.replace('~', '~0').replace('/', '~1')}"
        # A null cell alone means "absent", unless the property must be there.
        if cell[field.name] is not None or pointer in rest or field.name in schema.get("required", ()):
            sub = schema["properties"][field.name]
            value[field.name] = read(field.type, sub, root, cell[field.name], pointer, rest)
    for pointer in [p for p in rest if p.rpartition("/")[0] == at and p]:
        value[pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")] = rest.pop(pointer)
    return value


def read_rows(batch: pa.RecordBatch, schema: Any) -> list[Any]:
    fields = [field for field in batch.schema if field.name != ADDITIONAL]
    rows = []
    for row in batch.to_pylist():
        text = row.pop(ADDITIONAL)
        rest = {} if text is None else jsontext.loads(text)
        if "" in rest:  # the whole instance
            assert not fields
            rows.append(rest.pop(""))
        else:
            rows.append(read(pa.struct(fields), schema, schema, row, "", rest))
        assert not rest, "pointers that lead nowhere"
    return rows


def same(read: Any, written: Any) -> bool:
    """Whether two JSON values are equal, and of one type: 1 and 1.0 are, 1 and true are not."""
    if isinstance(read, datetime):
        return _instant(written) == read
    if isinstance(written, dict):
        return isinstance(read, dict) and read.keys() == written.keys() and all(same(read[k], written[k]) for k in read)
    if isinstance(written, list):
        return isinstance(read, list) and len(read) == len(written) and all(map(same, read, written))
    if written is None or isinstance(written, (bool, str)):
        return type(read) is type(written) and read == written
    return isinstance(read, (int, float, Decimal)) and not isinstance(read, bool) and read == written


def _instant(text: str) -> datetime:
    head, digits, zone = re.fullmatch(r"([0-9-]+T[0-9:]+)\.?([0-9]*)(\S+)", text.upper()).groups()  # type: ignore[union-attr]
    assert not digits[6:].strip("0"), "finer than a microsecond, so it must not stand in a timestamp"
    moment = datetime.fromisoformat(f"{head}{zone.replace('Z', '+00:00')}")
    return moment + timedelta(microseconds=int(f"{digits[:6]:0<6}"))


# ------------------------------------------------------------------------------------------------ a family of schemas


@dataclass
class Node:
    """A schema, its valid instances, and the definitions that it refers to."""

    schema: Any
    instances: st.SearchStrategy[Any]
    defs: dict[str, Any]


def _leaf(schema: Any, instances: st.SearchStrategy[Any]) -> st.SearchStrategy[Node]:
    return st.builds(lambda: Node(schema, instances, {}))


_INTEGERS = st.one_of(
    st.integers(-(10**40), 10**40),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 1.0, -0.0, 1e20, -1e300]),
)
_NUMBERS = st.one_of(
    _INTEGERS,
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([2**53, 2**53 + 1, Decimal("0.10000000000000000001"), Decimal("1E-400")]),
)
_DATE_TIMES = st.builds(
    lambda moment, digits, zone: f"{moment:%Y-%m-%dT%H:%M:%S}{f'.{digits}' if digits else ''}{zone}",
    st.datetimes(datetime(1000, 1, 1), datetime(9998, 1, 1)),
    st.sampled_from(["", "0", "5", "123456", "1234560", "1234567", "000000001"]),
    st.sampled_from(["Z", "z", "+00:00", "-00:00", "+14:00", "-03:30"]),
)
_DATES = st.dates().map(date.isoformat)
_LEAVES = st.one_of(
    _leaf({"type": "string"}, st.text(max_size=8)),
    _leaf({"type": "string", "format": "date"}, _DATES),
    _leaf({"type": "string", "format": "date-time"}, _DATE_TIMES),
    _leaf({"type": "integer"}, _INTEGERS),
    _leaf({"type": "number"}, _NUMBERS),
    _leaf({"type": ["number", "integer", "null"]}, st.none() | _NUMBERS),
    _leaf({"type": ["string", "null"]}, st.none() | st.text(max_size=4)),
    _leaf({"type": ["string", "integer"]}, st.text(max_size=4) | _INTEGERS),
    _leaf({"type": "boolean"}, st.booleans()),
    _leaf({"type": "null"}, st.none()),
    _leaf({}, _JSON_VALUES),
    _leaf(True, _JSON_VALUES),
    _leaf({"enum": ["a", "b"]}, st.sampled_from(["a", "b"])),
    _leaf({"enum": [1, 2.5, None]}, st.sampled_from([1, 1.0, 2.5, None])),
    _leaf({"enum": [True, "x", [], {"a": None}]}, st.sampled_from([True, "x", [], {"a": None}])),
    _leaf({"const": 7}, st.sampled_from([7, 7.0])),
    _leaf({"const": None}, st.none()),
    _leaf({"type": "object"}, st.dictionaries(st.text(max_size=3), _JSON_VALUES, max_size=3)),
    _leaf(
        {"type": "object", "additionalProperties": {"type": "integer"}}, st.dictionaries(st.text(max_size=3), _INTEGERS)
    ),
    _leaf({"type": "array"}, st.lists(_JSON_VALUES, max_size=3)),
    _leaf({"type": "array", "items": False}, st.just([])),
    _leaf(
        {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}},
        st.tuples(_INTEGERS, st.text(max_size=2)).map(list) | st.just([]),
    ),
    _leaf({"anyOf": [{"type": "string"}, {"type": "integer"}]}, st.text(max_size=4) | _INTEGERS),
    _leaf({"anyOf": [{"type": "null"}, {"type": "null"}]}, st.none()),
)
_NAMES = ["a", "b", "", "a/b", "a~b", "~1", "é", "list", " ", "0", ".", "a b"]


@st.composite
def _objects(draw: st.DrawFn, nodes: st.SearchStrategy[Node], root: bool = False) -> Node:
    names = draw(st.lists(st.sampled_from([*_NAMES, *RESERVED] if root else _NAMES), max_size=4, unique=True))
    properties = {name: draw(nodes) for name in names}
    required = [name for name in names if draw(st.booleans())]
    # A closed root with a reserved name is left to a test of its own.
    closed = draw(st.booleans()) and not (root and RESERVED.intersection(names))
    schema: dict[str, Any] = {"type": "object", "properties": {n: node.schema for n, node in properties.items()}}
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    known = st.fixed_dictionaries(
        {n: properties[n].instances for n in required},
        optional={n: node.instances for n, node in properties.items() if n not in required},
    )
    extra = st.dictionaries(st.text(max_size=3).filter(lambda n: n not in names), _JSON_VALUES, max_size=2)
    instances = known if closed else st.builds(lambda k, e: {**e, **k}, known, extra)
    return Node(schema, instances, {k: v for node in properties.values() for k, v in node.defs.items()})


@st.composite
def _wrapped(draw: st.DrawFn, nodes: st.SearchStrategy[Node]) -> Node:
    node = draw(nodes)
    how = draw(st.sampled_from(["array", "array", "ref", "ref", "allOf", "anyOf null", "null oneOf", "described ref"]))
    if how == "array":
        return Node({"type": "array", "items": node.schema}, st.lists(node.instances, max_size=3), node.defs)
    if how == "allOf":
        return Node({"allOf": [node.schema], "description": "d"}, node.instances, node.defs)
    if how in ("anyOf null", "null oneOf"):
        if how == "null oneOf" and _admits_null(node.schema):
            return node  # exactly one branch may match
        branches = [node.schema, {"type": "null"}] if how == "anyOf null" else [{"type": "null"}, node.schema]
        return Node({how.split()[-1 if how[0] == "n" else 0]: branches}, st.none() | node.instances, node.defs)
    name = hashlib.sha256(json.dumps(node.schema).encode()).hexdigest()[:8]
    schema: dict[str, Any] = {"$ref": f"#/$defs/{name}"}
    if how == "described ref":
        schema["description"] = "d"
    return Node(schema, node.instances, {**node.defs, name: node.schema})


def _admits_null(schema: Any) -> bool:
    return "null" in json.dumps(schema) or schema in ({}, True) or "$ref" in schema or "allOf" in schema


_NODES: st.SearchStrategy[Node] = st.recursive(_LEAVES, lambda nodes: _objects(nodes) | _wrapped(nodes), max_leaves=6)


@settings(derandomize=True, max_examples=500)
@given(data=st.data())
def test_every_valid_instance_is_read_back_from_its_row_unaltered(data: st.DataObject) -> None:
    node = data.draw(_objects(_NODES, root=True) | _NODES)
    definition = node.schema
    if node.defs:
        if not isinstance(definition, dict):
            return
        definition = {**definition, "$defs": node.defs}
    schema = OutputSchema(definition)
    instances = data.draw(st.lists(node.instances, min_size=1, max_size=3))
    for instance in instances:
        assert schema.validate(instance) == []
    batch, bad = schema.to_arrow(instances)
    assert bad == []
    assert batch.schema == schema.arrow_schema
    batch.validate(full=True)
    for back, instance in zip(read_rows(batch, definition), instances, strict=True):
        assert same(back, instance), f"{instance!r} came back as {back!r}"


@settings(derandomize=True, max_examples=100)
@given(data=st.data())
def test_a_file_gives_back_what_was_written_to_it(data: st.DataObject) -> None:
    node = data.draw(_objects(_NODES, root=True))
    definition = {**node.schema, "$defs": node.defs}
    instances = data.draw(st.lists(node.instances, max_size=3))
    batch, _ = OutputSchema(definition).to_arrow(instances)
    file = io.BytesIO()
    pq.write_table(pa.Table.from_batches([batch]), file)
    table = pq.read_table(file)
    assert table.schema.equals(batch.schema)
    back = [value for part in table.to_batches() for value in read_rows(part, definition)]
    assert len(back) == len(instances)
    assert all(map(same, back, instances))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _weakly(kind: pa.DataType, cell: Any, at: str, rest: dict[str, Any]) -> Any:
    """As `read`, for a schema that is not looked at: whether a null is one or is absent is left open."""
    if at in rest:
        return rest.pop(at)
    if cell is None or kind == JSON:
        return None if cell is None else jsontext.loads(cell)
    if pa.types.is_list(kind):
        return [_weakly(kind.value_type, c, f"{at}/{i}", rest) for i, c in enumerate(cell)]
    if not pa.types.is_struct(kind):
        return cell.isoformat() if type(cell) is date else cell
    pointers = {f.name: f"{at}/{f.name.replace('~', '~0').replace('/', '~1')}" for f in kind}
    value = {f.name: _weakly(f.type, cell[f.name], pointers[f.name], rest) for f in kind}
    for pointer in [p for p in rest if p.rpartition("/")[0] == at and p]:
        value[pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")] = rest.pop(pointer)
    return value


def test_no_valid_instance_of_a_real_schema_is_refused_or_altered(shared_data: Path) -> None:
    files = sorted((shared_data / "schemas-real").glob("*/*.json"))
    assert len(files) > 300
    count = 0
    for file in files:
        content = json.loads(file.read_text())
        schema = OutputSchema(content["schema"])
        for case in content["tests"]:
            assert schema.is_valid(case["data"]) is case["valid"], file.name
            assert bool(schema.validate(case["data"])) is not case["valid"], file.name
            if not case["valid"]:
                continue
            batch, bad = schema.to_arrow([case["data"]])
            assert bad == [], file.name
            (row,) = batch.to_pylist()
            rest = {} if row[ADDITIONAL] is None else jsontext.loads(row[ADDITIONAL])
            fields = [field for field in batch.schema if field.name != ADDITIONAL]
            back = _weakly(pa.struct(fields), row, "", rest)
            assert not rest, file.name
            assert same(_without_nulls(back), _without_nulls(case["data"])), file.name
            count += 1
    assert count > 480


# ------------------------------------------------------------------------------------------------ columns by hand


def _column(schema: Any, **root: Any) -> str:
    whole = {"type": "object", "properties": {"p": schema}, **root}
    return str(OutputSchema(whole).arrow_schema.field("p").type)


@pytest.mark.parametrize(
    ("schema", "column"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "date"}, "date32[day]"),
        ({"type": "string", "format": "date-time"}, "timestamp[us, tz=UTC]"),
        ({"type": "string", "format": "email"}, "string"),
        ({"type": "integer"}, "int64"),
        ({"type": "number"}, "double"),
        ({"type": ["integer", "number"]}, "double"),
        ({"type": "boolean"}, "bool"),
        ({"type": ["boolean", "null"]}, "bool"),
        ({"enum": ["EUR", "USD"]}, "string"),
        ({"const": 1}, "int64"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "int64"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None, "title": "P"}, "int64"),
        ({"oneOf": [{"type": "null"}, {"$ref": "#/$defs/day"}]}, "date32[day]"),
        ({"allOf": [{"$ref": "#/$defs/day"}], "description": "d"}, "date32[day]"),
        ({"$ref": "#/$defs/again"}, "date32[day]"),
        ({"$ref": "#/$defs/~1odd~0name"}, "bool"),
        ({"type": "array", "items": {"type": "string"}}, "list<item: string>"),
        ({"type": "array", "items": {"$ref": "#/$defs/line"}}, "list<item: struct<sku: string, qty: int64>>"),
        ({"type": "object", "properties": {"x": {"type": "number"}}}, "struct<x: double>"),
        # No faithful type: the value's JSON text.
        ({"type": ["string", "integer"]}, "extension<arrow.json>"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "extension<arrow.json>"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "extension<arrow.json>"),
        ({"type": "object", "properties": {}}, "extension<arrow.json>"),
        ({"type": "array"}, "extension<arrow.json>"),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, "extension<arrow.json>"),
        ({"$ref": "#/$defs/loop"}, "extension<arrow.json>"),
        ({"$ref": "#/$defs/ping"}, "extension<arrow.json>"),
        ({"$ref": "#/$defs/day", "type": "string"}, "extension<arrow.json>"),
        ({"$ref": "#anchor"}, "extension<arrow.json>"),
        ({}, "extension<arrow.json>"),
        (True, "extension<arrow.json>"),
        (False, "extension<arrow.json>"),
    ],
)
def test_a_schema_becomes_the_column_that_holds_it_faithfully(schema: Any, column: str) -> None:
    defs = {
        "day": {"type": "string", "format": "date"},
        "again": {"$ref": "#/$defs/day"},
        "/odd~name": {"type": "boolean"},
        "line": {"type": "object", "properties": {"sku": {"type": "string"}, "qty": {"type": "integer"}}},
        "loop": {"$ref": "#/$defs/loop"},
        "ping": {"allOf": [{"$ref": "#/$defs/pong"}]},
        "pong": {"anyOf": [{"$ref": "#/$defs/ping"}, {"type": "null"}]},
        "named": {"$anchor": "anchor", "type": "string"},
    }
    assert _column(schema, **{"$defs": defs}) == column


def test_a_recursive_schema_is_typed_until_it_recurs() -> None:
    tree = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
    }
    schema = OutputSchema(tree)
    instance: dict[str, Any] = {"name": "leaf"}
    for depth in range(60):
        instance = {"name": str(depth), "children": [instance]}
    batch, bad = schema.to_arrow([instance])
    assert bad == []
    (row,) = batch.to_pylist()
    assert row["name"] == "59"
    assert _weakly(batch.schema.field("children").type, row["children"], "/children", {})[0]["name"] == "58"


@pytest.mark.parametrize(
    "root", [True, {}, {"type": ["object", "null"]}, {"type": "array"}, {"properties": {"a": {}}}, {"$ref": "#"}]
)
def test_a_root_that_names_no_columns_keeps_the_whole_answer_in_one(root: Any) -> None:
    schema = OutputSchema(root)
    assert schema.arrow_schema.names == [ADDITIONAL]
    instance = [] if root == {"type": "array"} else {"a": 1 << 70, "": None}
    batch, bad = schema.to_arrow([instance])
    assert bad == []
    assert jsontext.loads(batch.to_pylist()[0][ADDITIONAL]) == {"": instance}


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_property_named_like_our_own_columns_is_kept_beside_them(name: str) -> None:
    schema = OutputSchema({"type": "object", "properties": {name: {"type": "string"}, "a": {"type": "string"}}})
    assert schema.arrow_schema.names == ["a", ADDITIONAL]
    batch, _ = schema.to_arrow([{"a": "x", name: "KEPT"}])
    assert batch.to_pylist() == [{"a": "x", ADDITIONAL: f'{{"/{name}":"KEPT"}}'}]


def test_inside_an_object_our_names_are_names_like_any_other() -> None:
    names = sorted(RESERVED)
    nested = {"type": "object", "properties": {n: {"type": "string"} for n in names}, "additionalProperties": False}
    schema = OutputSchema({"type": "object", "properties": {"o": nested}})
    batch, _ = schema.to_arrow([{"o": dict.fromkeys(names, "x")}])
    assert batch.to_pylist() == [{"o": dict.fromkeys(names, "x"), ADDITIONAL: None}]


def test_absent_null_and_overflowing_are_three_different_things() -> None:
    schema = OutputSchema({"type": "object", "properties": {"n": {"type": ["integer", "null"]}}})
    batch, _ = schema.to_arrow([{}, {"n": None}, {"n": 1 << 64}, {"n": 5}])
    assert batch.column("n").to_pylist() == [None, None, None, 5]
    assert batch.column(ADDITIONAL).to_pylist() == [None, '{"/n":null}', '{"/n":18446744073709551616}', None]


@pytest.mark.parametrize("number", [0, -1, 2**53, -(2**53), 2**63 - 1, -(2**63), 1.0, -0.0, 9.007199254740992e15])
def test_a_number_that_a_cell_holds_exactly_stands_in_it(number: float) -> None:
    for kind in ("integer", "number"):
        batch, bad = OutputSchema(_one(kind)).to_arrow([{"n": number}])
        assert bad == []
        if kind == "integer" or abs(number) <= 2**53:
            assert batch.to_pylist() == [{"n": number, ADDITIONAL: None}]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 1e19, -1e300, 10**400])
def test_an_integer_beyond_64_bits_stands_beside_its_cell(number: float) -> None:
    batch, bad = OutputSchema(_one("integer")).to_arrow([{"n": number}])
    assert (bad, batch.column("n").to_pylist()) == ([], [None])
    assert jsontext.loads(batch.column(ADDITIONAL).to_pylist()[0]) == {"/n": number}


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**63, Decimal("0.10000000000000000001"), 10**400])
def test_a_number_that_no_double_holds_stands_beside_its_cell(number: Any) -> None:
    batch, bad = OutputSchema(_one("number")).to_arrow([{"n": number}])
    assert (bad, batch.column("n").to_pylist()) == ([], [None])
    assert jsontext.loads(batch.column(ADDITIONAL).to_pylist()[0]) == {"/n": number}


def _one(kind: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"n": {"type": kind}}}


def test_one_instance_that_fits_no_column_never_fails_the_others() -> None:
    schema = OutputSchema(
        {
            "type": "object",
            "properties": {
                "n": {"type": "integer"},
                "b": {"type": "boolean"},
                "d": {"type": "string", "format": "date"},
            },
        }
    )
    good = {"n": 1, "b": True, "d": "2026-03-01"}
    # None of them is valid; each is refused at another step of the conversion.
    wrong = [{"n": "x"}, {"b": "x"}, {"d": 5}, [], None, {"b": [1]}]
    mixed = [item for pair in zip(wrong, [good] * len(wrong), strict=True) for item in pair]
    batch, bad = schema.to_arrow(mixed)
    assert [index for index, _ in bad] == [0, 2, 4, 6, 8, 10]
    assert all(isinstance(violation, Violation) and str(violation) for _, violation in bad)
    assert batch.column("n").to_pylist() == [1] * 6
    assert batch.column("d").to_pylist() == [date(2026, 3, 1)] * 6


def test_an_answer_nested_deeper_than_json_can_be_written_is_refused_alone() -> None:
    schema = OutputSchema({"type": "object", "properties": {"a": {"type": "string"}}})
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    batch, bad = schema.to_arrow([{"a": "x"}, {"a": "y", "deep": deep}, {"a": "z"}])
    assert batch.column("a").to_pylist() == ["x", "z"]
    assert [(index, violation.keyword) for index, violation in bad] == [(1, "type")]


def test_the_year_zero_is_a_date_of_rfc_3339_that_no_cell_holds() -> None:
    schema = OutputSchema({"type": "object", "properties": {"d": {"type": "string", "format": "date"}}})
    batch, bad = schema.to_arrow([{"d": "0000-01-01"}])
    assert bad == []
    assert batch.to_pylist() == [{"d": None, ADDITIONAL: '{"/d":"0000-01-01"}'}]


def test_no_instances_are_an_empty_batch_of_the_declared_types() -> None:
    schema = OutputSchema({"type": "object", "properties": {"n": {"type": "integer"}, "x": {}}})
    batch, bad = schema.to_arrow([])
    assert (batch.num_rows, bad) == (0, [])
    assert [str(field.type) for field in batch.schema] == ["int64", "extension<arrow.json>", "extension<arrow.json>"]


@pytest.mark.parametrize(
    "text",
    [
        "2024-12-31T23:59:60Z",  # a leap second
        "2024-01-01T00:00:00.123456789Z",
        "2024-01-01T00:00:00.0000001-05:00",
    ],
)
def test_a_moment_that_no_timestamp_holds_is_kept_as_it_was_written(text: str) -> None:
    schema = OutputSchema({"type": "object", "properties": {"t": {"type": "string", "format": "date-time"}}})
    assert schema.is_valid({"t": text})
    batch, bad = schema.to_arrow([{"t": text}])
    assert bad == []
    assert batch.to_pylist() == [{"t": None, ADDITIONAL: f'{{"/t":"{text}"}}'}]


def test_a_moment_is_the_same_instant_in_whatever_zone_and_precision_it_was_written() -> None:
    schema = OutputSchema({"type": "object", "properties": {"t": {"type": "string", "format": "date-time"}}})
    texts = ["2024-01-01T12:00:00Z", "2024-01-01t12:00:00.000z", "2024-01-01T13:00:00.0000000+01:00"]
    batch, _ = schema.to_arrow([{"t": text} for text in texts])
    assert set(batch.column("t").to_pylist()) == {datetime(2024, 1, 1, 12, tzinfo=timezone.utc)}


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "2024-1-1", "2024-01-01T00:00:00"])
def test_where_formats_do_not_assert_an_ill_formed_date_is_kept_as_it_was_written(text: str) -> None:
    for kind in ("date", "date-time"):
        definition = {"type": "object", "properties": {"t": {"type": "string", "format": kind}}}
        schema = OutputSchema(definition, formats=False)
        assert schema.is_valid({"t": text})
        assert not OutputSchema(definition).is_valid({"t": text})
        batch, bad = schema.to_arrow([{"t": text}])
        assert bad == []
        assert jsontext.loads(batch.to_pylist()[0][ADDITIONAL]) == {"/t": text}


# ------------------------------------------------------------------------------------------------ as validator


def test_a_violation_names_the_place_the_keyword_and_the_reason() -> None:
    schema = OutputSchema(
        {
            "type": "object",
            "properties": {"a/b": {"type": "array", "items": {"type": "integer"}}},
            "required": ["a/b", "~"],
        }
    )
    violations = schema.validate({"a/b": [1, "x"]})
    assert {(v.path, v.keyword) for v in violations} == {("/a~1b/1", "type"), ("", "required")}
    assert str(next(v for v in violations if v.keyword == "type")) == '/a~1b/1: "x" is not of type "integer" (type)'
    assert str(next(v for v in violations if v.keyword == "required")).startswith("(the answer): ")


def test_a_violation_of_a_huge_value_is_one_short_line() -> None:
    (violation,) = OutputSchema({"type": "object"}).validate(["line\nbreak"] * 100_000)
    assert len(violation.message) <= 300
    assert "\n" not in violation.message


@pytest.mark.parametrize(
    ("schema", "instance", "valid"),
    [
        ({"type": "integer"}, 1 << 200, True),
        ({"type": "integer"}, 1.0, True),
        ({"type": "integer"}, Decimal("0.10000000000000000001"), False),
        ({"maximum": 18446744073709551616}, 18446744073709551617, False),
        ({"maximum": 18446744073709551616}, 18446744073709551616, True),
        ({"type": "number", "minimum": 0}, Decimal("1E-400"), True),
        ({"const": 9007199254740993}, 9007199254740992, False),
        ({"multipleOf": 0.01}, 19.99, True),
        (True, None, True),
        (False, None, False),
    ],
)
def test_numbers_are_judged_by_all_their_digits(schema: Any, instance: Any, valid: bool) -> None:
    assert OutputSchema(schema).is_valid(instance) is valid


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", r"^(?:(a)\1?)+$", r"^([a-z]+\s?)+(?!x)$"])
def test_no_pattern_can_be_made_to_run_for_ever(pattern: str) -> None:
    schema = OutputSchema({"type": "string", "pattern": pattern})
    assert not schema.is_valid("a" * 100_000 + "!")
    assert len(schema.validate("a" * 100_000 + "!")) == 1


@pytest.mark.parametrize(
    "definition",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "object", "properties": {"p": {"$ref": "#/properties/p"}}},
        {"type": "object", "properties": {"p": {"allOf": [{"$ref": "#/properties/p"}]}}},
    ],
)
def test_references_in_a_circle_neither_crash_nor_hang(definition: Any) -> None:
    schema = OutputSchema(definition)
    assert ADDITIONAL in schema.arrow_schema.names
    assert schema.is_valid({"p": 1})
    assert schema.to_arrow([{"p": 1}])[1] == []


# ------------------------------------------------------------------------------------------------ from many sources


class Colour(Enum):
    RED = "red"


class Line(BaseModel):
    sku: str
    price: float | None = None


class Order(BaseModel):
    """An order."""

    day: date
    colour: Colour
    lines: list[Line]


def test_a_pydantic_model_a_dict_a_file_and_a_name_are_the_same_schema(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text(json.dumps(Order.model_json_schema()))
    from_class = OutputSchema(Order)
    assert from_class == OutputSchema(Order.model_json_schema()) == OutputSchema(file) == OutputSchema(str(file))
    assert OutputSchema(from_class) == from_class
    assert len({from_class, OutputSchema(file)}) == 1
    assert str(from_class.arrow_schema.field("lines").type) == "list<item: struct<sku: string, price: double>>"
    assert [str(field.type) for field in from_class.arrow_schema][:2] == ["date32[day]", "string"]
    assert OutputSchema("schemas.invoice:Invoice").name == "Invoice"


def test_a_schema_survives_pickling_with_all_that_it_does() -> None:
    for formats in (True, False):
        schema = OutputSchema(
            {"title": "T", "type": "object", "properties": {"d": {"type": "string", "format": "date"}}}, formats=formats
        )
        copy = pickle.loads(pickle.dumps(schema))
        assert copy == schema
        assert copy.hash == schema.hash
        assert copy.arrow_schema == schema.arrow_schema
        assert copy.is_valid({"d": "x"}) is not formats


def test_the_hash_is_of_the_content_and_the_same_everywhere() -> None:
    one, other = ({"type": "object", "properties": {k: {} for k in order}} for order in ("ab", "ba"))
    assert OutputSchema(one).hash != OutputSchema(other).hash, "the columns of these two stand in another order"
    assert OutputSchema(one) != OutputSchema(other)
    assert OutputSchema({"type": "object"}).hash == hashlib.sha256(b'{"type":"object"}').hexdigest()[:16]
    assert OutputSchema({"type": "object"}).hash != OutputSchema({"type": "array"}).hash
    assert OutputSchema({"type": "object"}) != OutputSchema({"type": "object"}, formats=False)
    assert OutputSchema(True).hash != OutputSchema(False).hash


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Invoice", "Invoice"),
        ("My invoice (v2)", "My_invoice_v2_"),
        ("发票", "_"),
        ("x" * 100, "x" * 64),
        ("", "extraction"),
        (None, "extraction"),
    ],
)
def test_the_service_is_given_a_name_that_it_allows(title: str | None, name: str) -> None:
    schema = OutputSchema({"title": title, "type": "object"} if title is not None else {"type": "object"})
    assert schema.response_format["json_schema"]["name"] == name


def test_the_response_format_is_the_openai_form_that_kimis_own_schema_names() -> None:
    definition = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"$schema": {}},
    }
    assert OutputSchema(definition).response_format == {
        "type": "json_schema",
        "json_schema": {
            "name": "extraction",
            "schema": {"type": "object", "properties": {"$schema": {}}},
            "strict": True,
        },
    }
    assert OutputSchema(True).response_format["json_schema"]["schema"] is True


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "any"},
        {"type": []},
        {"allOf": []},
        {"properties": []},
        {"pattern": "("},
        {"minimum": "1"},
        {"required": ["a", "a"]},
        {"$ref": "#/nowhere"},
        {"$ref": "other.json"},
        {"$ref": "https://example.com/schema.json"},
        {"$schema": "https://example.com/dialect"},
        {"title": "\ud800"},
        {1: 2},
        {"const": {1, 2}},
        [],
        None,
        3,
        b"{}",
        int,
        "no such file.json",
        "/",
        "no_such_module:Model",
        "json:NoSuchClass",
        "json:JSONDecoder",
        "builtins:int",
    ],
)
def test_what_is_no_schema_is_said_in_one_line_before_anything_runs(wrong: Any) -> None:
    with pytest.raises(SchemaError) as e:
        OutputSchema(wrong)
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 500


def test_a_file_that_holds_no_schema_is_named(tmp_path: Path) -> None:
    for content in (b"", b"{", b"\xff", b"[]", b'"x"', b"NaN"):
        file = tmp_path / "schema.json"
        file.write_bytes(content)
        with pytest.raises(SchemaError, match=r"schema\.json"):
            OutputSchema(file)


def test_a_schema_nested_beyond_reason_is_refused() -> None:
    definition: dict[str, Any] = {}
    for _ in range(400):
        definition = {"type": "array", "items": definition}
    with pytest.raises(SchemaError):
        OutputSchema(definition)


def test_a_column_is_nullable_where_its_cell_may_be_null_and_only_there() -> None:
    schema = OutputSchema(
        {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "maybe": {"type": ["string", "null"]},
                "optional": {"type": "string"},
                "count": {"type": "integer"},
            },
            "required": ["name", "maybe", "count"],
        }
    )
    nullable = {field.name: field.nullable for field in schema.arrow_schema}
    # A count beyond 64 bits stands in _additional, and its cell is null.
    assert nullable == {"name": False, "maybe": True, "optional": True, "count": True, "_additional": True}
    batch, bad = schema.to_arrow([{"maybe": None, "count": 1}, {"name": "x", "maybe": None, "count": 1}])
    assert (batch.num_rows, [index for index, _ in bad]) == (1, [0])
