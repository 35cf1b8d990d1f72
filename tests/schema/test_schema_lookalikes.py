"""A value that only looks like a schema is refused, because any answer would be valid; real schemas are accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kimi_beam.cli import main
from kimi_beam.errors import SchemaError
from kimi_beam.schema import OutputSchema
from kimi_beam.schema.lookalikes import doubts

RECEIPT: Any = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
FUNCTION = {"name": "extract", "description": "Takes a receipt.", "parameters": RECEIPT}
OPENAPI = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "1"},
    "paths": {},
    "components": {"schemas": {"Receipt": RECEIPT, "Shop": {"type": "object"}}},
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "receipt", "strict": True, "schema": RECEIPT}, "wrapper.* at '/schema'"),
        ({"type": "json_schema", "json_schema": {"name": "r", "schema": RECEIPT}}, "at '/json_schema/schema'"),
        ({"type": "json_schema", "name": "r", "strict": True, "schema": RECEIPT}, "response_format.* at '/schema'"),
        ({"format": {"type": "json_schema", "name": "r", "schema": RECEIPT}}, "at '/format/schema'"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": RECEIPT}}}, "/json_schema/schema'"),
        ({"type": "json_schema", "json_schema": RECEIPT}, "at '/json_schema'"),
        ({"type": "function", "function": FUNCTION}, "declaration of a function.* at '/function/parameters'"),
        ({"type": "function", **FUNCTION}, "declaration of a function.* at '/parameters'"),
        (FUNCTION, "declaration of a function.* at '/parameters'"),
        ({"name": "extract", "input_schema": RECEIPT}, "at '/input_schema'"),
        ({"tools": [{"type": "function", "function": FUNCTION}]}, "at '/tools/0/function/parameters'"),
        ({"schema": {"$ref": "#/$defs/r"}, "$defs": {"r": RECEIPT}}, "at '/schema'"),
        ({"data": {"receipt": RECEIPT}}, "at '/data/receipt'"),
        ({"mappings": {"properties": {"total": {"type": "keyword"}}}}, "at '/mappings'"),
        ({"total": {"type": "number"}, "shop": {"type": ["string", "null"]}}, "bare properties .*'total', 'shop'"),
        ({"title": "Receipt", "total": {"type": "number"}, "required": ["total"]}, "bare properties .*'total'"),
        ({"total": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "number"}}}, "bare properties"),
        ({"type": "object", "total": {"type": "number"}}, 'stand under "properties"'),
        ({"type": "object", "fields": [{"name": "total", "type": "number"}]}, "'fields'"),
        ({"type": "object", "schema": RECEIPT}, "'schema'"),
        ({"type": "array", "elements": RECEIPT}, "'elements'.*\"items\""),
        ({"propertees": {"total": {"type": "number"}}}, "'propertees'.*'properties'"),
        ({"type": "object", "propertees": {"total": {"type": "number"}}}, "'propertees'.*'properties'"),
        ({"Type": "object", "Properties": {"total": {"Type": "number"}}}, "'Type'.*'type'"),
        ({"any_of": [{"type": "string"}, {"type": "number"}]}, "'any_of'.*'anyOf'"),
        (OPENAPI, "OpenAPI document.*'/components/schemas'.*'Receipt', 'Shop'"),
        ({"swagger": "2.0", "paths": {}, "definitions": {"Receipt": RECEIPT}}, "Swagger.*'/definitions'.*'Receipt'"),
        ({"openapi": "3.1.0", "info": {}, "paths": {}}, "OpenAPI document, not like a schema"),
        ({"components": {"schemas": {"Receipt": RECEIPT}}}, "at '/components/schemas/Receipt'"),
        ({"shop": "ACME", "total": 12.5, "items": [{"name": "x", "price": 1}]}, "example answer.*'shop', 'total'"),
        ({"title": "A book", "description": "A novel.", "pages": 3}, "example answer.*'pages'"),
        ({"type": "invoice", "total": 5}, "example answer.*'total'"),
        ({"format": "A4", "pages": 3}, "example answer.*'pages'"),
        ({"receipt": {"total": 5}}, "example answer.*'receipt'"),
        ({"total": "number", "shop": "string"}, "example answer"),
        ({"type": "record", "name": "R", "fields": [{"name": "total", "type": "double"}]}, "Avro"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "Avro"),
        ({"$defs": {"Receipt": RECEIPT}}, 'definitions.*"#/\\$defs/Receipt"'),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"R": RECEIPT}}, "#/definitions/R"),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Receipt"}, "says nothing"),
        ([RECEIPT], "array.*'/0'"),
        ([{"name": "total", "type": "FLOAT", "mode": "NULLABLE"}], "array"),
        (json.dumps(RECEIPT), "string.*twice"),
        (5, "number"),
        (None, "null"),
    ],
)
def test_what_is_no_schema_is_refused_before_anything_is_sent(
    given: Any, said: str, tmp_path: Path, capsys: Any
) -> None:
    file, document = tmp_path / "given.json", tmp_path / "d.txt"
    file.write_text(json.dumps(given))
    document.write_text("Total 5")
    with pytest.raises(SchemaError, match=said) as e:
        OutputSchema(file)
    assert "\n" not in str(e.value)
    assert "given.json" in str(e.value)
    if isinstance(given, dict):
        with pytest.raises(SchemaError, match=said):
            OutputSchema(given)
    assert main(["schema", "show", str(file)]) == 2
    assert "given.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"tpye": "string"}, "'tpye'.*'type'"),
        ({"Type": ["string", "null"]}, "'Type'.*'type'"),
        ({"bsonType": "string"}, "'bsonType'.*'type'"),
        ({"type": "object", "propertees": {"b": {}}}, "'propertees'.*'properties'"),
        ({"type": "array", "item": {"type": "string"}}, "'item'.*'items'"),
        ({"type": "string", "enums": ["a", "b"]}, "'enums'.*'enum'"),
        ({"anyof": [{"type": "string"}, {"type": "null"}]}, "'anyof'.*'anyOf'"),
        ({"$reff": "#/$defs/x"}, "'\\$reff'.*'\\$ref'"),
        ({"ref": "#/$defs/x"}, "'ref'.*'\\$ref'"),
        ({"street": {"type": "string"}, "city": {"type": "string"}}, "'street', 'city'.*\"properties\""),
    ],
)
def test_a_place_that_says_nothing_by_a_misspelling_is_refused_and_named(place: Any, said: str) -> None:
    for at, schema in (
        ("/properties/a", {"type": "object", "properties": {"a": place}}),
        ("/properties/a/items", {"type": "object", "properties": {"a": {"type": "array", "items": place}}}),
        ("/properties/a/anyOf/0", {"properties": {"a": {"anyOf": [place, {"type": "null"}]}}}),
    ):
        with pytest.raises(SchemaError, match=f"at '{at}': {said}"):
            OutputSchema({**schema, "$defs": {"x": {"type": "string"}}})


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"$ref": "#/$defs/r", "$defs": {"r": RECEIPT}},
        {"description": "Whatever the page says, as JSON."},
        {"title": "Any", "examples": [{"a": 1}]},
        {"const": 5},
        {"enum": [1, "a"], "note": "both are in use"},
        {"minimum": 5},
        {"format": "date"},
        {"required": ["a"]},
        {"not": {"type": "null"}},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {}, "b": True, "c": {"description": "Anything."}}},
        {"type": "object", "additionalProperties": {"type": "number"}},
        {"patternProperties": {"^x": {"type": "number"}}},
        {"type": "array", "items": {"type": "string"}, "uiOrder": 3},
        {"type": "object", "properties": {"type": {"type": "string"}, "item": {"type": "string"}, "note": {}}},
        {"type": "object", "properties": {"total": {"type": "number", "currency": "EUR", "tsType": "Money"}}},
        {"type": "object", "properties": {"a": {"_format": "date", "type": "string", "x-order": 1}}},
        {"type": "object", "properties": {"a": {"cost": 5}}},
        {"self": {"vendor": "v", "name": "n", "format": "jsonschema"}, **RECEIPT},
        {"type": "object", "properties": {"a": {"$ref": "#/properties/b/kept"}, "b": {"kept": {"type": "string"}}}},
        {"definitions": {"group": {"one": RECEIPT}}, "$ref": "#/definitions/group/one"},
    ],
)
def test_a_legal_schema_is_taken_however_little_it_says(schema: Any) -> None:
    OutputSchema(schema)


def test_what_looks_misspelt_beside_what_is_heeded_is_a_doubt_and_stops_nothing() -> None:
    beside = {"additonalProperties": False, "requierd": ["a"], "shop": {"type": "string"}, "_type": "x"}
    schema = {"type": "object", "properties": {"a": {"type": "string", "fromat": "date"}}, **beside}
    OutputSchema(schema)
    assert doubts(schema) == [
        "'additonalProperties' at '/' is no keyword and is not heeded: 'additionalProperties'?",
        "'requierd' at '/' is no keyword and is not heeded: 'required'?",
        "'shop' at '/' is not heeded: it stands beside \"properties\", not in it",
        "'fromat' at '/properties/a' is no keyword and is not heeded: 'format'?",
    ]
    assert doubts(RECEIPT) == []
    assert doubts(True) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_schema_with_a_byte_order_mark_is_read(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    file.write_bytes((mark + json.dumps({**RECEIPT, "title": "Über"}, ensure_ascii=False)).encode(encoding))
    assert OutputSchema(file) == OutputSchema({**RECEIPT, "title": "Über"})


TABLE = {"type": "object", "properties": {"n": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"invoice": TABLE}, "'/invoice'"),
        ({"schema": TABLE}, "'/schema'"),
        ({"a": {"b": TABLE}}, "'/a/b'"),
        ({"invoice": {"number": "A", "lines": [{"sku": TABLE}]}}, "'/invoice/lines/0/sku'"),
        ({"type": "object", "data": {"invoice": TABLE}}, "'/data/invoice'"),
        ({"type": "object", "data": {"number": "A", "lines": [TABLE]}}, "'/data/lines/0'"),
        ({"type": "object", "additionalProperties": False, "invoice": TABLE}, "'invoice'"),
        ({"type": "object", "properties": {"a": {"value": {"x": 1, "b": TABLE}}}}, "'/properties/a/value/b'"),
        (
            {"type": "object", "properties": {"invoice": {"number": "A-1", "total": 3}}},
            "at '/properties/invoice'.*example",
        ),
        ({"type": "array", "items": {"sku": "x", "price": 3}}, "at '/items'.*example"),
    ],
)
def test_an_example_with_schemas_inside_is_refused_with_their_place(schema: dict[str, Any], place: str) -> None:
    with pytest.raises(SchemaError, match=place):
        OutputSchema(schema)


@pytest.mark.parametrize(
    "place",
    [{"widget": "textarea"}, {"title": "Any", "widget": "x", "rows": 3}, {"x-a": 1, "x-b": 2}, {"$comment": "any"}],
)
def test_a_place_with_hints_of_somebodys_own_is_taken(place: dict[str, Any]) -> None:
    OutputSchema({"type": "object", "properties": {"a": place}})
