"""The figures of a report: each is what `summary.json` says, and what DuckDB counts in the files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import ROOT
from reported_runs import INVOICE, invoices, write_reported_run
from written_runs import write_gold, write_run

from kimi_beam.errors import InputError
from kimi_beam.output.evaluate import evaluate
from kimi_beam.output.page.write_report import write_report


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reported_run(tmp_path_factory.mktemp("figures") / "out", invoices(700), failing=0.1)


@pytest.fixture(scope="module")
def figures(out: Path) -> dict[str, Any]:
    return write_report(out, None)


def _query(out: Path, query: str) -> list[tuple[Any, ...]]:
    rows, letters = f"'{out}/extractions-*.parquet'", f"read_json('{out}/dead-letters-*.jsonl')"
    return duckdb.execute(query.format(rows=rows, letters=letters)).fetchall()


def _field(figures: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in figures["fields"] if one["field"] == name)
    return found


def test_documents_and_tokens_are_those_of_the_summary(out: Path, figures: dict[str, Any]) -> None:
    summary = json.loads((out / "summary.json").read_text())
    same = ("documents", "extractions", "dead_letters", "usage", "cost_usd", "model", "model_answered", "schema_hash")
    assert {name: figures[name] for name in same} == {name: summary[name] for name in same}
    assert figures["differs_from_summary"] == []
    assert summary["documents"] == 700
    assert len(summary["dead_letters"]) == 3
    grounding = {one["field"]: one["grounding"] for one in figures["fields"] if one["grounding"]}
    assert grounding == summary["grounding"]


def test_documents_and_tokens_are_those_of_the_files(out: Path, figures: dict[str, Any]) -> None:
    sums = "sum({0}.prompt_tokens), sum({0}.cached_tokens), sum({0}.completion_tokens)"
    ((rows, *of_rows),) = _query(out, f"SELECT count(*), {sums.format('_provenance')} FROM {{rows}}")
    ((letters, *of_letters),) = _query(out, f"SELECT count(*), {sums.format('usage')} FROM {{letters}}")
    assert (figures["extractions"], figures["documents"]) == (rows, rows + letters)
    assert list(figures["usage"].values()) == [a + b for a, b in zip(of_rows, of_letters, strict=True)]
    retryable = _query(out, "SELECT code, count(*), count(*) FILTER (retryable) FROM {letters} GROUP BY code")
    assert {(one["code"], one["documents"], one["retryable"]) for one in figures["reasons"]} == set(retryable)
    for one in figures["reasons"]:
        for sample in one["samples"]:
            told = _query(out, f"SELECT code, message FROM {{letters}} WHERE document_id = '{sample['id']}'")
            assert told == [(one["code"], sample["message"])]
    ((repaired, incomplete),) = _query(
        out, "SELECT count(*) FILTER (len(_provenance.repairs) > 0), count(_provenance.incomplete) FROM {rows}"
    )
    assert (figures["rows"]["repaired"], figures["rows"]["incomplete"]) == (repaired, incomplete)
    assert figures["repairs"] == {"fence": repaired}
    assert repaired > 0


@pytest.mark.parametrize(
    ("name", "column", "source"),
    [
        ("/shop", "shop", "{rows}"),
        ("/paid", "paid", "{rows}"),
        ("/currency", "currency", "{rows}"),
        ("/total", "total", "{rows}"),
        ("/items/*/name", "i.name", "(SELECT unnest(items) AS i FROM {rows})"),
        ("/items/*/amount", "i.amount", "(SELECT unnest(items) AS i FROM {rows})"),
    ],
)
def test_the_values_of_a_field_are_those_of_its_column(
    out: Path, figures: dict[str, Any], name: str, column: str, source: str
) -> None:
    found = _field(figures, name)
    ((filled, empty, distinct),) = _query(
        out, f"SELECT count({column}), count(*) - count({column}), count(DISTINCT {column}) FROM {source}"
    )
    assert (found["filled"], found["empty"], found["distinct"]) == (filled, empty, distinct)
    assert found["distinct_is_exact"]
    assert found["top_is_exact"]
    assert filled > 0
    if found["numbers"] is not None:
        numbers = found["numbers"]
        ((least, most, mean),) = _query(out, f"SELECT min({column}), max({column}), avg({column}) FROM {source}")
        assert (numbers["values"], numbers["min"], numbers["max"]) == (filled, least, most)
        assert numbers["mean"] == pytest.approx(mean, rel=1e-5)
        assert sum(numbers["bars"]["counts"]) + numbers["below"] + numbers["above"] == filled
        start, width = numbers["bars"]["from"], numbers["bars"]["width"]
        for index, count in enumerate(numbers["bars"]["counts"]):
            within = (
                f"round({column}, 2) >= {start + index * width} AND round({column}, 2) < {start + (index + 1) * width}"
            )
            ((told,),) = _query(out, f"SELECT count(*) FILTER ({within}) FROM {source}")
            assert told == pytest.approx(
                count, abs=1
            )  # a number of five digits may be counted in the bar beside its own
    else:
        top = _query(
            out, f"SELECT count(*) FROM {source} WHERE {column} IS NOT NULL GROUP BY {column} ORDER BY 1 DESC LIMIT 12"
        )
        assert [count for _, count in found["top"]] == [count for (count,) in top]


def test_the_times_of_answers_are_counted_from_the_first(out: Path, figures: dict[str, Any]) -> None:
    ((span, rows),) = _query(
        out, "SELECT epoch(max(_provenance.extracted_at) - min(_provenance.extracted_at)), count(*) FROM {rows}"
    )
    after = figures["histograms"]["seconds_after_the_first_answer"]
    assert (after["min"], after["max"], after["values"]) == (0, span, rows)


def test_answers_have_waited_since_their_job_was_accepted(out: Path) -> None:
    first = 1_764_600_000
    found = write_report(out, None, submitted={"job": first - 2.5})["histograms"]["queue_seconds"]
    ((most, rows),) = _query(
        out, f"SELECT max(epoch(_provenance.extracted_at)) - {first - 2.5}, count(*) FROM {{rows}}"
    )
    assert (found["min"], found["max"], found["values"]) == (2.5, most, rows)
    ahead = write_report(out, None, submitted={"job": first + 10.0})["histograms"]["queue_seconds"]
    assert ahead["min"] == 0, "clocks differ"
    assert write_report(out, None, submitted={"another": first})["histograms"]["queue_seconds"] is None


def test_the_score_is_what_evaluate_says(out: Path, tmp_path: Path) -> None:
    golds = [{"id": document.id, "gold": answer | {"total": 1.5}} for document, answer in invoices(40)]
    gold = write_gold(tmp_path / "gold.jsonl", golds)
    found = write_report(out, None, gold=str(gold))["score"]
    assert found == evaluate(out, str(gold)).to_json()
    assert found["fields"]["/total"]["f1"] == 0
    assert found["documents"] == 40


def test_each_figure_is_documented_and_each_documented_one_is_there(out: Path, tmp_path: Path) -> None:
    gold = write_gold(tmp_path / "gold.jsonl", [{"id": d.id, "gold": answer} for d, answer in invoices(3)])
    with (tmp_path / "page.html").open("wb") as f:
        found = write_report(out, f.write, gold=str(gold))
    table = (ROOT / "docs" / "howto" / "report.md").read_text().partition("## For programs")[2]
    documented = {
        name
        for row in re.findall(r"^\| ((?:`\w+`(?:, )?)+)", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert documented <= set(found)
    assert set(found) - documented <= {*json.loads((out / "summary.json").read_text()), "output", "schema"}
    named = table.partition("| `fields` |")[2].partition("\n")[0]
    assert all(f"`{name}`" in named for name in found["fields"][0] if name not in ("field", "top_is_exact"))
    named = table.partition("| `histograms` |")[2].partition("\n")[0]
    assert set(re.findall(r"`(\w+)`", named)) == set(found["histograms"])


def test_files_that_are_missing_are_told(tmp_path: Path) -> None:
    out = write_reported_run(tmp_path / "out", invoices(30), failing=0.0)
    lost = sorted(out.glob("extractions-*"))[0]
    lost.unlink()
    (told,) = write_report(out, None)["differs_from_summary"]
    assert told == {"name": "extractions", "summary": 30, "files": 15}


def test_a_run_without_rows_or_without_documents_has_figures(tmp_path: Path) -> None:
    none = write_run(tmp_path / "none", INVOICE, {}, {"a": "truncated"})
    found = write_report(none, None)
    assert (found["documents"], found["extractions"], found["dead_letters"]) == (1, 0, {"truncated": 1})
    assert found["fields"][0] == {
        "field": "/shop", "filled": 0, "empty": 0, "distinct": 0, "distinct_is_exact": True, "top": [],
        "top_is_exact": True, "numbers": None, "lengths": None, "grounding": {},
    }  # fmt: skip
    assert found["differs_from_summary"] == [{"name": "dead_letters", "summary": {}, "files": {"truncated": 1}}]


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no output of a run"):
        write_report(tmp_path, None)
