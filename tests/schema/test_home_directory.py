"""A shell leaves ``~`` as it is where it is quoted or follows an equals sign, as in ``--schema=~/receipt.json``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kimi_beam.commands.prompt_files import instructions_of
from kimi_beam.schema import OutputSchema


def test_a_schema_below_the_home_directory_is_found_and_so_are_files_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "money.json").write_text('{"type": "string"}')
    properties = {"total": {"$ref": "money.json"}}
    (tmp_path / "schema.json").write_text(json.dumps({"type": "object", "properties": properties}))
    assert OutputSchema("~/schema.json").hash == OutputSchema(str(tmp_path / "schema.json")).hash


def test_text_below_the_home_directory_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "prompt.txt").write_text("Extract the receipt.")
    assert instructions_of("@~/prompt.txt") == "Extract the receipt."
