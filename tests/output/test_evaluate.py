"""`kb.evaluate`: an output on disk against gold on disk; every document of the gold counts."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written_runs import write_gold, write_run

import kimi_beam as kb
from kimi_beam.errors import ConfigError, InputError, SchemaError
from kimi_beam.output.written_answers import WrittenRun
from kimi_beam.results.rows import file_schema
from kimi_beam.schema import OutputSchema

RECEIPT: dict[str, Any] = {
    "type": "object",
    "properties": {"shop": {"type": ["string", "null"]}, "total": {"type": ["number", "null"]}},
}


def _records(**golds: Any) -> list[dict[str, Any]]:
    return [{"id": name, "gold": one} for name, one in golds.items()]


def test_rows_dead_letters_missing_documents_and_those_without_gold_are_told_apart(tmp_path: Path) -> None:
    right = {"shop": "A", "total": 9.0}
    answers = {"right": right, "wrong": {"shop": "B", "total": None}, "other": right}
    out = write_run(tmp_path / "out", RECEIPT, answers, {"dead": "truncated", "elsewhere": "refusal"})
    golds = write_gold(tmp_path / "gold.jsonl", _records(right=right, wrong=right, dead=right, missing=right))
    found = kb.evaluate(out, golds)
    assert (found.documents, found.outcomes) == (4, {"missing": 1, "row": 2, "truncated": 1})
    assert found.without_gold == ("other", "elsewhere")
    assert (found.overall.support, found.overall.right, found.overall.predicted) == (8, 2, 3)
    assert found.overall.errors == {
        "misread": 1, "unfound": 5, "fabricated": 0, "invented_item": 0, "invented_field": 0,
    }  # fmt: skip
    assert found.overall.exact == 1
    assert [one.document_id for one in found.worst] == ["dead", "missing", "wrong"]


def test_the_json_form_is_the_one_that_is_promised(tmp_path: Path) -> None:
    lines: dict[str, Any] = {"type": "array", "items": {"type": "object", "properties": {"total": {"type": "number"}}}}
    schema = {"type": "object", "properties": {"total": {"type": "number"}, "line_items": lines}}
    answer = {"total": 3, "line_items": [{"total": 2}, {"total": 1}]}
    out = write_run(tmp_path / "out", schema, {"a": answer})
    golds = write_gold(tmp_path / "gold.jsonl", _records(a={**answer, "line_items": [{"total": 1}, {"total": 4}]}))
    found = json.loads(json.dumps(kb.evaluate(out, golds).to_json()))
    assert found["documents"] == 1
    assert list(found["fields"]) == ["/total", "/line_items/*/total"]
    of_lines = found["fields"]["/line_items/*/total"]
    assert {name: of_lines[name] for name in ("precision", "recall", "f1", "exact", "support", "errors")} == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "exact": 0.0,
        "support": 2,
        "errors": {"misread": 0, "unfound": 1, "fabricated": 0, "invented_item": 1, "invented_field": 0},
    }
    assert found["overall"]["f1"] == pytest.approx(2 / 3)
    assert found["fields"]["/total"]["exact"] == 1.0


def test_an_answer_is_read_back_as_it_was_whatever_its_cells_can_hold(tmp_path: Path) -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "amount": {"type": "number", "multipleOf": 0.01},
            "any": {},
            "at": {"type": "string", "format": "date-time"},
            "either": {"type": ["string", "integer", "null"]},
        },
    }
    answer = {
        "n": 2**70,
        "amount": 1.25,
        "any": {"a": [1, None]},
        "at": "2026-03-01T12:00:00Z",
        "either": 5,
        "more": "x",
    }
    out = write_run(tmp_path / "out", schema, {"a": answer})
    (found,) = WrittenRun.at(str(out)).answers()
    assert (found.outcome, found.answer) == ("row", {**answer, "amount": Decimal("1.25")})
    golds = write_gold(tmp_path / "gold.jsonl", _records(a={**answer, "at": "2026-03-01T13:00:00+01:00"}))
    assert kb.evaluate(out, golds).overall.exact == 1


@pytest.mark.parametrize("formats", [True, "local", False])
def test_rows_of_local_times_are_read_by_the_schema_in_their_file(tmp_path: Path, formats: Any) -> None:
    schema = {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}}
    answer = {"at": "2026-03-01T12:00:00" if formats == "local" else "2026-03-01T12:00:00Z"}
    out = write_run(tmp_path / "out", OutputSchema(schema, formats=formats), {"a": answer})
    golds = write_gold(tmp_path / "gold.jsonl", _records(a=answer))
    assert kb.evaluate(out, golds).overall.exact == 1
    assert kb.evaluate(out, golds, schema=schema).overall.exact == 1


def test_another_schema_may_compare_the_same_rows_in_another_way(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out", RECEIPT, {"a": {"shop": "ACME"}})
    golds = write_gold(tmp_path / "gold.jsonl", _records(a={"shop": "Acme"}))
    assert kb.evaluate(out, golds).overall.right == 0
    loose = json.loads(json.dumps(RECEIPT))
    loose["properties"]["shop"]["x-compare"] = "case"
    assert kb.evaluate(out, golds, schema=loose).overall.right == 1


def test_slices_are_taken_from_the_gold_or_else_from_the_documents_metadata(tmp_path: Path) -> None:
    right = {"shop": "A"}
    metadata = {"a": {"lang": "de", "pages": 2}, "b": {"lang": "fr", "pages": 3}}
    out = write_run(tmp_path / "out", RECEIPT, {"a": right}, {"b": "refusal"}, metadata)
    golds = write_gold(tmp_path / "gold.jsonl", [*_records(a=right, b=right), {"id": "c", "gold": right, "lang": "de"}])
    by_language = kb.evaluate(out, golds, by="lang").groups
    assert {name: (one.documents, one.overall.recall) for name, one in by_language.items()} == {
        "de": (2, 0.5),
        "fr": (1, 0.0),
    }
    assert {name: one.documents for name, one in kb.evaluate(out, golds, by="pages").groups.items()} == {
        "": 1,
        "2": 1,
        "3": 1,
    }


def test_two_outputs_are_compared_over_the_same_documents(tmp_path: Path) -> None:
    rights = {f"d{index}": {"shop": "A", "total": float(index)} for index in range(30)}
    worse = {name: {**one, "total": 99.5} for name, one in rights.items() if name != "d3"}
    first = write_run(tmp_path / "first", RECEIPT, worse, {"d3": "truncated"})
    second = write_run(tmp_path / "second", RECEIPT, rights)
    golds = write_gold(tmp_path / "gold.jsonl", _records(**rights))
    found = kb.evaluate(first, golds, compare=second, seed=7, resamples=300)
    assert found.comparison is not None
    assert found.comparison.second.overall.f1 == 1.0
    overall, fields = found.comparison.overall, found.comparison.fields
    assert found.overall.f1 is not None
    assert overall.difference == pytest.approx(1 - found.overall.f1)
    assert overall.low > 0
    assert fields["/total"].difference == 1.0
    assert 0 <= fields["/shop"].low <= fields["/shop"].difference <= fields["/shop"].high < 0.2
    assert (found.comparison.seed, found.comparison.resamples) == (7, 300)
    assert kb.evaluate(first, golds, compare=second, seed=7, resamples=300) == found
    same = kb.evaluate(first, golds, compare=first, resamples=50).comparison
    assert same is not None
    assert same.overall == (0.0, 0.0, 0.0, 1.0)


def test_a_row_counts_in_whichever_of_a_run_and_its_redrives_it_is(tmp_path: Path) -> None:
    right, wrong = {"shop": "A", "total": 1.0}, {"shop": "A", "total": 2.0}
    dead = {"b": "truncated", "c": "truncated", "d": "truncated"}
    first = write_run(tmp_path / "first", RECEIPT, {"a": right, "e": wrong}, dead)
    second = write_run(tmp_path / "second", RECEIPT, {"b": right}, {"c": "refusal", "stray": "refusal"})
    third = write_run(tmp_path / "third", RECEIPT, {"e": right, "stray": right}, {"a": "deadline"})
    golds = write_gold(tmp_path / "gold.jsonl", _records(**dict.fromkeys("abcde", right)))
    assert kb.evaluate(first, golds).outcomes == {"row": 2, "truncated": 3}
    found = kb.evaluate([first, second, third], golds)
    assert found.outcomes == {"refusal": 1, "row": 3, "truncated": 1}
    assert (found.overall.exact, found.without_gold) == (3, ("stray",))
    with pytest.raises(ConfigError, match="no output: name at least one directory"):
        kb.evaluate([], golds)


def test_gold_may_be_compressed_and_have_other_keys(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out", RECEIPT, {"7": {"shop": "A"}})
    path = tmp_path / "gold.jsonl.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"number": 7, "right": {"shop": "A"}}\n\n'))
    assert kb.evaluate(out, path, gold_field="right", id_field="number").overall.exact == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"gold": {}}, "line 2: no id at the key 'id' (it has gold; --id-field names another)"),
        ({"id": 1.5, "gold": {}}, "line 2: no id at the key 'id'"),
        (
            {"id": "b", "golden": {}},
            "line 2: no gold at the key 'gold' (it has id, golden; --gold-field names another)",
        ),
        ({"id": "b", "gold": None}, "line 2: no gold at the key 'gold'"),
        ({"id": "a", "gold": {}}, "line 2: the id 'a' stands there twice"),
        ([1], "line 2: a JSON list, where an object with id and gold is needed"),
    ],
)
def test_a_line_of_gold_that_cannot_be_used_is_named(tmp_path: Path, line: Any, told: str) -> None:
    out = write_run(tmp_path / "out", RECEIPT, {"a": {"shop": "A"}})
    golds = write_gold(tmp_path / "gold.jsonl", [{"id": "a", "gold": {"shop": "A"}}, line])
    with pytest.raises(InputError) as caught:
        kb.evaluate(out, golds)
    assert told in str(caught.value)


def test_gold_that_is_no_json_lines_is_refused(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out", RECEIPT, {"a": {"shop": "A"}})
    golds = tmp_path / "gold.jsonl"
    for text, told in ((b"id,shop\n", "line 1: not JSON"), (b"\n", "holds no gold"), (b"\xff\n", "line 1: not JSON"),
                       (b'{"id": "a", "id": "b", "gold": {}}', "stands twice")):  # fmt: skip
        golds.write_bytes(text)
        with pytest.raises(InputError, match=told):
            kb.evaluate(out, golds)
    with pytest.raises(InputError, match="there is no gold at"):
        kb.evaluate(out, tmp_path / "none.jsonl")


def test_gold_of_another_schema_is_refused_instead_of_scored_with_0(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out", RECEIPT, {"a": {"shop": "A"}})
    golds = write_gold(tmp_path / "gold.jsonl", _records(a={"vendor": "A", "sum": 3}))
    with pytest.raises(InputError, match="no field in common: the gold has /sum, /vendor, and the rows' schema /shop"):
        kb.evaluate(out, golds)


def test_what_is_no_output_of_a_run_is_refused(tmp_path: Path) -> None:
    golds = write_gold(tmp_path / "gold.jsonl", _records(a={"shop": "A"}))
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "none", tmp_path / "empty"):
        with pytest.raises(InputError, match=r"no output of a run, for it has no extractions-\*\.parquet"):
            kb.evaluate(path, golds)
    unfinished = write_run(tmp_path / "unfinished", RECEIPT, {"a": {"shop": "A"}})
    (unfinished / "summary.json").unlink()
    with pytest.raises(InputError, match=r"has no summary\.json, which a run writes at its end"):
        kb.evaluate(unfinished, golds)


def test_files_of_rows_that_are_not_ours_or_broken_are_refused(tmp_path: Path) -> None:
    golds = write_gold(tmp_path / "gold.jsonl", _records(a={"shop": "A"}))
    out = write_run(tmp_path / "out", RECEIPT, {"a": {"shop": "A"}}, files=1)
    (path,) = out.glob("extractions-*")
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(InputError, match="does not say its schema"):
        kb.evaluate(out, golds)
    with pytest.raises(InputError, match="is of another schema: 'sum' is no such column, and double by the schema"):
        kb.evaluate(out, golds, schema={"type": "object", "properties": {"sum": {"type": "number"}}})
    with pytest.raises(InputError, match="'total' is double in the file, and string by the schema"):
        kb.evaluate(out, golds, schema={"type": "object", "properties": {"total": {"type": "string"}}})
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot read"):
        kb.evaluate(out, golds)


def test_a_schema_that_refers_to_files_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "party.json").write_text('{"type": "object", "properties": {"name": {"type": "string"}}}')
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"seller": {"$ref": "party.json"}}}')
    out = write_run(tmp_path / "out", str(tmp_path / "schema.json"), {"a": {"seller": {"name": "A"}}})
    golds = write_gold(tmp_path / "gold.jsonl", _records(a={"seller": {"name": "A"}}))
    with pytest.raises(SchemaError, match="name its file by --schema"):
        kb.evaluate(out, golds)
    assert kb.evaluate(out, golds, schema=str(tmp_path / "schema.json")).overall.exact == 1


def test_two_rows_of_one_id_are_refused(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out", RECEIPT, {"a": {"shop": "A"}}, files=1)
    (path,) = out.glob("extractions-*")
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table]).cast(file_schema(OutputSchema(RECEIPT))), path)
    golds = write_gold(tmp_path / "gold.jsonl", _records(a={"shop": "A"}))
    with pytest.raises(InputError, match="a second row of 'a'"):
        kb.evaluate(out, golds)


def test_fewer_than_one_resample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="resamples is 0"):
        kb.evaluate(tmp_path, tmp_path, resamples=0)
