"""Refused answers through `Extract`: mended for nothing, or asked for again, and nothing is paid for twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command_processes import Program
from harness import RECEIPT, Outcome, read_dataset, receipts, run_extract, run_redrive, service
from long_invoices import INVOICE, invoice, read, shown_text

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.emulator.chat import is_correction

TOTALS = {f"doc-{i}": i + 0.5 for i in range(20)}


def run(emulator: Emulator, directory: Path, api: str = "batch", **more: Any) -> Outcome:
    documents = more.pop("documents", receipts(20))
    return run_extract(documents, "", directory, where=service(emulator.base_url, api=api), **more)


def totals(outcome: Outcome) -> dict[str, float]:
    return {row["_document_id"]: row["total"] for row in outcome.rows}


def tokens(outcome: Outcome) -> int:
    billed = [row["_provenance"] for row in outcome.rows] + [letter["usage"] for letter in outcome.letters]
    return sum(int(one["prompt_tokens"]) for one in billed)


@pytest.mark.parametrize(
    ("fault", "api"),
    [
        *(("invalid", api) for api in ("batch", "run", "chat")),
        *((fault, "batch") for fault in ("truncated", "broken_off", "empty", "in_reasoning")),
        ("truncated", "run"),
    ],
)
def test_a_refused_answer_is_asked_for_again_and_becomes_a_row(fault: str, api: str, tmp_path: Path) -> None:
    with Emulator(faults=f"{fault}=1") as emulator:
        outcome = run(emulator, tmp_path, api)
        stats: dict[str, Any] = emulator.stats()
    assert (outcome.letters, totals(outcome)) == ([], TOTALS)
    assert (stats["items"] + stats["runs"], stats["paid_twice"]) == (40, 0), "each is asked for once more, not oftener"
    assert outcome.summary["repairs"] in (20, None)
    assert tokens(outcome) == stats["prompt_tokens"], "all that was paid for is counted"
    assert outcome.summary["usage"]["prompt_tokens"] == stats["prompt_tokens"]
    for row in outcome.rows:
        assert row["_provenance"]["attempts"] == 2
        assert row["_provenance"]["repairs"][0] == {"kind": "asked_again", "path": None, "count": 1}


@pytest.mark.parametrize("api", ["batch", "run"])
def test_answers_that_leave_no_doubt_are_read_beside_others_and_cost_nothing_more(api: str, tmp_path: Path) -> None:
    faults = "fenced=0.2,prose=0.2,wrapped=0.2,python=0.2,parsed=0.2"
    with Emulator(faults=faults, seed=3) as emulator:
        outcome = run(emulator, tmp_path, api)
        stats: dict[str, Any] = emulator.stats()
    assert (outcome.letters, totals(outcome)) == ([], TOTALS)
    assert stats["items"] + stats["runs"] == 20
    kinds = Counter(one["kind"] for row in outcome.rows for one in row["_provenance"]["repairs"] or ())
    faulty: dict[str, int] = stats["faults"]
    assert {kinds["wrapping"], kinds["trailing_comma"]} == {faulty["wrapped"], faulty["python"]}
    assert kinds["fence"] == faulty["fenced"]
    assert min(faulty.values()) > 0, "each of them has happened"
    assert outcome.summary["free_repairs"] in (sum(kinds.values()), None)


def test_numbers_that_are_texts_are_read_with_coerce_and_asked_for_again_without(tmp_path: Path) -> None:
    for coerce, items in ((True, 20), (False, 40)):
        with Emulator(faults="number_texts=1") as emulator:
            outcome = run(emulator, tmp_path / str(coerce), coerce=coerce)
            assert emulator.stats()["items"] == items
        assert (outcome.letters, totals(outcome)) == ([], TOTALS)
        (repairs,) = {json.dumps(row["_provenance"]["repairs"]) for row in outcome.rows}
        assert ("number" in repairs, "asked_again" in repairs) == (coerce, not coerce)


@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_sums_that_do_not_add_up_go_back_to_the_model_with_their_places(api: str, tmp_path: Path) -> None:
    """The text shows no table, so that no row is known to be missing. Half of the documents stay as they are."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: {"type": "number"} for name in ("net", "tax", "total", "page")},
        "required": ["net", "tax", "total"],
        "x-check": "net + tax == total",
    }
    told = list[str]()

    def careless(messages: Any, _: Any) -> str:
        text = shown_text(messages)
        number = int(text.partition("page ")[2].split()[0])
        is_stubborn, again = number % 2, is_correction(messages)
        if again:
            told.extend(line for line in messages[-1]["content"].split("\n") if line.endswith("(x-check)"))
        total = 3 if again and not is_stubborn else 5
        return json.dumps({"net": 1, "tax": 2, "total": total, "page": number + again})

    documents = [kb.Document(f"doc-{number}", f"A bill, page {number}") for number in range(10)]
    with Emulator(answer=careless) as emulator:
        outcome = run(emulator, tmp_path, api, documents=documents, schema=schema)
        stats: dict[str, Any] = emulator.stats()
    assert (outcome.letters, len(outcome.rows)) == ([], 10)
    assert (stats["items"] + stats["runs"], stats["paid_twice"]) == (20, 0)
    assert set(told) == {"/net, /tax, /total: net + tax == total: 3 != 5 (x-check)"}
    for row in outcome.rows:
        number, provenance = int(row["_document_id"].removeprefix("doc-")), row["_provenance"]
        changed = [repair["path"] for repair in provenance["repairs"]]
        assert (row["total"], changed) == ((5, [None]) if number % 2 else (3, [None, "/total"]))
        assert provenance["incomplete"] == ("net + tax == total: 3 != 5" if number % 2 else None)
        assert row["page"] == number, "what no equation names is not in doubt, whatever the second answer says"
    assert tokens(outcome) == stats["prompt_tokens"]


@pytest.mark.parametrize("api", ["batch", "run"])
def test_what_was_tried_stands_in_the_dead_letter_and_its_redrive_asks_anew(api: str, tmp_path: Path) -> None:
    where: dict[str, Any] = {"journal": str(tmp_path / "journal"), "repairs": 2}
    with Emulator(faults="invalid=1,stubborn=1") as emulator:
        for directory in ("one", "two"):
            outcome = run(emulator, tmp_path / directory, api, **where)
            assert (outcome.codes, outcome.rows) == ({"schema_violation": 20}, [])
            stats: dict[str, Any] = emulator.stats()
            assert (stats["items"] + stats["runs"], stats["paid_twice"]) == (60, 0), "a second run pays for nothing"
            assert tokens(outcome) == stats["prompt_tokens"]
            for letter in outcome.letters:
                assert (letter["attempts"], letter["round"]) == (3, 2)
                assert "(asked again 2 times)" in letter["message"]
                assert letter["document"]["text"].startswith("COMPANY")
        server = service(emulator.base_url, api=api)
        again = run_redrive(tmp_path / "two", server, tmp_path / "three", polling=kb.Polling(first=0.05), **where)
        stats = emulator.stats()
    assert (again.codes, stats["items"] + stats["runs"]) == ({"schema_violation": 20}, 120)
    assert {letter["round"] for letter in again.letters} == {5}


def test_with_0_repairs_nothing_is_asked_again(tmp_path: Path) -> None:
    with Emulator(faults="invalid=1") as emulator:
        outcome = run(emulator, tmp_path, repairs=0)
        assert emulator.stats()["items"] == 20
    assert (outcome.codes, outcome.letters[0]["attempts"]) == ({"schema_violation": 20}, 1)


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_part_whose_answer_is_refused_is_asked_for_again_alone(api: str, tmp_path: Path) -> None:
    made, asked = invoice(60), list[str]()

    def careless(messages: Any, schema: Any) -> str:
        text = shown_text(messages)
        asked.append(text)
        found = read(text)
        if made.gold["lines"][30]["name"] in text and not is_correction(messages):
            found["lines"] = "many"
        return json.dumps(found)

    with Emulator(answer=careless) as emulator:
        outcome = run(emulator, tmp_path, api, documents=[made.document], schema=INVOICE, chunk_tokens=500)
        assert emulator.stats()["paid_twice"] == 0
    (row,) = outcome.rows
    assert {name: row[name] for name in INVOICE["properties"]} == made.gold
    assert len(asked) == row["_provenance"]["parts"] + 1
    assert row["_provenance"]["repairs"][0]["kind"] == "asked_again"


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_run_that_was_killed_while_it_asked_again_pays_for_nothing_twice(api: str, tmp_path: Path) -> None:
    lines = [json.dumps({"id": one.id, "text": one.text}) for one in receipts(20)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "schema.json").write_text(json.dumps(RECEIPT))
    with Emulator(faults="invalid=1", latency=1.0) as emulator:
        command = [
            "extract", str(tmp_path / "in.jsonl"), "--schema", str(tmp_path / "schema.json"), "--api", api,
            "--output", str(tmp_path / "out"), "--base-url", emulator.base_url, "--poll-interval", "0.1:0.3",
            "--no-preflight",
        ]  # fmt: skip
        victim = Program(command, tmp_path)
        if api == "batch":  # until the ticket of the second job is written, whose answers are not there yet
            while len(list((tmp_path / "out" / "_journal").glob("*.submissions.json"))) < 4:
                victim.process.join(0.02)
                assert victim.process.is_alive(), "the run ended before it could be killed"
        else:  # until the first answers are in the journal
            while not list((tmp_path / "out" / "_journal").glob("*.answers.arrow")):
                victim.process.join(0.02)
                assert victim.process.is_alive(), "the run ended before it could be killed"
        victim.kill()
        stats: dict[str, Any] = emulator.stats()
        paid = stats["items"] + stats["runs"]
        code, _, err = Program(command, tmp_path).end()
        assert code == 0, err
        stats = emulator.stats()
    outcome = read_dataset(tmp_path / "out")
    assert (outcome.letters, totals(outcome)) == ([], TOTALS)
    assert 20 <= paid <= stats["items"] + stats["runs"]
    # What was in flight synchronously is lost with its worker; nothing else is, and nothing in the queue.
    in_flight = 0 if api == "batch" else paid - 20
    assert stats["paid_twice"] <= in_flight
    assert stats["items"] + stats["runs"] <= 40 + in_flight
