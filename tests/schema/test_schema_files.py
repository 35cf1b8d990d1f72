"""The ``$ref``s of a schema file to other files are read from the same filesystem, and never from the network."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kimi_beam.cli import main
from kimi_beam.errors import SchemaError
from kimi_beam.schema import OutputSchema

PARTY = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def _write(directory: Path, **files: Any) -> Path:
    for name, content in files.items():
        path = directory / name.replace("__", "/")
        path = path.with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return directory / "root.json"


def _root(reference: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"seller": {"$ref": reference}}, "required": ["seller"], **more}


@pytest.mark.parametrize("reference", ["party.json", "./party.json", "party.json#", "party.json#/$defs/p"])
def test_a_file_beside_the_schema_is_a_part_of_it(reference: str, tmp_path: Path) -> None:
    root = _write(tmp_path, root=_root(reference), party={**PARTY, "$defs": {"p": PARTY}})
    schema = OutputSchema(root)
    for same in (schema, pickle.loads(pickle.dumps(schema)), OutputSchema(str(root))):
        assert same.is_valid({"seller": {"name": "A"}})
        assert not same.is_valid({"seller": {}})
        assert same.arrow_schema.field("seller").type == pa.struct([pa.field("name", pa.string())])
        assert same == schema
    sent = schema.response_format["json_schema"]["schema"]
    assert sent["properties"]["seller"]["properties"] == {"name": {"type": "string"}}


def test_files_refer_to_each_other_and_back_and_to_directories_above(tmp_path: Path) -> None:
    line = {"type": "object", "properties": {"of": {"$ref": "../root.json#/$defs/unit"}}, "required": ["of"]}
    lines = {"type": "array", "items": {"$ref": "line.json"}}
    root = {
        "type": "object",
        "properties": {"lines": {"$ref": "parts/lines.json"}},
        "$defs": {"unit": {"enum": ["kg"]}},
    }
    file = _write(tmp_path, root=root, parts__lines=lines, parts__line=line)
    schema = OutputSchema(file)
    assert schema.is_valid({"lines": [{"of": "kg"}]})
    assert not schema.is_valid({"lines": [{"of": "m"}]})
    assert not schema.is_valid({"lines": [{}]})


@pytest.mark.parametrize(
    "draft", ["http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-04/schema#"]
)
def test_older_drafts_refer_to_files_too(draft: str, tmp_path: Path) -> None:
    file = _write(
        tmp_path, root=_root("party.json#/definitions/p", **{"$schema": draft}), party={"definitions": {"p": PARTY}}
    )
    schema = OutputSchema(file)
    assert (schema.is_valid({"seller": {"name": "A"}}), schema.is_valid({"seller": {}})) == (True, False)


def test_a_schema_of_an_openapi_document_is_referred_to_with_its_neighbours(tmp_path: Path) -> None:
    name = {"type": "string", "nullable": True}
    shop = {"type": "object", "properties": {"name": {"$ref": "#/components/schemas/Name"}}, "required": ["name"]}
    document = {"openapi": "3.0.3", "info": {}, "paths": {}, "components": {"schemas": {"Shop": shop, "Name": name}}}
    file = _write(tmp_path, root=_root("api.json#/components/schemas/Shop"), api=document)
    schema = OutputSchema(file)
    assert schema.is_valid({"seller": {"name": None}})
    assert not schema.is_valid({"seller": {"name": 5}})


def test_a_schema_with_a_uri_may_call_its_neighbours_by_theirs(tmp_path: Path) -> None:
    at = {"$id": "https://example.com/schemas/root.json"}
    for reference in ("party.json", "https://example.com/schemas/party.json"):
        file = _write(tmp_path, root=_root(reference, **at), party=PARTY)
        assert not OutputSchema(file).is_valid({"seller": {}})


def test_a_part_with_a_uri_of_its_own_is_meant_before_a_file(tmp_path: Path) -> None:
    part = {"$id": "party.json", "type": "object", "required": ["vat"]}
    file = _write(
        tmp_path, root=_root("party.json", **{"$id": "https://example.com/r", "$defs": {"p": part}}), party=PARTY
    )
    schema = OutputSchema(file)
    assert not schema.is_valid({"seller": {"name": "A"}})
    assert schema.is_valid({"seller": {"vat": "1"}})


def test_the_hash_is_that_of_the_files_contents_wherever_they_lie(tmp_path: Path) -> None:
    one = OutputSchema(_write(tmp_path / "a", root=_root("party.json"), party=PARTY))
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "c")
    two = OutputSchema(tmp_path / "b" / "c" / "root.json")
    assert (one.hash, one) == (two.hash, two)
    _write(tmp_path / "a", party={**PARTY, "required": []})
    assert OutputSchema(tmp_path / "a" / "root.json").hash != one.hash
    assert str(tmp_path) not in json.dumps(one.json_schema)


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _write(tmp_path, root=_root("partie.json"))
    with pytest.raises(SchemaError, match=r"refers to 'partie.json', and there is no file .*partie.json"):
        OutputSchema(file)
    assert main(["schema", "show", str(file)]) == 2
    assert "partie.json" in capsys.readouterr().err
    (tmp_path / "partie.json").write_text("[1")
    with pytest.raises(SchemaError, match=r"partie.json is not JSON"):
        OutputSchema(file)


def test_nothing_is_fetched_and_a_schema_that_is_no_file_refers_to_none(tmp_path: Path) -> None:
    _write(tmp_path, party=PARTY)
    with pytest.raises(SchemaError):
        OutputSchema(_write(tmp_path, root=_root("https://example.com/party.json")))
    with pytest.raises(SchemaError):
        OutputSchema(_root("party.json"))
    registry = {"https://example.com/party.json": PARTY}
    schema = OutputSchema(_write(tmp_path, root=_root("https://example.com/party.json")), registry=registry)
    assert not schema.is_valid({"seller": {}})
    both = OutputSchema(_write(tmp_path, root=_root("party.json")), registry=registry.__getitem__)
    assert not both.is_valid({"seller": {}})


def test_the_command_line_reads_a_relative_path_from_where_the_user_stands(tmp_path: Path) -> None:
    _write(tmp_path / "schemas", root=_root("common/party.json"), common__party=PARTY)
    (tmp_path / "d.txt").write_text("Shop A")
    command = [sys.executable, "-m", "kimi_beam.cli", "schema", "show", "schemas/root.json"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, check=True)
    assert "/seller/name" in done.stdout


def test_what_a_reference_leads_to_is_a_schema(tmp_path: Path) -> None:
    """It would say nothing, as an unknown key is legal: each answer would be valid and paid for."""
    receipt = {"type": "object", "properties": {"total": {"type": "number"}}}
    wrapper = {"name": "receipt", "strict": True, "schema": receipt}
    for name, reference, document, said in [
        ("wrapped", "wrapped.json", wrapper, "wrapper.* at '/schema'"),
        ("api", "api.json", {"openapi": "3.0.0", "components": {"schemas": {"R": receipt}}}, "OpenAPI"),
        (
            "api2",
            "api2.json#/components/schemas",
            {"components": {"schemas": {"R": receipt}}},
            "seems to stand at '/R'",
        ),
        ("example", "example.json", {"total": 1.5, "name": "A"}, "example answer"),
    ]:
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
        (tmp_path / "root.json").write_text(json.dumps({"type": "object", "properties": {"r": {"$ref": reference}}}))
        with pytest.raises(SchemaError, match=f"(?s){name}.json.*{said}"):
            OutputSchema(str(tmp_path / "root.json"))
    with pytest.raises(SchemaError, match=r"/[$]defs/R.*wrapper"):
        OutputSchema({"$ref": "#/$defs/R", "$defs": {"R": wrapper}})
    for anything in ({}, {"title": "Anything"}, {"description": "Whatever it is"}):
        OutputSchema({"$ref": "#/$defs/R", "$defs": {"R": anything}})
