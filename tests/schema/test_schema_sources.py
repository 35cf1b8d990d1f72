"""Schemas of every source: classes with validators of their own, registries, drafts, chosen column types."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typed_models
from pydantic import BaseModel, field_validator

from kimi_beam.errors import SchemaError
from kimi_beam.results.judging import judge
from kimi_beam.schema import ADDITIONAL, OutputSchema
from kimi_beam.types.failure import Failure

# ------------------------------------------------------------------------------------------------ classes


@pytest.mark.parametrize(
    ("source", "names", "valid", "invalid"),
    [
        (typed_models.Plain, ["name", "count"], {"name": "x"}, {"name": ""}),
        (typed_models.Point, ["x", "label"], {"x": 1, "label": None}, {"x": "1"}),
        (typed_models.Options, ["a", "b"], {"a": 1}, {"b": "x"}),
        ("typed_models:Plain", ["name", "count"], {"name": "x", "count": 1}, {}),
        ("typed_models:Point", ["x", "label"], {"x": 1}, {}),
        ("typed_models:Options", ["a", "b"], {"a": 1, "b": ""}, {}),
    ],
)
def test_a_class_says_what_the_columns_are(source: Any, names: list[str], valid: Any, invalid: Any) -> None:
    schema = OutputSchema(source)
    assert schema.arrow_schema.names == [*names, ADDITIONAL]
    assert schema.is_valid(valid)
    assert not schema.is_valid(invalid)


@pytest.mark.parametrize("source", ["typed_models:NOT_A_CLASS", "typed_models:Gone", "typed_models:"])
def test_what_is_no_class_is_said_in_one_line(source: str) -> None:
    with pytest.raises(SchemaError, match="typed_models"):
        OutputSchema(source)


CHECKED = OutputSchema(typed_models.Checked)


@pytest.mark.parametrize(
    ("instance", "path", "message"),
    [
        ({"parts": [1, 2], "total": 4}, "", "not the sum"),
        ({"parts": [], "total": 0, "code": "bad"}, "/code", "no such code"),
        ({"parts": [], "total": 0, "code": "KeyError"}, "", "raised KeyError"),
    ],
)
def test_a_classs_own_validators_have_the_last_word(instance: Any, path: str, message: str) -> None:
    for schema in (CHECKED, pickle.loads(pickle.dumps(CHECKED)), copy.deepcopy(CHECKED), OutputSchema(CHECKED)):
        (violation,) = schema.validate(instance)
        assert (violation.path, violation.keyword) == (path, "validator")
        assert message in violation.message
        assert not schema.is_valid(instance)
        assert message in schema.explain(instance)
    failure = judge(json.dumps(instance), CHECKED)
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.code) == ("validate", "schema_violation")
    assert message in failure.message
    assert CHECKED.validate({"parts": [0.1, 0.2], "total": 0.3}) == []


def test_the_schema_speaks_before_the_validators() -> None:
    assert [v.keyword for v in CHECKED.validate({"parts": [1], "total": "x"})] == ["type"]


@pytest.mark.parametrize(
    ("model", "good", "bad"),
    [
        (typed_models.Outer, {"inner": [{"parts": [1], "total": 1}]}, {"inner": [{"parts": [1], "total": 2}]}),
        (typed_models.Annotation, {"number": 2}, {"number": 3}),
    ],
)
def test_validators_of_inner_classes_and_annotations_run_too(model: Any, good: Any, bad: Any) -> None:
    schema = OutputSchema(model)
    assert schema.is_valid(good)
    assert not schema.is_valid(bad)


def test_a_class_that_no_worker_can_import_is_named(tmp_path: Path) -> None:
    class Local(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def _positive(cls, a: int) -> int:
            assert a > 0
            return a

    schema = OutputSchema(Local)
    assert not schema.is_valid({"a": -1}), "it is known in this process"
    (tmp_path / "schema.pickle").write_bytes(pickle.dumps(schema))
    code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb')).is_valid({'a': 1})"
    worker = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "schema.pickle"], capture_output=True, text=True, check=False
    )
    last = worker.stderr.strip().splitlines()[-1]
    assert "SchemaError" in last
    assert "Local is asked about each answer, so it must be importable on the workers" in last


def test_a_class_without_validators_need_not_be_importable(tmp_path: Path) -> None:
    class Local(BaseModel):
        a: int

    (tmp_path / "schema.pickle").write_bytes(pickle.dumps(OutputSchema(Local)))
    code = "import pickle, sys; assert pickle.load(open(sys.argv[1], 'rb')).is_valid({'a': 1})"
    subprocess.run([sys.executable, "-c", code, tmp_path / "schema.pickle"], check=True)


def test_a_decimal_with_places_is_a_decimal_column_from_its_digits() -> None:
    schema = OutputSchema(typed_models.Money)
    assert schema.arrow_schema.field("net").type == pa.decimal128(12, 2)
    assert schema.arrow_schema.field("rate").type == pa.decimal128(33, 4)
    instances = [{"net": 19.99}, {"net": "19.90", "rate": "0.1900"}, {"net": 5, "rate": None}, {"net": Decimal("1E+3")}]
    assert all(map(schema.is_valid, instances))
    batch, bad = schema.to_arrow(instances)
    assert bad == []
    assert batch.column("net").to_pylist() == [Decimal(d) for d in ("19.99", "19.90", "5.00", "1000.00")]
    assert batch.column("rate").to_pylist()[1] == Decimal("0.1900")
    assert [i["net"] for i in schema.from_arrow(batch)] == [19.99, 19.9, 5, 1000]
    assert not schema.is_valid({"net": 19.999})
    assert "x-arrow-type" not in json.dumps(schema.response_format)


class _Free(BaseModel):
    net: Decimal
    tax: Decimal | None = None
    parts: list[Decimal] = []


def test_a_plain_decimal_is_one_decimal_column_that_alters_no_value() -> None:
    schema = OutputSchema(_Free)
    assert schema.arrow_schema.field("net").type == pa.decimal128(38, 9)
    assert schema.arrow_schema.field("tax").type == pa.decimal128(38, 9)
    assert schema.arrow_schema.field("parts").type.value_type == pa.decimal128(38, 9)
    instances = [
        {"net": 19.99, "tax": None, "parts": [1, 2.5]},
        {"net": "19.90", "tax": 5},
        {"net": Decimal("0.12345678901"), "tax": "12345678901234567890123456789012345"},
    ]
    assert all(map(schema.is_valid, instances))
    batch, bad = schema.to_arrow(instances)
    assert bad == []
    assert batch.column("net").to_pylist() == [Decimal("19.99"), Decimal("19.9"), None]
    assert json.loads(batch.column(ADDITIONAL).to_pylist()[2], parse_float=Decimal) == {  # type: ignore[arg-type]
        "/net": Decimal("0.12345678901"),
        "/tax": "12345678901234567890123456789012345",
    }
    back = schema.from_arrow(batch)
    assert (back[0]["net"], back[0]["parts"], back[1]["net"], back[1]["tax"]) == (19.99, [1, 2.5], 19.9, 5)
    assert back[2] == {"net": 0.12345678901, "tax": instances[2]["tax"]}  # type: ignore[index]
    sent = schema.response_format["json_schema"]["schema"]["properties"]
    assert sent["net"] == {"type": "number"}, "a union is not needed to ask for a number"
    assert sent["tax"] == {"anyOf": [{"type": "number"}, {"type": "null"}]}


# ------------------------------------------------------------------------------------------------ drafts, registries

INTEGER = {"$id": "http://example.com/integer", "type": "integer"}
REFERRING = {"type": "object", "properties": {"n": {"$ref": "http://example.com/integer"}}}


def test_a_remote_reference_is_refused_unless_a_registry_holds_it() -> None:
    with pytest.raises(SchemaError, match="at '/properties/n'"):
        OutputSchema(REFERRING)
    with pytest.raises(SchemaError, match="example"):
        OutputSchema(REFERRING, registry={"http://example.com/other": True})
    for registry in ({"http://example.com/integer": INTEGER}, [("http://example.com/integer", INTEGER)]):
        schema = OutputSchema(REFERRING, registry=registry)
        for same in (schema, pickle.loads(pickle.dumps(schema))):
            assert same.is_valid({"n": 1})
            assert not same.is_valid({"n": "x"})
            assert same.arrow_schema.field("n").type == pa.int64()
            assert same == schema


def test_a_function_that_fetches_is_called_while_the_pipeline_is_built_and_never_again() -> None:
    asked: list[str] = []

    def fetch(uri: str) -> Any:
        asked.append(uri)
        return {"$ref": "other"} if uri.endswith("integer") else {"type": "integer"}

    schema = OutputSchema(REFERRING, registry=fetch)
    assert asked == ["http://example.com/integer", "http://example.com/other"]
    again = pickle.loads(pickle.dumps(schema))
    assert (again.is_valid({"n": 1}), again.is_valid({"n": "x"})) == (True, False)
    assert again.arrow_schema.field("n").type == pa.int64()
    assert len(asked) == 2


@pytest.mark.parametrize("registry", [5, {"a": 5}, [1], "x"])
def test_what_is_no_registry_is_said_in_one_line(registry: Any) -> None:
    with pytest.raises(SchemaError, match="registry"):
        OutputSchema(REFERRING, registry=registry)


def test_a_fetch_that_fails_is_the_users_mistake() -> None:
    def fetch(uri: str) -> Any:
        raise OSError("no network")

    with pytest.raises(SchemaError, match="no network"):
        OutputSchema(REFERRING, registry=fetch)


_PAIR: Any = {"items": [{"type": "integer"}]}
_BY_ID = {"definitions": {"i": {"id": "#i", "type": "integer"}}, "properties": {"p": {"$ref": "#i"}}}
_BY_ANCHOR = {"$defs": {"a": {"$anchor": "here", "type": "integer"}}, "properties": {"p": {"$ref": "#here"}}}
_RECURSIVE = {"$recursiveAnchor": True, "properties": {"p": {"type": ["boolean", "object"], "$recursiveRef": "#"}}}


@pytest.mark.parametrize(
    ("draft", "definition", "valid", "invalid", "column"),
    [
        (4, {"properties": {"p": {"type": "integer", "maximum": 5, "exclusiveMaximum": True}}}, 4, 5, "int64"),
        (4, {"id": "http://x/", **_BY_ID}, 4, "x", "int64"),
        (6, {"properties": {"p": {"const": 5, "exclusiveMinimum": 1}}}, 5, 6, "int64"),
        (7, {"properties": {"p": {"if": True, "then": {"type": "boolean"}}}}, True, 1, "bool"),
        (7, {"properties": {"p": {**_PAIR, "additionalItems": False}}}, [1], [1, 2], "struct<_0: int64>"),
        ("2019-09", _RECURSIVE, {"p": {}}, 1, None),
        ("2019-09", {"properties": {"p": {**_PAIR, "unevaluatedItems": False}}}, [1], [1, 2], "struct<_0: int64>"),
        ("2020-12", _BY_ANCHOR, 1, "x", "int64"),
    ],
)
def test_each_draft_is_read_by_its_own_rules(
    draft: Any, definition: Any, valid: Any, invalid: Any, column: Any
) -> None:
    schema = OutputSchema({"type": "object", **definition}, draft=draft)
    assert schema.is_valid({"p": valid})
    assert not schema.is_valid({"p": invalid})
    if column is not None:
        assert str(schema.arrow_schema.field("p").type) == column
    assert schema.from_arrow(schema.to_arrow([{"p": valid}])[0]) == [{"p": valid}]
    assert pickle.loads(pickle.dumps(schema)).is_valid({"p": valid})


@pytest.mark.parametrize("end", ["", "#"])
def test_a_metaschema_of_the_registry_says_which_keywords_count_also_where_the_draft_is_named(end: str) -> None:
    core = "https://json-schema.org/draft/2020-12/vocab/core"
    applicator = "https://json-schema.org/draft/2020-12/vocab/applicator"
    metaschema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "http://example.com/no-validation",
        "$vocabulary": {core: True, applicator: True},
    }
    definition = {"$schema": metaschema["$id"] + end, "properties": {"a": {"minimum": 10}, "b": False}}  # type: ignore[operator]
    for draft in (None, "2020-12"):
        schema = OutputSchema(definition, registry={metaschema["$id"]: metaschema}, draft=draft)  # type: ignore[arg-type]
        assert (schema.is_valid({"a": 1}), schema.is_valid({"b": 1})) == (True, False), draft


def test_a_draft_that_does_not_exist_is_said() -> None:
    with pytest.raises(SchemaError, match="no draft"):
        OutputSchema({}, draft=5)


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({"properties": {"a": {"items": {"pattern": "("}}}}, "/properties/a/items/pattern"),
        ({"properties": {"a": {"type": "strin"}}}, "/properties/a/type"),
        ({"properties": {"a": {"items": {"$ref": "#/$defs/b"}}}}, "/properties/a/items"),
        ({"$defs": {"x": {"anyOf": [True, {"$ref": "other.json"}]}}, "$ref": "#/$defs/x"}, "/$defs/x/anyOf/1"),
        ({"properties": {"a": {"type": "string", "x-arrow-type": "int65"}}}, "/a"),
        ({"properties": {"a": {"type": "object", "x-arrow-type": "int64"}}}, "/a"),
        ({"properties": {"a": {"type": "integer", "x-arrow-type": "date32"}}}, "/a"),
    ],
)
def test_what_cannot_be_compiled_is_named_by_its_path_in_the_schema(definition: Any, path: str) -> None:
    with pytest.raises(SchemaError) as e:
        OutputSchema({"type": "object", **definition})
    assert f"'{path}'" in str(e.value)
    assert "\n" not in str(e.value)


# ------------------------------------------------------------------------------------------------ chosen types


@pytest.mark.parametrize(
    ("kind", "chosen", "good", "bad"),
    [
        ("integer", "int8", [127, -128, 1.0], [128, 1 << 70]),
        ("integer", "uint64", [0, (1 << 64) - 1], [-1]),
        ("integer", "double", [1, 1 << 53], [(1 << 53) + 1]),
        ("number", "float32", [0.1, 1.5, 16777216], [0.123456789, 1e300, 16777217]),
        ("number", "decimal128(5, 2)", [1.25, 999.99, -0.01], [1000, 0.001]),
        ("number", "decimal(40,2)", [], None),
        ("string", "decimal128(9, 2)", ["1.25", "10.00"], ["1.255", "a", ""]),
        ("string", "timestamp[s, tz=UTC]", ["2026-03-01T12:00:00Z"], ["2026-03-01T12:00:00.5Z", "x"]),
        ("string", "timestamp[ns, UTC]", ["2026-03-01T12:00:00.123456Z"], ["3000-01-01T00:00:00Z"]),
        ("string", "date32", ["2026-03-01"], ["2026-3-1"]),
        (
            "string",
            "time64[us]",
            ["12:30:00", "23:59:59.5"],
            ["24:00:00", "noon", "12:30", "12:30:00Z", "12:30:00.0000001"],
        ),
        ("string", "binary", ["AAH/"], ["AAH", "é"]),
        ("string", "string", ["x"], []),
        ("string", "int64", ["0", "-12", "9223372036854775807"], ["007", "+1", "-0", "x", "", "9223372036854775808"]),
        ("string", "timestamp[ms]", ["2026-03-01T12:00:00", "2026-03-01T12:00:00.5"], ["2026-03-01T12:00:00Z", "x"]),
        ("integer", "string", [1, 1 << 70, -5], []),
        ("number", "utf8", [0.1, Decimal("0.10000000000000000001")], []),
        ("boolean", "bool", [True], []),
        ("string", "json", ["x", ""], []),
    ],
)
def test_a_chosen_type_holds_what_it_can_and_fails_the_row_of_what_it_cannot(
    kind: str, chosen: str, good: list[Any], bad: list[Any] | None
) -> None:
    definition = {"type": "object", "properties": {"p": {"type": kind, "x-arrow-type": chosen}}}
    if bad is None:
        with pytest.raises(SchemaError, match="x-arrow-type"):
            OutputSchema(definition)
        return
    schema = OutputSchema(definition)
    instances = [{"p": value} for value in (*bad, *good, *bad)] + [{}]
    batch, refused = schema.to_arrow(instances)
    count, n = len(good), len(bad)
    assert [index for index, _ in refused] == [*range(n), *range(n + count, 2 * n + count)]
    assert all((v.path, v.keyword) == ("/p", "x-arrow-type") for _, v in refused)
    assert batch.column(ADDITIONAL).null_count == count + 1
    assert schema.from_arrow(batch) == [*({"p": value} for value in good), {}]


def test_a_timestamp_without_a_zone_holds_instants_where_the_format_says_so() -> None:
    when = {"type": "string", "format": "date-time", "x-arrow-type": "timestamp[ms]"}
    schema = OutputSchema({"type": "object", "properties": {"p": when}})
    assert schema.arrow_schema.field("p").type == pa.timestamp("ms")
    batch, bad = schema.to_arrow([{"p": "2026-03-01T13:00:00.250+01:00"}])
    assert bad == []
    assert schema.from_arrow(batch) == [{"p": "2026-03-01T12:00:00.25Z"}]
