"""What has to stand in a document, as a user writes it; what becomes of an answer with a value that does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness import RECEIPT, receipts, run_extract, run_redrive, service
from running_cli import mistake

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.grounding.demands import demands_of, nullable, parts_of, unmet, with_null
from kimi_beam.results.rows import GROUNDING
from kimi_beam.schema import OutputSchema

_NULLABLE = {"type": ["number", "null"]}
ORDER = {
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "total": _NULLABLE,
        "seller": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "tax/id": {"type": ["string", "null"]}},
        },
        "items": {"type": "array", "items": {"type": "object", "properties": {"amount": _NULLABLE}}},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}
PLACES = OutputSchema(ORDER).places
PATHS = ["/number", "/total", "/seller/name", "/seller/tax~1id", "/items/0/amount", "/items/12/amount", "/tags/1"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ("total", ["/total"]),
        ("seller", ["/seller/name", "/seller/tax~1id"]),
        ("seller.name,number", ["/number", "/seller/name"]),
        ("/seller/tax~1id", ["/seller/tax~1id"]),
        ("items.amount", ["/items/0/amount", "/items/12/amount"]),
        ("/items/*/amount", ["/items/0/amount", "/items/12/amount"]),
        ("items", ["/items/0/amount", "/items/12/amount"]),
        ("tags", ["/tags/1"]),
        ("all", PATHS),
    ],
)
def test_a_field_names_its_values_however_it_is_written(fields: str, named: list[str]) -> None:
    assert [path for path, _ in unmet(PATHS, demands_of(fields.split(","), PLACES))] == named


def test_where_two_fields_name_a_value_the_longer_one_says_what_becomes_of_it() -> None:
    demands = demands_of(["all", "total:null", "items:null", "items.amount"], PLACES)
    assert dict(unmet(PATHS, demands)) == {path: path == "/total" for path in PATHS}


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("totl", "'totl' is none of number, total, seller, items, tags"),
        ("seller.vat", "'vat' is none of name, tax/id"),
        ("number.part", "'part' is none of no properties"),
        ("number:null", "by the schema 'number' may not be null"),
        (":null", "a field has no name"),
        ("/items/*/price", "'price' is none of amount"),
    ],
)
def test_a_field_that_is_not_in_the_schema_is_refused_and_the_others_are_named(field: str, reason: str) -> None:
    with pytest.raises(kb.ConfigError, match="require_grounding: ") as refused:
        demands_of([field], PLACES)
    assert reason in str(refused.value)


def test_a_null_is_put_into_a_copy() -> None:
    answer = {"items": [{"amount": 1, "b": 2}, {"amount": 3}], "total": 4}
    assert with_null(answer, parts_of("/items/1/amount")) == {
        "items": [{"amount": 1, "b": 2}, {"amount": None}], "total": 4
    }  # fmt: skip
    assert answer["items"] == [{"amount": 1, "b": 2}, {"amount": 3}]
    assert [nullable(parts_of(path), PLACES) for path in PATHS] == [False, True, False, True, True, True, False]


def test_the_command_line_refuses_it_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("Total: 4")
    (tmp_path / "order.json").write_text(json.dumps(ORDER))
    said = mistake(
        "extract", tmp_path / "a.txt", "--schema", tmp_path / "order.json", "--output", tmp_path / "out",
        "--emulator", "--require-grounding", "totl", capsys=capsys,
    )  # fmt: skip
    assert "require_grounding: 'totl' is not in the schema" in said


# ------------------------------------------------------------------------------------------------ through a pipeline


def _answers(company: str, total: float) -> Any:
    return lambda *_: json.dumps({"company": company, "total": total})


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_document_with_a_value_that_stands_nowhere_is_a_dead_letter_with_its_answer(api: str, tmp_path: Path) -> None:
    with Emulator(answer=_answers("Shop 3 Ltd", 99.0)) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(receipts(2, 3), "", tmp_path, where=where, require_grounding="all")
    assert outcome.codes == {"ungrounded": 2}
    assert outcome.rows == []
    first = next(letter for letter in outcome.letters if letter["document_id"] == "doc-3")
    assert first["message"] == "stands nowhere in the document: /total (none) (--require-grounding)"
    assert json.loads(first["raw"]) == {"company": "Shop 3 Ltd", "total": 99.0}
    assert first["usage"]["completion_tokens"] > 0, "it was paid for"


def test_a_field_that_is_not_demanded_may_stand_nowhere(tmp_path: Path) -> None:
    with Emulator(answer=_answers("Invented Inc", 3.5)) as emulator:
        outcome = run_extract(receipts(1, 3), emulator.base_url, tmp_path, require_grounding=["total"])
    (row,) = outcome.rows
    assert [one["match"] for one in row[GROUNDING]] == ["none", "number"]
    assert outcome.summary["grounding"] == {"/company": {"none": 1}, "/total": {"number": 1}}


def test_with_null_behind_its_field_the_value_becomes_null_and_the_row_says_so(tmp_path: Path) -> None:
    with Emulator(answer=_answers("Shop 3 Ltd", 99.0)) as emulator:
        outcome = run_extract(receipts(1, 3), emulator.base_url, tmp_path, require_grounding="total:null")
    (row,) = outcome.rows
    assert (row["company"], row["total"]) == ("Shop 3 Ltd", None)
    assert [one["path"] for one in row[GROUNDING]] == ["/company"]
    assert row["_provenance"]["incomplete"] == "/total: null, as its value stands nowhere in the document"


def test_a_null_that_makes_the_answer_invalid_makes_a_dead_letter(tmp_path: Path) -> None:
    schema = {**RECEIPT, "if": {"properties": {"company": {"const": "Shop 3 Ltd"}}},
              "then": {"properties": {"total": {"type": "number"}}}}  # fmt: skip
    with Emulator(answer=_answers("Shop 3 Ltd", 99.0)) as emulator:
        outcome = run_extract(
            receipts(1, 3), emulator.base_url, tmp_path, schema=schema, require_grounding="total:null"
        )
    assert outcome.codes == {"ungrounded": 1}


def test_an_ungrounded_document_is_asked_for_anew_when_it_is_run_again(tmp_path: Path) -> None:
    journal = str(tmp_path / "journal")
    with Emulator(answer=_answers("Shop 3 Ltd", 99.0)) as emulator:
        run_extract(receipts(1, 3), emulator.base_url, tmp_path / "a", journal=journal, require_grounding="all")
    with Emulator() as emulator:
        where = service(emulator.base_url)
        again = run_redrive(
            tmp_path / "a" / "dead-letters-*", where, tmp_path / "b", journal=journal, require_grounding="all"
        )
        assert emulator.stats()["items"] == 1
    assert [row["total"] for row in again.rows] == [3.5]


def test_the_summary_counts_the_kinds_of_match_by_field(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"tags": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}},
    }
    answer = json.dumps({"tags": [["Shop", "Shop 1"], ["Nobody"]]})
    with Emulator(answer=lambda *_: answer) as emulator:
        outcome = run_extract(receipts(3, 1), emulator.base_url, tmp_path, schema=schema, ground=True)
    assert outcome.summary["grounding"] == {"/tags/*/*": {"exact": 4, "near": 2, "none": 3}}
