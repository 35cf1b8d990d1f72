"""Generic models are found again in other processes, and a model that would never read its own field is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import generic_models
import pytest
from generic_models import Item, Page, Pair, PlainPage

from kimi_beam.errors import SchemaError
from kimi_beam.schema import OutputSchema


@pytest.mark.parametrize("model", generic_models.REFUSED)
def test_a_field_that_is_read_by_a_path_alone_is_refused_when_the_schema_is_given(model: Any) -> None:
    with pytest.raises(SchemaError, match=f"^{model.__name__}: the field 'n' is read by an AliasPath alone"):
        OutputSchema(model)


@pytest.mark.parametrize("model", generic_models.TAKEN)
def test_a_field_that_is_read_by_a_name_as_well_is_taken(model: Any) -> None:
    schema = OutputSchema(model)
    assert schema.validate({"n": 1}) == []
    assert schema.row_value({"n": 1}) == {"n": 1}


@pytest.mark.parametrize(
    ("model", "wrong", "place"),
    [
        (Page[Item], {"items": [{"n": -1}]}, "/items/0/n"),
        (Pair[Page[Item], int], {"a": {"items": [{"n": -1}]}, "b": 1}, "/a/items/0/n"),
    ],
)
def test_a_generic_model_is_asked_in_another_process(tmp_path: Path, model: Any, wrong: Any, place: str) -> None:
    (tmp_path / "schema").write_bytes(pickle.dumps(OutputSchema(model)))
    program = (
        "import ast, pickle, sys\n"
        "schema = pickle.load(open(sys.argv[1], 'rb'))\n"
        "schema.check_class()\n"
        "print(schema.explain(ast.literal_eval(sys.argv[2])))\n"
    )
    where = str(Path(__file__).parent)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {where!r})\n{program}",
            str(tmp_path / "schema"),
            repr(wrong),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{place}: Value error, negative")


@pytest.mark.parametrize("given", [PlainPage[Item], list[Item], Item | None])
def test_what_is_made_of_classes_but_is_none_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(SchemaError, match=r"names no class of its own: give a pydantic model"):
        OutputSchema(given)
