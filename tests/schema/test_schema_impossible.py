"""A schema that no answer can meet is refused before a document is paid for; one that an answer can meet never is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import kimi_beam as kb
from kimi_beam.cli import main
from kimi_beam.errors import SchemaError
from kimi_beam.schema import OutputSchema


def _object(properties: Any, *required: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **more}


_TOTAL: Any = {"total": {"type": "number"}}
_UNIQUE: Any = {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 3, "uniqueItems": True}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (_object(_TOTAL, "totla"), "at '/': 'totla' is required, and no property is called so: 'total'?"),
        (_object(_TOTAL, "totla", additionalProperties=False), "'totla' is required, and additionalProperties forbids"),
        ({"type": "object", "additionalProperties": False, "required": ["a"]}, "'a' is required, and additionalProp"),
        ({"allOf": [_object({"a": {}}, additionalProperties=False), _object({"b": {}}, "b")]}, "'b' is required, and"),
        (_object(_TOTAL, additionalProperties=False, anyOf=[{"required": ["x"]}, {"required": ["y"]}]), "'x' is requi"),
        ({"anyOf": [_object({"a": {}}, "b"), _object({"c": {}}, "d")]}, "'b' is required, and no property is called"),
        (_object({"a": {}}, "a", dependentRequired={"a": ["b"]}), "'b' is required, and no property is called so"),
        (_object({"a": False}, "a"), "at '/': 'a' is required and never valid"),
        (_object({"a": {}}, minProperties=2, additionalProperties=False), "minProperties is 2, and there are no more"),
        (_object({"a": {}, "b": {}}, "a", "b", maxProperties=1), "2 properties are required, and maxProperties is 1"),
        (_object({"a": _object({"b": {}}, "c")}, "a"), "at '/a': 'c' is required"),
        (
            _object({"a": {"$ref": "#/$defs/p"}}, "a", **{"$defs": {"p": _object({"b": {}}, "c")}}),
            "at '/a': 'c' is req",
        ),
        (_object({"a": {"type": "array", "minItems": 1, "items": _object({"b": {}}, "c")}}, "a"), "at '/a/*': 'c' is"),
        (_object({"a": {"enum": []}}, "a"), "at '/a': enum has no value"),
        (_object({"a": {"type": "string", "enum": [1, 2]}}, "a"), "at '/a': its values are not of its type"),
        (_object({"a": {"type": "string", "const": 5}}, "a"), "at '/a': its values are not of its type"),
        (_object({"a": {"type": "integer", "const": 1.5}}, "a"), "at '/a': its values are not of its type"),
        (
            _object({"a": {"type": "string", "enum": ["a"], "pattern": "^b"}}, "a"),
            'none of its values ("a") is allowed',
        ),
        (_object({"a": {"type": "string", "format": "date", "const": "May"}}, "a"), 'none of its values ("May")'),
        (_object({"a": {"allOf": [{"type": "string"}, {"type": "integer"}]}}, "a"), "its types contradict each other"),
        (_object({"a": {"allOf": [{"enum": ["x"]}, {"enum": ["y"]}]}}, "a"), "at '/a': "),
        (_object({"a": {"anyOf": [{"enum": []}, {"type": "string", "const": 1}]}}, "a"), "at '/a': "),
        (_object({"a": {"type": "integer", "minimum": 5, "maximum": 3}}, "a"), "at least 5 and at most 3"),
        (_object({"a": {"type": "number", "exclusiveMinimum": 5, "maximum": 5}}, "a"), "which the bounds exclude"),
        (
            _object({"a": {"type": "integer", "minimum": 1.2, "maximum": 1.8}}, "a"),
            "no whole number is from 1.2 to 1.8",
        ),
        (_object({"a": {"type": "number", "minimum": 1, "maximum": 2, "multipleOf": 5}}, "a"), "no multiple of 5 is"),
        (_object({"a": {"type": "string", "minLength": 5, "maxLength": 3}}, "a"), "minLength 5 is above maxLength 3"),
        (_object({"a": {"type": "array", "minItems": 3, "maxItems": 2}}, "a"), "minItems 3 is above maxItems 2"),
        (_object({"a": {"prefixItems": [{}], "items": False, "minItems": 2, "type": "array"}}, "a"), "minItems is 2"),
        (_object({"a": _UNIQUE}, "a"), "there are 2 values for them"),
        (_object({"a": {"$ref": "#"}}, "a"), "contains itself"),
        (False, "no value is valid"),
        ({"not": {}}, "no value is valid"),
        ({"type": "string", "enum": []}, "enum has no value"),
    ],
)
def test_what_no_answer_can_meet_is_refused_before_it_is_paid_for(
    schema: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = OutputSchema(schema).contradiction
    assert found is not None
    assert said in found
    assert "\n" not in found
    service = kb.WorkersAI("0" * 32, base_url="http://127.0.0.1:9")
    with pytest.raises(SchemaError, match="no answer to this schema can be valid"):
        kb.Extract(schema, service=service)
    file = tmp_path / "s.json"
    file.write_text(json.dumps(schema))
    assert main(["schema", "show", str(file)]) == 2
    assert said in capsys.readouterr().err


def test_the_command_refuses_it_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema, document, out = tmp_path / "s.json", tmp_path / "d.txt", tmp_path / "out"
    schema.write_text(json.dumps(_object(_TOTAL, "totla")))
    document.write_text("Total 5")
    assert main(["extract", str(document), "--schema", str(schema), "--output", str(out), "--emulator"]) == 2
    assert "'totla' is required, and no property is called so: 'total'?" in capsys.readouterr().err
    assert not list(out.glob("*")) if out.exists() else True


_NODE: Any = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["next"],
}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        _object(_TOTAL, "total"),
        {"required": ["anything"]},
        {"type": "object", "required": ["anything"]},
        {"type": "object", "required": ["a"], "additionalProperties": {"type": "number"}},
        _object({"a": {}}, "x_1", patternProperties={"^x_": {"type": "string"}}, additionalProperties=False),
        _object({"a": {}}, "b", additionalProperties={"type": "number"}),
        _object({"a": {}}, "b", allOf=[{"properties": {"b": {}}}]),
        _object({"a": {}}, anyOf=[{"required": ["b"]}, {"required": ["a"]}]),
        _object({"a": {}}, **{"if": {"required": ["a"]}, "then": {"required": ["b"]}}),
        _object({"a": {"type": ["object", "null"], "properties": {"b": {}}, "required": ["c"]}}, "a"),
        _object({"a": {"type": ["string", "null"], "enum": ["x", None], "minLength": 3}}, "a"),
        _object({"a": {"enum": ["x", 5], "type": "string"}}, "a"),
        _object({"a": {"type": ["integer", "string"], "minimum": 5, "maximum": 3}}, "a"),
        _object({"a": {"type": "array", "items": {"enum": []}}}, "a"),
        _object({"a": {"type": "number", "minimum": 5, "maximum": 5}}, "a"),
        _object({"a": {"type": "number", "minimum": 0.1, "maximum": 0.3, "multipleOf": 0.1}}, "a"),
        _object({"a": {"anyOf": [{"enum": []}, {"type": "string"}]}}, "a"),
        _NODE,
        _object({"children": {"type": "array", "items": {"$ref": "#"}}}, "children"),
        _object({"child": {"$ref": "#"}}),
    ],
)
def test_what_an_answer_can_meet_is_taken(schema: Any) -> None:
    assert OutputSchema(schema).contradiction is None
    kb.Extract(schema, service=kb.WorkersAI("0" * 32, base_url="http://127.0.0.1:9"))


def test_an_optional_place_that_no_value_can_have_is_a_doubt() -> None:
    party = _object({"street": {"type": "string"}}, "stret")
    schema = OutputSchema(_object({"total": {"type": "number"}, "party": party}, "total"))
    assert schema.contradiction is None
    reason = "'stret' is required, and no property is called so: 'street'?"
    assert schema.doubts == [f"at '/party': {reason} (an answer that has it is never valid)"]


def test_what_is_required_and_described_by_a_pattern_is_asked_for() -> None:
    schema = OutputSchema(_object({"a": {}}, "a", "x_1", patternProperties={"^x_": {"type": "integer"}}))
    sent = schema.response_format["json_schema"]["schema"]
    assert sent["properties"]["x_1"] == {"type": "integer"}
    assert sent["required"] == ["a", "x_1"]


def test_no_real_schema_is_refused_and_none_of_the_conformance_tests_that_has_a_valid_instance(
    shared_data: Path,
) -> None:
    files = sorted((shared_data / "schemas-real").glob("*/*.json"))
    for file in files:
        schema = OutputSchema(json.loads(file.read_text())["schema"])
        assert schema.contradiction is None, file.name
        assert not [one for one in schema.doubts if "never valid" in one], file.name
    assert len(files) == 311
    base = shared_data / "json-schema-test-suite"
    remotes = {
        f"http://localhost:1234/{file.relative_to(base / 'remotes').as_posix()}": json.loads(file.read_text())
        for file in (base / "remotes").glob("**/*.json")
    }
    found = 0
    for draft, name in ((7, "draft7"), ("2020-12", "draft2020-12")):
        for file in sorted((base / "tests" / name).glob("*.json")):
            for case in json.loads(file.read_text()):
                schema = OutputSchema(case["schema"], formats=False, registry=remotes, draft=draft)
                if schema.contradiction is not None:
                    found += 1
                    assert not any(test["valid"] for test in case["tests"]), (file.name, case["description"])
    assert found > 10
